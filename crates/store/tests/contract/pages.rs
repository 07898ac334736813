//! What pages ask for beside reservations.

use innkeeper_store::Outcome;
use innkeeper_testing::database::TestDatabase;

use crate::outbox::{finish, singles};
use crate::world::*;

on_both!(
    an_alert_shows_what_became_of_its_messages,
    bad_guests_are_those_with_the_most_alerts,
    troubles_are_the_alerts_that_were_open_since_then,
);

fn an_alert_shows_what_became_of_its_messages(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &every(60));
    store.sweep(at(60), 10, &|_| vec![delivery("mail", "ops@example.com", remark("down"))]).unwrap();
    let alerts = store.alerts(Some(id), Some(true), None, 10).unwrap();
    assert_eq!((alerts.len(), alerts[0].component.as_str(), alerts[0].closed_at), (1, "backup", None));
    assert_eq!(store.deliveries("waiting", None, 10).unwrap().len(), 1);
    let claimed = singles(&store, 61, "t");
    finish(&store, "t", &claimed, Outcome::Dead { problem: "no such user".to_owned() }, 62);
    let of = store.deliveries_of(&[alerts[0].id]).unwrap();
    assert_eq!((of[0].state.as_str(), of[0].problem.as_deref()), ("dead", Some("no such user")));
    assert_eq!(store.deliveries("dead", None, 10).unwrap(), of);
    assert_eq!(store.deliveries("dead", Some(of[0].id), 10).unwrap(), []);
    store.check_in("backup", &[success(at(70))]);
    store.pass(at(70));
    assert_eq!(store.alerts(None, Some(true), None, 10).unwrap(), []);
    let past = store.alerts(None, Some(false), None, 10).unwrap();
    assert_eq!(past[0].closed_at, Some(at(70)));
    assert_eq!(store.alerts(None, None, Some(past[0].id), 10).unwrap(), []);
}

fn bad_guests_are_those_with_the_most_alerts(database: &TestDatabase) {
    let store = database.store();
    for (name, failures) in [("once", 1), ("often", 3)] {
        store.book(name, &every(100_000));
        for n in 0..failures {
            store.check_in(name, &[fail(at(10 + n * 10), 1), success(at(15 + n * 10))]);
            store.pass(at(16 + n * 10));
        }
    }
    let guests = store.bad_guests(at(0), 10).unwrap();
    let known: Vec<(&str, i64)> =
        guests.iter().map(|guest| (guest.component.as_str(), guest.alerts)).collect();
    assert_eq!(known, [("often", 3), ("once", 1)]);
    assert_eq!(guests[0].latest_at, at(36));
    assert_eq!(store.bad_guests(at(30), 10).unwrap()[0].alerts, 1, "only since then");
    assert_eq!(store.bad_guests(at(0), 1).unwrap().len(), 1);
}

fn troubles_are_the_alerts_that_were_open_since_then(database: &TestDatabase) {
    let store = database.store();
    let flaky = store.book("flaky", &every(100_000));
    let dead = store.book("dead", &every(60));
    store.book("fine", &every(100_000));
    for n in 0..3 {
        store.check_in("flaky", &[fail(at(10 + n * 10), 1)]);
        store.pass(at(11 + n * 10));
        store.check_in("flaky", &[success(at(15 + n * 10))]);
        store.pass(at(16 + n * 10));
    }
    store.pass(at(60));
    let spans = |since: &[(i64, i64)]| {
        let since: Vec<_> = since.iter().map(|(id, since)| (*id, at(*since))).collect();
        let mut found: Vec<_> = store
            .troubles(&since)
            .unwrap()
            .into_iter()
            .flat_map(|(id, spans)| spans.into_iter().map(move |span| (id, span.from, span.until)))
            .collect();
        found.sort_unstable();
        found
    };
    let closed = |from: i64, until: i64| (flaky, at(from), Some(at(until)));
    assert_eq!(spans(&[(flaky, 0)]), [closed(11, 16), closed(21, 26), closed(31, 36)]);
    assert_eq!(spans(&[(flaky, 26)]), [closed(21, 26), closed(31, 36)]);
    assert_eq!(
        spans(&[(flaky, 30), (dead, 1000)]),
        [closed(31, 36), (dead, at(60), None)],
        "each since its own"
    );
    assert_eq!(spans(&[(-1, 0)]), []);
    assert_eq!(spans(&[]), []);
}
