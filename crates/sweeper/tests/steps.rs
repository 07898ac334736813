//! The sweep and the sending step by step, on a clock that is moved by hand: order, leases, retries, digests.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::sync::Arc;

use chrono::TimeDelta;
use common::*;
use innkeeper_alerter::Alerters;
use innkeeper_core::checkin::{CheckIn, CheckInKind};
use innkeeper_core::names::{AlerterName, AppName, ComponentName};
use innkeeper_core::{Clock, ManualClock, SystemClock, Time};
use innkeeper_node::{Config, Role, Shutdown};
use innkeeper_store::{Arrival, Definition, Finished, Outcome, Store, Swept, Target};
use innkeeper_sweeper::dispatch::{Dispatched, Sender};
use innkeeper_sweeper::messages::Speaker;
use innkeeper_sweeper::watch::Watch;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::{Answer, HttpSink};
use innkeeper_testing::smtp_sink::{Reply, SmtpSink, Step};
use mail_parser::MessageParser;

/// A sweeper taken apart: one step at a time.
struct Parts {
    store: Store,
    clock: Arc<ManualClock>,
    watch: Watch,
    sender: Sender,
    shutdown: Shutdown,
}

impl Parts {
    /// Over this database, with the sender of the alerter `name`.
    fn new(database: &TestDatabase, name: &str, alerters: &str) -> Self {
        let config = Config::from_toml(Role::Sweeper, &config(database, alerters)).unwrap();
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let alerters = Alerters::build(&config.alerters, clock.clone()).unwrap();
        let store = database.store();
        let speaker = Speaker::new(&config, alerters.smtp());
        let watch = Watch { store: store.clone(), clock: clock.clone(), speaker, batch: 4 };
        let sender = Sender {
            store: store.clone(),
            alerters: Arc::new(alerters),
            name: AlerterName::parse("alerter", name).unwrap(),
            clock: clock.clone(),
            lease: TimeDelta::seconds(5),
            retry_for: TimeDelta::days(1),
        };
        Self { store, clock, watch, sender, shutdown: Shutdown::new() }
    }

    fn sweep(&self) -> Swept {
        self.watch.sweep_once(self.clock.now()).unwrap()
    }

    fn dispatch(&self) -> Dispatched {
        self.sender.dispatch_once(&self.shutdown).unwrap()
    }

    fn advance(&self, seconds: i64) -> Time {
        self.clock.advance(TimeDelta::seconds(seconds))
    }

    fn check_in(&self, component: &str) {
        let target = Target::Names(AppName::parse("shop").unwrap(), ComponentName::parse(component).unwrap());
        let checkin = CheckIn::new(CheckInKind::Success, self.clock.now());
        self.store.writer().record(&[Arrival { target, checkin, definition: Definition::None }]).unwrap();
    }
}

fn mail(sink: &SmtpSink) -> String {
    format!(
        "[alerter.mail]\nkind = \"smtp\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"inn@example.org\"\n",
        sink.port()
    )
}

/// Subject and Message-ID of each mail.
fn mails(sink: &SmtpSink) -> Vec<(String, String)> {
    let parse = |raw: &[u8]| {
        let mail = MessageParser::default().parse(raw).unwrap();
        (mail.subject().unwrap().to_owned(), mail.message_id().unwrap().to_owned())
    };
    sink.mails().iter().map(|mail| parse(&mail.raw)).collect()
}

fn done(claimed: usize, delivered: usize) -> Dispatched {
    Dispatched { claimed, delivered }
}

#[test]
fn a_sweep_takes_a_batch_and_nothing_twice() {
    for database in TestDatabase::both() {
        let parts = Parts::new(&database, "log", "");
        overdue(&database, "shop", 10, "ops@example.com");
        let swept: Vec<Swept> = (0..4).map(|_| parts.sweep()).collect();
        assert_eq!(swept.iter().map(|swept| swept.looked).collect::<Vec<_>>(), [4, 4, 2, 0]);
        assert_eq!(swept.iter().map(|swept| swept.opened).sum::<usize>(), 10);
        assert_eq!(swept[0].deliveries["log"], 4);
        assert_eq!(swept[0].deliveries["mail"], 4, "for the day that there is an alerter for mail");
        assert_eq!(database.count("deliveries"), 20);
        parts.check_in("job-003");
        let back = parts.sweep();
        assert_eq!((back.looked, back.closed), (1, 1));
    }
}

