//! Sweeping and sending step by step: which messages are sent when, in which order, and which together.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::parts::{Parts, done, mail};
use common::*;
use innkeeper_store::SweepOutcome;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::{HttpSink, SinkResponse};
use innkeeper_testing::smtp_sink::{Reply, SmtpSink, Step};
use mail_parser::MessageParser;

/// Subject and Message-ID of each mail.
fn mails(sink: &SmtpSink) -> Vec<(String, String)> {
    let parse = |raw: &[u8]| {
        let mail = MessageParser::default().parse(raw).unwrap();
        (mail.subject().unwrap().to_owned(), mail.message_id().unwrap().to_owned())
    };
    sink.mails().iter().map(|mail| parse(&mail.raw)).collect()
}

#[test]
fn a_sweep_takes_a_batch_and_nothing_twice() {
    for database in TestDatabase::both() {
        let sink = SmtpSink::plain();
        let parts = Parts::new(&database, "log", &mail(&sink));
        overdue(&database, "shop", 10, "ops@example.com");
        let swept: Vec<SweepOutcome> = (0..4).map(|_| parts.sweep()).collect();
        assert_eq!(swept.iter().map(|swept| swept.looked).collect::<Vec<_>>(), [4, 4, 2, 0]);
        assert_eq!(swept.iter().map(|swept| swept.opened).sum::<usize>(), 10);
        assert_eq!(swept[0].deliveries["log"], 4);
        assert_eq!(swept[0].deliveries["mail"], 4);
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
        assert_eq!(parts.dispatch(), done(1, 1), "it is not held back as what follows is");
        parts.advance(3);
        assert_eq!(parts.dispatch(), done(1, 1));
        let mails = mails(&sink);
        let subjects: Vec<&str> = mails.iter().map(|(subject, _)| subject.as_str()).collect();
        let opened = "DOWN shop/job-000: has not checked in · innkeeper";
        let [first, again, back] = subjects[..] else { panic!("{:?}: {subjects:?}", database.kind()) };
        assert_eq!([first, again], [opened; 2], "{:?}", database.kind());
        assert!(back.starts_with("BACK shop/job-000: after 59 minutes 5"), "{:?}: {back}", database.kind());
        assert_eq!(mails[0].1, mails[1].1, "a repeat is known by its id");
        assert_ne!(mails[1].1, mails[2].1);
    }
}

#[test]
fn what_waited_while_its_alerter_was_parked_is_tried_as_long_as_any_other() {
    const DAY: i64 = 24 * 3600;
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        sink.otherwise(SinkResponse::status(500));
        let hook = format!("[alerter.hook]\nkind = \"webhook\"\nurl = \"{}\"\n", sink.url("/"));
        let mut parts = Parts::new(&database, "hook", &hook);
        overdue(&database, "shop", 1, "hook");
        parts.sweep();
        let waits = || database.count("deliveries WHERE alerter = 'hook' AND state = 'waiting'") == 1;
        // Parked for three days; then a provider that fails is tried for one.
        parts.sender.enabled_at = Some(parts.advance(3 * DAY));
        assert_eq!(parts.dispatch(), done(1, 0));
        assert!(waits(), "{:?}", database.kind());
        parts.advance(DAY - 3600);
        assert_eq!(parts.dispatch(), done(1, 0));
        assert!(waits(), "{:?}", database.kind());
        parts.advance(2 * 3600);
        assert_eq!(parts.dispatch(), done(1, 0));
        assert!(!waits(), "{:?}: a day is over", database.kind());
    }
}

#[test]
fn what_one_message_spoils_is_not_the_end_of_the_others() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        let chat = format!("[alerter.chat]\nkind = \"slack\"\nurl = \"{}\"\n", sink.url("/"));
        let parts = Parts::new(&database, "chat", &chat);
        overdue(&database, "shop", 4, "chat");
        assert_eq!(parts.sweep().opened, 4);
        // All four, the first two, and the first alone; the second alone may have been taken.
        for status in [400, 413, 422, 502] {
            sink.next(SinkResponse::status(status).body("invalid_blocks"));
        }
        assert_eq!(parts.dispatch(), done(4, 0));
        assert_eq!(sink.requests().len(), 4, "what follows waits with it");
        let dead = "deliveries WHERE alerter = 'chat' AND state = 'dead' AND problem LIKE '%invalid_blocks%'";
        assert_eq!(database.count(dead), 1);
        parts.advance(60);
        let first = parts.dispatch().delivered;
        parts.advance(60);
        assert_eq!(first + parts.dispatch().delivered, 3);
        let bodies: Vec<_> = sink.requests().into_iter().map(|request| request.body).collect();
        assert_eq!(bodies.len(), 6);
        assert!(bodies[4..].contains(&bodies[3]), "it goes out again as it was");
        assert_eq!(database.count("deliveries WHERE alerter = 'chat' AND state = 'delivered'"), 3);
        assert_eq!(database.count("deliveries WHERE alerter = 'chat' AND state = 'waiting'"), 0);
    }
}

