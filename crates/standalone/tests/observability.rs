//! `/metrics`, `/healthz` and `/readyz` of every role.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::time::{Duration, Instant};

use innkeeper_testing::client::Client;
use innkeeper_testing::cluster::Cluster;
use innkeeper_testing::process::{PATIENCE, Server};
use serde_json::json;

fn config(url: &str) -> String {
    format!(
        "operator = [\"log\"]\n[database]\nurl = \"{url}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n\
         [web]\nlisten = \"127.0.0.1:0\"\n[sweeper]\nlisten = \"127.0.0.1:0\"\n"
    )
}

/// The value of a metric with its labels, as it stands in the text.
fn value(text: &str, metric: &str) -> Option<f64> {
    let line =
        text.lines().find(|line| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

fn metrics(server: &Server) -> String {
    let answer = Client::default().get(&server.url("/metrics"));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"), "{answer:?}");
    for line in answer.body.lines().filter(|line| !line.starts_with('#')) {
        let (name, number) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("innkeeper_") || name.starts_with("process_"), "{line}");
        assert!(number.parse::<f64>().is_ok(), "{line}");
    }
    answer.body
}

fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < end, "this does not come: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_happens_is_counted() {
    let inn = Server::start(
        "innkeeper",
        "operator = [\"log\"]\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n",
        &[],
    );
    let client = Client::default();
    let post = |path: &str, body: serde_json::Value| client.post(&inn.url(path), &body).status;
    let reserve = json!({ "app": "shop", "component": "canary", "notify": "", "frequency": 1, "time_units": "seconds" });
    assert_eq!(post("/reservation", reserve), 200);
    for _ in 0..2 {
        assert_eq!(post("/checkin", json!({ "app": "shop", "component": "canary" })), 200);
    }
    assert_eq!(post("/checkin", json!({ "app": "shop", "component": "unknown" })), 404);
    inn.wait_for_log("Job Failed to checkin: shop/canary");
    wait_until("the message is counted", || {
        value(&metrics(&inn), "innkeeper_deliveries_total{alerter=\"log\",result=\"delivered\"}") == Some(1.0)
    });
    let text = metrics(&inn);
    for (metric, expected) in [
        ("innkeeper_checkins_total{result=\"recorded\"}", 2.0),
        ("innkeeper_checkins_total{result=\"unknown\"}", 1.0),
        ("innkeeper_swept_total{what=\"opened\"}", 1.0),
        ("innkeeper_open_alerts", 1.0),
        ("innkeeper_waiting_deliveries", 0.0),
        ("innkeeper_queue_checkins", 0.0),
        ("innkeeper_delivery_lag_seconds_count", 1.0),
        ("innkeeper_nodes{role=\"standalone\",state=\"alive\"}", 1.0),
    ] {
        assert_eq!(value(&text, metric), Some(expected), "{metric}\n{text}");
    }
    assert!(value(&text, "innkeeper_commit_seconds_sum").unwrap() > 0.0);
    assert!(value(&text, "process_resident_memory_bytes").unwrap() > 1e6);
}

#[test]
fn every_role_says_that_it_lives_and_whether_it_can_work() {
    let cluster = Cluster::start();
    let config = config(&cluster.url());
    let roles = ["ingest", "sweeper", "web", "innkeeper"].map(|role| Server::start(role, &config, &[]));
    let client = Client::default();
    let status = |server: &Server, path: &str| client.get(&server.url(path)).status;
    for server in &roles {
        assert_eq!((status(server, "/healthz"), status(server, "/readyz")), (200, 200));
        assert!(value(&metrics(server), "innkeeper_nodes{role=\"ingest\",state=\"alive\"}").is_some());
    }
    cluster.stop();
    for server in &roles {
        assert_eq!((status(server, "/healthz"), status(server, "/readyz")), (200, 503));
        metrics(server);
    }
    cluster.resume();
    for server in &roles {
        wait_until("it can work again", || status(server, "/readyz") == 200);
    }
}
