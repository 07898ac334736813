//! `tcp`, `smtp`, `postgres` and `icmp` against real servers that work or fail.

mod probe_support;

use std::io::{Read as _, Write as _};

use innkeeper_agent::probe::{Phase, ProbeOutcome, ProbeStatus};
use innkeeper_testing::certificates::Authority;
use innkeeper_testing::cluster::Cluster;
use innkeeper_testing::ports::{closed_port, free_port};
use innkeeper_testing::smtp_sink::{Reply, SmtpSink, Step};
use probe_support::{Server, assert_said, check, drip, full, hang};

fn target(kind: &str, host: &str, port: u16, more: &str) -> ProbeOutcome {
    check(&format!("kind = '{kind}'\ntarget = '{host}:{port}'\n{more}"))
}

#[test]
fn a_port_that_takes_connections_and_one_that_does_not() {
    let server = Server::start(drop);
    let outcome = target("tcp", "127.0.0.1", server.port(), "");
    assert_said(&outcome, ProbeStatus::Ok, &format!("connected to 127.0.0.1:{}", server.port()));
    assert!(outcome.phases.get(Phase::Connect).is_some() && outcome.figures.contains_key("connect_ms"));
    let port = closed_port();
    assert_said(
        &target("tcp", "127.0.0.1", port, ""),
        ProbeStatus::Critical,
        &format!("cannot connect to 127.0.0.1:{port}: Connection refused"),
    );
    let nowhere = target("tcp", "no-such-host.invalid", port, "");
    assert_eq!(nowhere.status, ProbeStatus::Critical);
    assert!(nowhere.summary.contains("no-such-host.invalid"), "{nowhere:?}");
}

#[test]
fn an_address_of_the_other_family() {
    let v6 = Server::on("[::1]:0", drop);
    let port = v6.port();
    assert_said(&target("tcp", "[::1]", port, ""), ProbeStatus::Ok, "connected to [::1]:");
    assert_said(
        &target("tcp", "[::1]", port, "family = '4'"),
        ProbeStatus::Critical,
        "::1 is no IPv4 address",
    );
    let both = target("tcp", "[::1]", port, "family = 'both'");
    assert_said(&both, ProbeStatus::Critical, "IPv4: ::1 is no IPv4 address");
    assert!(both.summary.contains("IPv6: connected to [::1]"), "{both:?}");
}

#[test]
fn a_host_that_says_nothing_takes_no_longer_than_the_limit() {
    let (listener, _held) = full([127, 0, 0, 1].into());
    let port = listener.local_addr().unwrap().port();
    assert_said(
        &target("tcp", "127.0.0.1", port, "timeout = '300ms'"),
        ProbeStatus::Critical,
        "timed out after 300ms",
    );
    assert_said(
        &target("tcp", "127.0.0.1", port, "connect_timeout = '200ms'"),
        ProbeStatus::Critical,
        "timed out after 200ms while connecting",
    );
}

#[test]
fn mail_servers_that_greet() {
    let sink = SmtpSink::plain();
    let smtp = |more: &str| target("smtp", "127.0.0.1", sink.port(), more);
    let outcome = smtp("");
    assert_said(&outcome, ProbeStatus::Ok, "it greets: ");
    assert!(outcome.phases.get(Phase::FirstByte).is_some());
    assert_said(&smtp("expect = ['8bitmime']"), ProbeStatus::Ok, "it greets");
    assert_said(&smtp("expect = ['STARTTLS']"), ProbeStatus::Critical, "does not offer STARTTLS; it offers");
    assert_said(&smtp("tls = 'starttls'"), ProbeStatus::Critical, "does not offer STARTTLS");
    sink.next(Step::Connect, Reply::say("554 no service"));
    assert_said(
        &smtp(""),
        ProbeStatus::Critical,
        "it does not greet with 220: the server says \"554 no service\"",
    );
    sink.next(Step::Hello, Reply::say("421 later"));
    assert_said(&smtp(""), ProbeStatus::Critical, "EHLO was refused: the server says \"421 later\"");
    assert!(sink.mails().is_empty());
}

#[test]
fn mail_servers_over_tls() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    authority.write_to(&ca);
    let trust = format!("ca_file = '{}'", ca.display());
    let starttls = SmtpSink::starttls(authority.server(&["127.0.0.1"]));
    let implicit = SmtpSink::implicit(authority.server(&["127.0.0.1"]));
    for (sink, word) in [(&starttls, "starttls"), (&implicit, "implicit")] {
        let smtp = |more: &str| target("smtp", "127.0.0.1", sink.port(), &format!("tls = '{word}'\n{more}"));
        let outcome = smtp(&trust);
        assert_said(&outcome, ProbeStatus::Ok, "it greets");
        assert!(outcome.figures["days_left"].value > 0.0 && outcome.phases.get(Phase::Tls).is_some());
        assert_said(&smtp(""), ProbeStatus::Critical, "not trusted here");
        assert_said(&smtp("verify = false"), ProbeStatus::Ok, "it greets");
        assert_said(
            &smtp(&format!("{trust}\nserver_name = 'mail.example'")),
            ProbeStatus::Critical,
            "not for mail.example, but for 127.0.0.1",
        );
    }
}

