//! Making, changing and snoozing reservations.

use innkeeper_core::names::AlerterName;
use innkeeper_core::recipient::Recipients;
use innkeeper_core::reminders::Reminders;
use innkeeper_core::reservation::{AlertStatus, Patch};
use innkeeper_core::schedule::{Frequency, Schedule, TimeUnit};
use innkeeper_core::snooze::SnoozeMode;
use innkeeper_store::Reserved;
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(
    two_changes_do_not_bring_together_what_cannot_be,
    what_is_reserved_comes_back_whole,
    a_wish_changes_what_it_names_and_nothing_else,
    another_schedule_mends_one_that_cannot_be_read,
    a_wish_without_a_schedule_makes_nothing,
    one_name_made_by_many_at_once_is_one_reservation,
    changes_of_different_things_at_once_all_stay,
    the_first_look_is_at_the_first_deadline,
    a_change_is_looked_at_at_once,
    a_new_shortest_run_does_not_judge_earlier_runs,
    a_snooze_is_kept_and_looked_at_at_once,
    what_is_not_there_cannot_be_snoozed_read_or_checked_out,
    a_ping_key_is_stable_and_its_own,
);

fn full() -> Patch {
    let every = Schedule::every(seconds(300)).unwrap();
    Patch {
        owner: Some("o'hara \"ops\" \\ 日本".to_owned()),
        description: Some("Zeile 1\nZeile 2; DROP TABLE states; --".to_owned()),
        tags: Some(vec!["db".to_owned(), "it's".to_owned()]),
        notify: Some(Recipients::parse("notify", "a@example.org,ops").unwrap()),
        alerters: Some(vec![AlerterName::parse("alerters", "ops").unwrap()]),
        alert_msg: Some("{component} 💥 %s $1".to_owned()),
        schedule: Some((every, Some(Frequency { count: 5, unit: TimeUnit::Minutes }))),
        grace: Some(seconds(30)),
        alert_after: Some(3),
        remind_every: Some(Reminders::Every(seconds(3600))),
        notify_recovery: Some(false),
        max_run: Some(seconds(120)),
        min_run: Some(seconds(2)),
        is_site: Some(true),
        ..Patch::default()
    }
}

fn what_is_reserved_comes_back_whole(database: &TestDatabase) {
    let store = database.store();
    let cron =
        Patch { schedule: Some((Schedule::cron("30 2 * * 1-5", "Europe/Berlin").unwrap(), None)), ..full() };
    for (name, patch) in [("it's \"all\" 'quoted' \\", full()), ("夜間バックアップ 🦀", cron)] {
        let id = store.book(name, &patch);
        let reservation = store.look(name);
        let expected = patch.into_spec(app(SHOP), component(name)).unwrap().in_words_of(&reservation.spec);
        assert_eq!((reservation.id, &reservation.spec), (id, &expected));
        assert_eq!(reservation.created_at, at(0));
        assert_eq!(reservation.facts, Default::default());
        assert_eq!(reservation.conclusions.status, AlertStatus::New);
    }
}

fn a_wish_changes_what_it_names_and_nothing_else(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &full());
    let reserve = |patch: &Patch| store.reserve(&app(SHOP), &component("backup"), patch, at(9)).unwrap();
    let key = store.look("backup").key;

    assert_eq!(reserve(&full()), Reserved::Unchanged(id));
    assert_eq!(reserve(&Patch::default()), Reserved::Unchanged(id));
    let wish = Patch { owner: Some("dev".to_owned()), max_run: Some(seconds(0)), ..Patch::default() };
    assert_eq!(reserve(&wish), Reserved::Changed(id));
    assert_eq!(reserve(&wish), Reserved::Unchanged(id));

    let mut expected = full().into_spec(app(SHOP), component("backup")).unwrap();
    (expected.owner, expected.max_run, expected.slug) = ("dev".to_owned(), None, "backup".to_owned());
    let now = store.look("backup");
    assert_eq!((now.spec, now.key, now.created_at), (expected, key, at(0)));

    // From one kind of schedule to the other and back.
    let cron = Schedule::cron("0 * * * *", "UTC").unwrap();
    reserve(&Patch { schedule: Some((cron.clone(), None)), ..Patch::default() });
    assert_eq!(store.look("backup").spec.schedule, cron);
    reserve(&every(60));
    assert_eq!(store.look("backup").spec.frequency, None);
}

fn another_schedule_mends_one_that_cannot_be_read(database: &TestDatabase) {
    let store = database.store();
    let cron = Schedule::cron("0 * * * *", "UTC").unwrap();
    let id = store.book("backup", &Patch { schedule: Some((cron.clone(), None)), ..Patch::default() });
    // As an older version accepted it.
    database.execute("UPDATE reservations SET schedule = 'cron 0 2 * MON * UTC'");
    let reserve = |patch: &Patch| store.reserve(&app(SHOP), &component("backup"), patch, at(9));
    let error = reserve(&Patch { owner: Some("dev".to_owned()), ..Patch::default() }).unwrap_err();
    assert!(error.to_string().contains("month: MON is a day of week"), "{error}");
    let patch = Patch { schedule: Some((cron.clone(), None)), ..Patch::default() };
    assert_eq!(reserve(&patch).unwrap(), Reserved::Changed(id));
    assert_eq!(store.look("backup").spec.schedule, cron);
}

