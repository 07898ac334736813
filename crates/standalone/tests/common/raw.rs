//! HTTP as bytes, for what no client sends.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One answer: its status, its head in lower case, its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawAnswer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// A connection that sends what it is given.
pub struct Raw(TcpStream);

impl Raw {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        Self(stream)
    }

    /// Sends `bytes`. The other side may have closed by then; what it answered can still be read.
    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        match self.0.write_all(bytes) {
            Err(error) if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                panic!("{error}")
            }
            _ => self,
        }
    }

    /// Reads one answer; none when the other side closed without one.
    pub fn answer(&mut self) -> Option<RawAnswer> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match self.0.read(&mut byte) {
                Ok(0) => return None,
                Ok(_) => head.push(byte[0]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&head)),
            }
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body).expect("the body");
        Some(RawAnswer { status, head, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// Sends `bytes` and reads the answer to it; panics when there is none.
    pub fn ask(&mut self, bytes: &[u8]) -> RawAnswer {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        self.send(bytes).answer().unwrap_or_else(|| panic!("no answer to {shown:?}"))
    }
}

/// A request as bytes, with its length.
pub fn request(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("{line} HTTP/1.1\r\nHost: innkeeper\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
