//! An alert: one incident of one reservation, opened for a reason, closed by recovery.

use chrono::{Datelike, TimeDelta};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::reservation::Window;
use crate::{Time, duration};

/// The kind of trouble.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, EnumString, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Cause {
    /// The deadline passed with no check-in.
    Missed,
    /// A run took longer than `max_run`.
    Overran,
    /// The job reported a failure, a success sooner than `min_run` allows, or a success with unexpected figures.
    Failed,
}

impl Cause {
    /// The word for it in SQL, JSON and pages.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why an alert opened, with the details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// No check-in arrived by the deadline.
    Missed {
        /// When it was expected.
        expected_at: Time,
        /// The latest time at which it was accepted; the difference from `expected_at` is the grace.
        deadline: Time,
        /// The number of consecutive expected check-ins that are missing, including failures just before them.
        in_a_row: i64,
        /// The time in which a check-in may have been lost.
        unobserved: Option<Unobserved>,
    },
    /// A run did not end in time.
    Overran {
        /// When the run began.
        started_at: Time,
        /// The longest duration allowed, in milliseconds.
        max_run_ms: i64,
        /// The time in which the report of its end may have been lost.
        #[serde(default)]
        unobserved: Option<Unobserved>,
    },
    /// The job reported a failure.
    Failed {
        /// When it reported it.
        at: Time,
        /// The exit status, if the job gave one.
        exit_code: Option<i32>,
        /// The number of consecutive failures.
        in_a_row: i64,
    },
    /// The job reported success after a shorter run than is plausible.
    TooShort {
        /// When it reported it.
        at: Time,
        /// How long the run took, in milliseconds.
        took_ms: i64,
        /// The shortest plausible run (`min_run`), in milliseconds.
        min_run_ms: i64,
    },
    /// The job reported success with unexpected figures.
    Unexpected {
        /// When it reported it.
        at: Time,
        /// The figures and what was expected of them: "rows was 0; expected: rows > 0".
        figures: String,
    },
}

/// The run whose output a message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputOf {
    /// The latest, whether it has ended or not.
    Latest,
    /// The latest that has ended.
    Ended,
    /// The latest that failed.
    Failure,
    /// The latest that succeeded.
    Success,
}

impl Reason {
    /// The run whose output a message with this reason carries.
    pub fn output_of(&self) -> OutputOf {
        match self {
            Self::Failed { .. } => OutputOf::Failure,
            Self::TooShort { .. } | Self::Unexpected { .. } => OutputOf::Ended,
            Self::Missed { .. } | Self::Overran { .. } => OutputOf::Latest,
        }
    }

    /// The kind of trouble.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Missed { .. } => Cause::Missed,
            Self::Overran { .. } => Cause::Overran,
            Self::Failed { .. } | Self::TooShort { .. } | Self::Unexpected { .. } => Cause::Failed,
        }
    }

    /// When the trouble began: the deadline, the run limit, the report.
    pub fn since(&self) -> Time {
        match self {
            Self::Missed { deadline, .. } => *deadline,
            Self::Overran { started_at, max_run_ms, .. } => {
                started_at.checked_add_signed(span(*max_run_ms)).unwrap_or(*started_at)
            }
            Self::Failed { at, .. } | Self::TooShort { at, .. } | Self::Unexpected { at, .. } => *at,
        }
    }

    /// For an overrun: when the run began.
    pub fn run(&self) -> Option<Time> {
        match self {
            Self::Overran { started_at, .. } => Some(*started_at),
            Self::Missed { .. } | Self::Failed { .. } | Self::TooShort { .. } | Self::Unexpected { .. } => {
                None
            }
        }
    }

    /// The reason as a sentence, with times in `zone`:
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
                if let Some(unobserved) = unobserved {
                    text.push_str(&format!(" A check-in may have been lost {}.", unobserved.words(zone)));
                }
                text
            }
            Self::Overran { started_at, max_run_ms, unobserved } => {
                let mut text = format!(
                    "Still running: started at {}, allowed {}.",
                    stamp(*started_at, zone),
                    duration::words(span(*max_run_ms))
                );
                if let Some(unobserved) = unobserved {
                    text.push_str(&format!(" Its end may have been lost {}.", unobserved.words(zone)));
                }
                text
            }
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
            Self::Unexpected { at, figures } => format!("Ended well at {}, but {figures}.", stamp(*at, zone)),
        }
    }
}

