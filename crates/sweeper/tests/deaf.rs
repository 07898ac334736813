//! Check-ins that cannot be written while everything else can: nobody is blamed, and the operator hears of it.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::{Duration, Instant};

use common::*;
use innkeeper_testing::client::{Answer, Client};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::process::Server;
use serde_json::{Value, json};

/// How long the lock is held. Jobs of every two seconds fall due many times in it.
const LOCKED: Duration = Duration::from_secs(20);

fn told(sink: &HttpSink, what: &str) -> usize {
    let has = |body: &Value| body["subject"].as_str().is_some_and(|subject| subject.contains(what));
    sink.requests().iter().filter(|request| has(&request.json())).count()
}

fn operated(database: &TestDatabase, sink: &HttpSink) -> String {
    let config = config(database, &webhook("hook", sink, ""));
    config.replace("operator = [\"log\"]", "operator = [\"hook\"]")
}

fn post(url: &str, body: &Value) -> Answer {
    Client::new(Duration::from_secs(30)).post(url, body)
}

fn ready(server: &Server) -> (u16, String) {
    let answer = Client::default().get(&server.url("/readyz"));
    (answer.status, answer.body)
}

/// Jobs that check in every second, until they are dropped.
struct Jobs {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Jobs {
    fn start(server: &Server, names: &[String]) -> Self {
        for name in names {
            let body = json!({
                "app": "shop", "component": name, "owner": "me", "notify": "hook", "frequency": 2,
                "time_units": "seconds", "grace": "1s",
            });
            assert_eq!(post(&server.url("/reservation"), &body).status, 200);
        }
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let job = |name: &String| {
            let (url, name, stop) = (server.url("/checkin"), name.clone(), stop.clone());
            std::thread::spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    let body = json!({ "app": "shop", "component": name });
                    // A test that has failed ends the server under it.
                    drop(std::panic::catch_unwind(|| post(&url, &body)));
                    std::thread::sleep(Duration::from_millis(700));
                }
            })
        };
        let threads = names.iter().map(job).collect();
        Self { stop, threads }
    }

    fn stop(self) {
        self.stop.store(true, std::sync::atomic::Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("job{n}")).collect()
}

#[test]
fn nobody_is_blamed_while_check_ins_cannot_be_written_and_the_operator_hears_of_it() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        let inn = Server::start("innkeeper", &operated(&database, &sink), &[]);
        let jobs = Jobs::start(&inn, &names(12));
        wait_until("all have checked in", || database.count("states WHERE checkins > 1") == 12);
        assert_eq!(ready(&inn), (200, "ready\n".to_owned()));

        let locked = Instant::now();
        let lock = database.hold("checkins");
        wait_until("it is not ready", || ready(&inn).0 == 503);
        assert!(ready(&inn).1.starts_with("check-ins cannot be written"), "{}", ready(&inn).1);
        wait_until("the operator hears of it", || told(&sink, "Check-ins cannot be written") == 1);
        assert!(locked.elapsed() < Duration::from_secs(30), "{:?}", locked.elapsed());
        std::thread::sleep(LOCKED.saturating_sub(locked.elapsed()));
        drop(lock);

        wait_until("it is ready again", || ready(&inn).0 == 200);
        wait_until("the operator hears of the end", || {
            told(&sink, "Check-ins can be written again") == 1 && told(&sink, "Innkeeper was blind") == 1
        });
        std::thread::sleep(Duration::from_secs(3));
        jobs.stop();
        assert_eq!(
            database.count("alerts"),
            0,
            "{:?}: {:?}",
            database.kind(),
            database.texts("SELECT sentence FROM alerts")
        );
        assert_eq!(
            database.count("blind_windows WHERE until_at - from_at > 15000"),
            1,
            "{:?}",
            database.kind()
        );
        assert_eq!(told(&sink, "out of reach") + told(&sink, "There is no") + told(&sink, "Sweeps fail"), 0);
    }
}

#[test]
fn where_no_check_in_comes_a_probe_finds_that_none_could_be_written() {
    let database = TestDatabase::postgres();
    let sink = HttpSink::start();
    let config = operated(&database, &sink);
    let ingest = Server::start("ingest", &config, &[]);
    let _sweeper = Server::start("sweeper", &config, &[]);
    let body = json!({
        "app": "shop", "component": "nightly", "owner": "me", "notify": "hook", "frequency": 20,
        "time_units": "seconds", "grace": "1s",
    });
    assert_eq!(post(&ingest.url("/reservation"), &body).status, 200);
    let ids = database.number("SELECT last_value FROM checkins_id_seq");
    // Whatever a check-in writes: here the runs, which not every check-in needs.
    let lock = database.hold("runs");
    wait_until("it is not ready", || ready(&ingest).0 == 503);
    wait_until("the operator hears of it", || told(&sink, "Check-ins cannot be written") == 1);
    wait_until("the node says so", || {
        database.count("nodes WHERE unable = 'ingest' AND problem LIKE '%lock%'") == 1
    });
    drop(lock);
    wait_until("it is ready again", || ready(&ingest).0 == 200);
    wait_until("the window is recorded", || {
        database.count("blind_windows WHERE until_at - from_at > 5000") == 1
    });
    assert_eq!(database.count("alerts"), 0);
    assert_eq!(database.count("checkins") + database.count("runs"), 0, "a probe leaves nothing");
    assert_eq!(database.number("SELECT last_value FROM checkins_id_seq"), ids);
}
