//! What a table of the configuration may hold, and how its mistakes are told.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::*;
use innkeeper_alerter::{AlerterConfig, Alerters, useless_certificates};
use innkeeper_core::names::AlerterName;
use innkeeper_core::ways::AlerterKind;
use innkeeper_testing::certificates::Authority;

/// A table of each kind with nothing but what it cannot be without.
const SMALLEST: [(&str, &str); 6] = [
    ("smtp", "host = 'smtp.example.org'\nfrom = 'innkeeper@example.org'"),
    ("slack", "url = 'https://hooks.slack.com/services/x'"),
    ("pagerduty", "routing_key = 'x'"),
    ("webhook", "url = 'https://example.org/hook'"),
    ("command", "command = ['/bin/true']"),
    ("log", ""),
];

#[test]
fn every_kind_can_be_built_from_little() {
    assert_eq!(AlerterKind::ALL, SMALLEST.map(|(kind, _)| kind.parse().unwrap()));
    for (kind, table) in SMALLEST {
        let table = format!("kind = '{kind}'\n{table}");
        assert_eq!(config(&table).kind().as_str(), kind);
        assert_eq!(build(&table).kind().as_str(), kind);
        assert!(!config(&table).summary && config(&table).enabled);
        for value in ["true", "'true'", "'yes'", "'On'", "'1'"] {
            assert!(config(&format!("{table}\nsummary = {value}")).summary, "{kind}");
        }
        for value in ["false", "'false'", "'no'", "'off'", "'0'"] {
            assert!(!config(&format!("{table}\nenabled = {value}")).enabled, "{kind}");
        }
    }
}

#[test]
fn the_keys_told_are_the_keys_taken() {
    for (kind, table) in SMALLEST {
        let error = read_error(&format!("kind = '{kind}'\n{table}\nnonsense = 1"));
        let (_, list) =
            error.split_once(&format!("nonsense: unknown key; allowed for kind = {kind:?}: ")).unwrap();
        let taken: Vec<&str> = list.split(", ").collect();
        assert_eq!(AlerterConfig::keys(kind.parse().unwrap()), taken, "{kind}: {error}");
    }
}

#[test]
fn an_unknown_kind_lists_the_known_ones_and_errors_keep_their_place() {
    let error = read_error("kind = 'fax'");
    for kind in AlerterKind::ALL {
        assert!(error.contains(kind.as_str()), "{error}");
    }
    let text = "kind = 'webhook'\nurl = 'https://example.org/hook'\ntimeout = 'soon'";
    assert!(read_error(text).starts_with("f:3: alerter.ops.timeout: "), "{}", read_error(text));
}

#[test]
fn text_stands_for_every_other_type() {
    build("kind = 'smtp'\nhost = 'h'\nfrom = 'a@example.org'\nport = '2525'\nsummary = 'false'");
    build(
        "kind = 'webhook'\nurl = 'http://10.0.0.1/'\nallow_link_local = 'true'\nheaders = \"X-A: 1\\nX-B: a: b\"",
    );
    for command in ["'/bin/echo one two'", "'[\"/bin/echo\", \"one two\"]'"] {
        build(&format!("kind = 'command'\ncommand = {command}"));
    }
}

