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
    /// The job reported a failure, a success sooner than `min_run` allows, or one whose figures are other than expected.
    Failed,
}

impl Cause {
    /// The word for it in SQL, JSON and pages.
    pub fn as_str(self) -> &'static str {
        self.into()
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
        /// When a check-in may have been lost on the way.
        unobserved: Option<Unobserved>,
    },
    /// A run did not end in time.
    Overran {
        /// When the run began.
        started_at: Time,
        /// The longest it may take, in milliseconds.
        max_run_ms: i64,
        /// When its end may have been lost on the way.
        #[serde(default)]
        unobserved: Option<Unobserved>,
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
    /// The job said it succeeded, and its figures are other than expected.
    Unexpected {
        /// When it said so.
        at: Time,
        /// Which, and what was expected: "rows was 0; expected: rows > 0".
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
    /// The run whose output a message about this carries.
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

    /// When the run began that is over its limit, where that is the reason.
    pub fn run(&self) -> Option<Time> {
        match self {
            Self::Overran { started_at, .. } => Some(*started_at),
            Self::Missed { .. } | Self::Failed { .. } | Self::TooShort { .. } | Self::Unexpected { .. } => {
                None
            }
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

/// Spans in which a job could not have been heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredUnobserved")]
pub struct Unobserved {
    /// When the first began.
    pub from: Time,
    /// When the last ended.
    pub until: Time,
    /// How many there were.
    pub times: i64,
    /// How long they were together, in milliseconds.
    pub total_ms: i64,
}

/// As rows have it: until 2026 one span, by its ends alone.
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

    /// When nothing could be heard, on the clock of `zone`: "from 02:00:05 UTC to 02:01:00 UTC, when none could be heard".
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
    /// Up to this success reports that came late have shown that the job was well, and the alert is open for what is missing after it.
    pub answered_until: Option<Time>,
}

/// An instant for people to the second: "2026-11-20 02:05:00 CET".
fn precise(at: Time, zone: Tz) -> String {
    at.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// An instant for people: "2026-11-20 02:05:00 CET", seconds left out when they are zero.
pub fn stamp(at: Time, zone: Tz) -> String {
    let whole_minute = at.timestamp().rem_euclid(60) == 0;
    let form = if whole_minute { "%Y-%m-%d %H:%M %Z" } else { "%Y-%m-%d %H:%M:%S %Z" };
    at.with_timezone(&zone).format(form).to_string()
}

/// An instant as messages say it: "Wed 25 Nov at 04:24 (Europe/Berlin)"; with its year where that is not `now`'s.
pub fn moment(at: Time, now: Time, zone: Tz) -> String {
    format!("{} ({zone})", day_and_time(at, now, zone))
}

/// The same the other way round: "04:24 on Wed 25 Nov (Europe/Berlin)".
pub fn time_and_day(at: Time, now: Time, zone: Tz) -> String {
    let (at, now) = (at.with_timezone(&zone), now.with_timezone(&zone));
    let form = if at.year() == now.year() { "%H:%M on %a %-d %b" } else { "%H:%M on %a %-d %b %Y" };
    format!("{} ({zone})", at.format(form))
}

/// The same where the zone is said beside it: "Wed 25 Nov at 04:24".
pub fn day_and_time(at: Time, now: Time, zone: Tz) -> String {
    let (at, now) = (at.with_timezone(&zone), now.with_timezone(&zone));
    let form = if at.year() == now.year() { "%a %-d %b at %H:%M" } else { "%a %-d %b %Y at %H:%M" };
    at.format(form).to_string()
}
