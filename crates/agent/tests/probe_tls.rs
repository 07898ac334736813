//! Certificates that are good, expired, self-signed, of another name, of a chain, behind STARTTLS: against
//! real TLS servers.

mod probe_support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use innkeeper_agent::probe::{Phase, ProbeOutcome, ProbeStatus};
use probe_support::tls::{Shown, VERSION_1, Wanted, accept, time, unchecked};
use probe_support::{Server, assert_said, check_at, drip, eventually, hang};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

const NAMES: &[&str] = &["localhost", "127.0.0.1", "good.example"];

/// An authority, one that it has made another of, and a server's certificate of that one.
struct Chain {
    root: Shown,
    between: Shown,
    leaf: Shown,
    directory: tempfile::TempDir,
}

impl Chain {
    fn new() -> Self {
        Self::with(
            &Wanted::default(),
            &Wanted { names: NAMES, from: "2026-06-01", until: "2026-09-01", ..Wanted::default() },
        )
    }

    fn with(between: &Wanted<'_>, leaf: &Wanted<'_>) -> Self {
        let (from, until) = ("2020-01-01", "2040-01-01");
        let root = Wanted { subject: "Test Root", from, until, is_authority: true, ..Wanted::default() }
            .self_signed();
        let between = Wanted {
            subject: "Test Intermediate",
            is_authority: true,
            names: &[],
            from: between.from,
            until: between.until,
        }
        .signed_by(&root);
        let leaf = leaf.signed_by(&between);
        let directory = tempfile::tempdir().expect("a directory");
        Self { root, between, leaf, directory }
    }

    fn ca_file(&self) -> PathBuf {
        write(self.directory.path(), "root.pem", &self.root.pem)
    }

    fn serve(&self) -> Server {
        serve(self.leaf.server(&[&self.between]))
    }
}

fn write(directory: &Path, name: &str, content: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, content).expect("a writable directory");
    path
}

/// A server over TLS that waits for what the client says.
fn serve(config: Arc<ServerConfig>) -> Server {
    Server::start(move |stream| {
        if let Some(mut stream) = accept(&config, stream) {
            let _ = stream.read(&mut [0; 100]);
        }
    })
}

fn look(server: &Server, more: &str, date: &str) -> ProbeOutcome {
    let port = server.port();
    check_at(&format!("kind = 'tls'\ntarget = 'localhost:{port}'\nfamily = '4'\n{more}"), time(date))
}

#[test]
fn a_good_chain_and_the_days_that_are_left() {
    let chain = Chain::new();
    let server = chain.serve();
    let trust = format!("ca_file = '{}'", chain.ca_file().display());
    let outcome = look(&server, &trust, "2026-07-01");
    assert_said(&outcome, ProbeStatus::Ok, "is valid until 2026-09-01 00:00 UTC");
    assert_eq!(outcome.figures["days_left"].value, 62.0);
    for phase in [Phase::Dns, Phase::Connect, Phase::Tls] {
        assert!(outcome.phases.get(phase).is_some(), "{outcome:?}");
    }
    assert!(outcome.details.contains("Test Intermediate") && outcome.figures.contains_key("tls_ms"));
    // Its lifetime is 92 days: a third of it is more than three weeks.
    assert_said(&look(&server, &trust, "2026-08-10"), ProbeStatus::Ok, "is valid until");
    assert_said(
        &look(&server, &trust, "2026-08-12"),
        ProbeStatus::Warning,
        "expires in 20 days, at 2026-09-01",
    );
    let strict = format!("{trust}\nmin_left = '30d'");
    assert_said(&look(&server, &strict, "2026-08-12"), ProbeStatus::Critical, "expires in 20 days");
    let lax = format!("{trust}\nwarn_left = '12h'");
    assert_said(&look(&server, &lax, "2026-08-31"), ProbeStatus::Ok, "is valid until");
}

