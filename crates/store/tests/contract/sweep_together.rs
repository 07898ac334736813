//! Several sweepers at once, and check-ins that arrive during their passes.

use diesel::connection::{Connection, SimpleConnection};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(several_sweepers_open_each_alert_once, check_ins_during_a_sweep_are_honoured);

fn several_sweepers_open_each_alert_once(database: &TestDatabase) {
    let store = database.store();
    for n in 0..200 {
        store.book(&format!("job {n}"), &every(60));
    }
    for round in 1..4 {
        let now = at(60 * round);
        let swept = together(4, |_| {
            let own = database.connect();
            let mut looked = 0;
            loop {
                let swept = patiently(|| own.sweep(now, 7, &Rules(tell_log)));
                looked += swept.looked;
                // Another sweeper may hold the rest.
                if swept.looked == 0 && patiently(|| own.next_wake_at()) > Some(now) {
                    return looked;
                }
            }
        });
        assert_eq!(swept.iter().sum::<usize>(), 200, "each is looked at once: {swept:?}");
        assert_eq!(
            (database.count("alerts"), database.count("deliveries")),
            (round * 200, round * 400 - 200)
        );
        if round < 3 {
            let batch: Vec<_> = (0..200).map(|n| arrival(&format!("job {n}"), success(now))).collect();
            store.record(&batch);
            assert_eq!(store.pass(now).closed, 200);
        }
    }
}

fn check_ins_during_a_sweep_are_honoured(database: &TestDatabase) {
    let store = database.store();
    for n in 0..100 {
        store.book(&format!("job {n}"), &every(60));
    }
    let record = |own: &innkeeper_store::ActingStore, second: i64| {
        let batch: Vec<_> = (0..100).map(|n| arrival(&format!("job {n}"), success(at(second)))).collect();
        own.record(&batch);
    };
    record(&store, 0);
    // One thread checks in again and again. The others sweep at times shortly before its check-ins.
    together(3, |n| {
        let own = database.connect();
        for second in 1..=20 {
            match n {
                0 => record(&own, second * 50),
                _ => drop(patiently(|| own.sweep(at(second * 50 - 1), 30, &Rules(tell_log)))),
            }
        }
    });
    // In any order of events, all jobs are up in the end, and everyone who was told of trouble was
    // told of its end.
    record(&store, 1100);
    while store.pass(at(1100)).looked > 0 {}
    assert_eq!(database.count("alerts WHERE closed_at IS NULL"), 0);
    let of = |event: &str| database.count(&format!("deliveries WHERE event = '{event}'"));
    assert_eq!((of("opened"), of("opened_and_recovered")), (of("recovered"), 0));
    assert_eq!(database.count("states WHERE status <> 'up'"), 0);
}

/// A sweeper neither waits for a check-in that locks the row, nor overlooks it.
#[test]
fn a_check_in_that_is_being_written_keeps_the_alert_from_opening() {
    let database = TestDatabase::postgres();
    let store = database.store();
    store.book("backup", &every(60));
    store.book("other", &every(60));
    let mut ingest = diesel::PgConnection::establish(database.url()).unwrap();
    ingest
        .batch_execute(&format!(
            "BEGIN;
             UPDATE states SET last_checkin_at = {}, checkins = 1 WHERE reservation_id = {}",
            at(59).timestamp_millis(),
            store.look("backup").id
        ))
        .unwrap();
    assert_eq!(store.pass(at(60)).opened, 1, "the other");
    ingest.batch_execute("COMMIT").unwrap();
    let swept = store.pass(at(61));
    assert_eq!((swept.looked, swept.opened), (1, 0));
    assert_eq!(store.next_wake_at().unwrap(), Some(at(119)));
}
