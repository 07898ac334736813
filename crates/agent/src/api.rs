//! HTTP calls to Innkeeper. Each call ends within the time that its caller allows, and returns a typed error.

mod call;
mod race;

use std::time::{Duration, Instant};

use innkeeper_core::secret::Secret;
use innkeeper_core::{Time, retry_after};
use serde_json::Value;
use ureq::http::{Method, Request, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Proxy};
use url::Url;

use crate::config::Config;
use crate::spool::Destination;
pub use call::Call;
use race::RacingResolver;

/// Largest response that is read, in bytes.
const LARGEST_ANSWER: u64 = 1024 * 1024;
/// Size of the input and output buffers, in bytes. The head of a response must fit.
const BUFFER: usize = 16 * 1024;
/// Number of redirects that are followed.
const REDIRECTS: usize = 3;
/// Upper bound of a `Retry-After`.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiTrouble {
    /// No server is configured.
    #[error("no server is configured; set server in agent.toml, INNKEEPER_SERVER or --server")]
    NoServer,
    /// The connection could not be opened, or it broke.
    #[error("{place} cannot be reached: {why}")]
    Unreachable {
        /// Scheme, host and port.
        place: String,
        /// The reason.
        why: String,
    },
    /// The deadline passed before the answer came.
    #[error("{place} did not answer in time")]
    TimedOut {
        /// Scheme, host and port.
        place: String,
    },
    /// The server cannot take the request now and asks for a retry.
    #[error("{place} answered {status}: try again later")]
    Busy {
        /// Scheme, host and port.
        place: String,
        /// 408, 425, 429 or 5xx.
        status: u16,
        /// The server's `Retry-After`, if it sent one.
        retry_after: Option<Duration>,
    },
    /// The server rejects the request, and a retry would be rejected as well.
    #[error("{place} refused with {status}: {why}")]
    Refused {
        /// Scheme, host and port.
        place: String,
        /// The HTTP status.
        status: u16,
        /// The reason that the server gives.
        why: String,
        /// Whether the reason comes from Innkeeper itself and not from a proxy in front of it.
        is_own: bool,
    },
    /// The server redirects to another address, and the redirect is not followed.
    #[error("{place} redirects to {to}; if that is right, set it as the server")]
    Redirected {
        /// Scheme, host and port.
        place: String,
        /// The target of the redirect.
        to: String,
    },
    /// The response is not one that Innkeeper sends.
    #[error("what answers at {place} is not Innkeeper: {why}")]
    Garbled {
        /// Scheme, host and port.
        place: String,
        /// What is wrong with the response.
        why: String,
    },
    /// The agent itself cannot make the call.
    #[error("{0}")]
    Unable(String),
}

impl ApiTrouble {
    /// Whether the trouble may be over in a moment, for example while a server restarts.
    pub fn may_pass_soon(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Busy { retry_after: None, .. })
    }
}

/// HTTP client for Innkeeper's server.
pub struct Api {
    agent: Agent,
    server: Option<Url>,
    api: Option<Url>,
    token: Option<Secret>,
}

