//! No secret of any integration turns up where people read: not in `Debug`, not in a problem, not in an error of the
//! configuration, not in a log line of any level, whatever goes wrong and whatever the other side repeats.
//!
//! Alone in its file: a process has one logger.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::*;
use innkeeper_alerter::Sent;
use innkeeper_core::notice::EventKind;
use innkeeper_core::ways::AlerterKind;
use innkeeper_testing::certificates::Authority;
use innkeeper_testing::http_sink::{HttpSink, SinkResponse};
use innkeeper_testing::smtp_sink::{Reply, SmtpSink, Step};
use log::{LevelFilter, Log, Metadata, Record};

/// Every secret, plain.
const SECRETS: [&str; 7] = [
    "path-Zq81kfwo",
    "query-Hw72jsla",
    "userinfo-Pm55xcvb",
    "signing-Ty60qwer",
    "bearer-Lk39mnbv",
    "routing-Jd14asdf",
    "password-Gv27poiu",
];

struct Lines(Mutex<Vec<String>>);

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if !innkeeper_alerter::tells_secrets(record.metadata()) {
            self.0.lock().unwrap().push(format!("{} {}", record.target(), record.args()));
        }
    }

    fn flush(&self) {}
}

static LINES: Lines = Lines(Mutex::new(Vec::new()));

/// What the other side could repeat of what an alerter of this kind sends or is given.
fn echo(kind: AlerterKind) -> String {
    let words: Vec<String> = match kind {
        AlerterKind::Slack => Vec::new(),
        AlerterKind::PagerDuty => vec!["routing-Jd14asdf".to_owned()],
        AlerterKind::Webhook => vec![
            "signing-Ty60qwer".to_owned(),
            "Bearer bearer-Lk39mnbv".to_owned(),
            "bearer-Lk39mnbv".to_owned(),
            STANDARD.encode("bearer-Lk39mnbv"),
        ],
        _ => vec![
            "password-Gv27poiu".to_owned(),
            STANDARD.encode("password-Gv27poiu"),
            STANDARD.encode("\0user\0password-Gv27poiu"),
        ],
    };
    let address = "/services/path-Zq81kfwo?token=query-Hw72jsla";
    let encoded = STANDARD.encode("user:userinfo-Pm55xcvb");
    let http = format!("path-Zq81kfwo query-Hw72jsla userinfo-Pm55xcvb {encoded} {address}");
    if kind.is_mail() { words.join(" ") } else { format!("{http} {}", words.join(" ")) }
}

fn assert_clean(what: &str, text: &str) {
    let sent = ["user:userinfo-Pm55xcvb", "\0user\0password-Gv27poiu"].map(|pair| STANDARD.encode(pair));
    let encoded = SECRETS.map(|secret| STANDARD.encode(secret));
    for secret in SECRETS.iter().copied().chain(sent.iter().chain(&encoded).map(String::as_str)) {
        assert!(!text.contains(secret.trim_end_matches('=')), "{what} shows {secret}: {text}");
    }
}

fn problem(sent: Sent) -> String {
    match sent {
        Sent::Delivered => panic!("this should have failed"),
        Sent::Retryable { problem, .. } | Sent::Permanent { problem, .. } => problem,
    }
}

/// The tables of all HTTP integrations to `place` (scheme, host and port).
fn over_http(place: &str) -> [String; 3] {
    let (scheme, host) = place.split_once("://").unwrap();
    let url = format!("{scheme}://user:userinfo-Pm55xcvb@{host}/services/path-Zq81kfwo?token=query-Hw72jsla");
    let common = format!("url = '{url}'\ntimeout = '300ms'");
    [
        format!("kind = 'slack'\n{common}"),
        format!("kind = 'pagerduty'\n{common}\nrouting_key = 'routing-Jd14asdf'"),
        format!(
            "kind = 'webhook'\n{common}\nsecret = 'signing-Ty60qwer'\nheaders = {{ Authorization = 'Bearer bearer-Lk39mnbv' }}"
        ),
    ]
}

fn smtp(port: u16, ca_file: &str) -> String {
    format!(
        "kind = 'smtp'\nhost = 'localhost'\nport = {port}\nfrom = 'a@example.org'\nusername = 'user'\n\
         password = 'password-Gv27poiu'\ntimeout = '300ms'\nca_file = '{ca_file}'"
    )
}

