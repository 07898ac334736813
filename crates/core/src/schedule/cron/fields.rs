//! The fields of a cron expression as sets of numbers.

use chrono::{Datelike, NaiveDate, Weekday};

use crate::schedule::wall::{Days, Numbers, Times};

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
    pub times: Times,
    pub days_of_month: DaysOfMonth,
    pub months: Numbers,
    pub days_of_week: DaysOfWeek,
    /// Whether a day must match both day fields. As in Vixie cron, this is so if either field
    /// begins with `*` (also `*/2`); otherwise one match is enough.
    pub both_days: bool,
}

impl Days for Fields {
    fn times(&self) -> &Times {
        &self.times
    }

    fn in_month(&self, _year: i32, month: u32) -> bool {
        self.months.has(month)
    }

    fn on(&self, date: NaiveDate) -> bool {
        let (by_month, by_week) = (self.days_of_month.has(date), self.days_of_week.has(date));
        if self.both_days { by_month && by_week } else { by_month || by_week }
    }
}

impl DaysOfMonth {
    fn has(&self, date: NaiveDate) -> bool {
        let (day, length) = (date.day(), u32::from(date.num_days_in_month()));
        self.days.has(day)
            || self.last && day == length
            || self.last_workday && nearest_workday(date, length, length) == day
            || !self.nearest_workday.is_empty()
                && (1..=length)
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
