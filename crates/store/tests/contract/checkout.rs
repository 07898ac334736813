//! Checking out: a reservation is removed, and everyone who was told of its alert is told so.

use innkeeper_store::{Arrival, Recorded, Reserved, StoreError, Target, Undone, Walk};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(
    nothing_of_it_stays_but_its_incidents,
    everyone_who_was_told_hears_of_it_once_and_after,
    everyone_hears_of_it_also_when_the_alert_was_long_open,
    nobody_hears_of_it_when_nothing_was_open,
    a_message_that_cannot_be_read_does_not_keep_it_from_leaving,
    made_again_it_starts_afresh,
    a_check_in_during_a_check_out_is_unknown_or_gone,
    undone_it_is_as_it_was,
    what_was_down_alerts_anew_when_it_comes_back,
    an_undo_takes_no_name_away,
    what_is_kept_and_cannot_be_read_is_named,
);

fn nothing_of_it_stays_but_its_incidents(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    store.book("other", &every(60));
    store.check_in("backup", &[start(at(1)), of_run(7, start(at(2))), fail(at(3), 1)]);
    store.check_in("other", &[start(at(1))]);
    store.pass(at(3));
    assert!(store.check_out(&app(SHOP), &component("backup"), at(4)).unwrap());
    assert!(!store.check_out(&app(SHOP), &component("backup"), at(4)).unwrap());

    for table in ["reservations", "states", "runs"] {
        assert_eq!(database.count(table), 1, "{table}");
    }
    // Its history stays for a day, in case it comes back.
    let prune = || store.prune(100, at(-1000), &mut Walk::default(), &|| true).unwrap().checkins;
    assert_eq!((store.forget_checkouts(at(4)).unwrap(), prune()), (0, 0));
    assert_eq!((store.forget_checkouts(at(5)).unwrap(), prune()), (1, 3));
    assert_eq!((database.count("checkins"), database.count("checkouts")), (1, 0));
    let incidents = store.incidents_since(at(0)).unwrap();
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0].closed_at, Some(at(4)));
}

fn everyone_who_was_told_hears_of_it_once_and_after(database: &TestDatabase) {
    let store = database.store();
    let patch = innkeeper_core::reservation::Patch {
        remind_every: Some(innkeeper_core::reminders::Reminders::Every(seconds(10))),
        ..every(60)
    };
    store.book("backup", &patch);
    store.sweep(at(60), 10, &Rules(tell_three)).unwrap();
    store.sweep(at(70), 10, &Rules(tell_three)).unwrap();
    let dedup_key = database.text("SELECT dedup_key FROM alerts").unwrap();
    store.check_out(&app(SHOP), &component("backup"), at(75)).unwrap();

    let told =
        database.texts("SELECT event || ' ' || alerter || ' ' || recipient FROM deliveries ORDER BY id");
    let ways = ["mail a@example.org", "mail b@example.org", "pager "];
    let of = |event: &str| ways.map(|way| format!("{event} {way}")).to_vec();
    assert_eq!(told, [of("opened"), of("reminder"), of("recovered")].concat());

    // In order: earlier messages go first, and the last one has the key of the alert.
    for (event, subject) in
        [("opened", "shop/backup"), ("reminder", "shop/backup"), ("recovered", "CHECKED OUT shop/backup")]
    {
        let sent = store.claim_singles("pager", at(80), seconds(60), "t", 10).unwrap();
        let [sending] = &sent[..] else { panic!("{event}: {sent:?}") };
        let notice = &sending.deliveries[0].notice;
        assert_eq!((notice.event.as_str(), notice.subject.as_str()), (event, subject));
        assert_eq!(notice.alert.as_ref().unwrap().dedup_key, dedup_key);
        let ids = vec![sending.deliveries[0].id];
        let done =
            innkeeper_store::FinishedDeliveries { ids, outcome: innkeeper_store::SendOutcome::Delivered };
        store.finish("t", &[done], at(80)).unwrap();
    }
}

fn everyone_hears_of_it_also_when_the_alert_was_long_open(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    store.pass(at(60));
    let sent = store.claim_singles("log", at(60), seconds(60), "t", 10).unwrap();
    let ids = vec![sent[0].deliveries[0].id];
    let done = innkeeper_store::FinishedDeliveries { ids, outcome: innkeeper_store::SendOutcome::Delivered };
    store.finish("t", &[done], at(60)).unwrap();
    store.prune(100, at(5000), &mut Walk::default(), &|| true).unwrap();
    store.check_out(&app(SHOP), &component("backup"), at(9000)).unwrap();
    assert_eq!(database.count("deliveries WHERE event = 'recovered'"), 1);
    store.prune(100, at(10_000), &mut Walk::default(), &|| true).unwrap();
    assert_eq!(database.count("deliveries WHERE event = 'opened'"), 0);
}

fn nobody_hears_of_it_when_nothing_was_open(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    store.pass(at(60));
    store.check_in("backup", &[success(at(61))]);
    store.pass(at(61));
    let before = database.count("deliveries");
    store.check_out(&app(SHOP), &component("backup"), at(62)).unwrap();
    assert_eq!(database.count("deliveries"), before);
}

