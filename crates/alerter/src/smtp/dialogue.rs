//! The client side of SMTP over one connection. lettre formats each command and parses each answer. The connection is
//! our own, since lettre's hides what it has read ahead, and accepts answers from before the TLS handshake as answers
//! after it.
//!
//! An answer belongs to the command before it and to no other: a command is sent, and the handshake begins, only while
//! no unread data is waiting.

use std::fmt::Display;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::commands::{Auth, Ehlo, Quit, Starttls};
use lettre::transport::smtp::extension::{ClientId, Extension, ServerInfo};
use lettre::transport::smtp::response::Response;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::failure::Cause;
use crate::timed::{IoTimeouts, Timed};
use crate::{tls, words};

/// The bytes of an answer's line that are kept, and the most bytes of an answer.
const LONGEST_LINE: usize = 1000;
const LONGEST_ANSWER: usize = 100_000;
/// The most challenges of a login.
const MOST_QUESTIONS: usize = 10;
/// A long mail gets additional time at this rate in bytes per second, up to the limit below.
const SLOWEST: u32 = 64 * 1024;
pub(super) const LONGEST_TRANSFER: Duration = Duration::from_secs(60);

/// One connection to a mail server.
pub(super) struct Dialogue {
    stream: BufReader<Stream>,
    server: ServerInfo,
}

enum Stream {
    Plain(Timed),
    Encrypted(Box<StreamOwned<ClientConnection, Timed>>),
}

impl Dialogue {
    /// Connects, with TLS from the first byte if `tls` names a configuration and a host. Returns after the greeting of
    /// the server and its list of extensions.
    pub(super) fn open(
        address: SocketAddr,
        waits: IoTimeouts,
        tls: Option<(&Arc<ClientConfig>, &str)>,
        hello: &ClientId,
    ) -> Result<Self, Cause> {
        let tcp = Timed::connect(&address, waits)?;
        let stream = match tls {
            Some((config, host)) => Stream::Encrypted(Box::new(tls::shake_hands(config, host, tcp)?)),
            None => Stream::Plain(tcp),
        };
        let mut dialogue = Self { stream: BufReader::new(stream), server: ServerInfo::default() };
        dialogue.begin_step(Duration::ZERO);
        dialogue.answer(2)?;
        dialogue.greet(hello)?;
        Ok(dialogue)
    }

    /// Encrypts the connection by STARTTLS, and discards what the server said before.
    pub(super) fn encrypt(
        mut self,
        config: &Arc<ClientConfig>,
        host: &str,
        hello: &ClientId,
    ) -> Result<Self, Cause> {
        if !self.server.supports_feature(Extension::StartTls) {
            return Err(Cause::Garbled("STARTTLS is not supported on this server".to_owned()));
        }
        self.command(Starttls)?;
        self.expect_nothing()?;
        let Stream::Plain(tcp) = self.stream.into_inner() else {
            return Err(Cause::Garbled("the connection is encrypted already".to_owned()));
        };
        let encrypted = Stream::Encrypted(Box::new(tls::shake_hands(config, host, tcp)?));
        let mut dialogue = Self { stream: BufReader::new(encrypted), server: ServerInfo::default() };
        dialogue.greet(hello)?;
        Ok(dialogue)
    }

    /// Logs in by PLAIN or LOGIN, whichever the server offers.
    pub(super) fn log_in(&mut self, credentials: &Credentials) -> Result<(), Cause> {
        let mechanism = self.server.get_auth_mechanism(&[Mechanism::Plain, Mechanism::Login]);
        let mechanism = mechanism
            .ok_or_else(|| Cause::Garbled("the server offers no log-in by PLAIN or LOGIN".to_owned()))?;
        let garbled = |error: lettre::transport::smtp::Error| Cause::Garbled(error.to_string());
        let mut command = Auth::new(mechanism, credentials.clone(), None).map_err(garbled)?;
        for _ in 0..MOST_QUESTIONS {
            self.write(&command.to_string())?;
            let answer = self.any_answer()?;
            if !answer.has_code(334) {
                return of_class(answer, 2).map(|_| ());
            }
            command = Auth::new_from_response(mechanism, credentials.clone(), &answer).map_err(garbled)?;
        }
        Err(Cause::Garbled("the log-in has no end of questions".to_owned()))
    }

    /// Whether the server offers this extension.
    pub(super) fn offers(&self, feature: Extension) -> bool {
        self.server.supports_feature(feature)
    }

    /// Sends a command that is expected to be answered by 2xx.
    pub(super) fn command(&mut self, command: impl Display) -> Result<Response, Cause> {
        self.write(&command.to_string())?;
        self.answer(2)
    }

    /// Sends `DATA`, which is expected to be answered by 354.
    pub(super) fn begin_message(&mut self) -> Result<(), Cause> {
        self.write("DATA\r\n")?;
        self.answer(3).map(|_| ())
    }

