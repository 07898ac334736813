//! How a file was lost, and what is still open of it.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use diesel::SqliteConnection;
use parking_lot::Mutex;

use super::identity::Identity;

/// The connection that stays open as long as the file. It has a lock of its own, so that those who
/// only check the file do not wait while the connection works.
pub(super) type Anchor = Arc<Mutex<SqliteConnection>>;

/// How a file was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// There is no file with its name.
    Gone,
    /// Another file has its name.
    Replaced,
    /// Its log, or the log's index, is missing or was replaced.
    LogGone,
    /// Its name leads to the same file by another path, and its log is not there.
    Apart,
    /// Its log was overwritten or cut off.
    LogCut,
    /// It was overwritten with other content.
    Overwritten,
    /// It was cut off.
    Cut,
}

impl Way {
    /// Whether only a restart helps, because the open file and its log do not match any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::LogCut | Self::Overwritten | Self::Cut)
    }
}

/// What is still open of a file that was lost.
pub(super) struct Remains {
    pub anchor: Anchor,
    pub reader: File,
    /// The identity of the file.
    pub main: Identity,
    /// Whether it was deleted. Then its content is lost when the last connection closes.
    pub is_deleted: bool,
    /// SQLite's files beside it that still belong to it.
    pub beside: Vec<PathBuf>,
}
