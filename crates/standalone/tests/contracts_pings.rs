//! Details of Healthchecks' pings: bodies of any length, words of other programs, unusual addresses, and browsers.

mod common;

use common::raw::{Raw, request};
use common::ways::{Ways, latest, said};
use common::{Inn, Shape};
use serde_json::json;
use uuid::Uuid;

in_both_shapes![
    bodies_are_kept,
    a_body_that_is_not_text_is_no_error,
    of_a_long_body_both_ends_are_kept,
    a_log_without_end_counts_and_ends_its_connection,
    what_the_query_says_wins_over_the_path,
    what_systemd_says_of_a_failed_unit_is_a_failure,
    a_log_may_be_put,
    a_slash_at_the_end_is_none,
    slashes_in_a_row_are_one,
    browsers_may_ask_before_they_ping,
];

fn bodies_are_kept(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    for body in
        ["", "one line", "two\nlines\r\n\tand a tab", "<script>alert(1)</script>", "Grüße 🐙 \u{202e}"]
    {
        assert_eq!(said(&inn.send("POST", &ways.slug, &[], body.as_bytes())), (200, "OK"));
        assert_eq!(latest(&inn, ways.id).2, body);
    }
    // A form and a file are bodies too.
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(said(&inn.send("POST", &ways.key, &form, b"a=b&c=d")), (200, "OK"));
    assert_eq!(latest(&inn, ways.id).2, "a=b&c=d");
}

fn a_body_that_is_not_text_is_no_error(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    for (body, kept) in [
        (&b"gzip \x1f\x8b\x08"[..], "gzip \u{1f}\u{fffd}\u{8}"),
        (b"\xff\xfe", "\u{fffd}\u{fffd}"),
        (b"a\0b", "a\u{fffd}b"),
        (b"caf\xe9", "caf\u{fffd}"),
    ] {
        assert_eq!(said(&inn.send("POST", &ways.key, &[], body)), (200, "OK"), "{body:?}");
        assert_eq!(latest(&inn, ways.id).2, kept);
    }
}

fn of_a_long_body_both_ends_are_kept(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    for length in [9_999, 10_000] {
        let body = "x".repeat(length);
        assert_eq!(said(&inn.send("POST", &ways.key, &[], body.as_bytes())), (200, "OK"), "{length}");
        assert_eq!(latest(&inn, ways.id).2, body);
    }
    for length in [10_001, 65_537, 2_000_000] {
        let body = format!("begun\n{}\nTraceback: é 🐙", "x".repeat(length));
        assert_eq!(said(&inn.send("POST", &format!("{}/1", ways.slug), &[], body.as_bytes())), (200, "OK"));
        let kept = latest(&inn, ways.id).2;
        assert!(kept.starts_with("begun\nxxx") && kept.ends_with("x\nTraceback: é 🐙"), "{kept}");
        assert!((9_900..=10_000).contains(&kept.len()), "{}", kept.len());
        let left_out = body.len() - (kept.len() - kept.matches("\n[... ").count() * mark(&kept).len());
        assert_eq!(mark(&kept), format!("\n[... {left_out} bytes left out ...]\n"));
        assert_eq!(kept.find("\n[... "), Some(3000));
    }
    // No character is cut in two.
    for first in ["", "x", "xx", "xxx"] {
        let body = format!("{first}{}", "🐙".repeat(5000));
        assert_eq!(inn.send("POST", &ways.key, &[], body.as_bytes()).status, 200);
        assert!(!latest(&inn, ways.id).2.contains('\u{fffd}'));
    }
}

/// The mark between the two ends.
fn mark(kept: &str) -> &str {
    let from = kept.find("\n[... ").expect("a mark");
    let to = kept.find(" bytes left out ...]\n").expect("its end") + " bytes left out ...]\n".len();
    &kept[from..to]
}

fn a_log_without_end_counts_and_ends_its_connection(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    let announced = format!(
        "POST {}/fail HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nfirst words ",
        ways.key
    );
    let mut endless = announced.into_bytes();
    endless.resize(17 << 20, b'x');
    let answer = Raw::connect(inn.ingest).ask(&endless);
    assert_eq!((answer.status, answer.body.as_str()), (200, "OK"));
    assert!(answer.head.to_ascii_lowercase().contains("\r\nconnection: close"), "{}", answer.head);
    let (kind, _, notes) = latest(&inn, ways.id);
    assert!(kind == "fail" && notes.starts_with("first words x") && notes.len() <= 10_000, "{notes}");
    // JSON has a bound.
    let long =
        json!({ "app": "shop", "component": "Nightly Backup", "notes": "x".repeat(65_536) }).to_string();
    assert_eq!(inn.send("POST", "/checkin", &[], long.as_bytes()).status, 413);
    assert_eq!(inn.job("shop", "Nightly Backup")["number_of_checkins"], 1, "that of the log");
}

