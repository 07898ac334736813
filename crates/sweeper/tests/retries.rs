//! A failing provider: the message is retried under its key, or kept with its error, and delays no other message.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::*;
use innkeeper_core::{Clock, SystemClock};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::{HttpSink, SinkResponse};
use innkeeper_testing::process::PATIENCE;
use serde_json::json;

/// When the webhook's message is tried next, from now; none when none waits for that.
fn tried_in(database: &TestDatabase) -> Option<i64> {
    let waiting =
        "SELECT next_at FROM deliveries WHERE alerter = 'hook' AND state = 'waiting' AND lease_until IS NULL";
    let now = SystemClock.now().timestamp_millis();
    database.number(waiting).map(|at| at - now).filter(|wait| *wait > 0)
}

#[test]
fn a_message_that_fails_goes_out_again_under_its_key() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        let failures = [
            (SinkResponse::status(429).header("Retry-After", "40"), 40),
            (SinkResponse::status(500), 10),
            (SinkResponse::Hang, 20),
            (SinkResponse::Close, 40),
            (SinkResponse::CutHead, 80),
        ];
        for (answer, _) in &failures {
            sink.next(answer.clone());
        }
        let instance = Instance::open(database, &webhook("hook", &sink, "timeout = \"1s\""));
        instance.reserve("backup", "hook", json!({}));
        instance.database.age(2 * HOUR);
        for (n, (answer, seconds)) in failures.iter().enumerate() {
            sink.wait_for(n + 1, PATIENCE);
            let mut wait = 0;
            wait_until("the failure is recorded", || {
                wait = tried_in(&instance.database).unwrap_or_default();
                wait > 0
            });
            // Give or take a fifth; what the provider asked for is the least.
            let least = if n == 0 { seconds * 1000 - 1500 } else { seconds * 800 - 1500 };
            assert!((least..=seconds * 1200).contains(&wait), "{answer:?}: {wait} ms");
            try_again(&instance.database);
        }
        let requests = sink.wait_for(failures.len() + 1, PATIENCE);
        instance.settle();
        assert_eq!(sink.requests().len(), failures.len() + 1);
        let keys: BTreeSet<_> = requests.iter().map(|request| request.header("idempotency-key")).collect();
        assert_eq!(keys.len(), 1, "{keys:?}");
        let bodies: BTreeSet<_> = requests.iter().map(|request| &request.body).collect();
        assert_eq!(bodies.len(), 1, "the same message");
        assert_eq!(instance.database.count("deliveries WHERE state = 'delivered' AND alerter = 'hook'"), 1);
    }
}

#[test]
fn what_is_refused_is_kept_with_its_error_and_its_end_is_told_to_nobody_who_did_not_hear_of_it() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        sink.next(SinkResponse::status(400).body("no such channel"));
        let instance = Instance::open(database, &webhook("hook", &sink, ""));
        instance.reserve("backup", "hook", json!({}));
        instance.pass(2 * HOUR);
        let problem = instance.database.text("SELECT problem FROM deliveries WHERE state = 'dead'").unwrap();
        assert!(problem.contains("400") && problem.contains("no such channel"), "{problem}");
        instance.sweeper.wait_for_log("a message through hook cannot be delivered");
        instance.check_in("backup");
        wait_until("its end is in the log", || instance.told("log", "backup").len() == 2);
        instance.settle();
        assert_eq!(
            sink.requests().len(),
            1,
            "what is dead is not tried again, and its end would tell of nothing known"
        );
    }
}

#[test]
fn an_alerter_that_hangs_slows_no_other() {
    for database in TestDatabase::both() {
        let [slow, quick] = [(); 2].map(|()| HttpSink::start());
        slow.otherwise(SinkResponse::Hang);
        overdue(&database, "shop", 40, "slow, quick");
        let alerters =
            format!("{}{}", webhook("slow", &slow, "timeout = \"60s\""), webhook("quick", &quick, ""));
        let begun = Instant::now();
        let instance = Instance::open(database, &alerters);
        slow.wait_for(4, PATIENCE);
        quick.wait_for(40, PATIENCE);
        println!("the quick one had all 40 within {:?}", begun.elapsed());
        assert_eq!(slow.requests().len(), 4, "one for each of its senders");
        // And a new one while the slow one still hangs.
        instance.reserve("new", "slow, quick", json!({}));
        instance.ping("new", "/fail");
        let asked = Instant::now();
        quick.wait_for(41, PATIENCE);
        println!("a new one came within {:?}", asked.elapsed());
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    }
}

#[test]
fn one_message_that_hangs_slows_no_other_of_its_alerter() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        sink.next(SinkResponse::Hang);
        let instance = Instance::open(database, &webhook("hook", &sink, "timeout = \"60s\""));
        for (n, component) in ["hanging", "second", "third"].into_iter().enumerate() {
            instance.reserve(component, "hook", json!({}));
            instance.ping(component, "/fail");
            let asked = Instant::now();
            sink.wait_for(n + 1, PATIENCE);
            println!("{component} came within {:?}", asked.elapsed());
            assert!(asked.elapsed() < Duration::from_secs(5), "{component}: {:?}", asked.elapsed());
        }
    }
}
