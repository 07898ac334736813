//! A declared set of reservations: all of it is applied, or nothing.

use innkeeper_core::names::AppName;
use innkeeper_core::reservation::{Patch, Spec};
use innkeeper_store::{ActingStore, Actor, Applied, IdentifiedReservation, StoreError, Undone};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(
    what_is_declared_becomes_true_and_once_more_changes_nothing,
    a_dry_run_says_the_same_and_does_nothing,
    what_is_pruned_is_of_the_apps_that_are_meant,
    the_same_in_other_words_is_no_change,
    two_sets_at_once_end_as_one_of_them,
    each_change_is_written_down,
    slugs_are_those_after_all_of_it,
);

fn spec(name: &str, patch: Patch) -> Spec {
    terms_of(SHOP, name, patch)
}

fn terms_of(of: &str, name: &str, patch: Patch) -> Spec {
    patch.into_spec(app(of), component(name)).unwrap()
}

fn graceful(grace: i64) -> Patch {
    Patch { grace: Some(seconds(grace)), ..every(60) }
}

fn all_terms(store: &ActingStore, of: Option<&str>) -> Vec<Spec> {
    let (apps, mut all) = (of.map(|app| vec![app.to_owned()]), Vec::new());
    let read = store.snapshot(at(10), |snapshot| {
        snapshot.by_name(apps.as_deref(), |spec| {
            all.push(spec);
            Ok::<_, StoreError>(())
        })
    });
    read.map(|()| all).unwrap()
}

fn names(named: &[IdentifiedReservation]) -> Vec<&str> {
    named.iter().map(|one| one.component.as_str()).collect()
}

fn all(_: &AppName) -> bool {
    true
}

fn counts(applied: &Applied) -> (usize, usize, usize, usize) {
    (applied.created.len(), applied.changed.len(), applied.removed.len(), applied.unchanged)
}

fn world(store: &ActingStore) -> Vec<Spec> {
    for name in ["changed", "kept", "gone"] {
        store.book(name, &every(60));
    }
    vec![spec("new", every(60)), spec("kept", every(60)), spec("changed", graceful(90))]
}

fn what_is_declared_becomes_true_and_once_more_changes_nothing(database: &TestDatabase) {
    let store = database.store();
    let declared = world(&store);
    let gone = store.look("gone").id;
    let applied = store.apply(&declared, Some(&all), false, at(10)).unwrap();
    assert_eq!(names(&applied.created), ["new"]);
    assert_eq!(applied.created[0].id, Some(store.look("new").id));
    assert_eq!(applied.changed[0].difference, ["grace: 0s -> 1m30s"]);
    assert_eq!((names(&applied.removed), applied.unchanged), (vec!["gone"], 1));
    assert_eq!(store.look("changed").spec.grace, seconds(90));
    assert!(store.look("changed").conclusions.wake_at <= at(10), "the sweeper looks at it anew");
    assert_eq!(counts(&store.apply(&declared, Some(&all), false, at(11)).unwrap()), (0, 0, 0, 3));
    assert_eq!(all_terms(&store, None).len(), 3);
    assert_eq!(all_terms(&store, Some("other")), []);
    assert_eq!(store.undo_checkout(gone, at(12)).unwrap(), Undone::Done, "what is pruned can come back");
    assert!(store.ping_key(&app(SHOP)).is_ok());
}

fn a_dry_run_says_the_same_and_does_nothing(database: &TestDatabase) {
    let store = database.store();
    let declared = world(&store);
    let dry = store.apply(&declared, Some(&all), true, at(10)).unwrap();
    assert_eq!((dry.created[0].id, database.count("reservations")), (None, 3));
    assert_eq!(store.look("changed").spec.grace, seconds(0));
    let mut wet = store.apply(&declared, Some(&all), false, at(10)).unwrap();
    wet.created[0].id = None;
    assert_eq!(dry, wet);
    assert_eq!(store.apply(&[terms_of("new", "x", every(1))], None, true, at(11)).unwrap().created.len(), 1);
    assert_eq!(database.count("ping_keys"), 1, "not even a ping key was made");
}

