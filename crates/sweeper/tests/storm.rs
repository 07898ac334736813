//! A storm of alerts: a recipient of many jobs gets the first message at once, those of the next ten seconds in one
//! digest, and then one digest a minute while it lasts. Real processes; time is moved, not waited for.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use common::parts::mail;
use common::*;
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::recipient::Recipients;
use innkeeper_core::reservation::Patch;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::{Clock, SystemClock};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::{PATIENCE, Server};
use innkeeper_testing::smtp_sink::{ReceivedMail, Reply, SmtpSink, Step};
use mail_parser::MessageParser;

const JOBS: usize = 30;

/// Reserves `JOBS` jobs whose deadlines are spread over one second, the first in two.
fn due_within_a_second(database: &TestDatabase, notify: &str) {
    let store = database.store();
    let patch = Patch {
        notify: Some(Recipients::parse("notify", notify).unwrap()),
        schedule: Some((Schedule::every(TimeDelta::hours(1)).unwrap(), None)),
        ..Patch::default()
    };
    let first = SystemClock.now() + TimeDelta::seconds(2) - TimeDelta::hours(1);
    for n in 0..JOBS {
        let (app, component) = (AppName::parse("shop").unwrap(), ComponentName::parse(job(n)).unwrap());
        let at = first + TimeDelta::milliseconds(1000 * n as i64 / JOBS as i64);
        store.reserve(&app, &component, &patch, at).unwrap();
    }
}

/// The jobs that these mails name.
fn named(mails: &[ReceivedMail]) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for mail in mails {
        let mail = MessageParser::default().parse(&mail.raw).unwrap();
        let text = format!("{}\n{}", mail.subject().unwrap(), mail.body_text(0).unwrap());
        let jobs = text.split("shop/").skip(1).map(|rest| rest.chars().take(7).collect::<String>());
        named.extend(jobs);
    }
    named
}

#[test]
fn thirty_jobs_due_within_a_second_are_two_mails() {
    for database in TestDatabase::both() {
        let sink = SmtpSink::plain();
        let people = ["ops@example.com", "dba@example.com"];
        due_within_a_second(&database, &people.join(", "));
        let config = config(&database, &mail(&sink));
        let _ingest = Server::start("ingest", &config, &[]);
        let _sweepers = [(); 2].map(|()| Server::start("sweeper", &config, &[]));
        wait_until("every job is told of", || database.count("alerts") == JOBS as i64);
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(
            people.map(|person| to(&sink, person).len()),
            [1, 1],
            "one at once: {:?}",
            database.kind()
        );
        database.age(Duration::from_secs(10));
        wait_until("all of it is sent", || {
            database.count("deliveries WHERE alerter = 'mail' AND state = 'waiting'") == 0
        });
        for person in people {
            let mails = to(&sink, person);
            assert_eq!(mails.len(), 2, "{person} {:?}", database.kind());
            assert_eq!(named(&mails).len(), JOBS, "{person}");
        }
    }
}

#[test]
fn a_storm_in_which_sweepers_are_killed_and_the_mail_server_is_away_is_told_whole() {
    const MANY: usize = 1000;
    for database in TestDatabase::both() {
        let sink = SmtpSink::plain();
        let people = ["ops@example.com", "dba@example.com"];
        overdue(&database, "shop", MANY, &people.join(", "));
        let config = config(&database, &(mail(&sink) + "timeout = \"60s\"\n[sweeper]\nbatch = 50\n"));
        let sweeper = || Server::start("sweeper", &config, &[]);
        let _ingest = Server::start("ingest", &config, &[]);
        // The first mails are taken, and their senders never hear so.
        sink.always(Step::End, Some(Reply::Hang));
        let mut sweepers = [sweeper(), sweeper()];
        sink.wait_for(2, PATIENCE);
        sweepers.iter_mut().for_each(Server::kill);
        sink.always(Step::End, None);
        sink.always(Step::Sender, Some(Reply::say("451 4.3.0 not now")));
        let sweepers = [sweeper(), sweeper()];
        wait_until("every job is told of", || database.count("alerts") == MANY as i64);
        for _ in 0..3 {
            database.age(Duration::from_secs(10));
            std::thread::sleep(Duration::from_secs(1));
        }
        sink.always(Step::Sender, None);
        end_leases(&database);
        settle_gathered(&database);
        assert_eq!(database.count("deliveries WHERE state <> 'delivered'"), 0);
        assert_eq!(database.count("deliveries WHERE alerter = 'mail'"), 2 * MANY as i64);
        for person in people {
            let mails = to(&sink, person);
            let ids: BTreeSet<String> = mails.iter().map(message_id).collect();
            println!(
                "{:?}: {} mails to {person}, {} of them one again",
                database.kind(),
                mails.len(),
                ids.len()
            );
            let sendings = database.texts(&format!(
                "SELECT DISTINCT sending FROM deliveries WHERE alerter = 'mail' AND recipient = '{person}'"
            ));
            assert_eq!(ids.len(), sendings.len(), "what was recorded came, and nothing else");
            assert!(mails.len() <= 6, "{} mails", mails.len());
        }
        drop(sweepers);
    }
}

fn message_id(mail: &ReceivedMail) -> String {
    MessageParser::default().parse(&mail.raw).unwrap().message_id().unwrap().to_owned()
}

/// What came for this person.
fn to(sink: &SmtpSink, person: &str) -> Vec<ReceivedMail> {
    sink.mails().into_iter().filter(|mail| mail.to == [person]).collect()
}
