//! Sends a request to another server and reads the whole answer. Size and time are limited, and forbidden addresses are
//! refused.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use innkeeper_core::Invalid;
use innkeeper_core::secret::Secret;
use ureq::http::{Method, Request};
use ureq::{Agent, AsSendBody};
use url::Url;

use crate::guard::Forbidden;
use crate::http::{self, Line};
use crate::keys::HttpOptions;

/// The time limit of an exchange, from the name look-up to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest body that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// Sends requests to other servers. It does not follow redirects, but returns them like other answers.
pub struct Exchange {
    /// For other machines; it uses the proxies that the environment names.
    outward: Agent,
    /// For this machine; it uses no proxy.
    inward: Agent,
}

/// The answer of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Exchange {
    /// An exchange that trusts the authorities in `ca_file` as well as the system's.
    ///
    /// # Errors
    /// Certificates that cannot be read.
    pub fn new(ca_file: Option<&PathBuf>) -> Result<Self, Invalid> {
        let options = options(ca_file);
        Ok(Self { outward: http::agent(false, &options)?, inward: http::agent(true, &options)? })
    }

    /// Checks that `url` is an address that may be requested.
    ///
    /// # Errors
    /// The problem, for the field `url`.
    pub fn check(url: &str) -> Result<(), Invalid> {
        checked(url).map(drop)
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// The problem, for people. It contains scheme, host and port of the address, and nothing that was sent.
    pub fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &[u8])],
        body: &[u8],
    ) -> Result<Answered, String> {
        let url = checked(url).map_err(|invalid| invalid.to_string())?;
        let place = http::place(&url);
        let agent = if http::is_loopback(&url) { &self.inward } else { &self.outward };
        let line = Line::over(agent.clone(), url, false);
        let unanswered = |error: &ureq::Error| match (error, http::advice(error)) {
            (ureq::Error::Other(cause), _) if cause.is::<Forbidden>() => format!("{place} {cause}"),
            (ureq::Error::Timeout(_), _) => format!("{place} did not answer within {} s", TIMEOUT.as_secs()),
            (error, Some(advice)) => format!("{place} could not be reached: {error}; {advice}"),
            (error, None) => format!("{place} could not be reached: {error}"),
        };
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|error| format!("{place} cannot be asked by {method:?}: {error}"))?;
        let mut request = Request::builder().method(&method).uri(line.url.as_str());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        line.check().map_err(|error| unanswered(&error))?;
        let sent = match method {
            Method::GET => run(agent, request.body(())),
            _ => run(agent, request.body(body)),
        };
        let response = sent.map_err(|error| unanswered(&error))?;
        let (head, body) = response.into_parts();
        let headers =
            head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
        let headers = headers.collect();
        let mut bytes = Vec::new();
        body.into_reader()
            .take(LARGEST + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("{place} broke off within its answer: {error}"))?;
        if bytes.len() as u64 > LARGEST {
            return Err(format!("{place} answered with more than {LARGEST} bytes"));
        }
        Ok(Answered { status: head.status.as_u16(), headers, body: bytes })
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exchange")
    }
}

fn run<B: AsSendBody>(
    agent: &Agent,
    request: Result<Request<B>, ureq::http::Error>,
) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
    agent.run(request?)
}

fn options(ca_file: Option<&PathBuf>) -> HttpOptions {
    HttpOptions { timeout: Some(TIMEOUT), ca_file: ca_file.cloned(), allow_link_local: false }
}

fn checked(url: &str) -> Result<Url, Invalid> {
    http::checked(&Secret::new(url), false, "give the address of a service")
}
