//! Several writers at once: nothing is lost, and there is no deadlock.

use innkeeper_core::reservation::Patch;
use innkeeper_store::{Arrival, BatchOutcome, Definition, Target};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(
    overlapping_batches_in_opposite_order_all_count,
    definitions_in_opposite_order_all_count,
    creations_in_opposite_order_all_count,
);

const WRITERS: usize = 4;
const ROUNDS: usize = 20;
const JOBS: usize = 12;

/// Several writers record the batches of `batch(writer, round)`, every other one in reverse. None
/// may fail.
fn all_write(database: &TestDatabase, batch: impl Fn(usize, usize) -> Vec<Arrival> + Sync) {
    let store = database.store();
    together(WRITERS, |writer| {
        let mut own = store.writer();
        for round in 0..ROUNDS {
            let mut batch = batch(writer, round);
            if writer % 2 == 1 {
                batch.reverse();
            }
            let written: BatchOutcome = match writer / 2 {
                0 => own.record(&batch),
                _ => record(&mut own, &batch),
            }
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
            assert_eq!(written.recorded.len(), batch.len());
        }
    });
}

fn overlapping_batches_in_opposite_order_all_count(database: &TestDatabase) {
    let store = database.store();
    let names: Vec<String> = (0..JOBS).map(|n| format!("job {n}")).collect();
    names.iter().for_each(|name| {
        store.book(name, &every(60));
    });
    all_write(database, |_, round| {
        names.iter().map(|name| arrival(name, of_run(1, start(at(round as i64))))).collect()
    });
    for name in &names {
        assert_eq!(store.look(name).facts.checkins, (WRITERS * ROUNDS) as i64);
    }
    assert_eq!(database.count("checkins"), (JOBS * WRITERS * ROUNDS) as i64);
}

fn definitions_in_opposite_order_all_count(database: &TestDatabase) {
    let store = database.store();
    // Not in the order of their names, so that the order of the ids differs from it.
    let names: Vec<String> = [7, 2, 9, 4, 0, 11, 5, 3, 10, 1, 8, 6].map(|n| format!("job {n:02}")).to_vec();
    names.iter().for_each(|name| {
        store.book(name, &every(60));
    });
    all_write(database, |writer, round| {
        let define = |(n, name): (usize, &String)| {
            let patch = Patch { owner: Some(format!("{writer} {round}")), ..every(60) };
            let definition = if n % 3 == 0 { Definition::None } else { Definition::Always(Box::new(patch)) };
            Arrival { definition, ..arrival(name, success(at(1))) }
        };
        names.iter().enumerate().map(define).collect()
    });
    for name in &names {
        assert_eq!(store.look(name).facts.checkins, (WRITERS * ROUNDS) as i64);
    }
}

fn creations_in_opposite_order_all_count(database: &TestDatabase) {
    let store = database.store();
    // Each round has an app of its own, whose ping key is made as well. Each writer makes fewer of
    // its jobs than the one before.
    all_write(database, |writer, round| {
        let create = |n: usize| Arrival {
            target: Target::Names(app(&format!("app {round}")), component(&format!("job {n}"))),
            checkin: success(at(1)),
            definition: Definition::IfMissing(Box::new(every(60))),
        };
        (writer..JOBS).map(create).collect()
    });
    assert_eq!(store.count().unwrap(), (ROUNDS * JOBS) as i64);
    assert_eq!(database.count("ping_keys"), ROUNDS as i64);
    let written = (0..WRITERS).map(|writer| ROUNDS * (JOBS - writer)).sum::<usize>();
    assert_eq!(database.count("checkins"), written as i64);
    assert_eq!(database.number("SELECT SUM(checkins) FROM states"), Some(written as i64));
}
