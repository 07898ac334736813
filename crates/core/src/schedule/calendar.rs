//! Schedules of systemd's `OnCalendar=` expressions, in a time zone.

mod parse;

pub(super) use parse::written_out;

use chrono::{DateTime, Datelike, NaiveDate};
use chrono_tz::Tz;

use super::wall::{self, Days, Numbers, Times};
use super::zone;
use crate::{Invalid, Time};

/// The last year that systemd knows.
const LAST_YEAR: i32 = 2199;
const LONGEST: usize = 500;

/// One or several calendar expressions and their time zone, all checked.
#[derive(Debug, Clone, PartialEq)]
pub struct CalendarSchedule {
    text: String,
    zone: Tz,
    expressions: Box<[Expression]>,
}

/// One expression: `Mon..Fri *-*-* 02:00:00`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expression {
    /// 0 is Sunday.
    weekdays: Numbers,
    years: Vec<Years>,
    months: Numbers,
    /// 1 to 31.
    days: Vec<Span>,
    /// `~`: the days are counted back from the month's end, whose last day is 1.
    from_end: bool,
    times: Times,
}

/// A range of numbers and its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    first: u32,
    /// `None` for the end of the field.
    last: Option<u32>,
    step: u32,
}

type Years = Span;

impl CalendarSchedule {
    /// See [`super::Schedule::calendar`].
    pub(super) fn new(text: &str, time_zone: Option<&str>) -> Result<Self, Invalid> {
        let wrong = |problem: String| Invalid::new("calendar", problem);
        let bounded = |length: usize| match length {
            0..=LONGEST => Ok(()),
            _ => Err(wrong(format!("has {length} bytes; at most {LONGEST} are allowed"))),
        };
        bounded(text.len())?;
        let mut zone = time_zone.map(|name| zone::parse("time_zone", name)).transpose()?;
        let mut expressions = Vec::new();
        let mut texts = Vec::new();
        for line in text.split([';', '\n']) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.is_empty() {
                continue;
            }
            let line = words.join(" ");
            crate::names::one_line("calendar", &line, LONGEST)?;
            let (expression, own) = parse::parse(&words)
                .map_err(|problem| wrong(format!("{line:?} is not a calendar expression: {problem}")))?;
            if let Some(own) = own {
                let own_zone = zone::parse("calendar", own)?;
                if zone.is_some_and(|zone| zone != own_zone) {
                    return Err(wrong(format!(
                        "{line:?} names another time zone than the rest; all must be in one, which stands in time_zone"
                    )));
                }
                zone = Some(own_zone);
                texts.push(words[..words.len() - 1].join(" "));
            } else {
                texts.push(line);
            }
            expressions.push(expression);
        }
        if expressions.is_empty() {
            return Err(wrong("is empty; write one like Mon..Fri *-*-* 02:00".to_owned()));
        }
        let zone = zone.unwrap_or(Tz::UTC);
        let text = texts.join("; ");
        // The text is read again when it is loaded, so it too must be short enough.
        bounded(text.len())?;
        let schedule = Self { text, zone, expressions: expressions.into() };
        for (number, text) in texts.iter().enumerate() {
            if schedule.next_of(number, DateTime::UNIX_EPOCH).is_none() {
                return Err(wrong(format!("{text:?} never comes about")));
            }
        }
        Ok(schedule)
    }

    /// The expressions, separated by `; `, without their zone.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The time zone of the expressions.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The first instant after `after`. `None` if there are no more.
    pub(super) fn next_after(&self, after: Time) -> Option<Time> {
        (0..self.expressions.len()).filter_map(|number| self.next_of(number, after)).min()
    }

    /// The first instant of one expression after `after`, as systemd computes it: a time that the
    /// clock skips does not occur, and a time that it shows twice is expected the first time.
    fn next_of(&self, number: usize, after: Time) -> Option<Time> {
        let after = after.max(DateTime::UNIX_EPOCH);
        let expression = self.expressions.get(number)?;
        let mut wall = wall::shown(self.zone, after);
        loop {
            wall = expression.next(wall, LAST_YEAR)?;
            match wall::first_shown(self.zone, wall) {
                Some(at) if at > after => return Some(at),
                _ => {}
            }
        }
    }
}

impl Days for Expression {
    fn times(&self) -> &Times {
        &self.times
    }

    fn in_month(&self, year: i32, month: u32) -> bool {
        let year = year.unsigned_abs();
        self.months.has(month) && self.years.iter().any(|years| years.has(year))
    }

    fn on(&self, date: NaiveDate) -> bool {
        let (day, length) = (date.day(), u32::from(date.num_days_in_month()));
        let by_month = self.days.iter().any(|span| match (self.from_end, span.last) {
            (false, _) => span.has(day),
            (true, Some(_)) => span.has(length + 1 - day),
            (true, None) if span.step == 0 => span.first == length + 1 - day,
            // The step continues from the first day to the end of the month.
            (true, None) => Span { first: length + 1 - span.first, ..*span }.has(day),
        });
        by_month && self.weekdays.has(date.weekday().num_days_from_sunday())
    }
}

impl Span {
    /// Whether the span contains `number`. A step of 0 means no step: the first number alone, or
    /// every number of the range.
    fn has(self, number: u32) -> bool {
        let Self { first, last, step } = self;
        let last = match (last, step) {
            (Some(last), _) => last,
            (None, 0) => first,
            (None, _) => u32::MAX,
        };
        (first..=last).contains(&number) && (number - first).is_multiple_of(step.max(1))
    }
}
