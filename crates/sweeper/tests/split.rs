//! The services as separate processes over one SQLite file on one machine.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::Duration;

use common::*;
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::jobs::Jobs;
use innkeeper_testing::process::{PATIENCE, Server};
use serde_json::json;

#[test]
fn services_over_one_sqlite_file_work_together_and_restart_one_by_one() {
    let (database, sink) = (TestDatabase::sqlite(), HttpSink::start());
    let listeners = "[web]\nlisten = \"127.0.0.1:0\"\n[sweeper]\nlisten = \"127.0.0.1:0\"";
    let config = config(&database, &format!("{listeners}\n{}", webhook("hook", &sink, "")))
        .replace("operator = [\"log\"]", "operator = [\"hook\"]");
    let start = |role: &str| Server::start(role, &config, &[]);
    // At once, so that they meet at the migrations too.
    let [mut ingest, mut sweeper, mut web] = ["ingest", "sweeper", "web"].map(start);
    let client = Client::new(PATIENCE);
    let is_ready = |server: &Server| client.get(&server.url("/readyz")).status == 200;
    for server in [&ingest, &sweeper, &web] {
        wait_until("it is ready", || is_ready(server));
    }
    let names = ["healthy".to_owned()];
    let (jobs, silent) = (Jobs::start(&[&ingest], &names), Jobs::start(&[&ingest], &["silent".to_owned()]));
    let told = |component: &str, event: &str| {
        let of = |body: serde_json::Value| body["alert"]["component"] == component && body["event"] == event;
        sink.requests().iter().filter(|request| of(request.json())).count()
    };
    let operator = |subject: &str| {
        let has = |body: serde_json::Value| body["subject"].as_str().unwrap().contains(subject);
        sink.requests().iter().filter(|request| has(request.json())).count()
    };
    // The pages write, too, beside the check-ins.
    let made = json!({ "app": "shop", "component": "made", "notify": ["hook"], "frequency": 1, "time_units": "hours" });
    for n in 0..20 {
        let mut made = made.clone();
        made["component"] = json!(format!("made{n}"));
        let answer = client.post(&web.url("/api/v1/reservations"), &made);
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    silent.stop();
    wait_until("the silent job is told about", || told("silent", "opened") == 1);

    // A crash, and a restart at once.
    jobs.stop();
    ingest.kill();
    ingest = start("ingest");
    let jobs = Jobs::start(&[&ingest], &names);
    assert!(sweeper.terminate(PATIENCE).success());
    sweeper = start("sweeper");
    sweeper.wait_for_log("watching over");
    assert!(web.terminate(PATIENCE).success());
    web = start("web");
    let silent = Jobs::start(&[&ingest], &["silent".to_owned()]);
    wait_until("it is told to be back", || told("silent", "recovered") == 1);
    for server in [&ingest, &sweeper, &web] {
        wait_until("it is ready", || is_ready(server));
    }
    let nodes = client.get(&web.url("/nodes")).json();
    let living = |role: &str| {
        let nodes = nodes["nodes"].as_array().unwrap();
        nodes.iter().filter(|node| node["role"] == role && node["state"] == "alive").count()
    };
    assert!(living("sweeper") == 1 && living("web") == 1 && living("ingest") >= 1, "{nodes}");
    silent.stop();
    wait_until("it is told about again", || told("silent", "opened") == 2);
    wait_until("the ingest that was killed is missed", || operator("A node is gone: ingest") == 1);
    std::thread::sleep(Duration::from_secs(1));
    jobs.stop();
    assert_eq!(told("healthy", "opened"), 0);
    assert_eq!(database.count("alerts"), 2);
    assert_eq!(operator("There is no") + operator("cannot be written") + operator("lost"), 0);
}
