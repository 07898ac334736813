//! What agents report, over real HTTP: each report is answered by itself, recorded once and in its order, and what comes late is what it
//! was when it happened.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::Duration;

use common::instance::Instance;
use common::{Inn, Shape, eventually, notices, webhook};
use innkeeper_testing::client::Response;
use innkeeper_testing::http_sink::HttpSink;
use serde_json::{Value, json};
use uuid::Uuid;

in_both_shapes![
    each_report_is_answered_by_itself,
    a_repeat_is_known,
    a_batch_keeps_its_order,
    a_ping_address_takes_reports_of_its_own_job,
    what_is_no_batch_is_refused_as_a_whole,
    a_late_success_closes_the_alert_that_it_answers,
    a_late_failure_that_is_over_alarms_nobody,
];

const HOUR: i64 = 3_600_000;

fn send(inn: &Inn, reports: &Value) -> Response {
    inn.post("/api/v1/checkins", &json!({ "reports": reports }))
}

/// What is answered of each.
fn statuses(answer: &Response) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    let of = |one: &Value| {
        assert_eq!(
            one["problem"].is_string(),
            !["recorded", "known"].map(Value::from).contains(&one["status"])
        );
        one["status"].as_str().unwrap().to_owned()
    };
    answer["reports"].as_array().unwrap().iter().map(of).collect()
}

fn report(kind: &str, more: Value) -> Value {
    let mut report = json!({ "app": "shop", "component": "backup", "kind": kind });
    for (field, value) in more.as_object().unwrap() {
        report[field] = value.clone();
    }
    report
}

/// An inn with a job that is expected each hour, whose messages come to the sink.
fn hourly(shape: Shape, sink: &HttpSink) -> Inn {
    let inn = Inn::with(shape, &webhook("ops", sink));
    inn.reserve("shop", "backup", json!({ "frequency": 1, "time_units": "hours", "notify": "ops" }));
    inn
}

fn history(inn: &Inn) -> Vec<Value> {
    let id = &inn.job("shop", "backup")["job_id"];
    let answer = inn.read(&format!("/api/v1/reservations/{id}/check-ins?limit=200")).json();
    answer["checkins"].as_array().unwrap().clone()
}

fn each_report_is_answered_by_itself(shape: Shape) {
    let inn = Inn::open(shape);
    inn.reserve("shop", "backup", json!({}));
    let good = || report("log", json!({}));
    let cases = [
        (report("success", json!({ "ago_ms": 6 * 24 * HOUR })), "recorded", ""),
        (report("success", json!({ "ago_ms": 7 * 24 * HOUR + 1000 })), "too_old", "ingest.reports_back"),
        (
            report("success", json!({ "at": "2001-01-01T00:00:00+01:00" })),
            "too_old",
            "2000-12-31 23:00:00 UTC",
        ),
        (report("success", json!({ "at": "2199-01-01T00:00:00Z" })), "refused", "1 minute ahead"),
        (report("success", json!({ "at": "yesterday" })), "refused", "at: \"yesterday\""),
        (report("success", json!({ "at": "2026-01-01T00:00:00Z", "ago_ms": 0 })), "refused", "ago_ms"),
        (report("success", json!({ "ago_ms": -1 })), "refused", "ago_ms: -1"),
        (report("dance", json!({})), "refused", "success, start, fail, log"),
        (json!({ "app": "shop", "component": "backup" }), "refused", "kind: is missing"),
        (json!({ "kind": "success", "component": "backup" }), "refused", "app: is missing"),
        (report("success", json!({ "component": "other" })), "unknown", "shop/other"),
        (report("success", json!({ "key": "no key" })), "refused", "key: \"no key\" is no UUID"),
        (report("success", json!({ "run": 7 })), "refused", "run: must be a text"),
        (report("fail", json!({ "exit_status": 256 })), "refused", "exit_status: 256; allowed: 0 to 255"),
        (report("fail", json!({ "signal": "<b>" })), "refused", "signal: \"<b>\""),
        (report("fail", json!({ "duration_ms": "long" })), "refused", "duration_ms"),
        (report("fail", json!({ "output": ["a"] })), "refused", "output: must be a text"),
        (json!("success"), "refused", "must be an object"),
        (Value::Null, "refused", "must be an object"),
        // What a later agent may say besides costs no job its check-in.
        (report("success", json!({ "figures": { "rows": 3 }, "key": null })), "recorded", ""),
    ];
    let mut reports = Vec::new();
    for (report, ..) in &cases {
        reports.extend([report.clone(), good()]);
    }
    let answer = send(&inn, &json!(reports));
    let statuses = statuses(&answer);
    assert_eq!(answer.json()["output_bytes"], 10_000);
    for (n, (report, status, problem)) in cases.iter().enumerate() {
        assert_eq!(
            (statuses[2 * n].as_str(), statuses[2 * n + 1].as_str()),
            (*status, "recorded"),
            "{report}"
        );
        let said = answer.json()["reports"][2 * n]["problem"].as_str().unwrap_or_default().to_owned();
        assert!(said.contains(problem), "{report}: {said:?} and not {problem:?}");
    }
    assert_eq!(history(&inn).len(), cases.len() + 2);
}

