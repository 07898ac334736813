//! The database becomes unreachable and returns: clients wait or are told to retry, and no acknowledged check-in is
//! lost.
//!
//! The design makes promises about outages of 5 and 15 seconds, so these tests last as long.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::net::TcpStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::*;
use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::cluster::Cluster;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::Server;
use serde_json::json;

/// A client's usual patience.
const PATIENCE: Duration = Duration::from_secs(15);

#[test]
fn five_seconds_without_the_database_no_client_notices() {
    let cluster = Cluster::start();
    let database = TestDatabase::postgres_in(&cluster.url());
    let server = ingest(database.url(), "");
    reserve(&server);
    let load = Load::start(&server, "five", 8, PATIENCE);
    load.wait_for(100);
    cluster.stop();
    let reserving = reserve_meanwhile(&server);
    std::thread::sleep(Duration::from_secs(5));
    let back = Instant::now();
    cluster.resume();
    println!("Postgres itself took {:?} to come back", back.elapsed());
    load.wait_for(100);
    let (answer, took) = reserving.join().unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    println!("a reservation took {took:?}");
    let sent = load.finish();
    let failed: Vec<&Sent> = sent.iter().filter(|sent| !sent.acknowledged()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_kept(&database, &sent);
    let longest = sent.iter().map(|sent| sent.took).max().unwrap();
    println!("{} check-ins; the longest took {longest:?}", sent.len());
    assert!(longest >= Duration::from_secs(5), "nobody waited: {longest:?}");
}

#[test]
fn fifteen_seconds_without_the_database_clients_are_told_to_come_again() {
    let cluster = Cluster::start();
    let database = TestDatabase::postgres_in(&cluster.url());
    let mut server = ingest(database.url(), "");
    reserve(&server);
    let load = Load::start(&server, "fifteen", 8, PATIENCE);
    load.wait_for(100);
    cluster.stop();
    let reserving = reserve_meanwhile(&server);
    std::thread::sleep(Duration::from_secs(15));
    cluster.resume();
    let back = Instant::now();
    let fresh = Client::new(PATIENCE);
    assert_eq!(check_in(&fresh, &server.url(""), 0, "after").unwrap().status, 200);
    println!("answered {:?} after the database came back", back.elapsed());
    load.wait_for(100);
    let sent = load.finish();
    let (answer, took) = reserving.join().unwrap();
    println!("a reservation was refused after {took:?}");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some() && took < Duration::from_secs(12), "{took:?}");
    let told: Vec<&Sent> = sent.iter().filter(|sent| !sent.acknowledged()).collect();
    assert!(told.len() >= 8, "everyone waited through it: {told:?}");
    for Sent { answer, took, .. } in told {
        let answer = answer.as_ref().expect("an answer, not a broken connection");
        assert_eq!(answer.status, 503, "{answer:?}");
        let seconds: u32 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
        assert!((1..=30).contains(&seconds));
        assert!((Duration::from_secs(7)..Duration::from_secs(10)).contains(took), "{took:?}");
    }
    assert_kept(&database, &sent);
    assert!(server.terminate(PATIENCE).success(), "the process that was there all the time");
}

#[test]
fn a_database_that_is_away_at_the_start_is_waited_for() {
    let cluster = Cluster::start();
    let database = TestDatabase::postgres_in(&cluster.url());
    cluster.stop();
    let mut impatient = ingest(database.url(), "");
    let server = ingest(database.url(), "");
    for server in [&impatient, &server] {
        server.wait_for_log("the database does not answer");
    }
    let asked = Instant::now();
    assert!(impatient.terminate(PATIENCE).success(), "a stop while waiting is no error");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    cluster.resume();
    reserve(&server);
    assert_eq!(check_in(&Client::default(), &server.url(""), 0, "served").unwrap().status, 200);
    assert!(server.log().contains("the database answers"));
}

#[test]
fn a_stop_while_the_database_is_away_has_a_bound() {
    let cluster = Cluster::start();
    let database = TestDatabase::postgres_in(&cluster.url());
    // Batches of one: whoever tries each of them in vain has no end.
    let mut server = ingest(database.url(), "batch = 1");
    reserve(&server);
    let before = Load::start(&server, "before", 2, PATIENCE);
    before.wait_for(20);
    let before = before.finish();
    cluster.stop();
    let mut waiting: Vec<TcpStream> = (0..24).map(|n| say_check_in(&server, n)).collect();
    wait_until_read(&server, &waiting);
    server.wait_for_log("check-ins wait");
    let asked = Instant::now();
    let status = server.terminate(Duration::from_secs(30));
    println!("it stopped within {:?}", asked.elapsed());
    assert!(status.success(), "{status}\n{}", server.log());
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    for stream in &mut waiting {
        let answer = answer(stream);
        assert!(answer.starts_with("HTTP/1.1 503"), "what was taken in is answered: {answer}");
    }
    cluster.resume();
    assert_kept(&database, &before);
}

/// Asks for a reservation, and tells how it was answered and how long that took.
fn reserve_meanwhile(server: &Server) -> JoinHandle<(Response, Duration)> {
    let url = server.url("/reservation");
    std::thread::spawn(move || {
        let body = json!({
            "app": "load", "component": "meanwhile", "notify": "", "frequency": 1, "time_units": "days",
        });
        let asked = Instant::now();
        let answer = Client::new(PATIENCE).post(&url, &body);
        (answer, asked.elapsed())
    })
}
