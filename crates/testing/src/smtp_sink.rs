//! A mail server over real TLS that records every mail and replies as it is told.
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

/// A point of the conversation at which the server can be told what to do.
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

/// What the server does at a [`Step`].
#[derive(Debug, Clone)]
pub enum Reply {
    /// Says this line, and takes nothing. After a code of 421 it closes.
    Say(String),
    /// Closes without a reply. At [`Step::End`] the mail was taken: only its confirmation is lost.
    Cut,
    /// Never replies. At [`Step::End`] the mail was taken.
    Hang,
    /// Says this 20 times a second, without end. At [`Step::End`] the mail was taken.
    Drip(&'static str),
}

impl Reply {
    /// Says `line`: a code and a text.
    pub fn say(line: &str) -> Self {
        Self::Say(line.to_owned())
    }
}

/// A mail that was taken.
#[derive(Debug, Clone)]
pub struct ReceivedMail {
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// The message as it came, dots unstuffed, lines ending in `\r\n`.
    pub raw: Vec<u8>,
    /// The user that had logged in.
    pub user: Option<String>,
    /// Whether it came over TLS.
    pub encrypted: bool,
    /// The number of its connection, from 1.
    pub connection: usize,
}

/// The server; it ends when it is dropped.
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
    /// A server without encryption.
    pub fn plain() -> Self {
        Self::start(Encryption::None)
    }

    /// A server that takes mail only after STARTTLS.
    pub fn starttls(config: Arc<ServerConfig>) -> Self {
        Self::start(Encryption::StartTls(config))
    }

    /// A server that speaks TLS from the first byte.
    pub fn implicit(config: Arc<ServerConfig>) -> Self {
        Self::start(Encryption::Implicit(config))
    }

    fn start(encryption: Encryption) -> Self {
        let state = State { mechanisms: "PLAIN LOGIN".to_owned(), ..State::default() };
        let shared = Arc::new(Shared { encryption, state: Mutex::new(state), came: Condvar::new() });
        let server = TcpServer::start({
            let shared = Arc::clone(&shared);
            move |stream, number| {
                // An error is the client's end of the connection.
                let _ = conversation::hold(stream, number, &shared);
            }
        });
        Self { server, shared }
    }

    /// The same server, taking mail only from this user.
    #[must_use]
    pub fn with_login(self, user: &str, password: &str) -> Self {
        locked(&self.shared.state).login = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// The same server, offering these ways to log in; `PLAIN LOGIN` from the start.
    #[must_use]
    pub fn with_mechanisms(self, mechanisms: &str) -> Self {
        mechanisms.clone_into(&mut locked(&self.shared.state).mechanisms);
        self
    }

    /// The same server behind somebody who writes `lines` after its answer at this step, in the same breath: [`Step::Hello`] or
    /// [`Step::StartTls`], before the connection is encrypted.
    #[must_use]
    pub fn with_injected(self, step: Step, lines: &[&str]) -> Self {
        let text = lines.iter().map(|line| format!("{line}\r\n")).collect();
        locked(&self.shared.state).injected = Some((step, text));
        self
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Does this once at the step, after what was told before.
    pub fn next(&self, step: Step, reply: Reply) {
        locked(&self.shared.state).next.entry(step).or_default().push_back(reply);
    }

    /// Does this at the step every time, or with `None` what a server does.
    pub fn always(&self, step: Step, reply: Option<Reply>) {
        let always = &mut locked(&self.shared.state).always;
        match reply {
            Some(reply) => always.insert(step, reply),
            None => always.remove(&step),
        };
    }

    /// All mails taken so far, in the order they came.
    pub fn mails(&self) -> Vec<ReceivedMail> {
        locked(&self.shared.state).mails.clone()
    }

    /// The mails that came whole and were refused at [`Step::End`].
    pub fn refused(&self) -> Vec<ReceivedMail> {
        locked(&self.shared.state).refused.clone()
    }

    /// Waits until `count` mails have been taken; panics after `patience`.
    pub fn wait_for(&self, count: usize, patience: Duration) -> Vec<ReceivedMail> {
        let mut state = locked(&self.shared.state);
        self.shared.came.wait_while_for(&mut state, |state| state.mails.len() < count, patience);
        assert!(state.mails.len() >= count, "{} of {count} mails in {patience:?}", state.mails.len());
        state.mails.clone()
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Cuts every open connection.
    pub fn hang_up(&self) {
        self.server.hang_up();
    }
}
