//! Line-based protocols over plain or encrypted connections.

use std::io::{Read, Write};

use super::attempt::Bound;
use super::network::Wire;
use super::outcome::Failure;
use super::tls::Encrypted;

/// Longest line of a response, in bytes.
const LONGEST_LINE: usize = 4096;
/// Most lines of one response.
pub(crate) const MOST_LINES: usize = 200;

/// A connection with a deadline for its reads and writes.
pub(crate) trait Stream: Read + Write {
    /// The current deadline.
    fn bound(&self) -> Bound;
    /// Sets the deadline.
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

/// The failure to report for an unexpected response.
pub(crate) fn refused(what: &str, line: &str) -> Failure {
    Failure::critical(format!("{what}: the server says {line:?}"))
}

/// Reads a response in the form of SMTP and FTP, with one or more lines. Returns the texts of its lines if each has
/// the code `wanted`.
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

/// Reads one line byte by byte. The bytes after it may belong to TLS and must not be consumed.
pub(crate) fn line(stream: &mut impl Stream) -> Result<String, Failure> {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        read(stream, &mut byte)?;
        match byte[0] {
            b'\n' => break,
            _ if line.len() >= LONGEST_LINE => {
                return Err(Failure::critical("the server sends a line that is too long"));
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