#[test]
fn values_that_cannot_be_read_say_what_is_allowed() {
    let smtp = "kind = 'smtp'\nhost = 'h'\nfrom = 'a@example.org'";
    let webhook = "kind = 'webhook'\nurl = 'https://example.org'";
    for (table, says) in [
        (format!("{smtp}\nport = 0"), "port: 0 is out of bounds; write a whole number from 1 to 65535"),
        (format!("{smtp}\nport = 65536"), "a whole number from 1 to 65535"),
        (format!("{smtp}\nport = '587x'"), "a whole number from 1 to 65535"),
        (format!("{smtp}\ntls = 'maybe'"), "starttls, implicit, none"),
        (format!("{smtp}\nsummary = 'maybe'"), "true, yes, on, 1, false, no, off, 0"),
        (format!("{smtp}\nsummary = 1"), "write true or false"),
        (format!("{webhook}\ntimeout = 10"), "write a text in quotes with its unit"),
        (format!("{webhook}\ntimeout = '0s'"), "at least 100ms, at most 10m"),
        (format!("{webhook}\ntimeout = '1d'"), "at least 100ms, at most 10m"),
        (format!("{webhook}\ntimeout = '10'"), "write a number and a unit"),
        (format!("{webhook}\nheaders = 'nonsense'"), "`Name: value`"),
        ("kind = 'smtp'\nfrom = 'a@example.org'".to_owned(), "alerter.ops: the key host is missing"),
        ("kind = 'smtp'\nhost = 'h'".to_owned(), "alerter.ops: the key from is missing"),
        ("kind = 'command'".to_owned(), "alerter.ops: the key command is missing"),
        (
            "kind = 'pagerduty'\nrouting_key = 'x'\nseverity = 'bad'".to_owned(),
            "critical, error, warning, info",
        ),
    ] {
        let error = read_error(&table);
        assert!(error.contains(says), "{table}: {error}");
    }
}

#[test]
fn values_that_cannot_be_used_name_the_alerter_and_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty");
    fs::write(&empty, "\n").unwrap();
    let empty = empty.display();
    let smtp = "kind = 'smtp'\nhost = 'smtp.example.org'\nfrom = 'a@example.org'";
    let webhook = "kind = 'webhook'\nurl = 'https://example.org'";
    for (table, says) in [
        ("kind = 'webhook'".to_owned(), "url: is missing; give url or url_file"),
        ("kind = 'slack'".to_owned(), "url: is missing"),
        ("kind = 'pagerduty'".to_owned(), "routing_key: is missing; give routing_key or routing_key_file"),
        (
            "kind = 'slack'\nurl = 'https://x'\nurl_file = '/x'".to_owned(),
            "url_file: cannot be combined with url; give one of the two",
        ),
        (
            format!("{webhook}\nsecret = 'x'\nsecret_file = '/x'"),
            "secret_file: cannot be combined with secret",
        ),
        (format!("{webhook}\nsecret = ' '"), "secret: is empty"),
        (
            format!("{webhook}\nsecret_file = '/no/such/file'"),
            "secret_file: cannot read the secret from \"/no/such/file\": No such file",
        ),
        (format!("{webhook}\nsecret_file = '{empty}'"), "is empty; it holds no secret"),
        (format!("{webhook}\nca_file = '/no/such/file'"), "ca_file: /no/such/file: No such file"),
        (format!("{webhook}\nca_file = '{empty}'"), "has no certificate"),
        (
            format!("{webhook}\nheaders = {{ 'Content-Length' = '1' }}"),
            "headers: \"Content-Length\" is set by Innkeeper",
        ),
        (format!("{webhook}\nheaders = {{ 'a b' = '1' }}"), "headers: \"a b\" is not the name of a header"),
        (
            format!("{webhook}\nheaders = {{ 'X-A' = \"1\\r\\n2\" }}"),
            "headers: \"X-A\" has a value with control",
        ),
        ("kind = 'webhook'\nurl = 'example.org/hook'".to_owned(), "url: is not an address"),
        ("kind = 'webhook'\nurl = 'ftp://example.org/hook'".to_owned(), "url: has a scheme other than"),
        ("kind = 'webhook'\nurl = 'https://'".to_owned(), "url: is not an address"),
        ("kind = 'smtp'\nhost = ''\nfrom = 'a@example.org'".to_owned(), "host: \"\" is not a host"),
        ("kind = 'smtp'\nhost = 'a b'\nfrom = 'a@example.org'".to_owned(), "host: \"a b\" is not a host"),
        ("kind = 'smtp'\nhost = 'h'\nfrom = 'nobody'".to_owned(), "from: \"nobody\" is not a sender"),
        ("kind = 'smtp'\nhost = 'h'\nfrom = \"a@example.org\\nBcc: x\"".to_owned(), "is not a sender"),
        (format!("{smtp}\nusername = 'u'"), "password: is missing beside username"),
        (format!("{smtp}\npassword = 'p'"), "username: is missing beside password"),
        (
            format!("{smtp}\nusername = 'u'\npassword = 'p'\ntls = 'none'"),
            "tls: is \"none\", which would send the password",
        ),
        (format!("{smtp}\nca_file = '{empty}'"), "ca_file"),
        ("kind = 'command'\ncommand = []".to_owned(), "command: is empty"),
        ("kind = 'command'\ncommand = ''".to_owned(), "command: is empty"),
    ] {
        let error = build_error(&table);
        assert!(error.contains("alerter.ops."), "{error}");
        assert!(error.contains(says), "{table}: {error}");
    }
    let local = "kind = 'smtp'\nhost = '127.0.0.1'\nfrom = 'a@example.org'\nusername = 'u'\npassword = 'p'\ntls = 'none'";
    build(local);
}

