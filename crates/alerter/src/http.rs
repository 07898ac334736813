//! The POST request that Slack, PagerDuty and webhooks share.

use std::io::{self, Read};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::secret::Secret;
use innkeeper_core::{Clock, Invalid, Time, duration, retry_after};
use ureq::http::{Response, StatusCode, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::Resolver as _;
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, Proxy, SendBody};
use url::{Host, Url};

use crate::Sent;
use crate::certificates::read_certificates;
use crate::guard::{Forbidden, GuardedResolver, forbids, forbids_name};
use crate::keys::HttpOptions;
use crate::look_up::Memory;
use crate::redactor::Redactor;
use crate::tls;

/// The time limit for an answer if `timeout` is not set.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// The time limit of a name look-up, and of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait that a provider's `Retry-After` may request.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);
/// The number of bytes of an answer that are read.
const MOST_READ: u64 = 16 * 1024;
/// How long an idle connection may be reused. The limit is short, since a server may close the connection while a
/// request is sent.
const IDLE: Duration = Duration::from_secs(3);

/// The advice for somebody who means such an address.
pub(crate) const ALLOW: &str = "set allow_link_local = true to send there";
pub(crate) const OTHER_PROXY: &str = "name another proxy in ALL_PROXY, HTTPS_PROXY or HTTP_PROXY";

/// Posts to one address.
pub(crate) struct Poster {
    line: Line,
    /// Scheme, host and port: the part of the address that people may see.
    place: String,
    timeout: Duration,
    redactor: Redactor,
    clock: Arc<dyn Clock>,
}

impl Poster {
    /// A poster to `address`. `redactor` hides secrets other than the address itself.
    pub(crate) fn new(
        address: &Secret,
        options: &HttpOptions,
        mut redactor: Redactor,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Invalid> {
        let url = checked(address, options.allow_link_local, ALLOW)?;
        redactor.hide_address(&url);
        let timeout = options.timeout.unwrap_or(TIMEOUT);
        Ok(Self { place: place(&url), line: Line::new(url, options)?, timeout, redactor, clock })
    }

    /// The current time, by the alerter's clock.
    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// An upper bound of the time that one [`post`](Self::post) takes.
    pub(crate) fn longest(&self) -> Duration {
        self.timeout + CONNECT_TIMEOUT + Duration::from_secs(1)
    }

    /// Posts `body` as JSON and returns the outcome.
    pub(crate) fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> Sent {
        if let Err(error) = self.line.check() {
            return self.unanswered(&error, false);
        }
        let mut request = self
            .line
            .agent
            .post(self.line.url.as_str())
            .header("Content-Type", "application/json")
            .header("Content-Length", body.len().to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut body = Watched { rest: body, begun: false };
        let answer = request.send(SendBody::from_reader(&mut body));
        match answer {
            Ok(response) => self.answered(response),
            Err(ureq::Error::Other(cause)) if cause.is::<Forbidden>() && self.line.proxy().is_some() => {
                // The address itself was checked above, so the forbidden address is the proxy's.
                let (place, way) = (&self.place, self.line.way());
                let what = format!("{place} is reached{way}, which {cause}; {OTHER_PROXY}, or {ALLOW}");
                Sent::never(self.redactor.clean(&what))
            }
            Err(error) => self.unanswered(&error, body.begun),
        }
    }

    fn answered(&self, response: Response<Body>) -> Sent {
        let status = response.status();
        let after = self.retry_after(&response);
        let text = beginning(response);
        if status.is_success() {
            return Sent::Delivered;
        }
        let mut problem = format!("{} answered {status}", self.place);
        if status.is_redirection() {
            problem.push_str("; redirects are not followed: configure the address that it leads to");
        } else if !text.trim().is_empty() {
            problem.push_str(&format!(": {text}"));
        }
        let problem = self.redactor.clean(&problem);
        let passes = status.is_server_error()
            || matches!(
                status,
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
            );
        if !passes {
            // Other statuses are about the address or the caller, not about the content.
            let is_of_content = matches!(
                status,
                StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY
            );
            return Sent::Permanent { is_of_content, problem };
        }
        // After a gateway's error it is unknown whether the service behind it has accepted the message.
        let maybe_sent = matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT);
        Sent::Retryable { after, maybe_sent, problem }
    }

    fn unanswered(&self, error: &ureq::Error, begun: bool) -> Sent {
        let place = &self.place;
        let problem = match error {
            ureq::Error::Other(cause) if cause.is::<Forbidden>() => {
                return Sent::never(self.redactor.clean(&format!("{place} {cause}; {ALLOW}")));
            }
            ureq::Error::Timeout(_) if begun => {
                let timeout = duration::short(TimeDelta::from_std(self.timeout).unwrap_or_default());
                format!("{place} did not answer within {timeout}")
            }
            error if begun => format!("{place} broke the connection off without an answer: {error}"),
            error => {
                let advice = advice(error).map(|advice| format!("; {advice}")).unwrap_or_default();
                format!("{place} could not be reached{}: {error}{advice}", self.line.way())
            }
        };
        Sent::Retryable { after: None, maybe_sent: begun, problem: self.redactor.clean(&problem) }
    }

    /// The wait that `Retry-After` requests: a number of seconds or a date, at most one day.
    fn retry_after(&self, response: &Response<Body>) -> Option<Duration> {
        let text = response.headers().get("retry-after")?.to_str().ok()?;
        Some(retry_after::wait(text, self.now())?.min(LONGEST_WAIT))
    }
}

/// Advice about a rejected certificate. ureq does not return the wrapped error as the source of its own.
pub(crate) fn advice(error: &ureq::Error) -> Option<&'static str> {
    match error {
        ureq::Error::Io(error) => tls::advice(error),
        error => tls::advice(error),
    }
}

