//! Undelivered messages: the operator is told through other alerters, once per outage, and when it is over.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::parts::{Parts, mail};
use common::*;
use innkeeper_core::recipient::Recipients;
use innkeeper_node::heartbeat::{Operator, Singleton};
use innkeeper_node::{Config, Role};
use innkeeper_store::OutageNews;
use innkeeper_sweeper::outages::Outages;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::{HttpSink, SinkResponse};
use innkeeper_testing::smtp_sink::{Reply, SmtpSink, Step};

/// A sweeper taken apart, with what looks for outages.
struct Watched<'d> {
    database: &'d TestDatabase,
    parts: Parts,
    outages: Outages,
}

impl<'d> Watched<'d> {
    fn new(database: &'d TestDatabase, name: &str, alerters: &str, operator: &str) -> Self {
        let parts = Parts::operated_by(database, name, alerters, operator);
        let text = config(database, alerters)
            .replace("operator = [\"log\"]", &format!("operator = [\"{operator}\"]"));
        let config = Config::from_toml(Role::Sweeper, &text).unwrap();
        let (operator, _) =
            Operator::start(&config, Role::Sweeper, parts.clock.clone(), &parts.shutdown).unwrap();
        let outages = Outages {
            store: (*parts.store).clone(),
            clock: parts.clock.clone(),
            operator,
            singleton: Singleton::new((*parts.store).clone(), "me", parts.clock.clone()),
        };
        Self { database, parts, outages }
    }

    fn look(&self) -> OutageNews {
        self.outages.look_once().unwrap()
    }

    fn sweep_and_send(&self) {
        while self.parts.sweep().looked > 0 {}
        while self.parts.dispatch().claimed > 0 {}
        // Nobody sends for the other alerters here.
        let name = &self.parts.sender.name;
        self.database.execute(&format!(
            "UPDATE deliveries SET state = 'delivered', finished_at = 1 WHERE state = 'waiting' AND alerter <> '{name}'"
        ));
    }
}

/// Where the operator's messages go, with their subjects.
fn operated(database: &TestDatabase) -> Vec<String> {
    let notices = database.texts(
        "SELECT alerter || ' ' || recipient || ' ' || notice FROM deliveries WHERE event = 'operator' ORDER BY id",
    );
    let short = |text: &String| {
        let (way, notice) = text.split_once(" {").unwrap();
        let notice: serde_json::Value = serde_json::from_str(&format!("{{{notice}")).unwrap();
        format!("{}: {}", way.trim(), notice["subject"].as_str().unwrap())
    };
    notices.iter().map(short).collect()
}

#[test]
fn what_waits_too_long_is_told_once_by_another_way_and_again_when_it_is_over() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        sink.otherwise(SinkResponse::status(503));
        let alerters = format!("{}[alerter.chat]\nkind = \"log\"\n", webhook("hook", &sink, ""));
        // Both are the operator's; the one that fails is not asked to say so.
        let watched = Watched::new(&database, "hook", &alerters, "hook\", \"chat");
        overdue(&database, "shop", 3, "hook");
        watched.sweep_and_send();
        assert_eq!(watched.look(), OutageNews::default(), "not yet");
        watched.parts.advance(11 * 60);
        let begun = watched.look().begun;
        assert_eq!(begun.len(), 1);
        assert_eq!((begun[0].alerter.as_str(), begun[0].waiting, begun[0].given_up), ("hook", 3, 0));
        assert!(begun[0].problem.contains("503"), "{begun:?}");
        let told = "chat: Messages through hook do not get through";
        assert_eq!(operated(&database), [told]);
        // More of the same outage is no news.
        overdue(&database, "more", 2, "hook");
        watched.sweep_and_send();
        watched.parts.advance(11 * 60);
        assert_eq!(watched.look().begun, []);
        let page = watched.parts.store.outages().unwrap();
        assert_eq!(page[0].waiting, 5, "though it is counted");
        sink.otherwise(SinkResponse::status(200));
        watched.parts.advance(3600);
        watched.sweep_and_send();
        let ended = watched.look().ended;
        assert_eq!(ended.len(), 1, "{ended:?}");
        assert_eq!(
            operated(&database),
            [
                told,
                "hook: Messages through hook get through again",
                "chat: Messages through hook get through again",
            ]
            .map(str::to_owned),
            "and, as it works, by the way that had failed"
        );
        assert_eq!(watched.look(), OutageNews::default());
    }
}

#[test]
fn a_recipient_that_is_refused_is_told_by_mail_to_others_and_once() {
    for database in TestDatabase::both() {
        let sink = SmtpSink::plain();
        let watched = Watched::new(&database, "mail", &mail(&sink), "ops@example.com");
        let job = |app: &str| {
            // What waits for the operator goes first.
            watched.sweep_and_send();
            overdue(&database, app, 1, "gone@example.com");
            sink.next(Step::Recipient, Reply::say("550 5.1.1 no such user"));
            watched.sweep_and_send();
        };
        job("shop");
        let begun = watched.look().begun;
        assert_eq!((begun[0].recipient.as_str(), begun[0].given_up), ("gone@example.com", 1));
        let told = ["mail ops@example.com: Messages through mail do not get through"];
        assert_eq!(operated(&database), told);
        watched.parts.advance(60);
        job("more");
        assert_eq!(watched.look().begun, []);
        assert_eq!(operated(&database), told);
    }
}

#[test]
fn without_another_way_every_other_alerter_is_told_and_never_about_the_operators_own() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        sink.otherwise(SinkResponse::status(400));
        let alerters = format!("{}[alerter.chat]\nkind = \"log\"\n", webhook("hook", &sink, ""));
        let watched = Watched::new(&database, "hook", &alerters, "hook");
        let operator = Recipients::parse("operator", "hook").unwrap();
        let operator: Vec<_> = operator.iter().cloned().collect();
        let now = watched.parts.advance(0);
        let own =
            watched.outages.operator.deliveries_to(&operator, common::Word("Something".to_owned()), now);
        watched.parts.store.put_notices(&own, now).unwrap();
        watched.sweep_and_send();
        assert_eq!(database.count("deliveries WHERE state = 'dead'"), 1);
        assert_eq!(watched.look(), OutageNews::default());

        overdue(&database, "shop", 1, "hook");
        watched.sweep_and_send();
        assert_eq!(watched.look().begun.len(), 1);
        let told = "Messages through hook do not get through";
        assert_eq!(operated(&database)[1..], [format!("chat: {told}"), format!("log: {told}")]);
    }
}

#[test]
fn what_waits_for_an_alerter_of_a_sweeper_that_is_away_is_told() {
    for database in TestDatabase::both() {
        let watched = Watched::new(&database, "log", "[alerter.chat]\nkind = \"log\"\n", "chat");
        overdue(&database, "shop", 1, "chat");
        while watched.parts.sweep().looked > 0 {}
        database.execute("UPDATE deliveries SET alerter = 'gone' WHERE alerter = 'chat'");
        watched.parts.advance(11 * 60);
        watched.look();
        let text = database.text("SELECT notice FROM deliveries WHERE event = 'operator'").unwrap();
        assert!(
            text.contains("through gone: 1 message waits") && text.contains("no alerter of this name"),
            "{text}"
        );
    }
}
