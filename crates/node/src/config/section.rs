//! Reads the keys of one section into typed values, and collects what is wrong with them.
//!
//! Reading goes on after a problem (the default stands in), so that a person gets all of them at once. The
//! keys that were asked for are the keys that exist: whatever is left over is unknown.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use chrono::TimeDelta;
use innkeeper_core::duration;
use innkeeper_core::secret::Secret;

use super::problem::{Origin, Problem};
use super::secret_file;
use super::setting::{Setting, Table, Value};

/// What reading a configuration found out, beside its values.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Everything that is wrong.
    pub(crate) problems: Vec<Problem>,
    /// Every key that was asked for, with its section: the keys that exist.
    pub(crate) known: Vec<String>,
}

impl Findings {
    /// Notes a problem with `key`.
    pub(crate) fn problem(&mut self, origin: Origin, key: impl Into<String>, what: impl Into<String>) {
        self.problems.push(Problem { origin, key: key.into(), what: what.into() });
    }
}

/// One section being read.
pub(crate) struct Section<'f> {
    name: String,
    table: Table,
    asked: Vec<&'static str>,
    findings: &'f mut Findings,
}

impl<'f> Section<'f> {
    /// The section `name` with its settings; `""` for the keys above the first section.
    pub(crate) fn new(name: impl Into<String>, table: Table, findings: &'f mut Findings) -> Self {
        Self { name: name.into(), table, asked: Vec::new(), findings }
    }

    /// Where `key` stands.
    pub(crate) fn origin(&self, key: &str) -> Origin {
        self.table.get(key).map_or(Origin::Default, |setting| setting.origin.clone())
    }

    /// A text that `parse` turns into a value; `default` when the key is absent.
    pub(crate) fn parsed<T, E: Display>(
        &mut self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> T {
        self.read(key, default, |value| match value {
            Value::Text(text) => parse(text).map_err(|error| error.to_string()),
            other => Err(format!("is {}; write a text in quotes", other.kind())),
        })
    }

    /// A whole number within `range`.
    pub(crate) fn number<T>(&mut self, key: &'static str, default: T, range: RangeInclusive<i64>) -> T
    where
        T: TryFrom<i64>,
    {
        self.read(key, default, |value| {
            let allowed = || format!("write a whole number from {} to {}", range.start(), range.end());
            let number = match value {
                Value::Integer(number) => *number,
                Value::Text(text) => {
                    text.trim().parse().map_err(|_| format!("{text:?} is not a number; {}", allowed()))?
                }
                other => return Err(format!("is {}; {}", other.kind(), allowed())),
            };
            Some(number)
                .filter(|number| range.contains(number))
                .and_then(|number| T::try_from(number).ok())
                .ok_or_else(|| format!("{number} is out of bounds; {}", allowed()))
        })
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.read(key, default, |value| match value {
            Value::Bool(flag) => Ok(*flag),
            Value::Text(text) => boolean(text).ok_or_else(|| format!("{text:?} is neither true nor false")),
            other => Err(format!("is {}; write true or false", other.kind())),
        })
    }

    /// A duration within `range`, written `90s`, `5m`, `6h`, `1d`.
    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        default: TimeDelta,
        range: RangeInclusive<TimeDelta>,
    ) -> TimeDelta {
        self.parsed(key, default, |text| {
            let span = duration::parse(key, text).map_err(|invalid| invalid.problem)?;
            if range.contains(&span) {
                return Ok(span);
            }
            let (least, most) = (duration::short(*range.start()), duration::short(*range.end()));
            Err(format!("{text:?} is out of bounds; at least {least}, at most {most}"))
        })
    }

    /// A list of texts, `most` at the most, or one text with commas.
    pub(crate) fn list<T>(
        &mut self,
        key: &'static str,
        most: usize,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        self.read(key, Vec::new(), |value| {
            let entries: Vec<&str> = match value {
                Value::Text(text) => {
                    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect()
                }
                Value::List(list) => list
                    .iter()
                    .map(|entry| match &entry.value {
                        Value::Text(text) => Ok(text.as_str()),
                        other => Err(format!("has {} in its list; write texts in quotes", other.kind())),
                    })
                    .collect::<Result<_, String>>()?,
                other => return Err(format!("is {}; write a list of texts", other.kind())),
            };
            // Before any is read: what is done for each may take its time.
            if entries.len() > most {
                return Err(format!("has {} entries; at most {most}", entries.len()));
            }
            entries.into_iter().map(parse).collect()
        })
    }

    /// An address to listen on, `127.0.0.1:8080`.
    pub(crate) fn listener(&mut self, key: &'static str, default: SocketAddr) -> SocketAddr {
        self.parsed(key, default, listener)
    }

    /// The same, where there need be none.
    pub(crate) fn maybe_listener(&mut self, key: &'static str) -> Option<SocketAddr> {
        self.parsed(key, None, |text| listener(text).map(Some))
    }

    /// A secret, given as `key` or as the name of a file that holds it, `key_file`.
    pub(crate) fn secret(&mut self, key: &'static str, key_file: &'static str) -> Option<(Secret, Origin)> {
        let origin = self.origin(key);
        let here = self.read(key, None, |value| match value {
            Value::Text(text) => Ok(Some(Secret::new(text.clone()))),
            other => Err(format!("is {}; write a text in quotes", other.kind())),
        });
        let file_origin = self.origin(key_file);
        let from_file = self.parsed(key_file, None, |path| secret_file::read(path).map(Some));
        if here.is_some() && from_file.is_some() {
            let what = format!("stands beside {key}; give one of the two");
            self.findings.problem(file_origin.clone(), self.path(key_file), what);
        }
        here.map(|secret| (secret, origin)).or(from_file.map(|secret| (secret, file_origin)))
    }

    /// Notes a problem with a key whose value was well formed.
    pub(crate) fn refuse(&mut self, key: &'static str, origin: Origin, what: impl Into<String>) {
        self.findings.problem(origin, self.path(key), what);
    }

    /// Ends the reading: every key that was not asked for is unknown.
    pub(crate) fn finish(mut self) {
        self.asked.sort_unstable();
        let allowed = self.asked.join(", ");
        for (key, setting) in &self.table {
            if !self.asked.contains(&key.as_str()) {
                let (kind, what) = match (&setting.value, self.name.as_str()) {
                    (Value::Table(_), "") => ("section", super::SECTIONS.join(", ")),
                    _ => ("key", allowed.clone()),
                };
                let what = format!("unknown {kind}; allowed: {what}");
                self.findings.problem(setting.origin.clone(), self.path(key), what);
            }
        }
        let known: Vec<String> = self.asked.iter().map(|key| self.path(key)).collect();
        self.findings.known.extend(known);
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn read<T>(
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
}

/// Takes the section `name` out of `root`; an absent one is empty.
pub(crate) fn take(root: &mut Table, name: &'static str, findings: &mut Findings) -> Table {
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
pub(crate) fn too_many(name: &str, table: &Table, most: usize, findings: &mut Findings) -> bool {
    if table.len() <= most {
        return false;
    }
    let origin = table.values().next().map_or(Origin::Default, |first| first.origin.clone());
    findings.problem(origin, name, format!("has {} sections; at most {most}", table.len()));
    true
}

/// Reads a yes or no as environments have them.
fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn listener(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|_| {
        format!(
            "{text:?} is not an address with a port; write 127.0.0.1:8080, or 0.0.0.0:8080 for all interfaces"
        )
    })
}
