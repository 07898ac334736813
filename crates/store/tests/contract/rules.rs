//! The rules, as far as they need stored data: snoozes, failures in a row over several passes,
//! which runs were reported, what was changed.

use chrono::TimeDelta;
use innkeeper_core::alert::Cause;
use innkeeper_core::checkin::CheckIn;
use innkeeper_core::reservation::{AlertStatus, Patch};
use innkeeper_core::schedule::Schedule;
use innkeeper_core::snooze::SnoozeMode;
use innkeeper_store::ChangeOutcome;
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(
    a_failure_in_a_snooze_is_told_at_its_end,
    snoozes_are_kept_one_after_the_other,
    a_snooze_of_before_has_an_end_alone,
    a_row_goes_on_over_passes_and_an_upgrade,
    which_runs_were_told_is_kept,
    a_run_whose_alert_was_withdrawn_is_told_again,
    a_run_over_its_limit_is_told_after_the_alert_that_was_open,
    a_run_that_was_over_without_a_word_is_not_told_by_a_longer_limit,
    a_change_of_the_schedule_closes_a_false_alert_however_it_comes,
    a_short_run_is_none_by_another_limit,
    a_short_run_is_judged_as_such_in_whatever_order_it_is_recorded,
    a_row_of_short_runs_is_counted_in_whatever_order_they_are_recorded,
    a_start_of_before_is_not_that_of_a_later_end,
    a_remark_leaves_a_job_new,
);

fn snooze(database: &TestDatabase, from: i64, until: i64, mode: SnoozeMode) {
    let store = database.store();
    assert!(store.snooze(&app(SHOP), &component("job"), at(until), mode, at(from)).unwrap());
}

fn a_failure_in_a_snooze_is_told_at_its_end(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &every(100_000));
    for (begin, mode) in [(0, SnoozeMode::Quiet), (1000, SnoozeMode::Skip)] {
        snooze(database, begin + 10, begin + 500, mode);
        store.check_in("job", &[fail(at(begin + 20), 1)]);
        assert_eq!(store.pass(at(begin + 20)).opened, 0);
        assert_eq!(store.next_wake_at().unwrap(), Some(at(begin + 500)));
        assert_eq!(store.pass(at(begin + 500)).opened, 1, "{mode:?}");
        store.check_in("job", &[success(at(begin + 600))]);
        assert_eq!(store.pass(at(begin + 600)).closed, 1);
        assert!(store.look("job").conclusions.snoozes.is_empty(), "heard after it, it is forgotten");
    }
}

fn snoozes_are_kept_one_after_the_other(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("job", &every(600));
    snooze(database, 500, 700, SnoozeMode::Skip);
    snooze(database, 650, 800, SnoozeMode::Quiet);
    let conclusions = store.look("job").conclusions;
    let mode = |now| conclusions.snooze_at(at(now)).map(|snooze| snooze.mode);
    assert_eq!(
        [mode(499), mode(649), mode(650), mode(800)],
        [None, Some(SnoozeMode::Skip), Some(SnoozeMode::Quiet), None]
    );
    store.pass(at(660));
    assert_eq!(store.look("job").conclusions.snoozes, conclusions.snoozes, "a look keeps them");
    assert!(store.resume_by_id(id, at(700)).unwrap());
    assert_eq!(store.look("job").conclusions.snoozed_until(at(700)), None);
    // The expected time 600 lay in the first snooze, so the interval began anew at 650. The next
    // one, 1250, lies outside both snoozes.
    assert_eq!(store.pass(at(1249)).opened, 0);
    assert_eq!(store.pass(at(1250)).opened, 1);
}

fn a_snooze_of_before_has_an_end_alone(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &every(60));
    database.execute(&format!("UPDATE states SET snoozed_until = {}", at(500).timestamp_millis()));
    assert_eq!(store.pass(at(100)).opened, 0);
    assert_eq!(store.look("job").conclusions.snoozed_until(at(100)), Some(at(500)));
    assert_eq!(
        store.pass(at(559)).opened,
        0,
        "what was due in it is not expected, as was said when it began"
    );
    assert_eq!(store.pass(at(560)).opened, 1);
}

