//! The sweep and the sending step by step: what goes out when, in which order, and in which company.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::parts::{Parts, done, mail};
use common::*;
use innkeeper_store::Swept;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::{Answer, HttpSink};
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
        let swept: Vec<Swept> = (0..4).map(|_| parts.sweep()).collect();
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
fn the_end_waits_for_its_beginning_where_each_is_sent_alone() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        sink.next(Answer::status(503));
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
fn a_storm_is_one_mail_at_once_and_one_for_the_rest() {
    for database in TestDatabase::both() {
        let sink = SmtpSink::plain();
        let parts = Parts::new(&database, "mail", &mail(&sink));
        overdue(&database, "shop", 30, "ops@example.com");
        let gathering = &parts.sender.gathering;
        gathering.backlog(true);
        assert_eq!(parts.sweep().opened, 4);
        assert_eq!(parts.dispatch(), done(4, 4), "the first leaves at once");
        parts.sweep();
        parts.sweep();
        assert_eq!(parts.dispatch(), done(0, 0), "the rest gathers");
        overdue(&database, "other", 1, "late@example.com");
        while parts.sweep().looked > 0 {}
        assert_eq!(parts.dispatch(), done(1, 1), "nobody else waits for that");
        assert_eq!(parts.dispatch(), done(0, 0));
        gathering.backlog(false);
        assert_eq!(parts.dispatch(), done(26, 26));
        let subjects: Vec<String> = mails(&sink).into_iter().map(|(subject, _)| subject).collect();
        assert_eq!(subjects[0], "[innkeeper] 4 alerts: 4 overdue");
        assert_eq!(subjects[1], "[innkeeper] Job Failed to checkin: other/job-000");
        assert_eq!(subjects[2], "[innkeeper] 26 alerts: 26 overdue");
        assert_eq!(database.count("deliveries WHERE alerter = 'mail' AND state = 'delivered'"), 31);
    }
}

#[test]
fn a_backlog_that_takes_long_is_told_in_between() {
    let database = TestDatabase::sqlite();
    let sink = SmtpSink::plain();
    let parts = Parts::new(&database, "mail", &mail(&sink));
    overdue(&database, "shop", 12, "ops@example.com");
    parts.sender.gathering.backlog(true);
    parts.sweep();
    assert_eq!(parts.dispatch(), done(4, 4));
    parts.sweep();
    parts.advance(9);
    assert_eq!(parts.dispatch(), done(0, 0));
    parts.sweep();
    parts.advance(1);
    assert_eq!(parts.dispatch(), done(8, 8));
}
