//! Pings whose body is slow, stops, or is cut off: they count, with the part that arrived.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use common::raw::Raw;
use common::ways::{Ways, latest};
use common::{Inn, Shape, eventually};
use innkeeper_testing::client::Response;
use serde_json::json;

in_both_shapes![
    a_client_that_closes_its_side_half_way_is_answered,
    a_client_that_is_gone_half_way_has_checked_in,
    a_client_that_stands_still_is_answered,
    a_stream_that_breaks_off_is_no_success_however_that_is_said,
    what_is_cut_off_is_refused_as_what_is_whole,
    half_of_a_document_is_none,
];

/// The two ways to send a body, each with its beginning and without its end.
const HALVES: [&str; 2] = [
    "Content-Length: 5000\r\n\r\nrows=17\nhalf a li",
    "Transfer-Encoding: chunked\r\n\r\n8\r\nrows=17\n\r\n9\r\nhalf a li\r\n",
];
const KEPT: &str = "rows=17\nhalf a li\n[... cut off after 17 bytes ...]\n";

fn connect(inn: &Inn) -> TcpStream {
    let stream = TcpStream::connect(inn.ingest).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(40))).expect("a timeout");
    stream
}

fn begin(inn: &Inn, path: &str, more: &str) -> TcpStream {
    let mut stream = connect(inn);
    stream.write_all(format!("POST {path} HTTP/1.1\r\nHost: x\r\n{more}").as_bytes()).expect("it is sent");
    stream
}

