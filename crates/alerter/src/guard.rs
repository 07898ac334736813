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
/// The same over IPv6: Amazon's two, Google, Scaleway.
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];
/// What clouds call them. Such a name need not lead anywhere from here: a proxy may know it.
const METADATA_NAMES: [&str; 9] = [
    "instance-data",
    "instance-data.ec2.internal",
    "metadata",
    "metadata.azure.internal",
    "metadata.goog",
    "metadata.google.internal",
    "metadata.internal",
    "metadata.platformequinix.com",
    "metadata.tencentyun.com",
];

/// Whether no request may go to `address`, however it is written.
pub(crate) fn forbids(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || METADATA_V4.contains(&v4),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || METADATA_V6.contains(&v6)
                || within(v6).into_iter().flatten().any(|v4| forbids(IpAddr::V4(v4)))
        }
    }
}

/// Whether no request may go to the host of this name.
pub(crate) fn forbids_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    METADATA_NAMES.contains(&name.as_str())
}

/// The IPv4 addresses that an IPv6 one may lead to by a translation or a tunnel. Where a network chooses how it writes them,
/// each way counts.
fn within(v6: Ipv6Addr) -> [Option<Ipv4Addr>; 4] {
    let bytes = v6.octets();
    let at = |places: [usize; 4]| Some(Ipv4Addr::from(places.map(|place| bytes[place])));
    let last = at([12, 13, 14, 15]);
    match v6.segments() {
        // Compatible, mapped, translated (SIIT).
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => [last, None, None, None],
        // NAT64, also under a prefix of the network's own: /48, /56, /64 or /96 (RFC 6052).
        [0x64, 0xff9b, 0 | 1, ..] => [at([6, 7, 9, 10]), at([7, 9, 10, 11]), at([9, 10, 11, 12]), last],
        // 6to4.
        [0x2002, ..] => [at([2, 3, 4, 5]), None, None, None],
        // Teredo: the server, and the client with every bit turned.
        [0x2001, 0, ..] => [at([4, 5, 6, 7]), last.map(|client| !client), None, None],
        // ISATAP, under any prefix.
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => [last, None, None, None],
        _ => [None; 4],
    }
}

/// The error of a request that was not made.
#[derive(Debug)]
pub(crate) struct Forbidden;

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is a link-local or cloud metadata address")
    }
}

impl std::error::Error for Forbidden {}

/// How long the addresses of a name are used again: each request of a storm would look it up anew, in a thread of its own.
const REMEMBERED: Duration = Duration::from_secs(5);

/// Looks names up, and refuses one that is forbidden, and a name of which any address is forbidden.
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
        if !self.allow_link_local && uri.host().is_some_and(forbids_name) {
            return Err(ureq::Error::Other(Box::new(Forbidden)));
        }
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
            "::ffff:0:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::168.63.129.16",
            "64:ff9b:1::a9fe:a9fe",
            "64:ff9b:1:abcd::169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:00a9:00fe:a9fe::",
            "64:ff9b:1:0:a9:fea9:fe00::",
            "2002:a9fe:a9fe::1",
            "2001:0:a9fe:a9fe:8000:63bf:3fff:fdd2",
            "2001:0:4136:e378:8000:63bf:5601:5601",
            "2001:db8::5efe:a9fe:a9fe",
            "fe80::5efe:10.0.0.1",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:42::42",
        ] {
            assert!(forbids(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn names_of_metadata_services_are_forbidden_in_every_writing() {
        for name in [
            "metadata.google.internal",
            "Metadata.Google.Internal.",
            "metadata",
            "instance-data.ec2.internal",
        ] {
            assert!(forbids_name(name), "{name}");
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
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::10.0.0.1",
            "2002:a00:1::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:4860:4860::8888",
            "2001:db8::5efe:a00:1",
            "1.1.1.1",
        ] {
            assert!(!forbids(address.parse().unwrap()), "{address}");
        }
        for name in ["metadata.example.org", "example.org", "localhost", "google.internal", "mymetadata"] {
            assert!(!forbids_name(name), "{name}");
        }
    }
}
