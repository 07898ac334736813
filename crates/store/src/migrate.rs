//! The migrations. They are compiled in, and applied under a lock, so that any number of processes
//! may start at once.

use std::time::Duration;

use diesel::backend::Backend;
use diesel::connection::{Connection as _, SimpleConnection};
use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel::sqlite::Sqlite;
use diesel::{PgConnection, QueryableByName, RunQueryDsl as _, SqliteConnection, sql_query, sql_types};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::connection::AnyConnection;
use crate::{Store, StoreError, guard, search_index, slugs};

const POSTGRES: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");
const SQLITE: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

/// The advisory lock of the migrations: any number that no other program uses on this database.
const LOCK: i64 = 0x1221_6b65_6570_6572;
/// How long one statement of a migration may take: it may rewrite a large table.
pub(crate) const LONGEST: Duration = Duration::from_secs(6 * 3600);

impl Store {
    /// Applies the migrations that are missing; returns their names. A second process that starts
    /// meanwhile waits, or gets the error that the database is not available yet.
    ///
    /// # Errors
    /// [`StoreError::Newer`] when the database has a migration of a newer version,
    /// [`StoreError::Pooler`] when an unconfigured pooler is found, [`StoreError::Migration`] when
    /// a migration fails, and otherwise a `StoreError` when the database cannot be reached, or
    /// refuses the statement.
    pub fn migrate(&self) -> Result<Vec<String>, StoreError> {
        self.migrate_telling(&|| {})
    }

    /// Like [`Store::migrate`]. Calls `begins` before it applies anything, because that may take
    /// long; on SQLite before each migration.
    ///
    /// # Errors
    /// As [`Store::migrate`].
    pub fn migrate_telling(&self, begins: &dyn Fn()) -> Result<Vec<String>, StoreError> {
        self.refuse_unknown_pooler()?;
        match &mut *self.get()? {
            AnyConnection::Postgres(connection) => {
                let applied = connection.transaction(|connection| migrate_postgres(connection, begins));
                guard::set_bound(connection, self.bound());
                applied
            }
            AnyConnection::Sqlite(connection) => {
                // Each step checks inside its own immediate transaction which migration is missing
                // next.
                connection.batch_execute(
                    "CREATE TABLE IF NOT EXISTS __diesel_schema_migrations (
                         version VARCHAR(50) PRIMARY KEY NOT NULL,
                         run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
                     )",
                )?;
                // A migration that makes a table anew drops the old one. Rows that refer to it must
                // not be deleted with it.
                connection.batch_execute("PRAGMA foreign_keys = OFF")?;
                let mut applied = Vec::new();
                let all = loop {
                    match connection
                        .immediate_transaction(|connection| apply_next(connection, begins, &mut applied))
                    {
                        Ok(true) => {}
                        Ok(false) => break Ok(()),
                        Err(error) => break Err(error),
                    }
                };
                connection.batch_execute("PRAGMA foreign_keys = ON")?;
                all.map(|()| applied)
            }
        }
    }

    /// Checks whether a start would refuse this database, and changes nothing in it.
    ///
    /// # Errors
    /// Those of [`Store::migrate`].
    pub fn check_version(&self) -> Result<(), StoreError> {
        self.refuse_unknown_pooler()?;
        match &mut *self.get()? {
            AnyConnection::Postgres(connection) => {
                let table =
                    sql_query("SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL AS is_there");
                if table.get_result::<IsThere>(connection)?.is_there {
                    missing::<Pg>(&POSTGRES, &versions(sql_query(APPLIED).load(connection)?))?;
                }
            }
            AnyConnection::Sqlite(connection) => {
                let table = sql_query(
                    "SELECT count(*) > 0 AS is_there
                     FROM sqlite_master
                     WHERE name = '__diesel_schema_migrations'",
                );
                if table.get_result::<IsThere>(connection)?.is_there {
                    missing::<Sqlite>(&SQLITE, &versions(sql_query(APPLIED).load(connection)?))?;
                }
            }
        }
        Ok(())
    }
}

