//! Keeps secrets out of everything that people read, and reads certificates.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use innkeeper_core::Invalid;
use innkeeper_settings::{LARGEST_CERTIFICATES, read_file};
use percent_encoding::percent_decode_str;
use rustls::pki_types::CertificateDer;
use url::Url;

use crate::{tls, words};

/// The longest `problem`, in characters.
const LONGEST_PROBLEM: usize = 700;
/// The shortest part of an address that is kept hidden on its own.
const SHORTEST_PART: usize = 8;

/// The certificates of authorities in a `ca_file`, which is in PEM; none where there is no file.
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

/// What is wrong with a `ca_file` that can be used and yet opens no way to any server; none where it does, or cannot be read.
///
/// It stops nobody: where the system trusts the server's authority, all is well without the file.
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

/// Whether a log record may show a secret: ureq tells at `debug` of every request with its whole address, and an
/// incoming webhook's address is a secret. The process's logger has to pass over such records, whatever level it is set to.
pub fn tells_secrets(metadata: &log::Metadata<'_>) -> bool {
    let root = metadata.target().split("::").next().unwrap_or_default();
    matches!(root, "ureq" | "ureq_proto") && metadata.level() > log::Level::Warn
}

/// What must not be read by people: replaced wherever it turns up in a provider's answer or an error.
#[derive(Clone, Default)]
pub(crate) struct Redactor(Vec<String>);

impl Redactor {
    /// Hides `text`, also in base64.
    pub(crate) fn hide(&mut self, text: &str) {
        self.hide_plain(text);
        self.hide_plain(&STANDARD.encode(text));
    }

    /// Hides an address and the parts of it that may be secret: password, path, query. Each also as it reads
    /// without its percent signs.
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
            // The longest first, or a part of it would be replaced and the rest remain.
            self.0.sort_by_key(|known| std::cmp::Reverse(known.len()));
        }
    }

    /// `text` as one line fit for people: no secrets, no control characters, at most 700 characters.
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
