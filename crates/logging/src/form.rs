//! The format of a log line: text, text for the journal, or JSON.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use chrono::SecondsFormat;
use innkeeper_core::{Clock as _, SystemClock, word};
use log::kv::{Error, Key, Value, VisitSource, VisitValue};
use log::{Level, Record};
use serde_json::{Map, Number, Value as Json};
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::{context, escape};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Format {
    /// `2026-01-02T03:04:05.678Z INFO  ingest::writer: what happened key=value`
    #[default]
    Text,
    /// One JSON object per line, with `time` (RFC 3339), `level`, `target`, `message`, and the keys of the record.
    Json,
}

impl Format {
    /// Parses `text` or `json`.
    ///
    /// # Errors
    /// What is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("{text:?} is not known; write {}", word::quoted::<Self>()))
    }

    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The content of a log line.
pub(crate) struct Line<'a> {
    pub(crate) level: Level,
    pub(crate) target: &'a str,
    pub(crate) message: String,
    pub(crate) pairs: Pairs,
}

impl<'a> Line<'a> {
    /// The line for a record, with the scopes of this thread.
    pub(crate) fn of(record: &Record<'a>) -> Self {
        let mut pairs = Pairs::default();
        // `visit` only fails if `Pairs` fails, and that accepts every value.
        let _ = record.key_values().visit(&mut pairs);
        context::visit(|kind, number| pairs.0.push((kind.to_owned(), Json::from(number))));
        Self { level: record.level(), target: record.target(), message: record.args().to_string(), pairs }
    }

    /// A line without keys.
    pub(crate) fn plain(level: Level, target: &'a str, message: String) -> Self {
        Self { level, target, message, pairs: Pairs::default() }
    }

    /// Writes the line. `coloured` contains the beginning and the end of the level's colour. A line for the journal
    /// begins with the priority that systemd reads (sd-daemon(3)) and has no time, because the journal adds its own.
    pub(crate) fn write(
        &self,
        out: &mut impl Write,
        format: Format,
        to_journal: bool,
        (colour, plain): (impl fmt::Display, impl fmt::Display),
    ) -> io::Result<()> {
        if to_journal {
            write!(out, "<{}>", priority(self.level))?;
        }
        let (level, target) = (self.level, short_target(self.target));
        match format {
            Format::Json => {
                let mut object = Map::new();
                object.insert("time".to_owned(), now().into());
                object.insert("level".to_owned(), level.as_str().to_ascii_lowercase().into());
                object.insert("target".to_owned(), target.into());
                object.insert("message".to_owned(), self.message.as_str().into());
                for (key, value) in &self.pairs.0 {
                    // A key of the record must not replace one of the four above.
                    object.entry(key.clone()).or_insert_with(|| value.clone());
                }
                serde_json::to_writer(&mut *out, &object)?;
                writeln!(out)
            }
            Format::Text => {
                let message = escape(&self.message);
                let pairs = &self.pairs;
                match to_journal {
                    true => writeln!(out, "{target}: {message}{pairs}"),
                    false => writeln!(out, "{} {colour}{level:<5}{plain} {target}: {message}{pairs}", now()),
                }
            }
        }
    }
}

/// The keys and values of a record, in their order.
#[derive(Debug, Default)]
pub(crate) struct Pairs(Vec<(String, Json)>);

impl<'kvs> VisitSource<'kvs> for Pairs {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let mut kept = Kept(Json::Null);
        value.visit(&mut kept)?;
        self.0.push((key.as_str().to_owned(), kept.0));
        Ok(())
    }
}

impl fmt::Display for Pairs {
    /// Formats each pair as ` key=value`. A value is quoted if it could be mistaken for several pairs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in &self.0 {
            let text = match value {
                Json::String(text) => text.clone(),
                other => other.to_string(),
            };
            let is_plain = !text.is_empty()
                && text
                    .chars()
                    .all(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=' | '\\'));
            match is_plain {
                true => write!(f, " {}={}", escape(key), escape(&text))?,
                false => {
                    let text = escape(&text.replace('\\', "\\\\").replace('"', "\\\""));
                    write!(f, " {}=\"{text}\"", escape(key))?;
                }
            }
        }
        Ok(())
    }
}

/// A value as JSON: numbers and booleans keep their type, everything else becomes text.
struct Kept(Json);

impl<'v> VisitValue<'v> for Kept {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), Error> {
        let mut text = String::new();
        write!(text, "{value}").map_err(|_| Error::msg("a value that cannot be written"))?;
        self.0 = Json::String(text);
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), Error> {
        self.0 = Json::Null;
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), Error> {
        self.0 = Number::from_f64(value).map_or(Json::Null, Json::Number);
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }
}

/// The priority of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// The time at the beginning of a line.
fn now() -> String {
    SystemClock.now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Shortens `innkeeper_ingest::writer` to `ingest::writer`, and the target of another crate to the crate's name.
fn short_target(target: &str) -> &str {
    match target.strip_prefix("innkeeper_") {
        Some(own) => own,
        None => target.split("::").next().unwrap_or(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, to_journal: bool) -> String {
        let mut out = Vec::new();
        let _batch = context::within("batch", 7);
        let pairs: &[(&str, Value<'_>)] = &[
            ("job", Value::from("shop/export")),
            ("took_ms", Value::from(12)),
            ("is_late", Value::from(true)),
            ("note", Value::from("two words, \"quoted\"\nand a line")),
            ("empty", Value::from("")),
            ("message", Value::from("not this one")),
        ];
        let record = Record::builder()
            .level(Level::Warn)
            .target("innkeeper_ingest::writer")
            .args(format_args!("it took\nlong"))
            .key_values(&pairs)
            .build();
        Line::of(&record).write(&mut out, format, to_journal, ("<c>", "</c>")).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_for_people_has_its_keys_after_the_message() {
        let line = written(Format::Text, false);
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.len() == "2026-01-02T03:04:05.678Z".len(), "{line}");
        assert_eq!(
            rest,
            "<c>WARN </c> ingest::writer: it took\\nlong job=shop/export took_ms=12 is_late=true \
             note=\"two words, \\\"quoted\\\"\\nand a line\" empty=\"\" message=\"not this one\" batch=7\n"
        );
    }

    #[test]
    fn the_journal_is_told_the_priority_and_no_time() {
        let line = written(Format::Text, true);
        assert!(line.starts_with("<4>ingest::writer: it took\\nlong job="), "{line}");
        assert!(written(Format::Json, true).starts_with("<4>{"), "the journal takes it off");
        for (level, number) in [(Level::Error, 3), (Level::Info, 6), (Level::Debug, 7), (Level::Trace, 7)] {
            assert_eq!(priority(level), number);
        }
    }

    #[test]
    fn json_is_one_object_a_line_and_keeps_types() {
        let line = written(Format::Json, false);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let object: Json = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&object["level"], &object["target"], &object["message"]),
            (&"warn".into(), &"ingest::writer".into(), &"it took\nlong".into())
        );
        assert_eq!(
            (&object["took_ms"], &object["is_late"], &object["batch"]),
            (&12.into(), &true.into(), &7.into())
        );
        assert_eq!(object["note"], "two words, \"quoted\"\nand a line");
        assert!(object["time"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn targets_are_short() {
        for (target, short) in [
            ("innkeeper_ingest::writer", "ingest::writer"),
            ("innkeeper_node", "node"),
            ("lettre::transport::smtp", "lettre"),
        ] {
            assert_eq!(short_target(target), short);
        }
    }
}
