//! An alerter that was removed: its waiting messages cannot be retried, and the form still shows which reservations
//! name it.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::Duration;

use common::{Inn, Shape, eventually, webhook};
use innkeeper_testing::client::Response;
use innkeeper_testing::http_sink::{self, HttpSink};
use serde_json::{Value, json};

in_both_shapes!(
    what_waited_for_it_cannot_be_tried_again_until_there_is_one_of_its_name,
    the_form_shows_it_and_keeps_it_unless_somebody_changes_it,
);

/// What a form carries where there is no session: the same text as the cookie's.
const FORM: &str = "0123456789012345678901234567890123456789012";

/// The page at `path`.
fn page(inn: &Inn, path: &str) -> String {
    let answer = inn.client.send("GET", &inn.at_web(path), &[("accept", "text/html")], b"").unwrap();
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.body
}

/// Sends a form.
fn submit(inn: &Inn, path: &str, fields: &[(&str, &str)]) -> Response {
    let cookie = format!("innkeeper-form={FORM}");
    let headers = [("accept", "text/html"), ("cookie", cookie.as_str())];
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let mut body = format!("csrf={FORM}");
    for (name, value) in fields {
        body.push_str(&format!("&{name}={}", encoded(value)));
    }
    inn.client.send("POST", &inn.at_web(path), &headers, body.as_bytes()).unwrap()
}

fn what_waited_for_it_cannot_be_tried_again_until_there_is_one_of_its_name(shape: Shape) {
    let [ops, chat] = [(); 2].map(|()| HttpSink::start());
    chat.otherwise(http_sink::SinkResponse::status(503));
    let without = format!("operator = [\"ops\"]\n{}", webhook("ops", &ops));
    let with = format!("{without}{}", webhook("chat", &chat));
    let inn = Inn::with(shape, &with);
    inn.reserve("shop", "backup", json!({ "notify": "chat" }));
    inn.age(Duration::from_secs(3600));
    eventually("it is tried", || (!chat.requests().is_empty()).then_some(()));
    inn.reload(&without);
    let id = eventually("it is given up", || {
        inn.database.number("SELECT id FROM deliveries WHERE alerter = 'chat' AND state = 'dead'")
    });
    let retry = || inn.client.post(&inn.at_web(&format!("/api/v1/deliveries/{id}/retry")), &Value::Null);
    let answer = retry();
    let why = "there is no alerter chat any more";
    assert!(answer.status == 409 && answer.body.contains(why), "{answer:?}");
    assert!(answer.body.contains("once one of that name is configured again"), "{answer:?}");
    let answer = submit(&inn, &format!("/deliveries/{id}/retry"), &[]);
    assert!(answer.status == 409 && answer.body.contains(why), "{answer:?}");
    assert_eq!(inn.database.count("deliveries WHERE alerter = 'chat' AND state = 'waiting'"), 0);
    chat.otherwise(http_sink::SinkResponse::status(200));
    let before = chat.requests().len();
    inn.reload(&with);
    assert_eq!(retry().status, 204);
    eventually("it goes out", || (chat.requests().len() > before).then_some(()));
}

fn the_form_shows_it_and_keeps_it_unless_somebody_changes_it(shape: Shape) {
    let [ops, chat] = [(); 2].map(|()| HttpSink::start());
    let config = |more: &str| format!("operator = [\"ops\"]\n{}{more}", webhook("ops", &ops));
    let inn = Inn::with(shape, &config(&webhook("chat", &chat)));
    inn.reserve("shop", "backup", json!({ "notify": "chat, ops", "alerters": "chat, ops" }));
    let id = inn.database.number("SELECT id FROM reservations").unwrap();
    let path = format!("/status/{id}/edit");
    assert!(!page(&inn, &path).contains("here is no alerter"));
    inn.reload(&config(""));
    let form = eventually("the form says that it is gone", || {
        Some(page(&inn, &path)).filter(|form| form.contains("There is no alerter chat"))
    });
    assert!(
        form.contains("value=\"chat\" checked> chat <span class=\"problem\">there is no alerter chat</span>"),
        "{form}"
    );
    assert!(form.contains("value=\"ops\" checked> ops</label>"), "{form}");
    let alerters = || inn.database.text("SELECT alerters FROM reservations").unwrap();
    let version = |form: &str| {
        form.split("name=\"version\" value=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .replace("&#34;", "\"")
    };
    let save = |form: &str, more: &[(&str, &str)]| {
        let version = version(form);
        let same = [
            ("version", version.as_str()),
            ("notify", "chat, ops"),
            ("kind", "every"),
            ("frequency", "1"),
            ("time_units", "minutes"),
            ("alert_after", "1"),
            ("notify_recovery", "1"),
        ];
        submit(&inn, &path, &[&same[..], more].concat())
    };
    // As a browser sends what is ticked.
    let answer = save(&form, &[("alerters", "chat"), ("alerters", "ops"), ("owner", "ada")]);
    assert_eq!(answer.status, 303, "{answer:?}");
    assert_eq!(
        (alerters().as_str(), inn.database.text("SELECT owner FROM reservations").as_deref()),
        ("[\"chat\",\"ops\"]", Some("ada"))
    );
    let answer = save(&page(&inn, &path), &[("alerters", "ops"), ("owner", "ada")]);
    assert_eq!((answer.status, alerters().as_str()), (303, "[\"ops\"]"), "{answer:?}");
}