#[test]
fn no_secret_is_shown_by_any_integration_in_any_failure() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let mut problems = Vec::new();

    let sink = HttpSink::start();
    let tls = HttpSink::start_tls(Authority::new().server(&["127.0.0.1"]));
    for table in over_http(sink.url("").trim_end_matches('/')) {
        assert_clean("Debug", &format!("{:?}", config(&table)));
        let alerter = build(&table);
        let echo = echo(alerter.kind());
        let repeats = |code| SinkResponse::status(code).header("Location", &echo).body(&echo);
        for answer in [
            repeats(302),
            repeats(400),
            repeats(404),
            repeats(429),
            repeats(500),
            SinkResponse::Hang,
            SinkResponse::Close,
            SinkResponse::CutHead,
            SinkResponse::CutBody(500),
        ] {
            sink.next(answer);
            problems.push(problem(send_opened(alerter.as_ref())));
        }
        sink.next(repeats(200));
        send_opened(alerter.as_ref());
    }
    let unreachable = format!("http://{}", nowhere());
    for place in [unreachable.as_str(), "http://nowhere.invalid", tls.url("").trim_end_matches('/')] {
        for table in over_http(place) {
            problems.push(problem(send_opened(build(&table).as_ref())));
        }
    }
    assert!(
        sink.requests().iter().all(|request| request.header("authorization").is_some()),
        "what is hidden here was sent there"
    );

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    let authority = Authority::new();
    authority.write_to(&file);
    let ca_file = file.display().to_string();
    let starttls =
        || SmtpSink::starttls(authority.server(&["localhost"])).with_login("user", "password-Gv27poiu");
    for (step, reply) in [
        (Step::Connect, Reply::Say(format!("554 {}", echo(AlerterKind::Smtp)))),
        (Step::Login, Reply::Say(format!("535 {}", echo(AlerterKind::Smtp)))),
        (Step::Login, Reply::Hang),
        (Step::Login, Reply::Cut),
        (Step::Recipient, Reply::Say(format!("550 {}", echo(AlerterKind::Smtp)))),
        (Step::End, Reply::Say(format!("451 {}", echo(AlerterKind::Smtp)))),
        (Step::End, Reply::Hang),
    ] {
        let sink = starttls();
        let table = smtp(sink.port(), &ca_file);
        assert_clean("Debug", &format!("{:?}", config(&table)));
        sink.next(step, reply);
        let notices = [notice(EventKind::Opened, "backup")];
        problems.push(problem(mail_to(build(&table).as_ref(), "ops@example.com", &notices, "k")));
    }

    assert_eq!(problems.len(), 3 * 9 + 3 * 3 + 7);
    for problem in &problems {
        assert_clean("a problem", problem);
        assert!(problem.chars().count() <= 700 && !problem.contains('\n'), "{problem}");
    }
    let lines = LINES.0.lock().unwrap();
    assert!(!lines.is_empty(), "the log was listened to");
    for line in lines.iter() {
        assert_clean("a log line", line);
    }
}

#[test]
fn no_error_of_the_configuration_shows_a_secret() {
    for table in [
        "kind = 'webhook'\nurl = 'https://u:userinfo-Pm55xcvb@169.254.1.1/path-Zq81kfwo?query-Hw72jsla'",
        "kind = 'webhook'\nurl = 'nonsense://u:userinfo-Pm55xcvb@h/path-Zq81kfwo?query-Hw72jsla'",
        "kind = 'webhook'\nurl = 'https://h h/path-Zq81kfwo'",
        "kind = 'slack'\nurl = 'path-Zq81kfwo'",
        "kind = 'webhook'\nurl = 'https://h/'\nheaders = { Authorization = \"Bearer bearer-Lk39mnbv\\n\" }",
        "kind = 'webhook'\nurl = 'https://h/'\nsecret = 'signing-Ty60qwer'\nsecret_file = '/x'",
        "kind = 'smtp'\nhost = 'h'\nfrom = 'a@example.org'\npassword = 'password-Gv27poiu'",
        "kind = 'pagerduty'\nrouting_key = 'routing-Jd14asdf'\nurl = 'x'",
    ] {
        assert_clean("an error", &build_error(table));
    }
    for table in [
        "kind = 'webhook'\nurl = 'https://h/'\nscret = 'signing-Ty60qwer'",
        "kind = 'webhook'\nurl = ['path-Zq81kfwo']",
        "kind = 'webhook'\nurl = 'https://h/'\nheaders = 'bearer-Lk39mnbv'",
        "kind = 'webhook'\nurl = 'https://h/'\nheaders = ['bearer-Lk39mnbv']",
        "kind = 'pagerduty'\nrouting_key = { x = 'routing-Jd14asdf' }",
    ] {
        assert_clean("an error", &read_error(table));
    }
    for value in ["27182818", "-27182818", "271.82818"] {
        let error = read_error(&format!("kind = 'pagerduty'\nrouting_key = {value}"));
        assert!(!error.contains("2718") && !error.contains("271.8"), "{error}");
    }
}
