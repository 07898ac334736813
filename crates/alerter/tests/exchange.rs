//! Requests to other servers of which the whole answer counts.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::time::{Duration, Instant};

use innkeeper_alerter::Exchange;
use innkeeper_testing::certificates::Authority;
use innkeeper_testing::http_sink::{HttpSink, SinkResponse};

fn exchange() -> Exchange {
    Exchange::new(None).unwrap()
}

#[test]
fn the_whole_answer_is_brought_whatever_its_status() {
    let sink = HttpSink::start();
    sink.next(SinkResponse::status(400).header("X-Odd", "a\u{e9}").body("{\"error\":\"x\"}"));
    let headers: [(&str, &[u8]); 2] =
        [("content-type", b"application/x-www-form-urlencoded"), ("authorization", b"Basic abc")];
    let answered = exchange().send("POST", &sink.url("/token?a=b"), &headers, b"code=x").unwrap();
    assert_eq!((answered.status, answered.body.as_slice()), (400, &b"{\"error\":\"x\"}"[..]));
    assert!(answered.headers.iter().any(|(name, value)| name == "x-odd" && value.ends_with("é".as_bytes())));
    let request = &sink.requests()[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/token?a=b"));
    assert_eq!(
        (request.header("authorization"), request.body.as_slice()),
        (Some("Basic abc"), &b"code=x"[..])
    );

    sink.next(SinkResponse::status(302).header("Location", &sink.url("/other")));
    assert_eq!(exchange().send("GET", &sink.url("/"), &[], b"").unwrap().status, 302);
    assert_eq!(sink.requests().len(), 2, "redirects are not followed");
    assert!(sink.requests()[1].body.is_empty());
}

#[test]
fn an_answer_is_small_and_soon_and_whole() {
    let sink = HttpSink::start();
    sink.next(SinkResponse::status(200).body(&"x".repeat(1024 * 1024)));
    assert_eq!(exchange().send("GET", &sink.url("/"), &[], b"").unwrap().body.len(), 1024 * 1024);
    sink.next(SinkResponse::status(200).body(&"x".repeat(1024 * 1024 + 1)));
    let problem = exchange().send("GET", &sink.url("/secret"), &[], b"").unwrap_err();
    assert!(problem.ends_with("answered with more than 1048576 bytes"), "{problem}");
    sink.next(SinkResponse::CutBody(200));
    assert!(exchange().send("GET", &sink.url("/secret"), &[], b"").is_err());
    sink.next(SinkResponse::Hang);
    let begun = Instant::now();
    let problem = exchange().send("GET", &sink.url("/secret"), &[], b"").unwrap_err();
    assert!(problem.ends_with("did not answer within 10 s") && !problem.contains("secret"), "{problem}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn forbidden_addresses_are_not_asked() {
    for address in
        ["http://169.254.169.254/", "https://metadata.google.internal/", "http://[64:ff9b::a9fe:a9fe]/"]
    {
        let problem = exchange().send("GET", address, &[], b"").unwrap_err();
        assert!(problem.contains("metadata address"), "{problem}");
        assert!(Exchange::check(address).is_err());
    }
    for address in ["ftp://127.0.0.1/", "file:///etc/passwd", "127.0.0.1", ""] {
        assert!(exchange().send("GET", address, &[], b"").is_err() && Exchange::check(address).is_err());
    }
    assert!(exchange().send("NO METHOD", "http://127.0.0.1:9/", &[], b"").is_err());
    assert!(exchange().send("GET", "http://127.0.0.1:9/", &[("a b", b"c")], b"").is_err());
    assert!(exchange().send("GET", "http://127.0.0.1:9/", &[("a", b"b\r\nc: d")], b"").is_err());
}

#[test]
fn a_server_shows_a_certificate_of_an_authority_that_is_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    let authority = Authority::new();
    authority.write_to(&file);
    let sink = HttpSink::start_tls(authority.server(&["127.0.0.1"]));
    let problem = exchange().send("GET", &sink.url("/"), &[], b"").unwrap_err();
    assert!(problem.contains("could not be reached") && sink.requests().is_empty(), "{problem}");
    let trusting = Exchange::new(Some(&file)).unwrap();
    assert_eq!(trusting.send("GET", &sink.url("/"), &[], b"").unwrap().status, 200);
    assert!(Exchange::new(Some(&directory.path().join("none.pem"))).is_err());
}
