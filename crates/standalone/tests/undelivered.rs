//! A message that its provider refuses: the operator is told through another alerter, `/metrics` counts it, and the
//! list marks its job.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::Duration;

use common::{Inn, Shape, eventually, webhook};
use innkeeper_testing::http_sink::{HttpSink, SinkResponse};
use serde_json::json;

in_both_shapes!(a_message_given_up_is_told_counted_and_shown);

fn a_message_given_up_is_told_counted_and_shown(shape: Shape) {
    let [ops, chat] = [(); 2].map(|()| HttpSink::start());
    chat.otherwise(SinkResponse::status(404).body("no such channel"));
    let config = format!("operator = [\"ops\"]\n{}{}", webhook("ops", &ops), webhook("chat", &chat));
    let inn = Inn::with(shape, &config);
    inn.reserve("shop", "backup", json!({ "notify": "chat" }));
    inn.reserve("shop", "quiet", json!({ "notify": "" }));
    inn.age(Duration::from_secs(3600));
    let told = eventually("the operator hears of it", || {
        ops.requests()
            .iter()
            .map(|request| request.json())
            .find(|told| told["subject"].as_str().unwrap().contains("chat"))
    });
    assert_eq!(told["subject"], "Messages through chat do not get through");
    let text = told["text"].as_str().unwrap();
    assert!(
        text.contains("through chat: 1 message was given up: ") && text.contains("no such channel"),
        "{text}"
    );
    let metrics = inn.read("/metrics").body;
    assert!(metrics.contains("innkeeper_undelivered{alerter=\"chat\",state=\"given_up\"} 1"), "{metrics}");
    let headers = [("accept", "text/html,*/*;q=0.8")];
    let page = |path: &str| inn.client.send("GET", &inn.at_web(path), &headers, b"").unwrap().body;
    let mark = "1 message about its latest alert was given up";
    assert_eq!(page("/status").matches(mark).count(), 1);
    let id = inn.database.number("SELECT id FROM reservations WHERE component = 'backup'").unwrap();
    assert!(page(&format!("/status/{id}")).contains(mark));
    let shown = |path: &str| inn.client.get(&inn.at_web(path)).json();
    let warned = |reservation: &serde_json::Value| reservation["warnings"].to_string();
    assert!(warned(&shown(&format!("/api/v1/reservations/{id}"))).contains(mark));
    let listed = shown("/api/v1/reservations?app=shop");
    let [backup, quiet] = [0, 1].map(|place| &listed["reservations"][place]);
    assert!(warned(backup).contains(mark) && warned(backup).contains("no such channel"), "{backup}");
    assert_eq!((quiet["component"].as_str(), warned(quiet).as_str()), (Some("quiet"), "[]"));
}
