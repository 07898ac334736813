//! What is known of the provider: its own description and its keys, fetched when they are needed first and then kept for
//! a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use innkeeper_alerter::{Exchange, is_loopback};
use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType,
    CoreSubjectIdentifierType,
};
use openidconnect::http::{HeaderName, HeaderValue, Response, StatusCode};
use openidconnect::url::Url;
use openidconnect::{
    AdditionalProviderMetadata, DiscoveryError, HttpRequest, HttpResponse, IssuerUrl, ProviderMetadata,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{OpenIdTrouble, shown};

/// How long a description and its keys hold.
const HOLDS: Duration = Duration::from_secs(3600);
/// How soon keys are fetched again for one that is not among them.
const FOR_A_KEY: Duration = Duration::from_secs(60);
/// The same for a description that is old, and could not be had anew: it goes on meanwhile.
const FOR_A_NEWER: Duration = Duration::from_secs(60);
/// How long it is remembered that the provider was away: whoever comes meanwhile need not wait to hear it.
const AWAY: Duration = Duration::from_secs(5);

/// A provider's description, with what this program reads of it beside the common.
pub(super) type Description = ProviderMetadata<
    More,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct More {
    /// Whether each answer says who gives it (RFC 9207).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for More {}

/// See above.
pub(super) struct Known {
    issuer: IssuerUrl,
    exchange: Exchange,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    description: Option<(Instant, Arc<Description>)>,
    /// When keys were fetched for one that was not among them.
    for_a_key: Option<Instant>,
    away: Option<(Instant, OpenIdTrouble)>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Unanswered(String);

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unanswered {}

impl Known {
    pub fn new(issuer: IssuerUrl, exchange: Exchange) -> Self {
        Self { issuer, exchange, state: Mutex::default() }
    }

    /// The description with its keys. One asks for it, the others wait for that. An old one goes on while there is none
    /// to be had.
    pub fn description(&self) -> Result<Arc<Description>, OpenIdTrouble> {
        self.description_at(Instant::now())
    }

    fn description_at(&self, now: Instant) -> Result<Arc<Description>, OpenIdTrouble> {
        let mut state = self.state.lock();
        let old = state.description.clone();
        match &old {
            Some((at, description)) if now.saturating_duration_since(*at) < HOLDS => {
                return Ok(Arc::clone(description));
            }
            _ => {}
        }
        match (self.fetch(&mut state, now), old) {
            (Err(_), Some((_, description))) => Ok(description),
            (fetched, _) => fetched,
        }
    }

    /// The same with keys that were fetched after `old`, for a key that is not among those; none when that was done just before.
    pub fn newer(&self, old: &Arc<Description>) -> Result<Option<Arc<Description>>, OpenIdTrouble> {
        let mut state = self.state.lock();
        if let Some((_, now)) = state.description.as_ref().filter(|(_, now)| !Arc::ptr_eq(now, old)) {
            return Ok(Some(Arc::clone(now)));
        }
        if state.for_a_key.is_some_and(|at| at.elapsed() < FOR_A_KEY) {
            return Ok(None);
        }
        state.for_a_key = Some(Instant::now());
        self.fetch(&mut state, Instant::now()).map(Some)
    }

    fn fetch(&self, state: &mut State, now: Instant) -> Result<Arc<Description>, OpenIdTrouble> {
        let is_known = state.description.is_some();
        let rests = if is_known { FOR_A_NEWER } else { AWAY };
        let away = state.away.as_ref().filter(|(at, _)| now.saturating_duration_since(*at) < rests);
        if let Some((_, trouble)) = away {
            return Err(trouble.clone());
        }
        let found = Description::discover(&self.issuer, &|request| self.send(request));
        match found
            .map_err(|error| OpenIdTrouble::Away(undiscovered(&error)))
            .and_then(|found| self.checked(found))
        {
            Ok(found) => {
                let found = Arc::new(found);
                *state = State { description: Some((now, Arc::clone(&found))), away: None, ..*state };
                Ok(found)
            }
            Err(trouble) => {
                match is_known {
                    true => log::warn!(
                        "no newer description of the OpenID provider is available; the old one stays in use. {}",
                        trouble.problem()
                    ),
                    false => log::warn!("{}", trouble.problem()),
                }
                // From when it is known, which may be seconds later.
                state.away = Some((now.max(Instant::now()), trouble.clone()));
                Err(trouble)
            }
        }
    }

    /// A description whose addresses are those of a provider.
    fn checked(&self, found: Description) -> Result<Description, OpenIdTrouble> {
        // Where browsers are sent; the others are looked at when they are asked.
        self.allow(found.authorization_endpoint().url()).map_err(|error| OpenIdTrouble::Away(error.0))?;
        Ok(found)
    }

    /// Sends a request to an address that the provider has named.
    pub fn send(&self, request: HttpRequest) -> Result<HttpResponse, Unanswered> {
        let (head, body) = request.into_parts();
        let url = head.uri.to_string();
        let parsed = Url::parse(&url).map_err(|error| Unanswered(format!("an invalid address: {error}")))?;
        self.allow(&parsed)?;
        let headers: Vec<(&str, &[u8])> =
            head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let answered = self.exchange.send(head.method.as_str(), &url, &headers, &body).map_err(Unanswered)?;
        let odd = |_| Unanswered("an answer that is not HTTP".to_owned());
        let mut response = Response::new(answered.body);
        *response.status_mut() = StatusCode::from_u16(answered.status).map_err(|_| odd(()))?;
        for (name, value) in answered.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| odd(()))?;
            let value = HeaderValue::from_bytes(&value).map_err(|_| odd(()))?;
            response.headers_mut().append(name, value);
        }
        Ok(response)
    }

    /// A provider that is reached over TLS sends nobody to an address without.
    fn allow(&self, url: &Url) -> Result<(), Unanswered> {
        let is_here = |url: &Url| {
            url.scheme() == "http"
                && url.host_str().is_some_and(|host| is_loopback(host.trim_matches(['[', ']'])))
        };
        match url.scheme() == "https" || (is_here(url) && is_here(self.issuer.url())) {
            true => Ok(()),
            false => Err(Unanswered(format!(
                "it names an address without TLS, of {}",
                shown(url.host_str().unwrap_or_default())
            ))),
        }
    }
}

fn undiscovered(error: &DiscoveryError<Unanswered>) -> String {
    match error {
        DiscoveryError::Request(error) => error.0.clone(),
        DiscoveryError::Response(status, ..) => format!("its description or its keys: {status}"),
        DiscoveryError::Validation(what) => {
            format!("{}; write issuer just as the provider calls itself", shown(what))
        }
        DiscoveryError::Parse(error) => {
            format!("its description or its keys cannot be read: {}", shown(&error.to_string()))
        }
        error => format!("its description cannot be had: {}", shown(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A provider that describes itself this often, and then says that it cannot; how often it was asked in all.
    fn provider(describes: usize) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let (counted, own) = (Arc::clone(&asked), issuer.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(&stream).lines().map(Result::unwrap);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let (status, body) = if head[0].contains("/jwks") {
                    ("200 OK", "{\"keys\":[]}".to_owned())
                } else if counted.fetch_add(1, Ordering::SeqCst) < describes {
                    let body = serde_json::json!({
                        "issuer": own, "authorization_endpoint": format!("{own}/a"), "jwks_uri": format!("{own}/jwks"),
                        "token_endpoint": format!("{own}/t"), "response_types_supported": ["code"],
                        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
                    });
                    ("200 OK", body.to_string())
                } else {
                    ("500 Internal Server Error", String::new())
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
                     connection: close\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        (issuer, asked)
    }

    fn known(issuer: &str) -> Known {
        Known::new(IssuerUrl::new(issuer.to_owned()).unwrap(), Exchange::new(None).unwrap())
    }

    #[test]
    fn an_old_description_goes_on_while_no_newer_one_can_be_had() {
        let (issuer, asked) = provider(1);
        let (known, begun) = (known(&issuer), Instant::now());
        let first = known.description_at(begun).unwrap();
        assert!(Arc::ptr_eq(&first, &known.description_at(begun + HOLDS / 2).unwrap()));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let later = begun + HOLDS + Duration::from_secs(1);
        for _ in 0..3 {
            assert!(Arc::ptr_eq(&first, &known.description_at(later).unwrap()));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2, "asked once a minute");
        assert!(Arc::ptr_eq(&first, &known.description_at(later + FOR_A_NEWER).unwrap()));
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn a_newer_description_takes_the_place_of_an_old_one_and_none_at_all_is_said() {
        let (issuer, asked) = provider(2);
        let (old, begun) = (known(&issuer), Instant::now());
        let first = old.description_at(begun).unwrap();
        assert!(!Arc::ptr_eq(&first, &old.description_at(begun + HOLDS).unwrap()));
        let fresh = known(&issuer);
        for _ in 0..2 {
            assert!(
                matches!(fresh.description_at(begun), Err(OpenIdTrouble::Away(what)) if what.contains("500"))
            );
        }
        assert_eq!(asked.load(Ordering::SeqCst), 3, "nobody asks again at once");
        assert!(fresh.description_at(Instant::now() + AWAY).is_err());
        assert_eq!(asked.load(Ordering::SeqCst), 4);
    }
}