#[test]
fn everything_wrong_is_told_at_once() {
    let text = "kind = 'smtp'\nhsot = 'h'\nport = 0\ntls = 'maybe'\nusername = 'u'\nfrom = 'nobody'\ntimeout = 'soon'\nsummary = 'maybe'";
    let (_, problems) = read(text);
    for (line, key) in [
        (0, ": the key host is missing"),
        (2, "hsot: unknown key"),
        (3, "port"),
        (4, "tls"),
        (5, "password: is missing beside username"),
        (6, "from"),
        (7, "timeout"),
        (8, "summary"),
    ] {
        let place = if line == 0 { String::new() } else { format!("f:{line}: ") };
        let dot = if line == 0 { "" } else { "." };
        let beginning = format!("{place}alerter.ops{dot}{key}");
        assert!(problems.iter().any(|problem| problem.starts_with(&beginning)), "{beginning}: {problems:#?}");
    }
    assert_eq!(problems.len(), 8, "{problems:#?}");
}

#[test]
fn one_that_is_parked_is_known_and_never_handed_out() {
    let smtp = "kind = 'smtp'\nhost = 'h'\nfrom = 'a@example.org'\nsummary = true";
    let parked = format!("{smtp}\nenabled = false");
    let alerters = Alerters::build(&named(&[("mail", &parked), ("relay", smtp)]), clock()).unwrap();
    assert_eq!(alerters.names().map(AlerterName::as_str).collect::<Vec<_>>(), ["log", "relay"]);
    assert!(alerters.get("mail").is_none() && alerters.is_parked("mail") && !alerters.is_parked("relay"));
    assert_eq!(
        alerters.parked().map(|(name, kind)| (name.as_str(), kind.as_str())).collect::<Vec<_>>(),
        [("mail", "smtp")]
    );
    assert_eq!(alerters.smtp().unwrap().as_str(), "relay", "another takes the mail");
    assert_eq!(summaries(&alerters), ["mail", "relay"]);
    let alerters = Alerters::build(&named(&[("mail", &parked)]), clock()).unwrap();
    assert_eq!(alerters.smtp(), None);
    // What is wrong with it is told as long as it is parked, too.
    let no_file = named(&[("mail", &format!("{parked}\nca_file = '/no/such/file'"))]);
    assert!(Alerters::build(&no_file, clock()).unwrap_err().to_string().contains("/no/such/file"));
    let table = innkeeper_settings::parse("f", "kind = 'log'\nenabled = false").unwrap();
    let mut findings = innkeeper_settings::Findings::default();
    AlerterConfig::read("log", innkeeper_settings::Section::new("alerter.log", table, &mut findings));
    assert!(
        findings.problems[0].to_string().starts_with("f:2: alerter.log.enabled: the log is always there")
    );
}

