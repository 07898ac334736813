//! What the operator was told last of a database out of reach, kept where the next process of this role finds it: one that is restarted before the
//! database answers again must not leave them with the bad news.

use std::fs;
use std::path::PathBuf;

use crate::{Config, Role};

/// A mark in the data directory. Where there is none (a service over Postgres that was given none) nothing is kept.
pub(crate) struct AwayMark(PathBuf);

impl AwayMark {
    /// That of the processes of this role.
    pub fn new(config: &Config, role: Role) -> Self {
        Self(config.data_dir.join(format!("told-database-away-{role}")))
    }

    /// Whether the last that was told is that the database is out of reach.
    pub fn is_set(&self) -> bool {
        self.0.exists()
    }

    /// It was told that it is out of reach.
    pub fn set(&self) {
        if !self.0.parent().is_some_and(std::path::Path::is_dir) {
            return;
        }
        if let Err(error) = fs::write(&self.0, "") {
            log::warn!("{} cannot be written: {error}", self.0.display());
        }
    }

    /// It was told that it answers.
    pub fn clear(&self) {
        if let Err(error) = fs::remove_file(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            log::warn!("{} cannot be removed: {error}", self.0.display());
        }
    }
}
