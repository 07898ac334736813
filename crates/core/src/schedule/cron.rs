//! Schedules of cron expressions, in a time zone.

mod fields;
mod parse;

use chrono::{DateTime, Datelike};
use chrono_tz::Tz;

use self::fields::Fields;
use super::wall::{self, Days as _};
use super::zone;
use crate::{Invalid, Time};

/// The period of the Gregorian calendar, in years.
const CYCLE: i32 = 400;
/// The last year in which instants are searched.
const LAST_YEAR: i32 = 4999;

/// A cron expression and its time zone, both checked.
#[derive(Debug, Clone, PartialEq)]
pub struct CronSchedule {
    expression: String,
    /// The expression with a nickname like `@hourly` written out.
    written: String,
    zone: Tz,
    fields: Box<Fields>,
    /// Whether it follows the clock (`*` in its second, minute or hour) rather than naming times of day.
    follows_clock: bool,
}

impl CronSchedule {
    /// See [`super::Schedule::cron`].
    pub(super) fn new(expression: &str, time_zone: &str) -> Result<Self, Invalid> {
        // Tabs and several blanks also separate fields in a crontab.
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

    /// The time zone of the expression.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The first scheduled instant after `after`. `None` only after the end of the calendar.
    ///
    /// The fields give times of the wall clock. Times that the clock skips are treated as in Vixie
    /// cron: a fixed time moves to the end of the gap, and a wildcard time does not occur. A time
    /// that the clock shows twice is expected once, the first time: schedulers differ on whether
    /// they run the job a second time, and a monitor must not raise an alert for a run that was
    /// never planned.
    pub(super) fn next_after(&self, after: Time) -> Option<Time> {
        let after = after.max(DateTime::UNIX_EPOCH);
        if after.year() >= LAST_YEAR {
            return None;
        }
        // A time that does not occur within one period of the calendar never occurs.
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
