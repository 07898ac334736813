//! A certificate authority for a test, and certificates for the test's servers.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// An authority that clients trust only if they get its certificate, for example as a `ca_file`.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority with a new key.
    pub fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "Innkeeper test authority");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a new key");
        let issuer = CertifiedIssuer::self_signed(parameters, key).expect("a self-signed certificate");
        Self { issuer }
    }

    /// The authority's certificate in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes the authority's certificate to a file in PEM.
    pub fn write_to(&self, path: &Path) {
        std::fs::write(path, self.pem()).expect("a writable path for the authority's certificate");
    }

    /// Writes the certificate and the key of a server with these names or addresses, both in PEM.
    pub fn write_server(&self, names: &[&str], certificate: &Path, key: &Path) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let pair = KeyPair::generate().expect("a new key");
        let parameters = CertificateParams::new(names).expect("names that a certificate can hold");
        let signed = parameters.signed_by(&pair, &self.issuer).expect("a signed certificate");
        std::fs::write(certificate, signed.pem()).expect("a writable path for the certificate");
        std::fs::write(key, pair.serialize_pem()).expect("a writable path for its key");
    }

    /// The TLS configuration of a server with these names or addresses.
    pub fn server(&self, names: &[&str]) -> Arc<ServerConfig> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a new key");
        let parameters = CertificateParams::new(names).expect("names that a certificate can hold");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a signed certificate");
        serving(&certificate, &key)
    }
}

/// The TLS configuration of a server with a self-signed certificate, which is written to `path` in PEM. With
/// `as_authority` the certificate claims to be an authority's, like those made by `openssl req -x509`.
pub fn self_signed(names: &[&str], as_authority: bool, path: &Path) -> Arc<ServerConfig> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names).expect("names that a certificate can hold");
    parameters.is_ca =
        if as_authority { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    let key = KeyPair::generate().expect("a new key");
    let certificate = parameters.self_signed(&key).expect("a self-signed certificate");
    std::fs::write(path, certificate.pem()).expect("a writable path for the certificate");
    serving(&certificate, &key)
}

fn serving(certificate: &Certificate, key: &KeyPair) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a certificate and its key");
    Arc::new(config)
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