fn a_wish_without_a_schedule_makes_nothing(database: &TestDatabase) {
    let store = database.store();
    let patch = Patch { owner: Some("ops".to_owned()), ..Patch::default() };
    let reserved = store.reserve(&app(SHOP), &component("backup"), &patch, at(0)).unwrap();
    assert!(matches!(reserved, Reserved::Incomplete(problem) if problem.field == "frequency"));
    assert_eq!(store.count().unwrap(), 0);
}

fn one_name_made_by_many_at_once_is_one_reservation(database: &TestDatabase) {
    let store = database.store();
    for round in 0..5 {
        let name = format!("job {round}");
        let reserved =
            together(8, |_| store.reserve(&app(SHOP), &component(&name), &every(60), at(0)).unwrap());
        let created = reserved.iter().filter(|one| matches!(one, Reserved::Created(_))).count();
        assert_eq!(created, 1, "{reserved:?}");
        let id = store.look(&name).id;
        assert!(
            reserved
                .iter()
                .all(|one| matches!(one, Reserved::Created(i) | Reserved::Unchanged(i) if *i == id))
        );
    }
    assert_eq!((database.count("reservations"), database.count("states")), (5, 5));
}

fn changes_of_different_things_at_once_all_stay(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    for round in 1..30 {
        together(2, |n| {
            let patch = match n {
                0 => Patch { owner: Some(format!("owner {round}")), ..Patch::default() },
                _ => Patch { grace: Some(seconds(round)), ..Patch::default() },
            };
            store.reserve(&app(SHOP), &component("backup"), &patch, at(0)).unwrap()
        });
        let spec = store.look("backup").spec;
        assert_eq!((spec.owner, spec.grace), (format!("owner {round}"), seconds(round)));
    }
}

fn the_first_look_is_at_the_first_deadline(database: &TestDatabase) {
    let store = database.store();
    assert_eq!(store.next_wake_at().unwrap(), None);
    store.book("backup", &Patch { grace: Some(seconds(30)), ..every(60) });
    store.book("slow", &every(3600));
    assert_eq!(store.next_wake_at().unwrap(), Some(at(90)));
}

fn a_change_is_looked_at_at_once(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(3600));
    store.reserve(&app(SHOP), &component("backup"), &every(60), at(30)).unwrap();
    assert_eq!(store.next_wake_at().unwrap(), Some(at(30)));
    store.pass(at(30));
    assert_eq!(store.next_wake_at().unwrap(), Some(at(60)));
}

fn a_new_shortest_run_does_not_judge_earlier_runs(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(3600));
    store.check_in("backup", &[start(at(10)), success(at(11))]);
    let patch = Patch { min_run: Some(seconds(60)), ..Patch::default() };
    store.reserve(&app(SHOP), &component("backup"), &patch, at(20)).unwrap();
    assert_eq!(store.pass(at(20)).opened, 0);
    store.check_in("backup", &[start(at(30)), success(at(31))]);
    assert_eq!(store.pass(at(31)).opened, 1);
}

fn a_snooze_is_kept_and_looked_at_at_once(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    assert!(store.snooze(&app(SHOP), &component("backup"), at(500), SnoozeMode::Skip, at(10)).unwrap());
    assert_eq!(store.look("backup").conclusions.snoozed_until(at(10)), Some(at(500)));
    assert_eq!(store.next_wake_at().unwrap(), Some(at(10)));
    assert_eq!(store.pass(at(100)).opened, 0);
    assert_eq!(store.pass(at(500)).opened, 0, "it is expected from the snooze's end");
    assert_eq!(store.pass(at(560)).opened, 1);
}

fn what_is_not_there_cannot_be_snoozed_read_or_checked_out(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    for (app, component) in [(app(SHOP), component("Backup")), (app("Shop"), component("backup"))]
        .into_iter()
        .chain([(app("other"), component("backup"))])
    {
        assert!(!store.snooze(&app, &component, at(60), SnoozeMode::Quiet, at(0)).unwrap());
        assert!(!store.check_out(&app, &component, at(0)).unwrap());
        assert!(store.reservation(&app, &component).unwrap().is_none());
    }
}

fn a_ping_key_is_stable_and_its_own(database: &TestDatabase) {
    let store = database.store();
    let keys = together(8, |n| store.ping_key(&app(if n % 2 == 0 { SHOP } else { "bank" })).unwrap());
    assert!(keys.iter().step_by(2).all(|key| *key == keys[0]), "{keys:?}");
    assert!(keys.iter().skip(1).step_by(2).all(|key| *key == keys[1]), "{keys:?}");
    assert_ne!(keys[0], keys[1]);
    assert!(keys[0].len() >= 32 && keys[0].chars().all(|c| c.is_ascii_alphanumeric()), "{}", keys[0]);
    assert_eq!(database.connect().ping_key(&app(SHOP)).unwrap(), keys[0]);
}

fn two_changes_do_not_bring_together_what_cannot_be(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &Patch { max_run: Some(seconds(10)), ..every(60) });
    let longer = Patch { min_run: Some(seconds(20)), ..Patch::default() };
    let reserved = store.reserve(&app(SHOP), &component("backup"), &longer, at(1)).unwrap();
    assert!(matches!(reserved, Reserved::Incomplete(problem) if problem.field == "min_run"));
    assert_eq!(store.look("backup").spec.min_run, None);
}
