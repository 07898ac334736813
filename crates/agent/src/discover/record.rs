//! Records the changes of `discover` and the names that it has chosen. The record lies in the agent's state
//! directory. With it, changes can be undone byte for byte, and names stay the same.

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
pub struct DiscoverRecord {
    /// The tables and units that are changed at present.
    pub changed: Vec<RecordedChange>,
    /// The chosen names, by the hash of each job's identity.
    pub names: BTreeMap<String, String>,
}

/// A changed table or unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedChange {
    /// The table or unit.
    pub target: WrapTarget,
    /// The time of the change, RFC 3339.
    pub at: String,
    /// The backup of the content before; none if there was none.
    pub backup: Option<PathBuf>,
    /// The digest of the content without any change made by `discover`.
    pub original: Option<String>,
    /// The digest of the content that was written.
    pub written: String,
}

impl DiscoverRecord {
    /// Reads the record in `directory`; it is empty if there is no file.
    ///
    /// # Errors
    /// The file exists but cannot be read.
    pub fn read(directory: &Path) -> Result<Self, String> {
        let path = directory.join(FILE);
        let wrong = |what: String| format!("{}: {what}", path.display());
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| wrong(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    /// Writes the record.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn write(&self, directory: &Path) -> Result<(), String> {
        let path = directory.join(FILE);
        let wrong = |what: String| format!("{}: {what}", path.display());
        let text = serde_json::to_vec_pretty(self).map_err(|error| wrong(error.to_string()))?;
        replace(&path, &text, Ownership::Private).map_err(|error| wrong(error.to_string()))
    }

    /// The recorded change of a target.
    pub fn of(&self, target: &WrapTarget) -> Option<&RecordedChange> {
        self.changed.iter().find(|changed| changed.target == *target)
    }

    /// Records the names of all jobs that report, so that they stay the same.
    pub fn note_names(&mut self, found: &Inventory, planned: &plan::DiscoverPlan) {
        for (index, entry) in found.entries.iter().enumerate() {
            if entry.watched == WatchedBy::Discover || planned.entries().any(|planned| planned == index) {
                let name = format!("{}/{}", entry.app, entry.component);
                self.names.insert(naming::mark(&entry.identity(), 8), name);
            }
        }
    }
}

/// The SHA-256 digest of a content, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
