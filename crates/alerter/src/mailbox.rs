//! A mailbox that is looked into over IMAP: whether a mail has come.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use innkeeper_core::Invalid;
use innkeeper_core::secret::Secret;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::hidden::{self, Hidden};

/// How long each answer of the server may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Where the mailbox is and whose.
pub struct Mailbox {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    username: String,
    password: Secret,
    hidden: Hidden,
}

trait Stream: Read + Write + std::fmt::Debug + Send {}
impl<T: Read + Write + std::fmt::Debug + Send> Stream for T {}

impl Mailbox {
    /// The mailbox of `username`. Without `tls` nothing is encrypted.
    ///
    /// # Errors
    /// Certificates that cannot be read.
    pub fn new(
        (host, port): (&str, u16),
        tls: bool,
        ca_file: Option<&PathBuf>,
        username: &str,
        password: &Secret,
    ) -> Result<Self, Invalid> {
        let mut hidden = Hidden::default();
        hidden.hide(password.reveal());
        Ok(Self {
            host: host.to_owned(),
            port,
            tls: if tls { Some(Arc::new(client(ca_file)?)) } else { None },
            username: username.to_owned(),
            password: password.clone(),
            hidden,
        })
    }

    /// Looks into `folders` for mails whose subject has `token`, and removes them. Whether there was one.
    ///
    /// # Errors
    /// What went wrong, for people; without secrets. A folder that is not there is passed over as long as another is.
    pub fn take(&self, folders: &[String], token: &str) -> Result<bool, String> {
        self.look(folders, token).map_err(|problem| {
            self.hidden
                .clean(&format!("the mailbox at {}:{} cannot be read: {problem}", self.host, self.port))
        })
    }

    fn look(&self, folders: &[String], token: &str) -> Result<bool, String> {
        let mut client = imap::Client::new(self.connect()?);
        client.read_greeting().map_err(|error| error.to_string())?;
        let mut session = client
            .login(&self.username, self.password.reveal())
            .map_err(|(error, _)| format!("it refuses the login: {error}"))?;
        let (mut found, mut missing) = (false, Vec::new());
        for folder in folders {
            if let Err(error) = session.select(folder) {
                missing.push(format!("{folder}: {error}"));
                continue;
            }
            let uids = session
                .uid_search(format!("SUBJECT \"{token}\""))
                .map_err(|error| format!("{folder}: {error}"))?;
            if uids.is_empty() {
                continue;
            }
            found = true;
            let uids = uids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            session.uid_store(&uids, "+FLAGS.SILENT (\\Deleted)").map_err(|error| error.to_string())?;
            session.expunge().map_err(|error| error.to_string())?;
        }
        // The look is over, however the goodbye goes.
        let _ = session.logout();
        if !found && missing.len() == folders.len() {
            return Err(missing.join("; "));
        }
        Ok(found)
    }

    fn connect(&self) -> Result<Box<dyn Stream>, String> {
        let addresses = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|error| format!("no such host: {error}"))?;
        let mut problem = "the host has no address".to_owned();
        for address in addresses {
            match TcpStream::connect_timeout(&address, TIMEOUT) {
                Ok(stream) => {
                    for limit in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
                        limit(&stream, Some(TIMEOUT)).map_err(|error| error.to_string())?;
                    }
                    return self.encrypted(stream);
                }
                Err(error) => problem = error.to_string(),
            }
        }
        Err(problem)
    }

    fn encrypted(&self, stream: TcpStream) -> Result<Box<dyn Stream>, String> {
        let Some(config) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let connection =
            ClientConnection::new(Arc::clone(config), name).map_err(|error| error.to_string())?;
        Ok(Box::new(StreamOwned::new(connection, stream)))
    }
}

/// A client that trusts the system's authorities, and those of `ca_file` beside them.
fn client(ca_file: Option<&PathBuf>) -> Result<ClientConfig, Invalid> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = hidden::read_certificates(ca_file)? {
        let read = ureq::tls::parse_pem(&pem).filter_map(|item| match item {
            Ok(ureq::tls::PemItem::Certificate(certificate)) => {
                Some(CertificateDer::from(certificate.der().to_vec()))
            }
            _ => None,
        });
        roots.add_parsable_certificates(read);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Invalid::new("tls", error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
