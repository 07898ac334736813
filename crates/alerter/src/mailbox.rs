//! Checks over IMAP whether a mail has arrived in a mailbox.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use innkeeper_core::Invalid;
use innkeeper_core::secret::Secret;
use rustls::ClientConfig;

use crate::guard::{self, Forbidden};
use crate::redactor::Redactor;
use crate::timed::{IoTimeouts, Timed};
use crate::tls;

/// The time limit for each answer of the server. The limit for the whole check is this for each folder and four further
/// steps.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A mailbox and its credentials.
pub struct Mailbox {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    username: String,
    password: Secret,
    redactor: Redactor,
}

trait Stream: Read + Write + std::fmt::Debug + Send {}
impl<T: Read + Write + std::fmt::Debug + Send> Stream for T {}

impl Mailbox {
    /// The mailbox of `username`. With `encrypted` the connection uses TLS from its first byte; without, it is not
    /// encrypted at all.
    ///
    /// # Errors
    /// Certificates that cannot be read, or a host that only the machine itself may request (see `guard`).
    pub fn new(
        (host, port): (&str, u16),
        encrypted: bool,
        ca_file: Option<&PathBuf>,
        username: &str,
        password: &Secret,
    ) -> Result<Self, Invalid> {
        if guard::forbids_host(host) {
            return Err(Invalid::new("host", format!("{host:?} {Forbidden}; give the host of a mailbox")));
        }
        let mut redactor = Redactor::default();
        redactor.hide(password.reveal());
        Ok(Self {
            host: host.to_owned(),
            port,
            tls: if encrypted { Some(tls::client(ca_file)?) } else { None },
            username: username.to_owned(),
            password: password.clone(),
            redactor,
        })
    }

    /// Searches `folders` for mails whose subject contains `token`, and removes them. Returns whether there was one.
    ///
    /// # Errors
    /// The problem, for people, without secrets. A missing folder is an error only if all are missing.
    pub fn take(&self, folders: &[String], token: &str) -> Result<bool, String> {
        self.look(folders, token).map_err(|problem| {
            self.redactor
                .clean(&format!("the mailbox at {}:{} cannot be read: {problem}", self.host, self.port))
        })
    }

    fn look(&self, folders: &[String], token: &str) -> Result<bool, String> {
        let mut client = imap::Client::new(self.connect(folders.len())?);
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
        // The check is done; a failing log-out does not change its result.
        let _ = session.logout();
        if !found && missing.len() == folders.len() {
            return Err(missing.join("; "));
        }
        Ok(found)
    }

    fn connect(&self, folders: usize) -> Result<Box<dyn Stream>, String> {
        let steps = u32::try_from(folders + 4).unwrap_or(u32::MAX);
        let waits = IoTimeouts { most: TIMEOUT, until: Instant::now() + TIMEOUT.saturating_mul(steps) };
        let addresses = guard::addresses_of(&self.host, self.port, false).map_err(|error| {
            if guard::is_forbidden(&error) { format!("it {error}") } else { format!("no such host: {error}") }
        })?;
        let mut problem = "the host has no address".to_owned();
        for address in addresses {
            match Timed::connect(&address, waits) {
                Ok(stream) => return self.encrypted(stream, waits),
                Err(error) => problem = error.to_string(),
            }
        }
        Err(problem)
    }

    fn encrypted(&self, stream: Timed, waits: IoTimeouts) -> Result<Box<dyn Stream>, String> {
        let Some(config) = &self.tls else { return Ok(Box::new(stream)) };
        match tls::shake_hands(config, &self.host, stream) {
            Ok(mut stream) => {
                // All that follows counts as one step, until the end of the whole time.
                stream.sock.end_at(waits.until);
                Ok(Box::new(stream))
            }
            Err(error) => Err(match tls::advice(&error) {
                Some(advice) => format!("{error}; {advice}"),
                None => error.to_string(),
            }),
        }
    }
}
