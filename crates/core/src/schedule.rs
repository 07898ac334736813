//! When a job is expected.

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::{Invalid, Time, duration};

/// A check-in this long before a scheduled instant, or less, counts for that instant.
pub const EARLY: TimeDelta = TimeDelta::seconds(60);

/// The promise's rhythm.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// Every so often, counted from the last check-in.
    Every(TimeDelta),
    /// At the instants of a cron expression in a time zone.
    Cron(CronSchedule),
}

/// A cron expression and its time zone, both checked.
#[derive(Debug, Clone, PartialEq)]
pub struct CronSchedule {
    expression: String,
    zone: Tz,
    cron: Box<Cron>,
}

impl Schedule {
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
        let zone: Tz = time_zone.parse().map_err(|_| {
            Invalid::new(
                "time_zone",
                format!("{time_zone:?} is not a time zone; write one like UTC or Europe/Berlin"),
            )
        })?;
        let cron = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .build()
            .parse(expression)
            .map_err(|error| {
                Invalid::new("cron", format!("{expression:?} is not a cron expression: {error}"))
            })?;
        let schedule = CronSchedule { expression: expression.to_owned(), zone, cron: Box::new(cron) };
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
                let early = EARLY.min(cron.gap_after(next).map_or(EARLY, |gap| gap / 2));
                if by_checkin && next - heard <= early { cron.next_after(next) } else { Some(next) }
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

    /// The first scheduled instant after `after`.
    ///
    /// Clock changes follow Vixie cron for what the clock leaves out: a fixed time in the gap moves to its end,
    /// a wildcard one is simply not there. What comes twice is expected once, the first time: schedulers
    /// disagree about the second, and a monitor that waits for a run that never was planned cries wolf.
    fn next_after(&self, after: Time) -> Option<Time> {
        let mut from = after.with_timezone(&self.zone);
        loop {
            let next = self.cron.find_next_occurrence(&from, false).ok()?;
            if !self.is_repeat(&next) {
                return Some(next.to_utc());
            }
            from = next;
        }
    }

    fn gap_after(&self, expected_at: Time) -> Option<TimeDelta> {
        self.next_after(expected_at).map(|next| next - expected_at)
    }

    /// Whether the wall clock shows this time for the second time.
    fn is_repeat(&self, at: &DateTime<Tz>) -> bool {
        let wall: NaiveDateTime = at.naive_local();
        matches!(self.zone.from_local_datetime(&wall), LocalResult::Ambiguous(first, _) if first != *at)
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
