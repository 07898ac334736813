//! A connection with a deadline, so that a server that sends a few bytes now and then cannot hold it open.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Time limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IoTimeouts {
    /// The time limit of one read, one write or one step.
    pub(crate) most: Duration,
    /// The deadline for the whole connection.
    pub(crate) until: Instant,
}

/// A connection that reads and writes within its [`Waits`], and otherwise fails with a timeout.
#[derive(Debug)]
pub(crate) struct Timed {
    tcp: TcpStream,
    waits: IoTimeouts,
    step_ends: Instant,
}

impl Timed {
    /// Connects. What follows is one step until the next one begins.
    pub(crate) fn connect(address: &SocketAddr, waits: IoTimeouts) -> io::Result<Self> {
        let tcp = TcpStream::connect_timeout(address, bounded(waits.until, waits.most)?)?;
        tcp.set_nodelay(true)?;
        Ok(Self { tcp, waits, step_ends: waits.until })
    }

    /// Changes the deadline of the connection, and of the current step.
    pub(crate) fn end_at(&mut self, until: Instant) {
        self.waits.until = until;
        self.step_ends = until;
    }

    /// Begins a step, which must end within its time limit however little is read or written at once. `more` is added
    /// to the limit.
    pub(crate) fn begin_step(&mut self, more: Duration) {
        self.step_ends = self.waits.until.min(Instant::now() + self.waits.most) + more;
    }

    fn left(&self) -> io::Result<Duration> {
        bounded(self.step_ends, self.waits.most)
    }
}

/// The time until `end`, at most `most`.
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
