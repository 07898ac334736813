//! `http`: checks that a web server responds as expected. Each run opens new connections.

use innkeeper_core::secret::Secret;
use innkeeper_settings::Section;
use ureq_proto::http::{Method, StatusCode};
use url::Url;

use super::{ProbeCheck, Subject};
use crate::probe::attempt::ProbeAttempt;
use crate::probe::exchange::{ProbeAnswer, ProbeRequest, exchange};
use crate::probe::hidden::ProbeRedactor;
use crate::probe::http_body::{Body, Statuses};
use crate::probe::http_headers::{HeaderScope, Headers};
use crate::probe::lines::Stream;
use crate::probe::network::Network;
use crate::probe::outcome::{Failure, Phase, ProbeOutcome, ProbeStatus};
use crate::probe::proxy::Proxy;
use crate::probe::read;
use crate::probe::tls::lifetime::{self, Thresholds};
use crate::probe::tls::{Trust, facts::CertificateFacts};

/// Sends requests to a web server.
#[derive(Debug)]
pub(crate) struct Http {
    method: Method,
    headers: Headers,
    body: Vec<u8>,
    statuses: Statuses,
    expected: Body,
    redirects: u32,
    body_limit: usize,
    network: Network,
    proxy: Option<Proxy>,
    trust: Trust,
    thresholds: Thresholds,
    /// Whether the remaining lifetime of the certificates is checked.
    expiry: bool,
}

impl Http {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let body = section.parsed("body", Vec::new(), |text| Ok::<_, String>(text.as_bytes().to_vec()));
        let body_origin = section.origin("body_file");
        let from_file = section.parsed("body_file", None, |path| read::file(path, 1024 * 1024).map(Some));
        if from_file.is_some() && !body.is_empty() {
            section.refuse("body_file", body_origin, "cannot be combined with body; give one of them");
        }
        Self {
            method: section.parsed("method", Method::GET, |text| {
                let is_word = !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase() || c == '-');
                let method = Method::from_bytes(text.as_bytes())
                    .ok()
                    .filter(|method| is_word && *method != Method::CONNECT);
                method.ok_or_else(|| format!("{text:?} is no method; write GET, HEAD, POST, PUT, …"))
            }),
            headers: Headers::read(section),
            body: from_file.unwrap_or(body),
            statuses: Statuses::read(section),
            expected: Body::read(section),
            redirects: section.number("redirects", 5, 0..=20),
            body_limit: section.parsed("body_limit", 1024 * 1024, |text| {
                let size = usize::try_from(read::size(text)?).unwrap_or(usize::MAX);
                match (1..=16 << 20).contains(&size) {
                    true => Ok(size),
                    false => Err(format!("{text:?} is out of bounds; at least 1 byte, at most 16MiB")),
                }
            }),
            network: Network::read(section, &Phase::ALL),
            proxy: Proxy::read(section),
            trust: Trust::read(section),
            thresholds: Thresholds::read(section),
            expiry: section.flag("expiry", true),
        }
    }

    /// Sends one request. Returns the response and the certificates that the server showed.
    fn hop(
        &self,
        url: &Url,
        scope: &HeaderScope,
        request: (&Method, &[u8]),
        attempt: &mut ProbeAttempt,
    ) -> Result<(ProbeAnswer, Vec<CertificateFacts>), Failure> {
        let (host, port) = host_and_port(url).map_err(Failure::critical)?;
        let is_tls = url.scheme() == "https";
        let wire = match &self.proxy {
            Some(proxy) => proxy.connect(&self.network, attempt, is_tls.then_some((&*host, port)))?,
            None if scope.is_first() => self.network.connect(attempt, &host, port)?,
            None => self.network.connect_to(attempt, &host, port)?,
        };
        let mut certificates = Vec::new();
        let mut stream: Box<dyn Stream> = if is_tls {
            let own = self.trust.server_name.as_deref().filter(|_| scope.is_first());
            let (stream, verdict) =
                self.trust.handshake(wire, own.unwrap_or(&host), &self.network, attempt)?;
            certificates = verdict.used;
            Box::new(stream)
        } else {
            Box::new(wire)
        };
        let is_to_proxy = self.proxy.is_some() && !is_tls;
        let proxy = self.proxy.as_ref().filter(|_| is_to_proxy).and_then(Proxy::authorization);
        let (method, body) = request;
        let request = self.headers.request(method, url, scope, body, proxy).map_err(Failure::unknown)?;
        let asked = ProbeRequest { request, body, is_to_proxy, body_limit: self.body_limit };
        let answer = exchange(&mut stream, asked, &self.network.limits, attempt)?;
        Ok((answer, certificates))
    }

    fn judged(&self, answer: &ProbeAnswer) -> ProbeOutcome {
        let status = answer.status;
        let reason = status.canonical_reason().map(|reason| format!(" {reason}")).unwrap_or_default();
        let mut outcome = ProbeOutcome::ok(format!("status {}{reason}", status.as_u16()));
        if !self.statuses.has(status) {
            outcome = ProbeOutcome::new(
                ProbeStatus::Critical,
                format!("status {}{reason}; expected: {}", status.as_u16(), self.statuses),
            );
            // The beginning of an error page often names the cause.
            let start = &answer.body[..answer.body.len().min(2000)];
            outcome = outcome.with_details(&String::from_utf8_lossy(start));
        } else if let Err(problem) = self.expected.check(answer) {
            outcome = ProbeOutcome::new(
                ProbeStatus::Critical,
                format!("status {}, but {problem}", status.as_u16()),
            );
        }
        outcome.figure("status", f64::from(status.as_u16()), "").figure(
            "body_bytes",
            answer.body.len() as f64,
            "B",
        )
    }
}

