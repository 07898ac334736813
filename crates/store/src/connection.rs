//! Connections to either database, and transactions on them.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use diesel::connection::{Connection as _, SimpleConnection};
use diesel::{PgConnection, RunQueryDsl, SqliteConnection, sql_query, sql_types};
use strum::IntoStaticStr;

use crate::database_file::{DatabaseFile, Lease};
use crate::{StoreError, guard};

/// A connection to either database.
#[derive(diesel::MultiConnection)]
pub(crate) enum AnyConnection {
    /// Postgres.
    Postgres(PgConnection),
    /// SQLite.
    Sqlite(SqliteConnection),
}

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum DatabaseKind {
    /// Postgres.
    Postgres,
    /// SQLite.
    Sqlite,
}

impl DatabaseKind {
    /// The word for it: `postgres` or `sqlite`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A connection, with its lease where it leads to a file.
pub(crate) struct Connected {
    pub connection: AnyConnection,
    /// The lease ends after the connection is closed: fields are dropped in their order.
    pub lease: Option<Lease>,
}

impl Connected {
    /// Whether it leads to a file that is lost.
    pub fn is_void(&self) -> bool {
        self.lease.as_ref().is_some_and(Lease::is_void)
    }
}

impl Deref for Connected {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.connection
    }
}

impl DerefMut for Connected {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }
}

/// How many rows this connection to SQLite has changed.
pub(crate) fn changes(connection: &mut AnyConnection) -> Result<i64, StoreError> {
    Ok(sql_query("SELECT total_changes() AS number").get_result::<OneNumber>(connection)?.number)
}

#[derive(diesel::QueryableByName)]
struct OneNumber {
    #[diesel(sql_type = sql_types::BigInt)]
    number: i64,
}

/// See [`crate::Store::write`]. `file` is the file that `connection` leads to, if it leads to one.
/// A commit into a file that has been deleted or replaced is an error, so that nobody is told that
/// their data was kept.
pub(crate) fn write_on<T>(
    file: Option<&Arc<DatabaseFile>>,
    connection: &mut AnyConnection,
    work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let Some(file) = file else {
        let begin = match connection {
            AnyConnection::Postgres(connection) => guard::begins_with(connection),
            AnyConnection::Sqlite(_) => None,
        };
        return connection.transaction(|connection| {
            if let Some(begin) = begin {
                connection.batch_execute(&begin)?;
            }
            work(connection)
        });
    };
    let done = commit_into(file, connection, work).map_err(|error| file.explain(error));
    if done.is_err() {
        // An error may have ended the transaction already; what matters is that none stays open.
        if let Err(error) = connection.batch_execute("ROLLBACK") {
            log::debug!("rollback: {error}");
        }
    }
    done
}

fn commit_into<T>(
    file: &DatabaseFile,
    connection: &mut AnyConnection,
    work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let begun = connection.batch_execute("BEGIN IMMEDIATE").map_err(StoreError::from);
    let value = begun.and_then(|()| work(connection)).or_else(|error| match error {
        // A truncated file looks damaged; then the check explains what happened to it.
        StoreError::Damaged(_) => file.check().and(Err(error)),
        error => Err(error),
    })?;
    // Before the commit, so that as little as possible is written twice when the file comes back;
    // after it, because only that check is certain.
    file.check()?;
    connection.batch_execute("COMMIT")?;
    file.check()?;
    Ok(value)
}