#[test]
fn certificates_of_six_days_are_not_always_red() {
    let leaf = Wanted { names: NAMES, from: "2026-07-01", until: "2026-07-07", ..Wanted::default() };
    let chain = Chain::with(&Wanted::default(), &leaf);
    let server = chain.serve();
    let trust = format!("ca_file = '{}'", chain.ca_file().display());
    assert_said(&look(&server, &trust, "2026-07-02"), ProbeStatus::Ok, "is valid until");
    assert_said(&look(&server, &trust, "2026-07-06"), ProbeStatus::Warning, "expires in 1 day");
}

#[test]
fn an_expired_certificate_is_looked_at_whether_it_is_to_be_verified_or_not() {
    let chain = Chain::new();
    let server = chain.serve();
    let trust = format!("ca_file = '{}'", chain.ca_file().display());
    for more in [&*trust, "verify = false"] {
        let outcome = look(&server, more, "2026-09-03");
        assert_said(
            &outcome,
            ProbeStatus::Critical,
            "has expired 2 days ago, 2026-09-01 00:00 UTC (the time here is 2026-09-03T00:00:00Z)",
        );
        assert_eq!(outcome.figures["leaf_days_left"].value, -2.0);
        assert_said(
            &look(&server, more, "2026-05-30"),
            ProbeStatus::Critical,
            "not valid yet, but only from 2026-06-01",
        );
    }
    assert!(!look(&server, &trust, "2026-09-03").summary.contains("not trusted"), "expiry is another fact");
}

#[test]
fn a_chain_that_is_not_trusted_is_a_failure_only_where_it_is_to_be_verified() {
    let chain = Chain::new();
    let server = chain.serve();
    assert_said(
        &look(&server, "", "2026-07-01"),
        ProbeStatus::Critical,
        "not trusted here: its issuer \"Test Intermediate\" leads to no known authority",
    );
    let outcome = look(&server, "verify = false", "2026-07-01");
    assert_said(
        &outcome,
        ProbeStatus::Ok,
        "is valid until 2026-09-01 00:00 UTC; not verified: its certificate is not trusted here",
    );
    assert_said(&look(&server, "verify = false", "2026-08-12"), ProbeStatus::Warning, "expires in 20 days");
    // The server forgets to send what is between.
    let forgetful = serve(chain.leaf.server(&[]));
    let trust = format!("ca_file = '{}'", chain.ca_file().display());
    assert_said(
        &look(&forgetful, &trust, "2026-07-01"),
        ProbeStatus::Critical,
        "issued by \"Test Intermediate\", which the server does not send and",
    );
}

#[test]
fn self_signed_certificates() {
    let directory = tempfile::tempdir().expect("a directory");
    for is_authority in [false, true] {
        let own = Wanted { names: NAMES, is_authority, ..Wanted::default() }.self_signed();
        let server = serve(own.server(&[]));
        assert_said(
            &look(&server, "", "2026-07-01"),
            ProbeStatus::Critical,
            "not trusted here: it is self-signed",
        );
        assert_said(&look(&server, "verify = false", "2026-07-01"), ProbeStatus::Ok, "not verified: ");
        let file = write(directory.path(), "own.pem", &own.pem);
        let trust = format!("ca_file = '{}'", file.display());
        assert_said(&look(&server, &trust, "2026-07-01"), ProbeStatus::Ok, "is valid until 2027-01-01");
        assert_said(&look(&server, &trust, "2027-01-02"), ProbeStatus::Critical, "has expired");
    }
}