fn what_the_query_says_wins_over_the_path(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    for way in ways.all() {
        for (end, kind, exit_code) in [
            ("?state=fail", "fail", None),
            ("?state=run", "start", None),
            ("?state=complete&msg=done", "success", None),
            ("?state=ok", "success", None),
            ("?state=FAIL", "fail", None),
            ("?state=7", "fail", Some(7)),
            ("?state=", "success", None),
            ("/start?state=fail", "fail", None),
            ("/fail?state=ok", "success", None),
            ("/fail?state=", "fail", None),
        ] {
            let answer = inn.call(&format!("{way}{end}"));
            assert_eq!(said(&answer), (200, "OK"), "{way}{end}");
            assert_eq!(latest(&inn, ways.id), (kind.to_owned(), exit_code, String::new()), "{way}{end}");
        }
        // A word that says nothing is one too many.
        for state in ["done", "done%00", "%ff", "256"] {
            for (word, kind) in [("", "success"), ("/fail", "fail")] {
                let answer = inn.call(&format!("{way}{word}?state={state}"));
                assert_eq!(said(&answer), (200, "OK"), "{way}{word} {state}");
                assert_eq!(latest(&inn, ways.id).0, kind, "{way}{word} {state}");
                let warning = answer.header("warning").unwrap_or_default();
                assert!(
                    warning.contains("state: ") && warning.contains("what the path says counts"),
                    "{warning}"
                );
            }
        }
        assert_eq!(said(&inn.call(&format!("{way}/done?state=done"))), (400, "invalid url format"), "{way}");
    }
}

fn what_systemd_says_of_a_failed_unit_is_a_failure(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    for way in ways.all() {
        for (word, exit_code) in [
            ("TERM", Some(143)),
            ("KILL", Some(137)),
            ("SIGSEGV", Some(139)),
            ("RTMIN+1", Some(163)),
            ("EXEC", Some(203)),
            ("timeout", None),
            ("oom-kill", None),
        ] {
            assert_eq!(said(&inn.call(&format!("{way}/{word}"))), (200, "OK"), "{way}/{word}");
            assert_eq!(latest(&inn, ways.id), ("fail".to_owned(), exit_code, String::new()), "{way}/{word}");
        }
        assert_eq!(said(&inn.call(&format!("{way}/success"))), (200, "OK"));
        assert_eq!(latest(&inn, ways.id).0, "success");
    }
}

/// As `curl -T -` does.
fn a_log_may_be_put(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    for way in ways.all() {
        for (end, kind, exit_code) in
            [("", "success", None), ("/fail", "fail", None), ("/3?rid=", "", None), ("/3", "fail", Some(3))]
        {
            let path = format!("{way}{end}");
            let chunked = format!(
                "PUT {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
            );
            let mut connection = Raw::connect(inn.ingest);
            assert_eq!(connection.ask(chunked.as_bytes()).status, 100, "{path}");
            let answer = connection.ask(b"4\r\ndone\r\n0\r\n\r\n");
            if kind.is_empty() {
                assert_eq!((answer.status, answer.body.as_str()), (400, "invalid uuid format"), "{path}");
                continue;
            }
            assert_eq!((answer.status, answer.body.as_str()), (200, "OK"), "{path}");
            assert_eq!(latest(&inn, ways.id), (kind.to_owned(), exit_code, "done".to_owned()), "{path}");
        }
    }
}

fn a_slash_at_the_end_is_none(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    for way in ways.all() {
        for (end, kind) in
            [("/", "success"), ("/start/", "start"), ("/fail/", "fail"), ("/0/?state=", "success")]
        {
            for method in ["GET", "POST"] {
                assert_eq!(
                    said(&inn.send(method, &format!("{way}{end}"), &[], b"")),
                    (200, "OK"),
                    "{way}{end}"
                );
                assert_eq!(latest(&inn, ways.id).0, kind, "{method} {way}{end}");
            }
        }
    }
}

fn slashes_in_a_row_are_one(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    for way in ways.all() {
        for path in [
            format!("/{way}"),
            format!("{way}//start"),
            format!("//{}", way.replacen('/', "//", 3)),
            format!("{way}///?rid={}", Uuid::new_v4()),
        ] {
            let answer = Raw::connect(inn.ingest).ask(&request(&format!("GET {path}"), "", b""));
            assert_eq!((answer.status, answer.body.as_str()), (200, "OK"), "{path}");
        }
    }
    assert_eq!(Raw::connect(inn.ingest).ask(&request("GET //healthz", "", b"")).status, 200);
    assert_eq!(Raw::connect(inn.ingest).ask(&request("GET //example.org//", "", b"")).status, 404);
}

fn browsers_may_ask_before_they_ping(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    for way in ways.all() {
        for end in ["", "/", "/start", "/7?rid=x"] {
            let asks = [
                ("origin", "https://app.example.org"),
                ("access-control-request-method", "POST"),
                ("access-control-request-headers", "content-type,x-trace"),
                ("sec-fetch-site", "cross-site"),
            ];
            let answer = inn.send("OPTIONS", &format!("{way}{end}"), &asks, b"");
            assert_eq!(said(&answer), (204, ""), "{way}{end}");
            for (name, value) in [
                ("access-control-allow-origin", "*"),
                ("access-control-allow-methods", "GET, HEAD, OPTIONS, POST, PUT"),
                ("access-control-allow-headers", "content-type,x-trace"),
                ("access-control-max-age", "86400"),
                ("allow", "GET, HEAD, OPTIONS, POST, PUT"),
            ] {
                assert_eq!(answer.header(name), Some(value), "{way}{end} {name}");
            }
        }
        let from_there = [("origin", "https://app.example.org"), ("sec-fetch-site", "cross-site")];
        let answer = inn.send("POST", way, &from_there, b"from a page");
        assert_eq!(said(&answer), (200, "OK"), "{way}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    assert_eq!(inn.job("shop", "Nightly Backup")["number_of_checkins"], 4, "a question is no ping");
    // Elsewhere nothing is let through.
    let answer = inn.send("OPTIONS", "/checkin", &[("origin", "https://app.example.org")], b"");
    assert_eq!(answer.header("access-control-allow-origin"), None);
}
