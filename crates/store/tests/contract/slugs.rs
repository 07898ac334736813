//! Slugs: each belongs to one reservation, is made as Healthchecks makes it, and no address is ever
//! lost.

use innkeeper_core::Invalid;
use innkeeper_core::reservation::Patch;
use innkeeper_core::slug;
use innkeeper_store::{
    ActingStore, Arrival, ChangeOutcome, Definition, Recorded, Reserved, StoreError, Target, Undone,
};
use innkeeper_testing::database::TestDatabase;

use crate::migrate::back_before;
use crate::world::*;

on_both!(
    a_slug_is_made_of_the_component_and_belongs_to_one,
    what_a_ping_makes_has_the_slug_of_the_ping,
    a_slug_is_chosen_and_changed,
    a_slug_that_belongs_to_another_is_refused,
    many_of_the_same_slug_are_numbered,
    those_who_make_the_same_slug_at_once_get_one_each,
    addresses_of_before_go_on_working,
    what_was_checked_out_comes_back_by_its_slug,
    what_is_made_anew_has_the_addresses_that_it_had,
    an_address_of_what_can_come_back_is_given_to_nobody_unasked,
    two_who_choose_the_same_slug_at_once_are_told,
);

fn chosen(slug: &str) -> Patch {
    Patch { slug: Some(slug.to_owned()), ..every(60) }
}

fn slug_of(store: &ActingStore, name: &str) -> String {
    store.look(name).spec.slug
}

/// Pings by slug in the app of the tests; returns what was recorded.
fn ping(store: &ActingStore, slug: &str, definition: Definition) -> Recorded {
    let target = Target::Slug { ping_key: store.ping_key(&app(SHOP)).unwrap(), slug: slug.to_owned() };
    store.record(&[Arrival { target, checkin: success(at(1)), definition }]).recorded.remove(0)
}

fn reached(store: &ActingStore, slug: &str) -> Option<i64> {
    match ping(store, slug, Definition::None) {
        Recorded::Done { reservation_id, .. } => Some(reservation_id),
        other => {
            assert_eq!(other, Recorded::Unknown);
            None
        }
    }
}

fn made(store: &ActingStore, slug: &str) -> bool {
    match ping(store, slug, Definition::IfMissing(Box::new(every(60)))) {
        Recorded::Done { created, .. } => created,
        other => panic!("{other:?}"),
    }
}

fn a_slug_is_made_of_the_component_and_belongs_to_one(database: &TestDatabase) {
    let store = database.store();
    let names = ["Büro (v2)", "nightly backup", "Nightly--Backup!", "日本", "a.b", "nightly-backup-2"];
    let ids = names.map(|name| store.book(name, &every(60)));
    let slugs = names.map(|name| slug_of(&store, name));
    let numbered = format!("job-{}", ids[3]);
    assert_eq!(
        slugs,
        ["buro-v2", "nightly-backup", "nightly-backup-2", &numbered, "ab", "nightly-backup-2-2"]
    );
    for (slug, id) in slugs.iter().zip(ids) {
        assert_eq!(reached(&store, slug), Some(id), "{slug}");
    }
    assert_eq!(reached(&store, "a-b"), None);
    // In another app the same slug belongs to another reservation.
    store.reserve(&app("bakery"), &component("a.b"), &every(60), at(0)).unwrap();
    let other = store.reservation(&app("bakery"), &component("a.b")).unwrap().unwrap().0;
    assert_eq!(other.spec.slug, "ab");
    // A change of another field does not change the slug.
    store.book("日本", &Patch { owner: Some("ada".to_owned()), ..Patch::default() });
    assert_eq!(slug_of(&store, "日本"), numbered);
}

