//! The effect of GoTel's fields, and of those that Innkeeper adds to a reservation, on its alerts.

mod common;

use std::time::Duration;

use common::{Inn, Shape, event, events, eventually, notices, webhook};
use innkeeper_testing::http_sink::HttpSink;
use serde_json::{Value, json};

in_both_shapes![
    every_placeholder_is_filled,
    without_a_message_the_usual_one_is_sent,
    a_snooze_silences,
    a_snooze_of_an_open_alert_silences_its_reminders,
    an_alert_is_sent_once_and_its_end,
    reminders_come_as_often_as_wished,
    misses_in_a_row_are_counted,
    recovery_can_be_silent,
    a_run_too_long_and_a_run_too_short,
    alerters_narrow_notify,
    a_checkout_ends_its_alert,
];

const MINUTE: Duration = Duration::from_secs(60);

/// An inn with the alerter `hook`, which posts to the sink.
fn with_hook(shape: Shape) -> (Inn, HttpSink) {
    let sink = HttpSink::start();
    (Inn::with(shape, &webhook("hook", &sink)), sink)
}

/// Waits until the sweeper has looked at what is due by now.
fn swept(inn: &Inn) {
    eventually("the sweep", || {
        let now = chrono::Utc::now().timestamp_millis();
        (inn.database.count(&format!("states WHERE wake_at <= {now}")) == 0).then_some(())
    });
}

fn every_placeholder_is_filled(shape: Shape) {
    let (inn, sink) = with_hook(shape);
    let message = "{jobid}|{app}|{component}|{owner}|{notify}|{frequency}|{last}|{since}|{checkins}|{srv}|{reason}|\
                   {deadline}|{notes}|{url}|{unknown}|{{app}}|{app";
    inn.reserve(
        "shop",
        "{owner}",
        json!({ "owner": "{app} <Ada>", "notify": "hook", "alert_msg": message, "frequency": 5 }),
    );
    for notes in ["first", "{component} & {notes}"] {
        inn.post("/checkin", &json!({ "app": "shop", "component": "{owner}", "notes": notes }));
    }
    inn.age(6 * MINUTE);
    let notice = &notices(&sink, 1)[0];
    let alert = &notice["alert"];
    let text = notice["text"].as_str().expect("a text");
    let filled = text.lines().next().expect("a first line");
    let parts: Vec<&str> = filled.split('|').collect();
    assert_eq!(parts.len(), 17, "{filled}");
    assert_eq!(parts[0], inn.job("shop", "{owner}")["job_id"].to_string());
    // What a placeholder brings in is not filled again.
    assert_eq!(parts[1..6], ["shop", "{owner}", "{app} <Ada>", "hook", "5minutes"]);
    let last =
        chrono::NaiveDateTime::parse_from_str(parts[6], "%a, %d %b %Y %H:%M:%S UTC").expect("RFC 1123");
    let last_checkin_at: chrono::DateTime<chrono::Utc> =
        alert["last_checkin_at"].as_str().expect("a time").parse().expect("RFC 3339");
    assert_eq!(last.and_utc().timestamp(), last_checkin_at.timestamp());
    assert!(parts[7].starts_with("6 minutes") && parts[7].ends_with(" ago"), "{filled}");
    assert_eq!(parts[8], "2");
    assert!(!parts[9].is_empty() && !parts[9].contains('{'), "{filled}");
    assert_eq!(parts[10], alert["reason"].as_str().expect("a reason"));
    let deadline = (last_checkin_at + 5 * MINUTE).format("%Y-%m-%d %H:%M:%S UTC").to_string();
    // A whole minute is written without its seconds.
    assert_eq!(parts[11], deadline.replace(":00 UTC", " UTC"));
    assert_eq!(parts[12], "{component} & {notes}");
    assert!(parts[13].starts_with("http://127.0.0.1:"), "{filled}");
    assert_eq!(parts[14..], ["{unknown}", "{shop}", "{app"]);
    assert_eq!(notice["subject"], "DOWN shop/{owner}: has not checked in");
}

