//! DNS records in the notation of zone files.

use std::net::{Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::RData;

/// The content of a record in the notation of zone files, without the dot at the end of names.
pub(crate) fn text(record: &RData<'_>) -> String {
    match record {
        RData::A(a) => Ipv4Addr::from(a.address).to_string(),
        RData::AAAA(a) => Ipv6Addr::from(a.address).to_string(),
        RData::CNAME(name) => name.to_string(),
        RData::NS(name) => name.to_string(),
        RData::PTR(name) => name.to_string(),
        RData::MX(mx) => format!("{} {}", mx.preference, mx.exchange),
        RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, srv.target),
        RData::SOA(soa) => format!("{} {} {}", soa.mname, soa.rname, soa.serial),
        RData::TXT(txt) => String::try_from(txt.clone()).unwrap_or_default(),
        RData::CAA(caa) => {
            format!("{} {} {:?}", caa.flag, caa.tag, String::from_utf8_lossy(&caa.value))
        }
        RData::DS(ds) => {
            let digest: String = ds.digest.iter().map(|byte| format!("{byte:02X}")).collect();
            format!("{} {} {} {digest}", ds.key_tag, ds.algorithm, ds.digest_type)
        }
        RData::DNSKEY(key) => format!("{} {} {}", key.flags, key.protocol, key.algorithm),
        other => format!("{other:?}"),
    }
}

/// Whether a record matches what was expected. Names are compared without regard to case and a final dot, addresses
/// in any notation. Of records with several parts (MX, SRV) the last part alone may match.
pub(crate) fn same(found: &str, wanted: &str) -> bool {
    let plain = |text: &str| text.trim().trim_end_matches('.').to_ascii_lowercase();
    let (found, wanted) = (plain(found), plain(wanted));
    let address = |text: &str| text.parse::<std::net::IpAddr>().ok();
    let last = found.rsplit(' ').next().unwrap_or_default();
    found == wanted
        || (address(&found).is_some() && address(&found) == address(&wanted))
        || (!wanted.contains(' ') && found.starts_with(|c: char| c.is_ascii_digit()) && last == wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simple_dns::rdata::{A, MX, SOA, TXT};
    use simple_dns::{CLASS, Name, Packet, ResourceRecord};

    use super::*;

    #[test]
    fn answers_are_compared_as_people_mean_them() {
        for (found, wanted) in [
            ("www.Example.org", "WWW.example.org."),
            ("2001:db8::1", "2001:0db8:0:0::1"),
            ("10 mail.example.org", "mail.example.org."),
            ("10 mail.example.org", "10 mail.example.org"),
            ("v=spf1 -all", "v=spf1 -all"),
        ] {
            assert!(same(found, wanted), "{found} {wanted}");
        }
        for (found, wanted) in [
            ("192.0.2.1", "192.0.2.10"),
            ("10 mail.example.org", "20 mail.example.org"),
            ("v=spf1 -all", "-all"),
        ] {
            assert!(!same(found, wanted), "{found} {wanted}");
        }
    }

    fn message() -> Vec<u8> {
        let mut packet = Packet::new_reply(7);
        let name = || Name::new_unchecked("example.org");
        let soa =
            SOA { mname: name(), rname: name(), serial: 1, refresh: 2, retry: 3, expire: 4, minimum: 5 };
        let records = [
            RData::A(A { address: 1 }),
            RData::MX(MX { preference: 10, exchange: name() }),
            RData::TXT(TXT::new().with_string("v=spf1 -all").unwrap()),
            RData::SOA(soa),
        ];
        packet.answers.extend(records.map(|record| ResourceRecord::new(name(), CLASS::IN, 60, record)));
        packet.build_bytes_vec().unwrap()
    }

    proptest! {
        #[test]
        fn whatever_a_server_answers_is_read_or_refused(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            length in any::<prop::sample::Index>(),
        ) {
            let mut bytes = message();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(bytes.len() - length.index(bytes.len()) / 4);
            if let Ok(packet) = Packet::parse(&bytes) {
                let texts: Vec<String> = packet.answers.iter().map(|answer| text(&answer.rdata)).collect();
                prop_assert!(texts.len() < 1000);
            }
        }
    }
}
