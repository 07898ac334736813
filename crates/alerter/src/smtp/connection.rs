//! Delivers one mail after another over a few connections.
//!
//! lettre's own transport performs all steps in one call and reports only the code of a failure. So "550" to the sender
//! looks like "550" to the recipient, and a timeout before the message like one after it. Here each step is known.

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
use crate::timed::IoTimeouts;

/// The most idle connections that are kept for the next mail.
const MOST_PARKED: usize = 4;
/// A connection that has been idle for longer is closed and not reused, since servers close idle connections.
const LONGEST_IDLE: Duration = Duration::from_secs(60);
/// The most addresses of a host that are tried.
const MOST_ADDRESSES: usize = 3;

/// The mail server, and how to connect to it.
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) transit: Transit,
    pub(super) credentials: Option<Credentials>,
    /// The time limit of each reply.
    pub(super) timeout: Duration,
    pub(super) allow_link_local: bool,
}

/// How the connection is encrypted.
pub(super) enum Transit {
    /// STARTTLS; if the server does not offer it, the connection is not used.
    StartTls(Arc<ClientConfig>),
    /// TLS from the first byte.
    Tls(Arc<ClientConfig>),
    /// No encryption.
    Plain,
}

/// Delivers mails one by one, and keeps connections for later mails.
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

    /// An upper bound of the time that one [`deliver`](Self::deliver) takes, without the name look-up.
    pub(super) fn longest(&self) -> Duration {
        // Twice the timeout for all steps, the transfer of a long message, and once the timeout for the reset after a
        // refusal.
        self.server.timeout * 3 + LONGEST_TRANSFER + Duration::from_secs(1)
    }

    /// Delivers the mail. Returns when the server has confirmed it.
    pub(super) fn deliver(&self, from: &Address, to: &Address, mail: &str) -> Result<(), Failure> {
        let patience = Patience::new(self.server.timeout);
        if let Some(mut connection) = self.unpark() {
            connection.end_at(patience.waits.until);
            match converse(&mut connection, from, to, mail, &patience) {
                // The idle connection had died, and nothing of this mail was sent over it, so a new connection is used.
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

    /// Keeps the connection if it can be reused.
    fn after(&self, mut connection: Dialogue, done: Result<(), Failure>) -> Result<(), Failure> {
        match &done {
            Ok(()) | Err(Failure { cause: Cause::Unfit, .. }) => self.park(connection),
            Err(failure) if failure.code().is_some_and(|code| code != 421) => {
                connection.end_at(Instant::now() + self.server.timeout);
                if connection.command(Rset).is_ok() {
                    self.park(connection);
                }
            }
            // The connection is closed without `QUIT`, since the server no longer answers.
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

    /// The connection that was used last, if it has not been idle for too long.
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

/// The message with its dots doubled and the final dot. If the final dot were written separately, it would wait for the
/// TCP acknowledgement of the data before it: 40 ms for each mail of a burst.
fn ended(mail: &str) -> String {
    format!("{}\r\n.\r\n", mail.replace("\r\n.", "\r\n.."))
}

/// The time limits: the timeout for each step, and twice the timeout for all steps together.
struct Patience {
    waits: IoTimeouts,
}

impl Patience {
    fn new(timeout: Duration) -> Self {
        Self { waits: IoTimeouts { most: timeout, until: Instant::now() + 2 * timeout } }
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
