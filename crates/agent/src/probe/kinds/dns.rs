//! `dns`: checks that a resolver or name server returns the right records. The agent sends the query itself and does
//! not use the system's resolver library.

use std::net::{IpAddr, SocketAddr};

use innkeeper_settings::Section;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

use super::{ProbeCheck, Subject};
use crate::probe::attempt::ProbeAttempt;
use crate::probe::dns_messages::{over_stream, over_udp};
use crate::probe::dns_records::{same, text};
use crate::probe::network::{Network, host_and_port, with_port};
use crate::probe::outcome::{Failure, Phase, ProbeOutcome, ProbeStatus};
use crate::probe::read as keys;
use crate::probe::resolve::resolve;
use crate::probe::tls::Trust;

/// The file that lists the system's resolvers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

const RECORDS: [(&str, TYPE); 13] = [
    ("A", TYPE::A),
    ("AAAA", TYPE::AAAA),
    ("CNAME", TYPE::CNAME),
    ("MX", TYPE::MX),
    ("NS", TYPE::NS),
    ("TXT", TYPE::TXT),
    ("SOA", TYPE::SOA),
    ("SRV", TYPE::SRV),
    ("PTR", TYPE::PTR),
    ("CAA", TYPE::CAA),
    ("DS", TYPE::DS),
    ("DNSKEY", TYPE::DNSKEY),
    ("NAPTR", TYPE::NAPTR),
];

const RCODES: [(&str, RCODE); 7] = [
    ("NOERROR", RCODE::NoError),
    ("FORMERR", RCODE::FormatError),
    ("SERVFAIL", RCODE::ServerFailure),
    ("NXDOMAIN", RCODE::NameError),
    ("NOTIMP", RCODE::NotImplemented),
    ("REFUSED", RCODE::Refused),
    ("NOTAUTH", RCODE::NOTAUTH),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
    Tls,
}

/// Queries the records of a name.
#[derive(Debug)]
pub(crate) struct Dns {
    record: (&'static str, TYPE),
    /// Records that the response must contain.
    expect: Vec<String>,
    /// Whether the response must contain no others.
    only: bool,
    rcodes: Vec<RCODE>,
    /// The server to query; none for the system's resolvers.
    resolver: Option<(String, u16)>,
    transport: Transport,
    recursion: bool,
    network: Network,
    trust: Trust,
}

impl Dns {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let transports = [("udp", Transport::Udp), ("tcp", Transport::Tcp), ("tls", Transport::Tls)];
        let transport = keys::word(section, "transport", Transport::Udp, &transports);
        let usual_port = if transport == Transport::Tls { 853 } else { 53 };
        let rcodes = section.list("rcode", 10, |text| {
            let known = RCODES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
            known.map(|(_, rcode)| *rcode).ok_or_else(|| {
                format!(
                    "{text:?} is not a response code; allowed: {}",
                    RCODES.map(|(name, _)| name).join(", ")
                )
            })
        });
        Self {
            record: section.parsed("record", RECORDS[0], |text| {
                let known = RECORDS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
                known.ok_or_else(|| {
                    let allowed = RECORDS.map(|(name, _)| name).join(", ");
                    format!("{text:?} is not a supported record type; allowed: {allowed}")
                })
            }),
            expect: section.list("expect", 100, |text| Ok(text.to_owned())),
            only: section.flag("only", false),
            rcodes: if rcodes.is_empty() { vec![RCODE::NoError] } else { rcodes },
            resolver: section
                .parsed("resolver", None, |text| host_and_port(text, Some(usual_port)).map(Some)),
            transport,
            recursion: section.flag("recursion", true),
            network: Network::read(section, &Phase::ALL[..4]),
            trust: Trust::read(section),
        }
    }

    /// The query as a DNS message, and its id.
    fn question(&self, name: &str) -> Result<(u16, Vec<u8>), Failure> {
        let mut id = [0; 2];
        getrandom::fill(&mut id).map_err(|error| Failure::unknown(format!("no random numbers: {error}")))?;
        let id = u16::from_be_bytes(id);
        let mut packet = Packet::new_query(id);
        if self.recursion {
            packet.set_flags(PacketFlag::RECURSION_DESIRED);
        }
        let wrong = |error| Failure::unknown(format!("{name} cannot be looked up: {error:?}"));
        let qname = Name::new(name).map_err(wrong)?;
        let question = Question::new(qname, QTYPE::TYPE(self.record.1), QCLASS::CLASS(CLASS::IN), false);
        packet.questions.push(question);
        Ok((id, packet.build_bytes_vec().map_err(wrong)?))
    }

