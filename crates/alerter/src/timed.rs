//! A connection with an end: a server that says a little again and again holds nobody beyond it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long the other side is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    /// The most that one read, one write or one step takes.
    pub(crate) most: Duration,
    /// When all of it ends.
    pub(crate) until: Instant,
}

/// Reads and writes within its [`Waits`], and fails with a timeout beyond.
#[derive(Debug)]
pub(crate) struct Timed {
    tcp: TcpStream,
    waits: Waits,
    step_ends: Instant,
}

impl Timed {
    /// Connects; all that follows is one step until another begins.
    pub(crate) fn connect(address: &SocketAddr, waits: Waits) -> io::Result<Self> {
        let tcp = TcpStream::connect_timeout(address, bounded(waits.until, waits.most)?)?;
        tcp.set_nodelay(true)?;
        Ok(Self { tcp, waits, step_ends: waits.until })
    }

    /// Changes the end of everything.
    pub(crate) fn end_at(&mut self, until: Instant) {
        self.waits.until = until;
        self.step_ends = until;
    }

    /// Begins a step: however much comes, or goes out, little by little, it ends. `more` is granted beyond what a step may take.
    pub(crate) fn begin_step(&mut self, more: Duration) {
        self.step_ends = self.waits.until.min(Instant::now() + self.waits.most) + more;
    }

    fn left(&self) -> io::Result<Duration> {
        bounded(self.step_ends, self.waits.most)
    }
}

/// The time until `end`, `most` at most.
fn bounded(end: Instant, most: Duration) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now()).min(most);
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(Some(self.left()?))?;
        self.tcp.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(Some(self.left()?))?;
        self.tcp.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}
