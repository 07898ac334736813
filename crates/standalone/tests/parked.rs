//! An alerter that is parked (`enabled = false`): its name stays valid, its messages wait and are told when it is enabled again,
//! and until then everybody can see that they wait.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::Duration;

use common::programs::{configured, run};
use common::{Inn, Shape, events, eventually, webhook};
use innkeeper_testing::http_sink::HttpSink;
use serde_json::{Value, json};

in_both_shapes!(
    its_messages_wait_visibly_and_go_out_when_it_is_enabled_again,
    one_that_is_parked_from_the_start_is_said_to_be,
    the_operator_who_is_parked_hears_it_later,
);

fn parked(name: &str, sink: &HttpSink) -> String {
    format!("{}enabled = false\n", webhook(name, sink))
}

/// The page at `path`.
fn page(inn: &Inn, path: &str) -> String {
    let answer = inn.client.send("GET", &inn.at_web(path), &[("accept", "text/html")], b"").unwrap();
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.body
}

fn its_messages_wait_visibly_and_go_out_when_it_is_enabled_again(shape: Shape) {
    let [ops, chat] = [(); 2].map(|()| HttpSink::start());
    let config = |more: &str| format!("operator = [\"ops\"]\n{}{more}", webhook("ops", &ops));
    let enabled = config(&webhook("chat", &chat));
    let with_chat_parked = config(&parked("chat", &chat));
    let inn = Inn::with(shape, &enabled);
    inn.reserve("shop", "backup", json!({ "notify": "chat" }));
    inn.reload(&with_chat_parked);
    let is_parked = "chat is parked (enabled = false): messages through it wait until it is enabled again";
    eventually("the log says it", || inn.logs().contains(&format!("alerter.{is_parked}")).then_some(()));
    // Its name is as good as before, in every protocol, and the answer names nothing that leads nowhere.
    inn.reserve("shop", "new", json!({ "notify": "chat", "alerters": "chat" }));
    let set = json!({ "reservations": [{ "app": "shop", "component": "declared", "frequency": 10, "time_units": "hours", "notify": ["chat"] }] });
    let answer = inn.client.send(
        "PUT",
        &inn.at_web("/api/v1/apply"),
        &[("content-type", "application/json")],
        set.to_string().as_bytes(),
    );
    let answer = answer.unwrap();
    assert!(answer.status == 200 && !answer.body.contains("no configured alerter"), "{answer:?}");
    // Both alerts open, and wait: all that the reservations have is parked.
    inn.age(Duration::from_secs(3600));
    let waiting = "deliveries WHERE alerter = 'chat' AND state = 'waiting' AND event = 'opened'";
    eventually("the alerts wait", || (inn.database.count(waiting) == 2).then_some(()));
    // What looks for alerters that are gone has looked when the message for one that never was is given up.
    inn.database.execute(
        "INSERT INTO deliveries (event, alerter, recipient, notice, key, state, attempts, next_at, created_at)
         SELECT 'operator', 'never', '', notice, 'never', 'waiting', 0, next_at, created_at
         FROM deliveries WHERE id = (SELECT MIN(id) FROM deliveries WHERE alerter = 'chat')",
    );
    let given_up = "deliveries WHERE alerter = 'never' AND state = 'dead'";
    eventually("what leads nowhere is given up", || (inn.database.count(given_up) == 1).then_some(()));
    assert_eq!(inn.database.count(waiting), 2, "nothing is given up");
    assert_eq!(chat.requests().len(), 0);
    let told: Vec<String> = ops.requests().iter().map(|told| told.json()["text"].to_string()).collect();
    assert!(
        told.iter().all(|text| !text.contains("no configured alerter") && !text.contains("no alerter chat")),
        "{told:?}"
    );

    // Everybody who looks sees why.
    let nodes = inn.read("/nodes").json();
    assert_eq!(nodes["parked"], json!([{ "alerter": "chat", "waiting": 2 }]), "{nodes}");
    for path in ["/nodes", "/deliveries"] {
        let shown = page(&inn, path);
        assert!(shown.contains(is_parked) && shown.contains("waiting now: 2 messages"), "{path}: {shown}");
    }
    let id = inn.database.number("SELECT id FROM reservations WHERE component = 'backup'").unwrap();
    assert!(page(&inn, &format!("/status/{id}")).contains(is_parked));
    let settings = page(&inn, "/settings");
    assert!(settings.contains("<span class=\"tag\">parked</span>"), "{settings}");
    let shown = inn.read(&format!("/api/v1/reservations/{id}")).json();
    assert!(shown["warnings"].to_string().contains(is_parked), "{shown}");
    let of_database = format!("[database]\nurl = \"{}\"\n", inn.database.url());
    let directory = configured(&format!("{with_chat_parked}{of_database}"));
    let (code, out, err) = run("innkeeper", directory.path(), &["check-config"], &[]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains(&format!("Warning: alerter.{is_parked}")), "{out}");
    assert!(out.contains("alerter chat     webhook, parked") && !out.contains("would not reach"), "{out}");

    // A restart changes nothing of it; the recovery waits behind the alert.
    inn.check_in("shop", "new");
    eventually("the recovery waits, too", || {
        (inn.database.count("deliveries WHERE alerter = 'chat' AND state = 'waiting'") == 3).then_some(())
    });
    inn.reload(&enabled);
    let mut heard = eventually("all of it goes out", || Some(events(&chat)).filter(|all| all.len() == 3));
    let last = heard.iter().position(|event| event == "recovered shop/new").unwrap();
    assert!(heard.iter().position(|event| event == "opened shop/new").unwrap() < last, "{heard:?}");
    heard.sort();
    assert_eq!(heard, ["opened shop/backup", "opened shop/new", "recovered shop/new"]);
    eventually("it is said no more", || (inn.read("/nodes").json()["parked"] == json!([])).then_some(()));
    eventually("nor on the page", || (!page(&inn, "/deliveries").contains("is parked")).then_some(()));
}

