//! Removes secrets from reported texts. Servers may repeat parts of a request in their responses, including secrets.

use innkeeper_core::secret::Secret;
use url::Url;

/// Shorter texts occur too often by chance to be replaced.
const SHORTEST: usize = 4;

/// The secrets to remove.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProbeRedactor(Vec<Secret>);

impl ProbeRedactor {
    /// Adds a secret.
    pub(crate) fn add(&mut self, secret: &str) {
        if secret.len() >= SHORTEST && !self.0.iter().any(|known| known.reveal() == secret) {
            self.0.push(Secret::new(secret));
            // A secret that contains another one is replaced first.
            self.0.sort_by_key(|known| std::cmp::Reverse(known.reveal().len()));
        }
    }

    /// Adds the parts of an address that may be secret: user, password, query and fragment, both percent-encoded and
    /// decoded.
    pub(crate) fn add_of(&mut self, url: &Url) {
        let written = [url.username(), url.password().unwrap_or_default()];
        let rest = [url.query().unwrap_or_default(), url.fragment().unwrap_or_default()];
        written.into_iter().chain(rest).for_each(|text| self.add(text));
        url.query_pairs().for_each(|(_, value)| self.add(&value));
        let raw = url.query().unwrap_or_default().split('&');
        raw.filter_map(|pair| pair.split_once('=')).for_each(|(_, value)| self.add(value));
    }

    /// The text with each secret replaced.
    pub(crate) fn blotted(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.reveal(), "[…]"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_address_holds_is_blotted_out() {
        let mut hidden = ProbeRedactor::default();
        let url =
            Url::parse("https://someone:p%40ssw@a.example/x?key=hun%20ter2&v=1&k2=hunter#here").unwrap();
        hidden.add_of(&url);
        hidden.add("Bearer hunter");
        let page = "Cannot GET /x?key=hun%20ter2&v=1&k2=hunter (hun ter2) Bearer hunter p%40ssw 1";
        assert_eq!(hidden.blotted(page), "Cannot GET /x?[…] ([…]) […] […] 1");
        assert!(!format!("{hidden:?}").contains("hunter"));
    }
}
