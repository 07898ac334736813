//! A verifier that accepts any certificate and records it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

/// Records the chain that a server shows. It is judged after the handshake.
#[derive(Debug)]
pub(crate) struct Recorder {
    chain: Mutex<Vec<CertificateDer<'static>>>,
    algorithms: WebPkiSupportedAlgorithms,
    /// Whether the server has proven that it owns the certificate's key. Otherwise the reason.
    proof: Mutex<Result<(), String>>,
    /// Whether the server requested a client certificate although none is configured.
    was_asked: AtomicBool,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self {
            chain: Mutex::default(),
            algorithms: rustls::crypto::ring::default_provider().signature_verification_algorithms,
            proof: Mutex::new(Ok(())),
            was_asked: AtomicBool::new(false),
        }
    }

    /// The recorded chain, the server's own certificate first.
    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the server requested a client certificate.
    pub(super) fn was_asked(&self) -> bool {
        self.was_asked.load(Ordering::SeqCst)
    }

    /// Whether the server has proven that it owns the certificate's key. Otherwise the reason.
    pub(super) fn proof(&self) -> Result<(), String> {
        self.proof.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records whether a signature is valid. The handshake continues, because some certificates have keys or formats
    /// that cannot be checked here but should be examined all the same.
    fn note(
        &self,
        checked: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        if let Err(error) = checked {
            let what = format!("the server does not prove that it owns the certificate ({error})");
            *self.proof.lock().unwrap_or_else(PoisonError::into_inner) = Err(what);
        }
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl ResolvesClientCert for Recorder {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.was_asked.store(true, Ordering::SeqCst);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = std::iter::once(end_entity).chain(intermediates);
        let mut chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        *chain = shown.map(|certificate| certificate.clone().into_owned()).collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.note(verify_tls12_signature(message, certificate, signed, &self.algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.note(verify_tls13_signature(message, certificate, signed, &self.algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