/// A body that records whether reading it has begun. Before that there was no connection, or the head of the request
/// was not sent; so the server cannot have accepted the request.
struct Watched<'a> {
    rest: &'a [u8],
    begun: bool,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.begun = true;
        self.rest.read(buffer)
    }
}

/// An address, with the agent that sends requests to it.
pub(crate) struct Line {
    pub(crate) agent: Agent,
    pub(crate) url: Url,
    /// Resolves the name if there is a proxy, which would otherwise resolve it.
    guard: GuardedResolver,
}

impl Line {
    /// A line to `url` with these options.
    pub(crate) fn new(url: Url, options: &HttpOptions) -> Result<Self, Invalid> {
        let agent = agent(is_loopback(&url), options)?;
        Ok(Self::over(agent, url, options.allow_link_local))
    }

    /// A line that uses an existing agent.
    pub(crate) fn over(agent: Agent, url: Url, allow_link_local: bool) -> Self {
        Self { agent, url, guard: GuardedResolver::new(allow_link_local, Memory::LONG_OF_FAILURE) }
    }

    /// The proxy for this address, and the address as the proxy gets it.
    fn proxy(&self) -> Option<(&Proxy, Uri)> {
        let uri = self.url.as_str().parse::<Uri>().ok()?;
        let proxy = self.agent.config().proxy().filter(|proxy| !proxy.is_no_proxy(&uri))?;
        Some((proxy, uri))
    }

    /// The words for the proxy, for people, to follow a verb; empty without a proxy.
    pub(crate) fn way(&self) -> String {
        let through =
            |(proxy, _): (&Proxy, Uri)| format!(" through the proxy {}:{}", proxy.host(), proxy.port());
        self.proxy().map(through).unwrap_or_default()
    }

    /// Resolves the name that a proxy will be asked for. A name that cannot be resolved here is left to the proxy.
    ///
    /// # Errors
    /// A name that resolves to a forbidden address.
    pub(crate) fn check(&self) -> Result<(), ureq::Error> {
        let Some((_, uri)) = self.proxy() else { return Ok(()) };
        let timeout = NextTimeout {
            after: CONNECT_TIMEOUT.into(),
            reason: ureq::Timeout::Resolve,
            ..NextTimeout::default()
        };
        match self.guard.resolve(&uri, self.agent.config(), timeout) {
            Err(ureq::Error::Other(cause)) if cause.is::<Forbidden>() => Err(ureq::Error::Other(cause)),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// The agent for other machines, or, if `inward`, for this machine.
pub(crate) fn agent(inward: bool, options: &HttpOptions) -> Result<Agent, Invalid> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("Innkeeper/", env!("CARGO_PKG_VERSION")))
        .timeout_global(Some(options.timeout.unwrap_or(TIMEOUT)))
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .max_idle_age(IDLE)
        .tls_config(TlsConfig::builder().root_certs(roots(options.ca_file.as_ref())?).build());
    if inward {
        config = config.proxy(None);
    }
    let resolver = GuardedResolver::new(options.allow_link_local, Memory::SHORT);
    Ok(Agent::with_parts(config.build(), DefaultConnector::default(), resolver))
}

/// Checks that this address may be requested. The error does not contain the address, which may be a secret.
/// `otherwise` is the advice for a forbidden address.
pub(crate) fn checked(address: &Secret, allow_link_local: bool, otherwise: &str) -> Result<Url, Invalid> {
    let wrong = |problem: &str| Invalid::new("url", problem);
    let mut url = Url::parse(address.reveal().trim())
        .map_err(|error| wrong(&format!("is not an address ({error}); write https://example.org/path")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("has a scheme other than http and https; write https://example.org/path"));
    }
    url.set_fragment(None);
    let is_forbidden = match url.host() {
        Some(Host::Ipv4(v4)) => forbids(IpAddr::V4(v4)),
        Some(Host::Ipv6(v6)) => forbids(IpAddr::V6(v6)),
        Some(Host::Domain(name)) => forbids_name(name),
        None => false,
    };
    if is_forbidden && !allow_link_local {
        return Err(wrong(&format!("{Forbidden}; {otherwise}")));
    }
    Ok(url)
}

pub(crate) fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}

