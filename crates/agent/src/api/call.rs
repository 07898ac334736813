//! Calls of the management API for the commands: any method and body; the response is returned whole.

use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::http::{Method, Request, header};
use url::Url;

use super::{Api, ApiTrouble, bounded_wait, place, refused, unanswered};

/// Largest response that is read, in bytes.
const LARGEST: u64 = 64 * 1024 * 1024;

/// One request to the management API.
#[derive(Debug, Clone)]
pub struct Call<'c> {
    /// GET, POST, PUT, PATCH or DELETE.
    pub method: Method,
    /// Path at the address of the API, for example `/api/v1/reservations`.
    pub path: &'c str,
    /// Names and values of the query string.
    pub query: Vec<(&'c str, &'c str)>,
    /// Content type and body of the request.
    pub body: Option<(&'c str, String)>,
    /// Content type that the response should have.
    pub accept: &'c str,
}

impl<'c> Call<'c> {
    /// A request without a body.
    pub fn new(method: Method, path: &'c str) -> Self {
        Self { method, path, query: Vec::new(), body: None, accept: "application/json" }
    }

    /// A request with a JSON body.
    pub fn json(method: Method, path: &'c str, body: &Value) -> Self {
        Self { body: Some(("application/json", body.to_string())), ..Self::new(method, path) }
    }
}

impl Api {
    /// The address of the call at the management API, which a split deployment serves at another address than
    /// check-ins.
    fn managing(&self, call: &Call<'_>) -> Result<Url, ApiTrouble> {
        let mut url = self.address(self.api.as_ref(), call.path)?;
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        Ok(url)
    }

    /// Makes the call within `patience` and returns the body of the response as text. A redirect is an error.
    ///
    /// # Errors
    /// [`ApiTrouble`] says why there is no response.
    pub fn call(&self, call: Call<'_>, patience: Duration) -> Result<String, ApiTrouble> {
        let (url, until) = (self.managing(&call)?, Instant::now() + patience);
        let mut request =
            Request::builder().method(call.method).uri(url.as_str()).header(header::ACCEPT, call.accept);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        let body = match call.body {
            Some((kind, body)) => {
                request = request.header(header::CONTENT_TYPE, kind);
                body
            }
            None => String::new(),
        };
        let request = request.body(body).map_err(|_| {
            ApiTrouble::Unable("the token has characters that are not allowed in a header".to_owned())
        })?;
        let left = until.saturating_duration_since(Instant::now());
        let limited = self.agent.configure_request(request).timeout_global(Some(left)).build();
        let mut response = self.agent.run(limited).map_err(|error| unanswered(&url, &error))?;
        let status = response.status().as_u16();
        let header = |name: header::HeaderName| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let (wait, to) = (header(header::RETRY_AFTER), header(header::LOCATION));
        let read = response.body_mut().with_config().limit(LARGEST).read_to_string();
        let place = place(&url);
        match (status, read) {
            (200..=299, read) => read.map_err(|error| unanswered(&url, &error)),
            (300..=399, _) => Err(ApiTrouble::Redirected { place, to: to.unwrap_or_default() }),
            (408 | 425 | 429 | 500.., _) => Err(ApiTrouble::Busy {
                place,
                status,
                retry_after: wait.and_then(|text| bounded_wait(&text)),
            }),
            (_, read) => Err(refused(&url, status, read.as_deref().unwrap_or_default())),
        }
    }

    /// Like [`Self::call`], but parses the response as JSON.
    ///
    /// # Errors
    /// As for [`Self::call`], and [`ApiTrouble::Garbled`] if the response is not JSON.
    pub fn call_json(&self, call: Call<'_>, patience: Duration) -> Result<Value, ApiTrouble> {
        let url = self.managing(&call)?;
        let text = self.call(call, patience)?;
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|_| ApiTrouble::Garbled {
            place: place(&url),
            why: "its answer is not JSON; if the API has another address than ingest, set api".to_owned(),
        })
    }
}
