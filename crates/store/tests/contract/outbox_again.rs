//! Messages that somebody requests to be tried again.

use innkeeper_core::names::AlerterName;
use innkeeper_core::notice::DeliveryState;
use innkeeper_core::ways::{AlerterKind, WaysOut};
use innkeeper_store::{ActingStore, Actor, Retried, SendOutcome};
use innkeeper_testing::database::TestDatabase;

use crate::outbox::{TO, digest, finish, put, retry, singles, subjects};
use crate::world::*;

on_both!(
    what_was_given_up_waits_again,
    what_waits_is_tried_now,
    what_was_delivered_stays_so,
    of_a_digest_only_what_is_asked_for_goes_out_again,
    what_no_alerter_can_send_any_more_stays_as_it_is,
    what_is_asked_for_does_not_gather,
    what_is_asked_for_brings_along_what_it_would_wait_for,
    a_digest_that_may_have_been_sent_goes_out_again_whole,
);

fn dead() -> SendOutcome {
    SendOutcome::Dead { problem: "no such user".to_owned() }
}

fn what_was_given_up_waits_again(database: &TestDatabase) {
    let plain = database.store();
    let store = plain.acting_as(Actor { who: "user ada".to_owned(), source: String::new() });
    put(&plain, 0, &["one"]);
    let first = singles(&store, 1, "t");
    finish(&store, "t", &first, dead(), 2);
    let id = first[0].deliveries[0].id;
    assert_eq!(store.retry_delivery(id, at(100)).unwrap(), Retried::Done);
    let waiting = store.deliveries(DeliveryState::Waiting, None, 10).unwrap();
    assert_eq!((waiting[0].attempts, waiting[0].next_at, waiting[0].finished_at), (0, at(100), None));
    assert_eq!(waiting[0].created_at, at(0));
    let again = singles(&store, 100, "u");
    assert_eq!(again[0].key, first[0].key, "a repeat is recognised");
    assert_eq!(store.retry_delivery(id + 1, at(100)).unwrap(), Retried::Unknown);
    assert_eq!(database.count("audit WHERE action = 'retry delivery'"), 1);
}

fn what_waits_is_tried_now(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["one"]);
    let first = singles(&store, 1, "t");
    finish(&store, "t", &first, retry(1000, true), 2);
    assert!(singles(&store, 100, "u").is_empty());
    assert_eq!(store.retry_delivery(first[0].deliveries[0].id, at(100)).unwrap(), Retried::Done);
    let again = singles(&store, 100, "u");
    assert_eq!((again[0].deliveries[0].attempts, &again[0].key), (1, &first[0].key));
}

fn what_was_delivered_stays_so(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["one"]);
    let sent = singles(&store, 1, "t");
    finish(&store, "t", &sent, SendOutcome::Delivered, 2);
    assert_eq!(store.retry_delivery(sent[0].deliveries[0].id, at(3)).unwrap(), Retried::Delivered);
    assert!(singles(&store, 100, "u").is_empty());
}

fn of_a_digest_only_what_is_asked_for_goes_out_again(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["one", "two"]);
    let first = digest(&store, 1, "t").unwrap();
    finish(&store, "t", [&first], dead(), 2);
    assert_eq!(store.retry_delivery(first.deliveries[1].id, at(3)).unwrap(), Retried::Done);
    let again = digest(&store, 3, "u").unwrap();
    assert_eq!(subjects([&again]), ["two"]);
    assert_ne!(again.key, first.key, "it is another message");
}

