//! Rows that hold what the schema does not allow, as an editor's mistake leaves them in an SQLite file.

use innkeeper_core::duty::Duty;
use innkeeper_store::{MendExtent, Node};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

/// A table, the mistake that is made in it, and whether the row is kept and made readable.
const MISTAKES: [(&str, &str, bool); 26] = [
    ("blind_windows", "INSERT INTO blind_windows (from_at, until_at) VALUES (5, NULL)", false),
    ("blind_windows", "INSERT INTO blind_windows (from_at, until_at) VALUES (NULL, 5)", false),
    ("blind_windows", "INSERT INTO blind_windows (from_at, until_at) VALUES (5, 'later')", false),
    ("nodes", "UPDATE nodes SET beat_at = NULL", false),
    ("nodes", "UPDATE nodes SET beat_at = 'just now'", false),
    ("nodes", "UPDATE nodes SET unable = NULL", false),
    ("nodes", "UPDATE nodes SET host = CAST(X'FF41' AS TEXT)", false),
    ("nodes", "UPDATE nodes SET goodbye_at = 'never'", true),
    ("duties", "UPDATE duties SET beat_at = NULL", false),
    ("duties", "UPDATE duties SET beat_at = 0.5", false),
    ("duties", "INSERT INTO duties (name, beat_at) VALUES (NULL, 1)", false),
    ("duties", "UPDATE duties SET wanted_at = 'x', told_at = 'x', snoozed_until = 'x'", true),
    ("leases", "INSERT INTO leases VALUES ('singleton', NULL, 'x')", false),
    (
        "clock_steps",
        "INSERT INTO clock_steps (at, clock, host, by_ms, outcome) VALUES (NULL, '', '', 1, '')",
        false,
    ),
    ("ways", "INSERT INTO ways VALUES ('node', NULL)", false),
    ("outages", "INSERT INTO outages VALUES ('log', '', NULL, NULL, NULL, NULL, NULL)", false),
    ("outages", "INSERT INTO outages VALUES ('log', NULL, 1, 1, 1, '', 1)", false),
    ("unjudged", "INSERT INTO unjudged VALUES (7, 'shop', 'x', NULL, 1, 'soon')", false),
    ("refusals", "INSERT INTO refusals VALUES (7, NULL, 'now')", false),
    ("checks", "INSERT INTO checks VALUES ('mail', 'well', NULL, 1, 1)", false),
    ("alerts", "UPDATE alerts SET opened_at = NULL", true),
    ("alerts", "UPDATE alerts SET app = NULL, success_before = 'x'", true),
    ("deliveries", "UPDATE deliveries SET notice = NULL", true),
    ("deliveries", "UPDATE deliveries SET notice = CAST(X'FF41' AS TEXT)", true),
    (
        "deliveries",
        "UPDATE deliveries SET recipient = NULL, key = NULL, attempts = NULL, created_at = 'x'",
        true,
    ),
    ("deliveries", "UPDATE deliveries SET state = NULL", true),
];

#[test]
fn each_is_mended_and_named_and_keeps_nobody_from_the_others() {
    for (table, mistake, stays) in MISTAKES {
        let database = TestDatabase::sqlite();
        let store = database.store();
        database.execute(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_master SET sql = REPLACE(REPLACE(REPLACE(sql, 'IS NOT NULL', 'IS_ONE'), 'NOT NULL', ''), 'IS_ONE', 'IS NOT NULL')",
        );
        let store = {
            drop(store);
            database.connect()
        };
        let node = |id: &str, second| Node {
            id: id.to_owned(),
            role: "ingest".to_owned(),
            host: "here".to_owned(),
            address: String::new(),
            version: String::new(),
            started_at: at(second),
            offset: seconds(0),
        };
        store.book("silent", &every(60));
        assert_eq!(store.pass(at(61)).opened, 1);
        store.beat(&node("a", 60), &[Duty::Ingest], true, at(61), &|_| Vec::new()).unwrap();
        assert_eq!(
            store.mend_rows(MendExtent::AllTables, at(61)).unwrap(),
            Vec::<String>::new(),
            "all is well"
        );
        let before = database.count(table);

        database.execute(&format!("PRAGMA ignore_check_constraints = ON; {mistake}"));
        let mended = store.mend_rows(MendExtent::AllTables, at(62)).unwrap();
        assert_eq!(mended.len(), 1, "{mistake}: {mended:?}");
        assert!(mended[0].contains(&format!("a row of {table} could not be read")), "{mistake}: {mended:?}");
        let after = database.count(table);
        let expected = if stays || mistake.starts_with("INSERT") { before } else { before - 1 };
        assert_eq!(after, expected, "{mistake}");
        assert_eq!(
            store.mend_rows(MendExtent::AllTables, at(62)).unwrap(),
            Vec::<String>::new(),
            "{mistake}: once"
        );

        // Heartbeats and sweeps read these tables and succeed.
        store.beat(&node("a", 60), &[Duty::Ingest], false, at(63), &|_| Vec::new()).unwrap();
        store.beat(&node("b", 62), &[Duty::Ingest], true, at(63), &|_| Vec::new()).unwrap();
        store.watch(seconds(600), seconds(600), at(63)).unwrap();
        store.blind_windows(at(63)).unwrap();
        store.take_lease("singleton", "a", seconds(6), at(63)).unwrap();
        store.published_ways().unwrap();
        store.claim_singles("log", at(63), seconds(60), "token", 10).unwrap();
        store.list(None, at(63)).unwrap();
        store.book("other", &every(60));
        assert!(store.pass(at(63)).opened >= 1, "{mistake}");
    }
}

#[test]
fn a_row_that_cannot_be_read_is_noticed() {
    let database = TestDatabase::sqlite();
    let store = database.store();
    database.execute(
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_master SET sql = REPLACE(sql, 'NOT NULL', '') WHERE name = 'blind_windows'",
    );
    drop(store);
    let store = database.connect();
    database.execute("INSERT INTO duties (name, beat_at) VALUES ('ingest', 1)");
    database.execute("INSERT INTO blind_windows (from_at, until_at) VALUES (5, NULL)");
    assert!(store.blind_windows(at(0)).is_err());
    assert!(store.has_met_unreadable_rows());
    store.mend_rows(MendExtent::SmallTables, at(0)).unwrap();
    store.blind_windows(at(0)).unwrap();
}
