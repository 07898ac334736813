//! HTTP proxies. A proxy is used only if the probe names one; the environment's variables are ignored.

use innkeeper_settings::Section;
use ureq_proto::http::HeaderValue;
use url::Url;

use super::attempt::ProbeAttempt;
use super::http_headers::basic;
use super::lines::{MOST_LINES, line, refused, say, write};
use super::network::{Network, Wire, with_port};
use super::outcome::{Failure, Phase};

/// A proxy. It resolves the target's name itself.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    host: String,
    port: u16,
    authorization: Option<HeaderValue>,
}

impl Proxy {
    /// Reads `proxy`, and `proxy_username` with `proxy_password` or `proxy_password_file`.
    pub(crate) fn read(section: &mut Section<'_>) -> Option<Self> {
        let user = section.parsed("proxy_username", None, |text| Ok::<_, String>(Some(text.to_owned())));
        let password = section.secret("proxy_password", "proxy_password_file");
        let mut proxy = section.parsed("proxy", None, |text| Self::parse(text).map(Some));
        if let (Some(proxy), Some(user)) = (&mut proxy, user) {
            let password = password.as_ref().map(|(secret, _)| secret.reveal()).unwrap_or_default();
            proxy.authorization = basic(&user, password).ok();
        }
        proxy
    }

    fn parse(text: &str) -> Result<Self, String> {
        let write = "write http://host:port";
        let url = Url::parse(text).map_err(|_| format!("is not the address of a proxy; {write}"))?;
        if url.scheme() != "http" {
            return Err(format!("has the scheme {:?}; {write}", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "contains a user or password; give them as proxy_username and proxy_password_file".to_owned()
            );
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        // The default port of the scheme would be 80, which proxies hardly use.
        Ok(Self { host, port: url.port().unwrap_or(3128), authorization: None })
    }

    /// The value of `Proxy-Authorization` for a plain request.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        self.authorization.clone()
    }

    /// Connects to the proxy and, for a target over TLS, opens a tunnel through it.
    pub(crate) fn connect(
        &self,
        network: &Network,
        attempt: &mut ProbeAttempt,
        through_to: Option<(&str, u16)>,
    ) -> Result<Wire, Failure> {
        let of_proxy = |failure: Failure| Failure { what: format!("the proxy: {}", failure.what), ..failure };
        let mut wire = network.connect_to(attempt, &self.host, self.port).map_err(of_proxy)?;
        let Some((host, port)) = through_to else { return Ok(wire) };
        let host = with_port(network.address.as_deref().unwrap_or(host), port);
        attempt
            .phase(Phase::Connect, &network.limits, |bound| {
                wire.bound = *bound;
                let mut head = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
                if let Some(value) = &self.authorization {
                    head.extend_from_slice(b"Proxy-Authorization: ");
                    head.extend_from_slice(value.as_bytes());
                    head.extend_from_slice(b"\r\n");
                }
                write(&mut wire, &head)?;
                say(&mut wire, "")?;
                let first = line(&mut wire)?;
                let code = first.split_whitespace().nth(1).and_then(|code| code.parse::<u16>().ok());
                if !first.starts_with("HTTP/1.") || !code.is_some_and(|code| (200..300).contains(&code)) {
                    return Err(refused(&format!("it does not connect to {host}"), &first));
                }
                for _ in 0..MOST_LINES {
                    if line(&mut wire)?.is_empty() {
                        return Ok(wire);
                    }
                }
                Err(Failure::critical("its answer does not end"))
            })
            .map_err(of_proxy)
    }
}
