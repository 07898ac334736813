//! Each alerter is built once per process and once per reload; all threads that send through it share it.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::fs;

use common::{eventually, webhook};
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::process::Server;
use serde_json::json;

/// How often the alerter `ops` was built, by the log.
fn built(server: &Server) -> usize {
    server.log().matches("alerter.ops: building it").count()
}

#[test]
fn an_alerter_is_built_once_at_the_start_and_once_by_a_reload() {
    let sink = HttpSink::start();
    let database = TestDatabase::sqlite();
    let config = |keep_days: u32| {
        format!(
            "operator = [\"ops\"]\nlog = \"debug\"\n[database]\nurl = \"{}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\n\
             [history]\nkeep_days = {keep_days}\n{}",
            database.url(),
            webhook("ops", &sink)
        )
    };
    let server = Server::start("innkeeper", &config(30), &[]);
    // A job that is overdue has the senders use it, and each page that knows of alerters the web.
    let client = Client::default();
    let body = json!({ "app": "shop", "component": "backup", "notify": "ops", "frequency": 1, "time_units": "hours" });
    assert_eq!(client.post(&server.url("/reservation"), &body).status, 200);
    assert_eq!(client.get(&server.url("/settings")).status, 200);
    database.age(std::time::Duration::from_secs(3700));
    eventually("the alert is sent", || (!sink.requests().is_empty()).then_some(()));
    assert_eq!(built(&server), 1, "{}", server.log());

    for reload in 1..=2 {
        let new = server.directory().join("innkeeper.toml.new");
        fs::write(&new, config(30 + reload)).unwrap();
        fs::rename(&new, server.directory().join("innkeeper.toml")).unwrap();
        server.signal("HUP");
        eventually("it is read again", || {
            let read = server.log().matches("the configuration is read").count();
            (read == usize::try_from(reload).unwrap()).then_some(())
        });
        // Whoever uses it after the reload finds it built.
        assert_eq!(client.get(&server.url("/settings")).status, 200);
        let delivered = sink.requests().len();
        let body = json!({ "app": "shop", "component": "backup" });
        assert_eq!(client.post(&server.url("/checkin"), &body).status, 200);
        eventually("the recovery is sent", || (sink.requests().len() > delivered).then_some(()));
        assert_eq!(built(&server), 1 + usize::try_from(reload).unwrap(), "{}", server.log());
        database.age(std::time::Duration::from_secs(3700));
        eventually("it is overdue again", || (sink.requests().len() > delivered + 1).then_some(()));
    }
}
