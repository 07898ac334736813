//! A clock that was ahead and has returned: the times that it stamped are corrected, and nothing is
//! muted, blocked or lost.

use innkeeper_core::access::UserRole;
use innkeeper_core::rewind::Rewind;
use innkeeper_core::snooze::SnoozeMode;
use innkeeper_store::{ActingStore, Actor, DatabaseKind, Rewinding, StepOutcome, Ticker};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(
    what_was_stamped_ahead_comes_back_and_a_second_pass_changes_nothing,
    after_the_return_the_silent_are_told_about_in_time_and_the_healthy_are_not,
    what_others_stamp_by_the_new_time_stays,
    a_failure_stays_after_the_success_that_it_followed,
    a_pass_that_was_cut_off_is_made_again,
    a_pass_for_stragglers_has_only_those_looked_at_again,
    a_row_that_cannot_be_moved_keeps_no_other_from_it,
    what_waits_is_not_blocked,
    a_snooze_ends_when_it_was_meant_to,
    a_checkout_of_the_future_can_be_undone,
    a_window_that_ends_tomorrow_mutes_nobody,
    one_node_tells_of_a_step_that_all_see,
);

const DAY: i64 = 86_400;

/// The clock, a day ahead, returns to `now`.
fn back(now: i64) -> Rewind {
    Rewind { now: at(now), by: seconds(DAY) }
}

fn actor(store: &ActingStore) -> ActingStore {
    store.acting_as(Actor { who: "user ada".to_owned(), source: String::new() })
}

fn what_was_stamped_ahead_comes_back_and_a_second_pass_changes_nothing(database: &TestDatabase) {
    let store = actor(&database.store());
    let id = store.book("a", &every(60));
    store.book("old", &every(3 * DAY));
    store.check_in("old", &[success(at(30))]);
    store.check_in("a", &[success(at(40))]);
    let (start, end) = (of_run(1, start(at(DAY + 50))), of_run(1, fail(at(DAY + 60), 3)));
    store.check_in("a", &[start, end, success(at(DAY + 70)), log(at(DAY + 80))]);
    store.reserve(&app(SHOP), &component("new"), &every(60), at(DAY + 85)).unwrap();
    store.check_in("new", &[fail(at(DAY + 90), 1)]);
    assert_eq!(store.pass(at(DAY + 90)).opened, 2, "one of them recovered");
    let ada = store.add_user("ada", UserRole::Admin, "link", at(DAY * 2), at(DAY)).unwrap().unwrap();
    store.begin_session(&ada, &new_session("hash"), at(DAY + 60)).unwrap();
    store.count_guess(&innkeeper_core::guesses::GuessCount::of_device("one"), at(DAY + 60)).unwrap();
    store.begin_app_setup(ada.id, "hash", "secret", at(DAY + 60)).unwrap();
    store.finish_app_setup(&ada, "hash", "secret", at(DAY + 60), &[], at(DAY + 60)).unwrap();
    database.execute("UPDATE users SET password = 'password'");
    assert!(store.add_pending_login(&ada, "password", "pending", "10.0.0.5", at(DAY + 60)).unwrap());
    store.note_clock_step(Ticker::Database, "here", seconds(DAY), StepOutcome::Followed, at(DAY)).unwrap();
    for sql in [
        "INSERT INTO duties (name, beat_at) VALUES ('ingest', ",
        "INSERT INTO leases (name, holder, until_at) VALUES ('coordinator', 'dead', ",
        "INSERT INTO blind_windows (from_at, until_at) VALUES (1767571210000, ",
    ] {
        database.execute(&format!("{sql} {})", at(DAY + 95).timestamp_millis()));
    }
    assert_eq!(store.newest_time().unwrap(), Some(at(DAY + 95)));

    store.rewind(&back(100)).unwrap();
    let facts = store.look("a").facts;
    assert_eq!(facts.last_start_at, Some(at(50)));
    assert_eq!(facts.last_fail_at, Some(at(60)));
    assert_eq!(facts.last_checkin_at, Some(at(70)));
    assert_eq!(facts.last_seen_at, Some(at(80)));
    let times = |id| store.checkins_of(id, 10).unwrap().iter().map(|one| one.at).collect::<Vec<_>>();
    assert_eq!(times(id), [at(80), at(70), at(60), at(50), at(40)]);
    assert_eq!(store.look("old").facts.last_checkin_at, Some(at(30)));
    assert_eq!(store.look("new").created_at, at(85));
    assert_eq!(store.alert("new").unwrap().opened_at, at(90));
    assert_eq!(store.newest_time().unwrap(), Some(at(95)));
    let windows = store.blind_windows(at(100)).unwrap();
    assert_eq!(windows[0].until, at(95), "{windows:?}");
    assert!(
        store.take_lease("coordinator", "alive", seconds(6), at(101)).unwrap()
            || database.kind().as_str() == "postgres"
    );
    let now = at(100).timestamp_millis();
    let late = |database: &TestDatabase| -> Vec<(&str, &str)> {
        [
            ("states", "wake_at"),
            ("runs", "started_at"),
            ("runs", "ended_at"),
            ("alerts", "opened_at"),
            ("alerts", "told_at"),
            ("alerts", "closed_at"),
            ("alerts", "success_before"),
            ("deliveries", "created_at"),
            ("deliveries", "next_at"),
            ("sessions", "seen_at"),
            ("login_failures", "last_at"),
            ("users", "created_at"),
            ("totp", "used_at"),
            ("pending_logins", "created_at"),
            ("audit", "at"),
            ("clock_steps", "at"),
        ]
        .into_iter()
        .filter(|(table, column)| database.count(&format!("{table} WHERE {column} > {now}")) > 0)
        .collect()
    };
    assert_eq!(late(database), []);
    assert_eq!(database.count("alerts WHERE closed_at IS NULL"), 1, "what is not there does not come about");

    let before = (store.look("a"), store.alert("new"), times(id));
    store.rewind(&back(101)).unwrap();
    assert_eq!((store.look("a"), store.alert("new"), times(id)), before);
}

