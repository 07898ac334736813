//! An authority of the test's own, and the certificates that servers in the test show.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// An authority that nobody knows until its certificate is given to them as a `ca_file`.
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

    /// Its certificate, in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes its certificate to a file, in PEM.
    pub fn write_to(&self, path: &Path) {
        std::fs::write(path, self.pem()).expect("a writable path for the authority's certificate");
    }

    /// Writes the certificate and the key of a server that is known by these names or addresses, both in PEM.
    pub fn write_server(&self, names: &[&str], certificate: &Path, key: &Path) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let pair = KeyPair::generate().expect("a new key");
        let parameters = CertificateParams::new(names).expect("names that a certificate can hold");
        let signed = parameters.signed_by(&pair, &self.issuer).expect("a signed certificate");
        std::fs::write(certificate, signed.pem()).expect("a writable path for the certificate");
        std::fs::write(key, pair.serialize_pem()).expect("a writable path for its key");
    }

    /// The TLS side of a server that is known by these names or addresses.
    pub fn server(&self, names: &[&str]) -> Arc<ServerConfig> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a new key");
        let parameters = CertificateParams::new(names).expect("names that a certificate can hold");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a signed certificate");
        serving(&certificate, &key)
    }
}

/// The TLS side of a server that has signed its certificate itself, which is written to a file, in PEM. With `as_authority` it says that it is
/// an authority's, as those do that `openssl req -x509` makes.
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
