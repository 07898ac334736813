//! The migrations, compiled in and applied under a lock, so that any number of processes may start at once.

use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::connection::AnyConnection;
use crate::{Store, StoreError};

const POSTGRES: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");
const SQLITE: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

/// The advisory lock of the migrations: any number will do that no other program uses on this database.
const LOCK: i64 = 0x1221_6b65_6570_6572;

impl Store {
    /// Applies the migrations that are missing; returns their names. A second process that starts meanwhile waits.
    pub fn migrate(&self) -> Result<Vec<String>, StoreError> {
        match &mut *self.get()? {
            AnyConnection::Postgres(connection) => {
                connection.batch_execute(&format!("SELECT pg_advisory_lock({LOCK})"))?;
                let applied = connection
                    .run_pending_migrations(POSTGRES)
                    .map(|applied| applied.iter().map(ToString::to_string).collect())
                    .map_err(failed);
                connection.batch_execute(&format!("SELECT pg_advisory_unlock({LOCK})"))?;
                applied
            }
            AnyConnection::Sqlite(connection) => {
                // Each migration looks again inside its own immediate transaction whether it is still missing.
                connection.batch_execute(
                    "CREATE TABLE IF NOT EXISTS __diesel_schema_migrations (
                         version VARCHAR(50) PRIMARY KEY NOT NULL,
                         run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
                     )",
                )?;
                let mut applied = Vec::new();
                while connection.immediate_transaction(|connection| apply_next(connection, &mut applied))? {}
                Ok(applied)
            }
        }
    }
}

/// Applies the next missing migration; false when there is none.
fn apply_next(
    connection: &mut diesel::SqliteConnection,
    applied: &mut Vec<String>,
) -> Result<bool, StoreError> {
    let known = connection.applied_migrations().map_err(failed)?;
    let mut all: Vec<Box<dyn Migration<diesel::sqlite::Sqlite>>> = SQLITE.migrations().map_err(failed)?;
    all.sort_by(|a, b| a.name().version().as_owned().cmp(&b.name().version().as_owned()));
    match all.into_iter().find(|migration| !known.contains(&migration.name().version().as_owned())) {
        None => Ok(false),
        Some(migration) => {
            connection.run_migration(&*migration).map_err(failed)?;
            applied.push(migration.name().to_string());
            Ok(true)
        }
    }
}

fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    match error.downcast::<diesel::result::Error>() {
        Ok(error) => StoreError::from(*error),
        Err(error) => StoreError::Migration(error.to_string()),
    }
}
