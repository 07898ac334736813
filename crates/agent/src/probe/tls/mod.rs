//! TLS: the handshake, and the certificates that the server shows in it.
//!
//! The handshake accepts every certificate. Afterwards [`judge`] determines whether it is trusted, whether it is
//! valid for the name, and until when. Thus an expired, foreign or self-signed certificate can be examined, and
//! nothing is sent before the certificate was judged.

pub(crate) mod facts;
pub(crate) mod judge;
pub(crate) mod lifetime;
mod roots;
mod verifier;

use std::io;
use std::sync::Arc;

use innkeeper_settings::{LARGEST_CERTIFICATES, LARGEST_SECRET, Origin, Section};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use self::judge::{CertificateVerdict, judge};
use self::verifier::Recorder;
use super::attempt::ProbeAttempt;
use super::network::{Network, Wire, host};
use super::outcome::{Failure, Phase};
use super::read;

/// A connection over TLS.
pub(crate) type Encrypted = StreamOwned<ClientConnection, Wire>;

/// Which servers a probe trusts, and how it authenticates itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust {
    /// Whether an untrusted certificate is a failure.
    pub verify: bool,
    /// The server name for SNI and for the certificate, instead of the target's.
    pub server_name: Option<String>,
    /// Authorities that are trusted in addition to the system's.
    authorities: Vec<CertificateDer<'static>>,
    client: Option<Arc<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>>,
}

impl Trust {
    /// Reads `verify`, `server_name`, `ca_file`, `client_cert_file` and `client_key_file`.
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let verify = section.flag("verify", true);
        let server_name = section.parsed("server_name", None, |text| host(text).map(Some));
        let authorities = section.parsed("ca_file", Vec::new(), certificates);
        let certificate = section.parsed("client_cert_file", None, |path| certificates(path).map(Some));
        let key_origin = section.origin("client_key_file");
        let key = section.parsed("client_key_file", None, |path| {
            let pem = read::file(path, LARGEST_SECRET)?;
            PrivateKeyDer::from_pem_slice(&pem)
                .map(Some)
                .map_err(|_| format!("{path:?} holds no private key in PEM without a password"))
        });
        let client = match (certificate, key) {
            (Some(chain), Some(key)) => {
                // A key that does not match the certificate is reported when the configuration is loaded, not at the
                // first run.
                let fits = builder().and_then(|builder| {
                    let builder = builder.with_root_certificates(rustls::RootCertStore::empty());
                    builder
                        .with_client_auth_cert(chain.clone(), key.clone_key())
                        .map_err(|error| error.to_string())
                });
                if let Err(problem) = fits {
                    let what = format!("does not match the certificate of client_cert_file: {problem}");
                    section.refuse("client_key_file", key_origin, what);
                }
                Some(Arc::new((chain, key)))
            }
            (Some(_), None) if key_origin == Origin::Default => {
                let origin = section.origin("client_cert_file");
                section.refuse("client_key_file", origin, "is missing; client_cert_file needs it");
                None
            }
            (None, Some(_)) if section.origin("client_cert_file") == Origin::Default => {
                section.refuse("client_cert_file", key_origin, "is missing; client_key_file needs it");
                None
            }
            _ => None,
        };
        Self { verify, server_name, authorities, client }
    }

    /// The same settings, but accepting any certificate.
    pub(crate) fn lenient(&self) -> Self {
        Self { verify: false, ..self.clone() }
    }

    /// Performs the handshake with a server that is called `name`. The certificate is judged, and rejected if it must
    /// be trusted but is not.
    pub(crate) fn handshake(
        &self,
        wire: Wire,
        name: &str,
        network: &Network,
        attempt: &mut ProbeAttempt,
    ) -> Result<(Encrypted, CertificateVerdict), Failure> {
        let (stream, verdict) = self.look(wire, name, network, attempt)?;
        if self.verify {
            verdict.verified(attempt.now).map_err(Failure::critical)?;
        }
        Ok((stream, verdict))
    }

    /// Performs the handshake and leaves the verdict to the caller.
    pub(crate) fn look(
        &self,
        wire: Wire,
        name: &str,
        network: &Network,
        attempt: &mut ProbeAttempt,
    ) -> Result<(Encrypted, CertificateVerdict), Failure> {
        let recorder = Arc::new(Recorder::new());
        let server = server_name(name)?;
        let agreed = self.agree(wire, &server, &recorder, network, attempt);
        let stream = agreed.map_err(Refusal::into_failure)?;
        Ok((stream, self.verdict(&recorder, &server, attempt)))
    }

    /// Examines the server's certificates and closes the connection. A server may show its certificate and then
    /// reject the client because it requires a client certificate. Its certificate is judged all the
    /// same, and the rejection is returned beside the verdict.
    pub(crate) fn see(
        &self,
        wire: Wire,
        name: &str,
        network: &Network,
        attempt: &mut ProbeAttempt,
    ) -> Result<(CertificateVerdict, Option<String>), Failure> {
        let recorder = Arc::new(Recorder::new());
        let server = server_name(name)?;
        let refused = match self.agree(wire, &server, &recorder, network, attempt) {
            Ok(mut stream) => {
                stream.conn.send_close_notify();
                // Errors are ignored, because the server may have closed the connection already.
                let _ = stream.conn.complete_io(&mut stream.sock);
                None
            }
            Err(Refusal::WithoutCertificate(failure)) if !recorder.chain().is_empty() => Some(failure.what),
            Err(refusal) => return Err(refusal.into_failure()),
        };
        Ok((self.verdict(&recorder, &server, attempt), refused))
    }

    fn verdict(
        &self,
        recorder: &Recorder,
        server: &ServerName<'_>,
        attempt: &ProbeAttempt,
    ) -> CertificateVerdict {
        let mut verdict = judge(&recorder.chain(), server, &self.authorities, attempt.now);
        if verdict.trust.is_ok() {
            verdict.trust = recorder.proof();
        }
        verdict
    }

    fn agree(
        &self,
        mut wire: Wire,
        server: &ServerName<'static>,
        recorder: &Arc<Recorder>,
        network: &Network,
        attempt: &mut ProbeAttempt,
    ) -> Result<Encrypted, Refusal> {
        let mut is_for_lack_of_ours = false;
        let agreed = attempt.phase(Phase::Tls, &network.limits, |bound| {
            wire.bound = *bound;
            let config = self.config(recorder).map_err(Failure::unknown)?;
            let mut connection = ClientConnection::new(Arc::new(config), server.clone())
                .map_err(|error| Failure::unknown(format!("TLS cannot be set up: {error}")))?;
            while connection.is_handshaking() {
                if let Err(error) = connection.complete_io(&mut wire) {
                    let has_gone = matches!(
                        error.kind(),
                        io::ErrorKind::UnexpectedEof
                            | io::ErrorKind::ConnectionReset
                            | io::ErrorKind::BrokenPipe
                    );
                    let is_alert = matches!(tls_error(&error), Some(rustls::Error::AlertReceived(_)));
                    is_for_lack_of_ours = recorder.was_asked() && (is_alert || has_gone);
                    return Err(failed(&error, &wire));
                }
            }
            Ok(StreamOwned::new(connection, wire))
        });
        agreed.map_err(|failure| match is_for_lack_of_ours {
            true => Refusal::WithoutCertificate(failure),
            false => Refusal::Other(failure),
        })
    }

    fn config(&self, recorder: &Arc<Recorder>) -> Result<ClientConfig, String> {
        let verifier = Arc::clone(recorder) as Arc<dyn rustls::client::danger::ServerCertVerifier>;
        let builder = builder()?.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match self.client.as_deref() {
            None => builder.with_client_cert_resolver(Arc::clone(recorder) as Arc<dyn ResolvesClientCert>),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| format!("the client certificate cannot be used: {error}"))?,
        };
        // Each run must see the certificate anew, so sessions are not resumed.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }
}

