//! Asks an address for its health: one GET request, of whose answer only the beginning is read.

use std::time::Duration;

use innkeeper_core::Invalid;
use innkeeper_core::secret::Secret;

use crate::guard::Forbidden;
use crate::http::{self, Line};
use crate::keys::HttpOptions;
use crate::redactor::Redactor;

/// The time limit for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends GET requests to one address.
pub struct HttpAsker {
    line: Line,
    place: String,
    redactor: Redactor,
}

impl HttpAsker {
    /// An asker of `address`, which may be a secret.
    ///
    /// # Errors
    /// A text that is no address, or an address that only the machine itself may request (see `guard`).
    pub fn new(address: &Secret) -> Result<Self, Invalid> {
        let options = HttpOptions { timeout: Some(TIMEOUT), ca_file: None, allow_link_local: false };
        let url = http::checked(address, options.allow_link_local, "give the address of a service")?;
        let mut redactor = Redactor::default();
        redactor.hide_address(&url);
        Ok(Self { place: http::place(&url), line: Line::new(url, &options)?, redactor })
    }

    /// Sends the request and returns the body of a successful answer.
    ///
    /// # Errors
    /// Any other status, or what went wrong, as a text for people without secrets.
    pub fn ask(&self) -> Result<String, String> {
        let get = || self.line.agent.get(self.line.url.as_str()).header("Accept", "application/json").call();
        let failed = |problem: String| self.redactor.clean(&format!("{} {problem}", self.place));
        // This check fails only for the address itself: for what its name resolves to.
        self.line.check().map_err(|error| failed(error.to_string()))?;
        let way = self.line.way();
        let response = get().map_err(|error| {
            failed(match &error {
                ureq::Error::Other(cause) if cause.is::<Forbidden>() && !way.is_empty() => {
                    format!("is reached{way}, which {cause}; {}", http::OTHER_PROXY)
                }
                ureq::Error::Other(cause) if cause.is::<Forbidden>() => cause.to_string(),
                error => format!("could not be reached{way}: {error}"),
            })
        })?;
        let status = response.status();
        let text = http::beginning(response);
        if !status.is_success() {
            return Err(self.redactor.clean(&format!("{} answered {status}", self.place)));
        }
        Ok(text)
    }
}

impl std::fmt::Debug for HttpAsker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpAsker").field("place", &self.place).finish_non_exhaustive()
    }
}
