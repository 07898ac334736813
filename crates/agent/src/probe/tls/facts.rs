//! The content of a certificate, whether it is trusted or not.

use chrono::{DateTime, TimeDelta};
use innkeeper_core::Time;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

/// The content of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The common name of the subject, or the whole name if it has none.
    pub subject: String,
    /// The same of the issuer.
    pub issuer: String,
    /// The server names that the certificate is valid for.
    pub names: Vec<String>,
    /// The beginning of its validity.
    pub not_before: Time,
    /// The end of its validity, inclusive to the second.
    pub not_after: Time,
    /// The encoded names, which are compared to find the issuer.
    pub(super) subject_raw: Vec<u8>,
    pub(super) issuer_raw: Vec<u8>,
}

impl CertificateFacts {
    /// Parses a certificate; none if the data is not a certificate.
    pub(super) fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        let time = |seconds| DateTime::from_timestamp(seconds, 0);
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let names = alternative.iter().flat_map(|names| &names.value.general_names);
        Some(Self {
            subject: short(certificate.subject()),
            issuer: short(certificate.issuer()),
            names: names.filter_map(name).collect(),
            not_before: time(validity.not_before.timestamp())?,
            not_after: time(validity.not_after.timestamp())?,
            subject_raw: certificate.subject().as_raw().to_vec(),
            issuer_raw: certificate.issuer().as_raw().to_vec(),
        })
    }

    /// The total lifetime.
    pub fn lifetime(&self) -> TimeDelta {
        self.not_after - self.not_before
    }

    /// Whether subject and issuer are equal: a root or a self-signed certificate.
    pub(super) fn is_self_issued(&self) -> bool {
        self.subject_raw == self.issuer_raw
    }

    /// The name for messages: the subject, or the first of the server names.
    pub(crate) fn called(&self) -> &str {
        let first = self.names.first().map(String::as_str);
        if self.subject.is_empty() { first.unwrap_or("a certificate without a name") } else { &self.subject }
    }
}

fn short(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().filter_map(|part| part.as_str().ok()).last();
    common.map_or_else(|| name.to_string(), str::to_owned)
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => Some(std::net::Ipv4Addr::from(<[u8; 4]>::try_from(*bytes).ok()?).to_string()),
            16 => Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn certificate() -> Vec<u8> {
        let mut parameters =
            rcgen::CertificateParams::new(vec!["a.example".to_owned(), "192.0.2.1".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(2049, 12, 31);
        let key = rcgen::KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificates_own_words() {
        let facts = CertificateFacts::of(&CertificateDer::from(certificate())).unwrap();
        assert_eq!(facts.names, ["a.example", "192.0.2.1"]);
        assert_eq!(facts.not_after.to_rfc3339(), "2049-12-31T00:00:00+00:00");
        assert!(facts.is_self_issued() && facts.lifetime() > TimeDelta::days(1));
        assert_eq!(CertificateFacts::of(&CertificateDer::from(b"none".to_vec())), None);
    }

    proptest! {
        #[test]
        fn whatever_is_shown_is_read_or_refused(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        ) {
            let mut bytes = certificate();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let read = CertificateFacts::of(&CertificateDer::from(bytes));
            prop_assert!(read.is_none_or(|facts| facts.names.len() < 1000 && !facts.called().is_empty()));
        }
    }
}
