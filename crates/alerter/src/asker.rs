//! Asking an address how it is: one GET, and the beginning of its answer.

use std::time::Duration;

use innkeeper_core::Invalid;
use innkeeper_core::secret::Secret;
use url::Url;

use crate::hidden::Hidden;
use crate::http::{self, Options};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks one address.
pub struct Asker {
    agent: ureq::Agent,
    url: Url,
    place: String,
    hidden: Hidden,
}

impl Asker {
    /// An asker of `address`, which may be a secret.
    ///
    /// # Errors
    /// An address that is none, or one that only the machine itself should ask.
    pub fn new(address: &Secret) -> Result<Self, Invalid> {
        let options = Options { timeout: Some(TIMEOUT), ca_file: None, allow_link_local: false };
        let url = http::checked(address, options.allow_link_local)?;
        let mut hidden = Hidden::default();
        hidden.hide_address(&url);
        let agent = http::agent(&url, &options)?;
        Ok(Self { agent, place: http::place(&url), url, hidden })
    }

    /// Asks, and returns what was answered with a status of success.
    ///
    /// # Errors
    /// What went wrong, for people; without secrets.
    pub fn ask(&self) -> Result<String, String> {
        let response = self.agent.get(self.url.as_str()).header("Accept", "application/json").call();
        let response = response
            .map_err(|error| self.hidden.clean(&format!("{} could not be reached: {error}", self.place)))?;
        let status = response.status();
        let text = http::beginning(response);
        if !status.is_success() {
            return Err(self.hidden.clean(&format!("{} answered {status}", self.place)));
        }
        Ok(text)
    }
}

impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asker").field("place", &self.place).finish_non_exhaustive()
    }
}
