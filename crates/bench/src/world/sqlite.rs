//! An SQLite file full of reservations.

use anyhow::{Context, Result};
use innkeeper_testing::database::TestDatabase;

use super::database::now_ms;
use super::{loader, sample};

/// A loaded SQLite file. Removed when dropped.
pub struct Sqlite {
    database: TestDatabase,
}

impl Sqlite {
    /// Creates and loads the file. Nothing is due for a day.
    pub fn load(reservations: u64) -> Result<Self> {
        eprintln!("loading {reservations} reservations into SQLite");
        let database = TestDatabase::sqlite();
        drop(database.store());
        let now = now_ms();
        database.execute(&loader::sqlite_reservations(reservations, now));
        for first in (0..reservations).step_by(100_000) {
            let chunks = (first..reservations.min(first + 100_000)).step_by(5000);
            let rows: String = chunks
                .map(|from| from..reservations.min(from + 5000))
                .map(|jobs| loader::sqlite_lookup_keys_and_states(jobs, now, now + 86_400_000))
                .collect();
            database.execute(&format!("BEGIN; {rows} COMMIT;"));
        }
        let tables = database.texts(
            "SELECT tables.name FROM sqlite_master tables JOIN pragma_table_info(tables.name) columns
             WHERE tables.type = 'table' AND columns.name = 'reservation_id'",
        );
        sample::resembles(&database.store(), &tables, |sql| {
            database.number(sql).map(|number| number as f64).context("a count is a number")
        })?;
        database.execute("ANALYZE; PRAGMA wal_checkpoint(TRUNCATE);");
        Ok(Self { database })
    }

    /// Runs SQL and ignores its result.
    pub fn execute(&self, sql: &str) {
        self.database.execute(sql);
    }

    /// Number of recorded check-ins of this job, including starts.
    pub fn checkins_of(&self, component: &str) -> Result<i64> {
        let sql = format!(
            "SELECT states.checkins FROM states JOIN reservations ON reservations.id = states.reservation_id
             WHERE reservations.component = '{component}'"
        );
        self.database.number(&sql).context("there is no such job")
    }

    /// Number of recorded check-ins of this app's jobs.
    pub fn checkins_in(&self, app: &str) -> Result<i64> {
        let sql = format!(
            "SELECT coalesce(sum(states.checkins), 0)
             FROM states JOIN reservations ON reservations.id = states.reservation_id
             WHERE reservations.app = '{app}'"
        );
        self.database.number(&sql).context("a sum is a number")
    }

    /// Number of this app's reservations.
    pub fn reservations_of(&self, app: &str) -> Result<i64> {
        let sql = format!("SELECT count(*) FROM reservations WHERE app = '{app}'");
        self.database.number(&sql).context("a count is a number")
    }

    /// The URL, for `database.url`.
    pub fn url(&self) -> &str {
        self.database.url()
    }
}
