//! The database hangs or refuses for a while: clients are told to retry, the process recovers by itself, and a stop
//! ends.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::{Duration, Instant};

use common::*;
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::{PATIENCE, Server};
use innkeeper_testing::proxy::SwallowingProxy;
use serde_json::json;

/// How long a stop may take: 25 s, and what a busy machine adds.
const STOP: Duration = Duration::from_secs(35);

#[test]
fn a_proxy_that_swallows_bytes_for_four_seconds_is_got_over_and_a_stop_meanwhile_ends() {
    let database = TestDatabase::postgres();
    database.store();
    let proxy = SwallowingProxy::before(database.url());
    let mut server = ingest(&proxy.url(database.url()), "");
    reserve(&server);
    let load = Load::start(&server, "swallowed", 4, PATIENCE);
    load.wait_for(50);
    proxy.swallow(true);
    std::thread::sleep(Duration::from_secs(4));
    proxy.swallow(false);
    let back = Instant::now();
    let fresh = Client::new(PATIENCE);
    while check_in(&fresh, &server.url(""), 0, "after").unwrap().status != 200 {
        assert!(back.elapsed() < Duration::from_secs(30), "it does not recover");
    }
    println!("a check-in was taken {:?} after the proxy worked again", back.elapsed());
    assert_eq!(fresh.get(&server.url("/healthcheck")).status, 200);
    load.wait_for(50);
    let sent = load.finish();
    let others: Vec<&Sent> = sent
        .iter()
        .filter(|sent| !sent.acknowledged() && sent.answer.as_ref().is_ok_and(|answer| answer.status != 503))
        .collect();
    assert!(others.is_empty(), "{others:?}");
    assert_kept(&database, &sent);

    proxy.swallow(true);
    let waiting = say_check_in(&server, 1);
    wait_until_read(&server, std::slice::from_ref(&waiting));
    let asked = Instant::now();
    server.terminate(STOP);
    println!("it stopped within {:?} while bytes were swallowed", asked.elapsed());
}

#[test]
fn a_database_that_takes_no_writes_is_answered_503_and_said_seldom() {
    let database = TestDatabase::postgres();
    let server = ingest(database.url(), "commit_timeout = \"500ms\"");
    reserve(&server);
    let name = database.url().rsplit('/').next().unwrap().to_owned();
    for setting in ["default_transaction_read_only = on", "statement_timeout = 50"] {
        let held = setting.starts_with("statement").then(|| database.hold("states"));
        refuse(&database, &name, &format!("SET {setting}"));
        for n in 0..5 {
            come_again(&server, n);
        }
        drop(held);
        let key = setting.split(' ').next().unwrap();
        refuse(&database, &name, &format!("RESET {key}"));
        let end = Instant::now() + PATIENCE;
        while check_in(&Client::default(), &server.url(""), 0, "after").unwrap().status != 200 {
            assert!(Instant::now() < end, "{setting}: it does not recover");
        }
    }
    let complaints =
        server.log().lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count();
    assert!(complaints < 12, "{complaints} lines:\n{}", server.log());
}

/// Changes what every new session of the database has, and ends those that are there.
fn refuse(database: &TestDatabase, name: &str, change: &str) {
    database.execute(&format!(
        "SET transaction_read_only = off; SET statement_timeout = 0; ALTER DATABASE {name} {change};
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = '{name}' AND pid <> pg_backend_pid() AND query NOT LIKE '%LOCK TABLE%'"
    ));
}

/// A check-in and a reservation are both told when to come again.
fn come_again(server: &Server, n: usize) {
    let client = Client::new(PATIENCE);
    let reservation = json!({
        "app": "load", "component": format!("new-{n}"), "owner": "test", "notify": "",
        "frequency": 1, "time_units": "days",
    });
    for answer in [
        check_in(&client, &server.url(""), n, "refused").unwrap(),
        client.post(&server.url("/reservation"), &reservation),
    ] {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
}
