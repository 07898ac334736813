//! One report per event, as it is sent to the server. Each has its own time and idempotency key.

use innkeeper_core::figures::Figures;
use innkeeper_core::names::{AppName, ComponentName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::clock::Stamp;

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportKind {
    /// A run began.
    Start,
    /// The run succeeded.
    Success,
    /// The run failed.
    Fail,
    /// A note, which does not change the reservation's state.
    Log,
}

impl ReportKind {
    /// The word of the protocol.
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Success => "success",
            Self::Fail => "fail",
            Self::Log => "log",
        }
    }
}

/// The two names of a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Names {
    /// The app.
    pub app: AppName,
    /// The component.
    pub component: ComponentName,
}

impl Names {
    /// Parses `APP/COMPONENT`. Only the first `/` separates the two.
    ///
    /// # Errors
    /// What is wrong with the names, and what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (app, component) = text.split_once('/').ok_or_else(|| {
            format!("{text:?} does not name a reservation; write APP/COMPONENT, as in shop/backup")
        })?;
        Ok(Self {
            app: AppName::parse(app).map_err(|invalid| invalid.to_string())?,
            component: ComponentName::parse(component).map_err(|invalid| invalid.to_string())?,
        })
    }
}

impl std::fmt::Display for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.app, self.component)
    }
}

/// One event. Its age is computed when it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpooledReport {
    /// The reservation; none if the ping address implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Names>,
    /// The kind of the event.
    pub kind: ReportKind,
    /// The idempotency key, by which the server recognizes a repeat.
    pub key: Uuid,
    /// The time of the event.
    pub stamp: Stamp,
    /// The id of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Uuid>,
    /// The command's exit status; none if a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<u8>,
    /// The name of the signal that ended the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Run time in milliseconds, including the time that the machine slept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Peak memory of the largest process, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// The end of the command's output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The figures of the check-in.
    #[serde(default, skip_serializing_if = "Figures::is_empty")]
    pub figures: Figures,
}

impl SpooledReport {
    /// Creates a report of `kind` about an event at `stamp`, with a new key.
    pub fn new(names: Option<Names>, kind: ReportKind, stamp: Stamp) -> Self {
        Self {
            names,
            kind,
            key: Uuid::new_v4(),
            stamp,
            run: None,
            exit_status: None,
            signal: None,
            duration_ms: None,
            peak_memory_bytes: None,
            output: None,
            figures: Figures::default(),
        }
    }

    /// Approximate size of the report on the wire, in bytes.
    pub fn size(&self) -> usize {
        let figures: usize = self.figures.iter().map(|(name, _)| name.len() + 30).sum();
        400 + self.output.as_ref().map_or(0, String::len) + figures
    }

    /// The JSON to send at `now`. Without names, for a ping address.
    pub fn wire(&self, now: &Stamp) -> Value {
        let mut fields = Map::new();
        let mut put = |key: &str, value: Value| drop(fields.insert(key.to_owned(), value));
        if let Some(names) = &self.names {
            put("app", json!(names.app));
            put("component", json!(names.component));
        }
        put("kind", json!(self.kind));
        put("key", json!(self.key.to_string()));
        put("ago_ms", json!(self.stamp.ago_ms(now)));
        let optional = [
            ("run", self.run.map(|run| json!(run.to_string()))),
            ("exit_status", self.exit_status.map(|status| json!(status))),
            ("signal", self.signal.as_ref().map(|signal| json!(signal))),
            ("duration_ms", self.duration_ms.map(|ms| json!(ms))),
            ("peak_memory_bytes", self.peak_memory_bytes.map(|bytes| json!(bytes))),
            ("output", self.output.as_ref().map(|output| json!(output))),
            ("figures", (!self.figures.is_empty()).then(|| self.figures.json())),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                put(key, value);
            }
        }
        Value::Object(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parted_at_the_first_slash() {
        let names = Names::parse("shop/backup/daily").unwrap();
        assert_eq!((names.app.as_str(), names.component.as_str()), ("shop", "backup/daily"));
        for wrong in ["shop", "/x", "shop/", "shop/ x", ""] {
            Names::parse(wrong).unwrap_err();
        }
    }

    #[test]
    fn what_is_absent_is_not_sent() {
        let stamp = Stamp { boot_id: "a".to_owned(), boot_ms: 1_000, wall_ms: 0 };
        let now = Stamp { boot_ms: 4_000, ..stamp.clone() };
        let report = SpooledReport::new(Some(Names::parse("a/b").unwrap()), ReportKind::Start, stamp);
        let sent = report.wire(&now);
        assert_eq!(
            sent,
            json!({"app": "a", "component": "b", "kind": "start", "key": report.key.to_string(), "ago_ms": 3000})
        );
    }
}
