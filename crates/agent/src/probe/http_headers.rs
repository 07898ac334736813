//! The headers of HTTP requests. Secret headers are only sent to the target's own host.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use innkeeper_core::secret::Secret;
use innkeeper_settings::{LARGEST_SECRET, Origin, Section};
use ureq_proto::http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, PROXY_AUTHORIZATION,
    TRANSFER_ENCODING, USER_AGENT,
};
use ureq_proto::http::{HeaderName, HeaderValue, Method, Request};
use url::Url;

use super::hidden::ProbeRedactor;
use super::read;

/// Most headers.
const MOST: usize = 100;

/// The `User-Agent`.
const AGENT: &str = concat!("innkeeper-agent/", env!("CARGO_PKG_VERSION"));

type Header = (HeaderName, HeaderValue);

/// The headers of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Headers {
    plain: Vec<Header>,
    /// Headers that are only sent to the target's own host.
    secret: Vec<Header>,
    authorization: Option<HeaderValue>,
}

/// The target of a request, compared with that of the first request.
#[derive(Debug, Clone)]
pub(crate) struct HeaderScope {
    first: (String, Option<String>, Option<u16>),
    is_first: bool,
    user: Secret,
    password: Secret,
}

impl HeaderScope {
    /// The scope of the first request. `user` and `password` come from the URL.
    pub(crate) fn new(url: &Url, user: Secret, password: Secret) -> Self {
        Self { first: origin(url), is_first: true, user, password }
    }

    pub(crate) fn moved_to(&mut self, url: &Url) {
        self.is_first = origin(url) == self.first;
    }

    /// Whether the request goes to the same scheme, host and port as the first.
    pub(crate) fn is_first(&self) -> bool {
        self.is_first
    }
}

fn origin(url: &Url) -> (String, Option<String>, Option<u16>) {
    (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default())
}

impl Headers {
    /// Reads `headers`, `headers_file`, `user_agent`, `username` with `password` or `password_file`, and
    /// `bearer` or `bearer_file`.
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let mut plain: Vec<Header> = section.list("headers", MOST, header);
        let mut secret: Vec<Header> = section.parsed("headers_file", Vec::new(), |path| {
            let content = read::file(path, LARGEST_SECRET)?;
            let text = String::from_utf8(content).map_err(|_| format!("{path:?} is no text in UTF-8"))?;
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            lines
                .map(|line| header(line).map_err(|_| format!("{path:?} has a line that is not Name: value")))
                .collect()
        });
        let agent = section.parsed("user_agent", HeaderValue::from_static(AGENT), |text| {
            HeaderValue::from_str(text).map_err(|_| "has characters that a header cannot have")
        });
        if !plain.iter().chain(&secret).any(|(name, _)| *name == USER_AGENT) {
            plain.push((USER_AGENT, agent));
        }
        // Headers that authenticate are secret, even if the configuration has them among the others.
        let of_people = |name: &HeaderName| [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name);
        secret.extend(plain.extract_if(.., |(name, _)| of_people(name)));
        secret.iter_mut().for_each(|(_, value)| value.set_sensitive(true));
        Self { authorization: authorization(section), plain, secret }
    }

    /// The values that must not be reported.
    pub(crate) fn hidden(&self) -> ProbeRedactor {
        let mut hidden = ProbeRedactor::default();
        for value in self.secret.iter().map(|(_, value)| value).chain(&self.authorization) {
            let text = String::from_utf8_lossy(value.as_bytes());
            hidden.add(&text);
            // `Bearer` and `Basic` are not secret, but the rest of the header is.
            hidden.add(text.split_once(' ').map_or("", |(_, rest)| rest));
        }
        hidden
    }

    /// Builds a request with all headers that may be sent to `scope`.
    pub(crate) fn request(
        &self,
        method: &Method,
        url: &Url,
        scope: &HeaderScope,
        body: &[u8],
        proxy: Option<HeaderValue>,
    ) -> Result<Request<()>, String> {
        let mut bare = url.clone();
        let _ = bare.set_username("");
        let _ = bare.set_password(None);
        bare.set_fragment(None);
        let failed = |error: ureq_proto::http::Error| format!("the request cannot be made: {error}");
        let mut request =
            Request::builder().method(method.clone()).uri(bare.as_str()).body(()).map_err(failed)?;
        let headers = request.headers_mut();
        let secret: &[Header] = if scope.is_first { &self.secret } else { &[] };
        for (name, value) in self.plain.iter().chain(secret) {
            headers.append(name.clone(), value.clone());
        }
        if scope.is_first {
            let of_address = (!scope.user.reveal().is_empty())
                .then(|| basic(&decoded(&scope.user), &decoded(&scope.password)));
            if let Some(value) = self.authorization.clone().or_else(|| of_address.and_then(Result::ok)) {
                headers.insert(AUTHORIZATION, value);
            }
        }
        if let Some(value) = proxy {
            headers.insert(PROXY_AUTHORIZATION, value);
        }
        if !headers.contains_key(ACCEPT) {
            headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        }
        // Compressed bodies cannot be read here, so none are requested.
        if !headers.contains_key(ACCEPT_ENCODING) {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if !body.is_empty() || matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        Ok(request)
    }
}

