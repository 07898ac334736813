//! The recipients of a recovery if `notify`, `alerters` or the configuration changed while the alert was open: those
//! who were notified of the trouble, and nobody else. Time is moved, not waited for.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::parts::{Parts, mail};
use innkeeper_core::Clock;
use innkeeper_core::names::{AlerterName, AppName, ComponentName};
use innkeeper_core::recipient::Recipients;
use innkeeper_core::reservation::Patch;
use innkeeper_core::schedule::Schedule;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::smtp_sink::SmtpSink;

const PAGER: &str = "[alerter.pager]\nkind = \"pagerduty\"\nrouting_key = \"route\"\nurl = \"http://127.0.0.1:9/v2/enqueue\"\n";

fn hook(name: &str) -> String {
    format!("[alerter.{name}]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/\"\n")
}

/// A job of each minute, told again every ten, as it is changed.
fn reserve(parts: &Parts, notify: &str, more: Patch) {
    let patch = Patch {
        schedule: Some((Schedule::every(chrono::TimeDelta::minutes(1)).unwrap(), None)),
        notify: Some(Recipients::parse("notify", notify).unwrap()),
        remind_every: Some(innkeeper_core::reminders::Reminders::Every(chrono::TimeDelta::minutes(10))),
        ..more
    };
    let (app, component) = (AppName::parse("shop").unwrap(), ComponentName::parse("job").unwrap());
    parts.store.reserve(&app, &component, &patch, parts.clock.now()).unwrap();
    parts.sweep();
}

/// What was told since the last call: the event, and by which ways, the log left out.
fn told(database: &TestDatabase, seen: &mut usize) -> Vec<String> {
    let rows = database.texts(
        "SELECT event || ' ' || alerter || ' ' || recipient FROM deliveries WHERE alerter <> 'log' ORDER BY id",
    );
    let mut new: Vec<String> = rows[*seen..].iter().map(|row| row.trim_end().to_owned()).collect();
    *seen = rows.len();
    new.sort();
    new
}

#[test]
fn whoever_was_told_of_the_trouble_hears_of_its_end_and_nobody_else() {
    let sink = SmtpSink::plain();
    let alerters = format!("{}{}{}{PAGER}", mail(&sink), hook("one"), hook("two"));
    for database in TestDatabase::both() {
        let parts = Parts::new(&database, "log", &alerters);
        let seen = &mut 0;
        let nothing = Patch::default;

        reserve(&parts, "one, a@example.org, pager", nothing());
        parts.advance(60);
        parts.sweep();
        assert_eq!(told(&database, seen), ["opened mail a@example.org", "opened one", "opened pager"]);
        reserve(&parts, "b@example.org", nothing());
        parts.check_in("job");
        parts.sweep();
        let back = ["recovered mail a@example.org", "recovered one", "recovered pager"];
        assert_eq!(told(&database, seen), back, "b was not told");

        // A reminder goes to who is to be told now; then both have been told.
        parts.advance(60);
        parts.sweep();
        assert_eq!(told(&database, seen), ["opened mail b@example.org"]);
        reserve(&parts, "two", nothing());
        parts.advance(600);
        parts.sweep();
        assert_eq!(told(&database, seen), ["reminder two"]);
        parts.check_in("job");
        parts.sweep();
        assert_eq!(told(&database, seen), ["recovered mail b@example.org", "recovered two"]);

        // The alerters are narrowed, and people are spared the good news; an incident is resolved.
        reserve(&parts, "one, pager", nothing());
        parts.advance(60);
        parts.sweep();
        assert_eq!(told(&database, seen), ["opened one", "opened pager"]);
        let narrowed = Patch {
            notify_recovery: Some(false),
            alerters: Some(vec![AlerterName::parse("alerters", "two").unwrap()]),
            ..nothing()
        };
        reserve(&parts, "two", narrowed);
        parts.check_in("job");
        parts.sweep();
        assert_eq!(told(&database, seen), ["recovered pager"]);
        assert_eq!(database.count("deliveries WHERE alerter = 'log' AND event = 'recovered'"), 3);
    }
}

#[test]
fn an_alerter_that_is_configured_no_more_is_left_out_and_mail_goes_through_the_one_there_is() {
    let sink = SmtpSink::plain();
    let before = format!("{}{}{}", mail(&sink), hook("one"), hook("two"));
    let renamed = format!("{}{}", mail(&sink).replace("alerter.mail", "alerter.post"), hook("two"));
    for database in TestDatabase::both() {
        let parts = Parts::new(&database, "log", &before);
        let seen = &mut 0;
        reserve(&parts, "one, two, a@example.org", Patch::default());
        parts.advance(60);
        parts.sweep();
        assert_eq!(told(&database, seen).len(), 3);
        database.execute("UPDATE deliveries SET state = 'delivered' WHERE alerter <> 'log'");

        let now = parts.clock.now();
        let parts = Parts::new(&database, "log", &renamed);
        parts.clock.advance(now - parts.clock.now());
        parts.check_in("job");
        parts.sweep();
        assert_eq!(told(&database, seen), ["recovered post a@example.org", "recovered two"]);
    }
}
