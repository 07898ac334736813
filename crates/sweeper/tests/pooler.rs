//! Behind a real PgBouncer in transaction mode: everything works with `behind_pooler`, no session state is left for
//! the other clients of a connection, and without that key the start is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::Duration;

use common::*;
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::pgbouncer::PgBouncer;
use innkeeper_testing::process::{PATIENCE, Server, command};
use serde_json::json;

/// Clients at once, and the check-ins of each.
const CLIENTS: usize = 8;
const EACH: usize = 60;

#[test]
fn with_a_pool_of_one_connection() {
    works_behind_a_pool_of(1);
}

#[test]
fn with_a_pool_of_five_connections() {
    works_behind_a_pool_of(5);
}

fn works_behind_a_pool_of(size: u32) {
    let (database, sink) = (TestDatabase::postgres(), HttpSink::start());
    let bouncer = PgBouncer::before(database.url(), size);
    let plain = config(&database, &webhook("hook", &sink, "")).replace(database.url(), &bouncer.url());
    let told = plain.replace("[database]\n", "[database]\npooler = \"transaction\"\n");

    // Nobody has said that it is there.
    let mut refused = Server::start("ingest", &plain, &[]);
    assert!(!refused.wait_for_end(PATIENCE).success());
    assert!(refused.log().contains("set database.pooler = \"transaction\""), "{}", refused.log());

    let ingest = Server::start("ingest", &told, &[]);
    let sweeper = Server::start("sweeper", &told, &[]);
    sweeper.wait_for_log("watching over");
    let client = Client::default();
    for component in 0..CLIENTS {
        let body = json!({
            "app": "shop", "component": format!("job-{component}"), "owner": "test", "notify": "hook",
            "frequency": 1, "time_units": "hours",
        });
        assert_eq!(client.post(&ingest.url("/reservation"), &body).status, 200);
    }
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let url = ingest.url("/checkin");
            scope.spawn(move || {
                let client = Client::default();
                for round in 0..EACH {
                    // Some take the general way.
                    let body = json!({
                        "app": "shop", "component": format!("job-{}", (number + round) % CLIENTS), "notes": "done",
                    });
                    let answer = client.post(&url, &body);
                    assert_eq!(answer.status, 200, "{answer:?}");
                }
            });
        }
    });
    assert_eq!(database.number("SELECT SUM(checkins) FROM states"), Some((CLIENTS * EACH) as i64));
    assert_eq!(database.count("checkins"), (CLIENTS * EACH) as i64);
    wait_until("a beat of each", || database.count("nodes") == 2);

    // What a reload of the service runs first looks through it, too.
    let file = tempfile::tempdir().unwrap();
    std::fs::write(file.path().join("innkeeper.toml"), told.replace("[alerter.hook]", "[alerter.hooks]"))
        .unwrap();
    let checked = command("sweeper", file.path())
        .args(["check-config", "--config", "innkeeper.toml"])
        .output()
        .unwrap();
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(said.contains("Messages about 8 reservations") && !said.contains("Note: "), "{said}");

    // One falls silent, and somebody hears of it.
    let silent = "WHERE reservation_id = (SELECT id FROM reservations WHERE component = 'job-0')";
    database.execute(&format!(
        "UPDATE states SET last_checkin_at = last_checkin_at - 7200000, wake_at = 0 {silent};
         UPDATE reservations SET created_at = created_at - 7200000 WHERE component = 'job-0'"
    ));
    sink.wait_for(1, PATIENCE);

    // Whoever shares the pool finds nothing of ours: no statement with a name, no setting, no lock.
    for (sql, expected) in [
        ("SELECT COUNT(*) FROM pg_prepared_statements", "0"),
        ("SELECT current_setting('enable_seqscan')", "on"),
        ("SELECT current_setting('statement_timeout')", "0"),
        ("SELECT current_setting('lock_timeout')", "0"),
        ("SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()", "0"),
    ] {
        for _ in 0..size {
            assert_eq!(bouncer.text(sql), expected, "{sql}");
        }
    }
    for mut server in [ingest, sweeper] {
        assert!(server.terminate(Duration::from_secs(35)).success(), "{}", server.log());
    }
}