#[test]
fn another_name_and_asking_for_another_name() {
    let chain = Chain::new();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (config, heard) = (chain.leaf.server(&[&chain.between]), Arc::clone(&asked));
    let server = Server::start(move |stream| {
        if let Some(stream) = accept(&config, stream) {
            heard.lock().unwrap().push(stream.conn.server_name().map(str::to_owned));
        }
    });
    let trust = format!("ca_file = '{}'", chain.ca_file().display());
    let target = |host: &str, more: &str| {
        let port = server.port();
        let text = format!("kind = 'tls'\ntarget = '{host}:{port}'\naddress = '127.0.0.1'\n{trust}\n{more}");
        let before = asked.lock().unwrap().len();
        let outcome = check_at(&text, time("2026-07-01"));
        // The server's end is agreed a moment later than ours.
        eventually("the server has noted the name", || asked.lock().unwrap().len() > before);
        outcome
    };
    assert_said(&target("good.example", ""), ProbeStatus::Ok, "is valid until");
    assert_said(&target("good.example.", ""), ProbeStatus::Ok, "is valid until");
    assert_said(
        &target("bad.example", ""),
        ProbeStatus::Critical,
        "not for bad.example, but for localhost, 127.0.0.1, good.example",
    );
    assert_said(
        &target("bad.example", "verify = false"),
        ProbeStatus::Ok,
        "not verified: its certificate is not for bad.example",
    );
    assert_said(&target("bad.example", "server_name = 'good.example'"), ProbeStatus::Ok, "is valid until");
    assert_said(&target("127.0.0.1", ""), ProbeStatus::Ok, "is valid until");
    let names: Vec<Option<String>> = asked.lock().unwrap().clone();
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(
        names,
        [
            some("good.example"),
            some("good.example"),
            some("bad.example"),
            some("bad.example"),
            some("good.example"),
            None
        ]
    );
}

#[test]
fn an_intermediate_that_has_expired_counts_and_one_of_another_chain_does_not() {
    let leaf = Wanted { names: NAMES, until: "2028-01-01", ..Wanted::default() };
    let chain = Chain::with(&Wanted { until: "2026-06-01", ..Wanted::default() }, &leaf);
    let server = chain.serve();
    let trust = format!("ca_file = '{}'", chain.ca_file().display());
    for more in [&*trust, "verify = false"] {
        assert_said(
            &look(&server, more, "2026-07-01"),
            ProbeStatus::Critical,
            "\"Test Intermediate\" has expired 30 days ago",
        );
        let near = look(&server, more, "2026-05-20");
        assert_said(
            &near,
            ProbeStatus::Warning,
            "its certificate of \"Test Intermediate\" expires in 12 days",
        );
        assert_eq!((near.figures["days_left"].value, near.figures["leaf_days_left"].value), (12.0, 591.0));
    }
    // The same key with a certificate that holds: the path over it is the one that counts. So did many
    // servers after a root's end.
    let renewed =
        Wanted { subject: "Test Intermediate", is_authority: true, until: "2029-01-01", ..Wanted::default() };
    let renewed = renewed.signed_with(chain.between.key_again(), &chain.root);
    let both = serve(chain.leaf.server(&[&chain.between, &renewed]));
    assert_said(&look(&both, &trust, "2026-07-01"), ProbeStatus::Ok, "is valid until 2028-01-01");
    // An old root that is sent along hurts nobody.
    let old_root = Wanted {
        subject: "Old Root",
        from: "2010-01-01",
        until: "2020-01-01",
        is_authority: true,
        ..Wanted::default()
    }
    .self_signed();
    let with_root = serve(chain.leaf.server(&[&renewed, &old_root]));
    for more in [&*trust, "verify = false"] {
        assert_said(&look(&with_root, more, "2026-07-01"), ProbeStatus::Ok, "is valid until 2028-01-01");
    }
}

