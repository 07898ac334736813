//! Reads a calendar expression as systemd.time(7) describes it.

use super::{Expression, Span};
use crate::schedule::wall::{Numbers, Times};

/// The days of the week, from Sunday on.
const DAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

/// Words for whole expressions: weekdays, date and time.
const WORDS: [(&str, &str); 10] = [
    ("minutely", "*-*-* *:*"),
    ("hourly", "*-*-* *:00"),
    ("daily", "*-*-* 00:00"),
    ("weekly", "Mon *-*-* 00:00"),
    ("monthly", "*-*-01 00:00"),
    ("quarterly", "*-01,04,07,10-01 00:00"),
    ("semiannually", "*-01,07-01 00:00"),
    ("semi-annually", "*-01,07-01 00:00"),
    ("annually", "*-01-01 00:00"),
    ("yearly", "*-01-01 00:00"),
];

/// The expression that a word stands for.
pub fn written_out(word: &str) -> Option<&'static str> {
    WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, whole)| *whole)
}

/// One part of an expression: its name in errors, and its least and greatest number.
struct Part {
    name: &'static str,
    least: u32,
    most: u32,
}

const YEAR: Part = Part { name: "year", least: 1970, most: 2199 };
const MONTH: Part = Part { name: "month", least: 1, most: 12 };
const DAY: Part = Part { name: "day", least: 1, most: 31 };
/// Not every month has a day more than 28 days before its end.
const DAY_FROM_END: Part = Part { name: "day from the month's end", least: 1, most: 28 };
const HOUR: Part = Part { name: "hour", least: 0, most: 23 };
const MINUTE: Part = Part { name: "minute", least: 0, most: 59 };
const SECOND: Part = Part { name: "second", least: 0, most: 59 };

/// Reads the words of one expression. Returns the expression and its time zone as it was written,
/// which is the last word. The error says what is wrong.
pub fn parse<'a>(words: &[&'a str]) -> Result<(Expression, Option<&'a str>), String> {
    let (words, zone) = match words {
        [rest @ .., last] if !rest.is_empty() && is_zone(last) => (rest, Some(*last)),
        all => (all, None),
    };
    let whole = match words {
        [word] => written_out(word),
        _ => None,
    };
    let expression = match whole {
        Some(whole) => expression(&whole.split(' ').collect::<Vec<_>>())?,
        None => expression(words)?,
    };
    Ok((expression, zone))
}

/// Whether this can only be a time zone: it begins with a letter and is not a day of the week.
fn is_zone(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && weekday(word.split([',', '.', '-']).next().unwrap_or(word)).is_none()
}

fn expression(words: &[&str]) -> Result<Expression, String> {
    let mut rest = words;
    let mut weekdays: Numbers = (0..7).collect();
    if let [word, after @ ..] = rest
        && word.starts_with(|c: char| c.is_ascii_alphabetic())
    {
        weekdays = read_weekdays(word)?;
        rest = after;
    }
    let (mut date, mut time) = ("*-*-*", "00:00");
    match rest {
        [] if !words.is_empty() => {}
        [one] if one.contains(':') => time = one,
        [one] => date = one,
        [first, second] => (date, time) = (first, second),
        _ => return Err("write [weekdays] [year-month-day] [hour:minute[:second]] [zone]".to_owned()),
    }
    let (years, months, days, from_end) = read_date(date)?;
    Ok(Expression { weekdays, years, months, days, from_end, times: read_time(time)? })
}

fn weekday(text: &str) -> Option<u32> {
    let text = text.to_ascii_lowercase();
    let position = DAYS.iter().position(|name| *name == text || name[..3] == text)?;
    u32::try_from(position).ok()
}

fn read_weekdays(text: &str) -> Result<Numbers, String> {
    let day = |text: &str| {
        weekday(text)
            .ok_or_else(|| format!("weekdays: {text:?} is not Mon to Sun, nor one of {}", listed_words()))
    };
    let mut days = Numbers::default();
    // systemd also ignores a comma at the end.
    for item in text.strip_suffix(',').unwrap_or(text).split(',') {
        let (first, last) = match item.split_once("..").or_else(|| item.split_once('-')) {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(item)?, day(item)?),
        };
        // In these ranges a week begins with Monday.
        let (from, to) = ((first + 6) % 7, (last + 6) % 7);
        if from > to {
            return Err(format!("weekdays: {item} runs backwards; a week begins with Mon: write two ranges"));
        }
        days.extend((from..=to).map(|day| (day + 1) % 7).collect());
    }
    Ok(days)
}

fn listed_words() -> String {
    WORDS.iter().map(|(name, _)| *name).filter(|name| !name.contains('-')).collect::<Vec<_>>().join(", ")
}

type Date = (Vec<Span>, Numbers, Vec<Span>, bool);