fn what_is_pruned_is_of_the_apps_that_are_meant(database: &TestDatabase) {
    let store = database.store();
    store.book("gone", &every(60));
    store.reserve(&app("zoo"), &component("kept"), &every(60), at(0)).unwrap();
    let shop = |app: &AppName| app.as_str() == SHOP;
    assert_eq!(counts(&store.apply(&[], None, false, at(1)).unwrap()), (0, 0, 0, 0));
    assert_eq!(names(&store.apply(&[], Some(&shop), false, at(1)).unwrap().removed), ["gone"]);
    assert_eq!(database.count("reservations"), 1);
}

fn the_same_in_other_words_is_no_change(database: &TestDatabase) {
    let store = database.store();
    store.book("pinged", &every(86_400));
    let frequency = innkeeper_core::schedule::Frequency {
        count: 86_400,
        unit: innkeeper_core::schedule::TimeUnit::Seconds,
    };
    let mut declared = spec("pinged", every(86_400));
    declared.frequency = Some(frequency);
    assert_eq!(counts(&store.apply(&[declared], None, false, at(1)).unwrap()), (0, 0, 0, 1));
}

fn two_sets_at_once_end_as_one_of_them(database: &TestDatabase) {
    let store = database.store();
    world(&store);
    let sets = [10, 20].map(|grace| ["a", "b", "kept", "new"].map(|name| spec(name, graceful(grace))));
    together(2, |n| {
        let store = database.connect();
        patiently(|| store.apply(&sets[n], Some(&all), false, at(10)))
    });
    let now = all_terms(&store, None);
    // The slugs are chosen by the store.
    let ours = sets
        .map(|set| set.into_iter().zip(&now).map(|(spec, now)| spec.in_words_of(now)).collect::<Vec<_>>());
    assert!(ours.contains(&now), "{now:?}");
}

fn each_change_is_written_down(database: &TestDatabase) {
    let store = database.store();
    let declared = world(&store);
    let ada = store.acting_as(Actor { who: "user ada".to_owned(), source: "10.0.0.5".to_owned() });
    ada.apply(&declared, Some(&all), true, at(9)).unwrap();
    ada.apply(&declared, Some(&all), false, at(10)).unwrap();
    let mut log = ada.audit_log(None, 100).unwrap();
    log.retain(|entry| entry.who == "user ada");
    let told: Vec<(&str, &str)> =
        log.iter().rev().map(|entry| (entry.action.as_str(), entry.subject.as_str())).collect();
    assert_eq!(
        told,
        [
            ("change reservation", "shop/changed"),
            ("make reservation", "shop/new"),
            ("check out", "shop/gone"),
        ]
    );
}

fn slugs_are_those_after_all_of_it(database: &TestDatabase) {
    let store = database.store();
    let with = |name: &str, slug: &str| spec(name, Patch { slug: Some(slug.to_owned()), ..every(60) });
    let slugs = || {
        let mut slugs: Vec<(String, String)> =
            all_terms(&store, None).into_iter().map(|spec| (spec.component.to_string(), spec.slug)).collect();
        slugs.sort();
        slugs
    };
    for (set, expected) in [
        (vec![with("a", "x"), with("b", "y"), with("c", "z")], [("a", "x"), ("b", "y"), ("c", "z")]),
        // The reservations exchange their slugs.
        (vec![with("a", "y"), with("b", "z"), with("c", "x")], [("a", "y"), ("b", "z"), ("c", "x")]),
        // A job has a new name.
        (vec![with("a-2", "y"), with("b", "z"), with("c", "x")], [("a-2", "y"), ("b", "z"), ("c", "x")]),
        // One gives up a slug that another takes.
        (vec![with("a-2", "q"), with("b", "y"), with("c", "x")], [("a-2", "q"), ("b", "y"), ("c", "x")]),
        // A chosen slug takes precedence over one that is made of a name.
        (vec![spec("K", every(60)), with("l", "k"), with("c", "x")], [("K", "k-2"), ("c", "x"), ("l", "k")]),
    ] {
        let told = counts(&store.apply(&set, Some(&all), true, at(2)).unwrap());
        assert_eq!(counts(&store.apply(&set, Some(&all), false, at(2)).unwrap()), told, "{expected:?}");
        assert_eq!(slugs(), expected.map(|(name, slug)| (name.to_owned(), slug.to_owned())));
    }
    // A slug that stays the address of another is refused, and nothing is applied.
    let taken = [spec("K", every(60)), with("l", "x"), with("c", "x")];
    assert!(matches!(store.apply(&taken, None, false, at(3)), Err(StoreError::Invalid(_))));
    assert_eq!(slugs()[2].1, "k");
}
