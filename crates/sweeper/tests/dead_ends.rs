//! Recipients that lead nowhere: no delivery is written for a missing alerter, and the operator is told instead.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::parts::{Parts, mail};
use common::*;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::process::{PATIENCE, Server};
use innkeeper_testing::smtp_sink::SmtpSink;
use serde_json::json;

/// The configuration of an instance whose operator is `hook`.
fn operated_by(database: &TestDatabase, hook: &HttpSink, more: &str) -> String {
    config(database, &format!("{}{more}", webhook("hook", hook, "")))
        .replace("operator = [\"log\"]", "operator = [\"hook\"]")
}

/// Subjects and texts of what the operator was told of Innkeeper itself, and lead nowhere.
fn led_nowhere(sink: &HttpSink) -> Vec<String> {
    let text = |request: &innkeeper_testing::http_sink::Received| {
        let body = request.json();
        format!(
            "{}\n{}",
            body["subject"].as_str().unwrap_or_default(),
            body["text"].as_str().unwrap_or_default()
        )
    };
    sink.requests().iter().map(text).filter(|text| text.contains("lead nowhere")).collect()
}

#[test]
fn the_operator_gets_the_alert_that_reaches_nobody_and_its_end() {
    for database in TestDatabase::both() {
        let parts = Parts::operated_by(&database, "hook", &webhook("hook", &HttpSink::start(), ""), "hook");
        overdue(&database, "shop", 1, "ops@example.com, oncall");
        overdue(&database, "fine", 1, "hook");
        while parts.sweep().looked > 0 {}
        let told = "SELECT alerter || ' ' || event || ' ' || recipient FROM deliveries d JOIN alerts a ON a.id = d.alert_id
                    WHERE a.app = 'shop' ORDER BY d.id";
        assert_eq!(database.texts(told), ["log opened ", "hook opened "]);
        let notice = |app: &str| {
            let sql =
                "SELECT notice FROM deliveries d JOIN alerts a ON a.id = d.alert_id WHERE d.alerter = 'hook'";
            database.text(&format!("{sql} AND a.app = '{app}'")).unwrap()
        };
        let text = notice("shop");
        for part in [
            "DOWN shop/job-000: has not checked in",
            "notify: ops@example.com is a mail address and no alerter of kind smtp is configured",
            "notify: oncall is no configured alerter",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(notice("fine").contains("\"undelivered\":[]"), "who is reached reads nothing of that");
        parts.check_in("job-000");
        while parts.sweep().looked > 0 {}
        assert_eq!(database.texts(told).last().unwrap(), "hook recovered ");
    }
}

#[test]
fn who_is_reached_in_part_is_told_and_the_operator_too() {
    for database in TestDatabase::both() {
        let sink = SmtpSink::plain();
        let parts = Parts::operated_by(&database, "mail", &mail(&sink), "ops@example.com");
        overdue(&database, "shop", 1, "ops@example.com, dev@example.com, oncall");
        parts.sweep();
        while parts.dispatch().claimed > 0 {}
        let explained = |to: &str| {
            let mails = sink.mails();
            let mails: Vec<_> = mails.iter().filter(|mail| mail.to == [to]).collect();
            assert_eq!(mails.len(), 1, "{to}");
            String::from_utf8_lossy(&mails[0].raw).contains("oncall is no configured alerter")
        };
        assert!(explained("ops@example.com"), "the operator's one mail says it");
        assert!(!explained("dev@example.com"));
    }
}

#[test]
fn at_the_start_the_operator_hears_of_an_alerter_that_was_renamed() {
    for database in TestDatabase::both() {
        let [hook, chat] = [(); 2].map(|()| HttpSink::start());
        let before = operated_by(&database, &hook, &webhook("chat", &chat, ""));
        let mut sweeper = Server::start("sweeper", &before, &[]);
        sweeper.wait_for_log("watching over");
        overdue(&database, "shop", 12, "chat");
        assert!(sweeper.terminate(PATIENCE).success());
        assert_eq!(led_nowhere(&hook), Vec::<String>::new());

        let after = operated_by(&database, &hook, &webhook("chatter", &chat, ""));
        let mut sweeper = Server::start("sweeper", &after, &[]);
        wait_until("the operator hears of it", || !led_nowhere(&hook).is_empty());
        let told = &led_nowhere(&hook)[0];
        for part in [
            "Alerts of 12 reservations lead nowhere",
            "- shop/job-009: notify: chat is no configured alerter",
            "and 2 more",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains("job-010"), "ten are named: {told}");
        assert!(sweeper.terminate(PATIENCE).success());
        assert_eq!(led_nowhere(&hook).len(), 1, "in one message");
    }
}

#[test]
fn the_sweepers_alerters_count_and_not_those_of_ingest() {
    for database in TestDatabase::both() {
        let [hook, chat] = [(); 2].map(|()| HttpSink::start());
        // Ingest knows an alerter that the sweeper lacks.
        let ingest =
            Server::start("ingest", &operated_by(&database, &hook, &webhook("chat", &chat, "")), &[]);
        let sweeper = Server::start("sweeper", &operated_by(&database, &hook, ""), &[]);
        sweeper.wait_for_log("watching over");
        let client = innkeeper_testing::client::Client::default();
        let mut count = 0;
        let mut reserve = |notify: &str| {
            count += 1;
            client.post(
                &ingest.url("/reservation"),
                &json!({ "app": "shop", "component": format!("job-{count}"), "notify": notify, "frequency": 1,
                    "time_units": "hours" }),
            )
        };
        let mut warned = None;
        wait_until("ingest goes by the sweeper's word", || {
            let answer = reserve("chat");
            assert_eq!((answer.status, answer.body.as_str()), (200, "\"OK\""));
            warned = answer.header("warning").map(str::to_owned);
            warned.is_some()
        });
        assert_eq!(warned.unwrap(), "299 innkeeper \"notify: chat is no configured alerter\"");
        assert_eq!(reserve("hook").header("warning"), None);
        wait_until("the operator hears of it", || !led_nowhere(&hook).is_empty());
    }
}