fn one_that_is_parked_from_the_start_is_said_to_be(shape: Shape) {
    let [ops, chat] = [(); 2].map(|()| HttpSink::start());
    let config = |chat: &str| format!("operator = [\"ops\"]\n{}{chat}", webhook("ops", &ops));
    let inn = Inn::with(shape, &config(&parked("chat", &chat)));
    let programs = if let Shape::Standalone = shape { 1 } else { 3 };
    let said = "alerter.chat is parked (enabled = false)";
    eventually("each program says it", || (inn.logs().matches(said).count() == programs).then_some(()));
    inn.reserve("shop", "backup", json!({ "notify": "chat, ops" }));
    inn.age(Duration::from_secs(3600));
    eventually("who is not parked hears of it", || {
        events(&ops).contains(&"opened shop/backup".to_owned()).then_some(())
    });
    assert_eq!(inn.database.count("deliveries WHERE alerter = 'chat' AND state = 'waiting'"), 1);
    inn.reload(&config(&webhook("chat", &chat)));
    eventually("the other hears of it later", || (events(&chat) == ["opened shop/backup"]).then_some(()));
}

fn the_operator_who_is_parked_hears_it_later(shape: Shape) {
    let ops = HttpSink::start();
    let inn = Inn::with(shape, &format!("operator = [\"ops\"]\n{}", parked("ops", &ops)));
    // A dead end, which the operator is told of by this process itself.
    let answer = inn.post("/reservation", &json!({
        "app": "shop", "component": "lost", "frequency": 1, "time_units": "hours", "notify": "a@example.org",
    }));
    assert_eq!(answer.status, 200, "{answer:?}");
    eventually("it waits", || inn.logs().contains("a message to the operator waits").then_some(()));
    assert_eq!(ops.requests().len(), 0);
    inn.reload(&format!("operator = [\"ops\"]\n{}", webhook("ops", &ops)));
    eventually("it is told", || {
        let told: Vec<Value> = ops.requests().iter().map(|told| told.json()).collect();
        told.iter().any(|told| told["text"].to_string().contains("shop/lost")).then_some(())
    });
}
