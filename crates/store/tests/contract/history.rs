//! The history: reading it, and what pruning leaves.

use innkeeper_core::checkin::CheckIn;
use innkeeper_store::{Pruned, Walk};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(
    the_history_is_paged_through_from_a_check_in_on,
    each_reservation_keeps_its_latest,
    what_is_old_goes,
    pruning_stops_when_it_is_told_to,
    pruning_goes_on_where_it_stopped,
    incidents_and_messages_go_when_they_ended_long_ago,
    the_latest_check_in_is_listed_first,
    incidents_are_those_open_since,
);

fn each_reservation_keeps_its_latest(database: &TestDatabase) {
    let store = database.store();
    let ids: Vec<i64> = ["a", "b", "c"].map(|name| store.book(name, &every(60))).to_vec();
    for second in 0..20 {
        store.check_in("a", &[success(at(second)), log(at(second))]);
        if second % 4 == 0 {
            store.check_in("b", &[success(at(second))]);
        }
    }
    let pruned = store.prune(10, at(-1), &mut Walk::default(), &|| true).unwrap();
    assert_eq!(pruned, Pruned { checkins: 30, ..Pruned::default() });
    let times = |id| store.checkins_of(id, 100).unwrap().iter().map(|one| one.at).collect::<Vec<_>>();
    let kept: Vec<_> = (15..20).rev().flat_map(|second| [at(second), at(second)]).collect();
    assert_eq!(times(ids[0]), kept);
    assert_eq!(times(ids[1]), [at(16), at(12), at(8), at(4), at(0)]);
    assert!(times(ids[2]).is_empty());
    assert_eq!(store.prune(10, at(-1), &mut Walk::default(), &|| true).unwrap(), Pruned::default());
    assert_eq!(store.look("a").facts.checkins, 40, "facts are not history");
}

fn what_is_old_goes(database: &TestDatabase) {
    let store = database.store();
    store.book("a", &every(60));
    // More rows than one step of the pruning removes.
    let many: Vec<CheckIn> = (0..6000).map(|n| success(at(n / 100))).collect();
    store.check_in("a", &many);
    store.check_in("a", &[of_run(1, start(at(10))), of_run(1, success(at(11))), success(at(100))]);
    let pruned = store.prune(100_000, at(60), &mut Walk::default(), &|| true).unwrap();
    assert_eq!(pruned.checkins, 6002);
    assert_eq!(database.count(&format!("checkins WHERE at >= {}", at(60).timestamp_millis())), 1);
}

fn pruning_stops_when_it_is_told_to(database: &TestDatabase) {
    let store = database.store();
    store.book("a", &every(60));
    store.check_in("a", &(0..20).map(|n| success(at(n))).collect::<Vec<_>>());
    assert_eq!(store.prune(5, at(10), &mut Walk::default(), &|| false).unwrap().checkins, 0);
}

fn pruning_goes_on_where_it_stopped(database: &TestDatabase) {
    let store = database.store();
    store.book("a", &every(60));
    let check_in = |count| store.check_in("a", &(0..count).map(|n| success(at(n))).collect::<Vec<_>>());
    check_in(12_000);
    let mut walk = Walk::default();
    let steps = std::cell::Cell::new(0);
    let go_on = || steps.replace(steps.get() - 1) > 0;
    let mut left = vec![database.count("checkins")];
    while left.last() != Some(&10) {
        // One step for old check-ins, and one for too many.
        steps.set(2);
        store.prune(10, at(-1), &mut walk, &go_on).unwrap();
        left.push(database.count("checkins"));
        assert!(left.len() < 10, "{left:?}");
    }
    assert_eq!(left, [12_000, 7_000, 2_000, 10]);
    check_in(20);
    store.prune(10, at(-1), &mut walk, &|| true).unwrap();
    assert_eq!(database.count("checkins"), 10, "at the end it begins anew");
}

