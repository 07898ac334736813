//! What discover has changed, and the names that it has chosen: kept with the agent's state, so that a change
//! can be taken back byte for byte and a name stays.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::files::{Ownership, replace};
use super::source::WrapTarget;
use super::{Inventory, WatchedBy, naming, plan};

const FILE: &str = "record.json";

/// The record.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// The tables and units that are changed now.
    pub changed: Vec<Changed>,
    /// The names that were chosen, by the marks of what has them.
    pub names: BTreeMap<String, String>,
}

/// A table or unit that is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Which.
    pub target: WrapTarget,
    /// When, RFC 3339.
    pub at: String,
    /// The copy of what was there before; none where nothing was.
    pub backup: Option<PathBuf>,
    /// The digest of what was there without any change of discover's.
    pub original: Option<String>,
    /// The digest of what was written.
    pub written: String,
}

impl Record {
    /// The one that is kept in `directory`; an empty one where there is none.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(directory: &Path) -> Result<Self, String> {
        let path = directory.join(FILE);
        let wrong = |what: String| format!("{}: {what}", path.display());
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| wrong(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    /// Keeps it.
    ///
    /// # Errors
    /// Why it cannot be kept.
    pub fn write(&self, directory: &Path) -> Result<(), String> {
        let path = directory.join(FILE);
        let wrong = |what: String| format!("{}: {what}", path.display());
        let text = serde_json::to_vec_pretty(self).map_err(|error| wrong(error.to_string()))?;
        replace(&path, &text, Ownership::Private).map_err(|error| wrong(error.to_string()))
    }

    /// What it says of a target.
    pub fn of(&self, target: &WrapTarget) -> Option<&Changed> {
        self.changed.iter().find(|changed| changed.target == *target)
    }

    /// Notes the names of all that reports, so that they stay.
    pub fn note_names(&mut self, found: &Inventory, planned: &plan::DiscoverPlan) {
        for (index, entry) in found.entries.iter().enumerate() {
            if entry.watched == WatchedBy::Discover || planned.entries().any(|planned| planned == index) {
                let name = format!("{}/{}", entry.app, entry.component);
                self.names.insert(naming::mark(&entry.identity(), 8), name);
            }
        }
    }
}

/// The digest of a content.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
