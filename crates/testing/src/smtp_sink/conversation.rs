//! The server side of an SMTP conversation.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Encryption, ReceivedMail, Reply, Shared, Step};
use crate::tcp_server::{Stream, hang, locked};

/// The end of a conversation without an error.
enum Ended {
    Closed,
    StartTls,
}

struct Conversation<'a> {
    shared: &'a Shared,
    stream: BufReader<Box<dyn Stream>>,
    encrypted: bool,
    connection: usize,
    user: Option<String>,
}

pub(super) fn hold(stream: TcpStream, connection: usize, shared: &Shared) -> io::Result<()> {
    let (plain, encrypt_at_once): (Box<dyn Stream>, bool) = match &shared.encryption {
        Encryption::Implicit(config) => (encrypted(stream.try_clone()?, config)?, true),
        _ => (Box::new(stream.try_clone()?), false),
    };
    let mut conversation = Conversation {
        shared,
        stream: BufReader::new(plain),
        encrypted: encrypt_at_once,
        connection,
        user: None,
    };
    if !conversation.takes(Step::Connect)? {
        return Ok(());
    }
    conversation.say("220 sink ESMTP")?;
    if let (Ended::StartTls, Encryption::StartTls(config)) = (conversation.converse()?, &shared.encryption) {
        conversation.stream = BufReader::new(encrypted(stream, config)?);
        conversation.encrypted = true;
        conversation.converse()?;
    }
    Ok(())
}

fn encrypted(stream: TcpStream, config: &Arc<ServerConfig>) -> io::Result<Box<dyn Stream>> {
    let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    Ok(Box::new(StreamOwned::new(connection, stream)))
}