fn after_the_return_the_silent_are_told_about_in_time_and_the_healthy_are_not(database: &TestDatabase) {
    let store = database.store();
    for name in ["healthy", "silent"] {
        store.book(name, &every(60));
        store.check_in(name, &[success(at(50)), success(at(DAY + 100))]);
    }
    store.pass(at(DAY + 101));
    store.rewind(&back(110)).unwrap();
    store.pass(at(110));
    store.check_in("healthy", &[success(at(150))]);
    assert_eq!(store.pass(at(159)).opened, 0);
    assert_eq!(store.pass(at(160)).opened, 1, "a minute after it was last heard of");
    assert!(store.alert("silent").is_some() && store.alert("healthy").is_none());
}

/// Another node has followed the step already, and its time is some milliseconds ahead of the time
/// of this one.
fn what_others_stamp_by_the_new_time_stays(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("a", &every(60));
    let fresh = at(100) + chrono::TimeDelta::milliseconds(300);
    store.check_in("a", &[success(at(40)), success(fresh)]);
    let (from, until) = (at(95).timestamp_millis(), fresh.timestamp_millis());
    database.execute(&format!("INSERT INTO blind_windows (from_at, until_at) VALUES ({from}, {until})"));
    database.execute(&format!("INSERT INTO duties (name, beat_at) VALUES ('ingest', {until})"));
    for progress in [Rewinding::default(), Rewinding::for_stragglers()] {
        let mut progress = progress;
        while !store.rewind_some(&back(100), &mut progress).unwrap() {}
        assert_eq!(store.look("a").facts.last_checkin_at, Some(fresh));
        assert_eq!(store.checkins_of(id, 10).unwrap()[0].at, fresh);
        assert_eq!(database.number("SELECT until_at FROM blind_windows"), Some(until));
        assert_eq!(database.number("SELECT beat_at FROM duties"), Some(until));
    }
}

fn a_failure_stays_after_the_success_that_it_followed(database: &TestDatabase) {
    let store = database.store();
    store.book("a", &every(DAY));
    // A success and a failure; then the clock goes back by an hour.
    store.check_in("a", &[success(at(5400))]);
    store.check_in("a", &[fail(at(7800), 1)]);
    store.pass(at(10_000));
    store.rewind(&Rewind { now: at(7200), by: seconds(3600) }).unwrap();
    let facts = store.look("a").facts;
    assert!(facts.last_fail_at > facts.last_checkin_at && facts.last_fail_at <= Some(at(7200)), "{facts:?}");
    assert_eq!(store.pass(at(7200)).closed, 0, "nobody has recovered");
}

