//! Where each key stands, for what is found wrong with its value after it was read.

use std::collections::{BTreeMap, BTreeSet};

use crate::problem::Origin;
use crate::setting::{Table, Value};

/// The places of all keys and sections that somebody set.
#[derive(Debug, Clone, Default)]
pub struct Places {
    all: BTreeMap<String, Origin>,
    sections: BTreeSet<String>,
}

impl Places {
    /// Those of a whole configuration, all layers laid over one another.
    pub fn of(root: &Table) -> Self {
        let mut places = Self::default();
        places.note(root, "");
        places
    }

    /// Every key that somebody set, with where it stands; sections left out.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &Origin)> {
        let keys = self.all.iter().filter(|(key, _)| !self.sections.contains(*key));
        keys.map(|(key, origin)| (key.as_str(), origin)).filter(|(_, origin)| **origin != Origin::Default)
    }

    /// Where `key` stands, or the file that is named in its place, or else its section.
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
