//! When a check-in wakes the sweeper, and when it does not change `wake_at`, which is an indexed
//! column.

use innkeeper_core::checkin::CheckIn;
use innkeeper_core::reservation::{AlertStatus, Conclusions, Patch};
use innkeeper_core::schedule::Schedule;
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(
    good_news_of_a_job_that_is_up_waits_for_the_deadline,
    a_failure_wakes_at_once,
    a_start_under_a_run_limit_wakes_at_once,
    anything_from_a_job_that_is_down_wakes_at_once,
    a_check_in_after_the_deadline_says_that_a_look_is_due,
    waking_never_puts_a_look_off,
    a_quiet_hour_costs_one_look,
    a_look_from_a_time_on_leaves_out_what_was_due_before,
    a_check_in_wakes_where_the_rules_say_so,
    a_success_under_a_respite_wakes_at_once,
    an_open_window_is_not_looked_at_in_ever_smaller_steps,
);

/// Checks in; returns whether that woke the sweeper, and by how many seconds it moved `wake_at`.
fn check_in(database: &TestDatabase, checkin: CheckIn) -> (bool, i64) {
    let store = database.store();
    let before = store.look("backup").conclusions.wake_at;
    let written = store.check_in("backup", &[checkin]);
    (written.wake, (store.look("backup").conclusions.wake_at - before).num_seconds())
}

fn good_news_of_a_job_that_is_up_waits_for_the_deadline(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    // The first start may begin a time limit.
    assert_eq!(check_in(database, start(at(0))), (true, -60));
    store.pass(at(0));
    for checkin in [success(at(1)), start(at(2)), log(at(3)), success(at(50)), of_run(1, start(at(51)))] {
        assert_eq!(check_in(database, checkin), (false, 0));
    }
    assert_eq!(store.pass(at(59)).looked, 0);
    assert_eq!((store.pass(at(60)).looked, store.next_wake_at().unwrap()), (1, Some(at(110))));
    assert_eq!(check_in(database, success(at(61))), (false, 0));
}

fn a_failure_wakes_at_once(database: &TestDatabase) {
    database.store().book("backup", &every(60));
    assert_eq!(check_in(database, fail(at(20), 1)), (true, -40));
}

fn a_start_under_a_run_limit_wakes_at_once(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &Patch { max_run: Some(seconds(5)), ..every(60) });
    assert_eq!(check_in(database, start(at(20))), (true, -40));
    store.pass(at(20));
    assert_eq!(store.next_wake_at().unwrap(), Some(at(25)));
    assert_eq!(store.pass(at(25)).opened, 1);
    // Without a time limit, a start changes no conclusion.
    store.check_in("backup", &[success(at(26))]);
    assert_eq!(store.pass(at(26)).closed, 1);
    let patch = Patch { max_run: Some(seconds(0)), ..Patch::default() };
    store.reserve(&app(SHOP), &component("backup"), &patch, at(27)).unwrap();
    store.pass(at(27));
    assert_eq!(check_in(database, start(at(28))), (false, 0));
}

fn anything_from_a_job_that_is_down_wakes_at_once(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    for (n, checkin) in [start(at(61)), fail(at(62), 1), success(at(63))].into_iter().enumerate() {
        store.pass(at(60 + n as i64));
        assert!(store.look("backup").conclusions.wake_at > at(60 + n as i64));
        assert!(check_in(database, checkin).0, "{n}");
    }
    assert_eq!(store.pass(at(63)).closed, 1);
}

fn a_check_in_after_the_deadline_says_that_a_look_is_due(database: &TestDatabase) {
    database.store().book("backup", &every(60));
    assert_eq!(check_in(database, success(at(61))), (true, 0));
}

fn waking_never_puts_a_look_off(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    assert_eq!(check_in(database, fail(at(20), 1)), (true, -40));
    assert_eq!(check_in(database, fail(at(30), 1)), (true, 0));
    store.check_in("backup", &[success(at(31)), fail(at(25), 1)]);
    assert_eq!(store.next_wake_at().unwrap(), Some(at(20)));
}

fn a_quiet_hour_costs_one_look(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(3600));
    let mut looks = 0;
    for minute in 0..60 {
        store.check_in("backup", &[success(at(minute * 60))]);
        looks += store.pass(at(minute * 60)).looked;
    }
    assert_eq!(looks, 0);
}

