//! A lock that a test holds, so that a process under test has to wait for just as long as the test wants.

use super::{Place, Plain, TestDatabase};

/// Nobody else writes to the table while this lives.
pub struct HeldLock {
    connection: Plain,
}

impl HeldLock {
    /// Does this, and gives the lock back.
    pub fn finish(mut self, sql: &str) {
        let sql = format!("{sql}; COMMIT");
        self.connection.batch_execute(&sql).unwrap_or_else(|error| panic!("{error}, in: {sql}"));
    }
}

impl TestDatabase {
    /// Locks `table` against every writer (SQLite: the whole database). Readers go on.
    pub fn hold(&self, table: &str) -> HeldLock {
        self.held(&format!("LOCK TABLE {table} IN EXCLUSIVE MODE"))
    }

    /// Locks every row that `table` has now (SQLite: the whole database).
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
        // Its end closes the connection, and that gives the lock back.
        HeldLock { connection }
    }
}