fn read_date(text: &str) -> Result<Date, String> {
    let from_end = text.contains('~');
    let parts: Vec<&str> = text.split(['-', '~']).collect();
    let (year, month, day) = match parts.as_slice() {
        [year, month, day] => (*year, *month, *day),
        [month, day] => ("*", *month, *day),
        _ => {
            return Err(format!(
                "{text:?} is neither a date (year-month-day or month-day) nor a time (hour:minute)"
            ));
        }
    };
    if text.find('~').is_some_and(|at| at != text.rfind(['-', '~']).unwrap_or(at)) {
        return Err(format!("{text:?}: ~ stands between month and day"));
    }
    let of_day = if from_end { &DAY_FROM_END } else { &DAY };
    let full_year = |number: u32| match number {
        0..=69 => number + 2000,
        70..=99 => number + 1900,
        _ => number,
    };
    let days = of_day.spans(day, |day| day)?;
    // All days are the same days, from whichever end of the month they are counted.
    let from_end = from_end && day != "*";
    Ok((YEAR.spans(year, full_year)?, MONTH.numbers(month)?, days, from_end))
}

fn read_time(text: &str) -> Result<Times, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (hour, minute, second) = match parts.as_slice() {
        [hour, minute] => (*hour, *minute, "0"),
        [hour, minute, second] => (*hour, *minute, *second),
        _ => return Err(format!("{text:?} is not a time (hour:minute or hour:minute:second)")),
    };
    if second.split(['.', ',', '/']).count() > 1 && second.replace("..", "").contains('.') {
        return Err(format!("second: {second:?} has fractions; write whole seconds"));
    }
    Ok(Times {
        hours: HOUR.numbers(hour)?,
        minutes: MINUTE.numbers(minute)?,
        seconds: SECOND.numbers(second)?,
    })
}

/// Whether systemd would lose days in January. systemd (252) continues the repetition of days after
/// its last day of December into January. If the next repetition falls after `first`, the days of
/// January from `first` up to it are lost.
fn is_lost_in_january(first: u32, step: u32) -> bool {
    let last = first + (DAY.most - first) / step * step;
    last < DAY.most && first < last + step - DAY.most
}

impl Part {
    fn wrong(&self, problem: &str) -> String {
        format!("{}: {problem}", self.name)
    }

    fn numbers(&self, text: &str) -> Result<Numbers, String> {
        let spans = self.spans(text, |number| number)?;
        Ok((self.least..=self.most).filter(|number| spans.iter().any(|span| span.has(*number))).collect())
    }

    /// A list of numbers, ranges (`1..5`) and repetitions (`0/15`, `1..31/2`), or `*`.
    fn spans(&self, text: &str, meant: impl Fn(u32) -> u32) -> Result<Vec<Span>, String> {
        if text == "*" {
            return Ok(vec![Span { first: self.least, last: Some(self.most), step: 0 }]);
        }
        text.split(',').map(|item| self.span(item, &meant)).collect()
    }

    fn span(&self, item: &str, meant: &impl Fn(u32) -> u32) -> Result<Span, String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(self.digits(step)?)),
            None => (item, None),
        };
        let (first, last) = match range.split_once("..") {
            Some((first, last)) => (self.number(first, meant)?, Some(self.number(last, meant)?)),
            None => (self.number(range, meant)?, None),
        };
        if last.is_some_and(|last| last < first) {
            return Err(self.wrong(&format!("{range} runs backwards")));
        }
        let Some(step) = step else { return Ok(Span { first, last, step: 0 }) };
        // A step greater than the range, as in `0/60`, would repeat nothing, which is surely a
        // mistake.
        let room = match (last, self.name == DAY_FROM_END.name) {
            (Some(last), _) => last - first,
            (None, false) => self.most - first,
            (None, true) => first - self.least,
        };
        if step == 0 || step > room {
            return Err(
                self.wrong(&format!("{item}: the step {step} is not 1 to {room}, so nothing is repeated"))
            );
        }
        let span = Span { first, last, step };
        let in_december = match (last, self.name) {
            (None, name) if name == DAY.name => Some(first),
            (None, name) if name == DAY_FROM_END.name => Some(DAY.most + 1 - first),
            _ => None,
        };
        if in_december.is_some_and(|first| is_lost_in_january(first, step)) {
            let days = match self.name == DAY.name {
                true => format!("{first}..{}/{step}", self.most),
                false => (0..=(first - 1) / step)
                    .map(|n| (first - n * step).to_string())
                    .collect::<Vec<_>>()
                    .join(","),
            };
            return Err(self.wrong(&format!(
                "{item} has no end: in December systemd counts on into January, and leaves out its first days; write \
                 {days}, in the timer as well"
            )));
        }
        Ok(span)
    }

    fn number(&self, text: &str, meant: &impl Fn(u32) -> u32) -> Result<u32, String> {
        let number = meant(self.digits(text)?);
        let Self { least, most, .. } = self;
        if (*least..=*most).contains(&number) {
            return Ok(number);
        }
        Err(self.wrong(&format!("{text} is not {least} to {most}")))
    }

    fn digits(&self, text: &str) -> Result<u32, String> {
        let Self { least, most, .. } = self;
        let digits = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|_| digits)
            .ok_or_else(|| self.wrong(&format!("{text:?} is not {least} to {most}")))
    }
}
