//! Certificates of every kind, and servers that use them.

use std::net::TcpStream;
use std::sync::Arc;

use chrono::{DateTime, Datelike as _, Utc};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A certificate with its key.
pub struct Shown {
    pub der: CertificateDer<'static>,
    pub pem: String,
    parameters: CertificateParams,
    key: KeyPair,
}

/// The properties of a certificate.
pub struct Wanted<'a> {
    pub subject: &'a str,
    pub names: &'a [&'a str],
    pub from: &'a str,
    pub until: &'a str,
    pub is_authority: bool,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        Self { subject: "test", names: &[], from: "2026-01-01", until: "2027-01-01", is_authority: false }
    }
}

pub fn time(date: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(&format!("{date}T00:00:00Z")).expect("a date").to_utc()
}

impl Wanted<'_> {
    fn parameters(&self) -> CertificateParams {
        let names: Vec<String> = self.names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).expect("names that a certificate can hold");
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, self.subject);
        let day = |date| {
            let date = time(date);
            let number = |number: u32| u8::try_from(number).expect("a day or month");
            rcgen::date_time_ymd(date.year(), number(date.month()), number(date.day()))
        };
        (parameters.not_before, parameters.not_after) = (day(self.from), day(self.until));
        match self.is_authority {
            true => parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            false => parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
        }
        parameters
    }

    /// Creates a self-signed certificate.
    pub fn self_signed(&self) -> Shown {
        let key = KeyPair::generate().expect("a new key");
        let parameters = self.parameters();
        let certificate = parameters.self_signed(&key).expect("a self-signed certificate");
        Shown { der: certificate.der().clone(), pem: certificate.pem(), parameters, key }
    }

    /// Creates a certificate that `issuer` signs.
    pub fn signed_by(&self, issuer: &Shown) -> Shown {
        let key = KeyPair::generate().expect("a new key");
        self.signed_with(key, issuer)
    }

    /// Creates a certificate for this key that `issuer` signs.
    pub fn signed_with(&self, key: KeyPair, issuer: &Shown) -> Shown {
        let parameters = self.parameters();
        let signer = Issuer::from_params(&issuer.parameters, &issuer.key);
        let certificate = parameters.signed_by(&key, &signer).expect("a signed certificate");
        Shown { der: certificate.der().clone(), pem: certificate.pem(), parameters, key }
    }
}

impl Shown {
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// A certificate that this one signs, in PEM.
    pub fn sign(&self, parameters: &CertificateParams, key: &KeyPair) -> String {
        let signer = Issuer::from_params(&self.parameters, &self.key);
        parameters.signed_by(key, &signer).expect("a signed certificate").pem()
    }

    /// Another pair with the same key.
    pub fn key_again(&self) -> KeyPair {
        KeyPair::from_pem(&self.key_pem()).expect("its own key")
    }

    fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()))
    }

    /// The TLS configuration of a server that shows this certificate, followed by those.
    pub fn server(&self, others: &[&Shown]) -> Arc<ServerConfig> {
        let chain =
            std::iter::once(self).chain(others.iter().copied()).map(|shown| shown.der.clone()).collect();
        let config = builder().with_no_client_auth().with_single_cert(chain, self.key_der());
        Arc::new(config.expect("a certificate and its key"))
    }

    /// The TLS configuration of a server that shows this certificate but has another key.
    pub fn impostor(
        &self,
        others: &[&Shown],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let chain =
            std::iter::once(self).chain(others.iter().copied()).map(|shown| shown.der.clone()).collect();
        let own = KeyPair::generate().expect("a new key").serialize_der();
        let own = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own));
        unchecked(chain, &own, versions)
    }

    /// The same configuration, with TLS 1.2 only.
    pub fn server_of_tls_12(&self) -> Arc<ServerConfig> {
        let builder = builder_of(&[&rustls::version::TLS12]).with_no_client_auth();
        Arc::new(
            builder
                .with_single_cert(vec![self.der.clone()], self.key_der())
                .expect("a certificate and its key"),
        )
    }

    /// A configuration with TLS 1.2 only that requires a client certificate.
    pub fn server_of_tls_12_for_clients_of(&self, authority: &Shown, others: &[&Shown]) -> Arc<ServerConfig> {
        self.for_clients(authority, others, &[&rustls::version::TLS12])
    }

    /// One which wants a certificate of the client that `authority` has issued.
    pub fn server_for_clients_of(&self, authority: &Shown, others: &[&Shown]) -> Arc<ServerConfig> {
        self.for_clients(authority, others, rustls::ALL_VERSIONS)
    }

    fn for_clients(
        &self,
        authority: &Shown,
        others: &[&Shown],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.der.clone()).expect("a certificate of an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.build().expect("a verifier of clients");
        let chain =
            std::iter::once(self).chain(others.iter().copied()).map(|shown| shown.der.clone()).collect();
        let config =
            builder_of(versions).with_client_cert_verifier(verifier).with_single_cert(chain, self.key_der());
        Arc::new(config.expect("a certificate and its key"))
    }
}

/// The TLS side of a server that shows this chain, whether the key is its own or not.
pub fn unchecked(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let key = rustls::crypto::ring::sign::any_supported_type(key).expect("a key that can sign");
    let shown = rustls::sign::CertifiedKey::new(chain, key);
    let resolver = rustls::sign::SingleCertAndKey::from(shown);
    Arc::new(builder_of(versions).with_no_client_auth().with_cert_resolver(Arc::new(resolver)))
}

/// A certificate of X.509 version 1, which has no extensions, from 2026-11-30 to 2036-11-27; made by `openssl x509 -req`.
pub const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBJzCBzQIUNMvyayF45eBTeOm81mRC/jZl6iQwCgYIKoZIzj0EAwIwFjEUMBIG
A1UEAwwLb2xkLmV4YW1wbGUwHhcNMjYxMTMwMTUwMzMyWhcNMzYxMTI3MTUwMzMy
WjAWMRQwEgYDVQQDDAtvbGQuZXhhbXBsZTBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABMAsRhxIO4oD9htkGME8B9/xzvnS1rl4mokGtFnzNYGWVcfYvvWHd27dhVHh
YgKYt2sfmMSfb5Klx5kLFNSrSxkwCgYIKoZIzj0EAwIDSQAwRgIhAOCFf3gmA/tN
ZxBcsp8TdeKMgeAUfe992JczQo0NA9GqAiEA2XarfH17jpjQYhLUd7VAAYY37vao
eKz1sTy3cu7RP0A=
-----END CERTIFICATE-----
";

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    builder_of(rustls::ALL_VERSIONS)
}

fn builder_of(
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions of TLS")
}

/// The server's end of a connection, agreed on TLS; none where the client went away.
pub fn accept(
    config: &Arc<ServerConfig>,
    mut stream: TcpStream,
) -> Option<StreamOwned<ServerConnection, TcpStream>> {
    let mut connection = ServerConnection::new(Arc::clone(config)).expect("a connection");
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).ok()?;
    }
    Some(StreamOwned::new(connection, stream))
}
