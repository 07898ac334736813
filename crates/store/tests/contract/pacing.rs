//! A recipient of digests gets the first message at once, those of the next ten seconds in one
//! digest, and after that one digest a minute, however many senders claim.

use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_store::{ActingStore, FinishedDeliveries, SendOutcome, Sending};
use innkeeper_testing::database::TestDatabase;

use crate::outbox::{TO, finish, put, retry, subjects};
use crate::world::*;

on_both!(
    the_first_goes_out_at_once_and_the_rest_gathers,
    nobody_else_waits,
    a_storm_that_is_over_is_forgotten,
    what_was_surely_not_sent_is_no_message,
    what_may_have_been_sent_goes_out_again_beside_it,
    a_refused_or_untried_message_holds_up_nobody,
    a_digest_of_which_a_part_came_through_was_sent,
    a_summary_stands_alone_and_waits_for_nobody,
    several_claimers_keep_to_it_together,
    an_alerter_that_is_not_paced_gathers_nothing,
    a_clock_that_returned_from_the_future_holds_nobody,
);

/// Claims the next digest that may be sent, with a lease of ten seconds.
fn claim(store: &ActingStore, second: i64, token: &str) -> Option<Sending> {
    store.claim_digest("mail", at(second), seconds(10), token, 100, true).unwrap()
}

/// Claims a digest and records its delivery at once; returns its subjects.
fn send(store: &ActingStore, second: i64) -> Vec<String> {
    let token = format!("at {second}");
    let Some(sending) = claim(store, second, &token) else { return Vec::new() };
    finish(store, &token, [&sending], SendOutcome::Delivered, second);
    subjects([&sending]).into_iter().map(str::to_owned).collect()
}

fn the_first_goes_out_at_once_and_the_rest_gathers(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["first"]);
    assert_eq!(send(&store, 0), ["first"]);
    put(&store, 1, &["a"]);
    put(&store, 9, &["b"]);
    assert_eq!(send(&store, 9), [""; 0]);
    assert_eq!(store.next_delivery_at("mail").unwrap(), Some(at(10)), "who waits for it knows when");
    assert_eq!(send(&store, 10), ["a", "b"]);
    put(&store, 11, &["c"]);
    put(&store, 60, &["d"]);
    assert_eq!(send(&store, 69), [""; 0]);
    assert_eq!(send(&store, 71), ["c", "d"], "a little late");
    put(&store, 72, &["e"]);
    assert_eq!(send(&store, 130), [""; 0]);
    assert_eq!(send(&store, 131), ["e"], "it lasts");
}

fn nobody_else_waits(database: &TestDatabase) {
    let store = database.store();
    let odd = "o'h\"ara@example.org";
    let to = |alerter: &str, recipient: &str| {
        store.put_notices(&[delivery(alerter, recipient, remark(recipient))], at(0)).unwrap();
    };
    for recipient in [TO, odd] {
        to("mail", recipient);
        to("mail", recipient);
    }
    assert_eq!(send(&store, 0), [TO; 2], "what is there at once goes out at once");
    assert_eq!(send(&store, 0), [odd; 2]);
    to("mail", TO);
    to("mail", odd);
    to("mail", "b@example.org");
    to("chat", "");
    assert_eq!(send(&store, 1), ["b@example.org"]);
    assert_eq!(send(&store, 1), [""; 0]);
    let chat = store.claim_digest("chat", at(1), seconds(10), "t", 100, true).unwrap();
    assert!(chat.is_some());
    assert_eq!(send(&store, 10), [TO]);
    assert_eq!(send(&store, 10), [odd]);
}

fn a_storm_that_is_over_is_forgotten(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["one"]);
    send(&store, 0);
    put(&store, 5, &["two"]);
    assert_eq!(send(&store, 10), ["two"]);
    put(&store, 100, &["three"]);
    assert_eq!(send(&store, 100), ["three"]);
    put(&store, 101, &["four"]);
    assert_eq!(send(&store, 110), ["four"], "the next storm gathers for ten seconds again");
    assert_eq!(store.forget_pacing(at(170)).unwrap(), 0);
    assert_eq!(store.forget_pacing(at(171)).unwrap(), 1);
    put(&store, 120, &["five"]);
    assert_eq!(send(&store, 120), ["five"]);
}

fn what_was_surely_not_sent_is_no_message(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["one"]);
    let first = claim(&store, 0, "t").unwrap();
    finish(&store, "t", [&first], retry(5, false), 1);
    put(&store, 2, &["two"]);
    assert_eq!(send(&store, 4), [""; 0], "both are tried together");
    assert_eq!(send(&store, 5), ["one", "two"]);
    put(&store, 6, &["three"]);
    assert_eq!(send(&store, 15), ["three"], "that was the first");
    // A message that is retried much later does not delay the others for so long.
    put(&store, 200, &["four"]);
    let fourth = claim(&store, 200, "u").unwrap();
    finish(&store, "u", [&fourth], retry(4000, false), 201);
    put(&store, 202, &["five"]);
    assert_eq!(send(&store, 260), [""; 0]);
    assert_eq!(send(&store, 261), ["five"]);
    assert_eq!(send(&store, 4000), ["four"]);
}

fn what_may_have_been_sent_goes_out_again_beside_it(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["one"]);
    let first = claim(&store, 0, "t").unwrap();
    finish(&store, "t", [&first], retry(5, true), 1);
    put(&store, 2, &["two"]);
    let again = claim(&store, 5, "u").unwrap();
    assert_eq!((subjects([&again]), &again.key), (vec!["one"], &first.key), "it is not held");
    finish(&store, "u", [&again], SendOutcome::Delivered, 6);
    assert_eq!(send(&store, 9), [""; 0]);
    assert_eq!(send(&store, 10), ["two"], "nor does it hold up the others any longer");
    // When a sender dies, its claim can be taken again after its lease, even during many alerts.
    put(&store, 71, &["three"]);
    claim(&store, 71, "dead").unwrap();
    put(&store, 72, &["four"]);
    assert_eq!(send(&store, 81), ["three"]);
    assert_eq!(send(&store, 131), ["four"]);
}

