//! No request to an address that only the machine itself should ask: link-local ones, and those under which
//! clouds hand out a machine's credentials.
//!
//! Loopback and private networks are allowed: the monitor lives in its user's own network.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Addresses outside link-local space under which clouds serve metadata: Azure, Alibaba, Oracle.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
/// The same over IPv6: Amazon, Google.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// Whether no request may go to `address`, however it is written.
pub(crate) fn forbids(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || METADATA_V4.contains(&v4),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || METADATA_V6.contains(&v6)
                || within(v6).is_some_and(|v4| forbids(IpAddr::V4(v4)))
        }
    }
}

/// The IPv4 address within an IPv6 one: mapped (`::ffff:a.b.c.d`), compatible (`::a.b.c.d`), NAT64 (`64:ff9b::`)
/// or 6to4 (`2002::`).
fn within(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => v4(g, h),
        [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

/// The error of a request that was not made.
#[derive(Debug)]
pub(crate) struct Forbidden;

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is a link-local or cloud metadata address; set allow_link_local = true to send there")
    }
}

impl std::error::Error for Forbidden {}

/// How long the addresses of a name are used again: each request of a storm would look it up anew, in a thread of its own.
const REMEMBERED: Duration = Duration::from_secs(5);

/// Looks names up, and refuses a name of which any address is forbidden.
#[derive(Debug)]
pub(crate) struct GuardedResolver {
    inner: DefaultResolver,
    allow_link_local: bool,
    /// By scheme, host and port; a resolver serves one alerter, so there are few.
    known: Mutex<HashMap<String, (Instant, ResolvedSocketAddrs)>>,
}

impl GuardedResolver {
    pub(crate) fn new(allow_link_local: bool) -> Self {
        Self { inner: DefaultResolver::default(), allow_link_local, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, (Instant, ResolvedSocketAddrs)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolver for GuardedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let place = format!("{:?} {:?}", uri.scheme(), uri.authority());
        if let Some((at, addresses)) = self.known().get(&place)
            && at.elapsed() < REMEMBERED
        {
            return Ok(addresses.clone());
        }
        // It asks on a thread of its own, and panics where there is none: that is no reason to end with the whole process.
        let asked = catch_unwind(AssertUnwindSafe(|| self.inner.resolve(uri, config, timeout)));
        let addresses = asked.unwrap_or_else(|_| {
            let why = "no thread to be had in which to look up the address";
            Err(ureq::Error::Io(io::Error::new(io::ErrorKind::WouldBlock, why)))
        })?;
        if !self.allow_link_local && addresses.iter().any(|address| forbids(address.ip())) {
            return Err(ureq::Error::Other(Box::new(Forbidden)));
        }
        let mut known = self.known();
        known.retain(|_, (at, _)| at.elapsed() < REMEMBERED);
        known.insert(place, (Instant::now(), addresses.clone()));
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_and_metadata_addresses_are_forbidden_in_every_writing() {
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "168.63.129.16",
            "100.100.100.200",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(forbids(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn the_users_own_network_is_allowed() {
        for address in [
            "127.0.0.1",
            "::1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "1.1.1.1",
        ] {
            assert!(!forbids(address.parse().unwrap()), "{address}");
        }
    }
}