/// Everything that is answered until the connection ends.
fn rest(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn is_ok_and_closed(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 ")
        && answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n")
        && answer.ends_with("\r\n\r\nOK")
}

fn is_refused_and_closed(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 400 ")
        && answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n")
        && answer.contains("the body is incomplete")
}

fn a_client_that_closes_its_side_half_way_is_answered(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    for way in ways.all() {
        for (half, end) in HALVES.into_iter().flat_map(|half| ["", "/start", "/fail"].map(|end| (half, end)))
        {
            let stream = begin(&inn, &format!("{way}{end}"), half);
            stream.shutdown(Shutdown::Write).expect("half of it closes");
            let answer = rest(stream);
            // A stream breaks off when its job dies, too.
            let is_broken = end.is_empty() && half == HALVES[1];
            let is_as_it_should = if is_broken { is_refused_and_closed } else { is_ok_and_closed };
            assert!(is_as_it_should(&answer), "{way}{end} {half}: {answer}");
            let kind = match end {
                "" if is_broken => "log",
                "" => "success",
                end => &end[1..],
            };
            assert_eq!(latest(&inn, ways.id), (kind.to_owned(), None, KEPT.to_owned()), "{way}{end} {half}");
        }
    }
    // Nothing of it came, and one chunk is cut in two.
    for (half, kept) in [
        ("Content-Length: 5\r\n\r\n", "[... cut off after 0 bytes ...]\n"),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nab", "ab\n[... cut off after 2 bytes ...]\n"),
    ] {
        let stream = begin(&inn, &format!("{}/7", ways.key), half);
        stream.shutdown(Shutdown::Write).expect("half of it closes");
        assert!(rest(stream).starts_with("HTTP/1.1 200 "), "{half}");
        assert_eq!(latest(&inn, ways.id), ("fail".to_owned(), Some(7), kept.to_owned()), "{half}");
    }
}

fn a_client_that_is_gone_half_way_has_checked_in(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    let mut count = 0;
    for (way, half) in ways.all().into_iter().flat_map(|way| HALVES.map(|half| (way, half))) {
        let (head, body) = half.split_once("\r\n\r\n").expect("a head");
        for resets in [false, true] {
            let path = format!("{way}/fail");
            if resets {
                // What a system has not handed over when its program closes makes it reset the connection.
                let mut stream = begin(&inn, &path, &format!("Expect: 100-continue\r\n{head}\r\n\r\n"));
                assert!(stream.peek(&mut [0; 12]).expect("100 Continue") > 0);
                stream.write_all(body.as_bytes()).expect("it is sent");
            } else {
                drop(begin(&inn, &path, half));
            }
            count += 1;
            eventually("the failure is recorded", || {
                (inn.job("shop", "Nightly Backup")["number_of_checkins"] == count).then_some(())
            });
            let expected = ("fail".to_owned(), None, KEPT.to_owned());
            assert_eq!(latest(&inn, ways.id), expected, "{way} {half} {resets}");
        }
    }
    assert_eq!(inn.send("POST", &ways.key, &[], b"whole").status, 200, "it goes on");
    assert_eq!(latest(&inn, ways.id).2, "whole");
}

fn a_client_that_stands_still_is_answered(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    let begun = Instant::now();
    let waiting = HALVES.map(|half| begin(&inn, &format!("{}/fail", ways.slug), half));
    for stream in waiting {
        let answer = rest(stream);
        assert!(is_ok_and_closed(&answer), "{answer}");
    }
    let lasted = begun.elapsed();
    assert!(lasted > Duration::from_secs(10) && lasted < Duration::from_secs(30), "{lasted:?}");
    let history = inn.database.store().checkins_of(ways.id, 5).expect("the history");
    assert!(history.iter().all(|checkin| checkin.notes == KEPT && checkin.kind.as_str() == "fail"));
    assert_eq!(history.len(), 2);
}

fn a_stream_that_breaks_off_is_no_success_however_that_is_said(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    assert_eq!(inn.send("POST", &ways.key, &[], b"whole").status, 200);
    let succeeded_at = inn.job("shop", "Nightly Backup")["last_checkin"].clone();
    for end in ["", "/0", "?state=complete", "/fail?state=complete"] {
        let stream = begin(&inn, &format!("{}{end}", ways.key), HALVES[1]);
        stream.shutdown(Shutdown::Write).expect("half of it closes");
        let answer = rest(stream);
        assert!(is_refused_and_closed(&answer), "{end}: {answer}");
        assert_eq!(latest(&inn, ways.id), ("log".to_owned(), None, KEPT.to_owned()), "{end}");
    }
    drop(begin(&inn, &ways.key, HALVES[1]));
    eventually("what came of it is recorded", || {
        (inn.job("shop", "Nightly Backup")["number_of_checkins"] == 6).then_some(())
    });
    assert_eq!(inn.job("shop", "Nightly Backup")["last_checkin"], succeeded_at);
    // One that is longer than is read has not broken off.
    let mut stream = begin(&inn, &ways.key, "Transfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"100000\r\n".to_vec(), vec![b'x'; 0x10_0000], b"\r\n".to_vec()].concat();
    for _ in 0..17 {
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    eventually("it is a success", || (latest(&inn, ways.id).0 == "success").then_some(()));
}

fn what_is_cut_off_is_refused_as_what_is_whole(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    let before = inn.everything();
    for (path, status) in [
        (format!("{}/256", ways.key), 400),
        (format!("{}?rid=1", ways.key), 400),
        (format!("/ping/{}", uuid::Uuid::new_v4()), 404),
        (format!("{}x", ways.slug), 404),
    ] {
        let stream = begin(&inn, &path, HALVES[0]);
        stream.shutdown(Shutdown::Write).expect("half of it closes");
        let answer = rest(stream);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
    // Of a head that is not whole nobody knows what it says.
    let stream = begin(&inn, &ways.key, "Content-Length: 5\r\n");
    stream.shutdown(Shutdown::Write).expect("half of it closes");
    rest(stream);
    assert_eq!(inn.everything(), before);
}

fn half_of_a_document_is_none(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    let before = inn.everything();
    let checkin = json!({ "app": "shop", "component": "Nightly Backup" }).to_string();
    let gocron = json!({ "cronname": "a", "account": "b", "email": "log", "frequency": 60 }).to_string();
    for (path, body) in [("/checkin", &checkin), ("/", &gocron)] {
        // A document that is whole, of a body that is not.
        for cut in [body.len(), body.len() - 1, 5] {
            let body = &body[..cut];
            for half in [
                format!("Content-Length: {}\r\n\r\n{body}", cut + 1),
                format!("Transfer-Encoding: chunked\r\n\r\n{cut:x}\r\n{body}\r\n"),
            ] {
                let stream = begin(&inn, path, &half);
                stream.shutdown(Shutdown::Write).expect("half of it closes");
                let answer = rest(stream);
                assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{path} {half}: {answer}");
                drop(begin(&inn, path, &half));
            }
        }
    }
    let answer: Response = inn.call("/healthcheck");
    assert_eq!(answer.status, 200);
    assert_eq!(inn.everything(), before, "{}", ways.id);
    assert_eq!(Raw::connect(inn.ingest).ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").status, 200);
}