    fn ask(
        &self,
        server: SocketAddr,
        id: u16,
        question: &[u8],
        attempt: &mut ProbeAttempt,
    ) -> Result<Vec<u8>, Failure> {
        let limits = self.network.limits;
        if self.transport == Transport::Udp {
            let answer =
                attempt.phase(Phase::FirstByte, &limits, |bound| over_udp(server, id, question, bound))?;
            let is_cut = Packet::parse(&answer).is_ok_and(|packet| packet.has_flags(PacketFlag::TRUNCATION));
            // A message that cannot be parsed may still have the flag for truncation in its header.
            if !is_cut && answer.get(2).is_none_or(|flags| flags & 2 == 0) {
                return Ok(answer);
            }
        }
        let wire = self.network.connect_to(attempt, &server.ip().to_string(), server.port())?;
        if self.transport != Transport::Tls {
            let mut wire = wire;
            return attempt
                .phase(Phase::FirstByte, &limits, |bound| over_stream(&mut wire, id, question, bound));
        }
        let host = self.resolver.as_ref().map_or_else(|| server.ip().to_string(), |(host, _)| host.clone());
        let name = self.trust.server_name.as_deref().unwrap_or(&host);
        let (mut stream, _) = self.trust.handshake(wire, name, &self.network, attempt)?;
        attempt.phase(Phase::FirstByte, &limits, |bound| over_stream(&mut stream, id, question, bound))
    }

    fn servers(&self, attempt: &mut ProbeAttempt) -> Result<Vec<SocketAddr>, Failure> {
        let family = attempt.family.unwrap_or(self.network.family);
        match &self.resolver {
            Some((host, port)) => {
                let limits = self.network.limits;
                attempt.phase(Phase::Dns, &limits, |bound| resolve(host, *port, family, bound))
            }
            None => {
                let content = keys::file(RESOLV_CONF, 64 * 1024).map_err(Failure::unknown)?;
                let port = if self.transport == Transport::Tls { 853 } else { 53 };
                let found = name_servers(&String::from_utf8_lossy(&content));
                let found: Vec<SocketAddr> = found
                    .into_iter()
                    .filter(|address| family.has(*address))
                    .map(|address| SocketAddr::new(address, port))
                    .collect();
                match found.is_empty() {
                    true => Err(Failure::unknown(format!(
                        "{RESOLV_CONF} names no resolver; name one in resolver"
                    ))),
                    false => Ok(found),
                }
            }
        }
    }

    fn judged(&self, name: &str, server: SocketAddr, answer: &[u8]) -> Result<ProbeOutcome, Failure> {
        let packet = Packet::parse(answer).map_err(|error| {
            Failure::critical(format!("{server} answers with something that is not a DNS message: {error:?}"))
        })?;
        let (record, kind) = self.record;
        let rcode = packet.rcode();
        let code = RCODES.iter().find(|(_, known)| *known == rcode);
        let code = code.map_or_else(|| format!("code {}", rcode as u16), |(name, _)| (*name).to_owned());
        let found: Vec<String> = packet
            .answers
            .iter()
            .filter(|answer| answer.rdata.type_code() == kind)
            .map(|answer| text(&answer.rdata))
            .collect();
        let ttl = packet.answers.iter().map(|answer| answer.ttl).min();
        if !self.rcodes.contains(&rcode) {
            return Err(Failure::critical(match rcode {
                RCODE::NameError => format!("{name} does not exist ({code}), says {server}"),
                RCODE::ServerFailure => format!("temporary trouble: {server} cannot resolve {name} ({code})"),
                _ => format!("{server} answers {code} for {name}"),
            }));
        }
        let missing: Vec<&str> = self
            .expect
            .iter()
            .filter(|wanted| !found.iter().any(|found| same(found, wanted)))
            .map(String::as_str)
            .collect();
        let others: Vec<&str> = found
            .iter()
            .filter(|found| self.only && !self.expect.iter().any(|wanted| same(found, wanted)))
            .map(String::as_str)
            .collect();
        let answers = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
        let mut outcome = if rcode != RCODE::NoError {
            ProbeOutcome::ok(format!("{server} answers {code} for {name}, as it should"))
        } else if found.is_empty() && self.expect.is_empty() {
            ProbeOutcome::new(ProbeStatus::Critical, format!("{name} has no {record} record, says {server}"))
        } else {
            ProbeOutcome::ok(format!("{name} {record}: {answers}"))
        };
        if !missing.is_empty() {
            outcome.also(ProbeStatus::Critical, &format!("not among the answers: {}", missing.join(", ")));
        }
        if !others.is_empty() {
            outcome.also(
                ProbeStatus::Critical,
                &format!("should not be among the answers: {}", others.join(", ")),
            );
        }
        outcome = outcome
            .with_details(&found.iter().map(|found| format!("{record} {found}\n")).collect::<String>());
        if let Some(ttl) = ttl {
            outcome = outcome.figure("ttl", f64::from(ttl), "s");
        }
        Ok(outcome.figure("answers", found.len() as f64, ""))
    }
}

