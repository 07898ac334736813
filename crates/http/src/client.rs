//! The client's address behind proxies.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_web::HttpRequest;
use innkeeper_node::TrustedProxies;

/// The address that a request comes from: the last hop that is no trusted proxy.
///
/// A caller can write anything into `X-Forwarded-For`, so it is read from the right, and only as far as the hops were
/// added by trusted proxies. An entry that is not an address ends the reading.
pub fn client_address(request: &HttpRequest, trusted: &TrustedProxies) -> IpAddr {
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let forwarded = request.headers().get_all("x-forwarded-for").map(|value| value.as_bytes());
    last_untrusted(peer, forwarded, trusted)
}

fn last_untrusted<'h>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'h [u8]>,
    trusted: &TrustedProxies,
) -> IpAddr {
    let mut address = peer.to_canonical();
    let hops = forwarded.rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    for hop in hops {
        if !trusted.trusts(address) {
            break;
        }
        match std::str::from_utf8(hop).ok().and_then(|hop| parse_hop(hop.trim())) {
            Some(hop) => address = hop,
            None => break,
        }
    }
    address
}

/// `1.2.3.4`, `1.2.3.4:567`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:567`.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim_matches('"');
    hop.parse::<IpAddr>()
        .or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()))
        .or_else(|_| hop.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>())
        .ok()
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hop_nobody_trusted_vouches_for_is_the_client() {
        let trusted = TrustedProxies::new(
            ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]
                .map(|n| TrustedProxies::parse_entry(n).unwrap())
                .into(),
        );
        for (peer, lines, client) in [
            ("203.0.113.9", vec!["1.2.3.4"], "203.0.113.9"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec!["1.2.3.4"], "1.2.3.4"),
            ("10.0.0.1", vec!["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
            ("10.0.0.1", vec!["6.6.6.6, 1.2.3.4, 10.9.9.9"], "1.2.3.4"),
            ("10.0.0.1", vec!["6.6.6.6", "1.2.3.4", "192.0.2.7"], "1.2.3.4"),
            ("10.0.0.1", vec!["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
            ("10.0.0.1", vec!["1.2.3.4:5678"], "1.2.3.4"),
            ("2001:db8::1", vec!["[2a00::5]:443"], "2a00::5"),
            ("2001:db8::1", vec!["[2a00::5]"], "2a00::5"),
            ("10.0.0.1", vec!["::ffff:1.2.3.4"], "1.2.3.4"),
            ("::ffff:10.0.0.1", vec!["1.2.3.4"], "1.2.3.4"),
            ("::ffff:1.2.3.4", vec!["9.9.9.9"], "1.2.3.4"),
            ("10.0.0.1", vec![""], "10.0.0.1"),
            ("10.0.0.1", vec!["unknown"], "10.0.0.1"),
            ("10.0.0.1", vec!["1.2.3.4, <script>"], "10.0.0.1"),
            ("10.0.0.1", vec!["1.2.3.4, evil, 10.9.9.9"], "10.9.9.9"),
            ("10.0.0.1", vec!["1.2.3.4,,"], "10.0.0.1"),
            ("10.0.0.1", vec!["1.2.3.4, 10.0.0.\u{fffd}"], "10.0.0.1"),
        ] {
            let found = last_untrusted(peer.parse().unwrap(), lines.iter().map(|l| l.as_bytes()), &trusted);
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        }
        let latin = [b"1.2.3.4".as_slice(), b"\xff\xfe"];
        let peer = "10.0.0.1".parse().unwrap();
        assert_eq!(last_untrusted(peer, latin.into_iter(), &trusted), peer);
    }

    #[test]
    fn by_default_nobody_is_believed() {
        let line = [b"1.2.3.4".as_slice()];
        let peer = "127.0.0.1".parse().unwrap();
        assert_eq!(last_untrusted(peer, line.into_iter(), &TrustedProxies::default()), peer);
    }
}
