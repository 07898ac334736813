//! Connection poolers in transaction mode (PgBouncer's `pool_mode = transaction`).
//!
//! Behind such a pooler each transaction may run on another connection of the server, so that
//! nothing of a session lasts: no settings, no prepared statements, no session locks. A store that
//! is told of the pooler does without these. A store that is not told would work only by chance, so
//! a start checks whether there is a pooler.

use diesel::connection::{CacheSize, Connection as _};
use diesel::{PgConnection, RunQueryDsl, sql_query, sql_types};

use crate::guard::{self, Bounds, IDLE_IN_TRANSACTION};
use crate::{DatabaseKind, Store, StoreError};

/// How many times the check looks. With other clients on the pooler it may take several looks to
/// see a change of connection.
const LOOKS: usize = 6;

/// Whether a pooler stands before the server, so that a connection's session cannot be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Pooling {
    /// There is none: a session lasts as long as its connection.
    #[default]
    None,
    /// A session lasts for one transaction.
    Transaction,
}

/// Connects through a pooler. Settings are made at the beginning of each transaction, and no
/// statement is prepared under a name.
pub(crate) fn connect(url: &str, bounds: Bounds) -> Result<PgConnection, diesel::ConnectionError> {
    let mut connection = guard::connect(url, bounds.here)?;
    connection.set_prepared_statement_cache_size(CacheSize::Disabled);
    guard::begin_with(&mut connection, settings(bounds));
    Ok(connection)
}

fn settings(bounds: Bounds) -> String {
    format!(
        "SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = {}",
        bounds.statement.as_millis(),
        bounds.lock.as_millis(),
        IDLE_IN_TRANSACTION.as_millis()
    )
}

impl Store {
    /// Fails with [`StoreError::Pooler`] when there is a pooler in transaction mode that the store
    /// was not told of. Leaves nothing behind on the server.
    pub(crate) fn refuse_unknown_pooler(&self) -> Result<(), StoreError> {
        if self.backend() != DatabaseKind::Postgres || self.pooling() != Pooling::None {
            return Ok(());
        }
        let connect = || guard::connect(self.url(), self.bound());
        let (mut one, mut other) = (connect()?, connect()?);
        let (first, mut seen) = (process(&mut one)?, Vec::new());
        for _ in 0..LOOKS {
            seen.push(process(&mut other)?);
            // Without a pooler each connection keeps its own session, and no other uses it.
            if process(&mut one)? != first
                || seen.iter().any(|of_other| *of_other == first || *of_other != seen[0])
            {
                return Err(StoreError::Pooler);
            }
        }
        Ok(())
    }
}

#[derive(diesel::QueryableByName)]
struct Process {
    #[diesel(sql_type = sql_types::Integer)]
    pid: i32,
}

/// The number of the server process that answers on this connection now.
fn process(connection: &mut PgConnection) -> Result<i32, StoreError> {
    let found: Process = sql_query("SELECT pg_backend_pid() AS pid").get_result(connection)?;
    Ok(found.pid)
}
