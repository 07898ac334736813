//! The types of keys. A value from the environment is always a text, so each type can also be parsed from a text.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use chrono::TimeDelta;
use innkeeper_core::duration;
use innkeeper_core::secret::Secret;

use crate::section::Section;
use crate::setting::{Setting, Value};

/// The accepted words for true and false, in any case, if a boolean is given as text.
pub const FLAG_WORDS: [(&str, bool); 8] = [
    ("true", true),
    ("yes", true),
    ("on", true),
    ("1", true),
    ("false", false),
    ("no", false),
    ("off", false),
    ("0", false),
];

impl Section<'_> {
    /// A text that `parse` converts. `default` if the key is absent or invalid.
    pub fn parsed<T, E: Display>(
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

    /// An optional text.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        self.parsed(key, None, |text| Ok::<_, String>(Some(text.to_owned())))
    }

    /// An optional path of a file.
    pub fn path_of(&mut self, key: &'static str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    /// One of several words.
    pub fn word<T: Copy>(&mut self, key: &'static str, default: T, words: &[(&str, T)]) -> T {
        self.parsed(key, default, |text| {
            words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
                let allowed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                format!("{text:?} is not known; allowed: {}", allowed.join(", "))
            })
        })
    }

    /// An integer within `range`.
    pub fn number<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
        default: T,
        range: RangeInclusive<i64>,
    ) -> T {
        self.read(key, default, |value| number(value, &range))
    }

    /// An optional integer within `range`.
    pub fn maybe_number<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<i64>,
    ) -> Option<T> {
        self.read(key, None, |value| number(value, &range).map(Some))
    }

    /// A boolean. As a text it must be one of [`FLAG_WORDS`].
    pub fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.note_flag(key);
        self.read(key, default, |value| match value {
            Value::Bool(flag) => Ok(*flag),
            Value::Text(text) => {
                let word = text.trim().to_ascii_lowercase();
                let known = FLAG_WORDS.iter().find(|(known, _)| *known == word).map(|(_, flag)| *flag);
                known.ok_or_else(|| format!("{text:?} is neither true nor false; allowed: {}", flag_words()))
            }
            other => Err(format!("is {}; write true or false", other.kind())),
        })
    }

    /// A duration within `range`, such as `90s`, `5m`, `6h`, `1d`.
    pub fn duration(
        &mut self,
        key: &'static str,
        default: TimeDelta,
        range: RangeInclusive<TimeDelta>,
    ) -> TimeDelta {
        self.maybe_duration(key, range).unwrap_or(default)
    }

    /// An optional duration within `range`.
    pub fn maybe_duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<TimeDelta>,
    ) -> Option<TimeDelta> {
        self.read(key, None, |value| {
            let Value::Text(text) = value else {
                let kind = value.kind();
                return Err(format!("is {kind}; write a text in quotes with its unit, as in \"90s\""));
            };
            let span = duration::parse(key, text).map_err(|invalid| invalid.problem)?;
            if range.contains(&span) {
                return Ok(Some(span));
            }
            let (least, most) = (duration::short(*range.start()), duration::short(*range.end()));
            Err(format!("{text:?} is out of bounds; at least {least}, at most {most}"))
        })
    }

    /// A list of at most `most` texts, or a single text with commas.
    pub fn list<T>(
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
                Value::List(list) => texts(list)?,
                other => return Err(format!("is {}; write a list of texts", other.kind())),
            };
            // Checked before any entry is parsed, because parsing an entry may be expensive.
            if entries.len() > most {
                return Err(format!("has {} entries; at most {most}", entries.len()));
            }
            entries.into_iter().map(parse).collect()
        })
    }

    /// A program and its arguments, at most `most` words: a list of texts, or a text that is a JSON list or has words
    /// separated by blanks.
    pub fn program(&mut self, key: &'static str, most: usize) -> Vec<String> {
        const ALLOWED: &str = "write a program and its arguments: [\"/path/prog\", \"arg\"]";
        self.read(key, Vec::new(), |value| {
            let words: Vec<String> = match value {
                Value::Text(text) if text.trim_start().starts_with('[') => {
                    serde_json::from_str(text).map_err(|error| format!("{error}; {ALLOWED}"))?
                }
                Value::Text(text) => text.split_whitespace().map(str::to_owned).collect(),
                Value::List(list) => texts(list)?.into_iter().map(str::to_owned).collect(),
                other => return Err(format!("is {}; {ALLOWED}", other.kind())),
            };
            if words.len() > most {
                return Err(format!("has {} words; at most {most}", words.len()));
            }
            match words.first() {
                Some(program) if !program.is_empty() => Ok(words),
                _ => Err(format!("is empty; {ALLOWED}")),
            }
        })
    }

    /// Names with a secret each: a section of texts, or a single text with a line `Name: value` for each.
    pub fn named_secrets(&mut self, key: &'static str) -> Vec<(String, Secret)> {
        self.read(key, Vec::new(), |value| match value {
            Value::Text(text) => named_secrets(text),
            Value::Table(table) => table
                .iter()
                .map(|(name, setting)| match &setting.value {
                    Value::Text(text) => Ok((name.clone(), Secret::new(text.clone()))),
                    other => Err(format!("{name:?} is {}; write a text in quotes", other.kind())),
                })
                .collect(),
            other => Err(format!("is {}; write a section of names and values in quotes", other.kind())),
        })
    }

    /// An address to listen on, such as `127.0.0.1:8080`.
    pub fn listener(&mut self, key: &'static str, default: SocketAddr) -> SocketAddr {
        self.parsed(key, default, listener)
    }

    /// An optional address to listen on.
    pub fn maybe_listener(&mut self, key: &'static str) -> Option<SocketAddr> {
        self.parsed(key, None, |text| listener(text).map(Some))
    }
}

/// Parses names with a secret each, one `Name: value` per line.
///
/// # Errors
/// A line has no colon. The error does not contain the line.
pub fn named_secrets(text: &str) -> Result<Vec<(String, Secret)>, String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let (name, value) =
                line.split_once(':').ok_or("has a line without a colon; write `Name: value`, one a line")?;
            Ok((name.trim().to_owned(), Secret::new(value.trim())))
        })
        .collect()
}

fn number<T: TryFrom<i64>>(value: &Value, range: &RangeInclusive<i64>) -> Result<T, String> {
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
}

fn texts(list: &[Setting]) -> Result<Vec<&str>, String> {
    list.iter()
        .map(|entry| match &entry.value {
            Value::Text(text) => Ok(text.as_str()),
            other => Err(format!("has {} in its list; write texts in quotes", other.kind())),
        })
        .collect()
}

fn flag_words() -> String {
    FLAG_WORDS.map(|(word, _)| word).join(", ")
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