/// Whether the address is this machine, for which the proxies of the environment are not used.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(v4)) => v4.is_loopback(),
        Some(Host::Ipv6(v6)) => IpAddr::V6(v6).to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name.trim_end_matches('.') == "localhost",
        None => false,
    }
}

/// The system's certificate authorities and those in `ca_file`.
fn roots(ca_file: Option<&PathBuf>) -> Result<RootCerts, Invalid> {
    let own = read_certificates(ca_file)?;
    if own.is_empty() {
        return Ok(RootCerts::PlatformVerifier);
    }
    let system = rustls_native_certs::load_native_certs().certs;
    let roots: Vec<Certificate<'static>> =
        system.iter().chain(&own).map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    Ok(RootCerts::from(roots))
}

/// The beginning of an answer as text; empty if it cannot be read, since the status is what matters.
pub(crate) fn beginning(response: Response<Body>) -> String {
    let mut bytes = Vec::new();
    // The body is read even after a success, so that the connection can be reused.
    let _ = response.into_body().into_reader().take(MOST_READ).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use innkeeper_core::SystemClock;

    #[test]
    fn a_name_that_leads_to_a_forbidden_address_is_refused_for_good() {
        for address in ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]"] {
            let options = HttpOptions { timeout: None, ca_file: None, allow_link_local: true };
            let url = Secret::new(format!("http://{address}/"));
            let mut poster = Poster::new(&url, &options, Redactor::default(), Arc::new(SystemClock)).unwrap();
            // Leaves out the check of the address itself, as if a name had resolved to it.
            let config = poster.line.agent.config().clone();
            poster.line.agent = Agent::with_parts(
                config,
                DefaultConnector::default(),
                GuardedResolver::new(false, Memory::SHORT),
            );
            match poster.post(&[], b"{}") {
                Sent::Permanent { problem, .. } => assert!(problem.contains("allow_link_local"), "{problem}"),
                other => panic!("{address}: {other:?}"),
            }
        }
    }

    /// A proxy that counts its requests and answers each with success.
    fn proxy() -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let visits = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&visits);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        });
        (address, visits)
    }

    /// The outcome of a post to this address through this proxy.
    fn through_proxy(proxy: &str, address: &str, guarded: bool) -> Sent {
        let options = HttpOptions { timeout: None, ca_file: None, allow_link_local: true };
        let url = Secret::new(format!("http://{address}/"));
        let mut poster = Poster::new(&url, &options, Redactor::default(), Arc::new(SystemClock)).unwrap();
        let config = Agent::config_builder()
            .proxy(Some(Proxy::new(proxy).unwrap()))
            .timeout_global(Some(Duration::from_secs(1)))
            .build();
        // Leaves out the check of the address itself, as if a name had resolved to it.
        let guard = || GuardedResolver::new(!guarded, Memory::SHORT);
        poster.line.agent = Agent::with_parts(config, DefaultConnector::default(), guard());
        poster.line.guard = guard();
        poster.post(&[], b"{}")
    }

    #[test]
    fn a_proxy_is_not_asked_for_a_forbidden_address() {
        let (proxy, visits) = proxy();
        let through = |address: &str, guarded: bool| through_proxy(&proxy, address, guarded);
        for address in
            ["169.254.169.254", "[fd00:ec2::254]", "[64:ff9b:1::a9fe:a9fe]", "metadata.google.internal"]
        {
            match through(address, true) {
                Sent::Permanent { problem, .. } => assert!(problem.contains("allow_link_local"), "{problem}"),
                other => panic!("{address}: {other:?}"),
            }
            assert_eq!(visits.load(Ordering::SeqCst), 0, "{address}");
        }
        // A forbidden address of the proxy is reported as the proxy's.
        let forbidden = "http://user:hunter2@169.254.169.254:3128";
        for guarded in [false, true] {
            match through_proxy(forbidden, "example.org", guarded) {
                Sent::Permanent { problem, .. } if guarded => {
                    let blamed = "http://example.org is reached through the proxy 169.254.169.254:3128, which is a link-local";
                    assert!(problem.contains(blamed) && problem.contains("HTTPS_PROXY"), "{problem}");
                    assert!(!problem.contains("hunter2"), "{problem}");
                }
                Sent::Retryable { problem, .. } if !guarded => {
                    assert!(problem.contains("through the proxy 169.254.169.254:3128"), "{problem}");
                }
                other => panic!("{other:?}"),
            }
        }
        // A name that cannot be resolved here is left to the proxy.
        let _ = through("nowhere.invalid", true);
        assert_eq!(visits.load(Ordering::SeqCst), 1);
        let _ = through("169.254.169.254", false);
        assert_eq!(visits.load(Ordering::SeqCst), 2);
    }
}