fn what_a_ping_makes_has_the_slug_of_the_ping(database: &TestDatabase) {
    let store = database.store();
    for slug in ["backup--daily", "backup-daily", "_x_", "-"] {
        assert!(made(&store, slug), "{slug}");
        assert!(!made(&store, slug), "{slug}");
        assert_eq!(
            (slug_of(&store, slug).as_str(), reached(&store, slug)),
            (slug, Some(store.look(slug).id))
        );
    }
    // A ping finds the reservation of this name, although its slug is another.
    store.book("fresh--1", &every(60));
    assert_eq!((made(&store, "fresh--1"), slug_of(&store, "fresh--1").as_str()), (false, "fresh-1"));
    assert!(!made(&store, "fresh-1"));
    // The same in one batch with other check-ins of that slug.
    let ping_key = store.ping_key(&app(SHOP)).unwrap();
    let create = |target| Arrival {
        target,
        checkin: success(at(1)),
        definition: Definition::IfMissing(Box::new(every(60))),
    };
    let by_slug = || create(Target::Slug { ping_key: ping_key.clone(), slug: "both".to_owned() });
    let recorded = store.record(&[create(named("Both")), by_slug(), by_slug()]).recorded;
    let id = store.look("Both").id;
    let done = |created| Recorded::Done { reservation_id: id, created, alerters: Vec::new() };
    assert_eq!(recorded, [done(true), done(false), done(false)]);
}

fn a_slug_is_chosen_and_changed(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &chosen("db-1"));
    assert_eq!((reached(&store, "db-1"), reached(&store, "backup")), (Some(id), None));
    let change = |slug: &str| store.change(id, &chosen(slug), &|_| true, at(2)).unwrap();
    assert_eq!(change("db--2"), ChangeOutcome::Done);
    assert_eq!((reached(&store, "db--2"), reached(&store, "db-1")), (Some(id), None));
    assert_eq!(store.look("backup").spec.slug, "db--2");
    assert_eq!(change("db--2"), ChangeOutcome::Done, "its own is not taken");
}

fn a_slug_that_belongs_to_another_is_refused(database: &TestDatabase) {
    let store = database.store();
    store.book("a", &chosen("x"));
    let other = store.book("b", &every(60));
    let problem = |name: &str| {
        Invalid::new("slug", format!("\"x\" cannot be that of shop/{name}: it is an address of shop/a"))
    };
    let reserved = store.reserve(&app(SHOP), &component("c"), &chosen("x"), at(0)).unwrap();
    assert_eq!(reserved, Reserved::Incomplete(problem("c")));
    let reserved = store.reserve(&app(SHOP), &component("b"), &chosen("x"), at(0)).unwrap();
    assert_eq!(reserved, Reserved::Incomplete(problem("b")));
    let refused = |result: Result<(), StoreError>, name: &str| match result {
        Err(StoreError::Invalid(invalid)) => assert_eq!(invalid, problem(name)),
        other => panic!("{other:?}"),
    };
    refused(store.change(other, &chosen("x"), &|_| true, at(1)).map(drop), "b");
    let spec = |name: &str, slug: &str| chosen(slug).into_spec(app(SHOP), component(name)).unwrap();
    refused(store.create(spec("c", "x"), at(1)).map(drop), "c");
    for dry_run in [true, false] {
        refused(store.apply(&[spec("c", "x")], None, dry_run, at(1)).map(drop), "c");
        refused(store.apply(&[spec("b", "x")], None, dry_run, at(1)).map(drop), "b");
        let twice = store.apply(&[spec("c", "y"), spec("d", "y")], None, dry_run, at(1));
        assert!(matches!(twice, Err(StoreError::Invalid(_))), "{twice:?}");
    }
    // Names that are taken are reported before a slug that is taken.
    assert_eq!(store.create(spec("a", "x"), at(1)).unwrap(), None);
    assert_eq!((database.count("reservations"), slug_of(&store, "b").as_str()), (2, "b"));
}

