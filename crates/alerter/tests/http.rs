//! What every alerter over HTTP has in common: which answers pass, which do not, and what may have been sent.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::Duration;

use common::*;
use innkeeper_alerter::{Alerter, Sent};
use innkeeper_testing::certificates::{Authority, self_signed};
use innkeeper_testing::http_sink::{HttpSink, SinkResponse};

const PATH: &str = "/services/T0/B0/secret-part";

/// One of each over HTTP, to the same sink.
fn each(sink: &HttpSink) -> Vec<Box<dyn Alerter>> {
    each_within(sink, "10s")
}

fn each_within(sink: &HttpSink, timeout: &str) -> Vec<Box<dyn Alerter>> {
    let common = format!("url = '{}'\ntimeout = '{timeout}'", sink.url(PATH));
    vec![
        build(&format!("kind = 'webhook'\n{common}")),
        build(&format!("kind = 'slack'\n{common}")),
        build(&format!("kind = 'pagerduty'\nrouting_key = 'R0UT1NG'\n{common}")),
    ]
}

#[test]
fn success_is_any_2xx() {
    let sink = HttpSink::start();
    for alerter in each(&sink) {
        for code in [200, 202, 204] {
            sink.next(SinkResponse::status(code));
            assert_eq!(send_opened(alerter.as_ref()), Sent::Delivered, "{} {code}", alerter.kind());
        }
    }
    let requests = sink.requests();
    assert_eq!(requests.len(), 9);
    for request in requests {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", PATH));
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("content-length"), Some(request.body.len().to_string().as_str()));
        assert_eq!(request.header("transfer-encoding"), None);
        assert!(request.header("user-agent").unwrap().starts_with("Innkeeper/"));
    }
    assert_eq!(sink.connections(), 3, "a burst reuses its connection");
}

#[test]
fn refusals_are_permanent() {
    let sink = HttpSink::start();
    for alerter in each(&sink) {
        for code in [400, 401, 403, 404, 410, 413] {
            sink.next(SinkResponse::status(code).body("no_service\r\nand more"));
            let problem = permanent(send_opened(alerter.as_ref()));
            assert!(problem.contains(&format!("answered {code}")), "{problem}");
            assert!(problem.ends_with("no_service  and more"), "one line: {problem}");
        }
    }
}

#[test]
fn troubles_of_the_provider_pass_and_nothing_was_sent() {
    let sink = HttpSink::start();
    for alerter in each(&sink) {
        for code in [408, 425, 429, 500, 503] {
            sink.next(SinkResponse::status(code).body("later"));
            let (after, maybe_sent, problem) = retryable(send_opened(alerter.as_ref()));
            assert_eq!((after, maybe_sent), (None, false), "{problem}");
        }
        // A gateway does not know what became of the request behind it.
        sink.next(SinkResponse::status(504));
        assert!(retryable(send_opened(alerter.as_ref())).1);
    }
}

#[test]
fn retry_after_is_heeded_and_bounded() {
    let sink = HttpSink::start();
    let day = Duration::from_secs(86_400);
    for alerter in each(&sink) {
        for (value, expected) in [
            ("7", Some(Duration::from_secs(7))),
            ("0", Some(Duration::ZERO)),
            ("-5", Some(Duration::ZERO)),
            ("999999999", Some(day)),
            ("9223372036854775807", Some(day)),
            ("Fri, 20 Nov 2026 02:05:30 GMT", Some(Duration::from_secs(30))),
            ("Fri, 20 Nov 2026 01:00:00 GMT", Some(Duration::ZERO)),
            ("Fri, 20 Nov 2099 01:00:00 GMT", Some(day)),
            ("soon", None),
        ] {
            sink.next(SinkResponse::status(429).header("Retry-After", value));
            assert_eq!(retryable(send_opened(alerter.as_ref())).0, expected, "{value}");
        }
    }
}

#[test]
fn cuts_may_have_been_sent() {
    let sink = HttpSink::start();
    for alerter in each(&sink) {
        for answer in [SinkResponse::Close, SinkResponse::CutHead] {
            sink.next(answer.clone());
            let (after, maybe_sent, problem) = retryable(send_opened(alerter.as_ref()));
            assert_eq!((after, maybe_sent), (None, true), "{answer:?}: {problem}");
        }
        sink.next(SinkResponse::CutBody(200));
        assert_eq!(send_opened(alerter.as_ref()), Sent::Delivered, "the status is the answer");
        sink.next(SinkResponse::CutBody(500));
        assert!(!retryable(send_opened(alerter.as_ref())).1);
    }
}

