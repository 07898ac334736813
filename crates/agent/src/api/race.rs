//! Which of a host's addresses answers first: one that leads nowhere (IPv6 without a route) holds up nothing.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// The next address is tried when the one before has been silent for so long.
const STAGGER: Duration = Duration::from_millis(200);
/// How long all of them are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks a name up, and gives the address that answers first before the others.
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
        // One family alone is tried in its order.
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

/// An address that needs no looking up.
fn literal(uri: &Uri) -> Option<SocketAddr> {
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok()?;
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    Some(SocketAddr::new(host, uri.port_u16().unwrap_or(usual)))
}

/// The two families in turn, the one that the system prefers first.
fn alternating(found: &[SocketAddr]) -> Vec<SocketAddr> {
    let prefers_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<SocketAddr>, Vec<SocketAddr>) =
        found.iter().partition(|address| address.is_ipv6() == prefers_v6);
    let longest = preferred.len().max(other.len());
    (0..longest).flat_map(|n| [preferred.get(n), other.get(n)]).flatten().copied().collect()
}

/// The first address to which a connection can be made.
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
                // Whoever asked may have its answer already.
                let _ = tell.send(is_there.then_some(address));
            });
        } else if open == 0 {
            return None;
        }
        let left = until.saturating_duration_since(Instant::now());
        let wait = if next.len() > 0 { left.min(STAGGER) } else { left };
        match told.recv_timeout(wait) {
            Ok(Some(address)) => return Some(address),
            // Refused: the next one at once.
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
        // A full backlog answers nobody: as silent as a route to nowhere.
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
