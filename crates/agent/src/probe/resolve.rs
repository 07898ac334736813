//! Resolves names by the system's resolver, within a time limit.
//!
//! `getaddrinfo` cannot be cancelled. It runs in a thread of its own, which is abandoned at the limit. The number of
//! such threads is bounded. Nothing is cached between runs, because a cache would hide changes.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use dns_lookup::{AddrInfoHints, LookupErrorKind, getaddrinfo};
use rustix::net::{AddressFamily, SocketType};

use super::attempt::Bound;
use super::family::Family;
use super::outcome::Failure;

/// Most lookups that run at once.
const MOST_WAITING: usize = 128;
/// Pause before a lookup is repeated after a temporary failure.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

static WAITING: AtomicUsize = AtomicUsize::new(0);

/// The addresses of `host` in the order in which to try them; at least one.
pub(crate) fn resolve(
    host: &str,
    port: u16,
    family: Family,
    bound: &Bound,
) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return match family.has(address) {
            true => Ok(vec![SocketAddr::new(address, port)]),
            false => Err(Failure::critical(format!("{host} is no {} address", family.as_str()))),
        };
    }
    let mut answer = ask(host, port, family, bound)?;
    if let Err(LookupErrorKind::Again) = answer
        && bound.left().is_ok_and(|left| left > AGAIN_AFTER)
    {
        thread::sleep(AGAIN_AFTER);
        answer = ask(host, port, family, bound)?;
    }
    match answer {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => Err(Failure::critical(no_address(host, family))),
        Err(kind) => Err(refused(host, family, kind)),
    }
}

type Answer = Result<Vec<SocketAddr>, LookupErrorKind>;

fn ask(host: &str, port: u16, family: Family, bound: &Bound) -> Result<Answer, Failure> {
    let left = bound.left().map_err(|_| bound.timeout())?;
    if WAITING.fetch_add(1, Ordering::SeqCst) >= MOST_WAITING {
        WAITING.fetch_sub(1, Ordering::SeqCst);
        return Err(Failure::critical(format!(
            "could not resolve {host} (temporary): {MOST_WAITING} earlier queries still wait for the resolver"
        )));
    }
    let (sender, receiver) = sync_channel(1);
    let name = host.to_owned();
    let asking = thread::Builder::new().name("resolve".to_owned()).stack_size(512 * 1024).spawn(move || {
        let answer = look_up(&name, port, family);
        WAITING.fetch_sub(1, Ordering::SeqCst);
        // The receiver is gone if the time limit has passed.
        let _ = sender.send(answer);
    });
    if let Err(error) = asking {
        WAITING.fetch_sub(1, Ordering::SeqCst);
        return Err(Failure::unknown(format!("cannot start a thread to resolve {host}: {error}")));
    }
    receiver.recv_timeout(left).map_err(|error| match error {
        RecvTimeoutError::Timeout => bound.timeout(),
        RecvTimeoutError::Disconnected => Failure::unknown(format!("could not resolve {host}")),
    })
}

fn look_up(host: &str, port: u16, family: Family) -> Answer {
    let address = match family {
        Family::Any | Family::Both => 0,
        Family::V4 => i32::from(AddressFamily::INET.as_raw()),
        Family::V6 => i32::from(AddressFamily::INET6.as_raw()),
    };
    // Restricting the socket type avoids duplicates of each address.
    let socktype = i32::try_from(SocketType::STREAM.as_raw()).unwrap_or_default();
    let hints = AddrInfoHints { address, socktype, ..AddrInfoHints::default() };
    let found = getaddrinfo(Some(host), None, Some(hints)).map_err(|error| error.kind())?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for entry in found.filter_map(Result::ok) {
        let mut address = entry.sockaddr;
        address.set_port(port);
        if family.has(address.ip()) && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(interleaved(addresses))
}

/// The addresses with the families alternating, beginning with the family that the system prefers. A family without a
/// route then does not use up all the time.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv4) else { return addresses };
    let (ours, others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first);
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = [ours.next(), others.next()];
        if pair == [None, None] {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

fn no_address(host: &str, family: Family) -> String {
    match family {
        Family::Any | Family::Both => format!("{host} has no address"),
        family => format!("{host} has no {} address", family.as_str()),
    }
}

/// The failure to report for a resolver error. It distinguishes a name that does not exist from a resolver that does
/// not work.
fn refused(host: &str, family: Family, kind: LookupErrorKind) -> Failure {
    match kind {
        LookupErrorKind::NoName => {
            let of_family = match family {
                Family::V4 | Family::V6 => format!(", or has no {} address", family.as_str()),
                _ => String::new(),
            };
            Failure::critical(format!("{host} does not exist{of_family}"))
        }
        LookupErrorKind::NoData => Failure::critical(no_address(host, family)),
        LookupErrorKind::Again => Failure::critical(format!(
            "could not resolve {host} (temporary): the resolver did not answer or reported a failure"
        )),
        other => Failure::critical(format!("could not resolve {host}: the resolver failed ({other:?})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::attempt::ProbeAttempt;
    use chrono::DateTime;

    fn of(host: &str, family: Family) -> Result<Vec<SocketAddr>, Failure> {
        let attempt = ProbeAttempt::new(String::new(), DateTime::UNIX_EPOCH, Duration::from_secs(20));
        resolve(host, 80, family, &attempt.whole())
    }

    #[test]
    fn addresses_need_no_resolver() {
        assert_eq!(of("192.0.2.1", Family::Any).unwrap(), ["192.0.2.1:80".parse().unwrap()]);
        assert_eq!(of("::1", Family::V6).unwrap(), ["[::1]:80".parse().unwrap()]);
        assert_eq!(of("::1", Family::V4).unwrap_err().what, "::1 is no IPv4 address");
    }

    #[test]
    fn the_hosts_file_counts_and_each_address_comes_once() {
        let found = of("localhost", Family::V4).unwrap();
        assert_eq!(found, ["127.0.0.1:80".parse().unwrap()]);
    }

    #[test]
    fn trouble_is_told_from_a_name_that_does_not_exist() {
        let said = |kind| refused("x.example", Family::Any, kind).what;
        assert_eq!(said(LookupErrorKind::NoName), "x.example does not exist");
        assert_eq!(said(LookupErrorKind::NoData), "x.example has no address");
        assert!(said(LookupErrorKind::Again).starts_with("could not resolve x.example (temporary)"));
    }

    #[test]
    fn families_take_turns() {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        let mixed = interleaved(parse(&["[::1]:1", "[::2]:1", "1.0.0.1:1", "[::3]:1"]));
        assert_eq!(mixed, parse(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "[::3]:1"]));
    }
}
