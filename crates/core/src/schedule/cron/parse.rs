//! Reads cron expressions as crontabs are read. Errors name the field, what was found in it, and
//! what is allowed.

use super::fields::{DaysOfMonth, DaysOfWeek, Fields};
use crate::schedule::wall::{Numbers, Times};

/// Names for whole expressions, and what they stand for.
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// One field: its name, and the numbers and names that it may contain.
#[derive(Debug)]
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    /// The greatest number that `*` and `N/step` reach. The day of week has both 0 and 7 for
    /// Sunday, and they reach it only once.
    end: u32,
    /// The names of the numbers from `least` on. A crontab has their first three letters.
    names: &'static [&'static str],
    /// The texts that mean all numbers.
    all: &'static [&'static str],
}

const SECOND: Field = Field { name: "second", least: 0, most: 59, end: 59, names: &[], all: &["*"] };
const MINUTE: Field = Field { name: "minute", least: 0, most: 59, end: 59, names: &[], all: &["*"] };
const HOUR: Field = Field { name: "hour", least: 0, most: 23, end: 23, names: &[], all: &["*"] };
const DAY_OF_MONTH: Field =
    Field { name: "day of month", least: 1, most: 31, end: 31, names: &[], all: &["*", "?"] };
const MONTH: Field = Field {
    name: "month",
    least: 1,
    most: 12,
    end: 12,
    names: &[
        "JANUARY",
        "FEBRUARY",
        "MARCH",
        "APRIL",
        "MAY",
        "JUNE",
        "JULY",
        "AUGUST",
        "SEPTEMBER",
        "OCTOBER",
        "NOVEMBER",
        "DECEMBER",
    ],
    all: &["*"],
};
const DAY_OF_WEEK: Field = Field {
    name: "day of week",
    least: 0,
    most: 7,
    end: 6,
    names: &["SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY"],
    all: &["*", "?"],
};

/// Reads an expression. Returns its fields, and its text with nicknames written out. The error says
/// what is wrong, without the expression.
pub fn parse(expression: &str) -> Result<(Fields, String), String> {
    let written = written_out(expression)?;
    let texts: Vec<&str> = written.split_whitespace().collect();
    let (second, five) = match texts.as_slice() {
        five @ [_, _, _, _, _] => ("0", five),
        [second, five @ ..] if five.len() == 5 => (*second, five),
        _ => return Err(number_of_fields(&texts)),
    };
    let &[minute, hour, day_of_month, month, day_of_week] = five else {
        return Err(number_of_fields(&texts));
    };
    let fields = || {
        let (both, day_of_week) = match day_of_week.strip_prefix('+') {
            Some(rest) => (true, rest),
            None => {
                (day_of_month.starts_with(['*', '?']) || day_of_week.starts_with(['*', '?']), day_of_week)
            }
        };
        Ok(Fields {
            times: Times {
                seconds: SECOND.numbers(second)?,
                minutes: MINUTE.numbers(minute)?,
                hours: HOUR.numbers(hour)?,
            },
            days_of_month: days_of_month(day_of_month)?,
            months: MONTH.numbers(month)?,
            days_of_week: days_of_week(day_of_week)?,
            both_days: both,
        })
    };
    match fields() {
        Ok(fields) => Ok((fields, written)),
        Err(problem) => Err(whole_line(&texts).unwrap_or(problem)),
    }
}

/// The expression with a nickname written out. For a zone or a nickname that no field can express,
/// the error says what to do instead.
fn written_out(expression: &str) -> Result<String, String> {
    let upper = expression.to_ascii_uppercase();
    if upper.starts_with("CRON_TZ=") || upper.starts_with("TZ=") {
        let (zone, rest) = expression.split_once(char::is_whitespace).unwrap_or((expression, ""));
        let zone = zone.split_once('=').map_or("", |(_, zone)| zone);
        return Err(format!("the zone stands in a field of its own: cron = {rest:?}, time_zone = {zone:?}"));
    }
    if !expression.starts_with('@') {
        return Ok(expression.to_owned());
    }
    if let Some((_, written)) = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(expression)) {
        return Ok((*written).to_owned());
    }
    let name = expression.split_whitespace().next().unwrap_or_default();
    Err(match upper.as_str() {
        "@REBOOT" => {
            "@reboot is no time at which a job is expected: nobody knows when a machine starts".to_owned()
        }
        _ if upper.starts_with("@EVERY") => {
            "@every counts from the last run: write frequency and time_units instead of cron".to_owned()
        }
        _ => {
            let names: Vec<&str> = NICKNAMES.iter().map(|(name, _)| *name).collect();
            format!("{name} is not one of {}", names.join(", "))
        }
    })
}

