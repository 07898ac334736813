//! A real database for a single test: in the Postgres server of `INNKEEPER_TEST_POSTGRES_URL`, or an SQLite file. The
//! test creates and drops it.

mod held;
mod role;

use std::sync::OnceLock;
use std::time::Duration;

use diesel::connection::{Connection, SimpleConnection};
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::{PgConnection, QueryResult, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use innkeeper_store::{ActingStore, Actor, DatabaseKind, Store, StoreConfig};
use tempfile::TempDir;
use uuid::Uuid;

pub use held::HeldLock;
pub use role::DatabaseRole;

/// The variable with the URL of a Postgres server in which tests may create databases.
pub const SERVER: &str = "INNKEEPER_TEST_POSTGRES_URL";

/// Tables whose times [`TestDatabase::age`] moves.
const AGEING: [&str; 24] = [
    "reservations",
    "states",
    "runs",
    "checkins",
    "alerts",
    "deliveries",
    "blind_windows",
    "sessions",
    "invitations",
    "login_failures",
    "openid_logins",
    "passkeys",
    "ceremonies",
    "tokens",
    "audit",
    "checkouts",
    "unjudged",
    "refusals",
    "pacing",
    "totp",
    "totp_setups",
    "pending_logins",
    "report_keys",
    "late_failures",
];
/// Tables that processes update every second. They are only aged while no process runs.
const OF_PROCESSES: [&str; 3] = ["nodes", "duties", "leases"];

/// The actor of changes through [`TestDatabase::store`], as the audit log names it.
pub const TESTER: &str = "test";

/// A store whose changes are made by [`TESTER`].
pub fn tester(store: &Store) -> ActingStore {
    store.acting_as(Actor { who: TESTER.to_owned(), source: "here".to_owned() })
}

/// The database of a test. Dropping this value drops the database.
pub struct TestDatabase {
    url: String,
    place: Place,
    store: OnceLock<ActingStore>,
}

enum Place {
    Postgres { server: String, name: String },
    Sqlite(TempDir),
}

impl TestDatabase {
    /// An empty database in the test server.
    pub fn postgres() -> Self {
        let server = std::env::var(SERVER).unwrap_or_else(|_| {
            panic!(
                "{SERVER} is not set. Run scripts/test, which starts a Postgres for the tests, or set it to a \
                 server in which databases may be created: postgres://USER@HOST/postgres"
            )
        });
        Self::postgres_in(&server)
    }

    /// An empty database in the Postgres server at `server`, `postgres://…/some-database`.
    pub fn postgres_in(server: &str) -> Self {
        let name = format!("innkeeper_test_{}", Uuid::new_v4().simple());
        let mut connection = PgConnection::establish(server)
            .unwrap_or_else(|error| panic!("{SERVER}: no Postgres answers at {server}: {error}"));
        // `template0`, because a database with connections cannot be copied, and nobody can connect to this one.
        connection
            .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0"))
            .unwrap_or_else(|error| panic!("{SERVER}: {error}"));
        let url = with_database(server, &name);
        Self { url, place: Place::Postgres { server: server.to_owned(), name }, store: OnceLock::new() }
    }

    /// A path for an SQLite file that does not exist yet, in a directory of its own.
    pub fn sqlite() -> Self {
        let dir = TempDir::with_prefix("innkeeper-sqlite-").expect("a temporary directory");
        let url = format!("sqlite://{}", dir.path().join("innkeeper.db").display());
        Self { url, place: Place::Sqlite(dir), store: OnceLock::new() }
    }

    /// One database of each kind, for tests that must hold on both.
    pub fn both() -> [Self; 2] {
        [Self::sqlite(), Self::postgres()]
    }

    /// An empty database of this kind.
    pub fn of(kind: DatabaseKind) -> Self {
        match kind {
            DatabaseKind::Postgres => Self::postgres(),
            DatabaseKind::Sqlite => Self::sqlite(),
        }
    }

    /// The kind of the database.
    pub fn kind(&self) -> DatabaseKind {
        match self.place {
            Place::Postgres { .. } => DatabaseKind::Postgres,
            Place::Sqlite(_) => DatabaseKind::Sqlite,
        }
    }

    /// Its URL, for `database.url`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A migrated store on this database, the same one for each call. Its changes are made by [`TESTER`].
    pub fn store(&self) -> ActingStore {
        let store = self.store.get_or_init(|| {
            let store = self.connect();
            store.migrate().expect("the migrations");
            store
        });
        store.clone()
    }

    /// A new store on this database, as another process would have. It is not migrated.
    pub fn connect(&self) -> ActingStore {
        let store = Store::connect(&StoreConfig { url: self.url.clone(), pool_size: 8 }).expect("an address");
        tester(&store)
    }

    /// Runs any number of SQL statements.
    pub fn execute(&self, sql: &str) {
        self.open().batch_execute(sql).unwrap_or_else(|error| panic!("{error}, in: {sql}"));
    }

    /// The number in the first row and column of the result; none for NULL or an empty result.
    pub fn number(&self, sql: &str) -> Option<i64> {
        self.numbers(sql).first().copied()
    }

    /// The numbers in the first column of the result, without NULLs.
    pub fn numbers(&self, sql: &str) -> Vec<i64> {
        let rows: Vec<Number> = self.open().load(sql, "BIGINT");
        rows.into_iter().filter_map(|row| row.value).collect()
    }

    /// The number of rows in `from`, for example `"alerts"` or `"deliveries WHERE state = 'waiting'"`.
    pub fn count(&self, from: &str) -> i64 {
        self.number(&format!("SELECT COUNT(*) AS value FROM {from}")).unwrap_or_default()
    }

    /// The text in the first row and column of the result; none for NULL or an empty result.
    pub fn text(&self, sql: &str) -> Option<String> {
        self.texts(sql).into_iter().next()
    }

    /// The texts in the first column of the result, without NULLs.
    pub fn texts(&self, sql: &str) -> Vec<String> {
        let rows: Vec<Words> = self.open().load(sql, "TEXT");
        rows.into_iter().filter_map(|row| row.value).collect()
    }

    /// Moves all stored times into the past by `by`, with a resolution of milliseconds, so that a test need not wait.
    /// Running processes only notice that time has passed.
    pub fn age(&self, by: Duration) {
        self.let_senders_record();
        self.make_older(&AGEING, by);
    }

    /// Like [`Self::age`], while no process runs. The last heartbeats are moved as well.
    pub fn age_asleep(&self, by: Duration) {
        self.make_older(&[&AGEING[..], &OF_PROCESSES].concat(), by);
    }

    fn make_older(&self, tables: &[&str], by: Duration) {
        let by = i64::try_from(by.as_millis()).expect("a span of less than a few million years");
        let statements: Vec<String> = tables
            .iter()
            .filter_map(|table| {
                let moved: Vec<String> =
                    self.times_of(table).iter().map(|column| format!("{column} = {column} - {by}")).collect();
                (!moved.is_empty()).then(|| format!("UPDATE {table} SET {};", moved.join(", ")))
            })
            .collect();
        let begin = match self.kind() {
            DatabaseKind::Postgres => "BEGIN",
            DatabaseKind::Sqlite => "BEGIN IMMEDIATE",
        };
        let all = format!("{begin}; {} COMMIT;", statements.concat());
        // The statement locks all rows in an arbitrary order, so a deadlock with a running process is possible and is
        // retried.
        for _ in 0..20 {
            match self.open().batch_execute(&all) {
                Ok(()) => return,
                Err(error) if error.to_string().contains("deadlock") => {}
                Err(error) => panic!("{error}, in: {all}"),
            }
        }
        panic!("deadlocks without end, in: {all}");
    }

    /// Waits a moment for senders to record what they have sent. If the lease of a running sender were aged, another
    /// sender would send the message again. This would be correct but would disturb tests of other things. Leases of
    /// dead senders remain.
    fn let_senders_record(&self) {
        let under_way = "deliveries WHERE lease_until IS NOT NULL
             OR (state = 'waiting' AND attempts = 0 AND alerter <> 'mail')";
        for _ in 0..100 {
            if self.count(under_way) == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The columns of `table` that contain a time.
    fn times_of(&self, table: &str) -> Vec<String> {
        let columns = match self.kind() {
            DatabaseKind::Postgres => format!(
                "SELECT column_name AS value FROM information_schema.columns
                 WHERE table_name = '{table}' AND data_type = 'bigint' ORDER BY ordinal_position"
            ),
            DatabaseKind::Sqlite => {
                format!("SELECT name AS value FROM pragma_table_info('{table}') WHERE type = 'BIGINT'")
            }
        };
        let is_time = |column: &String| {
            column == "at"
                || column == "success_before"
                || column.ends_with("_at")
                || column.ends_with("_until")
        };
        self.texts(&columns).into_iter().filter(is_time).collect()
    }

    /// A connection for a single statement. It is not kept, because tests stop and restart servers.
    fn open(&self) -> Plain {
        match &self.place {
            Place::Postgres { .. } => Plain::Postgres(
                PgConnection::establish(&self.url)
                    .unwrap_or_else(|error| panic!("the test's database is away: {error}")),
            ),
            Place::Sqlite(dir) => {
                let path = dir.path().join("innkeeper.db").display().to_string();
                let mut connection =
                    SqliteConnection::establish(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
                connection.batch_execute("PRAGMA busy_timeout = 10000").expect("a pragma");
                Plain::Sqlite(connection)
            }
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Place::Postgres { server, name } = &self.place else { return };
        // No panic here, because it would hide the panic that ended the test.
        let dropped =
            PgConnection::establish(server).map_err(|error| error.to_string()).and_then(|mut server| {
                server
                    .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
                    .map_err(|error| error.to_string())
            });
        if let Err(error) = dropped {
            eprintln!("the database {name} stays: {error}");
        }
    }
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = Nullable<BigInt>)]
    value: Option<i64>,
}

#[derive(QueryableByName)]
struct Words {
    #[diesel(sql_type = Nullable<Text>)]
    value: Option<String>,
}

enum Plain {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Plain {
    fn batch_execute(&mut self, sql: &str) -> QueryResult<()> {
        match self {
            Self::Postgres(connection) => connection.batch_execute(sql),
            Self::Sqlite(connection) => connection.batch_execute(sql),
        }
    }

    /// Loads the first column of `sql` as `sql_type`, so that tests need not name or cast it.
    fn load<R>(&mut self, sql: &str, sql_type: &str) -> Vec<R>
    where
        R: QueryableByName<diesel::pg::Pg> + QueryableByName<diesel::sqlite::Sqlite> + 'static,
    {
        let sql =
            format!("WITH found (value) AS ({sql}) SELECT CAST(value AS {sql_type}) AS value FROM found");
        let rows = match self {
            Self::Postgres(connection) => sql_query(&sql).load(connection),
            Self::Sqlite(connection) => sql_query(&sql).load(connection),
        };
        rows.unwrap_or_else(|error| panic!("{error}, in: {sql}"))
    }
}

/// The URL of the database `name` on the server of `url`.
fn with_database(url: &str, name: &str) -> String {
    let (place, query) = url.split_once('?').map_or((url, String::new()), |(p, q)| (p, format!("?{q}")));
    let (scheme, rest) = place.split_once("://").expect("an address with a scheme");
    let host = rest.split('/').next().unwrap_or_default();
    format!("{scheme}://{host}/{name}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_an_address_is_replaced() {
        for (url, expected) in [
            ("postgres://me@%2Ftmp%2Fx/postgres", "postgres://me@%2Ftmp%2Fx/t"),
            ("postgresql://h:5/a?sslmode=disable", "postgresql://h:5/t?sslmode=disable"),
            ("postgres://h", "postgres://h/t"),
        ] {
            assert_eq!(with_database(url, "t"), expected);
        }
    }

    #[test]
    fn many_at_once_are_separate_and_go_with_their_test() {
        let server = std::env::var(SERVER).expect(SERVER);
        let names: Vec<String> = std::thread::scope(|scope| {
            let tests: Vec<_> = (0..16)
                .map(|n| {
                    scope.spawn(move || {
                        let database = TestDatabase::postgres();
                        database
                            .execute(&format!("CREATE TABLE own (n BIGINT); INSERT INTO own VALUES ({n})"));
                        assert_eq!(database.numbers("SELECT n FROM own"), [n]);
                        database.url().rsplit('/').next().unwrap().to_owned()
                    })
                })
                .collect();
            tests.into_iter().map(|test| test.join().unwrap()).collect()
        });
        let mut server = Plain::Postgres(PgConnection::establish(&server).unwrap());
        for name in names {
            let left: Vec<Number> =
                server.load(&format!("SELECT COUNT(*) FROM pg_database WHERE datname = '{name}'"), "BIGINT");
            assert_eq!(left[0].value, Some(0), "{name}");
        }
    }

    #[test]
    fn everything_stored_grows_older_together() {
        for database in TestDatabase::both() {
            database.store();
            database.execute(
                "INSERT INTO deliveries (event, alerter, recipient, notice, key, state, next_at, created_at, attempts)
                 VALUES ('opened', 'log', '', '{}', 'k', 'waiting', 5000, 4000, 3)",
            );
            database.age(Duration::from_secs(1));
            let times = "SELECT next_at || ' ' || created_at || ' ' || attempts FROM deliveries WHERE lease_until IS NULL";
            assert_eq!(database.text(times).as_deref(), Some("4000 3000 3"), "{:?}", database.kind());
        }
    }
}