fn a_row_goes_on_over_passes_and_an_upgrade(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &Patch { alert_after: Some(4), ..every(100) });
    store.pass(at(100));
    // The check-in at 100 is missed, and a failure comes late; then a further failure comes.
    store.check_in("job", &[fail(at(150), 1)]);
    store.pass(at(150));
    store.check_in("job", &[fail(at(160), 1)]);
    store.pass(at(160));
    let conclusions = store.look("job").conclusions;
    assert_eq!((conclusions.fail_streak, conclusions.heard_at), (2, Some(at(160))));
    assert_eq!(store.pass(at(260)).opened, 0, "three");
    assert_eq!(store.pass(at(359)).opened, 0);
    assert_eq!(store.pass(at(360)).opened, 1, "four");
}

fn which_runs_were_told_is_kept(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &Patch { max_run: Some(seconds(60)), ..every(100_000) });
    store.check_in("job", &[of_run(1, start(at(10)))]);
    assert_eq!(store.pass(at(10)).opened, 0);
    assert_eq!(store.pass(at(70)).opened, 1);
    assert_eq!(database.count("runs WHERE told_at IS NOT NULL"), 1);
    store.check_in("job", &[of_run(2, start(at(100))), of_run(2, success(at(110)))]);
    assert_eq!(store.pass(at(110)).closed, 1);
    for now in [111, 1000, 90_000] {
        assert_eq!(store.pass(at(now)).opened, 0);
    }
    // A run with an id does not begin twice.
    store.check_in("job", &[of_run(2, start(at(90_000)))]);
    assert_eq!(store.pass(at(95_000)).opened, 0);
}

fn a_run_whose_alert_was_withdrawn_is_told_again(database: &TestDatabase) {
    let store = database.store();
    let limit = |max_run| Patch { max_run: Some(seconds(max_run)), ..Patch::default() };
    let id = store.book("job", &Patch { max_run: Some(seconds(60)), ..every(100_000) });
    store.check_in("job", &[of_run(1, start(at(10)))]);
    store.pass(at(10));
    assert_eq!(store.pass(at(70)).opened, 1);
    assert_eq!(store.change(id, &limit(3600), &|_| true, at(80)).unwrap(), ChangeOutcome::Done);
    assert_eq!(store.pass(at(80)).closed, 1);
    assert_eq!(database.count("runs WHERE told_at IS NOT NULL"), 0);
    assert_eq!(store.change(id, &limit(60), &|_| true, at(90)).unwrap(), ChangeOutcome::Done);
    assert_eq!(store.pass(at(90)).opened, 1);
}

fn a_run_over_its_limit_is_told_after_the_alert_that_was_open(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &Patch { max_run: Some(seconds(60)), ..every(100_000) });
    store.check_in("job", &[fail(at(10), 1)]);
    assert_eq!(store.pass(at(10)).opened, 1);
    store.check_in("job", &[of_run(1, start(at(20))), of_run(2, start(at(70)))]);
    store.pass(at(70));
    store.check_in("job", &[of_run(2, success(at(90)))]);
    let swept = store.pass(at(90));
    assert_eq!((swept.closed, swept.opened), (1, 0));
    assert_eq!(database.count("runs WHERE told_at IS NOT NULL"), 0);
    let next = store.next_wake_at().unwrap().unwrap();
    assert!(next > at(90) && next < at(91), "{next}");
    assert_eq!(store.pass(at(91)).opened, 1);
    assert_eq!(database.texts("SELECT cause FROM alerts ORDER BY id"), ["failed", "overran"]);
    assert_eq!(store.pass(at(1000)).opened, 0);
}