/// The host and the port of a URL.
fn host_and_port(url: &Url) -> Result<(String, u16), String> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default();
    match (matches!(url.scheme(), "http" | "https"), port) {
        (true, Some(port)) if !host.is_empty() => Ok((host, port)),
        _ => Err(format!("{} is not a web address", shown(url))),
    }
}

/// The URL without user, password, query and fragment, which may be secret.
pub(crate) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    // These calls only fail for URLs without a host, which have no user.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}

fn parse(target: &str) -> Result<Url, String> {
    // The error does not contain the URL, which may have a password.
    let url = Url::parse(target)
        .map_err(|error| format!("is not a web address ({error}); write https://host/path"))?;
    host_and_port(&url).map_err(|problem| format!("{problem}; write https://host/path"))?;
    Ok(url)
}

/// The target of a redirect; none if the response is not a redirect or names no target.
fn location(answer: &ProbeAnswer, url: &Url) -> Option<Result<Url, Failure>> {
    if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let place = answer.headers.get("location")?;
    let place = String::from_utf8_lossy(place.as_bytes()).into_owned();
    let next = url.join(&place).map_err(|_| Failure::critical("it redirects to an invalid address"));
    Some(next.and_then(|next| match host_and_port(&next) {
        Ok(_) => Ok(next),
        Err(_) => {
            Err(Failure::critical(format!("it redirects to {}, which is not a web address", shown(&next))))
        }
    }))
}

impl ProbeCheck for Http {
    fn subject(&self, target: &str) -> Result<Subject, String> {
        let url = parse(target)?;
        let (host, _) = host_and_port(&url)?;
        Ok(Subject { label: shown(&url), host })
    }

    fn network(&self) -> Option<&Network> {
        Some(&self.network)
    }

    fn run(&self, target: &str, attempt: &mut ProbeAttempt) -> Result<ProbeOutcome, Failure> {
        let url = parse(target).map_err(Failure::unknown)?;
        let mut hidden = self.headers.hidden();
        match self.follow(url, &mut hidden, attempt) {
            Ok(outcome) => {
                let (summary, details) = (hidden.blotted(&outcome.summary), hidden.blotted(&outcome.details));
                Ok(ProbeOutcome { summary, details, ..outcome })
            }
            Err(failure) => Err(Failure { what: hidden.blotted(&failure.what), ..failure }),
        }
    }
}

impl Http {
    /// Sends the request and follows redirects.
    fn follow(
        &self,
        mut url: Url,
        hidden: &mut ProbeRedactor,
        attempt: &mut ProbeAttempt,
    ) -> Result<ProbeOutcome, Failure> {
        hidden.add_of(&url);
        let user = Secret::new(url.username());
        let password = Secret::new(url.password().unwrap_or_default());
        let mut scope = HeaderScope::new(&url, user, password);
        let (mut method, mut body) = (self.method.clone(), &self.body[..]);
        let mut worst: Option<(ProbeStatus, String)> = None;
        let mut certificates: Vec<CertificateFacts> = Vec::new();
        let mut hops = 0;
        let answer = loop {
            let hop = self.hop(&url, &scope, (&method, body), attempt);
            let (answer, seen) = hop.map_err(|failure| match hops {
                0 => failure,
                _ => Failure {
                    what: format!("after a redirect to {}: {}", shown(&url), failure.what),
                    ..failure
                },
            })?;
            if self.expiry {
                let judged = self.thresholds.judge(&seen, attempt.now);
                let judged = judged.map(|(status, what)| {
                    (status, format!("{}: {what}", url.host_str().unwrap_or_default()))
                });
                worst = [worst, judged].into_iter().flatten().max_by_key(|(status, _)| *status);
            }
            certificates.extend(seen);
            // A redirect that the configuration expects is not followed.
            let is_expected = self.statuses.names(answer.status);
            let next = if is_expected || self.redirects == 0 { None } else { location(&answer, &url) };
            let Some(next) = next else { break answer };
            if hops == self.redirects {
                return Err(Failure::critical(format!(
                    "it redirects more often than redirects = {} allows",
                    self.redirects
                )));
            }
            hops += 1;
            if answer.status == StatusCode::SEE_OTHER
                || (method == Method::POST && matches!(answer.status.as_u16(), 301 | 302))
            {
                body = &[];
                method = if method == Method::HEAD { Method::HEAD } else { Method::GET };
            }
            url = next?;
            hidden.add_of(&url);
            scope.moved_to(&url);
        };
        let mut outcome = self.judged(&answer);
        if hops > 0 {
            outcome.also(ProbeStatus::Ok, &format!("at {}", shown(&url)));
        }
        if let Some((status, what)) = worst {
            outcome.also(status, &what);
        }
        // The server's own certificate is the first of each chain. Of several hops, the one that expires first
        // counts.
        certificates.sort_by_key(|certificate| certificate.not_after);
        Ok(lifetime::figures(outcome, certificates.get(..1).unwrap_or_default(), attempt.now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_secrets() {
        let url = parse("https://user:hunter2@a.example:8443/path?token=hunter2#hunter2").unwrap();
        assert_eq!(shown(&url), "https://a.example:8443/path");
        for bad in ["a.example", "ftp://a.example/", "http://", "https://user:hunter2@", "mailto:a@b"] {
            assert!(!parse(bad).unwrap_err().contains("hunter2"), "{bad}");
        }
        assert_eq!(host_and_port(&parse("http://[::1]/").unwrap()).unwrap(), ("::1".into(), 80));
    }
}
