//! Figures end to end: by every protocol they come in, and in the history, the API, the page, the metrics and the alert they show.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::{Inn, Shape, eventually};
use innkeeper_testing::client::Response;
use serde_json::{Value, json};

const FORM: &str = "0123456789012345678901234567890123456789012";

fn make(inn: &Inn, component: &str, expect: &[&str]) -> Value {
    let body = json!({ "app": "shop", "component": component, "frequency": 1, "time_units": "days", "notify": ["log"], "expect": expect });
    let made = inn.send("POST", "/api/v1/reservations", &[], body.to_string().as_bytes());
    assert_eq!(made.status, 201, "{made:?}");
    made.json()
}

fn read(inn: &Inn, path: &str) -> Value {
    let answer = inn.read(path);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

/// The figures of its latest check-in.
fn latest(inn: &Inn, job: &Value) -> Value {
    read(inn, &format!("/api/v1/reservations/{}/check-ins?limit=1", job["id"]))["checkins"][0]["figures"]
        .clone()
}

fn ping(inn: &Inn, job: &Value, rest: &str, body: &[u8]) -> Response {
    inn.send("POST", &format!("/ping/{}{rest}", key(job)), &[], body)
}

fn key(job: &Value) -> String {
    let url = job["ping_url"].as_str().unwrap();
    url.rsplit('/').next().unwrap().to_owned()
}

/// Why it is down, once it is; or once it is not.
fn reason(inn: &Inn, job: &Value, is_down: bool) -> Value {
    let path = format!("/api/v1/reservations/{}", job["id"]);
    eventually("the sweeper has looked", || ((read(inn, &path)["state"] == "down") == is_down).then_some(()));
    read(inn, &path)["reason"].clone()
}

#[test]
fn each_protocol_brings_them() {
    let inn = Inn::open(Shape::Standalone);
    let job = make(&inn, "backup", &[]);
    let post = |path: &str, body: Value| inn.send("POST", path, &[], body.to_string().as_bytes());

    let body = json!({ "app": "shop", "component": "backup", "figures": { "rows": 1200, "share": 0.25 } });
    assert_eq!(post("/checkin", body).status, 200);
    assert_eq!(latest(&inn, &job), json!({ "rows": 1200, "share": 0.25 }));

    let body = json!({ "app": "shop", "component": "backup", "notes": "done\n::figure rows=3\n" });
    assert_eq!(post("/checkin", body).status, 200);
    assert_eq!(latest(&inn, &job), json!({ "rows": 3 }));

    assert_eq!(ping(&inn, &job, "?figure=rows=4&figure=used%3D5e3", b"").status, 200);
    assert_eq!(latest(&inn, &job), json!({ "rows": 4, "used": 5000 }));

    // Wherever it stands in a long log, of which the middle is not kept.
    let line = "x".repeat(1000) + "\n";
    let log = format!(
        "{}::figure rows=5\r\n::figure used=6\n{}::figure last=7",
        line.repeat(100),
        line.repeat(100)
    );
    assert_eq!(ping(&inn, &job, "/0?figure=used=1", log.as_bytes()).status, 200);
    assert_eq!(latest(&inn, &job), json!({ "rows": 5, "used": 1, "last": 7 }), "the query wins");

    let report = json!({ "app": "shop", "component": "backup", "kind": "fail", "figures": { "rows": 8 }, "output": "::figure rows=1\n::figure used=9" });
    let reported = post("/api/v1/checkins", json!({ "reports": [report] })).json();
    assert_eq!(reported["reports"], json!([{ "status": "recorded" }]));
    assert_eq!(latest(&inn, &job), json!({ "rows": 8, "used": 9 }));

    let body = json!({ "cronname": "backup", "account": "shop", "email": "log", "frequency": 86_400, "figures": { "rows": 10 } });
    assert_eq!(post("/", body).status, 201);
    assert_eq!(latest(&inn, &job), json!({ "rows": 10 }));
    let query = "/?cronname=backup&account=shop&email=log&frequency=86400&figure=rows=11";
    assert_eq!(inn.send("GET", query, &[("accept", "*/*")], b"").status, 201);
    assert_eq!(latest(&inn, &job), json!({ "rows": 11 }));
}

#[test]
fn a_bad_figure_is_told_and_costs_nothing() {
    let inn = Inn::open(Shape::Standalone);
    let job = make(&inn, "backup", &[]);
    let warned = |answer: &Response, words: &str| {
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        let warning = answer.header("warning").unwrap_or_default().to_owned();
        assert!(warning.contains(words), "{warning}");
    };
    warned(&ping(&inn, &job, "?figure=rows=many&figure=used=2", b""), "give a number");
    assert_eq!(latest(&inn, &job), json!({ "used": 2 }));
    warned(&ping(&inn, &job, "", b"::figure rows=1\n::figure 9=3\n"), "has no name of a figure");
    assert_eq!(latest(&inn, &job), json!({ "rows": 1 }));
    for (figures, kept) in [
        (json!([1, 2]), json!({})),
        (json!({ "rows": "1200", "b": null }), json!({ "rows": 1200 })),
        (json!({ "rows": 1e308, "x y": 1 }), json!({ "rows": 1e308 })),
    ] {
        let body = json!({ "app": "shop", "component": "backup", "figures": figures });
        warned(&inn.send("POST", "/checkin", &[], body.to_string().as_bytes()), "figure");
        assert_eq!(latest(&inn, &job), kept);
    }
    let many: serde_json::Map<String, Value> = (0..30).map(|n| (format!("f{n:02}"), json!(n))).collect();
    let report = json!({ "app": "shop", "component": "backup", "kind": "success", "figures": many });
    let answer =
        inn.send("POST", "/api/v1/checkins", &[], json!({ "reports": [report] }).to_string().as_bytes());
    let outcome = &answer.json()["reports"][0];
    assert_eq!(outcome["status"], "recorded");
    assert!(outcome["problem"].as_str().unwrap().contains("one too many: 20"), "{outcome}");
    assert_eq!(latest(&inn, &job).as_object().unwrap().len(), 20);
}

#[test]
fn a_success_that_did_nothing_is_told_with_its_reason() {
    let inn = Inn::open(Shape::Standalone);
    let job = make(&inn, "backup", &["rows > 0", "bytes >= 0.5 * median(10)"]);
    assert_eq!(job["expect"], json!(["rows > 0", "bytes >= 0.5 * median(10)"]));
    assert_eq!(ping(&inn, &job, "?figure=rows=0&figure=bytes=1", b"").status, 200);
    let told = reason(&inn, &job, true);
    let told = told.as_str().unwrap();
    assert!(
        told.starts_with("Ended well at ") && told.ends_with(", but rows was 0; expected: rows > 0."),
        "{told}"
    );
    assert_eq!(ping(&inn, &job, "?figure=rows=2&figure=bytes=1", b"").status, 200);
    reason(&inn, &job, false);
    assert_eq!(ping(&inn, &job, "", b"").status, 200);
    let told = reason(&inn, &job, true);
    assert!(told.as_str().unwrap().contains("rows is missing"), "{told}");
    let log = inn.logs();
    assert!(log.contains("rows was 0; expected: rows > 0"), "{log}");
}

#[test]
fn what_is_right_from_now_on_is_accepted_by_the_api_and_the_page() {
    let inn = Inn::open(Shape::Standalone);
    let job = make(&inn, "backup", &["rows >= 0.5 * median(10)"]);
    let id = job["id"].as_i64().unwrap();
    let bring = |rows: i64| assert_eq!(ping(&inn, &job, &format!("?figure=rows={rows}"), b"").status, 200);
    let figures = || read(&inn, &format!("/api/v1/reservations/{id}/figures"));
    let page = || inn.read(&format!("/status/{id}")).body;
    assert_eq!(figures()["expect"][0]["state"], "unknown");
    bring(100);
    let expected = &figures()["expect"][0];
    assert_eq!(
        (&expected["state"], &expected["says"]),
        (&json!("too_few"), &json!("passes: its median needs three values, and has none"))
    );
    assert!(page().contains("passes: its median needs three values"));
    for _ in 0..4 {
        bring(100);
    }
    assert_eq!(figures()["expect"][0]["state"], "holds");
    bring(30);
    reason(&inn, &job, true);
    let now = figures();
    assert_eq!(
        (&now["expect"][0]["state"], &now["figures"]["rows"][5]),
        (&json!("broken"), &json!({ "value": 30, "counts": false }))
    );
    let shown = page();
    for part in [
        "Accept these figures",
        "class=\"sparkline\"",
        "the last 6 values, from 30 to 100; 1 of them from failures or unexpected successes",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    let accept = || inn.send("POST", &format!("/api/v1/reservations/{id}/accept-figures"), &[], b"");
    assert_eq!(accept().status, 200);
    reason(&inn, &job, false);
    assert!(
        page().contains("its figures were accepted as right from now on")
            || !page().contains("Accept these figures")
    );
    let refused = accept();
    assert_eq!(refused.status, 409, "{refused:?}");
    bring(30);
    bring(28);
    bring(10);
    reason(&inn, &job, true);
    let form = format!("csrf={FORM}");
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("cookie", &format!("innkeeper-form={FORM}") as &str),
    ];
    let accepted = inn.send("POST", &format!("/status/{id}/accept-figures"), &headers, form.as_bytes());
    assert_eq!(accepted.status, 303, "{accepted:?}");
    reason(&inn, &job, false);
    let audit = read(&inn, "/api/v1/audit").to_string();
    assert!(audit.contains("accept figures") && audit.contains("rows was 10"), "{audit}");
}

#[test]
fn what_is_expected_is_checked_and_written_everywhere() {
    let inn = Inn::open(Shape::Standalone);
    let job = make(&inn, "backup", &["rows>0"]);
    let body = json!({ "app": "shop", "component": "other", "frequency": 1, "time_units": "days", "notify": "", "expect": "rows > 0, used<=10" });
    assert_eq!(inn.send("POST", "/reservation", &[], body.to_string().as_bytes()).status, 200);
    let export = inn.read("/api/v1/export").body;
    for part in [r#""expect":["rows > 0"]"#, r#""expect":["rows > 0","used <= 10"]"#] {
        assert!(export.contains(part), "{export}");
    }
    for (expect, words) in [
        (json!(["rows"]), "one of < <= == != >= > must stand"),
        (json!(["rows > median(2)"]), "3 to 50 values"),
        (json!(vec!["rows > 0"; 11]), "11 clauses"),
    ] {
        let body = json!({ "app": "shop", "component": "third", "frequency": 1, "time_units": "days", "expect": expect });
        let answer = inn.send("POST", "/api/v1/reservations", &[], body.to_string().as_bytes());
        assert_eq!((answer.status, &answer.json()["field"]), (400, &json!("expect")), "{answer:?}");
        assert!(answer.body.contains(words), "{answer:?}");
    }
    let edit = inn.read(&format!("/status/{}/edit", job["id"])).body;
    assert!(edit.contains("rows &gt; 0") || edit.contains("rows &#62; 0"), "{edit}");
}

#[test]
fn metrics_have_them_where_they_are_asked_for() {
    let inn = Inn::open(Shape::Standalone);
    let job = make(&inn, "back\"up", &[]);
    assert_eq!(ping(&inn, &job, "/start", b"").status, 200);
    assert_eq!(ping(&inn, &job, "?figure=rows=4", b"").status, 200);
    assert!(!inn.read("/metrics").body.contains("innkeeper_figure"));
    for query in ["figures=shop", "figures=*", "figures=none&figures=shop&figures=shop"] {
        let text = inn.read(&format!("/metrics?{query}")).body;
        assert_eq!(text.matches("innkeeper_figure{").count(), 1, "{text}");
        assert!(
            text.contains(r#"innkeeper_figure{app="shop",component="back\"up",figure="rows"} 4"#),
            "{text}"
        );
        assert!(text.contains(r#"innkeeper_run_seconds{app="shop",component="back\"up"} "#), "{text}");
    }
    assert!(!inn.read("/metrics?figures=none").body.contains("innkeeper_figure{"));
}
