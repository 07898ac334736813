//! One mail after the other over a few connections, step by step.
//!
//! lettre's own transport does the steps in one call and tells of a failure only its code, so that "550" at
//! the sender and "550" at the recipient look the same, and a silence before the message like one after it.
//! Here each step is known.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lettre::Address;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::commands::{Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use parking_lot::{Mutex, MutexGuard};
use rustls::ClientConfig;

use super::dialogue::{Dialogue, LONGEST_TRANSFER};
use super::failure::{Cause, Failure, Stage};
use crate::guard;
use crate::timed::Waits;

/// The most connections that are kept open for the next mail.
const MOST_PARKED: usize = 4;
/// A connection idle for longer is closed rather than used: servers hang up on idle ones.
const LONGEST_IDLE: Duration = Duration::from_secs(60);
/// The most addresses of a host that are tried.
const MOST_ADDRESSES: usize = 3;

/// Where the mail goes, and how.
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) transit: Transit,
    pub(super) credentials: Option<Credentials>,
    /// For each reply.
    pub(super) timeout: Duration,
    pub(super) allow_link_local: bool,
}

/// How the connection is encrypted.
pub(super) enum Transit {
    /// By STARTTLS, or not at all used.
    StartTls(Arc<ClientConfig>),
    /// From the first byte.
    Tls(Arc<ClientConfig>),
    /// Not.
    Plain,
}

/// Delivers mails one by one, and keeps connections for those that follow.
pub(super) struct Postman {
    server: Server,
    hello: ClientId,
    parked: Mutex<Vec<(Dialogue, Instant)>>,
}

impl Postman {
    pub(super) fn new(server: Server) -> Self {
        Self { server, hello: ClientId::default(), parked: Mutex::new(Vec::new()) }
    }

    /// Host and port, for people.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.server.host, self.server.port)
    }

    /// A bound on the time that one [`deliver`](Self::deliver) takes, besides looking up the host's name.
    pub(super) fn longest(&self) -> Duration {
        // All of it twice the timeout, a message that is long, and what clears up after a refusal.
        self.server.timeout * 3 + LONGEST_TRANSFER + Duration::from_secs(1)
    }

    /// Hands the mail over; returns when the server has confirmed it.
    pub(super) fn deliver(&self, from: &Address, to: &Address, mail: &str) -> Result<(), Failure> {
        let patience = Patience::new(self.server.timeout);
        if let Some(mut connection) = self.unpark() {
            connection.end_at(patience.waits.until);
            match converse(&mut connection, from, to, mail, &patience) {
                // It died while it was idle, and nothing of this mail was sent over it: begin anew.
                Err(failure) if failure.stage != Stage::Message && failure.is_of_the_connection() => {
                    self.parked().clear();
                }
                done => return self.after(connection, done),
            }
        }
        let mut connection = self.open(&patience)?;
        let done = converse(&mut connection, from, to, mail, &patience);
        self.after(connection, done)
    }

    /// Keeps the connection where it is still good.
    fn after(&self, mut connection: Dialogue, done: Result<(), Failure>) -> Result<(), Failure> {
        match &done {
            Ok(()) | Err(Failure { cause: Cause::Unfit, .. }) => self.park(connection),
            Err(failure) if failure.code().is_some_and(|code| code != 421) => {
                connection.end_at(Instant::now() + self.server.timeout);
                if connection.command(Rset).is_ok() {
                    self.park(connection);
                }
            }
            // Dropped without a word: nobody is there to hear it.
            Err(_) => {}
        }
        done
    }

    fn park(&self, connection: Dialogue) {
        let mut parked = self.parked();
        if parked.len() < MOST_PARKED {
            parked.push((connection, Instant::now()));
        } else {
            drop(parked);
            connection.leave();
        }
    }

    /// The connection used last, of those not idle for too long.
    fn unpark(&self) -> Option<Dialogue> {
        let mut parked = self.parked();
        parked.retain(|(_, since)| since.elapsed() < LONGEST_IDLE);
        parked.pop().map(|(connection, _)| connection)
    }

    fn parked(&self) -> MutexGuard<'_, Vec<(Dialogue, Instant)>> {
        self.parked.lock()
    }

    fn open(&self, patience: &Patience) -> Result<Dialogue, Failure> {
        let server = &self.server;
        let failed = Failure::at(Stage::Opening);
        let tls = match &server.transit {
            Transit::Tls(config) => Some((config, server.host.as_str())),
            Transit::StartTls(_) | Transit::Plain => None,
        };
        let mut connection = None;
        for address in self.addresses()? {
            patience.check(Stage::Opening)?;
            match Dialogue::open(address, patience.waits, tls, &self.hello) {
                Ok(open) => {
                    connection = Some(Ok(open));
                    break;
                }
                Err(error) => connection = Some(Err(failed(error))),
            }
        }
        let nowhere =
            || Err(Failure { stage: Stage::Opening, cause: Cause::Lookup(ErrorKind::NotFound.into()) });
        let mut connection = connection.unwrap_or_else(nowhere)?;
        if let Transit::StartTls(config) = &server.transit {
            connection = connection.encrypt(config, &server.host, &self.hello).map_err(&failed)?;
        }
        if let Some(credentials) = &server.credentials {
            connection.log_in(credentials).map_err(&failed)?;
        }
        Ok(connection)
    }

    fn addresses(&self) -> Result<impl Iterator<Item = SocketAddr>, Failure> {
        let failed = |error| Failure { stage: Stage::Opening, cause: Cause::Lookup(error) };
        let Server { host, port, allow_link_local, .. } = &self.server;
        let addresses = guard::addresses_of(host, *port, *allow_link_local).map_err(failed)?;
        Ok(addresses.into_iter().take(MOST_ADDRESSES))
    }
}