fn number_of_fields(texts: &[&str]) -> String {
    const RIGHT: &str =
        "write five (minute, hour, day of month, month, day of week), or six with the second before them";
    if let Some(line) = whole_line(texts) {
        return line;
    }
    match texts.len() {
        1 => format!("it has 1 field; {RIGHT}"),
        7 => format!("it has 7 fields; a year is not known here: {RIGHT}"),
        n => format!("it has {n} fields; {RIGHT}"),
    }
}

/// The error for a whole line of a crontab: it has a command, or a user and a command, after the
/// times.
fn whole_line(texts: &[&str]) -> Option<String> {
    let (five, rest) = texts.split_at_checked(5)?;
    let next = rest.first()?;
    // Six fields may also be five with an invalid sixth. So the sixth counts as a command only if
    // it cannot be meant as a day of the week.
    let day = rest.len() == 1 && DAY_OF_WEEK.is_near(next);
    let command = next.bytes().any(|byte| byte.is_ascii_alphabetic()) && !day;
    let five = five.join(" ");
    (command && parse(&five).is_ok())
        .then(|| format!("{next:?} is no field; write the times alone: {five:?}"))
}

fn days_of_month(text: &str) -> Result<DaysOfMonth, String> {
    const FIELD: &Field = &DAY_OF_MONTH;
    let mut days = DaysOfMonth::default();
    for item in text.split(',') {
        let upper = item.to_ascii_uppercase();
        match upper.as_str() {
            "L" => days.last = true,
            "LW" => days.last_workday = true,
            _ if upper.starts_with("L-") => {
                return Err(FIELD.wrong(format!(
                    "{item}: days counted back from the month's end are not known to cron; write L for the last day"
                )));
            }
            _ => {
                match upper.strip_suffix('W') {
                    Some(day) => days.nearest_workday.insert(FIELD.number(day).map_err(|_| {
                        FIELD.wrong(format!("{item:?} is not a day and W, as in 15W, or LW"))
                    })?),
                    None => days.days.extend(FIELD.range(item)?),
                }
            }
        }
    }
    Ok(days)
}

fn days_of_week(text: &str) -> Result<DaysOfWeek, String> {
    const FIELD: &Field = &DAY_OF_WEEK;
    let mut days = DaysOfWeek::default();
    for item in text.split(',') {
        let upper = item.to_ascii_uppercase();
        if upper == "L" {
            return Err(FIELD.wrong("L: of which day? Write 5L for the last Friday of the month".to_owned()));
        }
        if let Some((of, which)) = upper.split_once('#') {
            let set = FIELD.range(of)?;
            let nth = which.parse::<usize>().ok().filter(|_| which.len() == 1);
            match nth.and_then(|nth| days.nth.get_mut(nth.checked_sub(1)?)) {
                Some(nth) => nth.extend(set),
                None if which == "L" => days.last.extend(set),
                None => {
                    return Err(
                        FIELD.wrong(format!("{item}: {which:?} after # is not 1 to 5, or L for the last"))
                    );
                }
            }
        } else if let Some(day) = upper.strip_suffix('L') {
            if day.contains(['-', '/', '*']) {
                return Err(FIELD.wrong(format!("{item}: L stands behind one day, as in 5L; write {day}#L")));
            }
            days.last.extend(FIELD.range(day)?);
        } else {
            days.every.extend(FIELD.range(item)?);
        }
    }
    Ok(days)
}

impl Field {
    fn wrong(&self, problem: String) -> String {
        format!("{}: {problem}", self.name)
    }

    fn allowed(&self) -> String {
        let Self { least, most, .. } = self;
        match self.names {
            [first, .., last] => format!("{least} to {most} (or {} to {})", &first[..3], &last[..3]),
            _ => format!("{least} to {most}"),
        }
    }

    /// Whether the text may be meant for this field: it begins with a digit, with a character that
    /// cron uses, or with one of the names.
    fn is_near(&self, text: &str) -> bool {
        let word = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        word.is_empty() && !text.starts_with(['/', '.', '~', '$', '"'])
            || self.name_that_begins(word).is_some()
    }

