//! With a Postgres that speaks German, errors are still recognized.
//!
//! `LANGUAGE` chooses among the translations that come with Postgres, so no locale of the system is
//! needed.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[allow(dead_code, reason = "these tests use a part of it")]
#[path = "contract/world.rs"]
mod world;

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection};
use innkeeper_store::{ActingStore, Store, StoreConfig};
use innkeeper_testing::cluster::Cluster;
use innkeeper_testing::database::tester;

use world::*;

fn german() -> Cluster {
    Cluster::start_speaking("de")
}

fn connect(url: String) -> ActingStore {
    tester(&Store::connect(&StoreConfig { url, pool_size: 4 }).unwrap())
}

fn execute(cluster: &Cluster, statements: &str) -> Result<(), diesel::result::Error> {
    PgConnection::establish(&cluster.url()).unwrap().batch_execute(statements)
}

#[test]
fn a_lock_is_known_as_one_and_a_cancelled_statement_as_passing() {
    let cluster = german();
    let error = execute(&cluster, "SELECT 1 / 0").unwrap_err();
    assert!(error.to_string().contains("Division durch Null"), "it speaks no German: {error}");
    let store = connect(cluster.url());
    store.migrate().unwrap();
    store.book("backup", &every(60));
    assert_eq!(store.other_language().unwrap(), None);
    let batch = [arrival("backup", success(at(1)))];
    let mut writer = store.writer().that_waits_for_locks_at_most(Duration::from_millis(5));
    std::thread::scope(|scope| {
        let lock = "BEGIN; SELECT 1 FROM states FOR UPDATE; SELECT pg_sleep(2); COMMIT";
        let holder = scope.spawn(|| execute(&cluster, lock));
        for general in [false, true] {
            let write = || match general {
                true => writer.record(&batch).err(),
                false => writer.record_known(&batch).err(),
            };
            let error = std::iter::repeat_with(write).find_map(|error| error).unwrap();
            assert!(error.is_locked(), "{error}");
        }
        holder.join().unwrap().unwrap();
        // Somebody cancels a statement that waits for a lock.
        let holder = scope.spawn(|| execute(&cluster, lock));
        let cancel = scope.spawn(|| {
            let waits = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
            while !holder.is_finished() {
                execute(&cluster, waits).unwrap();
            }
            holder.join().unwrap()
        });
        let mut patient = store.writer();
        let error =
            std::iter::repeat_with(|| patient.record(&batch)).take(1000).find_map(Result::err).unwrap();
        assert!(error.is_unavailable() && !error.is_locked(), "{error}");
        cancel.join().unwrap().unwrap();
    });
    assert!(writer.record(&batch).is_ok());
}

#[test]
fn a_role_that_may_not_choose_is_told_and_can_be_helped() {
    let cluster = german();
    execute(
        &cluster,
        "CREATE ROLE plain LOGIN; CREATE ROLE helped LOGIN; ALTER ROLE helped SET lc_messages = 'C'",
    )
    .unwrap();
    let of = |role: &str| connect(cluster.url().replacen("innkeeper@", &format!("{role}@"), 1));
    assert_eq!(of("plain").other_language().unwrap().as_deref(), Some("Division durch Null"));
    assert_eq!(of("helped").other_language().unwrap(), None);
    // The server's log contains nothing of the questions about its language.
    assert!(!cluster.log().contains("Division durch Null"), "{}", cluster.log());
    assert!(!cluster.log().contains("lc_messages\u{bb}"), "{}", cluster.log());
}