impl Api {
    /// Builds a client from the configuration.
    ///
    /// # Errors
    /// `proxy` or `ca_file` cannot be used. The text names the key.
    pub fn new(config: &Config) -> Result<Self, String> {
        let proxy = match &config.proxy {
            None => None,
            Some(address) => Some(Proxy::new(address).map_err(|error| format!("proxy: {error}"))?),
        };
        let roots = match &config.ca_file {
            // The system's certificates are read when the first https connection is opened.
            None => RootCerts::PlatformVerifier,
            Some(path) => authorities(path)?,
        };
        let settings = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(proxy)
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .user_agent(concat!("innkeeper-agent/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        let agent = Agent::with_parts(settings, DefaultConnector::default(), RacingResolver::default());
        Ok(Self {
            agent,
            server: config.server.clone(),
            api: config.api.clone(),
            token: config.token.clone(),
        })
    }

    /// The address of `path` at `server`, or at the configured server if `server` is none.
    ///
    /// # Errors
    /// [`ApiTrouble::NoServer`] if there is neither.
    pub fn address(&self, server: Option<&Url>, path: &str) -> Result<Url, ApiTrouble> {
        let base = server.or(self.server.as_ref()).ok_or(ApiTrouble::NoServer)?;
        let mut url = base.clone();
        url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
        Ok(url)
    }

    /// Describes for people where reports for `destination` go.
    pub fn place_of(&self, destination: &Destination) -> String {
        let named = match destination {
            Destination::Server(Some(address)) | Destination::Ping(address) => Url::parse(address).ok(),
            Destination::Server(None) => self.server.clone(),
        };
        named.as_ref().map_or_else(|| "the server".to_owned(), place)
    }

    /// Posts `body` to `url` and returns the JSON of the response. The token is sent only if `with_token` is set.
    ///
    /// # Errors
    /// [`ApiTrouble`] says why there is no JSON.
    pub fn post(
        &self,
        url: &Url,
        body: &Value,
        with_token: bool,
        patience: Duration,
    ) -> Result<Value, ApiTrouble> {
        self.post_and_hear(url, body, with_token, patience).map(|(answer, _)| answer)
    }

    /// Like [`Self::post`], but also returns the text of the response's `Warning` header, if it has one.
    ///
    /// # Errors
    /// As for [`Self::post`].
    pub fn post_and_hear(
        &self,
        url: &Url,
        body: &Value,
        with_token: bool,
        patience: Duration,
    ) -> Result<(Value, Option<String>), ApiTrouble> {
        let until = Instant::now() + patience;
        let text = body.to_string();
        let (mut url, mut with_token) = (url.clone(), with_token);
        for _ in 0..=REDIRECTS {
            match self.send(&url, &text, with_token, until)? {
                ApiAnswer::Json(answer, warning) => return Ok((answer, warning)),
                // The POST is repeated with its body, whatever the kind of redirect: a GET would report nothing.
                ApiAnswer::Elsewhere(to) => {
                    let is_same_host =
                        to.host_str() == url.host_str() && (to.scheme() == "https" || url.scheme() == "http");
                    if !is_same_host {
                        return Err(ApiTrouble::Redirected { place: place(&url), to: place(&to) });
                    }
                    with_token &= is_same_server(&url, &to);
                    url = to;
                }
            }
        }
        Err(ApiTrouble::Garbled { place: place(&url), why: "it redirects in a circle".to_owned() })
    }

    fn send(&self, url: &Url, body: &str, with_token: bool, until: Instant) -> Result<ApiAnswer, ApiTrouble> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ApiTrouble::TimedOut { place: place(url) });
        }
        // A body of type text gets a `Content-Length`. Some proxies drop chunked bodies.
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(url.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json");
        if let Some(token) = self.token.as_ref().filter(|_| with_token) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        let request = request.body(body.to_owned()).map_err(|_| {
            ApiTrouble::Unable("the token has characters that are not allowed in a header".to_owned())
        })?;
        let limited = self.agent.configure_request(request).timeout_global(Some(left)).build();
        let mut response = self.agent.run(limited).map_err(|error| unanswered(url, &error))?;
        let status = response.status();
        let header = |name: header::HeaderName| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let retry_after = header(header::RETRY_AFTER).and_then(|text| bounded_wait(&text));
        let location = header(header::LOCATION);
        let warning = header(header::WARNING).and_then(|text| warning_of(&text));
        if status.is_redirection() {
            let to = location.and_then(|to| url.join(&to).ok());
            let to =
                to.filter(|to| matches!(to.scheme(), "http" | "https")).filter(|_| status.as_u16() != 303);
            let wrong = || ApiTrouble::Garbled { place: place(url), why: format!("it answered {status}") };
            return to.map(ApiAnswer::Elsewhere).ok_or_else(wrong);
        }
        let read = response.body_mut().with_config().limit(LARGEST_ANSWER).read_to_string();
        match (status.as_u16(), read) {
            (200..=299, Ok(text)) => match serde_json::from_str(&text) {
                Ok(answer) => Ok(ApiAnswer::Json(answer, warning)),
                Err(_) => {
                    Err(ApiTrouble::Garbled { place: place(url), why: "its answer is not JSON".to_owned() })
                }
            },
            (200..=299, Err(error)) => Err(unanswered(url, &error)),
            (status @ (408 | 425 | 429 | 500..), _) => {
                Err(ApiTrouble::Busy { place: place(url), status, retry_after })
            }
            (status, text) => Err(refused(url, status, text.as_deref().unwrap_or_default())),
        }
    }
}

/// Whether the token may be sent to `to` as well: the same server, or an upgrade from http to https on the default
/// ports.
fn is_same_server(from: &Url, to: &Url) -> bool {
    let is_upgrade = (from.scheme(), to.scheme()) == ("http", "https")
        && from.port_or_known_default() == Some(80)
        && to.port_or_known_default() == Some(443);
    let is_same = from.scheme() == to.scheme() && from.port_or_known_default() == to.port_or_known_default();
    from.host_str() == to.host_str() && (is_same || is_upgrade)
}

enum ApiAnswer {
    /// The body of the response, and the text of its `Warning` header.
    Json(Value, Option<String>),
    Elsewhere(Url),
}

