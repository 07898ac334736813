//! A database server that is suspended: it keeps its connections and answers nothing. Running nodes and a starting one
//! report it while it lasts, and a stop still ends. And a suspended process: its locks are released after a while.

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

    let stands_still = cluster.stand_still();
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

    drop(stands_still);
    wait_until("the one that stayed tells again", || told("The database answers again") == 1);
    assert!(sweeper.terminate(STOP).success());
    assert_eq!(told("The database is out of reach"), 3, "each once");
}

#[test]
fn a_sweeper_that_stands_still_in_a_transaction_holds_up_no_other_and_goes_on() {
    let (sink, database) = (HttpSink::start(), TestDatabase::postgres());
    database.store();
    // Innkeeper asks for 30 s, and leaves what is stricter: for that nobody needs to wait here.
    let name = database.url().rsplit('/').next().unwrap();
    database.execute(&format!("ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '3s'"));
    let config = config(&database, &webhook("hook", &sink, ""));
    let mut first = Server::start("sweeper", &config, &[]);
    first.wait_for_log("watching over");
    let told =
        |name: String| sink.requests().iter().filter(|one| one.json().to_string().contains(&name)).count();

    let held = database.hold("alerts");
    overdue(&database, "shop", 1, "hook");
    let sessions = |state: &str| {
        database.count(&format!("pg_stat_activity WHERE datname = current_database() AND {state}"))
    };
    wait_until("it waits within its transaction", || sessions("wait_event_type = 'Lock'") == 1);
    first.signal("STOP");
    drop(held);
    let still = Instant::now();
    wait_until("its transaction rests", || sessions("state = 'idle in transaction'") == 1);
    let mut second = Server::start("sweeper", &config, &[]);
    wait_until("another tells", || told(job(0)) == 1);
    assert!(still.elapsed() > Duration::from_secs(2), "the job was locked: {:?}", still.elapsed());
    // The other has transactions of its own, which do not last.
    wait_until("its transaction was ended", || sessions("state = 'idle in transaction'") == 0);

    first.signal("CONT");
    assert!(second.terminate(STOP).success());
    overdue(&database, "store", 2, "hook");
    wait_until("the first goes on", || told(job(1)) == 1);
    assert!(first.terminate(STOP).success());
    assert_eq!(database.count("alerts WHERE app = 'shop'"), 1);
}
