//! How often an open alert is told again, as people write it: by the form, the API, GoTel's call and the configuration.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::{Inn, Shape, eventually, webhook};
use innkeeper_testing::client::Response;
use innkeeper_testing::http_sink::HttpSink;
use serde_json::{Value, json};

in_both_shapes!(
    each_failed_run_is_asked_for_by_a_form,
    it_is_a_text_of_the_api_and_of_gotels_call,
    it_may_be_what_is_usual
);

/// What a form carries where there is no session: the same text as the cookie's.
const FORM: &str = "0123456789012345678901234567890123456789012";

fn page(inn: &Inn, path: &str) -> String {
    let answer = inn.client.send("GET", &inn.at_web(path), &[("accept", "text/html")], b"").unwrap();
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.body
}

/// Makes a reservation by the form, told again so often.
fn make(inn: &Inn, component: &str, remind_every: &str) -> Response {
    let cookie = format!("innkeeper-form={FORM}");
    let headers = [("accept", "text/html"), ("cookie", cookie.as_str())];
    let body = format!(
        "csrf={FORM}&app=shop&component={component}&kind=every&frequency=1&time_units=hours&alert_after=1&notify_recovery=1\
         &remind_every={remind_every}"
    );
    inn.client.send("POST", &inn.at_web("/new"), &headers, body.as_bytes()).unwrap()
}

/// The only reservation, as the API has it.
fn document(inn: &Inn) -> Value {
    let id = inn.database.number("SELECT id FROM reservations").unwrap();
    let answer = inn.client.get(&inn.at_web(&format!("/api/v1/reservations/{id}")));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn each_failed_run_is_asked_for_by_a_form(shape: Shape) {
    let inn = Inn::with(shape, "operator = [\"log\"]\n");
    let answer = make(&inn, "backup", "often");
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.body.contains("or each, for each failed run"), "{}", answer.body);
    assert_eq!(make(&inn, "backup", "Each").status, 303);
    assert_eq!(inn.database.number("SELECT remind_every_ms FROM reservations"), Some(-1));
    let id = inn.database.number("SELECT id FROM reservations").unwrap();
    assert!(page(&inn, &format!("/status/{id}/edit")).contains("name=\"remind_every\" value=\"each\""));
    assert!(page(&inn, &format!("/status/{id}")).contains("at each failed run"));
    assert_eq!(document(&inn)["remind_every"], "each");
    assert_eq!(inn.job("shop", "backup")["remind_every"], "each");
}

fn it_is_a_text_of_the_api_and_of_gotels_call(shape: Shape) {
    let inn = Inn::with(shape, "operator = [\"log\"]\n");
    inn.reserve("shop", "backup", json!({ "remind_every": "each" }));
    let mut made = document(&inn);
    assert_eq!(made["remind_every"], "each");
    for (text, said) in [("1h30m", "1h30m"), ("once", "0s"), ("each", "each"), ("0s", "0s")] {
        made = json!({ "app": "shop", "component": "backup", "frequency": 1, "time_units": "hours", "remind_every": text });
        let body = serde_json::to_vec(&json!({ "reservations": [made] })).unwrap();
        let url = inn.at_web("/api/v1/apply");
        let answer = inn.client.send("POST", &url, &[("content-type", "application/json")], &body).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(document(&inn)["remind_every"], said);
    }
    let toml = "[[reservations]]\napp = \"shop\"\ncomponent = \"backup\"\nfrequency = 1\ntime_units = \"hours\"\nremind_every = \"each\"\n";
    let url = inn.at_web("/api/v1/apply");
    let answer =
        inn.client.send("POST", &url, &[("content-type", "application/toml")], toml.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains("remind_every: off -> each"), "{}", answer.body);
}

fn it_may_be_what_is_usual(shape: Shape) {
    let sink = HttpSink::start();
    let inn = Inn::with(shape, &format!("[sweeper]\nremind_every = \"each\"\n{}", webhook("hook", &sink)));
    inn.reserve("shop", "backup", json!({ "notify": "hook" }));
    assert_eq!(document(&inn)["remind_every"], "each");
    assert!(page(&inn, "/new").contains("name=\"remind_every\" value=\"each\""));
    let key = inn.database.text("SELECT key FROM reservations").unwrap();
    for count in 1..4 {
        assert_eq!(inn.call(&format!("/ping/{key}/fail")).status, 200);
        eventually("it is told", || (sink.requests().len() == count).then_some(()));
    }
    let events: Vec<Value> = sink.requests().iter().map(|request| request.json()["event"].clone()).collect();
    assert_eq!(events, ["opened", "reminder", "reminder"]);
}
