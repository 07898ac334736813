//! The fields of a cron expression as sets of numbers, and the walk over the wall clock that they describe.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Weekday};

/// The Gregorian calendar begins anew after so many years: what does not come within them never comes.
const CYCLE: i32 = 400;

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

    fn has(self, number: u32) -> bool {
        self.0 >> number & 1 == 1
    }

    /// The first that is `least` or more.
    fn from(self, least: u32) -> Option<u32> {
        let rest = self.0.checked_shr(least).unwrap_or(0);
        (rest != 0).then(|| least + rest.trailing_zeros())
    }

    fn first(self) -> Option<u32> {
        self.from(0)
    }
}

/// The days of a month that the third field names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DaysOfMonth {
    /// 1 to 31.
    pub days: Numbers,
    /// `L`: the last day.
    pub last: bool,
    /// `LW`: the last day from Monday to Friday.
    pub last_workday: bool,
    /// `15W`: the day from Monday to Friday in the same month that is nearest to this one.
    pub nearest_workday: Numbers,
}

/// The days of the week that the fifth field names; 0 is Sunday.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DaysOfWeek {
    /// Every such day.
    pub every: Numbers,
    /// `5L`, `5#L`: the last such day of the month.
    pub last: Numbers,
    /// `5#2`: the second such day of the month, and so on.
    pub nth: [Numbers; 5],
}

/// All fields. An empty set matches nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    pub seconds: Numbers,
    pub minutes: Numbers,
    pub hours: Numbers,
    pub days_of_month: DaysOfMonth,
    pub months: Numbers,
    pub days_of_week: DaysOfWeek,
    /// Whether both day fields must fit. As in Vixie cron that is so where either begins with `*`, also as `*/2`; otherwise one is enough.
    pub both_days: bool,
}

impl Fields {
    /// The first matching second of the wall clock after `after`, if there is any.
    pub fn next(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let from = after.with_nanosecond(0)?.checked_add_signed(TimeDelta::seconds(1))?;
        let (mut date, mut time) = (from.date(), from.time());
        let last_year = date.year().checked_add(CYCLE)?;
        while date.year() <= last_year {
            if !self.months.has(date.month()) {
                (date, time) = (first_of_next_month(date)?, NaiveTime::MIN);
                continue;
            }
            if self.on(date)
                && let Some(time) = self.time_from(time)
            {
                return Some(date.and_time(time));
            }
            (date, time) = (date.succ_opt()?, NaiveTime::MIN);
        }
        None
    }

    /// Whether the day fields fit this day of a month that fits.
    fn on(&self, date: NaiveDate) -> bool {
        let (by_month, by_week) = (self.days_of_month.has(date), self.days_of_week.has(date));
        if self.both_days { by_month && by_week } else { by_month || by_week }
    }

    /// The first matching time of a day from `time` on.
    fn time_from(&self, time: NaiveTime) -> Option<NaiveTime> {
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

impl DaysOfMonth {
    fn has(&self, date: NaiveDate) -> bool {
        let (day, length) = (date.day(), u32::from(date.num_days_in_month()));
        self.days.has(day)
            || self.last && day == length
            || self.last_workday && nearest_workday(date, length, length) == day
            || (1..=length)
                .any(|near| self.nearest_workday.has(near) && nearest_workday(date, near, length) == day)
    }
}

impl DaysOfWeek {
    fn has(&self, date: NaiveDate) -> bool {
        let (day, length) = (date.day(), u32::from(date.num_days_in_month()));
        let weekday = date.weekday().num_days_from_sunday();
        self.every.has(weekday)
            || self.last.has(weekday) && day + 7 > length
            || self.nth.get((day as usize - 1) / 7).is_some_and(|nth| nth.has(weekday))
    }
}

/// The day from Monday to Friday that is nearest to `day` in the month of `date`, which has `length` days.
fn nearest_workday(date: NaiveDate, day: u32, length: u32) -> u32 {
    match date.with_day(day).map(|date| date.weekday()) {
        Some(Weekday::Sat) if day == 1 => 3,
        Some(Weekday::Sat) => day - 1,
        Some(Weekday::Sun) if day == length => day - 2,
        Some(Weekday::Sun) => day + 1,
        _ => day,
    }
}

fn first_of_next_month(date: NaiveDate) -> Option<NaiveDate> {
    let (year, month) =
        if date.month() == 12 { (date.year() + 1, 1) } else { (date.year(), date.month() + 1) };
    NaiveDate::from_ymd_opt(year, month, 1)
}
