//! The certificates of authorities that a `ca_file` names.

use std::path::PathBuf;

use innkeeper_core::Invalid;
use innkeeper_settings::{LARGEST_CERTIFICATES, read_file};
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

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
    are_of_servers(&certificates).then(|| {
        format!(
            "{} has the certificate of a server, not of an authority, and no server is trusted by it; give the \
             certificate of the authority that issued it, or remove ca_file where this machine trusts that one anyway",
            path.display()
        )
    })
}

/// Whether these are certificates of servers alone, each issued by an authority that is not among them: trusting them opens no way to
/// any server.
fn are_of_servers(certificates: &[CertificateDer<'_>]) -> bool {
    let anchors: Vec<_> =
        certificates.iter().filter_map(|certificate| anchor_from_trusted_cert(certificate).ok()).collect();
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
    !certificates.is_empty()
        && certificates.iter().all(|certificate| {
            let Ok(server) = EndEntityCert::try_from(certificate) else { return false };
            let usage = KeyUsage::server_auth();
            let found =
                server.verify_for_usage(algorithms, &anchors, &[], UnixTime::now(), usage, None, None);
            // The certificate of an authority is refused as such, and one that signed itself is found among the anchors.
            matches!(found, Err(webpki::Error::UnknownIssuer))
        })
}
