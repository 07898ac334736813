//! Writing a batch of check-ins: whom they find, what they bring along, and what is kept of them.

use innkeeper_core::checkin::{CheckIn, notes_from};
use innkeeper_core::reservation::Wishes;
use innkeeper_store::{Arrival, Definition, Recorded, Target};
use innkeeper_testing::database::TestDatabase;
use uuid::Uuid;

use crate::world::*;

on_both!(
    each_way_of_naming_a_reservation_finds_it,
    an_unknown_target_writes_nothing_and_spares_the_others,
    a_slug_that_fits_two_is_ambiguous,
    text_that_no_database_takes_is_unknown_and_spares_the_others,
    the_same_twice_in_a_batch_counts_twice,
    a_missing_reservation_comes_along_once,
    a_definition_that_cannot_make_a_reservation_is_refused,
    a_definition_on_every_check_in_changes_the_reservation,
    a_slug_that_is_missing_is_made_in_the_app_of_the_key,
    the_history_keeps_what_was_said,
    an_error_writes_nothing_of_the_batch,
    an_empty_batch_is_nothing,
);

fn done(id: i64, created: bool) -> Recorded {
    Recorded::Done { reservation_id: id, created }
}

fn by(target: Target, definition: Definition) -> Arrival {
    Arrival { target, checkin: success(at(1)), definition }
}

fn by_slug(ping_key: &str, slug: &str) -> Target {
    Target::Slug { ping_key: ping_key.to_owned(), slug: slug.to_owned() }
}

fn each_way_of_naming_a_reservation_finds_it(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("Nightly Backup", &every(60));
    store.book("other", &every(60));
    let ping_key = store.ping_key(&app(SHOP)).unwrap();
    let targets = [
        named("Nightly Backup"),
        Target::Key(store.look("Nightly Backup").key),
        by_slug(&ping_key, "nightly-backup"),
    ];
    let batch: Vec<Arrival> = targets.map(|target| by(target, Definition::None)).to_vec();
    assert_eq!(store.record(&batch).recorded, [done(id, false), done(id, false), done(id, false)]);
    assert_eq!(store.look("Nightly Backup").facts.checkins, 3);
    assert_eq!(store.look("other").facts.checkins, 0);
}

fn an_unknown_target_writes_nothing_and_spares_the_others(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &every(60));
    let ping_key = store.ping_key(&app(SHOP)).unwrap();
    let strangers = [
        named("Backup"),
        Target::Names(app("Shop"), component("backup")),
        Target::Key(Uuid::from_u128(1)),
        by_slug(&ping_key, "restore"),
        by_slug("no such key", "backup"),
        by_slug("", ""),
    ];
    let mut batch: Vec<Arrival> = strangers.map(|target| by(target, Definition::None)).to_vec();
    batch.insert(3, arrival("backup", success(at(1))));
    let recorded = store.record(&batch).recorded;
    for (n, one) in recorded.into_iter().enumerate() {
        assert_eq!(one, if n == 3 { done(id, false) } else { Recorded::Unknown }, "{:?}", batch[n]);
    }
    assert_eq!((database.count("checkins"), database.count("reservations")), (1, 1));
}

fn a_slug_that_fits_two_is_ambiguous(database: &TestDatabase) {
    let store = database.store();
    for name in ["a b", "A-B", "a.b", "c"] {
        store.book(name, &every(60));
    }
    let ping_key = store.ping_key(&app(SHOP)).unwrap();
    let batch = [
        by(by_slug(&ping_key, "a-b"), Definition::None),
        by(by_slug(&ping_key, "a-b"), Definition::IfMissing(every(60))),
        by(by_slug(&ping_key, "c"), Definition::None),
    ];
    let recorded = store.record(&batch).recorded;
    assert_eq!(recorded, [Recorded::Ambiguous, Recorded::Ambiguous, done(store.look("c").id, false)]);
    assert_eq!(database.count("checkins"), 1);
}

fn text_that_no_database_takes_is_unknown_and_spares_the_others(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &every(60));
    let ping_key = store.ping_key(&app(SHOP)).unwrap();
    let batch = [
        by(by_slug("\0", "backup"), Definition::None),
        by(by_slug(&ping_key, "back\0up"), Definition::None),
        by(by_slug("\0", "backup"), Definition::IfMissing(every(60))),
        by(named("backup"), Definition::None),
    ];
    let recorded = store.record(&batch).recorded;
    assert_eq!(recorded, [Recorded::Unknown, Recorded::Unknown, Recorded::Unknown, done(id, false)]);
}

fn the_same_twice_in_a_batch_counts_twice(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &every(60));
    store.check_in("backup", &[fail(at(5), 2), success(at(7)), fail(at(5), 1), success(at(6)), log(at(9))]);
    let facts = store.look("backup").facts;
    assert_eq!((facts.checkins, facts.fails, facts.last_exit_code), (5, 2, Some(2)));
    assert_eq!((facts.last_checkin_at, facts.last_seen_at), (Some(at(7)), Some(at(9))));
    let times: Vec<_> = store.checkins_of(id, 10).unwrap().iter().map(|checkin| checkin.at).collect();
    assert_eq!(times, [at(9), at(7), at(6), at(5), at(5)], "the history of a batch is in order of time");
}

