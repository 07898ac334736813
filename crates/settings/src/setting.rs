//! Settings without types: a tree of values, each with its place.
//!
//! The file, the environment and the flags are merged in this form, so that an error can name the line, variable or
//! flag of a value.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{ConfigError, Origin};

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The value.
    pub value: Value,
    /// The place of the value.
    pub origin: Origin,
}

/// A TOML value. A value from the environment is always a text and is parsed as the type of its key.
#[derive(Debug, Clone)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A fraction.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A date. TOML has dates, but no key uses them.
    Date,
    /// A list.
    List(Vec<Setting>),
    /// A section.
    Table(Table),
}

/// The settings of a section, by key.
pub type Table = BTreeMap<String, Setting>;

impl Value {
    /// The type of the value, for error messages. The value itself is not shown because it may be secret.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a fraction",
            Self::Bool(_) => "true or false",
            Self::Date => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a section",
        }
    }
}

/// Parses the text of a configuration file called `name`.
///
/// # Errors
/// The text is not valid TOML. The error names the line but does not contain its text, which may be secret.
pub fn parse(name: &str, text: &str) -> Result<Table, ConfigError> {
    let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
    let source = Source { file: Arc::from(name), breaks };
    let table = DeTable::parse(text).map_err(|error| {
        // The error's whole text would quote the line, which may contain a password.
        ConfigError::about(source.at(error.span().map_or(0, |span| span.start)), error.message())
    })?;
    source.table(table.into_inner())
}

struct Source {
    file: Arc<str>,
    /// The offsets of the line ends.
    breaks: Vec<usize>,
}

impl Source {
    fn at(&self, offset: usize) -> Origin {
        let line = 1 + self.breaks.partition_point(|at| *at < offset);
        Origin::File { file: self.file.clone(), line }
    }

    fn table(&self, table: DeTable<'_>) -> Result<Table, ConfigError> {
        table
            .into_iter()
            .map(|(key, value)| {
                // The line of the key and not of the value, because that is where a reader looks.
                let origin = self.at(key.span().start);
                Ok((key.into_inner().into_owned(), Setting { value: self.value(value)?, origin }))
            })
            .collect()
    }

    fn value(&self, value: Spanned<DeValue<'_>>) -> Result<Value, ConfigError> {
        let start = value.span().start;
        Ok(match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) => {
                Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| {
                    ConfigError::about(self.at(start), "the number is too large; at most 9223372036854775807")
                })?)
            }
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(flag) => Value::Bool(flag),
            DeValue::Datetime(_) => Value::Date,
            DeValue::Array(entries) => Value::List(
                entries
                    .into_iter()
                    .map(|entry| {
                        let origin = self.at(entry.span().start);
                        Ok(Setting { value: self.value(entry)?, origin })
                    })
                    .collect::<Result<_, ConfigError>>()?,
            ),
            DeValue::Table(table) => Value::Table(self.table(table)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_line() {
        let table = parse("f.toml", "a = 1\n\n[b]\nc = [\n  'x',\n  'y',\n]\nd = 0x10\n").unwrap();
        let line = |line| Origin::File { file: Arc::from("f.toml"), line };
        assert_eq!(table["a"].origin, line(1));
        let Value::Table(b) = &table["b"].value else { panic!("{table:?}") };
        assert_eq!(b["c"].origin, line(4));
        let Value::List(c) = &b["c"].value else { panic!("{table:?}") };
        assert_eq!(c[1].origin, line(6));
        assert!(matches!(b["d"].value, Value::Integer(16)));
    }

    #[test]
    fn a_broken_file_is_named_by_line_without_its_text() {
        let error = parse("f.toml", "a = 1\npassword = \"hunter2\n").unwrap_err().to_string();
        assert!(error.starts_with("f.toml:2: "), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert!(parse("f", "a = 99999999999999999999").unwrap_err().to_string().contains("too large"));
    }
}