fn a_refused_or_untried_message_holds_up_nobody(database: &TestDatabase) {
    let store = database.store();
    let outcomes = [SendOutcome::Dead { problem: "no such mailbox".to_owned() }, SendOutcome::Untried];
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let second = 1000 * n as i64;
        put(&store, second, &["one"]);
        let first = claim(&store, second, "t").unwrap();
        finish(&store, "t", [&first], outcome, second + 1);
        put(&store, second + 1, &["two"]);
        let next = send(&store, second + 2);
        assert!(next == ["two"] || next == ["one"], "{next:?}");
        assert_eq!(send(&store, second + 2), [""; 0], "that one was sent");
        send(&store, second + 500);
    }
}

fn a_digest_of_which_a_part_came_through_was_sent(database: &TestDatabase) {
    let store = database.store();
    let dead = || SendOutcome::Dead { problem: "invalid_blocks".to_owned() };
    let endings: [&[SendOutcome]; 3] = [
        &[dead(), SendOutcome::Delivered],
        &[retry(5, true), SendOutcome::Untried],
        &[retry(5, false), SendOutcome::Delivered],
    ];
    for (n, outcomes) in endings.into_iter().enumerate() {
        for at_once in [true, false] {
            let second = 10_000 * (2 * n as i64 + i64::from(at_once));
            put(&store, second, &["one", "two"]);
            let digest = claim(&store, second, "t").unwrap();
            let parts = digest.deliveries.iter().zip(outcomes);
            let mut parts: Vec<FinishedDeliveries> = parts
                .map(|(delivery, outcome)| FinishedDeliveries {
                    ids: vec![delivery.id],
                    outcome: outcome.clone(),
                })
                .collect();
            if at_once {
                store.finish("t", &parts, at(second + 1)).unwrap();
            } else {
                // What was or may have been delivered is recorded first.
                parts.reverse();
                parts.sort_by_key(|part| {
                    !matches!(
                        part.outcome,
                        SendOutcome::Delivered | SendOutcome::Retry { maybe_sent: true, .. }
                    )
                });
                parts
                    .iter()
                    .for_each(|part| store.finish("t", std::slice::from_ref(part), at(second + 1)).unwrap());
            }
            put(&store, second + 2, &["next"]);
            assert!(!send(&store, second + 3).contains(&"next".to_owned()), "{n} {at_once}: it gathers");
            send(&store, second + 500);
            send(&store, second + 1000);
        }
    }
}

fn a_summary_stands_alone_and_waits_for_nobody(database: &TestDatabase) {
    let store = database.store();
    let summary = || Notice { event: EventKind::Summary, ..remark("summary") };
    put(&store, 0, &["one"]);
    store.put_notices(&[delivery("mail", TO, summary())], at(0)).unwrap();
    assert_eq!(send(&store, 0), ["one"]);
    assert_eq!(send(&store, 0), ["summary"]);
    put(&store, 1, &["two"]);
    store.put_notices(&[delivery("mail", TO, summary())], at(1)).unwrap();
    let early = claim(&store, 1, "t").unwrap();
    assert_eq!(subjects([&early]), ["summary"]);
    finish(&store, "t", [&early], retry(10, false), 2);
    let both = [send(&store, 10), send(&store, 10)];
    assert!(both.contains(&vec!["two".to_owned()]) && both.contains(&vec!["summary".to_owned()]), "{both:?}");
    // A summary does not delay other messages either.
    store.put_notices(&[delivery("mail", "b@example.org", summary())], at(20)).unwrap();
    assert_eq!(send(&store, 20), ["summary"]);
    store.put_notices(&[delivery("mail", "b@example.org", remark("three"))], at(21)).unwrap();
    assert_eq!(send(&store, 21), ["three"]);
}

fn several_claimers_keep_to_it_together(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["0"]);
    let sent = together(4, |n| {
        let own = database.connect();
        let mut mine = Vec::new();
        for m in 0..20 {
            let name = format!("{n} {m}");
            patiently(|| own.put_notices(&[delivery("mail", TO, remark(&name))], at(1)));
            mine.extend(patiently(|| own.claim_digest("mail", at(1), seconds(1000), &name, 100, true)));
        }
        mine
    });
    assert_eq!(sent.concat().len(), 1, "one of all of them goes out at once");
    let rest = claim(&store, 11, "t").unwrap();
    assert_eq!(rest.deliveries.len() + sent.concat()[0].deliveries.len(), 81, "and nothing is lost");
}

fn an_alerter_that_is_not_paced_gathers_nothing(database: &TestDatabase) {
    let store = database.store();
    for second in 0..3 {
        put(&store, second, &["one"]);
        let claimed = store.claim_digest("mail", at(second), seconds(10), "t", 100, false).unwrap();
        assert_eq!(claimed.unwrap().deliveries.len(), 1);
    }
    assert_eq!(database.count("pacing"), 0);
}

fn a_clock_that_returned_from_the_future_holds_nobody(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["one"]);
    database.execute(&format!("UPDATE deliveries SET next_at = {}", at(0).timestamp_millis()));
    assert_eq!(send(&store, 100_000), ["one"]);
    put(&store, 5, &["two"]);
    assert_eq!(send(&store, 5), ["two"]);
    put(&store, 6, &["three"]);
    assert_eq!(send(&store, 15), ["three"]);
}
