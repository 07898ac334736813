//! The sweeper during an outage of the database, with a hanging provider, and without work.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::{Duration, Instant};

use common::*;
use innkeeper_store::DatabaseKind;
use innkeeper_testing::cluster::Cluster;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::{HttpSink, SinkResponse};
use innkeeper_testing::process::{PATIENCE, Server, stat};

fn sweeper(database: &TestDatabase, more: &str) -> Server {
    Server::start("sweeper", &config(database, more), &[])
}

/// Stops it, and says how long that took.
fn stop(sweeper: &mut Server, when: &str, bound: Duration) {
    let asked = Instant::now();
    let status = sweeper.terminate(PATIENCE);
    println!("{when}: it stopped within {:?}", asked.elapsed());
    assert!(status.success(), "{when}: {status}");
    assert!(asked.elapsed() < bound, "{when}: {:?}", asked.elapsed());
}

#[test]
fn a_database_that_goes_away_is_waited_for() {
    let cluster = Cluster::start();
    let database = TestDatabase::postgres_in(&cluster.url());
    let sink = HttpSink::start();
    let alerters = webhook("hook", &sink, "");
    overdue(&database, "shop", 1, "hook");
    cluster.stop();

    let mut impatient = sweeper(&database, &alerters);
    let mut patient = sweeper(&database, &alerters);
    for waiting in [&impatient, &patient] {
        waiting.wait_for_log("the database does not answer");
    }
    stop(&mut impatient, "away at the start", Duration::from_secs(6));
    cluster.resume();
    sink.wait_for(1, PATIENCE);
    settle(&database);

    // Away in the middle, and back: the same process goes on.
    overdue(&database, "late", 1, "hook");
    sink.wait_for(2, PATIENCE);
    settle(&database);
    cluster.stop();
    patient.wait_for_log("trying again each second");
    cluster.resume();
    let back = Instant::now();
    overdue(&database, "later", 1, "hook");
    sink.wait_for(3, PATIENCE);
    println!("it sent {:?} after the database came back", back.elapsed());
    patient.wait_for_log("sweeping goes on");
    settle(&database);

    cluster.stop();
    wait_until("it tries again", || patient.log().matches("trying again each second").count() == 2);
    stop(&mut patient, "away", Duration::from_secs(8));
    assert_eq!(sink.requests().len(), 3);
}

#[test]
fn a_stop_at_any_moment_of_an_outage_waits_for_the_database_once() {
    let cluster = Cluster::start();
    let database = TestDatabase::postgres_in(&cluster.url());
    let sweepers: Vec<Server> = (0..8).map(|_| sweeper(&database, "")).collect();
    for sweeper in &sweepers {
        sweeper.wait_for_log("watching over");
    }
    cluster.stop();
    // Heartbeat and lease wait in turns of some seconds each, so that each stop finds them in another place.
    std::thread::scope(|scope| {
        for (n, mut sweeper) in (0..).zip(sweepers) {
            scope.spawn(move || {
                sweeper.wait_for_log("trying again each second");
                std::thread::sleep(Duration::from_millis(900) * n);
                stop(&mut sweeper, &format!("{n}"), Duration::from_secs(8));
            });
        }
    });
}

#[test]
fn what_was_sent_when_the_database_goes_away_is_not_sent_again() {
    let cluster = Cluster::start();
    let database = TestDatabase::postgres_in(&cluster.url());
    let sink = HttpSink::start();
    overdue(&database, "shop", 300, "hook");
    // Short leases, for claims that were made and never heard of.
    let alerters = webhook("hook", &sink, "timeout = \"1s\"") + "[sweeper]\nlease = \"5s\"\n";
    let _sweeper = sweeper(&database, &alerters);
    sink.wait_for(100, PATIENCE);
    cluster.stop();
    cluster.resume();
    settle(&database);
    let keys = keys_by_job(&sink.requests());
    assert_eq!((keys.len(), sink.requests().len()), (300, 300));
}

#[test]
fn a_stop_while_a_provider_hangs_has_a_bound_and_loses_nothing() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        sink.otherwise(SinkResponse::Hang);
        overdue(&database, "shop", 40, "hook");
        let alerters = webhook("hook", &sink, "timeout = \"60s\"");
        let mut hanging = sweeper(&database, &alerters);
        sink.wait_for(4, PATIENCE);
        stop(&mut hanging, "a provider hangs", Duration::from_secs(13));
        sink.otherwise(SinkResponse::status(200));
        end_leases(&database);
        let mut next = sweeper(&database, &alerters);
        settle(&database);
        let keys = keys_by_job(&sink.requests());
        assert_eq!((keys.len(), sink.requests().len()), (40, 44));
        assert!(keys.values().all(|keys| keys.len() == 1), "{keys:?}");
        stop(&mut next, "nothing to do", Duration::from_secs(3));
    }
}

#[test]
fn a_stop_in_a_burst_gives_back_what_was_not_sent() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        overdue(&database, "shop", 300, "hook");
        let alerters = webhook("hook", &sink, "");
        let mut first = sweeper(&database, &alerters);
        sink.wait_for(50, PATIENCE);
        stop(&mut first, "in a burst", Duration::from_secs(3));
        assert_eq!(database.count("deliveries WHERE state = 'waiting' AND lease_until IS NOT NULL"), 0);
        let _second = sweeper(&database, &alerters);
        settle(&database);
        assert_eq!(sink.requests().len(), 300, "nothing twice");
    }
}

#[test]
fn a_sweeper_that_can_do_nothing_costs_almost_nothing() {
    for database in TestDatabase::both() {
        let kind = database.kind();
        let sink = HttpSink::start();
        sink.otherwise(SinkResponse::Hang);
        overdue(&database, "shop", 20, "hook");
        // SQLite's one lock would hold up the start.
        let held = (kind == DatabaseKind::Postgres).then(|| database.hold_rows("states"));
        let sweeper = sweeper(&database, &webhook("hook", &sink, "timeout = \"60s\""));
        sweeper.wait_for_log("watching over");
        let locked = cpu(&sweeper);
        drop(held);
        sink.wait_for(3, PATIENCE);
        let idle = cpu(&sweeper);
        println!(
            "{kind:?}: {locked:.1} % of a core while all that is due is locked, {idle:.1} % while messages hang"
        );
        // A loop without a pause takes all of it. On a busy machine a tick of the clock may be another's.
        assert!(locked < 5.0 && idle < 3.0, "{locked} %, {idle} %");
    }
}

/// How much of a core the process takes over a few seconds, in percent.
fn cpu(server: &Server) -> f64 {
    let ticks = || stat(server.pid()).unwrap().cpu_ticks as f64;
    let (before, span) = (ticks(), Duration::from_secs(3));
    std::thread::sleep(span);
    // Linux counts hundredths of a second.
    (ticks() - before) / span.as_secs_f64()
}
