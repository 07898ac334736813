//! Writing a batch of check-ins: which reservations they find or define, and what is kept of them.

use innkeeper_core::checkin::{CheckIn, notes_from};
use innkeeper_core::reservation::Patch;
use innkeeper_store::{Arrival, Definition, Recorded, Target};
use innkeeper_testing::database::TestDatabase;
use uuid::Uuid;

use crate::world::*;

on_both!(
    each_way_of_naming_a_reservation_finds_it,
    an_unknown_target_writes_nothing_and_spares_the_others,
    text_that_no_database_takes_is_unknown_and_spares_the_others,
    the_same_twice_in_a_batch_counts_twice,
    a_missing_reservation_comes_along_once,
    a_definition_that_cannot_make_a_reservation_is_refused,
    a_definition_on_every_check_in_changes_the_reservation,
    what_is_brought_along_counts_where_it_is_new,
    a_slug_that_is_missing_is_made_in_the_app_of_the_key,
    the_history_keeps_what_was_said,
    an_error_writes_nothing_of_the_batch,
    an_empty_batch_is_nothing,
    a_writer_that_remembers_is_never_wrong,
    the_history_is_one_whichever_way_it_was_written,
);

fn done(id: i64, created: bool) -> Recorded {
    Recorded::Done { reservation_id: id, created, alerters: Vec::new() }
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

fn text_that_no_database_takes_is_unknown_and_spares_the_others(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &every(60));
    let ping_key = store.ping_key(&app(SHOP)).unwrap();
    let batch = [
        by(by_slug("\0", "backup"), Definition::None),
        by(by_slug(&ping_key, "back\0up"), Definition::None),
        by(by_slug("\0", "backup"), Definition::IfMissing(Box::new(every(60)))),
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
    let batch: Vec<Arrival> =
        (0..3).map(|_| by(named("backup"), Definition::IfMissing(Box::new(every(60))))).collect();
    let recorded = store.record(&batch).recorded;
    let id = store.look("backup").id;
    assert_eq!(recorded, [done(id, true), done(id, false), done(id, false)]);
    // The reservation exists now, so nothing in it changes.
    let other = by(named("backup"), Definition::IfMissing(Box::new(every(3600))));
    assert_eq!(store.record(&[other]).recorded, [done(id, false)]);
    assert_eq!(store.look("backup").spec.schedule, every(60).schedule.unwrap().0);
    assert_eq!(store.look("backup").facts.checkins, 4);
}

fn a_definition_that_cannot_make_a_reservation_is_refused(database: &TestDatabase) {
    let store = database.store();
    let owner = Patch { owner: Some("ops".to_owned()), ..Patch::default() };
    let batch = [
        by(named("backup"), Definition::Always(Box::new(owner.clone()))),
        by(named("restore"), Definition::IfMissing(Box::new(owner))),
        by(Target::Key(Uuid::from_u128(1)), Definition::Always(Box::new(every(60)))),
    ];
    let recorded = store.record(&batch).recorded;
    assert!(matches!(&recorded[..2], [Recorded::Refused(a), Recorded::Refused(b)] if a == b), "{recorded:?}");
    assert_eq!(recorded[2], Recorded::Unknown);
    assert_eq!((database.count("checkins"), database.count("reservations")), (0, 0));
}

fn a_definition_on_every_check_in_changes_the_reservation(database: &TestDatabase) {
    let store = database.store();
    let owner = |name: &str| Patch { owner: Some(name.to_owned()), ..every(60) };
    let batch = [
        by(named("backup"), Definition::Always(Box::new(owner("a")))),
        by(named("backup"), Definition::None),
        by(named("backup"), Definition::Always(Box::new(owner("b")))),
    ];
    let recorded = store.record(&batch).recorded;
    let id = store.look("backup").id;
    assert_eq!(recorded, [done(id, true), done(id, false), done(id, false)]);
    assert_eq!((store.look("backup").spec.owner.as_str(), store.look("backup").facts.checkins), ("b", 3));
    store.record(&[by(named("backup"), Definition::Always(Box::new(owner("c"))))]);
    assert_eq!(store.look("backup").spec.owner, "c");
}

fn what_is_brought_along_counts_where_it_is_new(database: &TestDatabase) {
    let store = database.store();
    let bring = |owner: &str, period: i64| {
        let patch = Patch { owner: Some(owner.to_owned()), ..every(period) };
        store.record(&[by(named("backup"), Definition::Always(Box::new(patch)))]);
        let spec = store.look("backup").spec;
        (spec.owner, spec.schedule)
    };
    let is = |owner: &str, period: i64| (owner.to_owned(), every(period).schedule.unwrap().0);
    assert_eq!(bring("job", 60), is("job", 60));
    let edit = |owner: &str| Patch { owner: Some(owner.to_owned()), ..every(600) };
    store.book("backup", &edit("ada"));
    assert_eq!(bring("job", 60), is("ada", 600));
    assert_eq!(bring("job", 90), is("ada", 90));
    assert_eq!(bring("cron", 90), is("cron", 90));
    // The previous spec of the job is unknown: the new one is noted, and nothing changes.
    store.book("backup", &edit("ada"));
    database.execute("UPDATE reservations SET brought = NULL");
    assert_eq!(
        [bring("job", 60), bring("job", 60), bring("job", 70)],
        [is("ada", 600), is("ada", 600), is("ada", 70)]
    );
    // An undone checkout restores the noted spec, too.
    let id = store.look("backup").id;
    assert!(store.check_out(&app(SHOP), &component("backup"), at(9)).unwrap());
    store.undo_checkout(id, at(9)).unwrap();
    store.book("backup", &edit("eve"));
    assert_eq!(bring("job", 70), is("eve", 600));
    // A reservation that cannot be read is mended by the spec of its job.
    database.execute("UPDATE reservations SET schedule = 'sometimes'");
    assert_eq!(bring("job", 70), is("job", 70));
}

fn a_slug_that_is_missing_is_made_in_the_app_of_the_key(database: &TestDatabase) {
    let store = database.store();
    let ping_key = store.ping_key(&app(SHOP)).unwrap();
    let made = by(by_slug(&ping_key, "nightly"), Definition::IfMissing(Box::new(every(60))));
    let stranger = by(by_slug("no such key", "nightly"), Definition::IfMissing(Box::new(every(60))));
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
    assert!(long.len() > 9980 && long.len() <= 10_000);
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
    let others = Patch { owner: Some(name.to_owned()), ..Patch::default() };
    for _ in 0..2 {
        store.record(&[by(named(name), Definition::Always(Box::new(others.clone())))]);
    }
    assert_eq!(
        database.text("SELECT brought FROM reservations"),
        Some(serde_json::json!({ "owner": name }).to_string())
    );
}

fn an_error_writes_nothing_of_the_batch(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    let mut writer = store.writer();
    // Postgres refuses NUL in a text; on SQLite a trigger refuses the row.
    let poison = CheckIn { notes: "\0poison".to_owned(), ..of_run(1, start(at(2))) };
    if database.kind() == innkeeper_store::DatabaseKind::Sqlite {
        database.execute(
            "CREATE TRIGGER no BEFORE INSERT ON checkins WHEN NEW.kind = 'start' BEGIN SELECT RAISE(ABORT, 'no'); END",
        );
    }
    let batch = [
        by(named("new"), Definition::Always(Box::new(every(60)))),
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

fn a_writer_that_remembers_is_never_wrong(database: &TestDatabase) {
    let store = database.store();
    let mut writer = store.writer();
    let old = store.book("backup", &every(60));
    let other = store.book("other", &every(60));
    let by_key = |name: &str| by(Target::Key(store.look(name).key), Definition::None);
    let first = [by_key("backup"), by(named("other"), Definition::None)];
    for _ in 0..2 {
        assert_eq!(record(&mut writer, &first).unwrap().recorded, [done(old, false), done(other, false)]);
        let by_name = [arrival("backup", success(at(1)))];
        assert_eq!(record(&mut writer, &by_name).unwrap().recorded, [done(old, false)]);
    }

    // Meanwhile another process removes the reservation and makes it anew.
    store.check_out(&app(SHOP), &component("backup"), at(2)).unwrap();
    assert_eq!(record(&mut writer, &first).unwrap().recorded, [Recorded::Unknown, done(other, false)]);
    let new = store.book("backup", &every(60));
    let both = [by_key("backup"), by(named("other"), Definition::None)];
    let short = writer.record_known(&[arrival("other", success(at(1)))]).unwrap();
    assert_eq!(short.recorded, [Some(done(other, false))], "a hint settles it");
    assert_eq!(record(&mut writer, &both).unwrap().recorded, [done(new, false), done(other, false)]);
    let by_name = [arrival("backup", success(at(3)))];
    assert_eq!(record(&mut writer, &by_name).unwrap().recorded, [done(new, false)]);
    assert_eq!((store.look("backup").facts.checkins, store.look("other").facts.checkins), (2, 5));

    // The cache is only a hint: the write checks the lookup key.
    let swap = "UPDATE states SET names_key = ping_key, ping_key = names_key WHERE reservation_id = ";
    database.execute(&format!("{swap}{new}"));
    assert_eq!(record(&mut writer, &both).unwrap().recorded, [done(new, false), done(other, false)]);
    database.execute(&format!("UPDATE states SET names_key = ping_key WHERE reservation_id = {other}"));
    let unwritten = writer.record_known(&[arrival("other", success(at(4)))]).unwrap();
    assert_eq!(unwritten.recorded, [None]);
    assert_eq!(store.look("other").facts.checkins, 6);
}

fn the_history_is_one_whichever_way_it_was_written(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &every(60));
    store.book("other", &every(60));
    for second in 0..5 {
        let now = second * 10;
        let one = |checkin| arrival("backup", checkin);
        store.record(&[one(success(at(now))), arrival("other", success(at(now)))]);
        store.record(&[one(log(at(now + 2))), arrival("other", fail(at(now), 1)), one(fail(at(now + 1), 3))]);
    }
    let kinds = |limit| {
        let kept = store.checkins_of(id, limit).unwrap();
        kept.iter().map(|one| (one.at, one.kind.as_str())).collect::<Vec<_>>()
    };
    let said = |second| [(at(second + 2), "log"), (at(second + 1), "fail"), (at(second), "success")];
    assert_eq!(kinds(100), [40, 30, 20, 10, 0].map(said).concat());
    assert_eq!(kinds(4), [said(40).to_vec(), said(30)[..1].to_vec()].concat());
    let numbers = "SELECT number || ' ' || COALESCE(previous_id, 0) FROM checkins
        WHERE reservation_id = (SELECT id FROM reservations WHERE component = 'backup') ORDER BY id";
    assert!(database.texts(numbers)[0].starts_with("1 0"));
}

#[test]
fn a_writer_that_gave_up_waiting_for_a_row_keeps_its_connection() {
    let database = TestDatabase::postgres();
    let store = database.store();
    let id = store.book("backup", &every(60));
    let mut writer = store.writer().that_waits_for_locks_at_most(std::time::Duration::from_millis(5));
    let batch = [arrival("backup", success(at(1)))];
    // The writer's, and that by which the reservation was made.
    let writes = "SELECT pid::text FROM pg_stat_activity
        WHERE datname = current_database() AND query IN ('COMMIT', 'ROLLBACK') ORDER BY pid";
    assert_eq!(writer.record_known(&batch).unwrap().recorded, [Some(done(id, false))]);
    let before = database.texts(writes);
    assert_eq!(before.len(), 2);
    std::thread::scope(|scope| {
        let lock = "BEGIN; SELECT 1 FROM states FOR UPDATE; SELECT pg_sleep(1); COMMIT";
        let holder = scope.spawn(|| database.execute(lock));
        let error = std::iter::repeat_with(|| writer.record_known(&batch)).find_map(Result::err).unwrap();
        assert!(error.is_locked(), "{error}");
        holder.join().unwrap();
    });
    assert!(writer.record_known(&batch).is_ok());
    assert_eq!(database.texts(writes), before);
}
