//! Somebody else holds a row, as a sweep does while it writes conclusions: only check-ins for that row wait.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::*;
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;

#[test]
fn a_locked_row_holds_up_its_own_check_ins_alone() {
    let database = TestDatabase::postgres();
    let server = ingest(database.url(), "");
    reserve(&server);
    let url = server.url("");
    let client = Client::default();
    let acknowledged = |job, note: &str| check_in(&client, &url, job, note).unwrap().status == 200;
    for job in 0..JOBS {
        assert!(acknowledged(job, "before"));
    }

    let released = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let job_0 = "SELECT id FROM reservations WHERE component = 'job-0'";
            database.execute(&format!(
                "BEGIN; SELECT 1 FROM states WHERE reservation_id = ({job_0}) FOR UPDATE; SELECT pg_sleep(4); COMMIT"
            ));
            released.store(true, Ordering::SeqCst);
        });
        let waiting = "SELECT COUNT(*) FROM pg_stat_activity
            WHERE datname = current_database() AND query LIKE '%pg_sleep(4)%' AND wait_event = 'PgSleep'";
        while database.number(waiting) != Some(1) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let its_own = scope.spawn(|| check_in(&Client::default(), &url, 0, "during").unwrap().status);
        std::thread::sleep(Duration::from_millis(100));
        for round in 0..20 {
            for job in 1..JOBS {
                assert!(acknowledged(job, &format!("during {round}")));
            }
        }
        let waits = !its_own.is_finished();
        assert!(!released.load(Ordering::SeqCst), "the others waited for the lock");
        assert!(waits, "a check-in of a locked row was acknowledged");
        assert_eq!(its_own.join().unwrap(), 200);
    });
    assert_eq!(
        database.number("SELECT SUM(checkins) FROM states"),
        Some((JOBS + 1 + 20 * (JOBS - 1)) as i64)
    );
    assert_eq!(database.count("checkins"), (JOBS + 1 + 20 * (JOBS - 1)) as i64);
}