#[test]
fn somebody_who_shows_the_certificate_of_another_is_not_trusted_and_told_nothing() {
    let chain = Chain::new();
    let trust = format!("ca_file = '{}'", chain.ca_file().display());
    for version in rustls::ALL_VERSIONS {
        let config = chain.leaf.impostor(&[&chain.between], &[version]);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&heard);
        let server = Server::start(move |stream| {
            if let Some(mut stream) = accept(&config, stream) {
                let mut bytes = Vec::new();
                let _ = stream.read_to_end(&mut bytes);
                told.lock().unwrap().push(bytes);
            }
        });
        assert_said(
            &look(&server, &trust, "2026-07-01"),
            ProbeStatus::Critical,
            "the server does not prove that it owns the certificate",
        );
        assert_said(&look(&server, "verify = false", "2026-07-01"), ProbeStatus::Ok, "not verified: ");
        let port = server.port();
        let http =
            format!("kind = 'http'\ntarget = 'https://localhost:{port}/'\nfamily = '4'\nbearer = 'secret'\n");
        let outcome = check_at(&format!("{http}{trust}"), time("2026-07-01"));
        assert_said(&outcome, ProbeStatus::Critical, "does not prove that it owns the certificate");
        eventually("the other has seen each end", || heard.lock().unwrap().len() == 3);
        assert_eq!(heard.lock().unwrap().concat(), b"", "no byte of the request");
    }
}

#[test]
fn certificates_of_an_old_form() {
    let pem = VERSION_1.as_bytes();
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().unwrap();
    // Its own key is not kept: what is looked at is the certificate.
    let key = rcgen::KeyPair::generate().unwrap().serialize_der();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
    let server = serve(unchecked(chain, &key, rustls::ALL_VERSIONS));
    for (more, status) in [("verify = false", ProbeStatus::Ok), ("", ProbeStatus::Critical)] {
        assert_said(&look(&server, more, "2027-07-01"), status, "it is not of X.509 version 3");
        assert_said(&look(&server, more, "2036-12-01"), ProbeStatus::Critical, "\"old.example\" has expired");
    }
}

#[test]
fn nothing_is_asked_of_the_server() {
    let chain = Chain::new();
    let config = chain.leaf.server(&[&chain.between]);
    let heard = Arc::new(Mutex::new(None));
    let told = Arc::clone(&heard);
    let server = Server::start(move |stream| {
        let Some(mut stream) = accept(&config, stream) else { return };
        let mut bytes = Vec::new();
        let end = stream.read_to_end(&mut bytes).map_err(|error| error.kind());
        *told.lock().unwrap() = Some((bytes, end));
    });
    assert_said(&look(&server, "verify = false", "2026-07-01"), ProbeStatus::Ok, "is valid until");
    eventually("the server has heard the end", || heard.lock().unwrap().is_some());
    assert_eq!(heard.lock().unwrap().clone(), Some((Vec::new(), Ok(0))), "a goodbye, and no byte before it");
}

/// A server that talks in lines before TLS: what it says, and after which words it says the next.
fn talking(
    config: Arc<ServerConfig>,
    greeting: &'static str,
    script: &'static [(&'static str, &'static str)],
) -> Server {
    Server::start(move |mut stream: TcpStream| {
        let _ = stream.write_all(greeting.as_bytes());
        for (heard, said) in script {
            let mut line = Vec::new();
            let mut byte = [0];
            while !line.ends_with(b"\n") && matches!(stream.read(&mut byte), Ok(1)) {
                line.push(byte[0]);
            }
            if !String::from_utf8_lossy(&line).starts_with(heard) {
                return;
            }
            let _ = stream.write_all(said.as_bytes());
        }
        if let Some(mut stream) = accept(&config, stream) {
            let _ = stream.read(&mut [0; 100]);
        }
    })
}