#[test]
fn a_chat_that_takes_nothing_gets_few_messages_one_by_one() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        let chat = format!("[alerter.chat]\nkind = \"slack\"\nurl = \"{}\"\n", sink.url("/"));
        let mut parts = Parts::new(&database, "chat", &chat);
        parts.watch.batch = 100;
        overdue(&database, "shop", 40, "chat");
        assert_eq!(parts.sweep().opened, 40);
        sink.otherwise(SinkResponse::status(400).body("invalid_payload"));
        assert_eq!(parts.dispatch(), done(40, 0));
        assert!(sink.requests().len() < 30, "{}", sink.requests().len());
        assert_eq!(database.count("deliveries WHERE alerter = 'chat' AND state = 'dead'"), 10);
        assert_eq!(database.count("deliveries WHERE alerter = 'chat' AND state = 'waiting'"), 30);
        // An address that is gone is another matter: no message of another size would be taken there.
        parts.advance(3600);
        sink.otherwise(SinkResponse::status(404).body("no_service"));
        let before = sink.requests().len();
        assert_eq!(parts.dispatch(), done(30, 0));
        assert_eq!(sink.requests().len(), before + 1);
        assert_eq!(database.count("deliveries WHERE alerter = 'chat' AND state = 'dead'"), 40);
    }
}

#[test]
fn words_of_people_that_are_too_many_for_one_message_are_several() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        let chat = format!("[alerter.chat]\nkind = \"slack\"\nurl = \"{}\"\n", sink.url("/"));
        let mut parts = Parts::new(&database, "chat", &chat);
        parts.watch.batch = 100;
        overdue(&database, "shop", 50, "chat");
        database.execute(&format!("UPDATE reservations SET alert_msg = '{}'", "Call Ada. ".repeat(300)));
        assert_eq!(parts.sweep().opened, 50);
        assert_eq!(parts.dispatch(), done(50, 50));
        let requests = sink.requests();
        assert!((2..=5).contains(&requests.len()), "{}", requests.len());
        let said: Vec<String> = requests.iter().map(|request| request.json().to_string()).collect();
        assert!(said.iter().all(|said| said.len() < 70_000));
        assert_eq!(said.concat().matches("Ada.").count(), 50 * 300, "nothing is lost");
    }
}

