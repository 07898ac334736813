//! What can go wrong with a database.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer, or cannot write just now. Trying again later is right.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The database refused a statement.
    #[error("the database refused: {0}")]
    Refused(#[source] DieselError),
    /// A row does not say what the schema promises.
    #[error("corrupt row: {table} {id}: {problem}")]
    Corrupt {
        /// Its table.
        table: &'static str,
        /// Its key.
        id: i64,
        /// What is wrong with it.
        problem: String,
    },
    /// The names that a reservation should come back under belong to another by now.
    #[error("{0} is taken")]
    Taken(String),
    /// The migrations could not be applied.
    #[error("the migrations failed: {0}")]
    Migration(String),
    /// The database's address cannot be used.
    #[error("database.url: {0}")]
    Url(String),
}

impl StoreError {
    /// Whether trying again later is right.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        if says_unavailable(&error) { Self::Unavailable(error.to_string()) } else { Self::Refused(error) }
    }
}

impl From<r2d2::Error> for StoreError {
    fn from(error: r2d2::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<diesel::ConnectionError> for StoreError {
    fn from(error: diesel::ConnectionError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// What servers say when they go, come, fail over, or are in each other's way. diesel has kinds for some of it.
const PASSING: [&str; 16] = [
    "server closed the connection",
    "terminating connection",
    "connection to server",
    "could not connect",
    "could not receive data",
    "could not send data",
    "no connection to the server",
    "the database system is",
    "connection not open",
    "SSL connection has been closed",
    "database is locked",
    "database table is locked",
    "disk I/O error",
    "deadlock detected",
    "disk is full",
    "No space left on device",
];

fn says_unavailable(error: &DieselError) -> bool {
    match error {
        DieselError::DatabaseError(kind, information) => match kind {
            DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::ReadOnlyTransaction
            | DatabaseErrorKind::SerializationFailure => true,
            _ => PASSING.iter().any(|words| information.message().contains(words)),
        },
        DieselError::BrokenTransactionManager | DieselError::AlreadyInTransaction => true,
        DieselError::RollbackErrorOnCommit { commit_error, .. } => says_unavailable(commit_error),
        _ => false,
    }
}
