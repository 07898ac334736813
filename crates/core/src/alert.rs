//! An alert: one incident of one reservation, opened for a reason, closed by recovery.

use chrono::TimeDelta;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::{Time, duration};

/// The kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The deadline passed with no check-in.
    Missed,
    /// A run took longer than `max_run`.
    Overran,
    /// The job reported a failure, or a success sooner than `min_run` allows.
    Failed,
}

impl Cause {
    /// The word for it in SQL, JSON and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Overran => "overran",
            Self::Failed => "failed",
        }
    }
}

/// Why an alert opened, in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// Nothing came by the deadline.
    Missed {
        /// When it was expected.
        expected_at: Time,
        /// Until when it could come; the difference is the grace.
        deadline: Time,
        /// How many expected check-ins in a row have not come, failures before them included.
        in_a_row: i64,
        /// A span in which a check-in may have been lost on the way, from and until.
        unobserved: Option<(Time, Time)>,
    },
    /// A run did not end in time.
    Overran {
        /// When the run began.
        started_at: Time,
        /// The longest it may take, in milliseconds.
        max_run_ms: i64,
    },
    /// The job said that it failed.
    Failed {
        /// When it said so.
        at: Time,
        /// The exit status, where it gave one.
        exit_code: Option<i32>,
        /// How many failures in a row.
        in_a_row: i64,
    },
    /// The job said it succeeded sooner than it can have.
    TooShort {
        /// When it said so.
        at: Time,
        /// How long the run took, in milliseconds.
        took_ms: i64,
        /// The shortest that an honest run takes, in milliseconds.
        min_run_ms: i64,
    },
}

impl Reason {
    /// The kind of trouble.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Missed { .. } => Cause::Missed,
            Self::Overran { .. } => Cause::Overran,
            Self::Failed { .. } | Self::TooShort { .. } => Cause::Failed,
        }
    }

    /// When the trouble began: the deadline, the run limit, the report.
    pub fn since(&self) -> Time {
        match self {
            Self::Missed { deadline, .. } => *deadline,
            Self::Overran { started_at, max_run_ms } => {
                started_at.checked_add_signed(span(*max_run_ms)).unwrap_or(*started_at)
            }
            Self::Failed { at, .. } | Self::TooShort { at, .. } => *at,
        }
    }

    /// The reason as a sentence, its times on the clock of `zone`:
    /// "Overdue since 02:05 on 20 Nov (Europe/Berlin): expected at 02:00, grace 5 minutes."
    pub fn sentence(&self, zone: Tz) -> String {
        match self {
            Self::Missed { expected_at, deadline, in_a_row, unobserved } => {
                let mut text = format!(
                    "Overdue since {}: expected at {}",
                    stamp(*deadline, zone),
                    stamp(*expected_at, zone)
                );
                let grace = *deadline - *expected_at;
                if grace > TimeDelta::zero() && unobserved.is_none() {
                    text.push_str(&format!(", grace {}", duration::words(grace)));
                }
                if *in_a_row > 1 {
                    text.push_str(&format!(", {in_a_row} in a row"));
                }
                text.push('.');
                if let Some((from, until)) = unobserved {
                    text.push_str(&format!(
                        " A check-in may have been lost from {} to {}, when none could be recorded.",
                        stamp(*from, zone),
                        stamp(*until, zone)
                    ));
                }
                text
            }
            Self::Overran { started_at, max_run_ms } => format!(
                "Still running: started at {}, allowed {}.",
                stamp(*started_at, zone),
                duration::words(span(*max_run_ms))
            ),
            Self::Failed { at, exit_code, in_a_row } => {
                let mut text = format!("Failed at {}", stamp(*at, zone));
                if let Some(code) = exit_code {
                    text.push_str(&format!(" with exit status {code}"));
                }
                if *in_a_row > 1 {
                    text.push_str(&format!(", {in_a_row} in a row"));
                }
                text.push('.');
                text
            }
            Self::TooShort { at, took_ms, min_run_ms } => format!(
                "Ended at {} after only {}; an honest run takes at least {}.",
                stamp(*at, zone),
                duration::words(span(*took_ms)),
                duration::words(span(*min_run_ms))
            ),
        }
    }
}

/// So many milliseconds; none at all where a row says more than a duration holds.
fn span(ms: i64) -> TimeDelta {
    TimeDelta::try_milliseconds(ms).unwrap_or_default()
}

/// The alert that is open on a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAlert {
    /// Its number.
    pub id: i64,
    /// When it opened.
    pub opened_at: Time,
    /// Why.
    pub reason: Reason,
    /// When it was last told: at its opening or by a reminder.
    pub told_at: Time,
    /// The latest success known when it opened; a later one is recovery.
    pub success_before: Option<Time>,
}

/// An instant for people: "2026-11-20 02:05:00 CET", seconds left out when they are zero.
pub fn stamp(at: Time, zone: Tz) -> String {
    let whole_minute = at.timestamp().rem_euclid(60) == 0;
    let form = if whole_minute { "%Y-%m-%d %H:%M %Z" } else { "%Y-%m-%d %H:%M:%S %Z" };
    at.with_timezone(&zone).format(form).to_string()
}
