//! `icmp`: checks that a host answers echo requests. It uses unprivileged sockets if the system allows them.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use innkeeper_settings::Section;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

use super::{ProbeCheck, Subject};
use crate::probe::attempt::{Bound, ProbeAttempt, plain_error};
use crate::probe::network::{Network, host};
use crate::probe::outcome::{Failure, Phase, ProbeOutcome, ProbeStatus};
use crate::probe::read;
use crate::probe::resolve::resolve;

/// Sends echo requests.
#[derive(Debug)]
pub(crate) struct Icmp {
    network: Network,
    count: u16,
    /// Pause between two requests.
    pause: Duration,
    /// Longest wait for the answer to one request.
    wait: Duration,
    max_loss: f64,
}

impl Icmp {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        Self {
            network: Network::read(section, &[Phase::Dns]),
            count: section.number("count", 3, 1..=100),
            pause: section.parsed("pause", Duration::from_millis(200), |text| read::limit("pause", text)),
            wait: section.parsed("wait", Duration::from_secs(1), |text| read::limit("wait", text)),
            max_loss: section.parsed("max_loss", 50.0, read::percent),
        }
    }
}

impl ProbeCheck for Icmp {
    fn subject(&self, target: &str) -> Result<Subject, String> {
        let host = host(target)?;
        Ok(Subject { label: host.clone(), host })
    }

    fn network(&self) -> Option<&Network> {
        Some(&self.network)
    }

    fn run(&self, target: &str, attempt: &mut ProbeAttempt) -> Result<ProbeOutcome, Failure> {
        let name = host(target).map_err(Failure::unknown)?;
        let name = self.network.address.as_deref().unwrap_or(&name);
        let family = attempt.family.unwrap_or(self.network.family);
        let limits = self.network.limits;
        let addresses = attempt.phase(Phase::Dns, &limits, |bound| resolve(name, 0, family, bound))?;
        let whole = attempt.whole();
        // Uses the first address that has a route.
        let mut socket = Err(Failure::critical(format!("{name} has no address")));
        for address in addresses {
            socket = open(address).map(|socket| (address, socket));
            if socket.is_ok() {
                break;
            }
        }
        let (address, socket) = socket?;
        let token = token()?;
        let mut times = Vec::new();
        let mut sent = 0_u16;
        while sent < self.count && !whole.is_over() {
            let begun = Instant::now();
            sent += 1;
            if let Some(took) = self.echo(&socket, address, token, sent, &whole)? {
                times.push(took);
            }
            let pause = self.pause.saturating_sub(begun.elapsed());
            if sent < self.count && whole.left().is_ok_and(|left| left > pause) {
                std::thread::sleep(pause);
            }
        }
        Ok(self.judged(address, sent, &times))
    }
}

impl Icmp {
    /// Sends one request and returns the round-trip time; none if no answer arrived.
    fn echo(
        &self,
        socket: &UdpSocket,
        address: SocketAddr,
        token: [u8; 16],
        sequence: u16,
        whole: &Bound,
    ) -> Result<Option<Duration>, Failure> {
        // The kernel overwrites the identifier and the checksum, so the answer is matched by sequence number and
        // token.
        let kind = if address.is_ipv4() { 8 } else { 128 };
        let mut packet = vec![kind, 0, 0, 0, 0, 0];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&token);
        let begun = Instant::now();
        if let Err(error) = socket.send(&packet) {
            return match error.kind() {
                io::ErrorKind::PermissionDenied => Err(not_permitted(&error)),
                _ => Err(Failure::critical(format!("{}: {}", address.ip(), plain_error(&error)))),
            };
        }
        let until = (begun + self.wait).min(whole.at);
        let mut buffer = [0; 2048];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || socket.set_read_timeout(Some(left)).is_err() {
                return Ok(None);
            }
            match socket.recv(&mut buffer) {
                Ok(length) if is_answer(&buffer[..length], address.is_ipv4(), sequence, &token) => {
                    return Ok(Some(begun.elapsed()));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(None),
            }
        }
    }

    fn judged(&self, address: SocketAddr, sent: u16, times: &[Duration]) -> ProbeOutcome {
        let answered = u16::try_from(times.len()).unwrap_or(u16::MAX);
        let loss = f64::from(sent - answered.min(sent)) * 100.0 / f64::from(sent.max(1));
        let mean = times.iter().sum::<Duration>().checked_div(u32::from(answered)).unwrap_or_default();
        let said = match answered {
            0 => format!("{} answers none of {sent} echo requests", address.ip()),
            _ => format!(
                "{} answers {answered} of {sent} echo requests, in {} on average",
                address.ip(),
                crate::probe::outcome::in_ms(mean)
            ),
        };
        let status =
            if answered == 0 || loss > self.max_loss { ProbeStatus::Critical } else { ProbeStatus::Ok };
        let outcome =
            ProbeOutcome::new(status, said).figure("loss_percent", (loss * 10.0).round() / 10.0, "%");
        match answered {
            0 => outcome,
            _ => outcome.figure("rtt_ms", (mean.as_secs_f64() * 100_000.0).round() / 100.0, "ms"),
        }
    }
}

fn is_answer(packet: &[u8], is_v4: bool, sequence: u16, token: &[u8]) -> bool {
    let kind = if is_v4 { 0 } else { 129 };
    packet.len() >= 8 + token.len()
        && packet[0] == kind
        && packet[6..8] == sequence.to_be_bytes()
        && &packet[8..8 + token.len()] == token
}

fn token() -> Result<[u8; 16], Failure> {
    let mut token = [0; 16];
    getrandom::fill(&mut token).map_err(|error| Failure::unknown(format!("no random numbers: {error}")))?;
    Ok(token)
}

fn open(address: SocketAddr) -> Result<UdpSocket, Failure> {
    let (family, protocol) = match address {
        SocketAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        SocketAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(protocol));
    let socket = socket.map(UdpSocket::from).map_err(|error| {
        let error = io::Error::from(error);
        match error.kind() {
            io::ErrorKind::PermissionDenied => not_permitted(&error),
            _ => Failure::critical(format!("{}: {}", address.ip(), plain_error(&error))),
        }
    })?;
    let connected = socket.connect(address);
    connected.map_err(|error| Failure::critical(format!("{}: {}", address.ip(), plain_error(&error))))?;
    Ok(socket)
}

fn not_permitted(error: &io::Error) -> Failure {
    Failure::unknown(format!(
        "echo requests are not permitted here ({}): the sysctl net.ipv4.ping_group_range must include the group \
         of this process, as in net.ipv4.ping_group_range = 0 2147483647",
        plain_error(error)
    ))
}
