//! One conversation with the mail server, step by step.
//!
//! lettre's own transport does the steps in one call and tells of a failure only its code, so that "550" at
//! the sender and "550" at the recipient look the same, and a silence before the message like one after it.
//! Here each step is known; lettre still speaks every one of them.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};

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
    /// For each step.
    pub(super) timeout: Duration,
}

/// How the connection is encrypted.
pub(super) enum Transit {
    /// By STARTTLS, or not at all used.
    StartTls(TlsParameters),
    /// From the first byte.
    Tls(TlsParameters),
    /// Not.
    Plain,
}

/// How far a conversation got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Connecting, encrypting, logging in.
    Opening,
    /// Naming the sender.
    Sender,
    /// Naming the recipient.
    Recipient,
    /// Asking to send the message.
    Data,
    /// The message itself, up to the reply to its end.
    Message,
}

/// A conversation that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) stage: Stage,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Smtp(Error),
    Other(String),
}

impl Failure {
    fn at(stage: Stage) -> impl Fn(Error) -> Self {
        move |error| Self { stage, cause: Cause::Smtp(error) }
    }

    /// The server's code, where it answered.
    pub(super) fn code(&self) -> Option<u16> {
        match &self.cause {
            Cause::Smtp(error) => error.status().map(u16::from),
            Cause::Other(_) => None,
        }
    }

    /// Whether the server refuses this recipient for good. A refusal for want of rights (5.7.x: relaying, log-in) is the
    /// server's configuration, which an operator will mend; so is one before the recipient was named.
    pub(super) fn is_about_recipient(&self) -> bool {
        if !matches!(self.stage, Stage::Recipient | Stage::Message) {
            return false;
        }
        match &self.cause {
            Cause::Smtp(_) => {
                matches!(self.code(), Some(501 | 510 | 511 | 521 | 525 | 541 | 550 | 551 | 552 | 553 | 556))
                    && !self.to_string().contains("5.7.")
            }
            Cause::Other(_) => true,
        }
    }

    /// Whether the connection was dead or dying, rather than the mail refused.
    fn is_of_the_connection(&self) -> bool {
        matches!(self.cause, Cause::Smtp(_)) && matches!(self.code(), None | Some(421))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Opening => "could not be opened",
            Stage::Sender => "did not take the sender",
            Stage::Recipient => "did not take the recipient",
            Stage::Data => "did not take the message",
            Stage::Message => "did not confirm the message",
        };
        match &self.cause {
            Cause::Smtp(error) => write!(f, "{stage}: {error}"),
            Cause::Other(text) => write!(f, "{stage}: {text}"),
        }
    }
}

/// Delivers mails one by one, and keeps connections for those that follow.
pub(super) struct Postman {
    server: Server,
    hello: ClientId,
    parked: Mutex<Vec<(SmtpConnection, Instant)>>,
}

impl Postman {
    pub(super) fn new(server: Server) -> Self {
        Self { server, hello: ClientId::default(), parked: Mutex::new(Vec::new()) }
    }

    /// Host and port, for people.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.server.host, self.server.port)
    }

    /// A bound on the time that one [`deliver`](Self::deliver) takes.
    pub(super) fn longest(&self) -> Duration {
        // Twice the steps of a conversation, for one begun on a dead connection; looking up the name is beside them.
        self.server.timeout * 12
    }

    /// Hands the mail over; returns when the server has confirmed it.
    pub(super) fn deliver(&self, from: &Address, to: &Address, mail: &[u8]) -> Result<(), Failure> {
        if let Some(mut connection) = self.unpark() {
            match converse(&mut connection, from, to, mail) {
                // It died while it was idle, and nothing of this mail was sent over it: begin anew.
                Err(failure) if failure.stage != Stage::Message && failure.is_of_the_connection() => {
                    connection.abort();
                    self.parked().clear();
                }
                done => return self.after(connection, done),
            }
        }
        let mut connection = self.connect()?;
        let done = converse(&mut connection, from, to, mail);
        self.after(connection, done)
    }

    /// Keeps the connection where it is still good.
    fn after(&self, mut connection: SmtpConnection, done: Result<(), Failure>) -> Result<(), Failure> {
        let good = match &done {
            Ok(()) => true,
            Err(failure) => !failure.is_of_the_connection() && connection.command(Rset).is_ok(),
        };
        let mut parked = self.parked();
        if good && parked.len() < MOST_PARKED {
            parked.push((connection, Instant::now()));
        } else {
            drop(parked);
            connection.abort();
        }
        done
    }

    /// The connection used last, of those not idle for too long.
    fn unpark(&self) -> Option<SmtpConnection> {
        let mut parked = self.parked();
        parked.retain(|(_, since)| since.elapsed() < LONGEST_IDLE);
        parked.pop().map(|(connection, _)| connection)
    }

    fn parked(&self) -> std::sync::MutexGuard<'_, Vec<(SmtpConnection, Instant)>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self) -> Result<SmtpConnection, Failure> {
        let server = &self.server;
        let failed = Failure::at(Stage::Opening);
        let wrapper = match &server.transit {
            Transit::Tls(parameters) => Some(parameters),
            Transit::StartTls(_) | Transit::Plain => None,
        };
        let mut connection = SmtpConnection::connect(
            self.addresses()?.as_slice(),
            Some(server.timeout),
            &self.hello,
            wrapper,
            None,
        )
        .map_err(&failed)?;
        if let Transit::StartTls(parameters) = &server.transit {
            connection.starttls(parameters, &self.hello).map_err(&failed)?;
        }
        if let Some(credentials) = &server.credentials {
            connection.auth(&[Mechanism::Plain, Mechanism::Login], credentials).map_err(&failed)?;
        }
        Ok(connection)
    }

    fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        let host = self.server.host.trim_matches(['[', ']']);
        let failed = |text: String| Failure { stage: Stage::Opening, cause: Cause::Other(text) };
        let found = (host, self.server.port).to_socket_addrs().map_err(|error| failed(error.to_string()))?;
        Ok(found.take(MOST_ADDRESSES).collect())
    }
}

impl Drop for Postman {
    fn drop(&mut self) {
        for (mut connection, _) in self.parked().drain(..) {
            // A server that no longer answers does not hold up the end.
            let _ = connection.set_timeout(Some(Duration::from_millis(200)));
            connection.abort();
        }
    }
}

fn converse(
    connection: &mut SmtpConnection,
    from: &Address,
    to: &Address,
    mail: &[u8],
) -> Result<(), Failure> {
    let international = !AsRef::<str>::as_ref(from).is_ascii() || !AsRef::<str>::as_ref(to).is_ascii();
    if international && !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
        let text = "it does not take addresses beyond ASCII (SMTPUTF8)".to_owned();
        return Err(Failure { stage: Stage::Recipient, cause: Cause::Other(text) });
    }
    let parameters = if international { vec![MailParameter::SmtpUtfEight] } else { Vec::new() };
    connection.command(Mail::new(Some(from.clone()), parameters)).map_err(Failure::at(Stage::Sender))?;
    connection.command(Rcpt::new(to.clone(), Vec::new())).map_err(Failure::at(Stage::Recipient))?;
    connection.command(Data).map_err(Failure::at(Stage::Data))?;
    connection.message(mail).map_err(Failure::at(Stage::Message))?;
    Ok(())
}