#[test]
fn the_end_never_overtakes_a_beginning_that_may_have_been_sent() {
    for database in TestDatabase::both() {
        let sink = SmtpSink::plain();
        let parts = Parts::new(&database, "mail", &mail(&sink));
        overdue(&database, "shop", 1, "ops@example.com");
        parts.sweep();
        // Taken, but its confirmation is lost.
        sink.next(Step::End, Reply::Cut);
        assert_eq!(parts.dispatch(), done(1, 0));
        parts.check_in("job-000");
        assert_eq!(parts.sweep().closed, 1);
        assert_eq!(parts.dispatch(), done(0, 0), "the end waits");
        parts.advance(7);
        assert_eq!(parts.dispatch(), done(1, 1));
        assert_eq!(parts.dispatch(), done(1, 1));
        let mails = mails(&sink);
        let subjects: Vec<&str> = mails.iter().map(|(subject, _)| subject.as_str()).collect();
        let opened = "[innkeeper] Job Failed to checkin: shop/job-000";
        assert_eq!(
            subjects,
            [opened, opened, "[innkeeper] Back online: shop/job-000"],
            "{:?}",
            database.kind()
        );
        assert_eq!(mails[0].1, mails[1].1, "a repeat is known by its id");
        assert_ne!(mails[1].1, mails[2].1);
    }
}

#[test]
fn what_was_surely_not_sent_goes_out_together_with_what_came_since() {
    for database in TestDatabase::both() {
        let sink = SmtpSink::plain();
        let parts = Parts::new(&database, "mail", &mail(&sink));
        overdue(&database, "shop", 1, "ops@example.com");
        parts.sweep();
        sink.next(Step::Sender, Reply::say("451 4.3.0 later"));
        assert_eq!(parts.dispatch(), done(1, 0));
        overdue(&database, "more", 2, "ops@example.com");
        parts.sweep();
        parts.advance(7);
        assert_eq!(parts.dispatch(), done(3, 3));
        assert_eq!(mails(&sink)[0].0, "[innkeeper] 3 alerts: 3 overdue");
    }
}

#[test]
fn one_address_that_fails_holds_up_no_other() {
    for database in TestDatabase::both() {
        let sink = SmtpSink::plain();
        let parts = Parts::new(&database, "mail", &mail(&sink));
        overdue(&database, "shop", 1, "a@example.com, b@example.com, c@example.com");
        parts.sweep();
        sink.next(Step::Recipient, Reply::say("451 4.2.1 busy"));
        sink.next(Step::Recipient, Reply::say("550 5.1.1 no such user"));
        assert_eq!(
            [parts.dispatch(), parts.dispatch(), parts.dispatch()],
            [done(1, 0), done(1, 0), done(1, 1)]
        );
        assert_eq!(parts.dispatch(), done(0, 0));
        assert_eq!(database.count("deliveries WHERE alerter = 'mail' AND state = 'dead'"), 1);
        assert!(
            database
                .text("SELECT problem FROM deliveries WHERE state = 'dead'")
                .unwrap()
                .contains("no such user")
        );
        parts.advance(7);
        assert_eq!(parts.dispatch(), done(1, 1));
        assert_eq!(sink.mails().len(), 2);
    }
}

