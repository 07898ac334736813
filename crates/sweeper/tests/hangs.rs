//! A database server that stands still: it keeps its connections, and answers nothing. It is told while that lasts, by nodes that ran
//! and by one that starts, and a stop ends all the same.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::{Duration, Instant};

use common::*;
use innkeeper_testing::cluster::Cluster;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::process::Server;

/// Promised are 20 s; the rest is for a busy machine.
const TOLD_WITHIN: Duration = Duration::from_secs(40);
/// 25 s, and what a busy machine adds.
const STOP: Duration = Duration::from_secs(35);

#[test]
fn a_server_that_stands_still_is_told_while_it_does_and_holds_up_no_stop() {
    let sink = HttpSink::start();
    let cluster = Cluster::start();
    let database = TestDatabase::postgres_in(&cluster.url());
    database.store();
    let config = config(&database, &webhook("hook", &sink, ""))
        .replace("operator = [\"log\"]", "operator = [\"hook\"]");
    let mut ingest = Server::start("ingest", &config, &[]);
    let mut sweeper = Server::start("sweeper", &config, &[]);
    wait_until("both have beaten", || database.count("nodes") == 2);
    ingest.address();

    cluster.stand_still();
    let still = Instant::now();
    let mut late = Server::start("web", &format!("{config}\n[web]\nlisten = \"127.0.0.1:0\""), &[]);
    let told = |what: &str| {
        sink.requests().iter().filter(|request| request.json()["subject"].as_str() == Some(what)).count()
    };
    wait_until("all three tell", || told("The database is out of reach") == 3);
    println!("told after {:?}", still.elapsed());
    assert!(still.elapsed() < TOLD_WITHIN, "{:?}", still.elapsed());
    let asked = Instant::now();
    for server in [&ingest, &late] {
        server.signal("TERM");
    }
    ingest.wait_for_end(STOP);
    assert!(late.wait_for_end(STOP).success(), "a stop while waiting at the start is no error");
    println!("both stopped within {:?}", asked.elapsed());

    cluster.go_on();
    wait_until("the one that stayed tells again", || told("The database answers again") == 1);
    assert!(sweeper.terminate(STOP).success());
    assert_eq!(told("The database is out of reach"), 3, "each once");
}
