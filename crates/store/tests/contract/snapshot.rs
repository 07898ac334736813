//! Snapshots: everything as it is at one moment, in order, whatever happens meanwhile, and in more
//! than one piece.

use innkeeper_store::StoreError;
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(what_changes_meanwhile_is_not_seen, more_than_a_piece_comes_in_one_order, an_error_ends_it,);

fn what_changes_meanwhile_is_not_seen(database: &TestDatabase) {
    let (store, other) = (database.store(), database.connect());
    for name in ["a", "b", "c"] {
        store.book(name, &every(60));
    }
    store.check_in("b", &[success(at(10))]);
    store.pass(at(65));
    let (mut seen, mut spec, mut incidents) = (Vec::new(), Vec::new(), Vec::new());
    let read = store.snapshot(at(65), |snapshot| {
        snapshot.latest_first(None, |one| {
            if seen.is_empty() {
                // Another process changes each reservation, and makes one more.
                other.check_in("a", &[success(at(66))]);
                other.check_out(&app(SHOP), &component("c"), at(66)).unwrap();
                other.book("d", &every(60));
                other.pass(at(66));
            }
            seen.push((one.reservation.spec.component.to_string(), one.open_alert.is_some()));
            Ok::<_, StoreError>(())
        })?;
        snapshot.by_name(None, |one| {
            spec.push(one.component.to_string());
            Ok::<_, StoreError>(())
        })?;
        snapshot.incidents(at(0), |one| {
            incidents.push((one.component, one.closed_at.is_some()));
            Ok::<_, StoreError>(())
        })
    });
    read.unwrap();
    let named = |all: &[(&str, bool)]| -> Vec<(String, bool)> {
        all.iter().map(|(name, flag)| ((*name).to_owned(), *flag)).collect()
    };
    assert_eq!(seen, named(&[("b", false), ("a", true), ("c", true)]));
    assert_eq!(spec, ["a", "b", "c"]);
    assert_eq!(incidents, named(&[("a", false), ("c", false)]));
    let after: Vec<_> = store.list(None, at(66)).unwrap();
    let after: Vec<&str> = after.iter().map(|one| one.reservation.spec.component.as_str()).collect();
    assert_eq!(after, ["a", "b", "d"]);
}

fn more_than_a_piece_comes_in_one_order(database: &TestDatabase) {
    let store = database.store();
    let declared: Vec<_> = (0..1234)
        .map(|n| every(60).into_spec(app(["zoo", "Bank"][n % 2]), component(&format!("job {n}"))).unwrap())
        .collect();
    store.apply(&declared, None, false, at(0)).unwrap();
    database.execute(
        "UPDATE states SET last_checkin_at = reservation_id * 7919 % 50 * 1000 WHERE reservation_id % 5 > 0",
    );
    let listed = store.list(None, at(60)).unwrap();
    let order: Vec<_> = listed
        .iter()
        .map(|one| (std::cmp::Reverse(one.reservation.facts.last_checkin_at), one.reservation.id))
        .collect();
    assert!(order.len() == 1234 && order.is_sorted());
    let of_one = store.list(Some("Bank"), at(60)).unwrap();
    let bank: Vec<_> = listed.into_iter().filter(|one| one.reservation.spec.app.as_str() == "Bank").collect();
    assert_eq!(of_one, bank);
    let mut names = Vec::new();
    let read = store.snapshot(at(60), |snapshot| {
        snapshot.by_name(None, |spec| {
            names.push((spec.app.to_string(), spec.component.to_string()));
            Ok::<_, StoreError>(())
        })
    });
    read.unwrap();
    assert!(names.len() == 1234 && names.is_sorted());
}

fn an_error_ends_it(database: &TestDatabase) {
    let store = database.store();
    store.book("a", &every(60));
    store.book("b", &every(60));
    let mut visits = 0;
    let read = store.snapshot(at(0), |snapshot| {
        snapshot.latest_first(None, |_| {
            visits += 1;
            Err(StoreError::Taken("enough".to_owned()))
        })
    });
    assert!(matches!(read, Err(StoreError::Taken(_))) && visits == 1, "{read:?}");
    // The connection can still be used.
    store.check_in("a", &[success(at(1))]);
    assert_eq!(store.look("a").facts.checkins, 1);
}
