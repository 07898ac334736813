//! The wall clock: sets of numbers, times of day, and the instants at which the clock of a zone
//! shows them.

use chrono::{
    DateTime, Datelike, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Timelike,
};
use chrono_tz::Tz;

use crate::Time;

/// The longest gap of a wall clock. None has been longer than a day: Samoa skipped 30 December
/// 2011.
const LONGEST_GAP: TimeDelta = TimeDelta::hours(26);

/// A set of numbers from 0 to 59.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers(u64);

impl Numbers {
    pub fn insert(&mut self, number: u32) {
        self.0 |= 1 << number;
    }

    pub fn extend(&mut self, others: Self) {
        self.0 |= others.0;
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn has(self, number: u32) -> bool {
        self.0 >> number & 1 == 1
    }

    /// The first number that is `least` or greater.
    fn from(self, least: u32) -> Option<u32> {
        let rest = self.0.checked_shr(least).unwrap_or(0);
        (rest != 0).then(|| least + rest.trailing_zeros())
    }

    fn first(self) -> Option<u32> {
        self.from(0)
    }
}

impl FromIterator<u32> for Numbers {
    fn from_iter<T: IntoIterator<Item = u32>>(numbers: T) -> Self {
        let mut all = Self::default();
        numbers.into_iter().for_each(|number| all.insert(number));
        all
    }
}

/// Times of day: each combination of these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    pub hours: Numbers,
    pub minutes: Numbers,
    pub seconds: Numbers,
}

impl Times {
    /// The first time at or after `time`.
    fn from(&self, time: NaiveTime) -> Option<NaiveTime> {
        let (hour, minute) = (time.hour(), time.minute());
        let this_minute = || {
            let second = self.minutes.has(minute).then(|| self.seconds.from(time.second()))??;
            Some((hour, minute, second))
        };
        let this_hour = || Some((hour, self.minutes.from(minute + 1)?, self.seconds.first()?));
        let later = || Some((self.hours.from(hour + 1)?, self.minutes.first()?, self.seconds.first()?));
        let within = self.hours.has(hour).then(|| this_minute().or_else(this_hour)).flatten();
        let (hour, minute, second) = within.or_else(later)?;
        NaiveTime::from_hms_opt(hour, minute, second)
    }
}

/// A set of days, with the times of day at which something is to happen on them.
pub trait Days {
    /// The times of day.
    fn times(&self) -> &Times;
    /// Whether this month may contain one of the days.
    fn in_month(&self, year: i32, month: u32) -> bool;
    /// Whether this day is one of the days, in a month for which [`Self::in_month`] is true.
    fn on(&self, date: NaiveDate) -> bool;

    /// The first such second of the wall clock after `after`, up to the end of the year `last`.
    fn next(&self, after: NaiveDateTime, last: i32) -> Option<NaiveDateTime> {
        let from = after.with_nanosecond(0)?.checked_add_signed(TimeDelta::seconds(1))?;
        let (mut date, mut time) = (from.date(), from.time());
        while date.year() <= last {
            if !self.in_month(date.year(), date.month()) {
                (date, time) = (first_of_next_month(date)?, NaiveTime::MIN);
                continue;
            }
            if self.on(date)
                && let Some(time) = self.times().from(time)
            {
                return Some(date.and_time(time));
            }
            (date, time) = (date.succ_opt()?, NaiveTime::MIN);
        }
        None
    }
}

fn first_of_next_month(date: NaiveDate) -> Option<NaiveDate> {
    let (year, month) =
        if date.month() == 12 { (date.year() + 1, 1) } else { (date.year(), date.month() + 1) };
    NaiveDate::from_ymd_opt(year, month, 1)
}

/// What the clock of `zone` shows at `at`.
pub fn shown(zone: Tz, at: Time) -> NaiveDateTime {
    at.with_timezone(&zone).naive_local()
}

/// When the clock of `zone` first shows `wall`; `None` if it skips that time.
pub fn first_shown(zone: Tz, wall: NaiveDateTime) -> Option<Time> {
    let at: LocalResult<DateTime<Tz>> = zone.from_local_datetime(&wall);
    at.earliest().map(|at| at.to_utc())
}

/// Whether the clock of `zone` will later show the same time again as at `at`.
pub fn comes_again(zone: Tz, at: Time) -> bool {
    match zone.from_local_datetime(&shown(zone, at)) {
        LocalResult::Ambiguous(first, _) => first.to_utc() == at,
        _ => false,
    }
}

/// The first instant after the gap of the wall clock in which `wall` lies.
pub fn end_of_gap(zone: Tz, wall: NaiveDateTime) -> Option<Time> {
    let there = |seconds: i64| first_shown(zone, wall.checked_add_signed(TimeDelta::seconds(seconds))?);
    let (mut inside, mut beyond) = (0, LONGEST_GAP.num_seconds());
    while beyond - inside > 1 {
        let middle = (inside + beyond) / 2;
        if there(middle).is_some() { beyond = middle } else { inside = middle }
    }
    there(beyond)
}