#[test]
fn silence_may_have_been_sent() {
    let sink = HttpSink::start();
    sink.otherwise(SinkResponse::Hang);
    std::thread::scope(|scope| {
        for alerter in each_within(&sink, "1s") {
            scope.spawn(move || {
                let (after, maybe_sent, problem) = retryable(send_opened(alerter.as_ref()));
                assert_eq!((after, maybe_sent), (None, true), "{problem}");
                assert!(problem.ends_with("did not answer within 1s"), "{problem}");
            });
        }
    });
}

#[test]
fn an_idle_connection_that_died_is_no_failure() {
    let sink = HttpSink::start();
    let alerter = each(&sink).remove(0);
    assert_eq!(send_opened(alerter.as_ref()), Sent::Delivered);
    sink.hang_up();
    assert_eq!(send_opened(alerter.as_ref()), Sent::Delivered);
    assert_eq!(sink.connections(), 2);
}

#[test]
fn what_was_never_connected_was_never_sent() {
    let place = nowhere();
    for url in [format!("http://{place}/"), format!("https://{place}/"), "http://nowhere.invalid/".to_owned()]
    {
        let alerter = build(&format!("kind = 'webhook'\nurl = '{url}'\ntimeout = '5s'"));
        let (_, maybe_sent, problem) = retryable(send_opened(alerter.as_ref()));
        assert!(!maybe_sent, "{problem}");
        assert!(problem.contains("could not be reached"), "{problem}");
    }
}

#[test]
fn redirects_are_not_followed() {
    let target = HttpSink::start();
    let sink = HttpSink::start();
    for location in [target.url("/"), "http://169.254.169.254/latest/meta-data".to_owned()] {
        for alerter in each(&sink) {
            sink.next(SinkResponse::status(307).header("Location", &location));
            let problem = permanent(send_opened(alerter.as_ref()));
            assert!(problem.contains("redirects are not followed"), "{problem}");
        }
    }
    assert!(target.requests().is_empty());
}

#[test]
fn link_local_and_metadata_addresses_are_refused() {
    for host in [
        "169.254.169.254",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "0xa9fea9fe",
        "2852039166",
        "169.254.43518",
    ] {
        for table in [
            format!("kind = 'webhook'\nurl = 'http://{host}/x'"),
            format!("kind = 'slack'\nurl = 'http://{host}/x'"),
            format!("kind = 'pagerduty'\nrouting_key = 'x'\nurl = 'http://{host}/x'"),
        ] {
            let error = build_error(&table);
            assert!(
                error.starts_with("alerter.ops.url: is a link-local or cloud metadata address"),
                "{error}"
            );
            assert!(error.contains("allow_link_local"), "{error}");
            assert!(try_build(&format!("{table}\nallow_link_local = true")).is_ok(), "{table}");
        }
    }
}

#[test]
fn certificates_are_checked_against_the_systems_and_the_configured_authorities() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    let authority = Authority::new();
    authority.write_to(&file);
    let sink = HttpSink::start_tls(authority.server(&["127.0.0.1"]));
    let table = format!("kind = 'webhook'\nurl = '{}'", sink.url("/"));

    let (_, maybe_sent, problem) = retryable(send_opened(build(&table).as_ref()));
    assert!(!maybe_sent, "{problem}");
    assert!(sink.requests().is_empty());

    let trusting = build(&format!("{table}\nca_file = '{}'", file.display()));
    assert_eq!(send_opened(trusting.as_ref()), Sent::Delivered);

    Authority::new().write_to(&file);
    let trusting_another = build(&format!("{table}\nca_file = '{}'", file.display()));
    let (_, maybe_sent, problem) = retryable(send_opened(trusting_another.as_ref()));
    assert!(!maybe_sent && problem.contains("could not be reached"), "{problem}");
}

#[test]
fn a_certificate_that_is_refused_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let [own, other] = ["own.pem", "other.pem"].map(|name| directory.path().join(name));
    Authority::new().write_to(&other);
    let posted = |sink: &HttpSink, ca_file: &std::path::Path| {
        let url = format!("https://localhost:{}/", sink.port());
        let alerter = build(&format!("kind = 'webhook'\nurl = '{url}'\nca_file = '{}'", ca_file.display()));
        send_opened(alerter.as_ref())
    };
    let as_authority = HttpSink::start_tls(self_signed(&["localhost"], true, &own));
    let (_, maybe_sent, problem) = retryable(posted(&as_authority, &own));
    assert!(!maybe_sent && problem.contains("CA:FALSE"), "{problem}");
    let by_itself = HttpSink::start_tls(self_signed(&["localhost"], false, &own));
    assert_eq!(posted(&by_itself, &own), Sent::Delivered);
    let (_, maybe_sent, problem) = retryable(posted(&by_itself, &other));
    assert!(!maybe_sent && problem.contains("no authority"), "{problem}");
}