fn a_pass_for_stragglers_has_only_those_looked_at_again(database: &TestDatabase) {
    let store = database.store();
    let names: Vec<String> = (0..600).map(|n| format!("job-{n}")).collect();
    for name in &names {
        store.book(name, &every(7200));
    }
    let due = || database.count(&format!("states WHERE wake_at <= {}", at(20).timestamp_millis()));
    store.pass(at(5));
    store.rewind(&back(10)).unwrap();
    assert_eq!(due(), 600, "at first everybody");
    store.pass(at(10));
    assert_eq!(due(), 0);

    // A check-in with a time of the old clock from another node, and a conclusion of such a node.
    store.check_in("job-7", &[success(at(DAY + 12))]);
    let id = store.look("job-8").id;
    let soon = at(DAY + 13).timestamp_millis();
    database.execute(&format!("UPDATE states SET wake_at = {soon} WHERE reservation_id = {id}"));
    let mut progress = Rewinding::for_stragglers();
    while !store.rewind_some(&back(20), &mut progress).unwrap() {}
    assert_eq!(store.look("job-7").facts.last_checkin_at, Some(at(12)));
    assert_eq!(due(), 2, "and then those two");
    assert_eq!(store.pass(at(7205)).opened, 599, "nobody is forgotten");
}

fn a_pass_that_was_cut_off_is_made_again(database: &TestDatabase) {
    let store = database.store();
    for n in 0..700 {
        store.book(&format!("job-{n}"), &every(60));
    }
    let batch: Vec<_> = (0..700).map(|n| arrival(&format!("job-{n}"), success(at(DAY + 3)))).collect();
    store.record(&batch);
    let mut progress = Rewinding::default();
    assert!(!store.rewind_some(&back(5), &mut progress).unwrap());
    let left = || database.count(&format!("states WHERE last_checkin_at > {}", at(5).timestamp_millis()));
    assert_eq!(left(), 200);
    store.rewind(&back(6)).unwrap();
    assert_eq!(left(), 0);
    assert_eq!(store.look("job-0").facts.last_checkin_at, Some(at(3)));
    assert_eq!(store.look("job-699").facts.last_checkin_at, Some(at(3)));
}

fn a_row_that_cannot_be_moved_keeps_no_other_from_it(database: &TestDatabase) {
    let store = database.store();
    let ids: Vec<i64> = (0..30).map(|n| store.book(&format!("job-{n}"), &every(60))).collect();
    store.record(&(0..30).map(|n| arrival(&format!("job-{n}"), success(at(DAY + 3)))).collect::<Vec<_>>());
    let late = at(DAY + 3).timestamp_millis();
    for n in 0..5 {
        database.execute(&format!(
            "INSERT INTO audit (at, who, source, action, subject, detail) VALUES ({late}, 'ada', '', 'note', '{n}', '')"
        ));
    }
    let refuse = |table: &str, which: &str| {
        match database.kind() {
        DatabaseKind::Postgres => database.execute(&format!(
            "CREATE FUNCTION refuse_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
             CREATE TRIGGER refuse BEFORE UPDATE ON {table} FOR EACH ROW WHEN ({which}) EXECUTE FUNCTION refuse_{table}()"
        )),
        DatabaseKind::Sqlite => database.execute(&format!(
            "CREATE TRIGGER refuse_{table} BEFORE UPDATE ON {table} WHEN {which} BEGIN SELECT RAISE(ABORT, 'no'); END"
        )),
    }
    };
    refuse("states", &format!("old.reservation_id = {}", ids[7]));
    refuse("audit", "old.subject = '2'");
    let mut left = vec![ids[7]];
    if database.kind() == DatabaseKind::Sqlite {
        // SQLite reads the text as 0, which must not be written back.
        database.execute(&format!(
            "PRAGMA ignore_check_constraints = ON;
             UPDATE states SET last_seen_at = 'yesterday' WHERE reservation_id = {};",
            ids[20]
        ));
        left.push(ids[20]);
    }

    store.rewind(&back(5)).unwrap();
    let now = at(5).timestamp_millis();
    let behind = database.numbers(&format!(
        "SELECT reservation_id FROM states WHERE last_checkin_at > {now} ORDER BY reservation_id"
    ));
    assert_eq!(behind, left);
    assert_eq!(database.texts(&format!("SELECT subject FROM audit WHERE at > {now}")), ["2"]);
    if database.kind() == DatabaseKind::Sqlite {
        let seen = "SELECT last_seen_at FROM states WHERE typeof(last_seen_at) = 'text'";
        assert_eq!(database.texts(seen), ["yesterday"]);
    }
}

