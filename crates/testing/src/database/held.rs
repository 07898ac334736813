//! A lock that a test holds, so that a process under test has to wait for just as long as the test wants.

use super::{Place, Plain, TestDatabase};

/// Nobody else writes to the table while this lives.
pub struct Held {
    _connection: Plain,
}

impl TestDatabase {
    /// Locks `table` against every writer (SQLite: the whole database). Readers go on.
    pub fn hold(&self, table: &str) -> Held {
        let mut connection = self.open();
        let lock = match &self.place {
            Place::Postgres { .. } => format!("BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE"),
            Place::Sqlite(_) => "BEGIN IMMEDIATE".to_owned(),
        };
        connection.batch_execute(&lock).unwrap_or_else(|error| panic!("{error}, in: {lock}"));
        // Its end closes the connection, and that gives the lock back.
        Held { _connection: connection }
    }
}
