//! How little an instance over SQLite writes while nothing happens, and that its infrequent heartbeats are still
//! found.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::*;
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::Server;
use serde_json::json;

/// How long it is measured: three heartbeats that are stored.
const MEASURED: Duration = Duration::from_secs(40);
/// What may be written in that time: of the log two pages of the file system for each of them, and now and then two of its index.
const MOST: u64 = 48_000;
/// Pages of the database that may be written to the log: one for each.
const MOST_PAGES: usize = 3;

fn written(server: &Server) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{}/io", server.pid())).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    line.parse().unwrap()
}

/// By what the log (`-wal`) of now is known, which begins anew after a checkpoint, and how many pages it has.
fn log_of(database: &Path) -> (Vec<u8>, usize) {
    let log = std::fs::read(format!("{}-wal", database.display())).unwrap();
    let salt = log[16..24].to_vec();
    let pages = log[32..].chunks_exact(24 + 4096).take_while(|page| page[8..16] == salt).count();
    (salt, pages)
}

#[test]
fn an_idle_installation_writes_little_and_restarts_from_its_last_heartbeat_or_check_in() {
    let database = TestDatabase::sqlite();
    // In the build's directory: what a memory file system is given counts as nothing.
    let directory = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let place = directory.path().join("innkeeper.db");
    let config = config(&database, "").replace(database.url(), &format!("sqlite://{}", place.display()));
    let mut inn = Server::start("innkeeper", &config, &[]);
    let body =
        json!({ "app": "shop", "component": "nightly", "owner": "me", "notify": "log", "cron": "0 3 * * *" });
    let client = Client::default();
    assert_eq!(client.post(&inn.url("/reservation"), &body).status, 200);
    // What the start has written comes into the file after ten seconds.
    std::thread::sleep(Duration::from_secs(12));
    let (before, (log, pages)) = (written(&inn), log_of(&place));
    std::thread::sleep(MEASURED);
    let written = written(&inn) - before;
    let pages = match log_of(&place) {
        (same, now) if same == log => now - pages,
        (_, now) => now,
    };
    println!("{written} bytes, {pages} pages in {MEASURED:?}");
    assert!((1..=MOST_PAGES).contains(&pages), "{pages} pages in {MEASURED:?}");
    assert!(written < MOST, "{written} bytes in {MEASURED:?}");
    let nodes = client.get(&inn.url("/nodes")).json();
    assert_eq!(nodes["nodes"][0]["state"], "alive", "{nodes}");
    assert!(nodes["duties"].as_array().unwrap().iter().all(|duty| duty["done"] == true), "{nodes}");
    assert_eq!(nodes["blind_windows"].as_array().unwrap().len(), 0, "{nodes}");

    // A crash is found, and the window begins at the check-in, not at the heartbeat that was stored before it.
    assert_eq!(
        client.post(&inn.url("/checkin"), &json!({ "app": "shop", "component": "nightly" })).status,
        200
    );
    let checked_in = std::time::SystemTime::now();
    inn.kill();
    std::thread::sleep(Duration::from_secs(4));
    let inn = Server::start("innkeeper", &config, &[]);
    inn.wait_for_log("No check-in could be recorded");
    let nodes = client.get(&inn.url("/nodes")).json();
    let from = nodes["blind_windows"][0]["from"].as_str().unwrap().to_owned();
    let from = chrono::DateTime::parse_from_rfc3339(&from).unwrap().timestamp_millis();
    let checked_in = checked_in.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let early = i64::try_from(checked_in).unwrap() - from;
    assert!((-10..2000).contains(&early), "{early} ms before the check-in: {nodes}");
}