fn many_of_the_same_slug_are_numbered(database: &TestDatabase) {
    let store = database.store();
    for n in 0..40 {
        store.book(&format!("Job{}", "!".repeat(n)), &every(60));
    }
    assert_eq!(slug_of(&store, &format!("Job{}", "!".repeat(39))), "job-40");
    assert_eq!(database.count("reservations WHERE slug LIKE 'job%'"), 40);
}

fn those_who_make_the_same_slug_at_once_get_one_each(database: &TestDatabase) {
    let store = database.store();
    store.ping_key(&app(SHOP)).unwrap();
    for round in 0..5 {
        together(12, |n| {
            let name = format!("r{round}{}", "!".repeat(n));
            let reserve = || database.connect().reserve(&app(SHOP), &component(&name), &every(60), at(0));
            match database.kind() {
                // On Postgres they wait for each other, and none has to try again.
                innkeeper_store::DatabaseKind::Postgres => reserve().unwrap(),
                innkeeper_store::DatabaseKind::Sqlite => patiently(reserve),
            }
        });
        let mut slugs = database.texts(&format!("SELECT slug FROM reservations WHERE slug LIKE 'r{round}%'"));
        slugs.sort();
        let mut expected: Vec<String> = (2..=12).map(|n| format!("r{round}-{n}")).collect();
        expected.push(format!("r{round}"));
        expected.sort();
        assert_eq!(slugs, expected);
    }
}

fn addresses_of_before_go_on_working(database: &TestDatabase) {
    let store = database.store();
    let names =
        ["Nightly Backup", "a.b", "Büro (v2)", "nightly--backup!", "日本", "backup--daily", "x!", "x?"];
    let ids = names.map(|name| store.book(name, &every(60)));
    let gone = store.book("c.d", &every(60));
    let newer = back_before(database, "A slug is stored");
    for name in names.iter().chain(&["c.d"]) {
        let old = slug::of_before(name);
        database.execute(&format!("UPDATE reservations SET slug = '{old}' WHERE component = '{name}'"));
    }
    // Checkouts of that time were kept without a slug.
    let store = database.connect();
    assert_eq!(store.migrate().unwrap().len(), newer);
    assert!(store.check_out(&app(SHOP), &component("c.d"), at(2)).unwrap());
    let without = match database.kind() {
        innkeeper_store::DatabaseKind::Postgres => {
            "reservation::jsonb #- '{reservation,slug}' #- '{reservation,old_slug}'"
        }
        innkeeper_store::DatabaseKind::Sqlite => {
            "json_remove(reservation, '$.reservation.slug', '$.reservation.old_slug')"
        }
    };
    database.execute(&format!("UPDATE checkouts SET reservation = {without}"));

    let numbered = format!("job-{}", ids[4]);
    let slugs =
        ["nightly-backup", "ab", "buro-v2", "nightly-backup-2", &numbered, "backup--daily", "x", "x-2"];
    assert_eq!(names.map(|name| slug_of(&store, name)), slugs);
    for (address, place) in
        slugs.into_iter().zip(0..).chain([("a-b", 1), ("b-ro-v2", 2), ("backup-daily", 5)])
    {
        assert_eq!(reached(&store, address), Some(ids[place]), "{address}");
    }
    // A new reservation does not get the old slug of another.
    store.book("A B", &every(60));
    assert_eq!((slug_of(&store, "A B").as_str(), reached(&store, "a-b")), ("a-b-2", Some(ids[1])));
    let chosen = store.reserve(&app(SHOP), &component("new"), &chosen("b-ro-v2"), at(0)).unwrap();
    assert!(matches!(chosen, Reserved::Incomplete(problem) if problem.problem.contains("of shop/Büro (v2)")));
    assert_eq!(store.undo_checkout(gone, at(3)).unwrap(), Undone::Done);
    assert_eq!((reached(&store, "cd"), reached(&store, "c-d")), (Some(gone), Some(gone)));
}

