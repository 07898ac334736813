//! Reports of agents during an outage of the database, and to several nodes at once: each is recorded once, however
//! often it is sent.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::Duration;

use common::*;
use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::cluster::Cluster;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::Server;
use serde_json::{Value, json};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(30);

/// A spool of so many reports, in batches of twenty, the oldest first.
fn spool(count: usize) -> Vec<Value> {
    let report = |n: usize| {
        json!({ "app": "load", "component": "job-0", "kind": "success", "key": Uuid::new_v4().to_string(),
            "ago_ms": (count - n) * 60_000, "output": format!("report {n}") })
    };
    let reports: Vec<Value> = (0..count).map(report).collect();
    reports.chunks(20).map(|reports| json!({ "reports": reports })).collect()
}

fn send(server: &Server, batch: &Value) -> Response {
    Client::new(PATIENCE).post(&server.url("/api/v1/checkins"), batch)
}

/// Sends the batch until it is answered 200; how many of it were recorded by this.
fn deliver(server: &Server, batch: &Value) -> usize {
    for _ in 0..200 {
        let answer = send(server, batch);
        if answer.status == 200 {
            let answer = answer.json();
            let statuses =
                answer["reports"].as_array().unwrap().iter().map(|one| one["status"].as_str().unwrap());
            let statuses: Vec<&str> = statuses.collect();
            assert!(statuses.iter().all(|status| ["recorded", "known"].contains(status)), "{statuses:?}");
            return statuses.iter().filter(|status| **status == "recorded").count();
        }
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("it was never answered");
}

/// What is kept of the reports, in the order of their recording.
fn kept(database: &TestDatabase) -> Vec<String> {
    database.texts("SELECT notes FROM checkins WHERE notes LIKE 'report %' ORDER BY id")
}

fn expected(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("report {n}")).collect()
}

#[test]
fn what_was_answered_503_is_recorded_once_and_in_order() {
    let cluster = Cluster::start();
    let database = TestDatabase::postgres_in(&cluster.url());
    let server = ingest(database.url(), "commit_timeout = \"500ms\"");
    reserve(&server);
    let batches = spool(60);
    deliver(&server, &batches[0]);
    cluster.stop();
    let answer = send(&server, &batches[1]);
    assert_eq!(answer.status, 503, "{answer:?}");
    cluster.resume();
    // An agent goes on where it was, and does not know what of it was recorded.
    for batch in &batches {
        deliver(&server, batch);
    }
    assert_eq!(kept(&database), expected(60));
}

#[test]
fn two_nodes_that_get_the_same_spool_record_it_once() {
    let database = TestDatabase::postgres();
    let nodes = [ingest(database.url(), ""), ingest(database.url(), "batch = 7")];
    reserve(&nodes[0]);
    let batches = spool(200);
    let recorded: usize = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..8)
            .map(|n| {
                let (node, batches) = (&nodes[n % 2], &batches);
                scope.spawn(move || batches.iter().map(|batch| deliver(node, batch)).sum::<usize>())
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).sum()
    });
    assert_eq!(recorded, 200, "each was told to one of them as recorded");
    let mut kept = kept(&database);
    kept.sort_unstable();
    let mut expected = expected(200);
    expected.sort_unstable();
    assert_eq!(kept, expected);
}
