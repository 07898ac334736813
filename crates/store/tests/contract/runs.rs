//! Runs: starts and their ends, paired in the history and remembered for `max_run`.

use innkeeper_core::checkin::CheckIn;
use innkeeper_core::reservation::Patch;
use innkeeper_store::Walk;
use innkeeper_testing::database::TestDatabase;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::world::*;

on_both!(
    an_unnamed_run_takes_from_its_start_to_the_next_end,
    named_runs_are_paired_by_their_names,
    start_and_end_may_come_in_one_batch_or_in_several,
    an_end_without_a_start_has_no_duration,
    a_job_without_starts_leaves_no_runs,
    many_runs_leave_few_rows,
    a_run_that_goes_on_is_never_forgotten,
);

/// The durations in seconds of the history, oldest first.
fn durations(database: &TestDatabase, checkins: &[&[CheckIn]]) -> Vec<Option<i64>> {
    let store = database.store();
    let id = store.book("backup", &every(60));
    for batch in checkins {
        store.check_in("backup", batch);
    }
    let history = store.checkins_of(id, 100).unwrap();
    history.iter().rev().map(|checkin| checkin.duration.map(|span| span.num_seconds())).collect()
}

fn an_unnamed_run_takes_from_its_start_to_the_next_end(database: &TestDatabase) {
    let took = durations(
        database,
        &[
            &[start(at(10))],
            &[success(at(15))],
            &[success(at(20))],
            &[start(at(30)), log(at(31))],
            &[fail(at(37), 1)],
        ],
    );
    assert_eq!(took, [None, Some(5), None, None, None, Some(7)]);
}

fn named_runs_are_paired_by_their_names(database: &TestDatabase) {
    let took = durations(
        database,
        &[
            &[of_run(1, start(at(10)))],
            &[of_run(2, start(at(12)))],
            &[of_run(2, success(at(15)))],
            &[of_run(1, log(at(16)))],
            &[of_run(1, success(at(20)))],
            &[of_run(1, success(at(21)))],
            &[of_run(3, success(at(22)))],
        ],
    );
    assert_eq!(took, [None, None, Some(3), None, Some(10), None, None]);
}

fn start_and_end_may_come_in_one_batch_or_in_several(database: &TestDatabase) {
    let took = durations(
        database,
        &[
            // Paired in spite of the wrong order, because they are in one batch.
            &[success(at(15)), start(at(10)), start(at(20)), success(at(21))],
            &[of_run(5, start(at(30))), of_run(5, fail(at(33), 1)), of_run(6, start(at(33)))],
            &[of_run(6, success(at(40)))],
        ],
    );
    assert_eq!(took, [None, Some(5), None, Some(1), None, Some(3), None, Some(7)]);
}

fn an_end_without_a_start_has_no_duration(database: &TestDatabase) {
    // An unnamed success ends every run, so that the late end of the named one is not its own.
    let took = durations(
        database,
        &[&[of_run(1, start(at(10)))], &[success(at(20))], &[of_run(1, success(at(30)))], &[success(at(40))]],
    );
    assert_eq!(took, [None, None, None, None]);
}

fn a_job_without_starts_leaves_no_runs(database: &TestDatabase) {
    durations(database, &[&[success(at(1)), log(at(2))], &[fail(at(3), 1), of_run(1, log(at(4)))]]);
    assert_eq!(database.count("runs"), 0);
}

fn many_runs_leave_few_rows(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &Patch { max_run: Some(seconds(5)), ..every(60) });
    for n in 0..130 {
        let batch = [of_run(n as u128, start(at(n * 10))), of_run(n as u128, success(at(n * 10 + 1)))];
        store.check_in("backup", &batch);
    }
    assert!(database.count("runs") <= 100, "{}", database.count("runs"));
    // Runs that never end leave few rows as well.
    for n in 400..650 {
        store.check_in("backup", &[of_run(n as u128, start(at(n * 10)))]);
    }
    assert!(database.count("runs") <= 250, "{}", database.count("runs"));
}

fn a_run_that_goes_on_is_never_forgotten(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &Patch { max_run: Some(seconds(100_000)), ..every(1_000_000) });
    store.check_in("backup", &[of_run(1_000, start(at(1)))]);
    for n in 0..200 {
        let batch = [of_run(n, start(at(n as i64 * 10 + 2))), of_run(n, success(at(n as i64 * 10 + 3)))];
        store.check_in("backup", &batch);
    }
    // Pruning keeps a run that is under way, because its time limit may be longer than the history.
    store.prune(10, at(50_000), &mut Walk::default(), &|| true).unwrap();
    assert_eq!(store.pass(at(100_000)).opened, 0);
    assert_eq!(store.pass(at(100_001)).opened, 1);
}

/// The durations of runs with an id are never negative, whatever the order of their check-ins.
#[test]
fn no_run_takes_less_than_nothing() {
    let database = TestDatabase::sqlite();
    let store = database.store();
    let events = prop::collection::vec((0i64..20, 0usize..3, prop::option::of(0u128..2)), 1..10);
    let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
    let count = std::cell::Cell::new(0);
    TestRunner::new(config)
        .run(&events, |events| {
            count.set(count.get() + 1);
            let name = format!("job {}", count.get());
            let id = store.book(&name, &every(60));
            for (second, kind, run) in events {
                let checkin = [start(at(second)), success(at(second)), fail(at(second), 1)][kind].clone();
                store.check_in(&name, &[CheckIn { run_id: run.map(uuid::Uuid::from_u128), ..checkin }]);
            }
            let history = store.checkins_of(id, 100).unwrap();
            prop_assert!(history.iter().all(|one| one.duration.is_none_or(|span| span >= seconds(0))));
            Ok(())
        })
        .unwrap();
}
