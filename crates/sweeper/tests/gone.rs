//! An alerter is removed or renamed while messages wait for it: they are given up, the operator is told why, and no
//! alert is lost.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use common::*;
use innkeeper_core::duty::Duty;
use innkeeper_core::names::AlerterName;
use innkeeper_core::ways::{AlerterKind, WaysOut};
use innkeeper_core::{Clock, SystemClock};
use innkeeper_node::heartbeat::{Operator, Singleton};
use innkeeper_node::{Config, Role, Shutdown};
use innkeeper_store::{ActingStore, Node};
use innkeeper_sweeper::gone::GoneWatch;
use innkeeper_sweeper::routing::Routing;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::{HttpSink, SinkResponse};
use innkeeper_testing::process::{PATIENCE, Server};

/// The configuration of an instance whose operator is `ops`.
fn operated(database: &TestDatabase, ops: &HttpSink, more: &str) -> String {
    config(database, &format!("{}{more}", webhook("ops", ops, "")))
        .replace("operator = [\"log\"]", "operator = [\"ops\"]")
}

/// A sink that takes nothing.
fn closed() -> HttpSink {
    let sink = HttpSink::start();
    sink.otherwise(SinkResponse::status(503));
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
        chat.otherwise(SinkResponse::status(200));
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
            all.filter(|(subject, _)| subject.starts_with("DOWN ")).collect()
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
                texts(sink).iter().any(|(subject, _)| subject.starts_with(&format!("BACK shop/{job}: ")))
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

/// What looks, taken out of its sweeper.
struct Looking<'d> {
    database: &'d TestDatabase,
    store: ActingStore,
    operator: Operator,
    singleton: Singleton,
    shutdown: Shutdown,
    gone: GoneWatch,
    at: Instant,
}

impl<'d> Looking<'d> {
    fn new(database: &'d TestDatabase) -> Self {
        let (clock, store, shutdown) = (Arc::new(SystemClock), database.store(), Shutdown::new());
        let config = Config::from_toml(Role::Sweeper, &config(database, "")).unwrap();
        let (operator, _) = Operator::start(&config, Role::Sweeper, clock.clone(), &shutdown).unwrap();
        let singleton = Singleton::new((*store).clone(), "me", clock.clone());
        let gone = GoneWatch::new(&store, clock, config.live(), &operator, &singleton, &shutdown);
        let looking = Self { database, store, operator, singleton, shutdown, gone, at: Instant::now() };
        looking.has("me", &[]);
        looking
    }

    /// The sweeper `node` is there and has these alerters.
    fn has(&self, node: &str, alerters: &[&str]) {
        self.is_there(node);
        let names: Vec<AlerterName> =
            alerters.iter().map(|name| AlerterName::parse("alerter", name).unwrap()).collect();
        let ways = WaysOut::new(names.iter().map(|name| (name, AlerterKind::Webhook)));
        self.store.publish_ways(node, &ways).unwrap();
    }

    fn is_there(&self, node: &str) {
        let now = SystemClock.now();
        let node = Node {
            id: node.to_owned(),
            role: "sweeper".to_owned(),
            host: node.to_owned(),
            address: String::new(),
            version: String::new(),
            started_at: now,
            offset: TimeDelta::zero(),
        };
        self.store.beat(&node, &[Duty::Sweeper], true, now, &|_| Vec::new()).unwrap();
    }

