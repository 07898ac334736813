//! Conversations by lines, plain or encrypted.

use std::io::{Read, Write};

use super::attempt::Bound;
use super::network::Wire;
use super::outcome::Failure;
use super::tls::Encrypted;

/// The longest line of a server's answer.
const LONGEST_LINE: usize = 4096;
/// The most lines of one answer.
pub(crate) const MOST_LINES: usize = 200;

/// A connection, and until when it may be waited for.
pub(crate) trait Stream: Read + Write {
    /// The bound that its waits have now.
    fn bound(&self) -> Bound;
    /// Gives its waits another bound.
    fn set_bound(&mut self, bound: Bound);
}

impl Stream for Wire {
    fn bound(&self) -> Bound {
        self.bound
    }

    fn set_bound(&mut self, bound: Bound) {
        self.bound = bound;
    }
}

impl Stream for Encrypted {
    fn bound(&self) -> Bound {
        self.sock.bound
    }

    fn set_bound(&mut self, bound: Bound) {
        self.sock.bound = bound;
    }
}

impl Stream for Box<dyn Stream> {
    fn bound(&self) -> Bound {
        (**self).bound()
    }

    fn set_bound(&mut self, bound: Bound) {
        (**self).set_bound(bound);
    }
}

/// What is said of an answer that does not fit.
pub(crate) fn refused(what: &str, line: &str) -> Failure {
    Failure::critical(format!("{what}: the server says {line:?}"))
}

/// Reads an answer as SMTP and FTP have them, of one line or many; the texts of its lines where each has the
/// code `wanted`.
pub(crate) fn code_answer(stream: &mut impl Stream, wanted: u16, what: &str) -> Result<Vec<String>, Failure> {
    let mut texts = Vec::new();
    for _ in 0..MOST_LINES {
        let line = line(stream)?;
        let code = line.get(..3).and_then(|code| code.parse::<u16>().ok());
        if code != Some(wanted) {
            return Err(refused(what, &line));
        }
        texts.push(line.get(4..).unwrap_or_default().trim().to_owned());
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(texts);
        }
    }
    Err(Failure::critical(format!("{what}: the answer does not end")))
}

/// Reads one line, byte by byte: what follows it may be TLS already, and is not ours to take.
pub(crate) fn line(stream: &mut impl Stream) -> Result<String, Failure> {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        read(stream, &mut byte)?;
        match byte[0] {
            b'\n' => break,
            _ if line.len() >= LONGEST_LINE => {
                return Err(Failure::critical("the server's line is too long for what it should be"));
            }
            byte => line.push(byte),
        }
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// Sends one line.
pub(crate) fn say(stream: &mut impl Stream, line: &str) -> Result<(), Failure> {
    write(stream, format!("{line}\r\n").as_bytes())
}

pub(crate) fn write(stream: &mut impl Stream, bytes: &[u8]) -> Result<(), Failure> {
    let written = stream.write_all(bytes).and_then(|()| stream.flush());
    written.map_err(|error| stream.bound().failure("", &error))
}

pub(crate) fn read(stream: &mut impl Stream, buffer: &mut [u8]) -> Result<(), Failure> {
    stream.read_exact(buffer).map_err(|error| stream.bound().failure("", &error))
}