/// The text within a `Warning` header of the form `299 innkeeper "…"`.
fn warning_of(header: &str) -> Option<String> {
    let quoted = header.split_once('"')?.1.rsplit_once('"')?.0;
    let (mut text, mut is_escaped) = (String::new(), false);
    for c in quoted.chars() {
        is_escaped = c == '\\' && !is_escaped;
        if !is_escaped {
            text.push(c);
        }
    }
    Some(text)
}

/// Scheme, host and port. The path is left out because it may contain a secret.
pub fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}

fn authorities(path: &std::path::Path) -> Result<RootCerts, String> {
    let wrong = |what: String| format!("ca_file: {}: {what}", path.display());
    let pem = innkeeper_settings::read_file(path, innkeeper_settings::LARGEST_CERTIFICATES).map_err(wrong)?;
    let certificates: Vec<Certificate<'static>> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            Ok(_) | Err(_) => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(wrong("it has no certificate in PEM".to_owned()));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

fn unanswered(url: &Url, error: &ureq::Error) -> ApiTrouble {
    let place = place(url);
    match error {
        ureq::Error::Timeout(_) => ApiTrouble::TimedOut { place },
        ureq::Error::BodyExceedsLimit(_) => {
            ApiTrouble::Garbled { place, why: "its answer is too long or does not end".to_owned() }
        }
        ureq::Error::Protocol(_) | ureq::Error::Http(_) => {
            ApiTrouble::Garbled { place, why: "it does not speak HTTP".to_owned() }
        }
        other => ApiTrouble::Unreachable { place, why: other.to_string() },
    }
}

/// Parses a `Retry-After`, which is seconds or a date, and limits it to [`LONGEST_RETRY_AFTER`].
fn bounded_wait(text: &str) -> Option<Duration> {
    let now = Time::from_timestamp_millis(crate::clock::wall_ms())?;
    Some(retry_after::wait(text, now)?.min(LONGEST_RETRY_AFTER))
}

fn refused(url: &Url, status: u16, body: &str) -> ApiTrouble {
    ApiTrouble::Refused { place: place(url), status, why: words(body), is_own: is_own(status, body) }
}

/// Whether the body of a refusal has one of the two forms of Innkeeper's own errors.
fn is_own(status: u16, body: &str) -> bool {
    let Ok(body) = serde_json::from_str::<Value>(body) else { return false };
    let is_problem = body["status"] == status && body["detail"].is_string() && body["title"].is_string();
    is_problem || (body["success"] == false && body["message"].is_string())
}

/// The reason in a refusal's body, as one short line.
fn words(body: &str) -> String {
    let detail = serde_json::from_str::<Value>(body).ok();
    let detail = detail.as_ref().and_then(|value| {
        ["detail", "error", "message", "problem"].iter().find_map(|key| value.get(*key)?.as_str())
    });
    let text = detail.unwrap_or(body).trim();
    match text.is_empty() {
        true => "it gave no reason".to_owned(),
        false => text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        assert_eq!(bounded_wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(bounded_wait("999999999"), Some(LONGEST_RETRY_AFTER));
        assert_eq!(bounded_wait("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(bounded_wait("Fri, 01 Jan 2100 00:00:00 GMT"), Some(LONGEST_RETRY_AFTER));
        assert_eq!(bounded_wait("soon"), None);
    }

    #[test]
    fn a_refusal_of_a_proxy_is_not_innkeepers() {
        let problem =
            r#"{"type": "about:blank", "title": "Not Found", "status": 404, "detail": "no such path"}"#;
        assert!(is_own(404, problem));
        assert!(is_own(400, r#"{"success": false, "message": "app: is empty", "field": "app"}"#));
        assert!(!is_own(410, problem));
        for foreign in ["", "404 page not found\n", "{}", r#"{"message": "no Route matched"}"#] {
            assert!(!is_own(404, foreign), "{foreign}");
        }
    }

    #[test]
    fn a_token_goes_to_no_other_server() {
        for (from, to, is_same) in [
            ("http://a.example/x", "http://a.example/y", true),
            ("http://a.example/x", "https://a.example/x", true),
            ("http://a.example:80/x", "https://a.example:443/x", true),
            ("http://a.example/x", "http://a.example:8080/x", false),
            ("http://a.example:8080/x", "https://a.example/x", false),
            ("https://a.example/x", "http://a.example/x", false),
            ("https://a.example/x", "https://b.example/x", false),
        ] {
            let [from, to] = [from, to].map(|text| Url::parse(text).unwrap());
            assert_eq!(is_same_server(&from, &to), is_same, "{from} -> {to}");
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words() {
        assert_eq!(words(r#"{"detail": "app: is empty", "status": 400}"#), "app: is empty");
        assert_eq!(words("<h1>no</h1>\n"), "<h1>no</h1>");
        assert_eq!(words(""), "it gave no reason");
    }
}
