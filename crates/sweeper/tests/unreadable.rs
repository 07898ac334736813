//! Unreadable rows of Innkeeper's own tables, such as an editor's mistake leaves in an SQLite file while the process
//! runs: the operator is told which, and heartbeats, sweeps and senders continue.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::*;
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::process::{PATIENCE, Server};

/// Each table, and what is done to it.
const MISTAKES: [(&str, &str); 7] = [
    ("blind_windows", "INSERT INTO blind_windows (from_at, until_at) VALUES (5, NULL)"),
    ("nodes", "UPDATE nodes SET unable = NULL"),
    ("duties", "UPDATE duties SET beat_at = NULL"),
    ("duties", "INSERT INTO duties (name, beat_at) VALUES (NULL, 5)"),
    ("unjudged", "INSERT INTO unjudged VALUES (77777, NULL, NULL, NULL, NULL, NULL)"),
    ("clock_steps", "INSERT INTO clock_steps (at, clock, host, by_ms, outcome) VALUES (5, NULL, '', 1, '')"),
    (
        "deliveries",
        "INSERT INTO deliveries (event, alerter, recipient, notice, key, state, attempts, next_at, created_at)
         VALUES ('opened', 'hook', '', NULL, NULL, 'waiting', NULL, 1, NULL)",
    ),
];

#[test]
fn a_row_of_any_table_that_cannot_be_read_stops_nobody_and_is_told() {
    let database = TestDatabase::sqlite();
    let sink = HttpSink::start();
    database.store();
    database.execute(
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_master SET sql = REPLACE(REPLACE(REPLACE(sql, 'IS NOT NULL', 'IS_ONE'), 'NOT NULL', ''), 'IS_ONE', 'IS NOT NULL')",
    );
    let config = config(&database, &webhook("hook", &sink, "")).replace("[\"log\"]", "[\"hook\"]");
    let mut inn = Server::start("innkeeper", &config, &[]);
    wait_until("it beats", || database.count("duties") == 3);
    let client = Client::default();
    for (n, (table, mistake)) in MISTAKES.iter().enumerate() {
        let heard = sink.requests().len();
        database.execute(&format!("PRAGMA ignore_check_constraints = ON; {mistake}"));
        // Somebody waits for a heartbeat.
        database.execute("UPDATE duties SET wanted_at = 1 WHERE name = 'ingest'");
        // Some tables are read for the pages alone.
        client.get(&inn.url("/nodes"));
        let app = format!("shop{n}");
        overdue(&database, &app, 1, "hook");
        wait_until(&format!("{mistake}: the operator hears of it"), || {
            sink.requests()[heard..].iter().any(|request| {
                let message = request.json();
                message["subject"].as_str().unwrap().contains("Rows of the database could not be read")
                    && message["text"].as_str().unwrap().contains(&format!("a row of {table} could not"))
            })
        });
        wait_until(&format!("{mistake}: a heartbeat is stored"), || {
            database.number("SELECT COUNT(*) FROM duties WHERE name = 'ingest' AND wanted_at IS NULL")
                == Some(1)
        });
        wait_until(&format!("{mistake}: who is overdue is told"), || {
            database.number(&format!(
                "SELECT COUNT(*) FROM deliveries d JOIN alerts a ON a.id = d.alert_id
                 WHERE a.app = '{app}' AND d.alerter = 'hook' AND d.state = 'delivered'"
            )) == Some(1)
        });
        for path in ["/readyz", "/nodes", "/api/v1/reservations", "/peer", "/metrics"] {
            wait_until(&format!("{mistake}: {path}"), || client.get(&inn.url(path)).status == 200);
        }
    }
    assert!(inn.terminate(PATIENCE).success());
}
