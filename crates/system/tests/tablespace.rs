//! The disk with Postgres's table of check-ins becomes full, while the disk with everything else does not.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::time::{Duration, Instant};

use innkeeper_system::mount::{Mount, run};
use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::cluster::Cluster;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::jobs::Jobs;
use innkeeper_testing::process::{PATIENCE, Server};
use serde_json::json;

/// How long the disk is full. Jobs with an interval of two seconds become due many times meanwhile.
const FULL: Duration = Duration::from_secs(18);

fn eventually(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < end, "this does not come: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn check_ins_that_find_no_room_are_told_to_come_again_and_nobody_is_accused() {
    let mount = Mount::memory("4m");
    run("chown", &["nobody", &mount.place()]);
    let cluster = Cluster::start();
    let database = TestDatabase::postgres_in(&cluster.url());
    database.store();
    database.execute(&format!("CREATE TABLESPACE small LOCATION '{}'", mount.place()));
    database.execute("ALTER TABLE checkins SET TABLESPACE small");
    let sink = HttpSink::start();
    let config = format!(
        "operator = [\"hook\"]\n[database]\nurl = \"{}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\ncommit_timeout = \"2s\"\n\
         [alerter.hook]\nkind = \"webhook\"\nurl = \"{}\"\n",
        database.url(),
        sink.url("/hook")
    );
    let ingest = Server::start("ingest", &config, &[]);
    let _sweeper = Server::start("sweeper", &config, &[]);
    let jobs = Jobs::start(&[&ingest], &["one", "two", "three"].map(str::to_owned));
    let client = Client::new(PATIENCE);
    let check_in = || -> Response {
        client.post(&ingest.url("/checkin"), &json!({ "app": "shop", "component": "one", "notes": "more" }))
    };
    let ready = || client.get(&ingest.url("/readyz"));
    let told = |what: &str| {
        let has =
            |body: serde_json::Value| body["subject"].as_str().is_some_and(|subject| subject.contains(what));
        sink.requests().iter().filter(|request| has(request.json())).count()
    };
    eventually("all have checked in", || database.count("states WHERE checkins > 1") == 3);
    assert_eq!(ready().status, 200);

    mount.fill();
    // The table's last page may have some space left.
    let mut refused = check_in();
    eventually("it is full", || {
        refused = check_in();
        refused.status != 200
    });
    let full = Instant::now();
    assert!(refused.status == 503 && refused.header("retry-after").is_some(), "{refused:?}");
    eventually("it is not ready", || ready().status == 503);
    let why = ready().body;
    assert!(why.starts_with("check-ins cannot be written") && why.contains("No space left"), "{why}");
    eventually("the operator hears of it", || told("Check-ins cannot be written") == 1);
    assert!(full.elapsed() < Duration::from_secs(30), "{:?}", full.elapsed());
    std::thread::sleep(FULL.saturating_sub(full.elapsed()));

    mount.make_room();
    eventually("it takes check-ins again", || check_in().status == 200);
    eventually("it is ready again", || ready().status == 200);
    eventually("the operator hears of the end", || {
        told("Check-ins can be written again") == 1 && told("Innkeeper was blind") == 1
    });
    std::thread::sleep(Duration::from_secs(3));
    jobs.stop();
    assert_eq!(database.texts("SELECT sentence FROM alerts"), Vec::<String>::new());
    assert_eq!(database.count("blind_windows WHERE until_at - from_at > 10000"), 1);
    assert_eq!(told("out of reach") + told("There is no") + told("Sweeps fail"), 0);
}
