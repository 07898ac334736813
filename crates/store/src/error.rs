//! What can go wrong with a database.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use innkeeper_core::Invalid;

use crate::Unreadable;
use crate::database_file::met_damage;
use crate::mend::met as met_unreadable;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer, or cannot write just now. Trying again later is right.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// Another process has locked the SQLite file, or no connection of the pool came free in time.
    /// It passes by itself.
    #[error("the database is not available: {0}")]
    Busy(String),
    /// Another session holds a lock for longer than this one waits. Trying again later is right.
    #[error("the database is not available: {0}")]
    Locked(String),
    /// The SQLite file is not there any more, or is not the one that was opened. What was written last may be lost.
    #[error("{0} while Innkeeper worked with it")]
    FileLost(String),
    /// An SQLite file, or a backup of one, cannot be used as it is. Trying again does not help.
    #[error("{0}")]
    File(String),
    /// A page of the SQLite file is damaged. Other pages may be readable.
    #[error("the database file is damaged: {0}")]
    Damaged(#[source] DieselError),
    /// The database refused a statement.
    #[error("the database refused: {0}")]
    Refused(#[source] DieselError),
    /// A row does not hold what the schema promises.
    #[error("corrupt row: {table} {id}: {problem}")]
    Corrupt {
        /// Its table.
        table: &'static str,
        /// Its key.
        id: i64,
        /// What is wrong with it.
        problem: String,
    },
    /// A requested reservation exists, but its row cannot be read.
    #[error("{0}")]
    Unreadable(Unreadable),
    /// A request does not fit what is in the database: its slug is taken, for example.
    #[error("{0}")]
    Invalid(Invalid),
    /// A pass of the sweep ended for a reason other than the database.
    #[error("the sweep: {0}")]
    Sweep(String),
    /// A checkout cannot be undone because another reservation has these names by now.
    #[error("{0} is taken")]
    Taken(String),
    /// The migrations could not be applied.
    #[error("the migrations failed: {0}")]
    Migration(String),
    /// A newer version of Innkeeper has applied a migration that this version does not have.
    #[error(
        "the database was made by a newer version of Innkeeper (its migration {0} is unknown here); install that version, or restore a backup from before the upgrade"
    )]
    Newer(String),
    /// A pooler stands between the store and Postgres, and the configuration does not say so.
    #[error(
        "a connection pooler in transaction mode stands between Innkeeper and Postgres; set database.pooler = \"transaction\""
    )]
    Pooler,
    /// The database's address cannot be used.
    #[error("database.url: {0}")]
    Url(String),
}

impl StoreError {
    /// Whether trying again later is right.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Busy(_) | Self::Locked(_) | Self::FileLost(_))
    }

    /// Whether this is a [`StoreError::Busy`], which passes by itself: another process has locked
    /// the SQLite file, or the disk is slow.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Busy(_))
    }

    /// The error for a database that cannot be used now. SQLite's locks are told by the text,
    /// because an error of connecting has no code.
    pub(crate) fn away(text: String) -> Self {
        match SQLITE_LOCKS.iter().any(|words| text.contains(words)) {
            true => Self::Busy(text),
            false => Self::Unavailable(text),
        }
    }

    /// Whether the wait for a lock of another session was too long.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked(_))
    }

    /// Whether the SQLite file was lost while this process worked with it. The thread that watches
    /// the file reports that.
    pub fn is_file_lost(&self) -> bool {
        matches!(self, Self::FileLost(_))
    }
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        match trouble(&error) {
            Some(Trouble::Passing) => Self::away(error.to_string()),
            Some(Trouble::Lock) => Self::Locked(error.to_string()),
            Some(Trouble::Damage) => {
                met_damage();
                Self::Damaged(error)
            }
            None => {
                if let DieselError::DeserializationError(_) = &error {
                    met_unreadable();
                }
                Self::Refused(error)
            }
        }
    }
}

impl From<r2d2::Error> for StoreError {
    fn from(error: r2d2::Error) -> Self {
        let text = error.to_string();
        // Where connecting failed, the pool appends the reason to this text.
        match text.as_str() == POOL_TIMED_OUT {
            true => Self::Busy(text),
            false => Self::away(text),
        }
    }
}

impl From<diesel::ConnectionError> for StoreError {
    fn from(error: diesel::ConnectionError) -> Self {
        Self::away(error.to_string())
    }
}

/// The text of r2d2's only error where it knows no cause.
const POOL_TIMED_OUT: &str = "timed out waiting for connection";

/// SQLite's messages about locks of other processes.
const SQLITE_LOCKS: [&str; 3] = [
    "database is locked",        // SQLITE_BUSY
    "database table is locked",  // SQLITE_LOCKED
    "database schema is locked", // SQLITE_LOCKED_SHAREDCACHE
];

/// A cause of an error that is not the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Passing,
    Lock,
    Damage,
}

