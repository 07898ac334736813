//! Reads the keys of one section and collects its problems.
//!
//! After a problem, reading continues with the default value, so that all problems are reported at once. The keys
//! that are read are the keys that exist; any other key is reported as unknown. `values.rs` has the types of keys,
//! `secret.rs` has secrets.

use crate::problem::{Origin, Problem};
use crate::setting::{Setting, Table, Value};

/// The result of reading a configuration, apart from its values.
#[derive(Debug, Default)]
pub struct Findings {
    /// All problems.
    pub problems: Vec<Problem>,
    /// Every key that was read, with its section: the keys that exist.
    pub known: Vec<String>,
    /// Those of them that are boolean.
    pub flags: Vec<String>,
}

impl Findings {
    /// Adds a problem with `key`.
    pub fn problem(&mut self, origin: Origin, key: impl Into<String>, what: impl Into<String>) {
        self.problems.push(Problem { origin, key: key.into(), what: what.into() });
    }
}

/// A section that is being read.
pub struct Section<'f> {
    name: String,
    table: Table,
    /// The place of the section itself.
    place: Origin,
    /// For the top level: the names of the sections that are read separately.
    sections: &'static [&'static str],
    asked: Vec<&'static str>,
    findings: &'f mut Findings,
}

impl<'f> Section<'f> {
    /// The section `name` with its settings.
    pub fn new(name: impl Into<String>, table: Table, findings: &'f mut Findings) -> Self {
        Self { name: name.into(), table, place: Origin::Default, sections: &[], asked: Vec::new(), findings }
    }

    /// The top-level keys. `sections` are the known sections.
    pub fn top(sections: &'static [&'static str], table: Table, findings: &'f mut Findings) -> Self {
        Self { sections, ..Self::new(String::new(), table, findings) }
    }

    /// Sets the place of the section, at which missing keys are reported.
    #[must_use]
    pub fn standing_at(mut self, place: Origin) -> Self {
        self.place = place;
        self
    }

    /// The place of `key`.
    pub fn origin(&self, key: &str) -> Origin {
        self.table.get(key).map_or(Origin::Default, |setting| setting.origin.clone())
    }

    /// Whether `key` is set.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Adds a problem with a key whose value is well formed.
    pub fn refuse(&mut self, key: &str, origin: Origin, what: impl Into<String>) {
        self.findings.problem(origin, self.path(key), what);
    }

    /// Adds a problem with the section as a whole.
    pub fn refuse_whole(&mut self, what: impl Into<String>) {
        self.findings.problem(self.place.clone(), self.name.clone(), what);
    }

    /// Adds the problem that the required `key` is missing. `what` says what to write.
    pub fn missing(&mut self, key: &str, what: &str) {
        self.refuse(key, self.place.clone(), format!("is missing; {what}"));
    }

    /// Ends the reading. Every key that was not read is reported as unknown.
    pub fn finish(self) {
        self.finish_as("");
    }

    /// Like [`Self::finish`], for a section of one of several kinds. `which` names the kind, as in `for kind =
    /// "smtp"`.
    pub fn finish_as(mut self, which: &str) {
        self.asked.sort_unstable();
        let allowed = self.asked.join(", ");
        let which = if which.is_empty() { String::new() } else { format!(" {which}") };
        for (key, setting) in &self.table {
            if !self.asked.contains(&key.as_str()) {
                let (kind, what) = match (&setting.value, self.name.as_str()) {
                    (Value::Table(_), "") => ("section", self.sections.join(", ")),
                    _ => ("key", allowed.clone()),
                };
                let what = format!("unknown {kind}; allowed{which}: {what}");
                self.findings.problem(setting.origin.clone(), self.path(key), what);
            }
        }
        let known: Vec<String> = self.asked.iter().map(|key| self.path(key)).collect();
        self.findings.known.extend(known);
    }

    /// Reads `key` by `read`. Returns `default` if the key is absent or invalid.
    pub(crate) fn read<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> T {
        self.asked.push(key);
        let Some(setting) = self.table.get(key) else { return default };
        match read(&setting.value) {
            Ok(value) => value,
            Err(what) => {
                self.findings.problem(setting.origin.clone(), self.path(key), what);
                default
            }
        }
    }

    /// Records that `key` is boolean.
    pub(crate) fn note_flag(&mut self, key: &str) {
        self.findings.flags.push(self.path(key));
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

/// Takes the section `name` out of `root`; it is empty if it is absent.
pub fn take(root: &mut Table, name: &'static str, findings: &mut Findings) -> Table {
    match root.remove(name) {
        None => Table::new(),
        Some(Setting { value: Value::Table(table), .. }) => table,
        Some(Setting { value, origin }) => {
            let what = format!("is {}; it is a section, write [{name}]", value.kind());
            findings.problem(origin, name, what);
            Table::new()
        }
    }
}

/// Whether there are too many sections `[NAME.…]`. This is reported as a problem, and the caller must not read them.
pub fn too_many(name: &str, table: &Table, most: usize, findings: &mut Findings) -> bool {
    if table.len() <= most {
        return false;
    }
    let origin = table.values().next().map_or(Origin::Default, |first| first.origin.clone());
    findings.problem(origin, name, format!("has {} sections; at most {most}", table.len()));
    true
}