#[test]
fn the_end_waits_for_its_beginning_where_each_is_sent_alone() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        sink.next(SinkResponse::status(503));
        let parts = Parts::new(&database, "hook", &webhook("hook", &sink, ""));
        overdue(&database, "shop", 2, "hook");
        parts.sweep();
        assert_eq!(parts.dispatch(), done(2, 1));
        parts.check_in("job-000");
        parts.check_in("job-001");
        parts.sweep();
        assert_eq!(parts.dispatch(), done(1, 1), "the end of the one that was told");
        parts.advance(7);
        assert_eq!([parts.dispatch(), parts.dispatch()], [done(1, 1), done(1, 1)]);
        let events = |component: &str| -> Vec<String> {
            let all = events(&sink.requests());
            all.into_iter().filter(|(of, _)| of == component).map(|(_, event)| event).collect()
        };
        let mut both = [events("job-000"), events("job-001")];
        both.sort();
        assert_eq!(both, [vec!["opened", "opened", "recovered"], vec!["opened", "recovered"]]);
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
        assert_eq!(mails(&sink)[0].0, "DOWN shop/job-000, more/job-000, more/job-001 · innkeeper");
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
fn a_storm_is_one_mail_at_once_then_a_digest_then_one_a_minute() {
    for database in TestDatabase::both() {
        let sink = SmtpSink::plain();
        let parts = Parts::new(&database, "mail", &mail(&sink));
        overdue(&database, "shop", 30, "ops@example.com");
        assert_eq!(parts.sweep().opened, 4);
        assert_eq!(parts.dispatch(), done(4, 4), "the first leaves at once");
        while parts.sweep().looked > 0 {}
        assert_eq!(parts.dispatch(), done(0, 0), "the rest gathers");
        overdue(&database, "other", 1, "late@example.com");
        while parts.sweep().looked > 0 {}
        assert_eq!(parts.dispatch(), done(1, 1), "nobody else waits for that");
        parts.advance(9);
        assert_eq!(parts.dispatch(), done(0, 0));
        parts.advance(1);
        assert_eq!(parts.dispatch(), done(26, 26));
        // Who is back is told with the others, and so is who falls silent.
        parts.check_in("job-000");
        parts.check_in("job-029");
        overdue(&database, "more", 3, "ops@example.com");
        while parts.sweep().looked > 0 {}
        parts.advance(59);
        assert_eq!(parts.dispatch(), done(0, 0));
        parts.advance(1);
        assert_eq!(parts.dispatch(), done(5, 5));
        assert_eq!(parts.dispatch(), done(0, 0));
        let told = sink.mails().iter().map(|mail| mail.to[0].clone()).collect::<Vec<_>>();
        assert_eq!(told, ["ops@example.com", "late@example.com", "ops@example.com", "ops@example.com"]);
        assert_eq!(database.count("deliveries WHERE alerter = 'mail' AND state <> 'delivered'"), 0);
        // It is over.
        parts.advance(71);
        parts.check_in("job-001");
        parts.sweep();
        assert_eq!(parts.dispatch(), done(1, 1), "at once");
    }
}

#[test]
fn a_storm_in_a_chat_is_as_few_and_each_is_told_alone_where_incidents_are_kept() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        let chat = format!("[alerter.chat]\nkind = \"slack\"\nurl = \"{}\"\n", sink.url("/services/x"));
        let mut parts = Parts::new(&database, "chat", &(chat + &webhook("hook", &sink, "")));
        overdue(&database, "shop", 8, "chat, hook");
        parts.sweep();
        assert_eq!(parts.dispatch(), done(4, 4));
        parts.sweep();
        assert_eq!(parts.dispatch(), done(0, 0));
        parts.advance(10);
        assert_eq!(parts.dispatch(), done(4, 4));
        assert_eq!(sink.requests().len(), 2);
        for (name, requests) in [("hook", 10), ("log", 10)] {
            parts.sender.name = innkeeper_core::names::AlerterName::parse("alerter", name).unwrap();
            while parts.dispatch().claimed > 0 {}
            assert_eq!(sink.requests().len(), requests, "{name}");
            let waits = format!("deliveries WHERE alerter = '{name}' AND state = 'waiting'");
            assert_eq!(database.count(&waits), 0);
        }
    }
}

#[test]
fn a_mail_server_that_is_away_in_mid_storm_costs_no_message_and_brings_no_flood() {
    for database in TestDatabase::both() {
        let sink = SmtpSink::plain();
        let parts = Parts::new(&database, "mail", &mail(&sink));
        overdue(&database, "shop", 30, "ops@example.com");
        parts.sweep();
        assert_eq!(parts.dispatch(), done(4, 4));
        while parts.sweep().looked > 0 {}
        sink.always(Step::Sender, Some(Reply::say("451 4.3.0 not now")));
        parts.advance(10);
        assert_eq!(parts.dispatch(), done(26, 0));
        let mut tries = 1;
        for second in 0..120 {
            if second == 3 {
                overdue(&database, "more", 4, "ops@example.com");
            }
            parts.sweep();
            let dispatched = parts.dispatch();
            tries += usize::from(dispatched.claimed > 0);
            assert_eq!(dispatched.delivered, 0);
            parts.advance(1);
        }
        assert!((3..=8).contains(&tries), "{tries} tries in two minutes");
        sink.always(Step::Sender, None);
        for _ in 0..200 {
            parts.dispatch();
            parts.advance(1);
        }
        assert_eq!(database.count("deliveries WHERE alerter = 'mail' AND state <> 'delivered'"), 0);
        assert!(sink.mails().len() <= 4, "{} mails", sink.mails().len());
    }
}
