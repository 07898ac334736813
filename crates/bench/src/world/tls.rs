//! A TLS proxy in front of a program, as in a real installation.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::http::{whole_answer, whole_request};

/// The trusted authorities in Debian.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Timeout of a response.
const PATIENCE: Duration = Duration::from_secs(10);

/// A TLS proxy that runs until the benchmark ends.
pub struct TlsFront {
    /// The address on which it listens, as `localhost`.
    pub address: SocketAddr,
    /// A file with the authorities of this machine and the proxy's own.
    pub authorities: PathBuf,
}

impl TlsFront {
    /// Starts a proxy in front of `behind`. The file with its authorities is written to `scratch`.
    pub fn start(behind: SocketAddr, scratch: &Path) -> Result<Self> {
        let mut ours = CertificateParams::new(Vec::new())?;
        ours.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ours = CertifiedIssuer::self_signed(ours, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &ours)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        let machines = std::fs::read_to_string(AUTHORITIES)
            .with_context(|| format!("{AUTHORITIES}: install ca-certificates"))?;
        let authorities = scratch.join("authorities.pem");
        std::fs::write(&authorities, machines + &ours.pem())?;
        let (listener, config) = (TcpListener::bind("127.0.0.1:0")?, Arc::new(config));
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let config = Arc::clone(&config);
                std::thread::spawn(move || pass_on(connection, config, behind));
            }
        });
        Ok(Self { address, authorities })
    }
}

/// Forwards requests until the client closes the connection.
fn pass_on(connection: TcpStream, config: Arc<ServerConfig>, behind: SocketAddr) -> Result<()> {
    connection.set_nodelay(true)?;
    let mut client = StreamOwned::new(ServerConnection::new(config)?, connection);
    let mut server = TcpStream::connect(behind)?;
    server.set_read_timeout(Some(PATIENCE))?;
    server.set_nodelay(true)?;
    loop {
        let request = one(&mut client, |bytes| whole_request(bytes).is_some())?;
        server.write_all(&request)?;
        let answer = one(&mut server, |bytes| whole_answer(bytes).is_some())?;
        client.write_all(&answer)?;
        client.flush()?;
    }
}

fn one(from: &mut impl Read, is_whole: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    while !is_whole(&bytes) {
        let read = from.read(&mut buffer)?;
        ensure!(read > 0, "the connection has ended");
        bytes.extend_from_slice(&buffer[..read]);
    }
    Ok(bytes)
}
