//! A JSON request to any address, signed where a secret is configured.
//!
//! The body is the notice with its `idempotency_key`. The headers:
//!
//! | header | value |
//! |---|---|
//! | `Idempotency-Key` | the same at every repeat of this notice: keep those seen, and pass over a repeat |
//! | `Innkeeper-Timestamp` | Unix seconds at which this request was made |
//! | `Innkeeper-Signature` | `sha256=` and the hex HMAC-SHA256, under the secret, of the timestamp, a dot, and the body as received |
//!
//! To verify a request, compute the signature over the **raw** body, compare in constant time, and refuse a
//! timestamp more than five minutes from the present, so that a request overheard once cannot be replayed:
//!
//! ```python
//! def genuine(secret: bytes, headers, body: bytes) -> bool:
//!     stamp = headers["Innkeeper-Timestamp"]
//!     mac = hmac.new(secret, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
//!     fresh = abs(time.time() - int(stamp)) < 300
//!     return fresh and hmac.compare_digest("sha256=" + mac, headers["Innkeeper-Signature"])
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, Mac};
use innkeeper_core::secret::Secret;
use innkeeper_core::ways::AlerterKind;
use innkeeper_core::{Clock, Invalid};
use innkeeper_settings::{LARGEST_SECRET, SecretSource, Section, named_secrets, read_file};
use sha2::Sha256;
use ureq::http::{HeaderName, HeaderValue};

use crate::http::Poster;
use crate::keys::{self, HttpOptions};
use crate::message::{KeyedNotice, one_by_one};
use crate::redactor::Redactor;
use crate::{Alerter, Message, Sent};

/// The headers that Innkeeper or the protocol sets.
const TAKEN: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "idempotency-key",
    "innkeeper-signature",
    "innkeeper-timestamp",
    "transfer-encoding",
    "upgrade",
];

/// The most headers of one webhook.
const MOST_HEADERS: usize = 100;

/// Names and values of headers; a value may be a secret.
type Headers = BTreeMap<String, Secret>;

/// `kind = "webhook"`.
#[derive(Debug, Clone)]
pub(crate) struct WebhookConfig {
    url: Option<SecretSource>,
    secret: Option<SecretSource>,
    headers: Headers,
    headers_file: Option<PathBuf>,
    pub(crate) options: HttpOptions,
}

impl WebhookConfig {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let url = keys::required_secret(section, "url", "url_file");
        let secret = section.secret_source("secret", "secret_file");
        let headers: Headers = section.named_secrets("headers").into_iter().collect();
        if let Err(invalid) = check_headers(&headers) {
            section.refuse("headers", section.origin("headers"), invalid.problem);
        }
        let headers_file = section.path_of("headers_file");
        Self { url, secret, headers, headers_file, options: HttpOptions::read(section) }
    }

    pub(crate) fn build(&self, clock: Arc<dyn Clock>) -> Result<Box<dyn Alerter>, Invalid> {
        let url = keys::value_of("url", self.url.as_ref())?;
        let secret = self.secret.as_ref().map(SecretSource::read).transpose()?;
        let headers = self.all_headers()?;
        let mut redactor = Redactor::default();
        for text in secret.iter().chain(headers.values()) {
            redactor.hide(text.reveal());
        }
        // In "Bearer x" the secret is the x.
        for word in headers.values().flat_map(|value| value.reveal().split_whitespace().skip(1)) {
            redactor.hide(word);
        }
        let poster = Poster::new(&url, &self.options, redactor, clock)?;
        Ok(Box::new(Webhook { poster, secret, headers }))
    }

    /// The checked headers of the section and of the file.
    fn all_headers(&self) -> Result<Headers, Invalid> {
        let mut headers = self.headers.clone();
        if let Some(path) = &self.headers_file {
            let wrong = |problem| Invalid::new("headers_file", format!("{}: {problem}", path.display()));
            let content = read_file(path, LARGEST_SECRET).map_err(wrong)?;
            let text = String::from_utf8(content).map_err(|_| wrong("it is no text in UTF-8".to_owned()))?;
            headers.extend(named_secrets(&text).map_err(wrong)?);
        }
        check_headers(&headers)?;
        Ok(headers)
    }
}

fn check_headers(headers: &Headers) -> Result<(), Invalid> {
    if headers.len() > MOST_HEADERS {
        return Err(Invalid::new(
            "headers",
            format!("has {} headers; at most {MOST_HEADERS}", headers.len()),
        ));
    }
    for (name, value) in headers {
        let wrong = |problem: &str| Err(Invalid::new("headers", format!("{name:?} {problem}")));
        if HeaderName::try_from(name).is_err() {
            return wrong("is not the name of a header; use letters, digits and dashes");
        }
        if TAKEN.contains(&name.to_ascii_lowercase().as_str()) {
            return wrong("is set by Innkeeper itself; leave it out");
        }
        if HeaderValue::try_from(value.reveal()).is_err() {
            return wrong("has a value with control characters; use printable text");
        }
    }
    Ok(())
}

struct Webhook {
    poster: Poster,
    secret: Option<Secret>,
    headers: Headers,
}

impl Alerter for Webhook {
    fn send(&self, message: &Message<'_>) -> Sent {
        one_by_one(message, |notice, key| match KeyedNotice::json(notice, key) {
            Ok(body) => self.post(key, &body),
            Err(failed) => failed,
        })
    }

    fn takes_digests(&self) -> bool {
        false
    }

    fn kind(&self) -> AlerterKind {
        AlerterKind::Webhook
    }

    fn longest(&self) -> Duration {
        self.poster.longest()
    }
}

impl Webhook {
    fn post(&self, key: &str, body: &[u8]) -> Sent {
        let timestamp = self.poster.now().timestamp().to_string();
        let signature =
            match self.secret.as_ref().map(|secret| signature(secret, &timestamp, body)).transpose() {
                Ok(signature) => signature,
                Err(failed) => return failed,
            };
        let mut headers = vec![("Idempotency-Key", key), ("Innkeeper-Timestamp", timestamp.as_str())];
        headers.extend(signature.as_deref().map(|signature| ("Innkeeper-Signature", signature)));
        headers.extend(self.headers.iter().map(|(name, value)| (name.as_str(), value.reveal())));
        self.poster.post(&headers, body)
    }
}

/// `sha256=` and the hex HMAC-SHA256 of "{timestamp}.{body}".
fn signature(secret: &Secret, timestamp: &str, body: &[u8]) -> Result<String, Sent> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes())
        .map_err(|error| Sent::never(format!("the request cannot be signed: {error}")))?;
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    Ok(format!("sha256={:x}", mac.finalize().into_bytes()))
}