fn trouble(error: &DieselError) -> Option<Trouble> {
    match error {
        DieselError::DatabaseError(kind, information) => match kind {
            DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::ReadOnlyTransaction
            | DatabaseErrorKind::SerializationFailure => Some(Trouble::Passing),
            DatabaseErrorKind::Unknown => trouble_in(information.message()),
            _ => None,
        },
        DieselError::BrokenTransactionManager | DieselError::AlreadyInTransaction => Some(Trouble::Passing),
        DieselError::RollbackErrorOnCommit { commit_error, .. } => trouble(commit_error),
        _ => None,
    }
}

/// Recognizes an error by its message. diesel has an error kind for few of the codes and does not
/// hand out the code, so only the message is left. Beside each message stands the code (SQLSTATE,
/// or SQLite's result code). SQLite's messages are fixed, one for each code. Postgres' messages are
/// English, because each session asks for that (`language.rs`).
fn trouble_in(message: &str) -> Option<Trouble> {
    const LOCKS: [&str; 2] = [
        "canceling statement due to lock timeout", // 55P03
        "could not obtain lock",                   // 55P03
    ];
    const BEGINNINGS: [&str; 35] = [
        // Class 08, and libpq's own words for a connection that is gone.
        "server closed the connection",
        "connection to server",
        "could not connect",
        "could not receive data",
        "could not send data",
        "no connection to the server",
        "connection not open",
        "SSL connection has been closed",
        "SSL error",
        "SSL SYSCALL error",
        // Class 40.
        "deadlock detected",
        // Class 53: disk, memory, connections.
        "could not extend file",
        "could not write",
        "could not fsync",
        "could not create file",
        "could not create temporary file",
        "could not resize shared memory",
        "out of memory", // also SQLITE_NOMEM
        "out of shared memory",
        "sorry, too many clients",
        "remaining connection slots",
        "too many connections",
        // Class 54 and 55: the server keeps itself from harm.
        "database is not accepting commands",
        "cannot assign TransactionIds during recovery",
        // Class 57: an operator ended the statement or session, or the server stops or starts.
        "canceling statement",
        "terminating connection",
        "the database system is",
        // Class 58: errors of the server's disk.
        "could not open file",
        "could not read",
        "could not access",
        "could not seek",
        // PgBouncer, which has no codes of its own.
        "query_wait_timeout",
        "pgbouncer",
        "server conn crashed",
        "no more connections allowed",
    ];
    const SQLITE: [&str; 6] = [
        "attempt to write a readonly database", // SQLITE_READONLY
        "disk I/O error",                       // SQLITE_IOERR
        "database or disk is full",             // SQLITE_FULL
        "unable to open database file",         // SQLITE_CANTOPEN
        "locking protocol",                     // SQLITE_PROTOCOL
        "interrupted",                          // SQLITE_INTERRUPT
    ];
    const DAMAGE: [&str; 2] = [
        "database disk image is malformed", // SQLITE_CORRUPT
        "file is not a database",           // SQLITE_NOTADB
    ];
    if DAMAGE.iter().any(|words| message.starts_with(words)) {
        return Some(Trouble::Damage);
    }
    if LOCKS.iter().any(|words| message.starts_with(words)) {
        return Some(Trouble::Lock);
    }
    let passes = BEGINNINGS.iter().any(|words| message.starts_with(words))
        || SQLITE.iter().chain(&SQLITE_LOCKS).any(|words| message.starts_with(words));
    passes.then_some(Trouble::Passing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_was_refused() {
        for (message, expected) in [
            ("canceling statement due to lock timeout", Some(Trouble::Lock)),
            ("canceling statement due to statement timeout", Some(Trouble::Passing)),
            ("could not extend file \"base/5/16\": No space left on device", Some(Trouble::Passing)),
            ("could not write block 3: Read-only file system", Some(Trouble::Passing)),
            ("attempt to write a readonly database", Some(Trouble::Passing)),
            ("database or disk is full", Some(Trouble::Passing)),
            ("database disk image is malformed", Some(Trouble::Damage)),
            ("terminating connection due to administrator command", Some(Trouble::Passing)),
            ("column \"database is locked\" does not exist", None),
            ("invalid byte sequence for encoding \"UTF8\"", None),
        ] {
            assert_eq!(trouble_in(message), expected, "{message}");
        }
        let locked =
            DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new("database is locked".to_owned()));
        let locked = StoreError::from(locked);
        assert!(locked.is_busy() && locked.is_unavailable() && !locked.is_locked(), "{locked:?}");
        assert!(!StoreError::away("/srv/locked.db: unable to open database file".to_owned()).is_busy());
        let refused = DatabaseErrorKind::UniqueViolation;
        let told = DieselError::DatabaseError(refused, Box::new("could not write".to_owned()));
        assert!(matches!(StoreError::from(told), StoreError::Refused(_)));
    }
}
