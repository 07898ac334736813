//! An HTTP client that returns a response for every status, including errors.

use std::time::Duration;

use serde_json::Value;

/// A response.
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
    /// The body as JSON. Panics if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// A client. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Client(ureq::Agent);

impl Client {
    /// A client with the timeout `patience` for each response.
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

    /// Sends a request and returns the response, whatever its status.
    ///
    /// # Errors
    /// The connection was refused or broke, or the timeout passed.
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

    /// Sends a GET request. Panics if the connection fails.
    pub fn get(&self, url: &str) -> Response {
        self.send("GET", url, &[], b"").unwrap_or_else(|error| panic!("GET {url}: {error}"))
    }

    /// Posts a JSON document. Panics if the connection fails.
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
