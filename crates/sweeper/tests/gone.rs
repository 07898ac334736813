//! An alerter that is removed or renamed while messages wait for it: they are given up, the operator hears why, and no alert is lost.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::{Answer, HttpSink};
use innkeeper_testing::process::{PATIENCE, Server};

/// The configuration of a house whose operator is `ops`.
fn operated(database: &TestDatabase, ops: &HttpSink, more: &str) -> String {
    config(database, &format!("{}{more}", webhook("ops", ops, "")))
        .replace("operator = [\"log\"]", "operator = [\"ops\"]")
}

/// A sink that takes nothing.
fn closed() -> HttpSink {
    let sink = HttpSink::start();
    sink.otherwise(Answer::status(503));
    sink
}

/// Subjects and texts of what came.
fn texts(sink: &HttpSink) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    sink.requests()
        .iter()
        .map(|request| (text(&request.json()["subject"]), text(&request.json()["text"])))
        .collect()
}

/// What the operator was told of messages that were given up.
fn given_up(sink: &HttpSink) -> Vec<(String, String)> {
    texts(sink).into_iter().filter(|(subject, _)| subject.contains("given up")).collect()
}

fn dead(database: &TestDatabase) -> i64 {
    database.count("deliveries WHERE state = 'dead'")
}

/// Waits until `count` messages were tried through chat.
fn tried(database: &TestDatabase, count: i64) {
    wait_until("they were tried", || {
        database.count("deliveries WHERE alerter = 'chat' AND state = 'waiting' AND attempts > 0") == count
    });
}

/// The same over both databases at a time.
fn over_both(test: impl Fn(&TestDatabase) + Sync) {
    thread::scope(|scope| {
        for database in TestDatabase::both() {
            let test = &test;
            scope.spawn(move || test(&database));
        }
    });
}

#[test]
fn after_a_reload_they_are_given_up_and_told_once_and_the_alerts_go_to_who_is_there() {
    over_both(|database| {
        let [ops, chat] = [HttpSink::start(), closed()];
        let sweeper = Server::start("sweeper", &operated(database, &ops, &webhook("chat", &chat, "")), &[]);
        sweeper.wait_for_log("watching over");
        overdue(database, "shop", 3, "chat");
        overdue(database, "heard", 1, "chat, ops");
        tried(database, 4);
        // A message to the operator that waits there, too.
        database.execute(
            "INSERT INTO deliveries (event, alerter, recipient, notice, key, state, next_at, created_at)
             SELECT 'operator', alerter, recipient, notice, 'own', 'waiting', next_at, created_at
             FROM deliveries WHERE alerter = 'chat' ORDER BY id LIMIT 1",
        );
        database.execute(
            "UPDATE reservations SET notify = 'chatter' WHERE app = 'shop' AND component = 'job-000'",
        );
        database.execute("UPDATE reservations SET notify = '' WHERE app = 'shop' AND component = 'job-001'");
        chat.otherwise(Answer::status(200));
        let before = (chat.requests().len(), ops.requests().len());
        let renamed = operated(database, &ops, &webhook("chatter", &chat, ""));
        fs::write(sweeper.directory().join("innkeeper.toml"), renamed).unwrap();
        sweeper.signal("HUP");
        wait_until("the operator hears of it", || !given_up(&ops).is_empty());
        assert_eq!(dead(database), 5, "with the operator's own");
        let problems = database.texts("SELECT DISTINCT problem FROM deliveries WHERE state = 'dead'");
        assert_eq!(problems, ["there is no alerter chat any more"]);
        let (subject, text) = &given_up(&ops)[0];
        assert_eq!(subject, "4 messages are given up: there is no alerter chat any more");
        assert!(text.contains("open alerts of 3 reservations") && !text.contains("heard/"), "{text}");
        // The alerts are not lost.
        wait_until("who is there hears", || chat.requests().len() == before.0 + 1);
        assert_eq!(chat.requests()[before.0].json()["alert"]["component"], "job-000");
        let alerts = || -> Vec<(String, String)> {
            let all = texts(&ops).into_iter().skip(before.1);
            all.filter(|(subject, _)| subject.contains("Job Failed to checkin")).collect()
        };
        wait_until("the operator gets the others", || alerts().len() == 2);
        for (job, why) in
            [("job-001", "notify: names nobody"), ("job-002", "notify: chat is no configured alerter")]
        {
            let got = alerts();
            let (_, text) = got.iter().find(|(subject, _)| subject.contains(job)).unwrap();
            assert!(text.contains(why), "{text}");
        }
        thread::sleep(Duration::from_secs(4));
        assert_eq!((given_up(&ops).len(), alerts().len()), (1, 2), "once");
        // And the end of what was told anew.
        database.execute("UPDATE states SET last_checkin_at = wake_at, checkins = 1");
        database.execute("UPDATE states SET wake_at = 1");
        wait_until("all are told that it is back", || {
            let back = |sink: &HttpSink, job: &str| {
                texts(sink).iter().any(|(subject, _)| subject == &format!("Back online: shop/{job}"))
            };
            back(&chat, "job-000") && back(&ops, "job-001") && back(&ops, "job-002")
        });
    });
}

#[test]
fn after_a_start_without_it_within_half_a_minute() {
    over_both(|database| {
        let [ops, chat] = [HttpSink::start(), closed()];
        let mut sweeper =
            Server::start("sweeper", &operated(database, &ops, &webhook("chat", &chat, "")), &[]);
        sweeper.wait_for_log("watching over");
        overdue(database, "shop", 2, "chat");
        tried(database, 2);
        assert!(sweeper.terminate(PATIENCE).success());
        let begun = Instant::now();
        let _sweeper = Server::start("sweeper", &operated(database, &ops, ""), &[]);
        wait_until("the operator hears of it", || !given_up(&ops).is_empty());
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        assert_eq!(dead(database), 2);
        assert!(given_up(&ops)[0].0.starts_with("2 messages"), "{:?}", given_up(&ops));
    });
}

#[test]
fn as_long_as_one_sweeper_has_it_or_may_come_back_with_it_they_wait() {
    over_both(|database| {
        let [ops, chat] = [HttpSink::start(), closed()];
        let with_it = operated(database, &ops, &webhook("chat", &chat, ""));
        let mut old = Server::start("sweeper", &with_it, &[]);
        old.wait_for_log("watching over");
        let new = Server::start("sweeper", &operated(database, &ops, ""), &[]);
        new.wait_for_log("watching over");
        wait_until("both have said what they have", || database.count("ways") == 2);
        overdue(database, "shop", 2, "chat");
        tried(database, 2);
        // Longer than where it is gone.
        thread::sleep(Duration::from_secs(12));
        assert_eq!(dead(database), 0, "one has it");
        assert!(old.terminate(PATIENCE).success());
        thread::sleep(Duration::from_secs(10));
        assert_eq!(dead(database), 0, "it may come back");
        let away = "UPDATE nodes SET beat_at = beat_at - 600000, goodbye_at = goodbye_at - 600000 WHERE goodbye_at IS NOT NULL";
        database.execute(away);
        wait_until("it has been away for too long", || !given_up(&ops).is_empty());
        assert_eq!((dead(database), given_up(&ops).len()), (2, 1));
        assert_eq!(database.count("ways"), 1);
    });
}
