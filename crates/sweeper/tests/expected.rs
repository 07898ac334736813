//! Fewer nodes than expected: the operator is told even if the missing nodes stopped in an orderly way.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::*;
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::process::{PATIENCE, Server};
use serde_json::Value;

fn told(sink: &HttpSink, what: &str) -> usize {
    sink.requests()
        .iter()
        .filter(|request| request.json()["subject"].as_str().unwrap().contains(what))
        .count()
}

fn state(database: &TestDatabase) -> Option<String> {
    database.text("SELECT state FROM checks WHERE name = 'expected sweeper'")
}

#[test]
fn the_second_of_two_sweepers_that_stops_in_order_is_missed_after_five_minutes_and_once() {
    let sink = HttpSink::start();
    let database = TestDatabase::postgres();
    database.store();
    let config = config(&database, &webhook("hook", &sink, ""))
        .replace("operator = [\"log\"]", "operator = [\"hook\"]\nexpect = { ingest = 1, sweeper = 2 }");
    let ingest = Server::start("ingest", &config, &[]);
    let _first = Server::start("sweeper", &config, &[]);
    let mut second = Server::start("sweeper", &config, &[]);
    wait_until("all have beaten", || database.count("nodes") == 3);
    assert!(second.terminate(PATIENCE).success());
    wait_until("it is noticed", || state(&database).as_deref() == Some("short"));
    assert_eq!(told(&sink, "too few"), 0, "a restart takes less than five minutes");
    let shown: Value = Client::default().get(&ingest.url("/nodes")).json();
    let sweepers = shown["expected"].as_array().unwrap().iter().find(|it| it["name"] == "sweeper").unwrap();
    assert_eq!(
        (&sweepers["expected"], &sweepers["alive"], &sweepers["enough"]),
        (&2.into(), &1.into(), &false.into())
    );

    database.execute("UPDATE checks SET since_at = since_at - 300000 WHERE name = 'expected sweeper'");
    wait_until("it is told", || told(&sink, "There are too few nodes of sweeper") == 1);
    let again = Server::start("sweeper", &config, &[]);
    wait_until("that there are enough again is told", || {
        told(&sink, "There are enough nodes of sweeper again") == 1
    });
    assert_eq!(told(&sink, "too few"), 1, "{:?}", sink.requests());
    assert_eq!(told(&sink, "nodes of ingest"), 0, "nothing is wrong with it");
    drop(again);
}