fn a_message_that_cannot_be_read_does_not_keep_it_from_leaving(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    store.sweep(at(60), 10, &Rules(tell_three)).unwrap();
    database.execute("UPDATE deliveries SET notice = 'no JSON' WHERE alerter = 'pager'");
    assert!(store.check_out(&app(SHOP), &component("backup"), at(61)).unwrap());
    assert_eq!(database.count("deliveries WHERE event = 'recovered'"), 2);
}

fn made_again_it_starts_afresh(database: &TestDatabase) {
    let store = database.store();
    let first = store.book("backup", &every(60));
    let key = store.look("backup").key;
    store.check_in("backup", &[of_run(1, start(at(1))), fail(at(2), 1)]);
    store.pass(at(2));
    store.check_out(&app(SHOP), &component("backup"), at(3)).unwrap();

    let again = store.reserve(&app(SHOP), &component("backup"), &every(60), at(100)).unwrap();
    let Reserved::Created(second) = again else { panic!("{again:?}") };
    let reservation = store.look("backup");
    assert!(second != first && reservation.key != key, "an id is never used twice");
    assert_eq!((reservation.created_at, reservation.facts), (at(100), Default::default()));
    assert_eq!(store.alert("backup"), None);
    assert!(store.checkins_of(second, 10).unwrap().is_empty());
    assert_eq!(store.pass(at(159)).opened, 0);
    assert_eq!(store.pass(at(160)).opened, 1);
}

fn a_check_in_during_a_check_out_is_unknown_or_gone(database: &TestDatabase) {
    let store = database.store();
    for _ in 0..20 {
        store.book("backup", &every(60));
        together(2, |n| match n {
            0 => assert!(store.check_out(&app(SHOP), &component("backup"), at(2)).unwrap()),
            _ => {
                let written = store.record(&[arrival("backup", of_run(1, start(at(1))))]);
                assert!(
                    matches!(written.recorded[..], [Recorded::Done { .. } | Recorded::Unknown]),
                    "{written:?}"
                );
            }
        });
        for table in ["reservations", "states", "runs"] {
            assert_eq!(database.count(table), 0, "{table}");
        }
    }
}

fn undone_it_is_as_it_was(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &every(60));
    store.check_in("backup", &[success(at(1)), fail(at(2), 1), success(at(3))]);
    store.pass(at(3));
    let (before, history) = (store.look("backup"), store.checkins_of(id, 10).unwrap());
    store.check_out(&app(SHOP), &component("backup"), at(4)).unwrap();
    let checkout = store.checkout(id).unwrap().unwrap();
    assert_eq!((checkout.component.as_str(), checkout.at), ("backup", at(4)));

    assert_eq!(store.undo_checkout(id, at(5)).unwrap(), Undone::Done);
    assert_eq!(store.undo_checkout(id, at(5)).unwrap(), Undone::Unknown);
    let after = store.look("backup");
    assert_eq!(
        (after.id, after.key, &after.spec, &after.facts),
        (id, before.key, &before.spec, &before.facts)
    );
    assert_eq!(after.created_at, before.created_at);
    assert_eq!(store.checkins_of(id, 10).unwrap(), history);
    // Both lookup keys lead to it again, and the history goes on.
    store.check_in("backup", &[success(at(6))]);
    let by_key = Arrival { target: Target::Key(before.key), ..arrival("backup", success(at(7))) };
    assert!(matches!(store.record(&[by_key]).recorded[..], [Recorded::Done { .. }]));
    assert_eq!(store.checkins_of(id, 10).unwrap().len(), history.len() + 2);
    assert_eq!((store.pass(at(66)).opened, store.pass(at(67)).opened), (0, 1));
}

fn what_was_down_alerts_anew_when_it_comes_back(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &every(60));
    assert_eq!(store.pass(at(60)).opened, 1);
    store.check_out(&app(SHOP), &component("backup"), at(70)).unwrap();
    assert_eq!(store.undo_checkout(id, at(80)).unwrap(), Undone::Done);
    assert_eq!(store.alert("backup"), None);
    assert_eq!(store.pass(at(80)).opened, 1);
}

fn an_undo_takes_no_name_away(database: &TestDatabase) {
    let store = database.store();
    let first = store.book("backup", &every(60));
    store.check_out(&app(SHOP), &component("backup"), at(1)).unwrap();
    let second = store.book("backup", &every(5));
    let name = "shop/backup".to_owned();
    assert_eq!(store.undo_checkout(first, at(2)).unwrap(), Undone::Taken { name });
    assert_eq!(store.look("backup").id, second);
    // The checkout can be undone again when the name is free.
    store.check_out(&app(SHOP), &component("backup"), at(3)).unwrap();
    assert_eq!(store.undo_checkout(first, at(4)).unwrap(), Undone::Done);
    assert_eq!(store.look("backup").id, first);
}

fn what_is_kept_and_cannot_be_read_is_named(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &every(60));
    assert!(store.check_out(&app(SHOP), &component("backup"), at(1)).unwrap());
    for kept in ["[]", "3", "\"x\"", "{}", "{\"reservation\": []}", "{\"reservation\": {}}", "no JSON"] {
        database.execute(&format!("UPDATE checkouts SET reservation = '{kept}'"));
        match store.undo_checkout(id, at(2)) {
            Err(StoreError::Corrupt { table: "checkouts", id: named, .. }) => assert_eq!(named, id, "{kept}"),
            other => panic!("{kept}: {other:?}"),
        }
    }
    assert_eq!((database.count("checkouts"), database.count("reservations")), (1, 0));
}
