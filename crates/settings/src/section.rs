//! One section of the configuration while its keys are read, and what is found wrong with it.
//!
//! Reading goes on after a problem, with the default in place of the value, so that a person is told of all problems at
//! once. The keys that were asked for are the keys that exist; any other key is unknown. `values.rs` has the types that a
//! key can have, `secret.rs` has secrets.

use crate::problem::{Origin, Problem};
use crate::setting::{Setting, Table, Value};

/// What reading a configuration found out, beside its values.
#[derive(Debug, Default)]
pub struct Findings {
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
    /// Every key that was asked for, with its section: the keys that exist.
    pub known: Vec<String>,
    /// Those of them that are true or false.
    pub flags: Vec<String>,
}

impl Findings {
    /// Notes a problem with `key`.
    pub fn problem(&mut self, origin: Origin, key: impl Into<String>, what: impl Into<String>) {
        self.problems.push(Problem { origin, key: key.into(), what: what.into() });
    }
}

/// One section being read.
pub struct Section<'f> {
    name: String,
    table: Table,
    /// Where the section itself stands.
    place: Origin,
    /// The sections beside its keys, where it is the whole.
    sections: &'static [&'static str],
    asked: Vec<&'static str>,
    findings: &'f mut Findings,
}

impl<'f> Section<'f> {
    /// The section `name` with its settings.
    pub fn new(name: impl Into<String>, table: Table, findings: &'f mut Findings) -> Self {
        Self { name: name.into(), table, place: Origin::Default, sections: &[], asked: Vec::new(), findings }
    }

    /// The keys above the first section, where these `sections` are known.
    pub fn top(sections: &'static [&'static str], table: Table, findings: &'f mut Findings) -> Self {
        Self { sections, ..Self::new(String::new(), table, findings) }
    }

    /// The same section, which stands at `place`: that is where a key that is missing is told to be missing.
    #[must_use]
    pub fn standing_at(mut self, place: Origin) -> Self {
        self.place = place;
        self
    }

    /// Where `key` stands.
    pub fn origin(&self, key: &str) -> Origin {
        self.table.get(key).map_or(Origin::Default, |setting| setting.origin.clone())
    }

    /// Whether somebody set `key`.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Notes a problem with a key whose value was well formed.
    pub fn refuse(&mut self, key: &str, origin: Origin, what: impl Into<String>) {
        self.findings.problem(origin, self.path(key), what);
    }

    /// Notes a problem with the section as a whole.
    pub fn refuse_whole(&mut self, what: impl Into<String>) {
        self.findings.problem(self.place.clone(), self.name.clone(), what);
    }

    /// Notes that `key` is missing and cannot be done without; `what` says what to write.
    pub fn missing(&mut self, key: &str, what: &str) {
        self.refuse(key, self.place.clone(), format!("is missing; {what}"));
    }

    /// Ends the reading: every key that was not asked for is unknown.
    pub fn finish(self) {
        self.finish_as("");
    }

    /// The same for a section of one of several kinds: `which` says of which, as in `for kind = "smtp"`.
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

    /// Reads `key` by `read`; `default` where it is absent, or wrong.
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

    /// Notes that `key` is true or false.
    pub(crate) fn note_flag(&mut self, key: &str) {
        self.findings.flags.push(self.path(key));
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

/// Takes the section `name` out of `root`; an absent one is empty.
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

/// Whether there are too many sections `[NAME.…]`; then that is a problem, and none of them is read.
pub fn too_many(name: &str, table: &Table, most: usize, findings: &mut Findings) -> bool {
    if table.len() <= most {
        return false;
    }
    let origin = table.values().next().map_or(Origin::Default, |first| first.origin.clone());
    findings.problem(origin, name, format!("has {} sections; at most {most}", table.len()));
    true
}