fn a_look_from_a_time_on_leaves_out_what_was_due_before(database: &TestDatabase) {
    let store = database.store();
    store.book("early", &every(60));
    store.book("late", &every(90));
    let next = |from: i64| store.next_wake_from(Some(at(from))).unwrap();
    assert_eq!([next(0), next(60), next(61), next(91)], [Some(at(60)), Some(at(60)), Some(at(90)), None]);
    assert_eq!(
        store.sweep_from(Some(at(61)), at(100), 10, &Rules(tell_log)).unwrap().opened,
        1,
        "the late one"
    );
    assert_eq!(store.sweep_from(Some(at(61)), at(100), 10, &Rules(tell_log)).unwrap().looked, 0);
    assert_eq!(store.sweep_from(Some(at(60)), at(100), 10, &Rules(tell_log)).unwrap().opened, 1);
    assert_eq!(store.pass(at(100)).looked, 0);
}

fn a_check_in_wakes_where_the_rules_say_so(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &every(60));
    let mut second = 0;
    for eager in [false, true] {
        for status in [AlertStatus::New, AlertStatus::Up, AlertStatus::Down] {
            for checkin in [success, start, log, |at| fail(at, 1), late] {
                for short_way in [true, false] {
                    second += 1;
                    let (checkin, wake_at) = (checkin(at(second)), at(second + 60));
                    database.execute(&format!(
                        "UPDATE states SET eager = {eager}, status = '{}', wake_at = {} WHERE reservation_id = {id}",
                        status.as_str(),
                        wake_at.timestamp_millis()
                    ));
                    let facts = store.look("backup").facts;
                    let before = Conclusions { eager, status, ..Conclusions::fresh(wake_at) };
                    let expected =
                        if before.wakes(&checkin, &facts) { checkin.arrived_at() } else { wake_at };
                    let batch = [arrival("backup", checkin)];
                    let written = match short_way {
                        true => store.record(&batch),
                        false => store.writer().record(&batch).unwrap(),
                    };
                    let after = store.look("backup").conclusions;
                    assert_eq!(after.wake_at, expected, "{before:?} {batch:?}");
                    assert_eq!(
                        written.wake,
                        expected == batch[0].checkin.arrived_at(),
                        "{before:?} {batch:?}"
                    );
                }
            }
        }
    }
}

/// A success that is reported late.
fn late(at: innkeeper_core::Time) -> CheckIn {
    reported(success(at - seconds(301)), at)
}

/// Adds a blind window between these seconds.
fn blind(database: &TestDatabase, from: i64, until: i64) {
    let (from, until) = (at(from).timestamp_millis(), at(until).timestamp_millis());
    database.execute(&format!("INSERT INTO blind_windows (from_at, until_at) VALUES ({from}, {until})"));
}

fn a_success_under_a_respite_wakes_at_once(database: &TestDatabase) {
    let store = database.store();
    let schedule = Schedule::cron("*/5 * * * *", "UTC").unwrap();
    store.book(
        "backup",
        &Patch { schedule: Some((schedule, None)), grace: Some(seconds(30)), ..Patch::default() },
    );
    store.check_in("backup", &[success(at(120))]);
    blind(database, 290, 420);
    store.pass(at(420));
    // The end of the window, plus a period and the grace.
    assert_eq!(store.next_wake_at().unwrap(), Some(at(750)));
    assert_eq!(check_in(database, success(at(480))), (true, -270), "the next is due at 600, which is sooner");
    store.pass(at(480));
    assert_eq!(store.next_wake_at().unwrap(), Some(at(630)));
    assert_eq!(check_in(database, success(at(490))), (false, 0), "the respite is over");
    assert_eq!(store.pass(at(629)).looked, 0);
    assert_eq!(store.pass(at(630)).opened, 1);
}

fn an_open_window_is_not_looked_at_in_ever_smaller_steps(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    store.pass(at(0));
    // Three blind windows have used up the respites of the deadline, which was 60.
    for from in [60, 121, 182] {
        blind(database, from, from + 1);
    }
    let last_beat = at(243).timestamp_millis() - 1;
    database.execute(&format!("INSERT INTO duties (name, beat_at) VALUES ('ingest', {last_beat})"));
    store.pass(at(200));
    let mut looks = 0;
    for second in 244..304 {
        looks += store.pass(at(second)).looked;
    }
    assert_eq!((store.alert("backup"), looks <= 60), (None, true), "{looks} looks");
    assert!(store.next_wake_at().unwrap().unwrap() >= at(304));
}
