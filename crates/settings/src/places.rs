//! The place of each key, for problems that are found after the configuration was read.

use std::collections::{BTreeMap, BTreeSet};

use crate::problem::Origin;
use crate::setting::{Table, Value};

/// The places of all keys and sections that were set.
#[derive(Debug, Clone, Default)]
pub struct Places {
    all: BTreeMap<String, Origin>,
    sections: BTreeSet<String>,
}

impl Places {
    /// The places in a whole configuration, after all layers were merged.
    pub fn of(root: &Table) -> Self {
        let mut places = Self::default();
        places.note(root, "");
        places
    }

    /// Every key that was set, with its place; without sections.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &Origin)> {
        let keys = self.all.iter().filter(|(key, _)| !self.sections.contains(*key));
        keys.map(|(key, origin)| (key.as_str(), origin)).filter(|(_, origin)| **origin != Origin::Default)
    }

    /// The place of `key`, of the `_file` key that replaces it, or else of its section.
    pub fn place(&self, key: &str) -> Origin {
        let sections =
            std::iter::successors(Some(key), |key| key.rsplit_once('.').map(|(section, _)| section));
        let found = sections
            .filter_map(|key| self.all.get(key).or_else(|| self.all.get(&format!("{key}_file"))))
            .find(|origin| **origin != Origin::Default);
        found.cloned().unwrap_or(Origin::Default)
    }

    fn note(&mut self, table: &Table, section: &str) {
        for (key, setting) in table {
            let path = format!("{section}{key}");
            if let Value::Table(inner) = &setting.value {
                self.note(inner, &format!("{path}."));
                self.sections.insert(path.clone());
            }
            self.all.insert(path, setting.origin.clone());
        }
    }
}