#[test]
fn a_ca_file_that_holds_the_certificate_of_a_server_is_told_and_stops_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let [ca, server, key, both] = ["ca", "server", "key", "both"].map(|name| directory.path().join(name));
    let authority = Authority::new();
    authority.write_to(&ca);
    authority.write_server(&["localhost"], &server, &key);
    fs::write(&both, [fs::read(&server).unwrap(), fs::read(&ca).unwrap()].concat()).unwrap();
    for table in [
        "kind = 'smtp'\nhost = 'smtp.example.org'\nfrom = 'a@example.org'",
        "kind = 'webhook'\nurl = 'https://example.org'",
    ] {
        for file in [&ca, &both, &server] {
            let table = format!("{table}\nca_file = '{}'", file.display());
            build(&table);
            assert_eq!(config(&table).ca_file(), Some(file));
        }
    }
    let told = useless_certificates(&server).unwrap();
    assert!(told.contains("/server has the certificate of a server"), "{told}");
    assert!(
        told.contains("give the certificate of the authority") && told.contains("remove ca_file"),
        "{told}"
    );
    for good in [&ca, &both, &directory.path().join("none")] {
        assert_eq!(useless_certificates(good), None);
    }
}

fn summaries(alerters: &Alerters) -> Vec<&str> {
    alerters.for_summaries().map(|(name, _)| name.as_str()).collect()
}

fn named(tables: &[(&str, &str)]) -> BTreeMap<AlerterName, AlerterConfig> {
    tables.iter().map(|(name, table)| (AlerterName::parse("alerter", name).unwrap(), config(table))).collect()
}

#[test]
fn alerters_are_known_by_name_and_the_log_is_always_there() {
    let smtp = "kind = 'smtp'\nhost = 'h'\nfrom = 'a@example.org'\nsummary = true";
    let command = "kind = 'command'\ncommand = ['/bin/true']";
    let alerters =
        Alerters::build(&named(&[("relay", smtp), ("mail", smtp), ("ops", command)]), clock()).unwrap();
    let names: Vec<&str> = alerters.names().map(AlerterName::as_str).collect();
    assert_eq!(names, ["log", "mail", "ops", "relay"]);
    assert_eq!(alerters.smtp().unwrap().as_str(), "mail");
    assert_eq!(summaries(&alerters), ["mail", "relay"]);
    assert_eq!(alerters.get("ops").unwrap().kind(), AlerterKind::Command);
    assert_eq!(alerters.get("log").unwrap().kind(), AlerterKind::Log);
    assert!(alerters.get("nobody").is_none());

    let alerters =
        Alerters::build(&named(&[("zz", smtp), ("aa", smtp), ("mail", command)]), clock()).unwrap();
    assert_eq!(alerters.smtp().unwrap().as_str(), "aa", "`mail` is no mail server here");
    assert!(Alerters::build(&BTreeMap::new(), clock()).unwrap().smtp().is_none());
}

#[test]
fn the_name_of_the_log_is_kept_for_it() {
    let error =
        Alerters::build(&named(&[("log", "kind = 'command'\ncommand = ['x']")]), clock()).unwrap_err();
    assert!(error.to_string().starts_with("alerter.log.kind: the name `log` is kept"), "{error}");
    let alerters = Alerters::build(&named(&[("log", "kind = 'log'\nsummary = true")]), clock()).unwrap();
    assert_eq!(alerters.for_summaries().count(), 1);
}

#[test]
fn secrets_come_from_files_without_their_line_end() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("url");
    let sink = innkeeper_testing::http_sink::HttpSink::start();
    fs::write(&file, format!("{}\n", sink.url("/from-file"))).unwrap();
    let headers = directory.path().join("headers");
    fs::write(&headers, "Authorization: Bearer t0k3n\n\nX-Team: ops\n").unwrap();
    let alerter = build(&format!(
        "kind = 'webhook'\nurl_file = '{}'\nheaders_file = '{}'",
        file.display(),
        headers.display()
    ));
    assert_eq!(send_opened(alerter.as_ref()), innkeeper_alerter::Sent::Delivered);
    let request = &sink.requests()[0];
    assert_eq!(request.path, "/from-file");
    assert_eq!(request.header("authorization"), Some("Bearer t0k3n"));
    assert_eq!(request.header("x-team"), Some("ops"));
}
