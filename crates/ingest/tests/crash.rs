//! A check-in that was acknowledged is in the database, whatever happens to the process that took it.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::Duration;

use common::*;
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn nothing_acknowledged_is_lost_when_ingest_is_killed_under_load() {
    for database in TestDatabase::both() {
        let mut sent = Vec::new();
        for name in ["first", "second", "third"] {
            let mut server = ingest(database.url(), "");
            reserve(&server);
            let load = Load::start(&server, name, 16, PATIENCE);
            load.wait_for(150);
            server.kill();
            sent.extend(load.finish());
        }
        let acknowledged = sent.iter().filter(|sent| sent.acknowledged()).count();
        assert!(acknowledged >= 400, "{acknowledged} acknowledged");
        assert!(sent.iter().all(|sent| sent.acknowledged() || sent.answer.is_err()), "an answer but 2xx");
        assert_kept(&database, &sent);
        assert_once(&database);
    }
}

#[test]
fn two_ingests_count_exactly_over_one_database() {
    let database = TestDatabase::postgres();
    let mut servers = [ingest(database.url(), ""), ingest(database.url(), "")];
    reserve(&servers[0]);
    let loads =
        [Load::start(&servers[0], "left", 12, PATIENCE), Load::start(&servers[1], "right", 12, PATIENCE)];
    loads[0].wait_for(600);
    loads[1].wait_for(100);
    let sent: Vec<Sent> = loads.into_iter().flat_map(Load::finish).collect();
    for server in &mut servers {
        assert!(server.terminate(PATIENCE).success());
        assert!(!server.log().contains("check-ins wait"), "{}", server.log());
    }
    assert!(sent.iter().all(Sent::acknowledged), "{:?}", sent.iter().find(|sent| !sent.acknowledged()));
    assert_kept(&database, &sent);
    assert_once(&database);
    assert_eq!(database.count("checkins"), sent.len() as i64);
    assert_eq!(deadlocks(&database), 0);
}

#[test]
fn two_ingests_make_and_change_the_same_reservations_without_deadlocks() {
    let database = TestDatabase::postgres();
    let mut servers = [ingest(database.url(), ""), ingest(database.url(), "")];
    reserve(&servers[0]);
    database.execute("INSERT INTO ping_keys (app, key) VALUES ('pings', 'pingkey')");
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..16_usize)
            .map(|client| {
                let url = servers[client % 2].url("");
                scope.spawn(move || {
                    let connection = Client::new(PATIENCE);
                    (0..40_usize).map(|n| mixed(&connection, &url, client, n)).collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    for server in &mut servers {
        assert!(server.terminate(PATIENCE).success());
    }
    let refused: Vec<_> = answers.iter().filter(|answer| !(200..300).contains(*answer)).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(database.count("checkins"), answers.len() as i64);
    assert_kept(&database, &[]);
    assert_eq!(deadlocks(&database), 0);
}

/// A check-in, one that makes its reservation, or one that changes it.
fn mixed(client: &Client, url: &str, who: usize, n: usize) -> u16 {
    let job = if who.is_multiple_of(2) { n % 20 } else { 19 - n % 20 };
    match (who / 2 + n) % 3 {
        0 => check_in(client, url, job, "plain").unwrap().status,
        1 => {
            let url = format!("{url}/ping/pingkey/slug-{job}?create=1");
            client.send("POST", &url, &[], b"made").unwrap().status
        }
        _ => {
            let cron = json!({
                "cronname": format!("cron-{job}"), "account": "load", "email": "a@example.org", "frequency": 60 + n,
            });
            client.post(&format!("{url}/"), &cron).status
        }
    }
}

/// Deadlocks that Postgres had to break in this database; known when those who were in them have left.
fn deadlocks(database: &TestDatabase) -> i64 {
    database.number("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").unwrap()
}