impl Drop for Postman {
    fn drop(&mut self) {
        for (connection, _) in self.parked().drain(..) {
            connection.leave();
        }
    }
}

fn converse(
    connection: &mut Dialogue,
    from: &Address,
    to: &Address,
    mail: &str,
    patience: &Patience,
) -> Result<(), Failure> {
    let international = !AsRef::<str>::as_ref(from).is_ascii() || !AsRef::<str>::as_ref(to).is_ascii();
    if international && !connection.offers(Extension::SmtpUtfEight) {
        return Err(Failure { stage: Stage::Recipient, cause: Cause::Unfit });
    }
    let parameters = if international { vec![MailParameter::SmtpUtfEight] } else { Vec::new() };
    patience.check(Stage::Sender)?;
    connection.command(Mail::new(Some(from.clone()), parameters)).map_err(Failure::at(Stage::Sender))?;
    patience.check(Stage::Recipient)?;
    connection.command(Rcpt::new(to.clone(), Vec::new())).map_err(Failure::at(Stage::Recipient))?;
    patience.check(Stage::Data)?;
    connection.begin_message().map_err(Failure::at(Stage::Data))?;
    patience.check(Stage::Data)?;
    connection.command(ended(mail)).map_err(Failure::at(Stage::Message))?;
    Ok(())
}

/// The message with its dots doubled and the dot at its end. A dot written by
/// itself would wait for the acknowledgement of what came before: 40 ms for each mail of a burst.
fn ended(mail: &str) -> String {
    format!("{}\r\n.\r\n", mail.replace("\r\n.", "\r\n.."))
}

/// How long to wait: for each step the timeout, for all of them together twice that.
struct Patience {
    waits: Waits,
}

impl Patience {
    fn new(timeout: Duration) -> Self {
        Self { waits: Waits { most: timeout, until: Instant::now() + 2 * timeout } }
    }

    fn check(&self, stage: Stage) -> Result<(), Failure> {
        if Instant::now() < self.waits.until { Ok(()) } else { Err(Failure { stage, cause: Cause::Late }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_connected_to_where_only_the_machine_itself_should_ask() {
        let address: Address = "ops@example.org".parse().unwrap();
        for host in ["169.254.169.254", "fe80::1", "metadata.google.internal", "2852039166"] {
            let postman = Postman::new(Server {
                host: host.to_owned(),
                port: 25,
                transit: Transit::Plain,
                credentials: None,
                timeout: Duration::from_secs(1),
                allow_link_local: false,
            });
            let failure = postman.deliver(&address, &address, "").unwrap_err();
            assert!(failure.is_permanent(), "{host}: {failure}");
            assert!(
                failure.to_string().contains("it is a link-local or cloud metadata address; set"),
                "{failure}"
            );
        }
    }
}