/// Decodes the user or the password of a URL, which are percent-encoded.
fn decoded(part: &Secret) -> String {
    let pair = format!("x={}", part.reveal().replace('+', "%2B"));
    let decoded = url::form_urlencoded::parse(pair.as_bytes()).next();
    decoded.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// The `Authorization` header for a user and a password.
pub(crate) fn basic(user: &str, password: &str) -> Result<HeaderValue, String> {
    let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let mut value = HeaderValue::from_str(&value).map_err(|error| error.to_string())?;
    value.set_sensitive(true);
    Ok(value)
}

fn authorization(section: &mut Section<'_>) -> Option<HeaderValue> {
    let user_origin = section.origin("username");
    let username = section.parsed("username", None, |text| match text.contains(':') {
        true => Err("has a colon, which Basic authorization cannot send"),
        false => Ok(Some(text.to_owned())),
    });
    let password = section.secret("password", "password_file");
    let bearer = section.secret("bearer", "bearer_file");
    if let (Some((_, origin)), None, true) = (&password, &username, user_origin == Origin::Default) {
        section.refuse("password", origin.clone(), "is only valid together with username");
    }
    if let (Some((_, origin)), Some(_)) = (&bearer, &username) {
        section.refuse("bearer", origin.clone(), "cannot be combined with username; give one of them");
    }
    match (username, bearer) {
        (Some(username), _) => {
            let password = password.map(|(password, _)| password);
            basic(&username, password.as_ref().map(Secret::reveal).unwrap_or_default()).ok()
        }
        (None, Some((token, origin))) => match HeaderValue::from_str(&format!("Bearer {}", token.reveal())) {
            Ok(mut value) => {
                value.set_sensitive(true);
                Some(value)
            }
            Err(_) => {
                section.refuse("bearer", origin, "has characters that a header cannot have");
                None
            }
        },
        (None, None) => None,
    }
}

/// Parses `Name: value`. The error never contains the value, which may be secret.
fn header(line: &str) -> Result<Header, String> {
    let (name, value) =
        line.split_once(':').ok_or("is not understood; write headers = { Name = \"value\" }")?;
    let parsed = HeaderName::from_bytes(name.trim().as_bytes());
    let parsed = parsed.map_err(|_| format!("{name:?} is no name of a header"))?;
    if [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, EXPECT].contains(&parsed) {
        return Err(format!("{name:?} is set by the request itself"));
    }
    let value = HeaderValue::from_str(value.trim())
        .map_err(|_| format!("{name:?} has characters that a header cannot have"))?;
    Ok((parsed, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(headers: &Headers, from: &str, to: &str) -> Request<()> {
        let (first, url) = (Url::parse(from).unwrap(), Url::parse(to).unwrap());
        let password = first.password().unwrap_or_default();
        let mut scope = HeaderScope::new(&first, Secret::new(first.username()), Secret::new(password));
        scope.moved_to(&url);
        headers.request(&Method::GET, &url, &scope, b"", None).unwrap()
    }

    #[test]
    fn secrets_go_to_the_first_host_alone() {
        let headers = Headers {
            plain: vec![header("X-Plain: 1").unwrap()],
            secret: vec![header("X-Key: hunter2").unwrap(), header("Cookie: hunter2").unwrap()],
            authorization: Some(basic("u", "hunter2").unwrap()),
        };
        let first = "https://a.example/";
        let own = sent(&headers, first, "https://a.example/next");
        assert!(own.headers().contains_key("x-key") && own.headers().contains_key("authorization"));
        for other in ["https://b.example/", "http://a.example/", "https://a.example:8443/"] {
            let request = sent(&headers, first, other);
            assert!(request.headers().contains_key("x-plain"));
            assert!(!format!("{:?}", request.headers()).contains("hunter2"), "{other}");
            for name in ["authorization", "cookie", "x-key"] {
                assert!(!request.headers().contains_key(name), "{other} {name}");
            }
        }
    }

    #[test]
    fn user_and_password_of_an_address_are_sent_as_a_header() {
        let request =
            sent(&Headers::default(), "http://us%65r:p%40ss+@a.example/?q=1", "http://a.example/?q=1");
        assert_eq!(request.headers()["authorization"], basic("user", "p@ss+").unwrap());
        assert_eq!(request.uri().to_string(), "http://a.example/?q=1");
        assert_eq!(request.headers()["accept-encoding"], "identity");
    }

    #[test]
    fn headers_that_cannot_be() {
        assert!(header("X-A hunter2").is_err());
        for bad in ["X A: hunter2", "X-A: hun\nter2", "Content-Length: 5", "Expect: 100-continue"] {
            let error = header(bad).unwrap_err();
            assert!(!error.contains("ter2"), "{error}");
        }
    }
}