impl ProbeCheck for Dns {
    fn subject(&self, target: &str) -> Result<Subject, String> {
        let is_name = !target.is_empty() && !target.chars().any(|c| c.is_whitespace() || c.is_control());
        if !is_name || Name::new(target).is_err() {
            return Err(format!("{target:?} is not a name that DNS can look up"));
        }
        let host = self.resolver.as_ref().map(|(host, _)| host.clone()).unwrap_or_default();
        Ok(Subject { label: target.to_owned(), host })
    }

    fn network(&self) -> Option<&Network> {
        Some(&self.network)
    }

    fn run(&self, target: &str, attempt: &mut ProbeAttempt) -> Result<ProbeOutcome, Failure> {
        let name = target.strip_suffix('.').unwrap_or(target);
        let name = reverse(name).unwrap_or_else(|| name.to_owned());
        let (id, question) = self.question(&name)?;
        let servers = self.servers(attempt)?;
        let mut failure = Failure::unknown("no server was asked");
        let whole = attempt.whole();
        let count = servers.len();
        for (at, server) in servers.into_iter().enumerate() {
            // The time is shared, so that a server that does not respond leaves some for the next.
            let mut one = attempt.clone();
            if let Ok(left) = whole.left() {
                let share = left / u32::try_from(count - at).unwrap_or(1).max(1);
                one.timeout = one.started.elapsed() + share;
            }
            let answered = self.ask(server, id, &question, &mut one);
            attempt.phases = one.phases;
            match answered {
                Ok(answer) => return self.judged(&name, server, &answer),
                Err(error) => {
                    let address = with_port(&server.ip().to_string(), server.port());
                    failure = Failure { what: format!("no answer from {address}: {}", error.what), ..error };
                }
            }
            if whole.is_over() {
                break;
            }
        }
        Err(failure)
    }
}

/// The name for the reverse lookup of an address; none if `target` is not an address.
fn reverse(target: &str) -> Option<String> {
    match target.parse::<IpAddr>().ok()? {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            Some(format!("{d}.{c}.{b}.{a}.in-addr.arpa"))
        }
        IpAddr::V6(address) => {
            let digits = address.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            Some(digits.map(|digit| format!("{digit:x}.")).collect::<String>() + "ip6.arpa")
        }
    }
}

/// The addresses of the name servers in the text of `resolv.conf`.
fn name_servers(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().map(str::split_whitespace);
    let named =
        lines.filter_map(|mut words| (words.next() == Some("nameserver")).then(|| words.next()).flatten());
    // An address with an interface (`fe80::1%eth0`) is skipped: it cannot be reached without the interface.
    named.filter_map(|address| address.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_asked_for_by_their_reverse_names() {
        assert_eq!(reverse("192.0.2.1").unwrap(), "1.2.0.192.in-addr.arpa");
        assert!(reverse("2001:db8::1").unwrap().starts_with("1.0.0.0.") && reverse("a.example").is_none());
        assert!(reverse("2001:db8::1").unwrap().ends_with("8.b.d.0.1.0.0.2.ip6.arpa"));
    }

    #[test]
    fn resolvers_of_the_system() {
        let text = "# x\nsearch a\nnameserver 192.0.2.1\nnameserver\t::1\noptions ndots:1\nnameserver fe80::1%eth0\n";
        assert_eq!(name_servers(text), ["192.0.2.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
    }
}