#[test]
fn mail_servers_that_hang_or_drip_or_are_none() {
    let silent = Server::start(hang);
    assert_said(
        &target("smtp", "127.0.0.1", silent.port(), "timeout = '300ms'"),
        ProbeStatus::Critical,
        "timed out after 300ms",
    );
    let endless = Server::start(|mut stream| drip(&mut stream, b"220-more\r\n"));
    assert_said(
        &target("smtp", "127.0.0.1", endless.port(), "timeout = '400ms'"),
        ProbeStatus::Critical,
        "timed out after 400ms",
    );
    let flood = Server::start(|mut stream| while stream.write_all(b"220-more and more\r\n").is_ok() {});
    assert_said(&target("smtp", "127.0.0.1", flood.port(), ""), ProbeStatus::Critical, "does not end");
    let line = Server::start(|mut stream| while stream.write_all(&[b'x'; 1000]).is_ok() {});
    assert_said(
        &target("smtp", "127.0.0.1", line.port(), ""),
        ProbeStatus::Critical,
        "sends a line that is too long",
    );
    let ssh = Server::start(|mut stream| {
        let _ = stream.write_all(b"SSH-2.0-x\r\n");
    });
    assert_said(
        &target("smtp", "127.0.0.1", ssh.port(), ""),
        ProbeStatus::Critical,
        "it does not greet with 220",
    );
    let gone = Server::start(|mut stream| {
        let _ = stream.write_all(b"220 hi\r\n");
        let _ = stream.read(&mut [0; 10]);
    });
    assert_eq!(target("smtp", "127.0.0.1", gone.port(), "").status, ProbeStatus::Critical);
}

#[test]
fn a_real_postgres_with_and_without_tls() {
    let authority = Authority::new();
    let port = free_port();
    let cluster = Cluster::start_encrypted(&authority, &["127.0.0.1"], port);
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    authority.write_to(&ca);
    let postgres = |more: &str| target("postgres", "127.0.0.1", port, more);
    for more in ["", "tls = 'off'", "tls = 'prefer'", "user = 'nobody'\ndatabase = 'none'"] {
        let outcome = postgres(more);
        assert_eq!(outcome.status, ProbeStatus::Ok, "{more}: {outcome:?}");
        assert!(outcome.phases.get(Phase::FirstByte).is_some());
    }
    assert!(postgres("").phases.get(Phase::Tls).is_some());
    let trust = format!("tls = 'require'\nca_file = '{}'", ca.display());
    let outcome = postgres(&trust);
    assert_eq!(outcome.status, ProbeStatus::Ok, "{outcome:?}");
    assert!(outcome.figures["days_left"].value > 0.0);
    assert_said(&postgres("tls = 'require'"), ProbeStatus::Critical, "not trusted here");
    let tls = check(&format!(
        "kind = 'tls'\ntarget = '127.0.0.1:{port}'\nstarttls = 'postgres'\nca_file = '{}'",
        ca.display()
    ));
    assert_said(&tls, ProbeStatus::Ok, "is valid until");
    {
        let _still = cluster.stand_still();
        assert_said(&postgres("timeout = '400ms'"), ProbeStatus::Critical, "timed out after 400ms");
    }
    cluster.stop();
    assert_said(&postgres(""), ProbeStatus::Critical, "Connection refused");
}

/// A server that responds to a startup message without TLS with this error.
fn refusing(code: &'static str) -> Server {
    Server::start(move |mut stream| {
        let mut length = [0; 4];
        if stream.read_exact(&mut length).is_err() {
            return;
        }
        let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
        let _ = stream.read_exact(&mut rest);
        let body = format!("SFATAL\0VFATAL\0C{code}\0Mthe reason\0\0");
        let mut message = vec![b'E'];
        message.extend_from_slice(&u32::try_from(body.len() + 4).expect("a short message").to_be_bytes());
        message.extend_from_slice(body.as_bytes());
        let _ = stream.write_all(&message);
    })
}

#[test]
fn what_postgres_answers_to_a_startup() {
    for (code, status, says) in [
        ("57P03", ProbeStatus::Critical, "it accepts no connections: the reason (57P03)"),
        ("53300", ProbeStatus::Critical, "it accepts no connections: the reason (53300)"),
        ("28000", ProbeStatus::Ok, "it answers, and rejects the login: the reason (28000)"),
        ("28P01", ProbeStatus::Ok, "it answers, and rejects the login"),
        ("3D000", ProbeStatus::Ok, "it answers, and rejects the login"),
        ("XX000", ProbeStatus::Critical, "it answers with an error: the reason (XX000)"),
    ] {
        let server = refusing(code);
        assert_said(&target("postgres", "127.0.0.1", server.port(), "tls = 'off'"), status, says);
    }
    let http = Server::start(|mut stream| {
        let _ = stream.read(&mut [0; 8]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    for more in ["", "tls = 'off'"] {
        assert_said(
            &target("postgres", "127.0.0.1", http.port(), more),
            ProbeStatus::Critical,
            "is not Postgres",
        );
    }
    let silent = Server::start(hang);
    assert_said(
        &target("postgres", "127.0.0.1", silent.port(), "timeout = '300ms'"),
        ProbeStatus::Critical,
        "timed out after 300ms",
    );
    let plain = Server::start(|mut stream| {
        let _ = stream.read(&mut [0; 8]);
        let _ = stream.write_all(b"N");
        hang(stream);
    });
    assert_said(
        &target("postgres", "127.0.0.1", plain.port(), "tls = 'require'"),
        ProbeStatus::Critical,
        "does not offer TLS",
    );
}