#[test]
fn a_message_is_tried_for_a_day_at_growing_intervals_and_then_kept() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        sink.otherwise(Answer::status(503).body("closed"));
        let parts = Parts::new(&database, "hook", &webhook("hook", &sink, ""));
        overdue(&database, "shop", 1, "hook");
        parts.sweep();
        let (begin, mut tries, mut last_pause) = (parts.clock.now(), 0, TimeDelta::zero());
        while database.count("deliveries WHERE alerter = 'hook' AND state = 'waiting'") > 0 {
            assert_eq!(parts.dispatch(), done(1, 0));
            assert_eq!(parts.dispatch(), done(0, 0), "not before its time");
            tries += 1;
            let Some(next) = parts.store.next_delivery_at("hook").unwrap() else { break };
            let pause = next - parts.clock.now();
            assert!(pause > last_pause / 2 && pause <= TimeDelta::minutes(72), "{pause} after {last_pause}");
            last_pause = pause;
            parts.clock.advance(pause);
        }
        let took = parts.clock.now() - begin;
        println!("{tries} tries in {} minutes", took.num_minutes());
        assert!((TimeDelta::days(1)..TimeDelta::hours(26)).contains(&took), "{took}");
        assert!((30..40).contains(&tries) && sink.requests().len() == tries, "{tries}");
        assert_eq!(keys_by_job(&sink.requests())["job-000"].len(), 1);
        assert!(
            database.text("SELECT problem FROM deliveries WHERE state = 'dead'").unwrap().contains("closed")
        );
    }
}

#[test]
fn a_lease_keeps_others_away_until_it_ends_and_its_late_holder_changes_nothing() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        let parts = Parts::new(&database, "hook", &webhook("hook", &sink, ""));
        overdue(&database, "shop", 3, "hook");
        parts.sweep();
        let lease = TimeDelta::seconds(30);
        let dead = parts.store.claim_singles("hook", parts.clock.now(), lease, "dead", 2).unwrap();
        assert_eq!(dead.len(), 2);
        assert_eq!(parts.dispatch(), done(1, 1), "the third is free");
        parts.advance(29);
        assert_eq!(parts.dispatch(), done(0, 0));
        parts.advance(1);
        assert_eq!(parts.dispatch(), done(2, 2));
        let ids = dead.iter().map(|sending| sending.deliveries[0].id).collect();
        let late = Finished { ids, outcome: Outcome::Dead { problem: "too late".to_owned() } };
        parts.store.finish("dead", &[late], parts.clock.now()).unwrap();
        assert_eq!(database.count("deliveries WHERE alerter = 'hook' AND state = 'delivered'"), 3);
        let sent: Vec<String> = sink
            .requests()
            .iter()
            .filter_map(|request| request.header("idempotency-key").map(str::to_owned))
            .collect();
        assert!(dead.iter().all(|sending| sent.contains(&sending.key)), "under the same keys");
    }
}

#[test]
fn what_a_sender_cannot_send_within_its_lease_is_given_back_untried() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        sink.next(Answer::Hang);
        // The longest sending takes 2 s, so the lease is 9.
        let parts = Parts::new(&database, "hook", &webhook("hook", &sink, "timeout = \"1s\""));
        overdue(&database, "shop", 4, "hook");
        parts.sweep();
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| parts.dispatch());
            sink.wait_for(1, innkeeper_testing::process::PATIENCE);
            parts.advance(8);
            assert_eq!(sending.join().unwrap(), done(4, 0));
        });
        assert_eq!(sink.requests().len(), 1);
        let waiting = "deliveries WHERE alerter = 'hook' AND state = 'waiting' AND lease_until IS NULL";
        assert_eq!(database.count(waiting), 4);
        assert_eq!(database.count(&format!("{waiting} AND attempts = 0")), 3);
        assert_eq!(parts.dispatch(), done(3, 3));
        parts.advance(7);
        assert_eq!(parts.dispatch(), done(1, 1));
        assert!(keys_by_job(&sink.requests()).values().all(|keys| keys.len() == 1));
    }
}

#[test]
fn a_stop_gives_back_what_was_claimed() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        let parts = Parts::new(&database, "hook", &webhook("hook", &sink, ""));
        overdue(&database, "shop", 4, "hook");
        parts.sweep();
        parts.shutdown.request();
        assert_eq!(parts.dispatch(), done(4, 0));
        assert_eq!(sink.requests().len(), 0);
        assert_eq!(database.count("deliveries WHERE lease_until IS NOT NULL"), 0);
    }
}