fn without_a_message_the_usual_one_is_sent(shape: Shape) {
    let (inn, sink) = with_hook(shape);
    inn.reserve(
        "shop",
        "backup",
        json!({ "notify": "hook", "owner": "Ada", "description": "copies the shop", "tags": "db, night" }),
    );
    inn.age(2 * MINUTE);
    let notice = &notices(&sink, 1)[0];
    let text = notice["text"].as_str().expect("a text");
    assert!(text.starts_with("shop/backup has not checked in. It is overdue since "), "{text}");
    for part in ["never", "every minute", "Ada", "copies the shop", "db, night"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let alert = &notice["alert"];
    assert_eq!((&alert["description"], &alert["tags"]), (&json!("copies the shop"), &json!(["db", "night"])));
}

fn a_snooze_silences(shape: Shape) {
    let (inn, sink) = with_hook(shape);
    for component in ["asleep", "awake"] {
        inn.reserve("shop", component, json!({ "notify": "hook" }));
    }
    let answer = inn.post(
        "/snooze",
        &json!({ "app": "shop", "component": "asleep", "duration": 2, "time_units": "hours" }),
    );
    assert_eq!(answer.status, 200);
    inn.age(60 * MINUTE);
    notices(&sink, 1);
    swept(&inn);
    assert_eq!(events(&sink), ["opened shop/awake"], "the other was looked at, and is silent");
    assert_eq!(inn.job("shop", "asleep")["failing_sla"], false);
    // From the snooze's end it counts anew.
    inn.age(60 * MINUTE + Duration::from_secs(20));
    swept(&inn);
    assert_eq!(events(&sink), ["opened shop/awake"]);
    inn.age(MINUTE);
    assert_eq!(event(&notices(&sink, 2)[1]), "opened shop/asleep");
}

fn a_snooze_of_an_open_alert_silences_its_reminders(shape: Shape) {
    let (inn, sink) = with_hook(shape);
    for component in ["asleep", "awake"] {
        inn.reserve("shop", component, json!({ "notify": "hook", "remind_every": "10m" }));
    }
    inn.age(2 * MINUTE);
    notices(&sink, 2);
    inn.post(
        "/pause",
        &json!({ "app": "shop", "component": "asleep", "frequency": 1, "time_units": "days" }),
    );
    inn.age(11 * MINUTE);
    assert_eq!(event(&notices(&sink, 3)[2]), "reminder shop/awake");
    swept(&inn);
    // A check-in within the snooze is the end of the alert all the same.
    inn.check_in("shop", "asleep");
    assert_eq!(event(&notices(&sink, 4)[3]), "recovered shop/asleep");
}

fn an_alert_is_sent_once_and_its_end(shape: Shape) {
    let (inn, sink) = with_hook(shape);
    inn.reserve("shop", "backup", json!({ "notify": "hook", "remind_every": "0s" }));
    inn.age(2 * MINUTE);
    notices(&sink, 1);
    for _ in 0..3 {
        inn.age(7 * 24 * 60 * MINUTE);
        swept(&inn);
    }
    inn.check_in("shop", "backup");
    let told = notices(&sink, 2);
    assert_eq!(events(&sink), ["opened shop/backup", "recovered shop/backup"]);
    assert_eq!(told[0]["alert"]["dedup_key"], told[1]["alert"]["dedup_key"]);
    assert_ne!(told[0]["idempotency_key"], told[1]["idempotency_key"]);
    assert!(
        told[1]["text"].as_str().expect("a text").starts_with("shop/backup is back online"),
        "{}",
        told[1]
    );
    // The next miss is another incident.
    inn.age(2 * MINUTE);
    let again = &notices(&sink, 3)[2];
    assert_eq!(event(again), "opened shop/backup");
    assert_ne!(again["alert"]["dedup_key"], told[0]["alert"]["dedup_key"]);
}

fn reminders_come_as_often_as_wished(shape: Shape) {
    let sink = HttpSink::start();
    let inn = Inn::with(shape, &format!("[sweeper]\nremind_every = \"2h\"\n{}", webhook("hook", &sink)));
    inn.reserve("shop", "usual", json!({ "notify": "hook" }));
    inn.reserve("shop", "own", json!({ "notify": "hook", "remind_every": 1800 }));
    inn.age(2 * MINUTE);
    notices(&sink, 2);
    inn.age(31 * MINUTE);
    assert_eq!(event(&notices(&sink, 3)[2]), "reminder shop/own");
    inn.age(31 * MINUTE);
    assert_eq!(event(&notices(&sink, 4)[3]), "reminder shop/own");
    inn.age(60 * MINUTE);
    let mut last: Vec<String> = notices(&sink, 6)[4..].iter().map(event).collect();
    last.sort();
    assert_eq!(last, ["reminder shop/own", "reminder shop/usual"]);
}

fn misses_in_a_row_are_counted(shape: Shape) {
    let (inn, sink) = with_hook(shape);
    inn.reserve("shop", "thrice", json!({ "notify": "hook", "alert_after": 3 }));
    inn.reserve("shop", "witness", json!({ "notify": "hook", "frequency": 2 }));
    inn.age(Duration::from_secs(150));
    notices(&sink, 1);
    swept(&inn);
    assert_eq!(events(&sink), ["opened shop/witness"]);
    inn.age(MINUTE);
    let alert = &notices(&sink, 2)[1];
    assert_eq!(event(alert), "opened shop/thrice");
    assert!(alert["alert"]["reason"].as_str().expect("a reason").contains("3 in a row"), "{alert}");
}

fn recovery_can_be_silent(shape: Shape) {
    let (inn, sink) = with_hook(shape);
    inn.reserve("shop", "quiet", json!({ "notify": "hook", "notify_recovery": false }));
    inn.reserve("shop", "witness", json!({ "notify": "hook" }));
    inn.age(2 * MINUTE);
    notices(&sink, 2);
    inn.check_in("shop", "quiet");
    eventually("the end of the alert", || (inn.job("shop", "quiet")["state"] == "up").then_some(()));
    inn.check_in("shop", "witness");
    assert_eq!(event(&notices(&sink, 3)[2]), "recovered shop/witness");
    assert_eq!(sink.requests().len(), 3);
}

fn a_run_too_long_and_a_run_too_short(shape: Shape) {
    let (inn, sink) = with_hook(shape);
    inn.reserve("shop", "long", json!({ "notify": "hook", "frequency": 99, "max_run": "20m" }));
    inn.reserve("shop", "short", json!({ "notify": "hook", "frequency": 99, "min_run": 60 }));
    let ping = |component: &str, action: &str| {
        let answer = inn.call(&format!("{}{action}", inn.ping_path("shop", component)));
        assert_eq!((answer.status, answer.body.as_str()), (200, "OK"), "{answer:?}");
    };
    ping("long", "/start");
    assert_eq!(inn.job("shop", "long")["state"], "running");
    inn.age(21 * MINUTE);
    let alert = &notices(&sink, 1)[0];
    assert_eq!((event(alert).as_str(), &alert["alert"]["cause"]), ("opened shop/long", &json!("overran")));
    ping("long", "");
    assert_eq!(event(&notices(&sink, 2)[1]), "recovered shop/long");

    ping("short", "/start");
    inn.age(Duration::from_secs(5));
    ping("short", "");
    let alert = &notices(&sink, 3)[2];
    assert_eq!((event(alert).as_str(), &alert["alert"]["cause"]), ("opened shop/short", &json!("failed")));
    assert!(alert["alert"]["reason"].as_str().expect("a reason").contains("at least 1 minute"), "{alert}");
}

fn alerters_narrow_notify(shape: Shape) {
    let (hook, other) = (HttpSink::start(), HttpSink::start());
    let inn = Inn::with(shape, &format!("{}{}", webhook("hook", &hook), webhook("other", &other)));
    inn.reserve("shop", "narrow", json!({ "notify": "hook,other", "alerters": ["other"] }));
    inn.reserve("shop", "wide", json!({ "notify": ["hook", "other"] }));
    inn.age(2 * MINUTE);
    notices(&other, 2);
    notices(&hook, 1);
    // Every message that there is has been sent.
    eventually("the outbox", || {
        (inn.database.count("deliveries WHERE state = 'waiting'") == 0).then_some(())
    });
    assert_eq!(events(&hook), ["opened shop/wide"]);
    let mut all = events(&other);
    all.sort();
    assert_eq!(all, ["opened shop/narrow", "opened shop/wide"]);
    let log = eventually("the log", || {
        let log = inn.logs();
        (log.contains("shop/narrow") && log.contains("shop/wide")).then_some(log)
    });
    assert!(log.contains("opened: DOWN shop/"), "the log is always told: {log}");
}

fn a_checkout_ends_its_alert(shape: Shape) {
    let (inn, sink) = with_hook(shape);
    inn.reserve("shop", "backup", json!({ "notify": "hook" }));
    inn.age(2 * MINUTE);
    let opened: Value = notices(&sink, 1)[0].clone();
    assert_eq!(inn.post("/checkout", &json!({ "app": "shop", "component": "backup" })).status, 200);
    let over = &notices(&sink, 2)[1];
    assert_eq!(
        (event(over).as_str(), &over["subject"]),
        ("recovered shop/backup", &json!("CHECKED OUT shop/backup"))
    );
    assert_eq!(over["alert"]["dedup_key"], opened["alert"]["dedup_key"]);
}
