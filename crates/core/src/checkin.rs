//! A check-in: one report of a job.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

use crate::excerpt::{self, Excerpt};
use crate::figures::Figures;
use crate::{Invalid, Time, word};

/// The most bytes of notes or body that are kept of one check-in.
pub const NOTES_KEPT: usize = excerpt::KEPT;

/// What a check-in says.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, EnumString, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = Invalid, parse_err_fn = unknown_kind)]
pub enum CheckInKind {
    /// The job did its work.
    Success,
    /// The job has begun.
    Start,
    /// The job ran and failed.
    Fail,
    /// A remark; it affects no conclusion.
    Log,
}

impl CheckInKind {
    /// The word for it in SQL, JSON and pages.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

fn unknown_kind(word: &str) -> Invalid {
    Invalid::new("kind", format!("{word:?}; allowed: {}", word::allowed::<CheckInKind>()))
}

/// A check-in that arrives more than this after it happened counts as reported late.
pub const LATE_AFTER: TimeDelta = TimeDelta::seconds(5);

/// One check-in, parsed at the edge and stamped with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckIn {
    /// What it says.
    pub kind: CheckInKind,
    /// When it happened. This is the time of arrival unless its [`report`](Self::report) says otherwise.
    pub at: Time,
    /// The exit status the job gave, 0 to 255.
    pub exit_code: Option<i32>,
    /// Notes or body, at most [`NOTES_KEPT`] bytes.
    pub notes: String,
    /// The client's address.
    pub source: String,
    /// Pairs a start with its end.
    pub run_id: Option<Uuid>,
    /// The figures (numbers) that it carries.
    pub figures: Figures,
    /// The sender as the audit log names it, if the check-in may create or change its reservation.
    pub by: String,
    /// Further details from an agent; `None` if the job itself sent the check-in.
    pub report: Option<Box<Report>>,
}

/// The details that an agent adds to a check-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The idempotency key: a check-in whose key is already recorded is not recorded again.
    pub key: Option<Uuid>,
    /// When it arrived.
    pub arrived_at: Time,
    /// How long the run took, by the agent's own clock.
    pub took: Option<TimeDelta>,
    /// The signal that ended the run: `SIGTERM`.
    pub signal: Option<String>,
    /// The most memory that the run used, in bytes.
    pub peak_memory_bytes: Option<i64>,
}

impl CheckIn {
    /// A bare check-in of `kind` at `at`.
    pub fn new(kind: CheckInKind, at: Time) -> Self {
        let (notes, source, by) = (String::new(), String::new(), String::new());
        let figures = Figures::default();
        Self { kind, at, exit_code: None, notes, source, run_id: None, figures, by, report: None }
    }

    /// When it arrived.
    pub fn arrived_at(&self) -> Time {
        self.report.as_ref().map_or(self.at, |report| report.arrived_at.max(self.at))
    }

    /// When it arrived, if it was reported late.
    pub fn reported_late_at(&self) -> Option<Time> {
        Some(self.arrived_at()).filter(|arrived| *arrived - self.at > LATE_AFTER)
    }

    /// Whether it ends every run that began before it: true for a success that names no run, and for any failure.
    pub fn ends_all_runs(&self) -> bool {
        self.kind == CheckInKind::Fail || (self.kind == CheckInKind::Success && self.run_id.is_none())
    }
}

/// What is kept of `body` as text: at most [`NOTES_KEPT`] bytes, of its beginning and its end.
pub fn notes_from(body: &[u8]) -> String {
    Excerpt::of(body).text()
}
