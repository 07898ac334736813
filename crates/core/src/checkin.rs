//! A job's report.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Time;
use crate::excerpt::{self, Excerpt};

/// The most bytes of notes or body that are kept of one check-in.
pub const NOTES_KEPT: usize = excerpt::KEPT;

/// What a check-in says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckInKind {
    /// The job did its work.
    Success,
    /// The job has begun.
    Start,
    /// The job ran and failed.
    Fail,
    /// A remark; it changes nothing.
    Log,
}

impl CheckInKind {
    /// The word for it in SQL, JSON and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Start => "start",
            Self::Fail => "fail",
            Self::Log => "log",
        }
    }
}

impl std::str::FromStr for CheckInKind {
    type Err = crate::Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Success, Self::Start, Self::Fail, Self::Log]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| {
                crate::Invalid::new("kind", format!("{text:?}; allowed: success, start, fail, log"))
            })
    }
}

/// One check-in, parsed at the edge and stamped with its time of arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckIn {
    /// What it says.
    pub kind: CheckInKind,
    /// When it arrived.
    pub at: Time,
    /// The exit status the job gave, 0 to 255.
    pub exit_code: Option<i32>,
    /// Notes or body, at most [`NOTES_KEPT`] bytes.
    pub notes: String,
    /// The client's address.
    pub source: String,
    /// Pairs a start with its end.
    pub run_id: Option<Uuid>,
    /// Who sent it, as the audit log names them, where it may make or change its reservation.
    pub by: String,
}

impl CheckIn {
    /// A bare check-in of `kind` at `at`.
    pub fn new(kind: CheckInKind, at: Time) -> Self {
        let (notes, source, by) = (String::new(), String::new(), String::new());
        Self { kind, at, exit_code: None, notes, source, run_id: None, by }
    }

    /// Whether every run begun before this instant is over: a success that names no run, and any failure.
    pub fn ends_all_runs(&self) -> bool {
        self.kind == CheckInKind::Fail || (self.kind == CheckInKind::Success && self.run_id.is_none())
    }
}

/// What is kept of `body` as text: at most [`NOTES_KEPT`] bytes, of its beginning and its end.
pub fn notes_from(body: &[u8]) -> String {
    Excerpt::of(body).text()
}
