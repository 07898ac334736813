//! Databases that cannot be reached, become unreachable, or are not databases at all.

use std::time::{Duration, Instant};

use innkeeper_store::{DatabaseKind, StoreConfig, StoreError};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

fn connect(url: &str) -> Result<innkeeper_store::Store, StoreError> {
    innkeeper_store::Store::connect(&StoreConfig { url: url.to_owned(), pool_size: 2 })
}

#[test]
fn nobody_at_the_address_is_known_only_when_asked_and_soon() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let urls = [
        "postgres://innkeeper:secret@127.0.0.1:1/none".to_owned(),
        "postgres://innkeeper@%2Fno%2Fsuch%2Fdirectory/none".to_owned(),
        format!("sqlite://{}/innkeeper.db", file.path().display()),
    ];
    together(urls.len(), |n| {
        let url = &urls[n];
        let began = Instant::now();
        let store = connect(url).unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "{url}");
        let error = store.ping().unwrap_err();
        assert!(error.is_unavailable(), "{url}: {error:?}");
        assert!(began.elapsed() < Duration::from_secs(8), "{url}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    });
}

#[test]
fn an_address_that_cannot_be_one_is_refused() {
    for url in ["mysql://h/d", "innkeeper.db", "sqlite:innkeeper.db", "sqlite://", ""] {
        let error = connect(url).err().expect(url);
        assert!(
            matches!(&error, StoreError::Url(_)) && error.to_string().contains("database.url"),
            "{error}"
        );
    }
}

#[test]
fn each_database_says_what_it_is() {
    for database in TestDatabase::both() {
        let store = database.connect();
        store.ping().unwrap();
        let (kind, version) = store.database_version().unwrap();
        assert_eq!((kind.as_str(), store.backend()), (database.kind().as_str(), database.kind()));
        assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{version}");
    }
}

/// Ends every connection to the test's database except the one that runs this.
const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                         WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[test]
fn after_its_connections_are_cut_the_store_goes_on() {
    let database = TestDatabase::postgres();
    let store = database.store();
    store.book("backup", &every(60));
    let batch = [arrival("backup", success(at(1)))];
    for round in 1..4 {
        let mut writer = store.writer();
        writer.record(&batch).unwrap();
        database.execute(TERMINATE);
        let error = writer.record(&batch).unwrap_err();
        assert!(error.is_unavailable(), "{error:?}");
        writer.record(&batch).unwrap();
        assert_eq!(database.count("checkins"), 2 * round, "what failed is not there");
        // The pool checks its connections before it hands them out.
        database.execute(TERMINATE);
        assert_eq!(store.pass(at(2)).looked, 0);
        assert_eq!(store.count().unwrap(), 1);
    }
}

#[test]
fn a_connection_that_is_cut_within_a_transaction_is_told_as_unavailable() {
    let database = TestDatabase::postgres();
    let store = database.store();
    store.book("backup", &every(60));
    let cut = |told: &innkeeper_store::AlertEvent<'_>| {
        database.execute(TERMINATE);
        tell_log(told)
    };
    let error = store.sweep(at(60), 10, &Rules(&cut)).unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert_eq!(database.count("alerts"), 0);
    assert_eq!(store.pass(at(60)).opened, 1);
}

#[test]
fn a_database_that_takes_no_writes_is_unavailable() {
    let database = TestDatabase::postgres();
    let store = database.store();
    store.book("backup", &every(60));
    // As if the primary had become a standby.
    let name = database.url().rsplit('/').next().unwrap().to_owned();
    database.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    database.execute(TERMINATE);
    let mut writer = store.writer();
    let error = writer.record(&[arrival("backup", success(at(1)))]).unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
}

#[test]
fn a_file_that_another_process_holds_is_unavailable_and_then_not() {
    use diesel::connection::{Connection, SimpleConnection};
    let database = TestDatabase::sqlite();
    let store = database.store();
    store.book("backup", &every(60));
    let path = database.url().strip_prefix("sqlite://").unwrap();
    let mut other = diesel::SqliteConnection::establish(path).unwrap();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    let mut writer = store.writer();
    let error = writer.record(&[arrival("backup", success(at(1)))]).unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert_eq!(store.look("backup").facts.checkins, 0, "readers do not wait");
    other.batch_execute("COMMIT").unwrap();
    writer.record(&[arrival("backup", success(at(1)))]).unwrap();
    assert_eq!(store.look("backup").facts.checkins, 1);
    assert_eq!(store.backend(), DatabaseKind::Sqlite);
}

#[test]
fn a_writer_that_panicked_leaves_no_transaction_open() {
    for database in TestDatabase::both() {
        let store = database.store();
        store.book("backup", &every(60));
        let swept = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            store.sweep(at(60), 10, &Rules(|_| panic!("on purpose")))
        }));
        assert!(swept.is_err());
        store.check_in("backup", &[success(at(61))]);
        assert_eq!(database.connect().look("backup").facts.checkins, 1, "{:?}", database.kind());
    }
}