#[test]
fn starttls_of_mail_and_files() {
    let chain = Chain::new();
    let config = || chain.leaf.server(&[&chain.between]);
    let smtp: &[(&str, &str)] =
        &[("EHLO ", "250-mx.example\r\n250-PIPELINING\r\n250 STARTTLS\r\n"), ("STARTTLS", "220 go\r\n")];
    let imap: &[(&str, &str)] = &[("a1 STARTTLS", "* BYE not yet\r\na1 OK go\r\n")];
    let pop3: &[(&str, &str)] = &[("STLS", "+OK go\r\n")];
    let ftp: &[(&str, &str)] = &[("AUTH TLS", "234 go\r\n")];
    for (word, greeting, script) in [
        ("smtp", "220-mx.example\r\n220 ready\r\n", smtp),
        ("imap", "* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n", imap),
        ("pop3", "+OK ready\r\n", pop3),
        ("ftp", "220 ready\r\n", ftp),
    ] {
        let server = talking(config(), greeting, script);
        let trust = format!("starttls = '{word}'\nca_file = '{}'", chain.ca_file().display());
        assert_said(&look(&server, &trust, "2026-07-01"), ProbeStatus::Ok, "is valid until");
        assert_said(&look(&server, &trust, "2026-09-03"), ProbeStatus::Critical, "has expired");
    }
    let none: &[(&str, &str)] = &[("EHLO ", "250 mx.example\r\n")];
    let plain = talking(config(), "220 ready\r\n", none);
    assert_said(
        &look(&plain, "starttls = 'smtp'", "2026-07-01"),
        ProbeStatus::Critical,
        "does not offer STARTTLS",
    );
    let busy = talking(config(), "421 too busy\r\n", &[]);
    assert_said(
        &look(&busy, "starttls = 'smtp'", "2026-07-01"),
        ProbeStatus::Critical,
        "no greeting of SMTP: the server says \"421 too busy\"",
    );
    let refusing: &[(&str, &str)] = &[("a1 STARTTLS", "a1 NO\r\n")];
    let refusing = talking(config(), "* OK ready\r\n", refusing);
    assert_said(
        &look(&refusing, "starttls = 'imap'", "2026-07-01"),
        ProbeStatus::Critical,
        "STARTTLS was refused",
    );
}

#[test]
fn starttls_of_postgres() {
    let chain = Chain::new();
    let config = chain.leaf.server(&[&chain.between]);
    let server = Server::start(move |mut stream| {
        let mut request = [0; 8];
        if stream.read_exact(&mut request).is_ok() && request == [0, 0, 0, 8, 4, 210, 22, 47] {
            let _ = stream.write_all(b"S");
            if let Some(mut stream) = accept(&config, stream) {
                let _ = stream.read(&mut [0; 100]);
            }
        }
    });
    let trust = format!("starttls = 'postgres'\nca_file = '{}'", chain.ca_file().display());
    assert_said(&look(&server, &trust, "2026-07-01"), ProbeStatus::Ok, "is valid until");
    let plain = Server::start(|mut stream| {
        let _ = stream.read(&mut [0; 8]);
        let _ = stream.write_all(b"N");
        hang(stream);
    });
    assert_said(&look(&plain, &trust, "2026-07-01"), ProbeStatus::Critical, "does not offer TLS");
}