/// Time spans in which no check-in of a job could have been received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredUnobserved")]
pub struct Unobserved {
    /// When the first began.
    pub from: Time,
    /// When the last ended.
    pub until: Time,
    /// How many there were.
    pub times: i64,
    /// Their total length, in milliseconds.
    pub total_ms: i64,
}

/// The stored form. Earlier versions stored a single span as the pair of its ends.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredUnobserved {
    Ends(Time, Time),
    Spans { from: Time, until: Time, times: i64, total_ms: i64 },
}

impl From<StoredUnobserved> for Unobserved {
    fn from(stored: StoredUnobserved) -> Self {
        match stored {
            StoredUnobserved::Ends(from, until) => Self::from(Window { from, until }),
            StoredUnobserved::Spans { from, until, times, total_ms } => Self { from, until, times, total_ms },
        }
    }
}

impl From<Window> for Unobserved {
    fn from(Window { from, until }: Window) -> Self {
        Self { from, until, times: 1, total_ms: (until - from).num_milliseconds() }
    }
}

impl Unobserved {
    /// These spans and one more.
    #[must_use]
    pub fn and(self, window: Window) -> Self {
        Self {
            from: self.from.min(window.from),
            until: self.until.max(window.until),
            times: self.times.saturating_add(1),
            total_ms: self.total_ms.saturating_add((window.until - window.from).num_milliseconds()),
        }
    }

    /// The spans as a clause, with times in `zone`: "from 2026-11-20 02:00:05 UTC to 2026-11-20
    /// 02:01:00 UTC, when none could be heard".
    pub fn words(&self, zone: Tz) -> String {
        let (from, until) = (precise(self.from, zone), precise(self.until, zone));
        let total = duration::words(span(self.total_ms / 1000 * 1000));
        let total = if self.total_ms < 1000 { "less than a second".to_owned() } else { total };
        match self.times {
            ..=1 if from == until => format!("at {from}, when for {total} none could be heard"),
            ..=1 => format!("from {from} to {until}, when none could be heard"),
            times if from == until => format!("at {from}, when {times} times none could be heard"),
            times => {
                format!(
                    "between {from} and {until}, when {times} times none could be heard, for {total} in all"
                )
            }
        }
    }
}

/// A duration of `ms` milliseconds; zero if that overflows.
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
    /// When people were last notified, at its opening or by a reminder.
    pub told_at: Time,
    /// The latest success known when it opened; any later one is a recovery.
    pub success_before: Option<Time>,
    /// Late reports have shown that the job was well until this success; the alert is open for what is missing after
    /// it.
    pub answered_until: Option<Time>,
}

/// An instant to the second: "2026-11-20 02:05:00 CET".
fn precise(at: Time, zone: Tz) -> String {
    at.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// An instant, with seconds only if they are not zero: "2026-11-20 02:05 CET".
pub fn stamp(at: Time, zone: Tz) -> String {
    let whole_minute = at.timestamp().rem_euclid(60) == 0;
    let form = if whole_minute { "%Y-%m-%d %H:%M %Z" } else { "%Y-%m-%d %H:%M:%S %Z" };
    at.with_timezone(&zone).format(form).to_string()
}

/// An instant as messages write it: "Wed 25 Nov at 04:24 (Europe/Berlin)". The year is added if it differs from
/// `now`'s.
pub fn moment(at: Time, now: Time, zone: Tz) -> String {
    format!("{} ({zone})", day_and_time(at, now, zone))
}

/// Like [`moment`], with the time first: "04:24 on Wed 25 Nov (Europe/Berlin)".
pub fn time_and_day(at: Time, now: Time, zone: Tz) -> String {
    let (at, now) = (at.with_timezone(&zone), now.with_timezone(&zone));
    let form = if at.year() == now.year() { "%H:%M on %a %-d %b" } else { "%H:%M on %a %-d %b %Y" };
    format!("{} ({zone})", at.format(form))
}

/// Like [`moment`], without the zone: "Wed 25 Nov at 04:24".
pub fn day_and_time(at: Time, now: Time, zone: Tz) -> String {
    let (at, now) = (at.with_timezone(&zone), now.with_timezone(&zone));
    let form = if at.year() == now.year() { "%a %-d %b at %H:%M" } else { "%a %-d %b %Y at %H:%M" };
    at.format(form).to_string()
}