fn a_missing_reservation_comes_along_once(database: &TestDatabase) {
    let store = database.store();
    let batch: Vec<Arrival> = (0..3).map(|_| by(named("backup"), Definition::IfMissing(every(60)))).collect();
    let recorded = store.record(&batch).recorded;
    let id = store.look("backup").id;
    assert_eq!(recorded, [done(id, true), done(id, false), done(id, false)]);
    // It is there now, so that nothing about it changes.
    let other = by(named("backup"), Definition::IfMissing(every(3600)));
    assert_eq!(store.record(&[other]).recorded, [done(id, false)]);
    assert_eq!(store.look("backup").terms.schedule, every(60).schedule.unwrap().0);
    assert_eq!(store.look("backup").facts.checkins, 4);
}

fn a_definition_that_cannot_make_a_reservation_is_refused(database: &TestDatabase) {
    let store = database.store();
    let owner = Wishes { owner: Some("ops".to_owned()), ..Wishes::default() };
    let batch = [
        by(named("backup"), Definition::Always(owner.clone())),
        by(named("restore"), Definition::IfMissing(owner)),
        by(Target::Key(Uuid::from_u128(1)), Definition::Always(every(60))),
    ];
    let recorded = store.record(&batch).recorded;
    assert!(matches!(&recorded[..2], [Recorded::Refused(a), Recorded::Refused(b)] if a == b), "{recorded:?}");
    assert_eq!(recorded[2], Recorded::Unknown);
    assert_eq!((database.count("checkins"), database.count("reservations")), (0, 0));
}

fn a_definition_on_every_check_in_changes_the_reservation(database: &TestDatabase) {
    let store = database.store();
    let owner = |name: &str| Wishes { owner: Some(name.to_owned()), ..every(60) };
    let batch = [
        by(named("backup"), Definition::Always(owner("a"))),
        by(named("backup"), Definition::None),
        by(named("backup"), Definition::Always(owner("b"))),
    ];
    let recorded = store.record(&batch).recorded;
    let id = store.look("backup").id;
    assert_eq!(recorded, [done(id, true), done(id, false), done(id, false)]);
    assert_eq!((store.look("backup").terms.owner.as_str(), store.look("backup").facts.checkins), ("b", 3));
    store.record(&[by(named("backup"), Definition::Always(owner("c")))]);
    assert_eq!(store.look("backup").terms.owner, "c");
}

fn a_slug_that_is_missing_is_made_in_the_app_of_the_key(database: &TestDatabase) {
    let store = database.store();
    let ping_key = store.ping_key(&app(SHOP)).unwrap();
    let made = by(by_slug(&ping_key, "nightly"), Definition::IfMissing(every(60)));
    let stranger = by(by_slug("no such key", "nightly"), Definition::IfMissing(every(60)));
    let recorded = store.record(&[made.clone(), stranger, made]).recorded;
    let id = store.look("nightly").id;
    assert_eq!(recorded, [done(id, true), Recorded::Unknown, done(id, false)]);
}

fn the_history_keeps_what_was_said(database: &TestDatabase) {
    let store = database.store();
    let name = "it's \"odd\" \\ {a,b} NULL 🦀";
    let id = store.book(name, &every(60));
    let long =
        notes_from("naïve \0 \\x00 '; DROP TABLE checkins; -- 🦀 {\"a\",NULL}\n".repeat(400).as_bytes());
    assert!(long.len() > 9990);
    let said = [
        CheckIn { notes: long.clone(), source: "2001:db8::1".to_owned(), ..of_run(9, fail(at(1), 255)) },
        CheckIn { notes: "{\"quoted\", NULL, \\}".to_owned(), ..log(at(2)) },
        success(at(3)),
    ];
    store.check_in(name, &said);
    let kept = store.checkins_of(id, 10).unwrap();
    assert_eq!(kept.len(), 3);
    for (kept, said) in kept.iter().rev().zip(&said) {
        assert_eq!((kept.at, kept.kind, kept.exit_code), (said.at, said.kind, said.exit_code));
        assert_eq!((&kept.notes, &kept.source), (&said.notes, &said.source));
        assert_eq!(kept.run_id, said.run_id.map(|id| id.to_string()));
    }
    assert_eq!(store.checkins_of(id, 1).unwrap(), kept[..1]);
    let others = Wishes { owner: Some(name.to_owned()), ..Wishes::default() };
    store.record(&[by(named(name), Definition::Always(others))]);
    assert_eq!(store.look(name).terms.owner, name);
}

fn an_error_writes_nothing_of_the_batch(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    let mut writer = store.writer();
    // PostgreSQL's text takes no NUL; in SQLite a trigger says no.
    let poison = CheckIn { notes: "\0poison".to_owned(), ..of_run(1, start(at(2))) };
    if database.kind() == innkeeper_store::DatabaseKind::Sqlite {
        database.execute(
            "CREATE TRIGGER no BEFORE INSERT ON checkins WHEN NEW.kind = 'start' BEGIN SELECT RAISE(ABORT, 'no'); END",
        );
    }
    let batch = [
        by(named("new"), Definition::Always(every(60))),
        arrival("backup", success(at(1))),
        arrival("backup", poison),
    ];
    let error = writer.record(&batch).unwrap_err();
    assert!(!error.is_unavailable(), "{error}");
    assert_eq!(store.look("backup").facts, Default::default());
    for table in ["checkins", "runs"] {
        assert_eq!(database.count(table), 0, "{table}");
    }
    assert_eq!(database.count("reservations"), 1);
    writer.record(&batch[..2]).unwrap();
    assert_eq!(database.count("checkins"), 2);
}

fn an_empty_batch_is_nothing(database: &TestDatabase) {
    let written = database.store().record(&[]);
    assert!(written.recorded.is_empty() && !written.wake);
}
