//! Connects to the address of a host that answers first, so that an address without a route (often IPv6) delays
//! nothing.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// The next address is tried if the one before has not answered within this time.
const STAGGER: Duration = Duration::from_millis(200);
/// Time limit for the whole race.
const PATIENCE: Duration = Duration::from_secs(5);

/// Resolves a name and puts the address that answers first in front of the others.
#[derive(Debug, Default)]
pub(super) struct RacingResolver {
    inner: DefaultResolver,
}

impl Resolver for RacingResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        if let Some(address) = literal(uri) {
            let mut found = self.inner.empty();
            found.push(address);
            return Ok(found);
        }
        let begun = Instant::now();
        let found = self.inner.resolve(uri, config, timeout)?;
        // Addresses of one family are tried in the order of the resolver.
        let mixed = found.iter().any(SocketAddr::is_ipv4) && found.iter().any(SocketAddr::is_ipv6);
        if !mixed {
            return Ok(found);
        }
        let patience = timeout.not_zero().map_or(PATIENCE, |after| (*after).min(PATIENCE));
        let Some(first) = race(&alternating(&found), patience.saturating_sub(begun.elapsed())) else {
            return Ok(found);
        };
        let mut ordered = self.inner.empty();
        ordered.push(first);
        found.iter().filter(|address| **address != first).for_each(|address| ordered.push(*address));
        Ok(ordered)
    }
}

/// The address in `uri`, if its host is an IP address and not a name.
fn literal(uri: &Uri) -> Option<SocketAddr> {
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok()?;
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    Some(SocketAddr::new(host, uri.port_u16().unwrap_or(usual)))
}

/// The addresses with the two families alternating; the family that the system prefers comes first.
fn alternating(found: &[SocketAddr]) -> Vec<SocketAddr> {
    let prefers_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<SocketAddr>, Vec<SocketAddr>) =
        found.iter().partition(|address| address.is_ipv6() == prefers_v6);
    let longest = preferred.len().max(other.len());
    (0..longest).flat_map(|n| [preferred.get(n), other.get(n)]).flatten().copied().collect()
}

/// The first address that accepts a connection.
fn race(addresses: &[SocketAddr], patience: Duration) -> Option<SocketAddr> {
    let until = Instant::now() + patience;
    let (tell, told) = mpsc::channel();
    let mut open = 0;
    let mut next = addresses.iter().copied();
    loop {
        if let Some(address) = next.next() {
            let (tell, left) = (tell.clone(), until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return None;
            }
            open += 1;
            thread::spawn(move || {
                let is_there = TcpStream::connect_timeout(&address, left).is_ok();
                // The receiver may be gone, because another address has won already.
                let _ = tell.send(is_there.then_some(address));
            });
        } else if open == 0 {
            return None;
        }
        let left = until.saturating_duration_since(Instant::now());
        let wait = if next.len() > 0 { left.min(STAGGER) } else { left };
        match told.recv_timeout(wait) {
            Ok(Some(address)) => return Some(address),
            // The connection was refused: try the next address at once.
            Ok(None) => open -= 1,
            Err(_) if left.is_zero() || next.len() == 0 => return None,
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_families_take_turns() {
        let of = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        assert_eq!(
            alternating(&of(&["[::1]:1", "[::2]:1", "1.1.1.1:1"])),
            of(&["[::1]:1", "1.1.1.1:1", "[::2]:1"])
        );
    }

    #[test]
    fn what_is_an_address_already_is_not_looked_up() {
        let of = |text: &str| literal(&text.parse().unwrap()).map(|address| address.to_string());
        assert_eq!(of("http://127.0.0.1:8080/x").as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(of("https://[::1]/").as_deref(), Some("[::1]:443"));
        assert_eq!(of("http://10.0.0.1").as_deref(), Some("10.0.0.1:80"));
        assert_eq!(of("http://localhost:8080"), None);
    }

    #[test]
    fn an_address_that_leads_nowhere_holds_up_nothing() {
        let port = innkeeper_testing::ports::free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let good = listener.local_addr().unwrap();
        // A listener with a full backlog does not answer, just as an address without a route.
        let silent = TcpListener::bind("127.0.0.2:0").unwrap();
        rustix::net::listen(&silent, 0).unwrap();
        let taken = silent.local_addr().unwrap();
        let _fill: Vec<_> =
            (0..3).map(|_| TcpStream::connect_timeout(&taken, Duration::from_millis(50))).collect();
        assert_eq!(race(&[taken, good], Duration::from_secs(30)), Some(good));
        drop(listener);
        assert_eq!(race(&[good], Duration::from_secs(30)), None);
    }
}