fn a_repeat_is_known(shape: Shape) {
    let inn = Inn::open(shape);
    inn.reserve("shop", "backup", json!({}));
    let key = Uuid::new_v4().to_string();
    let once = report("success", json!({ "key": key, "ago_ms": 100_000, "output": "hello" }));
    assert_eq!(statuses(&send(&inn, &json!([once]))), ["recorded"]);
    let again = report("success", json!({ "key": key.to_uppercase(), "ago_ms": 200_000 }));
    assert_eq!(statuses(&send(&inn, &json!([again, again]))), ["known", "known"]);
    let history = history(&inn);
    assert_eq!((history.len(), &history[0]["notes"]), (1, &json!("hello")));
    // By the ping address it is the same report.
    let mut nameless = once.clone();
    nameless.as_object_mut().unwrap().retain(|field, _| field != "app" && field != "component");
    let path = format!("{}/reports", inn.ping_path("shop", "backup"));
    assert_eq!(statuses(&inn.post(&path, &json!({ "reports": [nameless] }))), ["known"]);
}

fn a_batch_keeps_its_order(shape: Shape) {
    let inn = Inn::open(shape);
    inn.reserve("shop", "backup", json!({}));
    let run = Uuid::new_v4().to_string();
    let reports = json!([
        report("start", json!({ "run": run, "ago_ms": 90_000 })),
        report("log", json!({ "run": run, "ago_ms": 80_000 })),
        report(
            "fail",
            json!({ "run": run, "ago_ms": 60_000, "exit_status": 143, "signal": "SIGTERM",
            "peak_memory_bytes": 12_345_678, "output": "killed" })
        ),
        report("fail", json!({ "ago_ms": 50_000, "signal": "SIGKILL" })),
        report("success", json!({ "ago_ms": 30_000, "duration_ms": 1500 })),
        report("success", json!({})),
    ]);
    assert_eq!(statuses(&send(&inn, &reports)), ["recorded"; 6]);
    let history = history(&inn);
    let kinds: Vec<&str> = history.iter().rev().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["start", "log", "fail", "fail", "success", "success"]);
    let late: Vec<bool> = history.iter().rev().map(|one| one["arrived_at"].is_string()).collect();
    assert_eq!(late, [true, true, true, true, true, false]);
    assert_eq!(history[2]["exit_code"], 137, "as a shell says it");
    let failed = &history[3];
    assert_eq!((&failed["exit_code"], &failed["signal"]), (&json!(143), &json!("SIGTERM")));
    assert_eq!((&failed["duration_ms"], &failed["peak_memory_bytes"]), (&json!(30_000), &json!(12_345_678)));
    assert_eq!(history[1]["duration_ms"], 1500);
    let id = &inn.job("shop", "backup")["job_id"];
    let page = inn.read(&format!("/status/{id}")).body;
    for part in ["reported late, at", "ended by SIGTERM", "used 12.3 MB", "took 30 seconds"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(page.matches("reported late").count(), 5);
}

fn a_ping_address_takes_reports_of_its_own_job(shape: Shape) {
    let inn = Inn::open(shape);
    inn.reserve("shop", "backup", json!({}));
    let path = format!("{}/reports", inn.ping_path("shop", "backup"));
    let post = |path: &str, reports: Value| inn.post(path, &json!({ "reports": reports }));
    let reports =
        json!([{ "kind": "start" }, report("success", json!({})), { "kind": "success", "ago_ms": 7000 }]);
    assert_eq!(statuses(&post(&path, reports)), ["recorded", "refused", "recorded"]);
    let nobody = format!("/ping/{}/reports", Uuid::new_v4());
    assert_eq!(statuses(&post(&nobody, json!([{ "kind": "success" }]))), ["unknown"]);
    let answer = post(&format!("/ping/{}/reports", "-".repeat(36)), json!([{ "kind": "success" }]));
    assert_eq!(answer.status, 404, "{answer:?}");
    // No other address of it means anything else than before.
    assert_eq!(inn.call(&path).status, 400);
    assert_eq!(history(&inn).len(), 2);
}