fn what_waits_is_not_blocked(database: &TestDatabase) {
    let store = database.store();
    store
        .put_notices(&[delivery("log", "", remark("one")), delivery("log", "", remark("two"))], at(0))
        .unwrap();
    let claimed = store.claim_singles("log", at(DAY), seconds(30), "dead", 1).unwrap();
    assert_eq!(claimed.len(), 1);
    database.execute(&format!(
        "UPDATE deliveries SET next_at = {} WHERE lease_until IS NULL",
        at(DAY + 3600).timestamp_millis()
    ));
    store.rewind(&back(10)).unwrap();
    let ready = |now| store.claim_singles("log", at(now), seconds(30), "alive", 9).unwrap().len();
    assert_eq!(ready(10), 1, "what the dead had claimed");
    database.execute("UPDATE deliveries SET state = 'delivered' WHERE lease_until IS NOT NULL");
    assert_eq!(ready(3599), 0);
    assert_eq!(ready(3600), 1, "what was to be tried an hour later");
}

fn a_snooze_ends_when_it_was_meant_to(database: &TestDatabase) {
    let store = actor(&database.store());
    for name in ["before", "ahead"] {
        store.book(name, &every(60));
    }
    store.snooze(&app(SHOP), &component("before"), at(3 * DAY), SnoozeMode::Quiet, at(10)).unwrap();
    store.snooze(&app(SHOP), &component("ahead"), at(DAY + 7200), SnoozeMode::Skip, at(DAY)).unwrap();
    store.rewind(&back(20)).unwrap();
    store.rewind(&back(21)).unwrap();
    assert_eq!(store.look("before").conclusions.snoozes.last_until(), Some(at(3 * DAY)));
    assert_eq!(store.look("ahead").conclusions.snoozes.last_until(), Some(at(7200)));
}

fn a_checkout_of_the_future_can_be_undone(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("a", &every(60));
    store.check_in("a", &[fail(at(DAY), 1), success(at(DAY + 5))]);
    assert!(store.check_out(&app(SHOP), &component("a"), at(DAY + 6)).unwrap());
    store.rewind(&back(10)).unwrap();
    store.undo_checkout(id, at(10)).unwrap();
    let facts = store.look("a").facts;
    assert_eq!((facts.last_fail_at, facts.last_checkin_at), (Some(at(5)), Some(at(10))));
}

fn a_window_that_ends_tomorrow_mutes_nobody(database: &TestDatabase) {
    let store = database.store();
    store.book("a", &every(60));
    let day = at(DAY).timestamp_millis();
    database.execute(&format!(
        "INSERT INTO blind_windows (from_at, until_at) VALUES ({}, {day})",
        at(10).timestamp_millis()
    ));
    database.execute(&format!("INSERT INTO blind_windows (from_at, until_at) VALUES ({day}, {day} + 9)"));
    assert_eq!(
        store.blind_windows(at(20)).unwrap().iter().map(|window| window.until).collect::<Vec<_>>(),
        [at(20)]
    );
}

fn one_node_tells_of_a_step_that_all_see(database: &TestDatabase) {
    let store = database.store();
    let note = |clock, host, by, now| {
        store.note_clock_step(clock, host, seconds(by), StepOutcome::Waiting, at(now)).unwrap()
    };
    let (shared, own) = (Ticker::Database, Ticker::Machine);
    assert!(note(shared, "one", DAY, 0));
    assert!(!note(shared, "two", DAY + 1, 1), "the same");
    assert!(note(shared, "two", -DAY, 1));
    assert!(note(own, "one", DAY, 1) && note(own, "two", DAY, 1) && !note(own, "two", DAY, 1));
    assert!(store.turn_clock_steps(shared, "two", StepOutcome::Returned, at(5)).unwrap());
    assert!(
        !store.turn_clock_steps(shared, "one", StepOutcome::Returned, at(5)).unwrap(),
        "somebody has told it"
    );
    assert!(note(shared, "one", DAY, 8), "it goes again");
    assert!(store.turn_clock_steps(own, "two", StepOutcome::Followed, at(9)).unwrap());
    let steps = store.clock_steps(9).unwrap();
    let outcomes: Vec<_> = steps.iter().map(|step| (step.host.as_str(), step.outcome.as_str())).collect();
    assert_eq!(
        outcomes,
        [
            ("one", "waiting"),
            ("two", "followed"),
            ("one", "waiting"),
            ("two", "returned"),
            ("one", "returned")
        ]
    );
    assert_eq!(steps[4].by, seconds(DAY));
    assert_eq!(store.forget_clock_steps(at(8)).unwrap(), 4);
}