    /// Sets the deadline for all that follows, however much the server sends until then.
    pub(super) fn end_at(&mut self, end: Instant) {
        self.timed().end_at(end);
    }

    /// Sends `QUIT`, and waits at most 200 ms for the answer.
    pub(super) fn leave(mut self) {
        self.end_at(Instant::now() + Duration::from_millis(200));
        let _ = self.command(Quit);
    }

    fn greet(&mut self, hello: &ClientId) -> Result<(), Cause> {
        let answer = self.command(Ehlo::new(hello.clone()))?;
        self.server =
            ServerInfo::from_response(&answer).map_err(|error| Cause::Garbled(error.to_string()))?;
        Ok(())
    }

    /// Begins a step with its own time limit. The answer is a part of the step.
    fn write(&mut self, text: &str) -> Result<(), Cause> {
        self.expect_nothing()?;
        let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.begin_step((Duration::from_secs(1) * bytes / SLOWEST).min(LONGEST_TRANSFER));
        let stream = self.stream.get_mut();
        stream.write_all(text.as_bytes())?;
        Ok(stream.flush()?)
    }

    fn begin_step(&mut self, more: Duration) {
        self.timed().begin_step(more);
    }

    fn timed(&mut self) -> &mut Timed {
        match self.stream.get_mut() {
            Stream::Plain(tcp) => tcp,
            Stream::Encrypted(stream) => stream.get_mut(),
        }
    }

    /// Fails if there is an answer that was not asked for: it does not come from the server, or does not belong to the
    /// next command.
    fn expect_nothing(&self) -> Result<(), Cause> {
        if self.stream.buffer().is_empty() {
            return Ok(());
        }
        Err(Cause::Garbled(
            "it says more than it was asked, as somebody between does who puts words into its mouth"
                .to_owned(),
        ))
    }

    /// The answer to what was sent, whose code must have this class (its first digit).
    fn answer(&mut self, class: u8) -> Result<Response, Cause> {
        of_class(self.any_answer()?, class)
    }

    fn any_answer(&mut self) -> Result<Response, Cause> {
        let mut answer = String::new();
        let mut left = LONGEST_ANSWER;
        loop {
            let line = self.line(&mut left)?;
            answer.push_str(&line);
            // lettre requires a text after the code, but a server may send none.
            answer.push_str(if line.len() == 3 { " \r\n" } else { "\r\n" });
            // Every line of an answer but the last has a hyphen after the code.
            if line.as_bytes().get(3) != Some(&b'-') {
                break;
            }
        }
        answer.parse().map_err(|_| Cause::Garbled(format!("{:?} is no answer of SMTP", answer.trim_end())))
    }

    /// Reads the next line whole, and keeps it up to a limit. `left` is the number of bytes that the answer may still
    /// have.
    fn line(&mut self, left: &mut usize) -> Result<String, Cause> {
        let mut line = Vec::new();
        loop {
            let come = self.stream.fill_buf()?;
            if come.is_empty() {
                let what = "the server closed the connection";
                return Err(Cause::Broken(io::Error::new(io::ErrorKind::UnexpectedEof, what)));
            }
            let end = come.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(come.len(), |end| end + 1);
            // One more byte than the limit is kept, which shows that the line was cut.
            line.extend(come.iter().take(taken.min(LONGEST_LINE + 1 - line.len())));
            self.stream.consume(taken);
            *left =
                left.checked_sub(taken).ok_or_else(|| Cause::Garbled("an answer is too long".to_owned()))?;
            if end.is_some() {
                let line = String::from_utf8_lossy(&line);
                return Ok(words::cut(line.trim_end_matches(['\r', '\n']), LONGEST_LINE));
            }
        }
    }
}

/// The answer if its code has this class; otherwise its refusal as an error.
fn of_class(answer: Response, class: u8) -> Result<Response, Cause> {
    let code = u16::from(answer.code());
    let text = joined(&answer);
    match u8::try_from(code / 100) {
        Ok(found) if found == class => Ok(answer),
        Ok(4 | 5) => Err(Cause::Refused { code, text }),
        _ => Err(Cause::Garbled(format!("\"{code} {text}\" does not answer what it was asked"))),
    }
}

/// The lines of an answer as one text. An enhanced status code (RFC 3463) that each line repeats is kept once.
fn joined(answer: &Response) -> String {
    let mut lines = answer.message();
    let mut text = lines.next().unwrap_or_default().to_owned();
    let code = text.split(' ').next().filter(|word| word.matches('.').count() == 2).map(str::to_owned);
    for line in lines {
        let rest = code.as_deref().and_then(|code| line.strip_prefix(code)?.strip_prefix(' '));
        text.push(' ');
        text.push_str(rest.unwrap_or(line).trim());
    }
    text
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Encrypted(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Encrypted(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Encrypted(stream) => stream.flush(),
        }
    }
}
