//! Unusual and invalid HTTP: limits, pipelining, chunks, and old clients.

mod common;

use common::raw::{Raw, request};
use common::refusal::inn;
use common::{Inn, Shape};
use serde_json::json;

in_both_shapes![
    a_body_is_bounded,
    a_head_is_bounded,
    a_hundred_checkins_on_one_connection,
    expect_100_continue_is_answered,
    a_body_may_come_in_chunks,
    http_1_0_is_spoken,
    bytes_that_are_no_http_get_no_further,
    a_query_may_be_written_raw,
    what_is_cut_off_is_not_recorded,
    a_path_that_is_not_there,
];

const CHECKIN: &[u8] = br#"{"app": "shop", "component": "backup"}"#;
const LARGEST: usize = 64 * 1024;

fn checkins(inn: &Inn) -> i64 {
    inn.job("shop", "backup")["number_of_checkins"].as_i64().expect("a number")
}

/// A check-in whose body has just this length.
fn body_of(length: usize) -> Vec<u8> {
    let bare = json!({ "app": "shop", "component": "backup", "notes": "" }).to_string();
    json!({ "app": "shop", "component": "backup", "notes": "x".repeat(length - bare.len()) })
        .to_string()
        .into_bytes()
}

fn a_body_is_bounded(shape: Shape) {
    let inn = inn(shape);
    let largest = body_of(LARGEST);
    assert_eq!(largest.len(), LARGEST);
    assert_eq!(inn.send("POST", "/checkin", &[], &largest).status, 200);
    let id = inn.job("shop", "backup")["job_id"].as_i64().expect("an id");
    assert_eq!(inn.database.store().checkins_of(id, 1).expect("the history")[0].notes.len(), 10_000);

    let before = inn.everything();
    for path in ["/checkin", "/reservation", "/snooze", "/pause", "/checkout", "/"] {
        for length in [LARGEST + 1, 10 * LARGEST] {
            let answer =
                Raw::connect(inn.ingest).ask(&request(&format!("POST {path}"), "", &body_of(length)));
            assert_eq!(answer.status, 413, "{path} {length}: {answer:?}");
            assert!(answer.body.contains("65536"), "{answer:?}");
        }
        // What is only announced is refused without being sent.
        let announced = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n");
        assert_eq!(Raw::connect(inn.ingest).ask(announced.as_bytes()).status, 413, "{path}");
    }
    // Chunks announce nothing, and are counted.
    let mut chunked = b"POST /checkin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..20 {
        chunked.extend_from_slice(b"1000\r\n");
        chunked.extend_from_slice(&[b' '; 0x1000]);
        chunked.extend_from_slice(b"\r\n");
    }
    assert_eq!(Raw::connect(inn.ingest).ask(&chunked).status, 413);
    assert_eq!(inn.everything(), before);
}

fn a_head_is_bounded(shape: Shape) {
    let inn = inn(shape);
    let before = inn.everything();
    for head in [
        format!("X-Long: {}\r\n", "x".repeat(200_000)),
        format!("X-Many: {}\r\n", "y".repeat(900)).repeat(200),
        "a: b\r\n".repeat(1000),
    ] {
        let answer = Raw::connect(inn.ingest).send(&request("POST /checkin", &head, CHECKIN)).answer();
        assert!(answer.is_none_or(|answer| (400..500).contains(&answer.status)), "{}", head.len());
    }
    let long = format!("GET /?cronname={}", "x".repeat(300_000));
    let answer = Raw::connect(inn.ingest).send(&request(&long, "", b"")).answer();
    assert!(answer.is_none_or(|answer| (400..500).contains(&answer.status)));
    assert_eq!(inn.everything(), before);
    // A cookie or a token of some kilobytes is nothing unusual.
    let usual = format!("Cookie: {}\r\n", "x".repeat(8000));
    assert_eq!(Raw::connect(inn.ingest).ask(&request("POST /checkin", &usual, CHECKIN)).status, 200);
}

fn a_hundred_checkins_on_one_connection(shape: Shape) {
    let inn = inn(shape);
    let all: Vec<u8> = (0..100)
        .flat_map(|n| match n % 4 {
            3 => request("POST /checkin", "", b"{\"app\": \"shop\", \"component\": \"nobody\"}"),
            _ => request("POST /checkin", "", CHECKIN),
        })
        .collect();
    let mut connection = Raw::connect(inn.ingest);
    connection.send(&all);
    for n in 0..100 {
        let answer = connection.answer().expect("an answer to each");
        assert_eq!(answer.status, if n % 4 == 3 { 404 } else { 200 }, "the {n}th, in their order");
    }
    assert_eq!(checkins(&inn), 75);
}

fn expect_100_continue_is_answered(shape: Shape) {
    let inn = inn(shape);
    let head = format!(
        "POST /checkin HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        CHECKIN.len()
    );
    let mut connection = Raw::connect(inn.ingest);
    let first = connection.ask(head.as_bytes());
    assert_eq!(first.status, 100, "{first:?}");
    assert_eq!(connection.ask(CHECKIN).status, 200);
    assert_eq!(checkins(&inn), 1);
}

