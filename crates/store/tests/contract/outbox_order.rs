//! Messages of one incident to one recipient keep their order, whatever happens to the first of them.

use innkeeper_store::{ActingStore, SendOutcome};
use innkeeper_testing::database::TestDatabase;

use crate::outbox::{TO, digest, finish, retry, singles};
use crate::world::*;

on_both!(
    a_single_waits_for_the_one_before,
    a_dead_one_is_not_waited_for,
    another_incident_recipient_or_alerter_does_not_wait,
    a_digest_takes_an_incident_as_one_and_in_order,
    a_digest_waits_for_what_is_being_sent_or_tried_again,
    a_digest_waits_for_what_must_go_out_alone,
    many_digesters_never_send_the_end_before_the_beginning,
);

/// An alert of `name` that opened at `at(60)` and closed at `at(61)`: two messages for each of three ways.
fn opened_and_closed(store: &ActingStore, name: &str) {
    store.book(name, &every(60));
    store.sweep(at(60), 10, &Rules(tell_three)).unwrap();
    store.check_in(name, &[success(at(61))]);
    store.sweep(at(61), 10, &Rules(tell_three)).unwrap();
}

fn events<'a>(sendings: impl IntoIterator<Item = &'a innkeeper_store::Sending>) -> Vec<&'a str> {
    sendings.into_iter().flat_map(|one| &one.deliveries).map(|one| one.notice.event.as_str()).collect()
}

fn a_single_waits_for_the_one_before(database: &TestDatabase) {
    let store = database.store();
    opened_and_closed(&store, "backup");
    let first = singles(&store, 70, "t");
    assert_eq!(events(&first), ["opened", "opened"], "one for each of two people");
    assert!(singles(&store, 71, "u").is_empty(), "it is being sent");
    finish(&store, "t", &first[..1], SendOutcome::Delivered, 71);
    finish(&store, "t", &first[1..], retry(100, false), 71);
    let second = singles(&store, 71, "u");
    assert_eq!((events(&second), second[0].recipient.as_str()), (vec!["recovered"], TO));
    finish(&store, "u", &second, SendOutcome::Delivered, 72);
    let again = singles(&store, 100, "u");
    assert_eq!(events(&again), ["opened"]);
    finish(&store, "u", &again, SendOutcome::Delivered, 100);
    assert_eq!(events(&singles(&store, 100, "u")), ["recovered"]);
}

fn a_dead_one_is_not_waited_for(database: &TestDatabase) {
    let store = database.store();
    opened_and_closed(&store, "backup");
    let first = singles(&store, 70, "t");
    finish(&store, "t", &first, SendOutcome::Dead { problem: "no".to_owned() }, 71);
    assert_eq!(events(&singles(&store, 71, "t")), ["recovered", "recovered"]);
}

fn another_incident_recipient_or_alerter_does_not_wait(database: &TestDatabase) {
    let store = database.store();
    opened_and_closed(&store, "backup");
    let held = singles(&store, 70, "t");
    finish(&store, "t", &held, retry(500, true), 70);
    opened_and_closed(&store, "other");
    assert_eq!(events(&singles(&store, 70, "t")), ["opened", "opened"]);
    let paged = store.claim_singles("pager", at(70), seconds(10), "t", 10).unwrap();
    assert_eq!(events(&paged), ["opened", "opened"]);
}

fn a_digest_takes_an_incident_as_one_and_in_order(database: &TestDatabase) {
    let store = database.store();
    opened_and_closed(&store, "backup");
    opened_and_closed(&store, "other");
    let sent = digest(&store, 70, "t").unwrap();
    assert_eq!(
        (events([&sent]), sent.recipient.as_str()),
        (vec!["opened", "recovered", "opened", "recovered"], TO)
    );
}

fn a_digest_waits_for_what_is_being_sent_or_tried_again(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    store.sweep(at(60), 10, &Rules(tell_three)).unwrap();
    let first = [digest(&store, 60, "t").unwrap(), digest(&store, 60, "t").unwrap()];
    store.check_in("backup", &[success(at(61))]);
    store.sweep(at(61), 10, &Rules(tell_three)).unwrap();
    assert_eq!(digest(&store, 62, "u"), None, "the beginning is being sent");
    finish(&store, "t", &first[..1], retry(100, false), 62);
    finish(&store, "t", &first[1..], SendOutcome::Delivered, 62);
    let other = digest(&store, 62, "u").unwrap();
    assert_eq!((events([&other]), &other.recipient), (vec!["recovered"], &first[1].recipient));
    assert_eq!(digest(&store, 63, "u"), None, "the beginning is tried again later");
    let both = digest(&store, 100, "u").unwrap();
    assert_eq!((events([&both]), &both.recipient), (vec!["opened", "recovered"], &first[0].recipient));
}

fn a_digest_waits_for_what_must_go_out_alone(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    let tell = |told: &innkeeper_store::AlertEvent<'_>| tell_three(told)[..1].to_vec();
    store.sweep(at(60), 10, &Rules(&tell)).unwrap();
    let first = digest(&store, 60, "t").unwrap();
    // It may have been sent, so it must go out again unchanged. It is due later than what follows
    // it.
    finish(&store, "t", [&first], retry(100, true), 62);
    store.check_in("backup", &[success(at(61))]);
    store.sweep(at(61), 10, &Rules(&tell)).unwrap();
    let again = digest(&store, 100, "u").unwrap();
    assert_eq!((events([&again]), &again.key), (vec!["opened"], &first.key));
    assert_eq!(digest(&store, 100, "u"), None);
    finish(&store, "u", [&again], SendOutcome::Delivered, 101);
    assert_eq!(events([&digest(&store, 101, "u").unwrap()]), ["recovered"]);
}

fn many_digesters_never_send_the_end_before_the_beginning(database: &TestDatabase) {
    let store = database.store();
    for n in 0..30 {
        store.book(&format!("job {n}"), &every(60));
    }
    let sent = std::sync::Mutex::new(Vec::new());
    let done = std::sync::atomic::AtomicBool::new(false);
    together(4, |n| {
        let own = database.connect();
        if n == 0 {
            for round in 1..=5 {
                own.sweep(at(60 * round), 100, &Rules(tell_log)).unwrap();
                let batch: Vec<_> =
                    (0..30).map(|n| arrival(&format!("job {n}"), success(at(60 * round)))).collect();
                own.record(&batch);
                own.sweep(at(60 * round), 100, &Rules(tell_log)).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
            return;
        }
        let token = n.to_string();
        loop {
            let last = done.load(std::sync::atomic::Ordering::SeqCst);
            let claimed = patiently(|| own.claim_digest("log", at(1000), seconds(1000), &token, 7, false));
            match claimed {
                Some(sending) => {
                    let mut sent = sent.lock().unwrap();
                    for one in &sending.deliveries {
                        sent.push((one.notice.alert.as_ref().unwrap().id, one.id));
                    }
                    drop(sent);
                    finish(&own, &token, [&sending], SendOutcome::Delivered, 1000);
                }
                None if last && own.waiting_counts().unwrap().waiting == 0 => return,
                None => {}
            }
        }
    });
    let sent = sent.into_inner().unwrap();
    assert_eq!(sent.len(), 300);
    let mut latest = std::collections::HashMap::new();
    for (alert, id) in sent {
        let before = latest.insert(alert, id);
        assert!(before.is_none_or(|before| before < id), "of alert {alert}: {before:?} before {id}");
    }
}
