//! Where each key stands, for what is found wrong with its value after it was read.

use std::collections::BTreeMap;

use super::problem::Origin;
use super::setting::{Table, Value};

/// The places of all keys and sections that somebody set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(BTreeMap<String, Origin>);

impl Places {
    /// Those of a whole configuration, all layers laid over one another.
    pub(crate) fn of(root: &Table) -> Self {
        let mut places = BTreeMap::new();
        note(root, "", &mut places);
        Self(places)
    }

    /// Where `key` stands, or the file that is named in its place, or else its section.
    pub(crate) fn place(&self, key: &str) -> Origin {
        let sections =
            std::iter::successors(Some(key), |key| key.rsplit_once('.').map(|(section, _)| section));
        let found = sections
            .filter_map(|key| self.0.get(key).or_else(|| self.0.get(&format!("{key}_file"))))
            .find(|origin| **origin != Origin::Default);
        found.cloned().unwrap_or(Origin::Default)
    }
}

fn note(table: &Table, section: &str, places: &mut BTreeMap<String, Origin>) {
    for (key, setting) in table {
        let path = format!("{section}{key}");
        if let Value::Table(inner) = &setting.value {
            note(inner, &format!("{path}."), places);
        }
        places.insert(path, setting.origin.clone());
    }
}