fn what_is_no_batch_is_refused_as_a_whole(shape: Shape) {
    let inn = Inn::open(shape);
    inn.reserve("shop", "backup", json!({}));
    let good = report("success", json!({}));
    let many = |count: usize| json!({ "reports": vec![good.clone(); count] }).to_string();
    for body in [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        json!({ "reports": good }).to_string(),
        many(0),
        many(101),
    ] {
        let answer = inn.send("POST", "/api/v1/checkins", &[], body.as_bytes());
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    let long = report("log", json!({ "output": "x".repeat(100_000) }));
    let of = |count: usize| json!({ "reports": vec![long.clone(); count] });
    assert_eq!(statuses(&inn.post("/api/v1/checkins", &of(10))), ["recorded"; 10]);
    assert_eq!(inn.post("/api/v1/checkins", &of(11)).status, 413);
    assert_eq!(statuses(&inn.send("POST", "/api/v1/checkins", &[], many(100).as_bytes())).len(), 100);
    let history = history(&inn);
    let kinds: Vec<&Value> = history.iter().map(|one| &one["kind"]).collect();
    assert_eq!((kinds.len(), kinds.iter().filter(|kind| **kind == "success").count()), (110, 100));
}

fn a_late_success_closes_the_alert_that_it_answers(shape: Shape) {
    let sink = HttpSink::start();
    let inn = hourly(shape, &sink);
    inn.age(Duration::from_secs(3600 + 120));
    assert_eq!(notices(&sink, 1)[0]["event"], "opened");
    let answer = send(&inn, &json!([report("success", json!({ "ago_ms": HOUR / 2 }))]));
    assert_eq!(statuses(&answer), ["recorded"]);
    let back = notices(&sink, 2)[1].clone();
    assert_eq!(back["event"], "recovered");
    let subject = back["subject"].as_str().unwrap();
    assert!(
        subject.starts_with("BACK shop/backup: it had run at ") && subject.ends_with("(UTC)"),
        "{subject}"
    );
    let job = inn.job("shop", "backup");
    assert_eq!((&job["state"], &job["failing_sla"]), (&json!("up"), &json!(false)), "{job}");
    let alerts = inn.read(&format!("/api/v1/reservations/{}/alerts", job["job_id"])).json();
    let ending = alerts["alerts"][0]["ending"].as_str().unwrap();
    assert!(ending.starts_with("it had run at "), "{ending}");
    let summary = inn.read("/api/v1/summary").json();
    assert!(!summary.to_string().contains("shop"), "it was no trouble: {summary}");
}

fn a_late_failure_that_is_over_alarms_nobody(shape: Shape) {
    let sink = HttpSink::start();
    let inn = hourly(shape, &sink);
    inn.check_in("shop", "backup");
    let over = report("fail", json!({ "ago_ms": 600_000, "exit_status": 3, "output": "disk full" }));
    assert_eq!(statuses(&send(&inn, &json!([over]))), ["recorded"]);
    eventually("it is noted for the summary", || (inn.database.count("late_failures") == 1).then_some(()));
    let summary = inn.read("/api/v1/summary").json();
    let incident = &summary["recovered"][0];
    assert_eq!(
        (&incident["component"], &incident["reported_late"]),
        (&json!("backup"), &json!(true)),
        "{summary}"
    );
    let id = &inn.job("shop", "backup")["job_id"];
    assert_eq!((inn.database.count("alerts"), &inn.job("shop", "backup")["state"]), (0, &json!("up")));
    let page = inn.read(&format!("/status/{id}")).body;
    assert!(page.contains("disk full") && !page.contains("The end of its output"), "{page}");
    // One that nothing has followed is one like any other.
    inn.age(Duration::from_secs(600));
    assert_eq!(statuses(&send(&inn, &json!([report("fail", json!({ "ago_ms": 100_000 }))]))), ["recorded"]);
    assert_eq!(notices(&sink, 1)[0]["event"], "opened");
}

#[test]
fn a_token_reports_for_its_apps_alone() {
    let instance = Instance::open("");
    let admin = instance.user("admin");
    for app in ["shop", "other"] {
        let body = json!({ "app": app, "component": "backup", "cron": "0 2 * * *" }).to_string();
        assert_eq!(instance.send(&admin, "POST", "/api/v1/reservations", false, &body).status, 201);
    }
    let bound = instance.token(&admin, "bound", "scope=checkin&apps=shop");
    let reports = json!({ "reports": [
        report("success", json!({})), report("success", json!({ "app": "other" })), report("success", json!({ "app": "gone" }))
    ]})
    .to_string();
    let answer = instance.send(&bound, "POST", "/api/v1/checkins", false, &reports);
    assert_eq!(statuses(&answer), ["recorded", "refused", "refused"]);
    assert_eq!(instance.database.count("checkins"), 1);
    let reader = instance.token(&admin, "reader", "scope=read");
    assert_eq!(instance.send(&reader, "POST", "/api/v1/checkins", false, &reports).status, 403);
    assert_eq!(
        instance.send(&common::instance::nobody(), "POST", "/api/v1/checkins", false, &reports).status,
        401
    );
}

#[test]
fn the_bound_is_configured() {
    let inn = Inn::with(Shape::Standalone, "[ingest]\nreports_back = \"1h\"\n");
    inn.reserve("shop", "backup", json!({}));
    let reports = [HOUR - 60_000, HOUR + 1000].map(|ago| report("success", json!({ "ago_ms": ago })));
    assert_eq!(statuses(&send(&inn, &json!(reports))), ["recorded", "too_old"]);
}