#[test]
fn a_client_certificate_is_shown_where_one_is_given() {
    let chain = Chain::new();
    let clients = Wanted { subject: "Clients", is_authority: true, ..Wanted::default() }.self_signed();
    let key = rcgen::KeyPair::generate().expect("a new key");
    let key_pem = key.serialize_pem();
    let client = {
        let mut parameters = rcgen::CertificateParams::new(vec!["agent.example".to_owned()]).unwrap();
        parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        parameters.not_after = rcgen::date_time_ymd(2040, 1, 1);
        clients.sign(&parameters, &key)
    };
    let config = chain.leaf.server_for_clients_of(&clients, &[&chain.between]);
    let server = Server::start(move |stream| {
        if let Some(mut stream) = accept(&config, stream) {
            let _ = probe_support::request(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        }
    });
    let directory = chain.directory.path();
    let (certificate, key) = (write(directory, "c.pem", &client), write(directory, "c.key", &key_pem));
    let target = format!(
        "kind = 'http'\ntarget = 'https://localhost:{}/'\nfamily = '4'\nca_file = '{}'\n",
        server.port(),
        chain.ca_file().display()
    );
    let with = format!(
        "{target}client_cert_file = '{}'\nclient_key_file = '{}'",
        certificate.display(),
        key.display()
    );
    assert_said(&check_at(&with, time("2026-07-01")), ProbeStatus::Ok, "status 200");
    assert_said(&check_at(&target, time("2026-07-01")), ProbeStatus::Critical, "CertificateRequired");
    let other = write(directory, "o.key", &chain.leaf.key_pem());
    let wrong = format!(
        "{target}client_cert_file = '{}'\nclient_key_file = '{}'",
        certificate.display(),
        other.display()
    );
    assert!(probe_support::problems(&wrong)[0].contains("client_key_file: does not match the certificate"));
    let half = format!("{target}client_cert_file = '{}'", certificate.display());
    assert!(probe_support::problems(&half)[0].contains("client_key_file: is missing"));
}

#[test]
fn certificates_of_servers_that_want_one_of_the_client() {
    let chain = Chain::new();
    let clients = Wanted { subject: "Clients", is_authority: true, ..Wanted::default() }.self_signed();
    let trust = format!("ca_file = '{}'", chain.ca_file().display());
    // By TLS 1.3 a server refuses when the handshake is over on our side, by TLS 1.2 within it.
    for config in [
        chain.leaf.server_for_clients_of(&clients, &[&chain.between]),
        chain.leaf.server_of_tls_12_for_clients_of(&clients, &[&chain.between]),
    ] {
        let server = serve(config);
        assert_said(&look(&server, &trust, "2026-07-01"), ProbeStatus::Ok, "is valid until 2026-09-01");
        assert_said(&look(&server, &trust, "2026-08-12"), ProbeStatus::Warning, "expires in 20 days");
        assert_said(&look(&server, "", "2026-07-01"), ProbeStatus::Critical, "not trusted here");
    }
}

#[test]
fn servers_that_hang_drip_or_are_something_else() {
    let silent = Server::start(hang);
    assert_said(
        &look(&silent, "timeout = '300ms'\nretries = 0", "2026-07-01"),
        ProbeStatus::Critical,
        "timed out after 300ms",
    );
    assert_said(
        &look(&silent, "tls_timeout = '200ms'", "2026-07-01"),
        ProbeStatus::Critical,
        "timed out after 200ms while negotiating TLS",
    );
    // A record of TLS that never ends: each byte comes in time.
    let dripping = Server::start(|mut stream| {
        let _ = stream.write_all(&[22, 3, 3, 0x3f, 0xff, 2, 0, 0x3f, 0xfb]);
        drip(&mut stream, b"\0");
    });
    assert_said(
        &look(&dripping, "timeout = '400ms'", "2026-07-01"),
        ProbeStatus::Critical,
        "timed out after 400ms",
    );
    let lines = Server::start(|mut stream| drip(&mut stream, b"220-more\r\n"));
    assert_said(
        &look(&lines, "timeout = '400ms'\nstarttls = 'smtp'", "2026-07-01"),
        ProbeStatus::Critical,
        "timed out after 400ms",
    );
    let http = Server::start(|mut stream| {
        let _ = stream.read(&mut [0; 100]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    assert_said(&look(&http, "", "2026-07-01"), ProbeStatus::Critical, "is not TLS");
    // One that cuts the connection when it has shown its certificate, and has not asked for ours.
    let config = Wanted { names: NAMES, ..Wanted::default() }.self_signed().server_of_tls_12();
    let cutting = Server::start(move |mut stream| {
        let mut server = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let read = server.read_tls(&mut stream).is_ok() && server.process_new_packets().is_ok();
        while read && server.wants_write() && server.write_tls(&mut stream).is_ok() {}
    });
    assert_said(
        &look(&cutting, "verify = false", "2026-07-01"),
        ProbeStatus::Critical,
        "TLS failed: the server ",
    );
    let closing = Server::start(drop);
    let outcome = look(&closing, "", "2026-07-01");
    assert!(
        outcome.status == ProbeStatus::Critical && outcome.summary.contains("TLS failed: the server "),
        "{outcome:?}"
    );
}