fn what_was_checked_out_comes_back_by_its_slug(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &chosen("db"));
    let check_out = || assert!(store.check_out(&app(SHOP), &component("backup"), at(1)).unwrap());
    check_out();
    assert_eq!(reached(&store, "db"), None);
    assert_eq!(store.undo_checkout(id, at(2)).unwrap(), Undone::Done);
    assert_eq!(reached(&store, "db"), Some(id));
    check_out();
    let other = store.book("other", &chosen("db"));
    assert_eq!(store.undo_checkout(id, at(2)).unwrap(), Undone::Done);
    assert_eq!((reached(&store, "db"), reached(&store, "backup")), (Some(other), Some(id)));
}

fn what_is_made_anew_has_the_addresses_that_it_had(database: &TestDatabase) {
    let store = database.store();
    let check_out = |name: &str| assert!(store.check_out(&app(SHOP), &component(name), at(1)).unwrap());
    store.book("db.backup", &chosen("dbbackup"));
    database.execute("UPDATE reservations SET old_slug = 'db-backup'");
    store.book("a b", &chosen("chosen"));
    for round in 0..2 {
        check_out("db.backup");
        let again = store.book("db.backup", &every(60));
        for slug in ["dbbackup", "db-backup"] {
            assert_eq!(reached(&store, slug), Some(again), "{slug}, {round}");
        }
        check_out("a b");
        let again = store.book("a b", &every(60));
        assert_eq!((reached(&store, "chosen"), reached(&store, "a-b")), (Some(again), None));
    }
    // A slug that is chosen now takes precedence over the earlier one.
    check_out("a b");
    store.book("a b", &chosen("other"));
    assert_eq!(slug_of(&store, "a b"), "other");
    // A slug that another has taken meanwhile stays with that one.
    check_out("db.backup");
    let other = store.book("other", &chosen("dbbackup"));
    let again = store.book("db.backup", &every(60));
    assert_eq!((reached(&store, "dbbackup"), reached(&store, "dbbackup-2")), (Some(other), Some(again)));
    assert_eq!(reached(&store, "db-backup"), Some(again));
}

fn an_address_of_what_can_come_back_is_given_to_nobody_unasked(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("a.b", &every(60));
    database.execute("UPDATE reservations SET old_slug = 'ab-2'");
    assert!(store.check_out(&app(SHOP), &component("a.b"), at(1)).unwrap());
    let other = store.book("ab", &every(60));
    assert_eq!(slug_of(&store, "ab"), "ab-3");
    assert_eq!(store.undo_checkout(id, at(2)).unwrap(), Undone::Done);
    for (slug, owner) in [("ab", id), ("ab-2", id), ("ab-3", other)] {
        assert_eq!(reached(&store, slug), Some(owner), "{slug}");
    }
    // The slug is reserved only as long as the checkout can be undone.
    assert!(store.check_out(&app(SHOP), &component("a.b"), at(3)).unwrap());
    store.forget_checkouts(at(4)).unwrap();
    store.book("A/B", &every(60));
    assert_eq!(slug_of(&store, "A/B"), "ab");
}

fn two_who_choose_the_same_slug_at_once_are_told(database: &TestDatabase) {
    let store = database.store();
    let ids = ["a", "b", "c", "d"].map(|name| store.book(name, &every(60)));
    for round in 0..20 {
        let changes = together(ids.len(), |n| {
            let patch = chosen(&format!("x{round}"));
            let store = database.connect();
            loop {
                match store.change(ids[n], &patch, &|_| true, at(round + 1)) {
                    Err(error) if error.is_unavailable() => {}
                    done => return done,
                }
            }
        });
        let is_refused = |change: &Result<ChangeOutcome, StoreError>| match change {
            Ok(ChangeOutcome::Done) => false,
            Err(StoreError::Invalid(problem)) => problem.field == "slug",
            other => panic!("{other:?}"),
        };
        assert_eq!(changes.iter().filter(|change| is_refused(change)).count(), ids.len() - 1);
    }
}