fn a_run_that_was_over_without_a_word_is_not_told_by_a_longer_limit(database: &TestDatabase) {
    let store = database.store();
    let longer = Patch { max_run: Some(seconds(3600)), ..Patch::default() };
    let id = store.book("job", &Patch { max_run: Some(seconds(60)), ..every(100_000) });
    snooze(database, 5, 900, SnoozeMode::Quiet);
    store.check_in("job", &[of_run(1, start(at(10)))]);
    store.pass(at(10));
    store.check_in("job", &[of_run(2, start(at(100))), of_run(2, success(at(110)))]);
    store.pass(at(110));
    assert_eq!(store.pass(at(900)).opened, 0);
    assert_eq!(store.change(id, &longer, &|_| true, at(950)).unwrap(), ChangeOutcome::Done);
    for now in [950, 3610, 5000] {
        assert_eq!(store.pass(at(now)).opened, 0, "{now}");
    }
}

fn a_change_of_the_schedule_closes_a_false_alert_however_it_comes(database: &TestDatabase) {
    let store = database.store();
    let named = (app(SHOP), component("job"));
    let id = store.book("job", &every(60));
    let longer = |period| Patch {
        schedule: Some((Schedule::every(seconds(period)).unwrap(), None)),
        ..Patch::default()
    };
    type Way<'a> = Box<dyn Fn(i64) + 'a>;
    let changes: [Way<'_>; 3] = [
        Box::new(|now| drop(store.reserve(&named.0, &named.1, &longer(80_000), at(now)).unwrap())),
        Box::new(|now| {
            assert_eq!(store.change(id, &longer(80_000), &|_| true, at(now)).unwrap(), ChangeOutcome::Done)
        }),
        Box::new(|now| {
            let mut spec = store.look("job").spec;
            spec.schedule = Schedule::every(seconds(80_000)).unwrap();
            store.apply(&[spec], None, false, at(now)).unwrap();
        }),
    ];
    for (n, change) in (0..).zip(&changes) {
        let begin = n * 1000;
        store.check_in("job", &[success(at(begin))]);
        store.reserve(&named.0, &named.1, &longer(60), at(begin)).unwrap();
        store.pass(at(begin));
        assert_eq!(store.pass(at(begin + 60)).opened, 1, "{n}");
        change(begin + 90);
        let swept = store.pass(at(begin + 90));
        assert_eq!((swept.closed, swept.reminded), (1, 0), "{n}");
        assert_eq!(store.look("job").conclusions.status, AlertStatus::Up);
        assert_eq!(store.pass(at(begin + 900)).opened, 0);
    }
    let endings = database.texts("SELECT ending FROM alerts ORDER BY id");
    assert_eq!(endings, vec!["schedule changed: not overdue by it".to_owned(); 3]);
}

fn a_short_run_is_none_by_another_limit(database: &TestDatabase) {
    let store = database.store();
    let least = |s| Patch { min_run: Some(seconds(s)), ..Patch::default() };
    store.book("job", &Patch { min_run: Some(seconds(60)), ..every(100_000) });
    store.check_in("job", &[start(at(10)), success(at(40))]);
    assert_eq!(store.pass(at(40)).opened, 1);
    store.reserve(&app(SHOP), &component("job"), &least(50), at(50)).unwrap();
    assert_eq!(store.pass(at(50)).closed, 0, "thirty seconds are too short for that, too");
    store.reserve(&app(SHOP), &component("job"), &least(20), at(60)).unwrap();
    assert_eq!(store.pass(at(60)).closed, 1);
}

fn a_remark_leaves_a_job_new(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &every(100));
    store.check_in("job", &[log(at(10))]);
    store.pass(at(60));
    assert_eq!(store.look("job").conclusions.status, AlertStatus::New);
    assert_eq!(store.pass(at(100)).opened, 1);
}

/// A start at `second` and its end soon after, with or without an id.
fn short_run(second: i64, id: Option<u128>) -> [CheckIn; 2] {
    let named = |checkin| match id {
        Some(id) => of_run(id, checkin),
        None => checkin,
    };
    [named(start(at(second))), named(success(at(second) + TimeDelta::milliseconds(40)))]
}

