//! Another transaction locks a row, as a sweep does while it writes conclusions: only check-ins for that row wait.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::{Duration, Instant};

use common::*;
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::PATIENCE;

#[test]
fn a_locked_row_holds_up_its_own_check_ins_alone() {
    let database = TestDatabase::postgres();
    let server = ingest(database.url(), "");
    reserve(&server);
    let url = server.url("");
    let client = Client::default();
    let acknowledged = |job, note: &str| check_in(&client, &url, job, note).unwrap().status == 200;
    for job in 0..JOBS {
        assert!(acknowledged(job, "before"));
    }

    // The lock is held until there is a table of this name, so by no clock.
    let hold = "DO $$ BEGIN
        PERFORM 1 FROM states WHERE reservation_id = (SELECT id FROM reservations WHERE component = 'job-0') FOR UPDATE;
        WHILE NOT EXISTS (SELECT 1 FROM pg_class WHERE relname = 'released') LOOP PERFORM pg_sleep(0.01); END LOOP;
    END $$";
    let there_are = |sessions: &str| {
        let query = format!(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND {sessions}"
        );
        let patience = Instant::now() + PATIENCE;
        while database.number(&query) == Some(0) {
            assert!(Instant::now() < patience, "{sessions}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| database.execute(hold));
        there_are("query LIKE 'DO %' AND wait_event = 'PgSleep'");
        let its_own = scope.spawn(|| check_in(&Client::default(), &url, 0, "during").unwrap().status);
        there_are("wait_event_type = 'Lock'");
        for round in 0..20 {
            for job in 1..JOBS {
                assert!(acknowledged(job, &format!("during {round}")));
            }
        }
        let waits = !its_own.is_finished();
        assert!(!holder.is_finished());
        database.execute("CREATE TABLE released ()");
        assert!(waits, "a check-in of a locked row was acknowledged");
        assert_eq!(its_own.join().unwrap(), 200);
        holder.join().unwrap();
    });
    assert_eq!(
        database.number("SELECT SUM(checkins) FROM states"),
        Some((JOBS + 1 + 20 * (JOBS - 1)) as i64)
    );
    assert_eq!(database.count("checkins"), (JOBS + 1 + 20 * (JOBS - 1)) as i64);
}

#[test]
fn a_node_never_says_that_all_is_written_while_check_ins_wait_in_its_queue() {
    const COUNT: usize = 20;
    let database = TestDatabase::postgres();
    let server = ingest(database.url(), "batch = 1\ncommit_timeout = \"1m\"");
    reserve(&server);
    database.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.25); RETURN NULL; END';
         CREATE TRIGGER slow AFTER INSERT ON checkins FOR EACH STATEMENT EXECUTE FUNCTION slow()",
    );
    let url = server.url("");
    // How many were written, and up to when the node said just before that all were.
    let mut said = Vec::new();
    std::thread::scope(|scope| {
        for n in 0..COUNT {
            let url = &url;
            scope.spawn(move || {
                let answer = check_in(&Client::new(PATIENCE), url, n, &n.to_string()).unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
            });
        }
        let patience = Instant::now() + PATIENCE;
        while database.count("checkins") < COUNT as i64 {
            assert!(Instant::now() < patience, "they are not written");
            let seen = database
                .texts("SELECT written_until_at || ' ' || (SELECT COUNT(*) FROM checkins) FROM nodes");
            let (until, written) = seen[0].split_once(' ').unwrap();
            said.push((written.parse::<usize>().unwrap(), until.parse::<i64>().unwrap()));
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let came: Vec<i64> = database
        .texts("SELECT at::TEXT FROM checkins ORDER BY at")
        .iter()
        .map(|at| at.parse().unwrap())
        .collect();
    assert!(said.iter().any(|(written, _)| (2..COUNT - 2).contains(written)), "{said:?}");
    for (written, until) in said {
        let Some(oldest) = came.get(written) else { continue };
        // Milliseconds are rounded, and the stamp is a moment older than the queue's.
        assert!(until <= oldest + 100, "with {written} written it said {} ms too much", until - oldest);
    }
}

/// Waits until `what` holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < patience, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A check-in that goes the general way, since it brings its reservation along.
fn define(url: &str, name: &str) -> u16 {
    let query = format!("{url}/?account=load&cronname={name}&frequency=60&email=log");
    Client::new(PATIENCE).get(&query).status
}

#[test]
fn one_locked_row_holds_up_neither_what_goes_the_general_way_nor_anybodys_silence() {
    let database = TestDatabase::postgres();
    let server = ingest(database.url(), "commit_timeout = \"1m\"");
    reserve(&server);
    let (url, ready) = (server.url(""), || Client::default().get(&server.url("/readyz")));
    let row = |job: &str| {
        format!("states WHERE reservation_id = (SELECT id FROM reservations WHERE component = '{job}')")
    };
    std::thread::scope(|scope| {
        let held = database.hold_rows(&row("job-0"));
        let its_own = scope.spawn(|| define(&url, "job-0"));
        let others: Vec<_> = (0..20)
            .map(|n| {
                scope.spawn({
                    let url = &url;
                    move || define(url, &format!("new-{n}"))
                })
            })
            .collect();
        for other in others {
            assert_eq!(other.join().unwrap(), 201);
        }
        let now = "(SELECT MAX(at) FROM checkins)";
        until("silence is judged past the one that waits", || {
            database.count(&format!("nodes WHERE unable = '' AND written_until_at > {now} + 5000")) == 1
        });
        assert!(!its_own.is_finished(), "a check-in of a locked row was acknowledged");
        assert_eq!(ready().status, 200);
        assert_eq!(database.count("blind_windows"), 0);

        // With another one locked it is a failure, which lasts, whatever a probe can do.
        let other_held = database.hold_rows(&row("job-1"));
        let second = scope.spawn(|| define(&url, "job-1"));
        until("it fails for long enough to be told", || {
            let seconds =
                ready().body.split_once(", for ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
            seconds.is_some_and(|seconds: u64| seconds >= 8)
        });
        assert_eq!(define(&url, "late"), 201, "others are written all the same");
        assert_eq!(database.count("nodes WHERE unable = 'ingest'"), 1);
        drop((held, other_held));
        assert_eq!((its_own.join().unwrap(), second.join().unwrap()), (201, 201));
        until("it is ready again", || ready().status == 200);
    });
    assert_eq!(database.number("SELECT SUM(checkins) FROM states"), Some(23));
}
