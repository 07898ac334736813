//! Names and addresses: the `dns` probe, a system resolver that fails, and hosts with both address families. Tests
//! that need another network run in a network namespace, if the system allows one.

mod probe_support;

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use innkeeper_agent::probe::{Phase, ProbeOutcome, ProbeStatus};
use probe_support::names::{Answer, NameServer, a, again_in_a_network_of_its_own, name};
use probe_support::tls::{Wanted, accept, time};
use probe_support::{Server, assert_said, check, check_at, full};

fn zone(entries: &[(&'static str, Answer)]) -> NameServer {
    NameServer::start(entries.iter().cloned().collect::<HashMap<_, _>>())
}

fn ask(server: &NameServer, name: &str, more: &str) -> ProbeOutcome {
    check(&format!("kind = 'dns'\ntarget = '{name}'\nresolver = '{}'\n{more}", server.address))
}

fn txt(text: &str) -> (u16, Vec<u8>) {
    (16, [&[u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat())
}

#[test]
fn records_of_every_usual_type() {
    let mx = (15, [vec![0, 10], name("mail.example.org")].concat());
    let srv = (33, [vec![0, 1, 0, 2, 0x14, 0x66], name("sip.example.org")].concat());
    let soa = (6, [name("ns.example.org"), name("host.example.org"), vec![0, 0, 0, 7], vec![0; 16]].concat());
    let caa = (257, [&[0, 5][..], b"issue", b"ca.example"].concat());
    let v6 = (28, "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec());
    let records = vec![
        a([192, 0, 2, 1]),
        a([192, 0, 2, 2]),
        v6,
        mx,
        srv,
        soa,
        caa,
        txt("v=spf1 -all"),
        (2, name("ns.example.org")),
    ];
    let server = zone(&[
        ("example.org", Answer::Records(records)),
        ("www.example.org", Answer::Records(vec![(5, name("example.org")), a([192, 0, 2, 1])])),
        ("1.2.0.192.in-addr.arpa", Answer::Records(vec![(12, name("example.org"))])),
    ]);
    let outcome = ask(&server, "example.org", "");
    assert_said(&outcome, ProbeStatus::Ok, "example.org A: 192.0.2.1, 192.0.2.2");
    assert_eq!((outcome.figures["answers"].value, outcome.figures["ttl"].value), (2.0, 60.0));
    assert!(outcome.phases.get(Phase::FirstByte).is_some());
    for (name, record, expect) in [
        ("Example.org.", "a", "192.0.2.2"),
        ("example.org", "AAAA", "2001:0db8::0001"),
        ("example.org", "MX", "10 mail.example.org."),
        ("example.org", "MX", "mail.example.org"),
        ("example.org", "SRV", "1 2 5222 sip.example.org"),
        ("example.org", "TXT", "v=spf1 -all"),
        ("example.org", "NS", "NS.example.org"),
        ("example.org", "SOA", "ns.example.org host.example.org 7"),
        ("example.org", "CAA", "0 issue \"ca.example\""),
        ("www.example.org", "CNAME", "example.org"),
        ("www.example.org", "A", "192.0.2.1"),
        ("192.0.2.1", "PTR", "example.org"),
    ] {
        let outcome = ask(&server, name, &format!("record = '{record}'\nexpect = ['{expect}']"));
        assert_eq!(outcome.status, ProbeStatus::Ok, "{name} {record}: {outcome:?}");
    }
    assert_said(
        &ask(&server, "example.org", "expect = ['192.0.2.9']"),
        ProbeStatus::Critical,
        "not among the answers: 192.0.2.9",
    );
    assert_said(
        &ask(&server, "example.org", "expect = ['192.0.2.1']\nonly = true"),
        ProbeStatus::Critical,
        "should not be among the answers: 192.0.2.2",
    );
    assert_said(
        &ask(&server, "example.org", "expect = ['192.0.2.2', '192.0.2.1']\nonly = true"),
        ProbeStatus::Ok,
        "192.0.2.1, 192.0.2.2",
    );
    assert_said(
        &ask(&server, "www.example.org", "record = 'MX'"),
        ProbeStatus::Critical,
        "www.example.org has no MX record",
    );
}

#[test]
fn a_name_that_does_not_exist_is_told_from_trouble() {
    let server = zone(&[
        ("broken.example", Answer::Code(2)),
        ("refused.example", Answer::Code(5)),
        ("silent.example", Answer::Silence),
    ]);
    assert_said(
        &ask(&server, "none.example", ""),
        ProbeStatus::Critical,
        "none.example does not exist (NXDOMAIN)",
    );
    assert_said(&ask(&server, "broken.example", ""), ProbeStatus::Critical, "temporary trouble: ");
    assert_said(
        &ask(&server, "refused.example", ""),
        ProbeStatus::Critical,
        "answers REFUSED for refused.example",
    );
    let silent = ask(&server, "silent.example", "timeout = '300ms'");
    assert_said(&silent, ProbeStatus::Critical, "no answer from 127.0.0.1:");
    assert!(silent.summary.contains("timed out after 300ms"), "{silent:?}");
    assert_said(
        &ask(&server, "none.example", "rcode = ['NXDOMAIN']"),
        ProbeStatus::Ok,
        "answers NXDOMAIN for none.example, as it should",
    );
    assert_said(
        &ask(&server, "broken.example", "rcode = ['noerror', 'servfail']"),
        ProbeStatus::Ok,
        "SERVFAIL",
    );
    let port = innkeeper_testing::ports::free_port();
    let nobody = check(&format!("kind = 'dns'\ntarget = 'a.example'\nresolver = '127.0.0.1:{port}'"));
    assert_said(&nobody, ProbeStatus::Critical, "Connection refused");
}

#[test]
fn what_is_lost_is_asked_again_and_what_is_forged_is_not_believed() {
    let server = zone(&[
        ("late.example", Answer::Late(1, 3)),
        ("forged.example", Answer::Forged(3)),
        ("junk.example", Answer::Bytes(vec![0x81, 0x80, 0, 0, 0, 9, 0, 0, 0, 0, 0xc0, 0xff])),
        ("short.example", Answer::Bytes(vec![0x81])),
    ]);
    assert_said(&ask(&server, "late.example", ""), ProbeStatus::Critical, "does not exist (NXDOMAIN)");
    assert_eq!(server.asked.load(Ordering::SeqCst), 2);
    assert_said(&ask(&server, "forged.example", ""), ProbeStatus::Critical, "does not exist (NXDOMAIN)");
    assert_said(&ask(&server, "junk.example", ""), ProbeStatus::Critical, "that is not a DNS message");
    assert_said(&ask(&server, "short.example", "timeout = '300ms'"), ProbeStatus::Critical, "timed out");
}

#[test]
fn what_does_not_fit_comes_over_tcp_and_tcp_can_be_wanted() {
    let many: Vec<_> = (0..200).map(|n| a([192, 0, 2, n])).collect();
    let server = zone(&[
        ("large.example", Answer::TooLarge(many)),
        ("small.example", Answer::Records(vec![a([192, 0, 2, 1])])),
    ]);
    let outcome = ask(&server, "large.example", "expect = ['192.0.2.199']");
    assert_eq!((outcome.status, outcome.figures["answers"].value), (ProbeStatus::Ok, 200.0));
    assert!(outcome.phases.get(Phase::Connect).is_some());
    assert_said(&ask(&server, "small.example", "transport = 'tcp'"), ProbeStatus::Ok, "192.0.2.1");
}

#[test]
fn questions_over_tls() {
    let own = Wanted { names: &["dns.example"], ..Wanted::default() }.self_signed();
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, &own.pem).unwrap();
    let config = own.server(&[]);
    let plain = zone(&[("small.example", Answer::Records(vec![a([192, 0, 2, 1])]))]);
    let behind = plain.address;
    let server = Server::start(move |stream| {
        let Some(mut stream) = accept(&config, stream) else { return };
        let mut onward = std::net::TcpStream::connect(behind).unwrap();
        for way in 0..2 {
            let (from, to): (&mut dyn std::io::Read, &mut dyn std::io::Write) =
                if way == 0 { (&mut stream, &mut onward) } else { (&mut onward, &mut stream) };
            let mut length = [0; 2];
            if from.read_exact(&mut length).is_err() {
                return;
            }
            let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
            from.read_exact(&mut message).unwrap();
            to.write_all(&[length.to_vec(), message].concat()).unwrap();
        }
    });
    let text = |more: &str| {
        format!(
            "kind = 'dns'\ntarget = 'small.example'\nresolver = '{}'\ntransport = 'tls'\n{more}",
            server.address
        )
    };
    let trusted = text(&format!("server_name = 'dns.example'\nca_file = '{}'", ca.display()));
    assert_said(&check_at(&trusted, time("2026-07-01")), ProbeStatus::Ok, "192.0.2.1");
    assert_said(
        &check_at(&text("server_name = 'dns.example'"), time("2026-07-01")),
        ProbeStatus::Critical,
        "self-signed",
    );
}

const HOSTS: &str =
    "127.0.0.1 localhost dual.example\n::1 localhost dual.example\n::1 six.example\n127.0.0.1 four.example\n";

/// Runs the test in a network namespace. If the system does not allow one, runs `otherwise` here.
fn in_own_network(test: &str, resolv_conf: &str, inside: impl Fn(), otherwise: impl Fn()) {
    match std::env::var_os("PROBE_NETWORK") {
        Some(_) => inside(),
        None if again_in_a_network_of_its_own(test, "own", "true", resolv_conf, HOSTS) => {}
        None => otherwise(),
    }
}

#[test]
fn hosts_of_one_family_and_of_both() {
    let inside = || {
        let v6 = Server::on("[::1]:0", drop);
        let port = v6.port();
        let tcp = |host: &str, more: &str| check(&format!("kind = 'tcp'\ntarget = '{host}:{port}'\n{more}"));
        assert_said(&tcp("dual.example", ""), ProbeStatus::Ok, "connected to [::1]:");
        assert_said(&tcp("dual.example", "family = '6'"), ProbeStatus::Ok, "connected to [::1]:");
        assert_said(
            &tcp("dual.example", "family = '4'"),
            ProbeStatus::Critical,
            "cannot connect to 127.0.0.1:",
        );
        assert_said(&tcp("four.example", "family = '6'"), ProbeStatus::Critical, "four.example");
        let both = tcp("dual.example", "family = 'both'");
        assert_said(&both, ProbeStatus::Critical, "IPv4: cannot connect to 127.0.0.1");
        assert!(both.summary.ends_with(&format!("IPv6: connected to [::1]:{port}")), "{both:?}");
        let _v4 = Server::on(&format!("127.0.0.1:{port}"), drop);
        assert_said(&tcp("dual.example", "family = 'both'"), ProbeStatus::Ok, "IPv4: connected to 127.0.0.1");
        // One family is silent: the other does not wait for it.
        for (silent, loud) in [("127.0.0.1", "::1"), ("::1", "127.0.0.1")] {
            let (listener, _held) = full(silent.parse().unwrap());
            let port = listener.local_addr().unwrap().port();
            let loud: std::net::IpAddr = loud.parse().unwrap();
            let answers = Server::on(&std::net::SocketAddr::new(loud, port).to_string(), drop);
            let outcome = check(&format!("kind = 'tcp'\ntarget = 'dual.example:{port}'\ntimeout = '20s'"));
            assert_said(&outcome, ProbeStatus::Ok, &format!("connected to {}", answers.address));
        }
    };
    let otherwise = || {
        let v4 = Server::start(drop);
        let outcome = check(&format!("kind = 'tcp'\ntarget = 'localhost:{}'\nfamily = '4'", v4.port()));
        assert_said(&outcome, ProbeStatus::Ok, "connected to 127.0.0.1");
    };
    in_own_network("hosts_of_one_family_and_of_both", "", inside, otherwise);
}

#[test]
fn the_systems_resolver_in_trouble() {
    let inside = || {
        let tcp = |host: &str, more: &str| check(&format!("kind = 'tcp'\ntarget = '{host}:80'\n{more}"));
        // Nobody answers: that is no name that does not exist.
        let outcome = tcp("www.example.org", "timeout = '20s'");
        assert_said(&outcome, ProbeStatus::Critical, "could not resolve www.example.org (temporary)");
        let _server = NameServer::at_53(HashMap::from([
            ("broken.example.org", Answer::Code(2)),
            ("silent.example.org", Answer::Silence),
            ("here.example.org", Answer::Records(vec![a([127, 0, 0, 1])])),
        ]));
        assert_said(&tcp("none.example.org", ""), ProbeStatus::Critical, "none.example.org does not exist");
        assert_said(&tcp("broken.example.org", "timeout = '20s'"), ProbeStatus::Critical, "(temporary)");
        assert_said(
            &tcp("silent.example.org", "timeout = '300ms'"),
            ProbeStatus::Critical,
            "timed out after 300ms",
        );
        assert_said(
            &tcp("silent.example.org", "dns_timeout = '200ms'"),
            ProbeStatus::Critical,
            "timed out after 200ms while resolving the name",
        );
        assert_said(
            &tcp("here.example.org", ""),
            ProbeStatus::Critical,
            "cannot connect to 127.0.0.1:80: Connection refused",
        );
        assert_said(
            &check("kind = 'dns'\ntarget = 'here.example.org'"),
            ProbeStatus::Ok,
            "here.example.org A: 127.0.0.1",
        );
    };
    let otherwise = || {
        let outcome = check("kind = 'tcp'\ntarget = 'no-such-name.invalid:80'");
        assert_eq!(outcome.status, ProbeStatus::Critical);
        assert!(outcome.summary.contains("no-such-name.invalid"), "{outcome:?}");
    };
    let resolv_conf = "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n";
    in_own_network("the_systems_resolver_in_trouble", resolv_conf, inside, otherwise);
}

#[test]
fn echo_requests_where_they_are_permitted_and_where_not() {
    const TEST: &str = "echo_requests_where_they_are_permitted_and_where_not";
    // A new network permits nobody.
    const PERMIT: &str = "echo '0 0' > /proc/sys/net/ipv4/ping_group_range";
    match std::env::var("PROBE_NETWORK").as_deref() {
        Ok("permitted") => {
            for host in ["127.0.0.1", "::1", "dual.example"] {
                let outcome = check(&format!("kind = 'icmp'\ntarget = '{host}'\ncount = 2\npause = '10ms'"));
                assert_said(&outcome, ProbeStatus::Ok, "answers 2 of 2 echo requests");
                assert_eq!(outcome.figures["loss_percent"].value, 0.0);
                assert!(outcome.figures.contains_key("rtt_ms"));
            }
            let both = check("kind = 'icmp'\ntarget = 'dual.example'\nfamily = 'both'\ncount = 1");
            assert_said(&both, ProbeStatus::Ok, "IPv4: 127.0.0.1 answers 1 of 1");
            // There is nothing but this machine.
            assert_said(
                &check("kind = 'icmp'\ntarget = '192.0.2.1'"),
                ProbeStatus::Critical,
                "192.0.2.1: Network is unreachable",
            );
        }
        Ok(_) => {
            for host in ["127.0.0.1", "::1"] {
                let outcome = check(&format!("kind = 'icmp'\ntarget = '{host}'"));
                assert_said(
                    &outcome,
                    ProbeStatus::Unknown,
                    "net.ipv4.ping_group_range must include the group",
                );
            }
        }
        Err(_) => {
            if again_in_a_network_of_its_own(TEST, "permitted", PERMIT, "", HOSTS) {
                assert!(again_in_a_network_of_its_own(TEST, "forbidden", "true", "", HOSTS));
                return;
            }
            // Whatever is permitted here, it is one of the two.
            let outcome = check("kind = 'icmp'\ntarget = '127.0.0.1'\ncount = 1");
            let says = if outcome.status == ProbeStatus::Ok {
                "answers 1 of 1"
            } else {
                "net.ipv4.ping_group_range"
            };
            assert!(outcome.summary.contains(says), "{outcome:?}");
        }
    }
}