fn a_short_run_is_judged_as_such_in_whatever_order_it_is_recorded(database: &TestDatabase) {
    let store = database.store();
    let mut count = 0;
    for id in [None, Some(7)] {
        for is_first in [true, false] {
            for (end_first, looks) in [(false, false), (true, false), (true, true)] {
                count += 1;
                let name = format!("job {count}");
                let number = store.book(&name, &Patch { min_run: Some(seconds(10)), ..every(100_000) });
                if !is_first {
                    store.check_in(&name, &[start(at(10)), success(at(30))]);
                    store.pass(at(30));
                }
                let [start, end] = short_run(100, id);
                let (one, other) = if end_first { (end, start) } else { (start, end) };
                store.check_in(&name, &[one]);
                if looks {
                    assert_eq!(store.pass(at(101)).opened, 0);
                }
                store.check_in(&name, &[other]);
                let case = format!("id {id:?}, first {is_first}, end first {end_first}, looked {looks}");
                assert_eq!(store.pass(at(102)).opened, 1, "{case}");
                assert_eq!(store.alert(&name).unwrap().reason.cause(), Cause::Failed, "{case}");
                let history = store.checkins_of(number, 2).unwrap();
                let took = history.iter().find_map(|row| row.duration);
                assert_eq!(took, Some(TimeDelta::milliseconds(40)), "{case}");
                // The alert stays open.
                assert_eq!(store.pass(at(103)).closed, 0, "{case}");
                store.check_in(&name, &[success(at(200))]);
                assert_eq!(store.pass(at(200)).closed, 1, "{case}");
            }
        }
    }
}

fn a_row_of_short_runs_is_counted_in_whatever_order_they_are_recorded(database: &TestDatabase) {
    let store = database.store();
    for end_first in [false, true] {
        let name = format!("job {end_first}");
        store.book(&name, &Patch { min_run: Some(seconds(10)), alert_after: Some(4), ..every(100_000) });
        store.check_in(&name, &[start(at(10)), success(at(30))]);
        store.pass(at(30));
        store.check_in(&name, &[fail(at(50), 1)]);
        store.pass(at(50));
        for n in 1..=3 {
            let [start, end] = short_run(n * 100, None);
            let (one, other) = if end_first { (end, start) } else { (start, end) };
            store.check_in(&name, &[one]);
            store.pass(at(n * 100 + 1));
            store.check_in(&name, &[other]);
            let opened = store.pass(at(n * 100 + 2)).opened;
            assert_eq!((opened, store.look(&name).conclusions.fail_streak), (usize::from(n == 3), n + 1));
        }
        store.check_in(&name, &[success(at(1000))]);
        store.pass(at(1000));
        // A short run that a success has followed meanwhile is reported as well.
        store
            .reserve(
                &app(SHOP),
                &component(&name),
                &Patch { alert_after: Some(1), ..Patch::default() },
                at(1010),
            )
            .unwrap();
        store.pass(at(1010));
        let [start, end] = short_run(1100, None);
        store.check_in(&name, &[end]);
        store.pass(at(1101));
        store.check_in(&name, &[of_run(9, success(at(1105)))]);
        store.pass(at(1105));
        store.check_in(&name, &[start]);
        let swept = store.pass(at(1106));
        assert_eq!((swept.opened, swept.closed), (1, 1));
    }
}

fn a_start_of_before_is_not_that_of_a_later_end(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("job", &Patch { min_run: Some(seconds(10)), ..every(100_000) });
    // The end of the first run is lost, and its start is recorded last.
    store.check_in("job", &[start(at(105)), success(at(120))]);
    store.pass(at(120));
    store.check_in("job", &[start(at(100))]);
    assert_eq!(store.pass(at(121)).opened, 0);
    // Here a check-in that ends all runs lies between start and end.
    store.check_in("job", &[success(at(130)), of_run(1, success(at(132)))]);
    store.pass(at(132));
    store.check_in("job", &[of_run(1, start(at(128)))]);
    assert_eq!(store.pass(at(133)).opened, 0);
    let took: Vec<_> =
        store.checkins_of(id, 10).unwrap().into_iter().filter_map(|row| row.duration).collect();
    assert_eq!(took, [seconds(15)]);
}
