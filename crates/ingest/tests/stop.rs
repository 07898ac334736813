//! At a stop every accepted check-in is answered, and a full queue refuses check-ins rather than losing them.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::*;
use innkeeper_store::DatabaseKind;
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::PATIENCE;

/// How long a stop may take when nothing is in its way.
const PROMPT: Duration = Duration::from_secs(5);

#[test]
fn a_stop_under_load_loses_nothing() {
    for database in TestDatabase::both() {
        let mut server = ingest(database.url(), "");
        reserve(&server);
        let load = Load::start(&server, "load", 16, PATIENCE);
        load.wait_for(200);
        let asked = Instant::now();
        assert!(server.terminate(PROMPT).success(), "{}", server.log());
        println!("{:?}: it stopped within {:?}", database.kind(), asked.elapsed());
        let sent = load.finish();
        // A client whose connection was closed between two requests knows that it was not heard.
        assert!(sent.iter().all(|sent| sent.acknowledged() || sent.answer.is_err()), "{sent:?}");
        assert_kept(&database, &sent);
        assert_once(&database);
    }
}

#[test]
fn what_waits_to_be_written_is_answered_before_the_stop() {
    for database in TestDatabase::both() {
        let mut server = ingest(database.url(), "");
        reserve(&server);
        let held = database.hold("states");
        let mut waiting: Vec<TcpStream> = (0..20).map(|n| say_check_in(&server, n)).collect();
        // It is there when a request that came later has been read to its end, too.
        wait_until_read(&server, &waiting);
        server.signal("TERM");
        server.wait_for_log("SIGTERM: stopping");
        if let DatabaseKind::Postgres = database.kind() {
            // Until they are written it lives for the others, who would judge these jobs' silence otherwise.
            let beat_at = || database.number("SELECT beat_at FROM nodes").unwrap();
            let (stopping, end) = (beat_at(), Instant::now() + PATIENCE);
            while beat_at() < stopping + 1500 {
                assert!(Instant::now() < end, "it beats no more");
                std::thread::sleep(Duration::from_millis(50));
            }
            assert_eq!(database.count("nodes WHERE goodbye_at IS NOT NULL"), 0, "not yet");
        }
        drop(held);
        for stream in &mut waiting {
            let answer = answer(stream);
            assert!(answer.starts_with("HTTP/1.1 200"), "{:?}: {answer}", database.kind());
        }
        assert!(server.wait_for_end(PROMPT).success());
        assert_eq!(database.count("checkins"), 20, "{:?}", database.kind());
        assert_eq!(database.count("nodes WHERE goodbye_at IS NOT NULL"), 1, "{:?}", database.kind());
    }
}

#[test]
fn a_full_queue_refuses_and_loses_nothing() {
    for database in TestDatabase::both() {
        let mut server = ingest(database.url(), "queue = 1\nbatch = 1\ncommit_timeout = \"400ms\"");
        reserve(&server);
        let held = database.hold("states");
        let load = Load::start(&server, "full", 8, PATIENCE);
        load.wait_for(16);
        drop(held);
        let client = Client::default();
        let end = Instant::now() + PATIENCE;
        while check_in(&client, &server.url(""), 0, "after").unwrap().status != 200 {
            assert!(Instant::now() < end, "it does not recover");
        }
        load.wait_for(50);
        let sent = load.finish();
        let refused: Vec<&Sent> = sent.iter().filter(|sent| !sent.acknowledged()).collect();
        assert!(refused.len() >= 16, "{:?}", refused.len());
        for sent in refused {
            let answer = sent.answer.as_ref().unwrap();
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(answer.header("retry-after").is_some());
            assert!(sent.took < PROMPT, "{sent:?}");
        }
        assert!(server.terminate(PROMPT).success());
        assert_kept(&database, &sent);
        assert_once(&database);
    }
}
