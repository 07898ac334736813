//! A mark that says whether the operator was last told that the database is unreachable. The next process of this role
//! finds it: if a process is restarted before the database answers again, the operator still learns that it is back.

use std::fs;
use std::path::PathBuf;

use crate::{Config, Role};

/// The mark, a file in the data directory. Without a data directory (a service over Postgres) nothing is kept.
pub(crate) struct AwayMark(PathBuf);

impl AwayMark {
    /// The mark of the processes of this role.
    pub fn new(config: &Config, role: Role) -> Self {
        Self(config.data_dir.join(format!("told-database-away-{role}")))
    }

    /// Whether the operator was last told that the database is unreachable.
    pub fn is_set(&self) -> bool {
        self.0.exists()
    }

    /// Records that the operator was told that it is unreachable.
    pub fn set(&self) {
        if !self.0.parent().is_some_and(std::path::Path::is_dir) {
            return;
        }
        if let Err(error) = fs::write(&self.0, "") {
            log::warn!("{} cannot be written: {error}", self.0.display());
        }
    }

    /// Records that the operator was told that it answers.
    pub fn clear(&self) {
        if let Err(error) = fs::remove_file(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            log::warn!("{} cannot be removed: {error}", self.0.display());
        }
    }
}
