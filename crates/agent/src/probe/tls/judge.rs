//! Evaluates the certificates that a server shows: whether they are trusted, whether they are valid for its name, and
//! which of them count.
//!
//! The server's own certificate counts, and those on its path to a trusted root, without the root. Other certificates
//! do not: many servers send expired roots or certificates of other chains, which does no harm.

use std::time::Duration;

use innkeeper_core::Time;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};

use super::facts::CertificateFacts;
use super::{lifetime, roots};

/// The result for one chain.
#[derive(Debug, Clone)]
pub struct CertificateVerdict {
    /// Whether a trusted authority has issued the certificate, regardless of its dates. Otherwise the reason.
    pub trust: Result<(), String>,
    /// Whether the certificate is valid for the server's name. Otherwise the names that it is valid for.
    pub name: Result<(), String>,
    /// The certificates that count, the server's own first; empty if the server showed no valid certificate.
    pub used: Vec<CertificateFacts>,
    /// Number of certificates that the server showed.
    pub shown: usize,
}

impl CertificateVerdict {
    /// Whether the certificate is valid in every respect at `now`. Otherwise the reason.
    pub(crate) fn verified(&self, now: Time) -> Result<(), String> {
        self.trust.clone()?;
        self.name.clone()?;
        self.used.iter().try_for_each(|certificate| lifetime::holds(certificate, now))
    }
}

/// Evaluates the `chain` that a server showed for the name `server`.
pub(super) fn judge(
    chain: &[CertificateDer<'static>],
    server: &ServerName<'_>,
    authorities: &[CertificateDer<'static>],
    now: Time,
) -> CertificateVerdict {
    let shown = chain.len();
    let Some((own, others)) = chain.split_first() else {
        let nothing = Err("the server showed no certificate".to_owned());
        return CertificateVerdict { trust: nothing.clone(), name: nothing, used: Vec::new(), shown };
    };
    let Some(facts) = CertificateFacts::of(own) else {
        let broken = Err("what the server showed is not a certificate (X.509)".to_owned());
        return CertificateVerdict { trust: broken.clone(), name: broken, used: Vec::new(), shown };
    };
    let entity = match EndEntityCert::try_from(own) {
        Ok(entity) => entity,
        Err(error) => {
            let used = by_issuer(facts, others);
            let trust = Err(format!("its certificate cannot be verified: {}", in_words(&error)));
            return CertificateVerdict { trust, name: Ok(()), used, shown };
        }
    };
    let name = entity.verify_is_valid_for_subject_name(server).map_err(|_| other_name(server, &facts));
    let system = roots::of_system();
    let own_anchors: Vec<TrustAnchor<'_>> =
        authorities.iter().filter_map(|authority| anchor_from_trusted_cert(authority).ok()).collect();
    let anchors: Vec<TrustAnchor<'_>> = own_anchors.into_iter().chain(system.iter().cloned()).collect();
    let (trust, used) = match find_path(&entity, &anchors, others, &facts, now) {
        Ok(path) => {
            let path = path.iter().filter_map(CertificateFacts::of);
            (Ok(()), std::iter::once(facts).chain(path).collect())
        }
        // The configuration names this very certificate as trusted, so it is, even if it claims to be an authority's.
        Err(_) if authorities.contains(own) => (Ok(()), vec![facts]),
        Err(error) => (Err(distrusted(&error, &facts, others.len())), by_issuer(facts, others)),
    };
    CertificateVerdict { trust, name, used, shown }
}

/// The certificates between the server's own and a trusted root. Dates are checked separately. If they prevent a
/// path, the path is searched for a time at which the server's own certificate was valid: its end and its beginning.
fn find_path(
    entity: &EndEntityCert<'_>,
    anchors: &[TrustAnchor<'_>],
    others: &[CertificateDer<'static>],
    own: &CertificateFacts,
    now: Time,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let first = path_at(entity, anchors, others, now);
    match first {
        Err(Error::CertExpired { .. } | Error::CertNotValidYet { .. } | Error::InvalidCertValidity) => {
            let second = chrono::TimeDelta::seconds(1);
            let then = [own.not_after - second, own.not_before + second];
            let found = then.into_iter().find_map(|then| path_at(entity, anchors, others, then).ok());
            match found {
                Some(path) => Ok(path),
                None => Err(path_at(entity, anchors, others, own.not_after - second)
                    .err()
                    .unwrap_or(Error::UnknownIssuer)),
            }
        }
        other => other,
    }
}

fn path_at(
    entity: &EndEntityCert<'_>,
    anchors: &[TrustAnchor<'_>],
    others: &[CertificateDer<'static>],
    at: Time,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
    let seconds = u64::try_from(at.timestamp()).unwrap_or_default();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let path =
        entity.verify_for_usage(algorithms, anchors, others, at, KeyUsage::server_auth(), None, None)?;
    Ok(path.intermediate_certificates().map(|certificate| certificate.der().into_owned()).collect())
}

/// The server's own certificate and the issuers that follow from it, without roots. These count if no path to a
/// trusted root exists.
fn by_issuer(own: CertificateFacts, others: &[CertificateDer<'static>]) -> Vec<CertificateFacts> {
    let mut rest: Vec<CertificateFacts> = others.iter().filter_map(CertificateFacts::of).collect();
    let mut used = vec![own];
    while let Some(last) = used.last().filter(|last| !last.is_self_issued()) {
        let Some(at) = rest.iter().position(|other| other.subject_raw == last.issuer_raw) else { break };
        let next = rest.swap_remove(at);
        if next.is_self_issued() {
            break;
        }
        used.push(next);
    }
    used
}

fn other_name(server: &ServerName<'_>, facts: &CertificateFacts) -> String {
    let asked = server.to_str();
    match facts.names.as_slice() {
        [] => format!("its certificate is not for {asked}: it names no server (subjectAltName)"),
        names => {
            let shown: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
            let more = names.len().saturating_sub(5);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("its certificate is not for {asked}, but for {}{more}", shown.join(", "))
        }
    }
}

fn distrusted(error: &Error, facts: &CertificateFacts, others: usize) -> String {
    match error {
        // An authority with the same name but another key may be known here.
        _ if facts.is_self_issued() => "its certificate is not trusted here: it is self-signed".to_owned(),
        Error::UnknownIssuer if others == 0 => format!(
            "its certificate is not trusted here: issued by {:?}, which the server does not send and which is not \
             known here",
            facts.issuer
        ),
        Error::UnknownIssuer => {
            format!(
                "its certificate is not trusted here: its issuer {:?} leads to no known authority",
                facts.issuer
            )
        }
        error => format!("its certificate is not trusted here: {}", in_words(error)),
    }
}

fn in_words(error: &Error) -> String {
    match error {
        Error::CaUsedAsEndEntity => "it is the certificate of an authority (CA:TRUE)".to_owned(),
        Error::EndEntityUsedAsCa => "its issuer is not an authority".to_owned(),
        Error::RequiredEkuNotFoundContext(_) => "it is not for servers (extendedKeyUsage)".to_owned(),
        Error::InvalidSignatureForPublicKey => "a signature in its chain is wrong".to_owned(),
        Error::UnsupportedCertVersion => "it is not of X.509 version 3".to_owned(),
        Error::NameConstraintViolation => "its authority may not issue for this name".to_owned(),
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "it is signed with an unsupported algorithm".to_owned()
        }
        // The debug text begins with the name of the error's kind.
        error => format!("{error:?}").split([' ', '(']).next().unwrap_or_default().to_owned(),
    }
}
