//! Claims step by step: a lease keeps other senders away, and no claimed or failed delivery is lost.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use chrono::TimeDelta;
use common::parts::{Parts, done};
use common::*;
use innkeeper_core::Clock;
use innkeeper_store::{FinishedDeliveries, SendOutcome};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::{HttpSink, SinkResponse};

#[test]
fn a_message_is_tried_for_a_day_at_growing_intervals_and_then_kept() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        sink.otherwise(SinkResponse::status(503).body("closed"));
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
        let late = FinishedDeliveries { ids, outcome: SendOutcome::Dead { problem: "too late".to_owned() } };
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
fn a_claim_is_renewed_while_its_sender_is_at_work() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        sink.next(SinkResponse::Hang);
        let parts = Parts::new(&database, "hook", &webhook("hook", &sink, "timeout = \"1s\""));
        overdue(&database, "shop", 4, "hook");
        parts.sweep();
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| parts.dispatch());
            sink.wait_for(1, innkeeper_testing::process::PATIENCE);
            let lease = parts.sender.lease;
            for _ in 0..3 {
                let now = parts.clock.advance(lease - TimeDelta::seconds(1));
                parts.sender.leases.renew(&parts.store, now + lease).unwrap();
                let claim = parts.store.claim_singles("hook", now, lease, "other", 8).unwrap();
                assert_eq!(claim, [], "nobody else may have them");
            }
            assert_eq!(sending.join().unwrap(), done(4, 3));
        });
        let now = parts.clock.advance(TimeDelta::hours(1));
        parts.sender.leases.renew(&parts.store, now).unwrap();
        assert_eq!(
            database.count("deliveries WHERE lease_until IS NOT NULL"),
            0,
            "what is recorded is not renewed"
        );
        assert_eq!(parts.dispatch(), done(1, 1), "the one that hung is tried again");
    }
}

#[test]
fn a_sender_that_was_held_up_gives_back_most_of_a_large_claim() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        sink.next(SinkResponse::Hang);
        let parts = Parts::new(&database, "hook", &webhook("hook", &sink, "timeout = \"1s\""));
        overdue(&database, "shop", 20, "hook");
        while parts.sweep().looked > 0 {}
        assert_eq!(parts.sender.dispatch(20, &parts.shutdown).unwrap(), done(9, 8));
        assert_eq!(database.count("deliveries WHERE lease_until IS NOT NULL"), 0);
        assert_eq!(parts.sender.dispatch(20, &parts.shutdown).unwrap(), done(11, 11));
        parts.advance(7);
        assert_eq!(parts.dispatch(), done(1, 1), "the one that hung");
        assert_eq!(keys_by_job(&sink.requests()).len(), 20);
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

#[test]
fn a_message_that_cannot_be_read_holds_up_no_other() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        let parts = Parts::new(&database, "hook", &webhook("hook", &sink, ""));
        overdue(&database, "shop", 4, "hook");
        parts.sweep();
        database.execute(
            "UPDATE deliveries SET notice = '{' WHERE id = (SELECT MIN(id) FROM deliveries WHERE alerter = 'hook')",
        );
        assert_eq!(parts.dispatch().delivered, 3);
        assert_eq!(sink.requests().len(), 3);
        let problem = database.text("SELECT problem FROM deliveries WHERE state = 'dead'").unwrap();
        assert!(problem.contains("notice"), "{problem}");
    }
}
