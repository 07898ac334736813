//! How a server is reached: name resolution, address family, and a connection with deadlines.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use innkeeper_settings::Section;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

use super::attempt::{Bound, PhaseLimits, ProbeAttempt, plain_error};
use super::family::Family;
use super::outcome::{Failure, Phase};
use super::read;
use super::resolve::resolve;

/// The next address is tried in parallel if the one before has not answered within this time (RFC 8305).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// Most addresses of one name that are tried.
const MOST_ADDRESSES: usize = 16;

/// The keys that all probes over TCP have.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Which addresses are used.
    pub family: Family,
    /// An address or a name to connect to instead of the target's.
    pub address: Option<String>,
    /// Time limits of single phases.
    pub limits: PhaseLimits,
}

impl Network {
    /// Reads `family`, `address` and the limits of the phases.
    pub(crate) fn read(section: &mut Section<'_>, phases: &[Phase]) -> Self {
        let mut limits = PhaseLimits::default();
        for phase in phases {
            let key = match phase {
                Phase::Dns => "dns_timeout",
                Phase::Connect => "connect_timeout",
                Phase::Tls => "tls_timeout",
                Phase::FirstByte => "first_byte_timeout",
                Phase::Body => "body_timeout",
            };
            limits.set(*phase, read::maybe_duration(section, key));
        }
        Self {
            family: section.parsed("family", Family::Any, Family::parse),
            address: section.parsed("address", None, |text| host(text).map(Some)),
            limits,
        }
    }

    /// Connects to `host`, or to the configured `address` instead.
    pub(crate) fn connect(&self, attempt: &mut ProbeAttempt, host: &str, port: u16) -> Result<Wire, Failure> {
        self.connect_to(attempt, self.address.as_deref().unwrap_or(host), port)
    }

    /// Connects to exactly this host.
    pub(crate) fn connect_to(
        &self,
        attempt: &mut ProbeAttempt,
        host: &str,
        port: u16,
    ) -> Result<Wire, Failure> {
        let family = attempt.family.unwrap_or(self.family);
        let addresses =
            attempt.phase(Phase::Dns, &self.limits, |bound| resolve(host, port, family, bound))?;
        attempt.phase(Phase::Connect, &self.limits, |bound| race(&addresses, bound))
    }
}

/// Parses a host from a target or a key: a name or an address. Brackets are removed.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let bare = match bare {
        Some(inner) if inner.parse::<Ipv6Addr>().is_err() => {
            return Err(format!("{text:?} has brackets around something that is not an IPv6 address"));
        }
        Some(inner) => inner,
        None => text,
    };
    // Names with letters beyond ASCII are converted to their DNS form.
    let international = match bare.is_ascii() {
        true => None,
        false => match url::Host::parse(bare) {
            Ok(url::Host::Domain(name)) => Some(name),
            _ => return Err(format!("{text:?} is neither a name nor an address")),
        },
    };
    let bare = international.as_deref().unwrap_or(bare);
    let is_host = bare.parse::<IpAddr>().is_ok()
        || (bare.len() <= 253
            && !bare.is_empty()
            && bare.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')));
    if is_host { Ok(bare.to_owned()) } else { Err(format!("{text:?} is neither a name nor an address")) }
}

/// Parses `host:port` or `[::1]:port`, or a host alone if `default_port` is given.
pub(crate) fn host_and_port(text: &str, default_port: Option<u16>) -> Result<(String, u16), String> {
    let write = "write host:port, or [address]:port for IPv6";
    let is_bare_v6 = text.parse::<Ipv6Addr>().is_ok();
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !is_bare_v6 && !text.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        None => default_port.ok_or_else(|| format!("{text:?} has no port; {write}"))?,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| format!("{port:?} is no port; allowed: 1 to 65535"))?,
    };
    Ok((host(name).map_err(|problem| format!("{problem}; {write}"))?, port))
}