impl Conversation<'_> {
    fn converse(&mut self) -> io::Result<Ended> {
        let (mut from, mut to) = (None, Vec::new());
        while let Some(line) = self.line()? {
            let command = line.to_ascii_uppercase();
            if command.starts_with("EHLO") {
                if !self.takes(Step::Hello)? {
                    continue;
                }
                self.greet()?;
            } else if command == "STARTTLS" && !self.encrypted {
                if self.takes(Step::StartTls)? {
                    self.say_and_more(Step::StartTls, "220 go on")?;
                    return Ok(Ended::StartTls);
                }
            } else if command.starts_with("AUTH ") {
                self.log_in(&line)?;
            } else if command.starts_with("MAIL FROM:") {
                if self.takes(Step::Sender)? {
                    if self.must_encrypt() || self.must_log_in() {
                        self.say("530 5.7.0 not before you encrypt and log in")?;
                    } else {
                        (from, to) = (Some(address(&line)), Vec::new());
                        self.say("250 ok")?;
                    }
                }
            } else if command.starts_with("RCPT TO:") {
                if self.takes(Step::Recipient)? {
                    to.push(address(&line));
                    self.say("250 ok")?;
                }
            } else if command == "DATA" {
                match from.clone() {
                    Some(from) if !to.is_empty() => self.receive(from, std::mem::take(&mut to))?,
                    _ => self.say("503 5.5.1 no sender or no recipient")?,
                }
            } else if command == "RSET" {
                (from, to) = (None, Vec::new());
                self.say("250 ok")?;
            } else if command == "NOOP" {
                self.say("250 ok")?;
            } else if command == "QUIT" {
                self.say("221 bye")?;
                break;
            } else {
                self.say("500 5.5.2 what?")?;
            }
        }
        Ok(Ended::Closed)
    }

    fn greet(&mut self) -> io::Result<()> {
        let mut features = vec!["sink".to_owned(), "8BITMIME".to_owned()];
        if self.must_encrypt() {
            features.push("STARTTLS".to_owned());
        }
        let state = locked(&self.shared.state);
        if state.login.is_some() && !self.must_encrypt() {
            features.push(format!("AUTH {}", state.mechanisms));
        }
        drop(state);
        let last = features.pop().unwrap_or_default();
        for feature in features {
            self.say(&format!("250-{feature}"))?;
        }
        self.say_and_more(Step::Hello, &format!("250 {last}"))
    }

    fn log_in(&mut self, line: &str) -> io::Result<()> {
        let mut words = line.split_whitespace().skip(1);
        let (user, password) = match (words.next(), words.next()) {
            (Some("PLAIN"), Some(initial)) => {
                let text = decoded(initial);
                let mut parts = text.split('\0').skip(1).map(str::to_owned);
                (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
            }
            (Some("LOGIN"), None) => (self.ask("Username:")?, self.ask("Password:")?),
            _ => return self.say("504 5.5.4 AUTH PLAIN with its answer, or AUTH LOGIN"),
        };
        if !self.takes(Step::Login)? {
            return Ok(());
        }
        let known = locked(&self.shared.state).login.clone();
        if known == Some((user.clone(), password)) {
            self.user = Some(user);
            self.say("235 2.7.0 welcome")
        } else {
            self.say("535 5.7.8 wrong user or password")
        }
    }

    fn ask(&mut self, question: &str) -> io::Result<String> {
        self.say(&format!("334 {}", STANDARD.encode(question)))?;
        Ok(decoded(&self.line()?.unwrap_or_default()))
    }

    fn receive(&mut self, from: String, to: Vec<String>) -> io::Result<()> {
        if !self.takes(Step::Data)? {
            return Ok(());
        }
        self.say("354 go on")?;
        let mut raw = Vec::new();
        loop {
            let mut line = Vec::new();
            if self.stream.read_until(b'\n', &mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line == b".\r\n" {
                break;
            }
            raw.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
        let (user, encrypted, connection) = (self.user.clone(), self.encrypted, self.connection);
        let mail = ReceivedMail { from, to, raw, user, encrypted, connection };
        let reply = self.reply(Step::End);
        if matches!(reply, Some(Reply::Say(_))) {
            locked(&self.shared.state).refused.push(mail);
        } else {
            locked(&self.shared.state).mails.push(mail);
            self.shared.came.notify_all();
        }
        match reply {
            None => self.say("250 2.0.0 taken"),
            Some(reply) => self.act(&reply).map(|_| ()),
        }
    }

    /// Whether the conversation continues normally at this step. Otherwise the test's reply was carried out.
    fn takes(&mut self, step: Step) -> io::Result<bool> {
        match self.reply(step) {
            None => Ok(true),
            Some(reply) => self.act(&reply).map(|()| false),
        }
    }

    fn reply(&self, step: Step) -> Option<Reply> {
        let mut state = locked(&self.shared.state);
        let next = state.next.get_mut(&step).and_then(VecDeque::pop_front);
        next.or_else(|| state.always.get(&step).cloned())
    }

    fn act(&mut self, reply: &Reply) -> io::Result<()> {
        match reply {
            Reply::Say(line) => {
                self.say(line)?;
                if line.starts_with("421") {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                return Ok(());
            }
            Reply::Cut => {}
            Reply::Hang => hang(self.stream.get_mut()),
            Reply::Drip(what) => loop {
                self.stream.get_mut().write_all(what.as_bytes())?;
                self.stream.get_mut().flush()?;
                std::thread::sleep(Duration::from_millis(50));
            },
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    fn must_encrypt(&self) -> bool {
        matches!(self.shared.encryption, Encryption::StartTls(_)) && !self.encrypted
    }

    fn must_log_in(&self) -> bool {
        locked(&self.shared.state).login.is_some() && self.user.is_none()
    }

    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        Ok((self.stream.read_line(&mut line)? > 0).then(|| line.trim_end().to_owned()))
    }

    /// Sends `line`, together with what is injected at this step.
    fn say_and_more(&mut self, step: Step, line: &str) -> io::Result<()> {
        let injected = locked(&self.shared.state).injected.clone();
        let more = injected.filter(|(at, _)| *at == step && !self.encrypted).map(|(_, text)| text);
        let more = more.unwrap_or_default();
        self.stream.get_mut().write_all(format!("{line}\r\n{more}").as_bytes())?;
        self.stream.get_mut().flush()
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(format!("{line}\r\n").as_bytes())?;
        stream.flush()
    }
}

/// The text between `<` and `>`.
fn address(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or("", |(address, _)| address).to_owned()
}

fn decoded(base64: &str) -> String {
    STANDARD
        .decode(base64.trim())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}
