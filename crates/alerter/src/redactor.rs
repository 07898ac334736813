//! Keeps secrets out of everything that people read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::words;

/// The most characters of a `problem`.
const LONGEST_PROBLEM: usize = 700;
/// The shortest part of an address that is hidden on its own, in characters.
const SHORTEST_PART: usize = 8;

/// Whether a log record may show a secret: ureq tells at `debug` of every request with its whole address, and an
/// incoming webhook's address is a secret. The process's logger has to pass over such records, whatever level it is set to.
pub fn tells_secrets(metadata: &log::Metadata<'_>) -> bool {
    let root = metadata.target().split("::").next().unwrap_or_default();
    matches!(root, "ureq" | "ureq_proto") && metadata.level() > log::Level::Warn
}

/// Texts that people must not see. They are replaced in a provider's answer or an error.
#[derive(Clone, Default)]
pub(crate) struct Redactor(Vec<String>);

impl Redactor {
    /// Hides `text`, and its base64 form.
    pub(crate) fn hide(&mut self, text: &str) {
        self.hide_plain(text);
        self.hide_plain(&STANDARD.encode(text));
    }

    /// Hides an address and those parts of it that may be secret: password, path and query, each also percent-decoded.
    pub(crate) fn hide_address(&mut self, url: &Url) {
        let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        self.hide_plain(url.as_str());
        let path = url.path().split('/');
        let query = url.query().unwrap_or("").split(['&', '=']);
        for part in path.chain(query).filter(|part| part.len() >= SHORTEST_PART) {
            self.hide_plain(part);
            self.hide_plain(&decoded(part));
        }
        if let Some(password) = url.password() {
            for (user, password) in
                [(url.username(), password), (&decoded(url.username()), &decoded(password))]
            {
                self.hide(password);
                self.hide(&format!("{user}:{password}"));
            }
        }
    }

    fn hide_plain(&mut self, text: &str) {
        if !text.is_empty() {
            self.0.push(text.to_owned());
            // The longest is replaced first. Otherwise a shorter one within it could be replaced, and the rest of the
            // longer one would remain.
            self.0.sort_by_key(|known| std::cmp::Reverse(known.len()));
        }
    }

    /// `text` on one line, without secrets and control characters, cut at 700 characters.
    pub(crate) fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "…");
            }
        }
        words::cut(&words::one_line(text.trim()), LONGEST_PROBLEM)
    }
}
