//! A mail server with real TLS that records every mail and replies as the test tells it.
//!
//! ```
//! use innkeeper_testing::certificates::Authority;
//! use innkeeper_testing::smtp_sink::{Reply, SmtpSink, Step};
//!
//! let authority = Authority::new();
//! let sink = SmtpSink::starttls(authority.server(&["localhost"])).with_login("user", "secret");
//! sink.next(Step::Recipient, Reply::say("550 5.1.1 no such user"));
//! // … something sends two mails to `localhost`, port `sink.port()`: the first is refused …
//! assert!(sink.mails().is_empty());
//! ```

mod conversation;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustls::ServerConfig;

use crate::tcp_server::{TcpServer, locked};

/// A step of the SMTP conversation at which a test can set the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The greeting.
    Connect,
    /// `EHLO`.
    Hello,
    /// `STARTTLS`.
    StartTls,
    /// The end of `AUTH`.
    Login,
    /// `MAIL FROM`.
    Sender,
    /// `RCPT TO`.
    Recipient,
    /// `DATA`.
    Data,
    /// The dot after the message.
    End,
}

/// The reaction of the server at a [`Step`].
#[derive(Debug, Clone)]
pub enum Reply {
    /// Replies with this line and does not accept the step. Closes the connection after a code of 421.
    Say(String),
    /// Closes the connection without a reply. At [`Step::End`] the mail was accepted, and only the confirmation is
    /// lost.
    Cut,
    /// Never replies. At [`Step::End`] the mail was accepted.
    Hang,
    /// Sends this text 20 times a second, without end. At [`Step::End`] the mail was accepted.
    Drip(&'static str),
}

impl Reply {
    /// Replies with `line`: a code and a text.
    pub fn say(line: &str) -> Self {
        Self::Say(line.to_owned())
    }
}

/// An accepted mail.
#[derive(Debug, Clone)]
pub struct ReceivedMail {
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// The message as received, with dots unstuffed and lines that end in `\r\n`.
    pub raw: Vec<u8>,
    /// The authenticated user.
    pub user: Option<String>,
    /// Whether it was received over TLS.
    pub encrypted: bool,
    /// The number of the connection, from 1.
    pub connection: usize,
}

/// The server. Stopped when dropped.
pub struct SmtpSink {
    server: TcpServer,
    shared: Arc<Shared>,
}

struct Shared {
    encryption: Encryption,
    state: Mutex<State>,
    came: Condvar,
}

enum Encryption {
    None,
    StartTls(Arc<ServerConfig>),
    Implicit(Arc<ServerConfig>),
}

#[derive(Default)]
struct State {
    mails: Vec<ReceivedMail>,
    refused: Vec<ReceivedMail>,
    next: HashMap<Step, VecDeque<Reply>>,
    always: HashMap<Step, Reply>,
    login: Option<(String, String)>,
    mechanisms: String,
    injected: Option<(Step, String)>,
}

impl SmtpSink {
    /// Starts a server without TLS.
    pub fn plain() -> Self {
        Self::start(Encryption::None)
    }

    /// Starts a server that accepts mail only after STARTTLS.
    pub fn starttls(config: Arc<ServerConfig>) -> Self {
        Self::start(Encryption::StartTls(config))
    }

    /// Starts a server that uses TLS from the first byte.
    pub fn implicit(config: Arc<ServerConfig>) -> Self {
        Self::start(Encryption::Implicit(config))
    }

    fn start(encryption: Encryption) -> Self {
        let state = State { mechanisms: "PLAIN LOGIN".to_owned(), ..State::default() };
        let shared = Arc::new(Shared { encryption, state: Mutex::new(state), came: Condvar::new() });
        let server = TcpServer::start({
            let shared = Arc::clone(&shared);
            move |stream, number| {
                // An error means that the client has closed the connection.
                let _ = conversation::hold(stream, number, &shared);
            }
        });
        Self { server, shared }
    }

    /// Accepts mail only from this user.
    #[must_use]
    pub fn with_login(self, user: &str, password: &str) -> Self {
        locked(&self.shared.state).login = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Sets the offered login mechanisms. The default is `PLAIN LOGIN`.
    #[must_use]
    pub fn with_mechanisms(self, mechanisms: &str) -> Self {
        mechanisms.clone_into(&mut locked(&self.shared.state).mechanisms);
        self
    }

    /// Simulates an attacker who adds `lines` to the server's reply in the same packet, before the connection is
    /// encrypted. The step is [`Step::Hello`] or [`Step::StartTls`].
    #[must_use]
    pub fn with_injected(self, step: Step, lines: &[&str]) -> Self {
        let text = lines.iter().map(|line| format!("{line}\r\n")).collect();
        locked(&self.shared.state).injected = Some((step, text));
        self
    }

    /// The port on which it listens, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Queues a reply for the step. It is used once, after replies that were queued before.
    pub fn next(&self, step: Step, reply: Reply) {
        locked(&self.shared.state).next.entry(step).or_default().push_back(reply);
    }

    /// Sets the reply for the step. `None` restores the usual behaviour.
    pub fn always(&self, step: Step, reply: Option<Reply>) {
        let always = &mut locked(&self.shared.state).always;
        match reply {
            Some(reply) => always.insert(step, reply),
            None => always.remove(&step),
        };
    }

    /// All accepted mails so far, in the order of arrival.
    pub fn mails(&self) -> Vec<ReceivedMail> {
        locked(&self.shared.state).mails.clone()
    }

    /// The mails that were received completely and rejected at [`Step::End`].
    pub fn refused(&self) -> Vec<ReceivedMail> {
        locked(&self.shared.state).refused.clone()
    }

    /// Waits until `count` mails have been accepted. Panics after `patience`.
    pub fn wait_for(&self, count: usize, patience: Duration) -> Vec<ReceivedMail> {
        let mut state = locked(&self.shared.state);
        self.shared.came.wait_while_for(&mut state, |state| state.mails.len() < count, patience);
        assert!(state.mails.len() >= count, "{} of {count} mails in {patience:?}", state.mails.len());
        state.mails.clone()
    }

    /// Number of connections so far.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Closes all open connections.
    pub fn hang_up(&self) {
        self.server.hang_up();
    }
}