fn incidents_and_messages_go_when_they_ended_long_ago(database: &TestDatabase) {
    let store = database.store();
    for name in ["a", "b"] {
        store.book(name, &every(60));
    }
    store.pass(at(60));
    store.check_in("a", &[success(at(70))]);
    store.pass(at(70));
    // The latest check-in of all stays, whatever its age.
    store.check_in("b", &[log(at(71))]);
    // Two messages about a are delivered; the one about b still waits.
    for second in [70, 71] {
        let sent = store.claim_singles("log", at(second), seconds(9), "t", 10).unwrap();
        let of_a = sent.iter().flat_map(|one| &one.deliveries).filter(|one| one.notice.subject == "shop/a");
        let ids: Vec<i64> = of_a.map(|one| one.id).collect();
        let done =
            innkeeper_store::FinishedDeliveries { ids, outcome: innkeeper_store::SendOutcome::Delivered };
        store.finish("t", &[done], at(second)).unwrap();
    }
    let all = Pruned { checkins: 1, deliveries: 2, alerts: 1 };
    assert_eq!(store.prune(10, at(65), &mut Walk::default(), &|| true).unwrap(), Pruned::default());
    assert_eq!(store.prune(10, at(1000), &mut Walk::default(), &|| true).unwrap(), all);
    assert_eq!((database.count("alerts"), database.count("deliveries")), (1, 1));
}

fn the_latest_check_in_is_listed_first(database: &TestDatabase) {
    let store = database.store();
    for name in ["never", "first", "second", "never either"] {
        store.book(name, &every(60));
    }
    store.reserve(&app("bank"), &component("teller"), &every(60), at(0)).unwrap();
    let key = store.ping_key(&app(SHOP)).unwrap();
    store.check_in("second", &[success(at(20))]);
    store.check_in("first", &[success(at(30)), fail(at(31), 1)]);
    store.pass(at(31));
    let names = |app: Option<&str>| {
        let listed = store.list(app, at(0)).unwrap();
        listed.iter().map(|one| one.reservation.spec.component.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(Some(SHOP)), ["first", "second", "never", "never either"]);
    assert_eq!(names(None), ["first", "second", "never", "never either", "teller"]);
    assert_eq!(names(Some("no such app")), Vec::<String>::new());
    let listed = store.list(None, at(0)).unwrap();
    assert_eq!(listed[0].open_alert, store.alert("first"));
    assert!(listed[0].open_alert.is_some() && listed[1].open_alert.is_none());
    assert_eq!(listed[0].ping_key.as_ref(), Some(&key));
    assert_eq!(listed[4].ping_key, Some(store.ping_key(&app("bank")).unwrap()));
    assert_eq!(listed[0].reservation, store.look("first"));
}

fn incidents_are_those_open_since(database: &TestDatabase) {
    let store = database.store();
    for (name, period) in [("a", 60), ("b", 70), ("c", 80), ("d", 90)] {
        store.book(name, &every(period));
        store.pass(at(period));
    }
    for (name, second) in [("a", 100), ("c", 110)] {
        store.check_in(name, &[success(at(second))]);
        store.pass(at(second));
    }
    let names = |since: i64| {
        let incidents = store.incidents_since(at(since)).unwrap();
        incidents.iter().map(|one| one.component.as_str()).collect::<Vec<_>>().join("")
    };
    assert_eq!(names(0), "dbca");
    assert_eq!(names(100), "dbca");
    assert_eq!(names(101), "dbc");
    assert_eq!(names(111), "db");
}

fn the_history_is_paged_through_from_a_check_in_on(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &every(60));
    let other = store.book("other", &every(60));
    for n in 1..=7 {
        store.check_in("backup", &[success(at(n * 10))]);
        store.check_in("other", &[success(at(n * 10 + 1))]);
    }
    let mut page = store.checkins_of(id, 3).unwrap();
    let mut seen = Vec::new();
    while let Some(last) = page.last() {
        seen.extend(page.iter().map(|checkin| checkin.at));
        page = store.checkins_before(id, last.id, 3).unwrap();
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1].map(|n| at(n * 10)));
    let first = store.checkins_of(other, 1).unwrap()[0].id;
    assert_eq!(store.checkins_before(id, first, 3).unwrap(), [], "not of this reservation");
    assert_eq!(store.checkins_before(id, -1, 3).unwrap(), []);
}
