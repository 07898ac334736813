//! Refuses requests to addresses that only the machine itself may request: link-local addresses, and those at which
//! clouds serve a machine's credentials.
//!
//! Loopback and private networks are allowed, since the monitor is in its user's own network.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use url::Host;

use crate::look_up::{LookUps, Memory};

/// The addresses outside link-local space at which clouds serve metadata: Azure, Alibaba, Oracle.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
/// The same for IPv6: two of Amazon, Google, Scaleway.
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];
/// The names of these services. They are refused even if they cannot be resolved here, since a proxy may resolve them.
const METADATA_NAMES: [&str; 11] = [
    "api.metadata.cloud.ibm.com",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata",
    "metadata.azure.internal",
    "metadata.goog",
    "metadata.google.internal",
    "metadata.internal",
    "metadata.oraclecloud.com",
    "metadata.platformequinix.com",
    "metadata.tencentyun.com",
];

/// Whether requests to `address` are forbidden, in any notation of it.
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

/// Whether requests to the host of this name are forbidden.
pub(crate) fn forbids_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    METADATA_NAMES.contains(&name.as_str())
}

/// The IPv4 addresses that an IPv6 address may reach by translation or a tunnel. Where the network chooses the
/// notation, all possible ones are returned.
fn within(v6: Ipv6Addr) -> [Option<Ipv4Addr>; 4] {
    let bytes = v6.octets();
    let at = |places: [usize; 4]| Some(Ipv4Addr::from(places.map(|place| bytes[place])));
    let last = at([12, 13, 14, 15]);
    match v6.segments() {
        // IPv4-compatible, IPv4-mapped, IPv4-translated (SIIT).
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => [last, None, None, None],
        // NAT64, also with a prefix that the network has chosen: /48, /56, /64 or /96 (RFC 6052).
        [0x64, 0xff9b, 0 | 1, ..] => [at([6, 7, 9, 10]), at([7, 9, 10, 11]), at([9, 10, 11, 12]), last],
        // 6to4.
        [0x2002, ..] => [at([2, 3, 4, 5]), None, None, None],
        // Teredo: the server, and the client with all bits inverted.
        [0x2001, 0, ..] => [at([4, 5, 6, 7]), last.map(|client| !client), None, None],
        // ISATAP, with any prefix.
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => [last, None, None, None],
        _ => [None; 4],
    }
}

/// The error of a request that was refused.
#[derive(Debug)]
pub(crate) struct Forbidden;

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is a link-local or cloud metadata address")
    }
}

impl std::error::Error for Forbidden {}

/// Resolves names. It refuses forbidden names, and names that have any forbidden address.
#[derive(Debug)]
pub(crate) struct GuardedResolver {
    look_ups: LookUps,
    allow_link_local: bool,
}

impl GuardedResolver {
    pub(crate) fn new(allow_link_local: bool, memory: Memory) -> Self {
        Self { look_ups: LookUps::new(memory), allow_link_local }
    }
}

impl Resolver for GuardedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let forbidden = || Err(ureq::Error::Other(Box::new(Forbidden)));
        if !self.allow_link_local && uri.host().is_some_and(forbids_name) {
            return forbidden();
        }
        let addresses = self.look_ups.look_up(uri, config, timeout)?;
        if !self.allow_link_local && addresses.iter().any(|address| forbids(address.ip())) {
            return forbidden();
        }
        Ok(addresses)
    }
}

/// Whether connections to this host are forbidden; `host` is a name, or an address in any notation.
pub(crate) fn forbids_host(host: &str) -> bool {
    let bare = host.trim().trim_matches(['[', ']']);
    let bare = bare.split_once('%').map_or(bare, |(address, _)| address);
    if let Ok(v6) = bare.parse() {
        return forbids(IpAddr::V6(v6));
    }
    match Host::parse(bare) {
        Ok(Host::Ipv4(v4)) => forbids(IpAddr::V4(v4)),
        Ok(Host::Domain(name)) => forbids_name(&name),
        Ok(Host::Ipv6(_)) | Err(_) => false,
    }
}

/// The addresses of a mail server.
///
/// # Errors
/// A name that cannot be resolved, or [`Forbidden`] if the host or any of its addresses is forbidden.
pub(crate) fn addresses_of(host: &str, port: u16, allow_link_local: bool) -> io::Result<Vec<SocketAddr>> {
    let forbidden = || Err(io::Error::new(io::ErrorKind::PermissionDenied, Forbidden));
    if !allow_link_local && forbids_host(host) {
        return forbidden();
    }
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    if !allow_link_local && addresses.iter().any(|address| forbids(address.ip())) {
        return forbidden();
    }
    Ok(addresses)
}

/// Whether the connection was refused because its address is forbidden.
pub(crate) fn is_forbidden(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<Forbidden>())
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
            "api.metadata.cloud.ibm.com",
            "metadata.oraclecloud.com",
        ] {
            assert!(forbids_name(name), "{name}");
            assert!(forbids_host(name), "{name}");
        }
    }

    #[test]
    fn hosts_of_mail_servers_are_forbidden_in_every_writing() {
        for host in [
            "169.254.169.254",
            " 169.254.169.254 ",
            "[fe80::1]",
            "fe80::1%eth0",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "0xA9FEA9FE",
            "2852039166",
            "169.254.43518",
            "0251.0376.0251.0376",
            "metadata",
            "METADATA.google.internal.",
        ] {
            assert!(forbids_host(host), "{host}");
            let error = addresses_of(host.trim_matches(['[', ']']), 25, false).unwrap_err();
            assert!(is_forbidden(&error), "{host}: {error}");
        }
        for host in ["127.0.0.1", "::1", "[fd00::1]", "smtp.example.org", "localhost", "mail", "10.0.0.1", ""]
        {
            assert!(!forbids_host(host), "{host}");
        }
        assert_eq!(addresses_of("127.0.0.1", 25, false).unwrap(), ["127.0.0.1:25".parse().unwrap()]);
        assert_eq!(addresses_of("169.254.1.1", 25, true).unwrap().len(), 1);
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
