//! What is left of a file that was lost: how it was lost, and what is still open of it.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use diesel::SqliteConnection;
use parking_lot::Mutex;

use super::identity::Identity;

/// The connection that stays open as long as the file. Apart from what is known of the file, so that nobody who only looks waits
/// while it works.
pub(super) type Anchor = Arc<Mutex<SqliteConnection>>;

/// How a file was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// There is nothing under its name.
    Gone,
    /// There is another file under its name.
    Replaced,
    /// Its log, or the log's index, is not there or is another.
    LogGone,
    /// Its name leads elsewhere than before, where its log is not.
    Apart,
    /// Its log was overwritten or cut off.
    LogCut,
    /// Its content is another.
    Overwritten,
    /// Its end is gone.
    Cut,
}

impl Way {
    /// Whether only a restart helps, because the open files do not belong together any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::LogCut | Self::Overwritten | Self::Cut)
    }
}

/// What is still open of a file that was lost.
pub(super) struct Remains {
    pub anchor: Anchor,
    pub reader: File,
    /// Which file it is.
    pub main: Identity,
    /// Whether it was deleted: its content goes with the last connection.
    pub is_deleted: bool,
    /// SQLite's files beside it, as far as they are its own.
    pub beside: Vec<PathBuf>,
}