/// Why the handshake failed.
enum Refusal {
    /// The server requires a client certificate, and none is configured.
    WithoutCertificate(Failure),
    Other(Failure),
}

impl Refusal {
    fn into_failure(self) -> Failure {
        match self {
            Self::WithoutCertificate(failure) | Self::Other(failure) => failure,
        }
    }
}

/// The name for SNI, without the final dot of DNS.
fn server_name(name: &str) -> Result<ServerName<'static>, Failure> {
    let bare = name.strip_suffix('.').unwrap_or(name).to_owned();
    ServerName::try_from(bare)
        .map_err(|_| Failure::unknown(format!("{name} is not a name that TLS can request")))
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())
}

/// The certificates of a PEM file.
fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read::file(path, LARGEST_CERTIFICATES)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("{path:?} holds no certificate in PEM")),
        Err(error) => Err(format!("{path:?} is not PEM: {error}")),
    }
}

/// The failure to report for a failed handshake.
fn failed(error: &io::Error, wire: &Wire) -> Failure {
    match tls_error(error) {
        Some(rustls::Error::InvalidMessage(_)) => {
            Failure::critical(format!("TLS failed: what {} answers is not TLS", wire.peer))
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            Failure::critical(format!("TLS failed: the server refused with the alert {alert:?}"))
        }
        Some(error) => Failure::critical(format!("TLS failed: {error}")),
        None => wire.bound.failure("TLS failed", error),
    }
}
