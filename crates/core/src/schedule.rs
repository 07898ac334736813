//! When a job is expected.

mod words;

use chrono::{DateTime, Datelike, LocalResult, NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::reservation::{Frequency, TimeUnit};
use crate::{Invalid, Time, duration};

/// A check-in this long before a scheduled instant, or less, counts for that instant.
pub const EARLY: TimeDelta = TimeDelta::seconds(60);

/// No clock was ever put forward by more than a day (Samoa left out 30 December 2011).
const LONGEST_GAP: TimeDelta = TimeDelta::hours(26);
/// Cron is not asked beyond this year.
const LAST_YEAR: i32 = 4999;

/// The promise's rhythm.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// Every so often, counted from the last check-in.
    Every(TimeDelta),
    /// At the instants of a cron expression in a time zone.
    Cron(CronSchedule),
}

/// The four fields that say when a job is expected: `frequency` and `time_units`, or `cron` and `time_zone`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts<'a> {
    /// How many `time_units` lie between check-ins.
    pub frequency: Option<i64>,
    /// `seconds`, `minutes`, `hours` or `days`.
    pub time_units: Option<&'a str>,
    /// A cron expression.
    pub cron: Option<&'a str>,
    /// The zone whose clock it speaks of; UTC where it is absent.
    pub time_zone: Option<&'a str>,
}

/// A cron expression and its time zone, both checked.
#[derive(Debug, Clone, PartialEq)]
pub struct CronSchedule {
    expression: String,
    zone: Tz,
    cron: Box<Cron>,
    /// Whether it follows the clock (`*` in its second, minute or hour) rather than naming times of day.
    follows_clock: bool,
}

impl Schedule {
    /// The schedule that these fields say, and the frequency as it was written; none where they say nothing.
    pub fn of_parts(parts: Parts<'_>) -> Result<Option<(Self, Option<Frequency>)>, Invalid> {
        let missing = |field, partner| Invalid::new(field, format!("is missing; {partner} goes with it"));
        let frequency = match (parts.frequency, parts.time_units) {
            (Some(count), Some(unit)) => Some(Frequency::parse("frequency", count, TimeUnit::parse(unit)?)?),
            (Some(_), None) => return Err(missing("time_units", "frequency")),
            // Alone they would change nothing, and be answered OK.
            (None, Some(_)) => return Err(missing("frequency", "time_units")),
            (None, None) => None,
        };
        match (frequency, parts.cron) {
            (_, None) if parts.time_zone.is_some() => Err(missing("cron", "time_zone")),
            (Some(_), Some(_)) => Err(Invalid::new("cron", "stands beside frequency; give one of them")),
            (Some(frequency), None) => Ok(Some((Self::every(frequency.span())?, Some(frequency)))),
            (None, Some(cron)) => Ok(Some((Self::cron(cron, parts.time_zone.unwrap_or("UTC"))?, None))),
            (None, None) => Ok(None),
        }
    }

    /// Every `period`: whole seconds, from one second to ten years.
    pub fn every(period: TimeDelta) -> Result<Self, Invalid> {
        if period < TimeDelta::seconds(1) || period > duration::LONGEST || period.subsec_nanos() != 0 {
            return Err(Invalid::new("frequency", "must be whole seconds, from 1 second to 3650 days"));
        }
        Ok(Self::Every(period))
    }

    /// A cron expression of five fields (minute, hour, day of month, month, day of week), or six with
    /// seconds first, in the zone `time_zone` (`Europe/Berlin`). It must come about at some time.
    pub fn cron(expression: &str, time_zone: &str) -> Result<Self, Invalid> {
        let expression = expression.trim();
        crate::names::one_line("cron", expression, 200)?;
        crate::names::one_line("time_zone", time_zone, 100)?;
        let zone: Tz = time_zone.parse().map_err(|_| {
            Invalid::new(
                "time_zone",
                format!("{time_zone:?} is not a time zone; write one like UTC or Europe/Berlin"),
            )
        })?;
        let wrong = |problem: &dyn std::fmt::Display| {
            Invalid::new("cron", format!("{expression:?} is not a cron expression: {problem}"))
        };
        let fields: Vec<&str> = expression.split_whitespace().collect();
        if fields.iter().any(|field| field.split(',').any(str::is_empty)) {
            // croner takes it for an empty set, and looks for it until the year 5000.
            return Err(wrong(&"a list has an empty place"));
        }
        let starred = |from_end: usize| {
            fields.iter().rev().nth(from_end).is_some_and(|field| field.starts_with(['*', '?']))
        };
        let cron = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            // As in Vixie cron: where day of month or day of week begins with `*`, also as `*/2`, both must fit.
            .dom_and_dow(starred(0) || starred(2))
            .build()
            .parse(expression)
            .map_err(|error| wrong(&error))?;
        // Of the text in which names like `@hourly` are written out.
        let written: Vec<&str> = cron.as_str().split_whitespace().collect();
        let times = written.get(..written.len().saturating_sub(3)).unwrap_or_default();
        let follows_clock = times.iter().any(|field| field.contains('*'));
        let schedule =
            CronSchedule { expression: expression.to_owned(), zone, cron: Box::new(cron), follows_clock };
        if schedule.next_after(DateTime::UNIX_EPOCH).is_none() {
            return Err(Invalid::new("cron", format!("{expression:?} never comes about")));
        }
        Ok(Self::Cron(schedule))
    }

