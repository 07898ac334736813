//! Locks that a test holds, so that a process under test must wait.

use super::{Place, Plain, TestDatabase};

/// While this value exists, nobody else can write to the table.
pub struct HeldLock {
    connection: Plain,
}

impl HeldLock {
    /// Runs `sql` and releases the lock.
    pub fn finish(mut self, sql: &str) {
        let sql = format!("{sql}; COMMIT");
        self.connection.batch_execute(&sql).unwrap_or_else(|error| panic!("{error}, in: {sql}"));
    }
}

impl TestDatabase {
    /// Locks `table` against writers (with SQLite, the whole database). Readers are not blocked.
    pub fn hold(&self, table: &str) -> HeldLock {
        self.held(&format!("LOCK TABLE {table} IN EXCLUSIVE MODE"))
    }

    /// Locks all existing rows of `table` (with SQLite, the whole database).
    pub fn hold_rows(&self, table: &str) -> HeldLock {
        self.held(&format!("SELECT 1 FROM {table} FOR UPDATE"))
    }

    fn held(&self, lock: &str) -> HeldLock {
        let mut connection = self.open();
        let lock = match &self.place {
            Place::Postgres { .. } => format!("BEGIN; {lock}"),
            Place::Sqlite(_) => "BEGIN IMMEDIATE".to_owned(),
        };
        connection.batch_execute(&lock).unwrap_or_else(|error| panic!("{error}, in: {lock}"));
        // Dropping the connection releases the lock.
        HeldLock { connection }
    }
}