fn what_no_alerter_can_send_any_more_stays_as_it_is(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["one", "two"]);
    let first = singles(&store, 1, "t");
    finish(&store, "t", [&first[0]], dead(), 2);
    finish(&store, "t", [&first[1]], SendOutcome::Delivered, 2);
    let [given_up, delivered] = [0, 1].map(|n| first[n].deliveries[0].id);
    let node = |id: &str, goodbye: &str| {
        database.execute(&format!(
            "INSERT INTO nodes (id, role, host, address, version, started_at, beat_at, offset_ms, goodbye_at, unable, problem)
             VALUES ('{id}', 'sweeper', '{id}', '', '', 0, {beat}, 0, {goodbye}, '', '')",
            beat = at(50).timestamp_millis()
        ));
    };
    let with = |names: &[&str]| {
        let names: Vec<AlerterName> =
            names.iter().map(|name| AlerterName::parse("alerter", name).unwrap()).collect();
        WaysOut::new(names.iter().map(|name| (name, AlerterKind::Smtp)))
    };
    node("a", &at(60).timestamp_millis().to_string());
    node("b", "NULL");
    store.publish_ways("a", &with(&["mail"])).unwrap();
    assert_eq!(store.retry_delivery(given_up, at(100)).unwrap(), Retried::Done, "b has not said what it has");
    finish(&store, "u", &singles(&store, 100, "u"), dead(), 101);
    store.publish_ways("b", &with(&["post"])).unwrap();
    assert_eq!(store.retry_delivery(given_up, at(110)).unwrap(), Retried::Done, "a may come back");
    finish(&store, "v", &singles(&store, 110, "v"), dead(), 111);
    assert_eq!(store.retry_delivery(given_up, at(660)).unwrap(), Retried::NoAlerter("mail".to_owned()));
    assert_eq!(store.retry_delivery(delivered, at(660)).unwrap(), Retried::Delivered);
    assert!(singles(&store, 700, "w").is_empty());
    store.publish_ways("b", &with(&["mail"])).unwrap();
    assert_eq!(store.retry_delivery(given_up, at(700)).unwrap(), Retried::Done);
}

/// Sends at `at(second)` to a recipient of digests; returns the subjects.
fn send(store: &ActingStore, second: i64) -> Vec<String> {
    let token = format!("at {second}");
    let claimed = store.claim_digest("mail", at(second), seconds(10), &token, 100, true).unwrap();
    let Some(sending) = claimed else { return Vec::new() };
    finish(store, &token, [&sending], SendOutcome::Delivered, second);
    subjects([&sending]).into_iter().map(str::to_owned).collect()
}

fn what_is_asked_for_does_not_gather(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["refused", "another"]);
    let first = store.claim_digest("mail", at(0), seconds(10), "t", 100, true).unwrap().unwrap();
    finish(&store, "t", [&first], dead(), 1);
    put(&store, 2, &["storm"]);
    assert_eq!(send(&store, 2), ["storm"]);
    put(&store, 3, &["more"]);
    assert_eq!(send(&store, 3), [""; 0], "others gather");
    assert_eq!(store.retry_delivery(first.deliveries[0].id, at(4)).unwrap(), Retried::Done);
    assert_eq!(send(&store, 4), ["refused"]);
    assert_eq!(send(&store, 4), [""; 0]);
    let more = store.deliveries(DeliveryState::Waiting, None, 10).unwrap();
    assert_eq!(store.retry_delivery(more[0].id, at(5)).unwrap(), Retried::Done);
    assert_eq!(send(&store, 5), ["more"], "also what was not tried yet");
    put(&store, 6, &["rest"]);
    assert_eq!(
        (send(&store, 11), send(&store, 12)),
        (Vec::new(), vec!["rest".to_owned()]),
        "nothing else has changed"
    );
}

fn what_is_asked_for_brings_along_what_it_would_wait_for(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["storm"]);
    assert_eq!(send(&store, 59), ["storm"]);
    let tell = |told: &innkeeper_store::AlertEvent<'_>| {
        vec![delivery(
            "mail",
            TO,
            innkeeper_core::notice::Notice { subject: told.kind.as_str().to_owned(), ..notice(told) },
        )]
    };
    store.book("backup", &every(60));
    store.sweep(at(60), 10, &Rules(&tell)).unwrap();
    store.check_in("backup", &[success(at(61))]);
    store.sweep(at(61), 10, &Rules(&tell)).unwrap();
    let waiting = store.deliveries(DeliveryState::Waiting, None, 10).unwrap();
    let end = waiting.iter().map(|one| one.id).max().unwrap();
    assert_eq!(store.retry_delivery(end, at(62)).unwrap(), Retried::Done);
    assert_eq!(
        (send(&store, 62), send(&store, 62)),
        (vec!["opened".to_owned()], vec!["recovered".to_owned()])
    );
}

fn a_digest_that_may_have_been_sent_goes_out_again_whole(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["one", "two"]);
    let first = digest(&store, 1, "t").unwrap();
    finish(&store, "t", [&first], retry(1000, true), 2);
    assert_eq!(store.retry_delivery(first.deliveries[1].id, at(100)).unwrap(), Retried::Done);
    let again = digest(&store, 100, "u").unwrap();
    assert_eq!((subjects([&again]), &again.key), (vec!["one", "two"], &first.key));
}
