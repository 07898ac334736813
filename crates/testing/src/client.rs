//! An HTTP client that looks at every status alike.

use std::time::Duration;

use serde_json::Value;

/// What came back.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Response {
    /// The body as JSON; panics when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// A client; clones share its connections.
#[derive(Debug, Clone)]
pub struct Client(ureq::Agent);

impl Client {
    /// A client that waits at most `patience` for each answer.
    pub fn new(patience: Duration) -> Self {
        Self(
            ureq::Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .timeout_global(Some(patience))
                .allow_non_standard_methods(true)
                .build()
                .into(),
        )
    }

    /// Sends a request. An error is one of the connection: refused, cut off, too slow.
    ///
    /// # Errors
    /// See above.
    pub fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, ureq::Error> {
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = self.0.run(request.body(body)?)?;
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let status = response.status().as_u16();
        Ok(Response {
            status,
            headers,
            body: String::from_utf8_lossy(&response.body_mut().read_to_vec()?).into_owned(),
        })
    }

    /// GET; panics when the connection fails.
    pub fn get(&self, url: &str) -> Response {
        self.send("GET", url, &[], b"").unwrap_or_else(|error| panic!("GET {url}: {error}"))
    }

    /// POST of a JSON document; panics when the connection fails.
    pub fn post(&self, url: &str, json: &Value) -> Response {
        let headers = [("content-type", "application/json")];
        self.send("POST", url, &headers, json.to_string().as_bytes())
            .unwrap_or_else(|error| panic!("POST {url}: {error}"))
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new(Duration::from_secs(30))
    }
}
