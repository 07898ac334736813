//! `/metrics`, `/healthz` and `/readyz` of every role.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::time::{Duration, Instant};

use innkeeper_testing::client::Client;
use innkeeper_testing::cluster::Cluster;
use innkeeper_testing::http_sink::{HttpSink, SinkResponse};
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
    inn.wait_for_log("DOWN shop/canary");
    // What waits is counted once in a while.
    wait_until("the message is counted", || {
        let text = metrics(&inn);
        value(&text, "innkeeper_deliveries_total{alerter=\"log\",result=\"delivered\"}") == Some(1.0)
            && value(&text, "innkeeper_waiting_deliveries") == Some(0.0)
    });
    let text = metrics(&inn);
    for (metric, expected) in [
        ("innkeeper_checkins_total{result=\"recorded\"}", 2.0),
        ("innkeeper_checkins_total{result=\"unknown\"}", 1.0),
        ("innkeeper_swept_total{what=\"opened\"}", 1.0),
        ("innkeeper_open_alerts", 1.0),
        ("innkeeper_overdue_alerts", 1.0),
        ("innkeeper_waiting_deliveries", 0.0),
        ("innkeeper_queue_checkins", 0.0),
        ("innkeeper_delivery_lag_seconds_count", 1.0),
        ("innkeeper_alert_lag_seconds_count{alerter=\"log\"}", 1.0),
        ("innkeeper_batch_checkins_sum", 3.0),
        ("innkeeper_pool_size", 8.0),
        ("innkeeper_nodes{role=\"standalone\",state=\"alive\"}", 1.0),
    ] {
        assert_eq!(value(&text, metric), Some(expected), "{metric}\n{text}");
    }
    let number = |metric: &str| value(&text, metric).unwrap_or_else(|| panic!("no {metric}\n{text}"));
    let alert_lag = number("innkeeper_alert_lag_seconds_sum{alerter=\"log\"}");
    assert!(0.0 < alert_lag && alert_lag < PATIENCE.as_secs_f64(), "{alert_lag}");
    assert!(
        number("innkeeper_delivery_lag_seconds_sum") <= alert_lag,
        "the message is younger than the deadline"
    );
    for histogram in ["innkeeper_batch_checkins", "innkeeper_commit_seconds", "innkeeper_sweep_seconds"] {
        assert!(number(&format!("{histogram}_sum")) > 0.0, "{histogram}\n{text}");
        let all = number(&format!("{histogram}_bucket{{le=\"+Inf\"}}"));
        assert!(all >= 1.0 && all.total_cmp(&number(&format!("{histogram}_count"))).is_eq(), "{histogram}");
    }
    let (used, idle) = (pool(&text, "used"), pool(&text, "idle"));
    assert!(used >= 0.0 && idle >= 1.0 && used + idle <= number("innkeeper_pool_size"), "{used} {idle}");
    let age = number("innkeeper_heartbeat_age_seconds{role=\"standalone\"}");
    assert!((0.0..PATIENCE.as_secs_f64()).contains(&age), "{age}");
    assert!(number("process_resident_memory_bytes") > 1e6);

    // By its new spec it was not late. Then it is heard, and says that it fails: another alert, and nothing is overdue.
    assert_eq!(
        post(
            "/reservation",
            json!({ "app": "shop", "component": "canary", "notify": "", "frequency": 1, "time_units": "days" })
        ),
        200
    );
    inn.wait_for_log("WITHDRAWN shop/canary");
    assert_eq!(post("/checkin", json!({ "app": "shop", "component": "canary" })), 200);
    let listed = client.get(&inn.url("/reservation")).json();
    let ping = listed["result"][0]["ping_url"].as_str().unwrap().rsplit_once("/ping/").unwrap().1.to_owned();
    assert_eq!(client.get(&inn.url(&format!("/ping/{ping}/fail"))).status, 200);
    wait_until("the second alert is counted, the recovery between them not", || {
        let text = metrics(&inn);
        let value = |metric| value(&text, metric).unwrap();
        (value("innkeeper_open_alerts"), value("innkeeper_overdue_alerts")) == (1.0, 0.0)
            && value("innkeeper_alert_lag_seconds_count{alerter=\"log\"}") == 2.0
            && value("innkeeper_delivery_lag_seconds_count") == 3.0
            && value("innkeeper_swept_total{what=\"closed\"}") == 1.0
    });
}

fn pool(text: &str, state: &str) -> f64 {
    value(text, &format!("innkeeper_pool_connections{{state=\"{state}\"}}")).unwrap()
}

#[test]
fn messages_are_counted_by_alerter_and_by_what_became_of_them() {
    let (busy, gone) = (HttpSink::start(), HttpSink::start());
    busy.next(SinkResponse::status(503));
    gone.otherwise(SinkResponse::status(404));
    let hook = |name: &str, sink: &HttpSink| {
        format!("[alerter.{name}]\nkind = \"webhook\"\nurl = \"{}\"\n", sink.url("/"))
    };
    let inn = Server::start(
        "innkeeper",
        &format!(
            "[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n{}{}",
            hook("busy", &busy),
            hook("gone", &gone)
        ),
        &[],
    );
    let reserve = json!({ "app": "shop", "component": "canary", "notify": "busy, gone", "frequency": 1, "time_units": "seconds" });
    assert_eq!(Client::default().post(&inn.url("/reservation"), &reserve).status, 200);
    let count = |text: &str, alerter: &str, result: &str| {
        let labels = format!("{{alerter=\"{alerter}\",result=\"{result}\"}}");
        value(text, &format!("innkeeper_deliveries_total{labels}")).unwrap_or_default()
    };
    wait_until("all three have been tried", || {
        let text = metrics(&inn);
        (count(&text, "busy", "retry"), count(&text, "gone", "dead"), count(&text, "log", "delivered"))
            == (1.0, 1.0, 1.0)
    });
    wait_until("one is delivered at last", || count(&metrics(&inn), "busy", "delivered") == 1.0);
    let text = metrics(&inn);
    let lag = |alerter: &str, what: &str| {
        value(&text, &format!("innkeeper_alert_lag_seconds_{what}{{alerter=\"{alerter}\"}}"))
    };
    assert_eq!((lag("busy", "count"), lag("log", "count")), (Some(1.0), Some(1.0)));
    assert!(lag("gone", "count").unwrap_or_default() == 0.0, "what is not delivered has no lag");
    assert!(lag("busy", "sum") > lag("log", "sum"), "the wait for another try is lag");
}

#[test]
fn checkins_that_wait_for_the_database_are_seen() {
    let cluster = Cluster::start();
    let config = config(&cluster.url()).replace("workers = 1\n", "workers = 1\ncommit_timeout = \"1s\"\n");
    let ingest = Server::start("ingest", &config, &[]);
    let (client, url) = (Client::default(), ingest.url("/checkin"));
    let body = json!({ "app": "shop", "component": "unknown" });
    assert_eq!(client.post(&url, &body).status, 404);
    assert_eq!(value(&metrics(&ingest), "innkeeper_queue_checkins"), Some(0.0));
    cluster.stop();
    for _ in 0..3 {
        assert_eq!(client.post(&url, &body).status, 503);
    }
    let text = metrics(&ingest);
    // The first is in the writer's hands.
    assert_eq!(value(&text, "innkeeper_queue_checkins"), Some(2.0), "{text}");
    assert_eq!(value(&text, "innkeeper_checkins_total{result=\"late\"}"), Some(3.0), "{text}");
    cluster.resume();
    wait_until("the queue is empty", || value(&metrics(&ingest), "innkeeper_queue_checkins") == Some(0.0));
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
