//! TLS to a mail server or a mailbox, and advice about rejected certificates.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use innkeeper_core::Invalid;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection, OtherError, RootCertStore, StreamOwned};

use crate::certificates::read_certificates;
use crate::timed::Timed;

/// A client configuration that trusts the system's authorities and those in `ca_file`.
pub(crate) fn client(ca_file: Option<&PathBuf>) -> Result<Arc<ClientConfig>, Invalid> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(read_certificates(ca_file)?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Invalid::new("tls", format!("cannot be set up: {error}")))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Encrypts the connection. Returns when the server has proved that it is `host`, or at the deadline.
pub(crate) fn shake_hands(
    config: &Arc<ClientConfig>,
    host: &str,
    mut tcp: Timed,
) -> io::Result<StreamOwned<ClientConnection, Timed>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let mut connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    tcp.begin_step(Duration::ZERO);
    while connection.is_handshaking() {
        connection.complete_io(&mut tcp)?;
    }
    Ok(StreamOwned::new(connection, tcp))
}

/// Whether this host is this machine.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Advice about a rejected certificate, if the reason is hard to guess.
pub(crate) fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
            return advice_about(why);
        }
        // An I/O error does not return the error that it wraps as its source, but that error's source.
        let within = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        next = within.map(|error| error as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}

fn advice_about(why: &CertificateError) -> Option<&'static str> {
    match why {
        CertificateError::UnknownIssuer => Some(
            "no authority that is trusted here has issued its certificate; where that is right, name the certificate of the authority that has, not the server's own, in ca_file",
        ),
        CertificateError::Other(OtherError(why))
            if matches!(why.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) =>
        {
            Some(
                "it shows the certificate of an authority (CA:TRUE) as its own, as `openssl req -x509` makes them; give it one made with -addext basicConstraints=critical,CA:FALSE, and name that one in ca_file",
            )
        }
        _ => None,
    }
}
