//! Removes secrets from all texts for people, and reads certificates.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use innkeeper_core::Invalid;
use innkeeper_settings::{LARGEST_CERTIFICATES, read_file};
use percent_encoding::percent_decode_str;
use rustls::pki_types::CertificateDer;
use url::Url;

use crate::{tls, words};

/// The most characters of a `problem`.
const LONGEST_PROBLEM: usize = 700;
/// The shortest part of an address that is hidden on its own, in characters.
const SHORTEST_PART: usize = 8;

/// The certificates of authorities in a `ca_file` in PEM format; empty if there is no path.
pub(crate) fn read_certificates(path: Option<&PathBuf>) -> Result<Vec<CertificateDer<'static>>, Invalid> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let wrong = |problem: String| Invalid::new("ca_file", format!("{}: {problem}", path.display()));
    let pem = read_file(path, LARGEST_CERTIFICATES).map_err(wrong)?;
    let certificates = ureq::tls::parse_pem(&pem).filter_map(|item| match item {
        Ok(ureq::tls::PemItem::Certificate(certificate)) => {
            Some(CertificateDer::from(certificate.der().to_vec()))
        }
        _ => None,
    });
    let certificates: Vec<CertificateDer<'static>> = certificates.collect();
    if certificates.is_empty() {
        return Err(wrong("has no certificate; give certificates of authorities in PEM".to_owned()));
    }
    Ok(certificates)
}

/// The problem of a `ca_file` that is readable but makes no server trusted; none if it is useful, or cannot be read.
///
/// This is only a warning: if the system trusts the server's authority, everything works without the file.
pub fn useless_certificates(path: &PathBuf) -> Option<String> {
    let certificates = read_certificates(Some(path)).ok()?;
    tls::are_of_servers(&certificates).then(|| {
        format!(
            "{} has the certificate of a server, not of an authority, and no server is trusted by it; give the \
             certificate of the authority that issued it, or remove ca_file where this machine trusts that one anyway",
            path.display()
        )
    })
}

/// Whether a log record may contain a secret. At `debug` ureq logs every request with its whole address, and the
/// address of an incoming webhook is a secret. The logger of the process must drop these records at every level.
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
