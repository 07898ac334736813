//! SQL merges facts exactly as `Facts::record` does.

use std::cell::Cell;

use innkeeper_core::checkin::{CheckIn, CheckInKind};
use innkeeper_core::facts::Facts;
use innkeeper_testing::database::TestDatabase;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use uuid::Uuid;

use crate::world::*;

on_both!(any_batches_in_any_order_leave_the_facts_of_core, the_facts_of_a_batch_go_to_their_own_reservations);

/// A check-in with one of few times, codes and sources, so that ties are common.
fn any_checkin() -> impl Strategy<Value = CheckIn> {
    let kinds = [CheckInKind::Success, CheckInKind::Start, CheckInKind::Fail, CheckInKind::Log];
    // Sources whose order by bytes differs from their order in a language's alphabet.
    let source = prop::sample::select(vec!["", "10.0.0.1", "10.0.0.9", "B", "a", "é", "ÿ", "::1", "日"]);
    let exit_code = prop::option::of(0i32..3);
    (0i64..6, 0usize..4, exit_code, source, prop::option::of(0u128..3)).prop_map(
        move |(second, kind, exit_code, source, run)| CheckIn {
            exit_code: exit_code.filter(|_| kinds[kind] == CheckInKind::Fail),
            run_id: run.map(Uuid::from_u128),
            ..from(source, CheckIn::new(kinds[kind], at(second)))
        },
    )
}

/// Check-ins, and the same check-ins in another order, cut into batches.
fn any_batches() -> impl Strategy<Value = (Vec<CheckIn>, Vec<Vec<CheckIn>>)> {
    let lists = prop::collection::vec(any_checkin(), 1..12);
    lists
        .prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle(), 1usize..5))
        .prop_map(|(list, shuffled, size)| (list, shuffled.chunks(size).map(<[_]>::to_vec).collect()))
}

fn any_batches_in_any_order_leave_the_facts_of_core(database: &TestDatabase) {
    let store = database.store();
    let count = Cell::new(0);
    let config = Config { cases: 150, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&any_batches(), |(list, batches)| {
            count.set(count.get() + 1);
            let name = format!("job {}", count.get());
            store.book(&name, &every(60));
            for (turn, batch) in batches.iter().enumerate() {
                // With and without the fast path in turns.
                if (turn + count.get()).is_multiple_of(2) {
                    store.check_in(&name, batch);
                } else {
                    let batch: Vec<_> = batch.iter().map(|checkin| arrival(&name, checkin.clone())).collect();
                    store.writer().record(&batch).unwrap();
                }
            }
            let mut expected = Facts::default();
            list.iter().for_each(|checkin| expected.record(checkin));
            prop_assert_eq!(store.look(&name).facts, expected);
            Ok(())
        })
        .unwrap();
}

fn the_facts_of_a_batch_go_to_their_own_reservations(database: &TestDatabase) {
    let store = database.store();
    let batch: Vec<_> = (0..20)
        .rev()
        .flat_map(|n| {
            let name = format!("job {n}");
            store.book(&name, &every(60));
            [arrival(&name, success(at(n))), arrival(&name, fail(at(n + 1), n as i32))]
        })
        .collect();
    store.record(&batch);
    for n in 0..20 {
        let facts = store.look(&format!("job {n}")).facts;
        assert_eq!((facts.last_checkin_at, facts.last_exit_code), (Some(at(n)), Some(n as i32)));
    }
}