    /// The name of which `word` has at least the first three letters; an `L` may follow them.
    fn name_that_begins(&self, word: &str) -> Option<&'static str> {
        let word = word.to_ascii_uppercase();
        let begins =
            |word: &str| self.names.iter().find(|name| word.len() >= 3 && name.starts_with(word)).copied();
        begins(&word).or_else(|| begins(word.strip_suffix('L')?))
    }

    fn numbers(&self, text: &str) -> Result<Numbers, String> {
        let mut numbers = Numbers::default();
        for item in text.split(',') {
            numbers.extend(self.range(item)?);
        }
        Ok(numbers)
    }

    /// One item of a list: `*`, a number or a range, each with or without a step.
    fn range(&self, item: &str) -> Result<Numbers, String> {
        if item.is_empty() {
            return Err(self.wrong("a list has an empty place".to_owned()));
        }
        if item.contains('~') {
            return Err(self.wrong(format!(
                "{item}: a random time cannot be waited for; write the one that the job has"
            )));
        }
        if item.starts_with(['H', 'h']) {
            return Err(self.wrong(format!(
                "{item}: H is known to Jenkins alone, which draws a number by the job's name; write that number"
            )));
        }
        let (range, step) = match item.split_once('/') {
            None => (item, None),
            Some(("", step)) => {
                return Err(self.wrong(format!("{item}: nothing stands before the /; write */{step}")));
            }
            Some((range, step)) => (range, Some(self.step(item, step)?)),
        };
        let (first, last) = match range.split_once('-') {
            _ if self.all.contains(&range) => (self.least, self.end),
            None if range == "?" => return Err(self.wrong("? stands for a day alone; write *".to_owned())),
            Some((first, last)) => self.ends(range, first, last)?,
            None => {
                let number = self.number(range)?;
                // `N/step` continues from N to the end of the field, as in Kubernetes and Quartz.
                (number, if step.is_some() { self.end.max(number) } else { number })
            }
        };
        let mut numbers = Numbers::default();
        for number in (first..=last).step_by(step.unwrap_or(1)) {
            let sunday = self.end < number;
            numbers.insert(if sunday { self.least } else { number });
        }
        Ok(numbers)
    }

    fn ends(&self, range: &str, first: &str, last: &str) -> Result<(u32, u32), String> {
        let (from, mut to) = (self.number(first)?, self.number(last)?);
        // In a range by names, such as `FRI-SUN`, Sunday may also end the week.
        if to == 0 && from > 0 && self.end < self.most && last.eq_ignore_ascii_case(&self.names[0][..3]) {
            to = self.most;
        }
        if from <= to {
            return Ok((from, to));
        }
        let (least, end) = (self.least, self.end);
        let part = |from: u32, to: u32| if from == to { from.to_string() } else { format!("{from}-{to}") };
        let parts =
            if from > end { part(least, to) } else { format!("{},{}", part(from, end), part(least, to)) };
        Err(self.wrong(format!("{range} runs backwards; write {parts}")))
    }

    fn step(&self, item: &str, step: &str) -> Result<usize, String> {
        let digits = !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
        let number = step.parse::<u16>().ok().filter(|step| digits && *step > 0);
        number
            .map(usize::from)
            .ok_or_else(|| self.wrong(format!("{item}: the step {step:?} is not a whole number from 1 on")))
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = text.parse().ok().filter(|number| (self.least..=self.most).contains(number));
            return number.ok_or_else(|| self.wrong(format!("{text} is not {}", self.allowed())));
        }
        let named = |field: &Self| field.names.iter().position(|name| name[..3].eq_ignore_ascii_case(text));
        if let Some(position) = named(self) {
            return Ok(self.least + u32::try_from(position).unwrap_or_default());
        }
        if let Some(other) = [&MONTH, &DAY_OF_WEEK].into_iter().find(|field| named(field).is_some()) {
            return Err(self.wrong(format!("{text} is a {}; allowed is {}", other.name, self.allowed())));
        }
        let short = self.name_that_begins(text).map(|name| &name[..3]);
        Err(match short {
            Some(short) => self.wrong(format!("{text} is not {}; write {short}", self.allowed())),
            None => self.wrong(format!("{text:?} is not {}", self.allowed())),
        })
    }
}