    /// The next expected instant when the job was last heard of at `heard`, by a check-in (`true`) or by
    /// another anchor. None only beyond the end of the calendar.
    pub fn expected_after(&self, heard: Time, by_checkin: bool) -> Option<Time> {
        match self {
            Self::Every(period) => heard.checked_add_signed(*period),
            Self::Cron(cron) => {
                let next = cron.next_after(heard)?;
                if by_checkin && cron.is_early_for(heard, next) { cron.next_after(next) } else { Some(next) }
            }
        }
    }

    /// The expected instant that follows the expected instant `expected_at`.
    pub fn following(&self, expected_at: Time) -> Option<Time> {
        match self {
            Self::Every(period) => expected_at.checked_add_signed(*period),
            Self::Cron(cron) => cron.next_after(expected_at),
        }
    }

    /// The next `count` expected instants after `now`, when the one that is next due is `expected_at` and each check-in comes at its instant.
    pub fn coming(&self, expected_at: Time, now: Time, count: usize) -> Vec<Time> {
        let first = match self {
            _ if expected_at > now => Some(expected_at),
            Self::Every(period) => {
                let passed = (now - expected_at).num_milliseconds() / period.num_milliseconds().max(1) + 1;
                let on = passed.checked_mul(period.num_milliseconds()).and_then(TimeDelta::try_milliseconds);
                on.and_then(|on| expected_at.checked_add_signed(on))
            }
            Self::Cron(cron) => cron.next_after(now),
        };
        std::iter::successors(first, |at| self.following(*at)).take(count).collect()
    }

    /// The time between the expected instant `expected_at` and the one that follows it.
    pub fn period_at(&self, expected_at: Time) -> TimeDelta {
        match self {
            Self::Every(period) => *period,
            Self::Cron(cron) => cron.gap_after(expected_at).unwrap_or(duration::LONGEST),
        }
    }

    /// The zone in which the schedule's times are best shown.
    pub fn zone(&self) -> Tz {
        match self {
            Self::Every(_) => Tz::UTC,
            Self::Cron(cron) => cron.zone,
        }
    }
}

impl CronSchedule {
    /// The expression as it was written.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The zone whose clock the expression speaks of.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The first scheduled instant after `after`. None only beyond the end of the calendar.
    ///
    /// croner walks the wall clock; what a clock leaves out or shows twice is decided here. Clock changes
    /// follow Vixie cron for what the clock leaves out: a fixed time in the gap moves to its end, a wildcard
    /// one is simply not there. What comes twice is expected once, the first time: schedulers disagree about
    /// the second, and a monitor that waits for a run that never was planned cries wolf.
    fn next_after(&self, after: Time) -> Option<Time> {
        let after = after.max(DateTime::UNIX_EPOCH);
        if after.year() >= LAST_YEAR {
            return None;
        }
        let mut wall = after.with_timezone(&self.zone).naive_local();
        loop {
            wall = self.cron.find_next_occurrence(&wall, false).ok()?;
            let at = match self.zone.from_local_datetime(&wall) {
                LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.to_utc(),
                LocalResult::None if self.follows_clock => continue,
                LocalResult::None => self.end_of_gap(wall)?,
            };
            if at > after {
                return Some(at);
            }
        }
    }

    /// The first instant after the gap of the wall clock in which `wall` lies.
    fn end_of_gap(&self, wall: NaiveDateTime) -> Option<Time> {
        let there = |seconds: i64| {
            let wall = wall.checked_add_signed(TimeDelta::seconds(seconds))?;
            self.zone.from_local_datetime(&wall).earliest()
        };
        let (mut inside, mut beyond) = (0, LONGEST_GAP.num_seconds());
        while beyond - inside > 1 {
            let middle = (inside + beyond) / 2;
            if there(middle).is_some() { beyond = middle } else { inside = middle }
        }
        there(beyond).map(|at| at.to_utc())
    }

    fn gap_after(&self, expected_at: Time) -> Option<TimeDelta> {
        self.next_after(expected_at).map(|next| next - expected_at)
    }

    /// Whether a check-in at `heard` counts for `next`, the first scheduled instant after it: it is early by
    /// [`EARLY`] or less, and nearer to it than to the one before.
    fn is_early_for(&self, heard: Time, next: Time) -> bool {
        let early = next - heard;
        early <= EARLY && self.next_after(heard - early) == Some(next)
    }
}

impl std::fmt::Display for Schedule {
    /// "every 5 minutes"; "at 0 2 * * *, Europe/Berlin".
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Every(period) => write!(f, "every {}", duration::words(*period)),
            Self::Cron(cron) => write!(f, "at {}, {}", cron.expression, cron.zone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_coming_begins_after_now() {
        let at = |seconds: i64| DateTime::UNIX_EPOCH + TimeDelta::seconds(1_000_000 + seconds);
        let every = Schedule::every(TimeDelta::seconds(10)).unwrap();
        assert_eq!(every.coming(at(5), at(0), 3), [at(5), at(15), at(25)]);
        assert_eq!(every.coming(at(5), at(5), 2), [at(15), at(25)], "what is due now is not to come");
        assert_eq!(every.coming(at(5), at(40_000_000), 1), [at(40_000_005)], "after a long silence");
        let cron = Schedule::cron("0 2 * * *", "Europe/Berlin").unwrap();
        let five = cron.coming(at(0), at(100), 5);
        assert_eq!((five.len(), five.is_sorted(), five[4] - five[0]), (5, true, TimeDelta::days(4)));
        assert!(five[0] > at(100));
        assert!(cron.coming(Time::MAX_UTC, Time::MAX_UTC, 5).is_empty());
    }
}
