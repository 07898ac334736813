//! A cron expression in a time zone: the instants at which it comes about.

mod fields;
mod parse;

use chrono::{DateTime, Datelike};
use chrono_tz::Tz;

use self::fields::Fields;
use super::wall::{self, Days as _};
use super::zone;
use crate::{Invalid, Time};

/// The Gregorian calendar begins anew after so many years.
const CYCLE: i32 = 400;
/// Nothing is looked for beyond this year.
const LAST_YEAR: i32 = 4999;

/// A cron expression and its time zone, both checked.
#[derive(Debug, Clone, PartialEq)]
pub struct CronSchedule {
    expression: String,
    /// The same with a nickname like `@hourly` written out.
    written: String,
    zone: Tz,
    fields: Box<Fields>,
    /// Whether it follows the clock (`*` in its second, minute or hour) rather than naming times of day.
    follows_clock: bool,
}

impl CronSchedule {
    /// See [`super::Schedule::cron`].
    pub(super) fn new(expression: &str, time_zone: &str) -> Result<Self, Invalid> {
        // Tabs and runs of blanks separate fields in a crontab, too.
        let expression = expression.trim().replace('\t', " ");
        crate::names::one_line("cron", &expression, 200)?;
        let expression = expression.split_whitespace().collect::<Vec<_>>().join(" ");
        let zone = zone::parse("time_zone", time_zone)?;
        let (fields, written) = parse::parse(&expression).map_err(|problem| {
            Invalid::new("cron", format!("{expression:?} is not a cron expression: {problem}"))
        })?;
        let written: Vec<&str> = written.split(' ').collect();
        let times = written.get(..written.len().saturating_sub(3)).unwrap_or_default();
        let follows_clock = times.iter().any(|field| field.contains('*'));
        let written = written.join(" ");
        let schedule = Self { expression, written, zone, fields: Box::new(fields), follows_clock };
        if schedule.next_after(DateTime::UNIX_EPOCH).is_none() {
            return Err(Invalid::new("cron", format!("{:?} never comes about", schedule.expression)));
        }
        Ok(schedule)
    }

    /// The expression, with its fields separated by one blank each.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The expression with a nickname like `@hourly` written out.
    pub(super) fn written(&self) -> &str {
        &self.written
    }

    /// The zone whose clock the expression speaks of.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The first scheduled instant after `after`. None only beyond the end of the calendar.
    ///
    /// The fields walk the wall clock; what a clock leaves out or shows twice is decided here. Clock changes
    /// follow Vixie cron for what the clock leaves out: a fixed time in the gap moves to its end, a wildcard
    /// one is simply not there. What comes twice is expected once, the first time: schedulers disagree about
    /// the second, and a monitor that waits for a run that never was planned cries wolf.
    pub(super) fn next_after(&self, after: Time) -> Option<Time> {
        let after = after.max(DateTime::UNIX_EPOCH);
        if after.year() >= LAST_YEAR {
            return None;
        }
        // What does not come within a cycle of the calendar never comes.
        let last = (after.year() + CYCLE).min(LAST_YEAR);
        let mut wall = wall::shown(self.zone, after);
        loop {
            wall = self.fields.next(wall, last)?;
            let at = match wall::first_shown(self.zone, wall) {
                Some(at) => at,
                None if self.follows_clock => continue,
                None => wall::end_of_gap(self.zone, wall)?,
            };
            if at > after {
                return Some(at);
            }
        }
    }
}