/// Formats a host and a port, with brackets around an IPv6 address.
pub(crate) fn with_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A connection whose reads and writes end at its current deadline.
#[derive(Debug)]
pub(crate) struct Wire {
    tcp: TcpStream,
    pub bound: Bound,
    /// The address that accepted the connection.
    pub peer: SocketAddr,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(Some(self.bound.left()?))?;
        self.tcp.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(Some(self.bound.left()?))?;
        self.tcp.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// Connects to the first address that answers. Each attempt starts a quarter of a second after the one before, or as
/// soon as that has failed.
fn race(addresses: &[SocketAddr], bound: &Bound) -> Result<Wire, Failure> {
    let mut rest = addresses.iter().copied().take(MOST_ADDRESSES);
    let mut running: Vec<(SocketAddr, std::os::fd::OwnedFd)> = Vec::new();
    let mut errors: Vec<(SocketAddr, io::Error)> = Vec::new();
    let mut next_at = Instant::now();
    loop {
        if running.is_empty() || Instant::now() >= next_at {
            match rest.next() {
                Some(address) => {
                    match begin(address) {
                        Ok(socket) => running.push((address, socket)),
                        Err(error) => errors.push((address, error.into())),
                    }
                    next_at = Instant::now() + NEXT_ADDRESS;
                }
                None if running.is_empty() => return Err(none_answered(&errors)),
                None => next_at = bound.at,
            }
        }
        let left = bound.left().map_err(|_| bound.timeout())?;
        if running.is_empty() {
            continue;
        }
        let wait = left.min(next_at.saturating_duration_since(Instant::now()));
        let ready: Vec<usize> = {
            let mut fds: Vec<PollFd<'_>> =
                running.iter().map(|(_, fd)| PollFd::new(fd, PollFlags::OUT)).collect();
            wait_for(&mut fds, wait).map_err(|error| bound.failure("connect", &error))?;
            fds.iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty()).map(|(at, _)| at).collect()
        };
        for at in ready.into_iter().rev() {
            let (address, socket) = running.swap_remove(at);
            match sockopt::socket_error(&socket) {
                Ok(Ok(())) => return finish(address, socket, bound),
                Ok(Err(error)) | Err(error) => {
                    errors.push((address, error.into()));
                    next_at = Instant::now();
                }
            }
        }
    }
}

/// Waits until one of the descriptors is ready or `wait` has passed.
pub(crate) fn wait_for(fds: &mut [PollFd<'_>], wait: Duration) -> io::Result<()> {
    let until = Instant::now() + wait;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        match poll(fds, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) if !left.is_zero() => {}
            Err(rustix::io::Errno::INTR) | Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn begin(address: SocketAddr) -> rustix::io::Result<std::os::fd::OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

fn finish(address: SocketAddr, socket: std::os::fd::OwnedFd, bound: &Bound) -> Result<Wire, Failure> {
    let tcp = TcpStream::from(socket);
    let ready = tcp.set_nonblocking(false).and_then(|()| tcp.set_nodelay(true));
    ready.map_err(|error| bound.failure("connect", &error))?;
    Ok(Wire { tcp, bound: *bound, peer: address })
}

fn none_answered(errors: &[(SocketAddr, io::Error)]) -> Failure {
    let told: Vec<String> =
        errors.iter().map(|(address, error)| format!("{address}: {}", plain_error(error))).collect();
    Failure::critical(format!("cannot connect to {}", told.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_every_form() {
        let read = |text, port| host_and_port(text, port).unwrap();
        assert_eq!(read("db.example.org:5432", None), ("db.example.org".into(), 5432));
        assert_eq!(read("[::1]:80", None), ("::1".into(), 80));
        assert_eq!(read("::1", Some(443)), ("::1".into(), 443));
        assert_eq!(read("[::1]", Some(443)), ("::1".into(), 443));
        assert_eq!(read("192.0.2.1", Some(25)), ("192.0.2.1".into(), 25));
        assert_eq!(read("bücher.example:1", None), ("xn--bcher-kva.example".into(), 1));
        assert_eq!(read("my_db:1", None), ("my_db".into(), 1));
        for (bad, says) in [
            ("db.example.org", "has no port"),
            ("db:0", "is no port"),
            ("db:70000", "is no port"),
            ("db:http", "is no port"),
            (":80", "neither a name nor an address"),
            ("a b:80", "neither a name nor an address"),
            ("[db]:80", "not an IPv6 address"),
            ("http://db:80", "neither"),
        ] {
            assert!(host_and_port(bad, None).unwrap_err().contains(says), "{bad}");
        }
        assert_eq!((with_port("::1", 80), with_port("a", 80)), ("[::1]:80".into(), "a:80".into()));
    }
}