/// A row of the table that names the migrations that were applied.
#[derive(QueryableByName)]
struct Applied {
    #[diesel(sql_type = sql_types::Text)]
    version: String,
}

/// Whether that table is there.
#[derive(QueryableByName)]
struct IsThere {
    #[diesel(sql_type = sql_types::Bool)]
    is_there: bool,
}

const APPLIED: &str = "SELECT version FROM __diesel_schema_migrations";

/// Applies all missing migrations in the caller's transaction. The lock belongs to that
/// transaction, so this also works through a pooler in transaction mode.
fn migrate_postgres(connection: &mut PgConnection, begins: &dyn Fn()) -> Result<Vec<String>, StoreError> {
    // A short lock timeout: while a migration waits for the lock on a table, all later statements
    // on that table wait behind it.
    connection.batch_execute(&format!(
        "SET LOCAL lock_timeout = '4s'; SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({LOCK})"
    ))?;
    let known = connection.applied_migrations().map_err(failed)?;
    let missing = missing::<Pg>(&POSTGRES, &known)?;
    if !missing.is_empty() {
        begins();
        guard::set_bound(connection, LONGEST);
    }
    let mut applied = Vec::new();
    for migration in missing {
        connection.run_migration(&*migration).map_err(failed)?;
        slugs::after_migration_of_postgres(connection, &migration.name().version().to_string())?;
        applied.push(migration.name().to_string());
    }
    search_index::ensure(connection, begins)?;
    Ok(applied)
}

/// Applies the next missing migration; false when there is none.
fn apply_next(
    connection: &mut SqliteConnection,
    begins: &dyn Fn(),
    applied: &mut Vec<String>,
) -> Result<bool, StoreError> {
    let known = connection.applied_migrations().map_err(failed)?;
    match missing::<Sqlite>(&SQLITE, &known)?.into_iter().next() {
        None => Ok(false),
        Some(migration) => {
            begins();
            connection.run_migration(&*migration).map_err(failed)?;
            slugs::after_migration_of_sqlite(connection, &migration.name().version().to_string())?;
            applied.push(migration.name().to_string());
            Ok(true)
        }
    }
}

fn versions(applied: Vec<Applied>) -> Vec<MigrationVersion<'static>> {
    applied.into_iter().map(|one| MigrationVersion::from(one.version)).collect()
}

/// The migrations of `all` that are not `known`, oldest first. Fails with [`StoreError::Newer`]
/// when a known one is not in `all`.
fn missing<DB: Backend>(
    all: &EmbeddedMigrations,
    known: &[MigrationVersion<'static>],
) -> Result<Vec<Box<dyn Migration<DB>>>, StoreError> {
    let mut all: Vec<Box<dyn Migration<DB>>> = all.migrations().map_err(failed)?;
    let foreign = known.iter().filter(|known| !all.iter().any(|one| one.name().version() == **known)).max();
    if let Some(foreign) = foreign {
        return Err(StoreError::Newer(foreign.to_string()));
    }
    all.retain(|migration| !known.contains(&migration.name().version().as_owned()));
    all.sort_by(|a, b| a.name().version().cmp(&b.name().version()));
    Ok(all)
}

/// Makes all tables in an empty SQLite database.
pub(crate) fn make_tables(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    connection.run_pending_migrations(SQLITE).map(drop).map_err(failed)
}

/// Whether there is a migration of this version for SQLite.
pub(crate) fn is_known_to_sqlite(version: &str) -> bool {
    let all: Result<Vec<Box<dyn Migration<Sqlite>>>, _> = SQLITE.migrations();
    all.is_ok_and(|all| all.iter().any(|known| known.name().version().to_string() == version))
}

fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    match error.downcast::<diesel::result::Error>() {
        Ok(error) => StoreError::from(*error),
        Err(error) => StoreError::Migration(error.to_string()),
    }
}