    /// Puts in messages for an alerter that were made so many seconds ago.
    fn put(&self, alerter: &str, count: usize, ago: i64) {
        let at = SystemClock.now().timestamp_millis() - ago * 1000;
        self.database.execute(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
             INSERT INTO deliveries (event, alerter, recipient, notice, key, state, next_at, created_at)
             SELECT 'summary', '{alerter}', '', '{{}}', 'key' || ((SELECT COUNT(*) FROM deliveries) + i), 'waiting', {at}, {at}
             FROM n"
        ));
    }

    /// Looks once, a minute after the look before.
    fn look(&mut self) -> usize {
        self.at += Duration::from_secs(60);
        self.gone.look_once(self.at).unwrap()
    }

    /// The subjects of what the operator was told.
    fn told(&self) -> Vec<String> {
        let notices =
            self.database.texts("SELECT notice FROM deliveries WHERE event = 'operator' ORDER BY id");
        let subject = |text: &String| {
            let notice: serde_json::Value = serde_json::from_str(text).unwrap();
            notice["subject"].as_str().unwrap().to_owned()
        };
        notices.iter().map(subject).collect()
    }
}

#[test]
fn a_look_gives_up_so_many_and_an_alerter_that_comes_back_keeps_the_others() {
    over_both(|database| {
        let mut looking = Looking::new(database);
        looking.put("chat", 5200, 60);
        looking.look();
        assert_eq!(looking.look(), 0, "another may be the one");
        looking.singleton.claim().unwrap();
        assert_eq!(looking.look(), 5000);
        assert_eq!(looking.told(), ["5200 messages are given up: there is no alerter chat any more"]);
        looking.has("me", &["chat"]);
        looking.look();
        looking.singleton.claim().unwrap();
        assert_eq!(looking.look(), 0, "it is back");
        looking.has("me", &[]);
        looking.look();
        looking.singleton.claim().unwrap();
        assert_eq!(looking.look(), 200);
        assert_eq!(looking.told().len(), 2, "it was there in between: {:?}", looking.told());
        looking.put("chat", 1, 60);
        looking.singleton.claim().unwrap();
        assert_eq!(
            (looking.look(), looking.told().len()),
            (1, 2),
            "what is left over is told with the others"
        );
        looking.put("chat", 1, 60);
        looking.shutdown.request();
        assert_eq!(looking.look(), 0, "it is to stop");
    });
}

#[test]
fn beside_a_sweeper_that_never_says_what_it_has_they_are_tried_for_a_day_and_given_up() {
    over_both(|database| {
        let mut looking = Looking::new(database);
        looking.is_there("older");
        looking.put("chat", 2, 86_300);
        looking.put("chat", 3, 86_500);
        looking.look();
        looking.singleton.claim().unwrap();
        assert_eq!(looking.look(), 3);
        assert_eq!(looking.told(), ["3 messages are given up: there is no alerter chat any more"]);
        looking.has("older", &[]);
        looking.look();
        looking.singleton.claim().unwrap();
        assert_eq!(looking.look(), 2, "it has said so");
    });
}

#[test]
fn what_is_put_in_for_a_new_alerter_before_its_sweeper_has_said_so_stays() {
    over_both(|database| {
        let mut looking = Looking::new(database);
        looking.look();
        looking.put("chat", 3, 60);
        looking.put("new", 2, 0);
        looking.singleton.claim().unwrap();
        assert_eq!(looking.look(), 3);
        looking.has("me", &["new"]);
        looking.look();
        looking.singleton.claim().unwrap();
        assert_eq!(looking.look(), 0);
        assert_eq!(database.count("deliveries WHERE alerter = 'new' AND state = 'waiting'"), 2);
        assert_eq!(looking.told(), ["3 messages are given up: there is no alerter chat any more"]);
    });
}

#[test]
fn what_cannot_be_given_up_does_not_keep_it_from_looking_for_dead_ends() {
    over_both(|database| {
        let looking = Looking::new(database);
        looking.singleton.claim().unwrap();
        // Of a sweeper that nobody knows any more.
        looking.store.publish_ways("nobody", &WaysOut::new([])).unwrap();
        refuse(database, "DELETE", "ways");
        let Looking { store, operator, singleton, gone, .. } = looking;
        let mut routing =
            Routing::new((*store).clone(), "me", Arc::new(SystemClock), operator, singleton, gone);
        assert_eq!(routing.look_once().unwrap(), Some(0));
    });
}