fn a_body_may_come_in_chunks(shape: Shape) {
    let inn = inn(shape);
    let mut connection = Raw::connect(inn.ingest);
    connection.send(b"POST /checkin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in CHECKIN.chunks(7) {
        connection.send(format!("{:x};ext=1\r\n", chunk.len()).as_bytes()).send(chunk).send(b"\r\n");
    }
    assert_eq!(connection.ask(b"0\r\n\r\n").status, 200);
    assert_eq!(checkins(&inn), 1);
    // Two lengths for one body are how requests are smuggled.
    let both = [
        format!(
            "POST /checkin HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
            CHECKIN.len()
        )
        .as_bytes(),
        b"0\r\n\r\n",
        &request("POST /checkin", "", CHECKIN),
    ]
    .concat();
    let answer = Raw::connect(inn.ingest).ask(&both);
    assert_eq!(answer.status, 400, "{answer:?}");
    let twice = format!("Content-Length: {}\r\n", CHECKIN.len() + 1);
    assert_eq!(Raw::connect(inn.ingest).ask(&request("POST /checkin", &twice, CHECKIN)).status, 400);
    for bad in ["zz\r\n", "-1\r\n", "ffffffffffffffffff\r\n"] {
        let head = "POST /checkin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = Raw::connect(inn.ingest).send(format!("{head}{bad}").as_bytes()).answer();
        assert!(answer.is_none_or(|answer| answer.status == 400), "{bad}");
    }
    assert_eq!(checkins(&inn), 1);
}

fn http_1_0_is_spoken(shape: Shape) {
    let inn = inn(shape);
    let request = format!("POST /checkin HTTP/1.0\r\nContent-Length: {}\r\n\r\n", CHECKIN.len());
    let mut connection = Raw::connect(inn.ingest);
    let answer = connection.ask(&[request.as_bytes(), CHECKIN].concat());
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(connection.answer(), None, "it closes");
    let ping = inn.ping_path("shop", "backup");
    assert_eq!(Raw::connect(inn.ingest).ask(format!("GET {ping} HTTP/1.0\r\n\r\n").as_bytes()).body, "OK");
    assert_eq!(checkins(&inn), 2);
}

fn bytes_that_are_no_http_get_no_further(shape: Shape) {
    let inn = inn(shape);
    let before = inn.everything();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS to a plain port\r\n\r\n"[..],
        b"EHLO example.org\r\nMAIL FROM:<x>\r\n\r\n",
        b"POST /checkin HTTP/9.9\r\n\r\n",
        b"POST  /checkin  HTTP/1.1\r\n\r\n",
        b"POST /checkin HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /checkin HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n",
        b"POST /checkin HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
        b"POST /checkin HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / cron HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let answer = Raw::connect(inn.ingest).send(bytes).answer();
        let shown = String::from_utf8_lossy(bytes);
        assert!(answer.as_ref().is_none_or(|a| (400..600).contains(&a.status)), "{shown}: {answer:?}");
    }
    assert_eq!(inn.everything(), before);
    assert_eq!(
        Raw::connect(inn.ingest).ask(&request("POST /checkin", "", CHECKIN)).status,
        200,
        "it is alive"
    );
}

fn a_query_may_be_written_raw(shape: Shape) {
    let inn = inn(shape);
    // curl and shells send what stands there.
    let name = "a{b}|c^d`'";
    let line = format!("GET /?cronname={name}&account=raw&email=a@example.org&frequency=60");
    assert_eq!(Raw::connect(inn.ingest).ask(&request(&line, "", b"")).status, 201);
    assert_eq!(inn.job("raw", name)["number_of_checkins"], 1);
    // What is not ASCII has to be encoded, whatever it is.
    let before = inn.everything();
    for name in [&b"caf\xc3\xa9"[..], b"caf\xe9"] {
        let line =
            [b"GET /?cronname=", name, b"&account=raw&email=a@example.org&frequency=60 HTTP/1.1\r\n\r\n"];
        assert_eq!(Raw::connect(inn.ingest).ask(&line.concat()).status, 400);
    }
    assert_eq!(inn.everything(), before);
}

fn what_is_cut_off_is_not_recorded(shape: Shape) {
    let inn = inn(shape);
    let before = inn.everything();
    let whole = request("POST /checkin", "", CHECKIN);
    for length in [10, 40, whole.len() - 20, whole.len() - 1] {
        Raw::connect(inn.ingest).send(&whole[..length]);
    }
    // Another connection's request, after them.
    assert_eq!(Raw::connect(inn.ingest).ask(&request("GET /healthcheck", "", b"")).status, 200);
    assert_eq!(inn.everything(), before);
}

fn a_path_that_is_not_there(shape: Shape) {
    let inn = inn(shape);
    let before = inn.everything();
    for path in [
        "/nope",
        "/checkin/",
        "/CHECKIN",
        "//check//in",
        "/./checkin",
        "/reservation/1",
        "/ping",
        "/ping/",
        "/a/b/c/d",
    ] {
        let answer = Raw::connect(inn.ingest).ask(&request(&format!("POST {path}"), "", CHECKIN));
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
    assert_eq!(inn.everything(), before);
}
