//! Parses the five time fields of a crontab line by the rules of this machine's cron, and writes them as an
//! equivalent cron expression for `core`.

use super::machine::Cron;

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", low: 0, high: 59, names: &[] },
    Field { name: "hour", low: 0, high: 23, names: &[] },
    Field { name: "day of month", low: 1, high: 31, names: &[] },
    Field { name: "month", low: 1, high: 12, names: MONTHS },
    Field { name: "day of week", low: 0, high: 7, names: DAYS },
];

/// The parsed fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    fields: [Numbers; 5],
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Numbers {
    /// Bit n stands for the number n.
    bits: u64,
    /// Whether the field begins with `*`.
    star: bool,
    text: String,
    /// Whether `core` reads the text in the same way.
    is_plain: bool,
    /// Whether the text is followed by characters that cron ignores.
    has_rubbish: bool,
    /// Ranges (from, to) out of which cronie draws one number.
    random: Vec<(u32, u32)>,
}

/// An equivalent cron expression for `core`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    /// The expression.
    pub text: String,
    /// How many minutes later the job may run, because its minute or hour is drawn at random.
    pub spread_minutes: u32,
    /// A note for people.
    pub note: Option<String>,
}

/// The bytes of a line and the current position.
pub struct FieldCursor<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> FieldCursor<'a> {
    /// A cursor at the offset `at` of `line`.
    pub fn new(line: &'a [u8], at: usize) -> Self {
        Self { line, at }
    }

    /// The current offset.
    pub fn at(&self) -> usize {
        self.at
    }

    fn peek(&self) -> u8 {
        self.line.get(self.at).copied().unwrap_or(b'\n')
    }

    fn take_while(&mut self, fits: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        while self.at < self.line.len() && fits(self.line[self.at]) {
            self.at += 1;
        }
        std::str::from_utf8(&self.line[start..self.at]).unwrap_or_default()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == byte;
        self.at += usize::from(is_there);
        is_there
    }

    /// Skips blanks.
    pub fn skip_blanks(&mut self) {
        self.take_while(is_blank);
    }

    /// Reads a word.
    pub fn word(&mut self) -> &'a [u8] {
        let start = self.at;
        while self.at < self.line.len() && !is_blank(self.line[self.at]) {
            self.at += 1;
        }
        &self.line[start..self.at]
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

impl Times {
    /// Reads the five fields at the cursor and moves it behind them and the blanks that follow. The error is the
    /// reason for which cron rejects the line.
    pub fn read(cursor: &mut FieldCursor<'_>, cron: Cron) -> Result<Self, String> {
        let mut fields: [Numbers; 5] = Default::default();
        for (field, numbers) in FIELDS.iter().zip(&mut fields) {
            let start = cursor.at;
            let text = String::from_utf8_lossy(cursor.word()).into_owned();
            cursor.at = start;
            let wrong = |problem: &str| match text.as_str() {
                "" => format!("the {} is missing", field.name),
                _ => format!("{text:?} is no {} to {}{problem}", field.name, cron.name()),
            };
            *numbers = list(field, cursor, cron).map_err(wrong)?;
            let read = String::from_utf8_lossy(&cursor.line[start..cursor.at]).into_owned();
            numbers.has_rubbish = read != text;
            numbers.text = if numbers.is_plain { read } else { text };
            // Both crons ignore what follows a number up to the next blank.
            cursor.word();
            cursor.skip_blanks();
        }
        // Sunday is both 0 and 7.
        let week = &mut fields[4].bits;
        if *week & 0x81 != 0 {
            *week |= 0x81;
        }
        Ok(Self { fields })
    }

    /// Whether cron runs the line in this minute. `weekday` is 0 for Sunday.
    pub fn matches(&self, minute: u32, hour: u32, day: u32, month: u32, weekday: u32) -> bool {
        let [minutes, hours, days, months, weekdays] = &self.fields;
        let has = |numbers: &Numbers, number: u32| numbers.bits & (1 << number) != 0;
        let (day, weekday) = (has(days, day), has(weekdays, weekday));
        let on_day = if days.star || weekdays.star { day && weekday } else { day || weekday };
        has(minutes, minute) && has(hours, hour) && has(months, month) && on_day
    }

    /// An equivalent expression for `core`, or the reason why there is none.
    pub fn expression(&self) -> Result<Expression, String> {
        let mut spread_minutes = 0;
        let mut note = None;
        let mut texts = Vec::new();
        for (index, (field, numbers)) in FIELDS.iter().zip(&self.fields).enumerate() {
            match numbers.random.as_slice() {
                [] => {}
                [(from, to)] if numbers.bits == 0 && index < 2 => {
                    spread_minutes += (to - from) * if index == 0 { 1 } else { 60 };
                    let drawn =
                        "cron chooses the time at random: the grace covers all times from the first one on";
                    note = Some(drawn.to_owned());
                    texts.push(from.to_string());
                    continue;
                }
                _ => return Err(format!("cron chooses the {} at random ({})", field.name, numbers.text)),
            }
            if numbers.bits == 0 {
                return Err(format!(
                    "the {} {:?} is a range that runs backwards, and matches no time in cron",
                    field.name, numbers.text
                ));
            }
            texts.push(numbers.written(field));
            if !numbers.is_plain || numbers.has_rubbish {
                note.get_or_insert_with(|| {
                    format!(
                        "cron reads the {} as {}, and ignores the rest",
                        field.name,
                        numbers.written(field)
                    )
                });
            }
        }
        Ok(Expression { text: texts.join(" "), spread_minutes, note })
    }
}

impl Numbers {
    fn written(&self, field: &Field) -> String {
        if self.is_plain {
            return self.text.clone();
        }
        let all = (field.low..=field.high).filter(|number| self.bits & (1 << number) != 0);
        let all: Vec<String> = all.map(|number| number.to_string()).collect();
        match (self.star, all.len() == (field.low..=field.high).count()) {
            (true, true) => "*".to_owned(),
            // A leading star matters: such a field does not count as naming days. `*/100` matches only the lowest
            // number, which a star with a step always contains.
            (true, false) => format!("*/100,{}", all.join(",")),
            (false, _) => all.join(","),
        }
    }
}

fn list(field: &Field, cursor: &mut FieldCursor<'_>, cron: Cron) -> Result<Numbers, &'static str> {
    let mut numbers = Numbers { star: cursor.peek() == b'*', is_plain: true, ..Numbers::default() };
    loop {
        match range(field, cursor, cron)? {
            Range::Fixed { bits, is_plain } => {
                numbers.bits |= bits;
                numbers.is_plain &= is_plain;
            }
            Range::Random(from, to) => numbers.random.push((from, to)),
        }
        if !cursor.take(b',') {
            return Ok(numbers);
        }
    }
}

/// An element of a list.
enum Range {
    Fixed {
        bits: u64,
        /// Whether `core` reads the element in the same way.
        is_plain: bool,
    },
    Random(u32, u32),
}

fn range(field: &Field, cursor: &mut FieldCursor<'_>, cron: Cron) -> Result<Range, &'static str> {
    let is_strict = cron != Cron::Debian;
    let ends_well = |cursor: &FieldCursor<'_>, ends: &[u8]| !is_strict || ends.contains(&cursor.peek());
    let (first, last) = if cursor.take(b'*') {
        if !ends_well(cursor, b"/, \t\n") {
            return Err("");
        }
        (field.low, field.high)
    } else {
        let is_random = |cursor: &FieldCursor<'_>| cron == Cron::Cronie && cursor.peek() == b'~';
        let first = if is_random(cursor) { field.low } else { number(cursor, field.low, field.names)? };
        if is_random(cursor) {
            cursor.at += 1;
            let is_open = matches!(cursor.peek(), b',' | b' ' | b'\t' | b'\n');
            let last = if is_open { field.high } else { number(cursor, field.low, field.names)? };
            return drawn(field, first, last, cursor);
        }
        if !cursor.take(b'-') {
            if cursor.peek() == b'/' {
                return Err(": a step needs a range, as in 5-59/20");
            }
            if !ends_well(cursor, b", \t\n") || !(field.low..=field.high).contains(&first) {
                return Err("");
            }
            return Ok(Range::Fixed { bits: 1 << first, is_plain: true });
        }
        let last = number(cursor, field.low, field.names)?;
        if !ends_well(cursor, b"/, \t\n") {
            return Err("");
        }
        (first, last)
    };
    let step = if cursor.take(b'/') {
        let step = number(cursor, 0, &[])?;
        if step == 0 || !ends_well(cursor, b", \t\n") {
            return Err(": a step is a number of at least 1");
        }
        step
    } else {
        1
    };
    // Debian's cron checks both ends of the range; the others check the numbers that are hit.
    let hit: Vec<u32> = (first..=last.min(1000)).step_by(step as usize).collect();
    let within = |number: &u32| (field.low..=field.high).contains(number);
    let fits = if is_strict { hit.iter().all(within) } else { within(&first) && within(&last) };
    if !fits {
        return Err("");
    }
    let bits = hit.into_iter().fold(0, |bits, number| bits | 1 << number);
    Ok(Range::Fixed { bits, is_plain: first <= last && within(&last) })
}

/// A range out of which cronie draws one number when it reads the table.
fn drawn(field: &Field, first: u32, last: u32, cursor: &FieldCursor<'_>) -> Result<Range, &'static str> {
    let is_whole = matches!(cursor.peek(), b',' | b' ' | b'\t' | b'\n');
    let is_within = (field.low..=field.high).contains(&first) && (field.low..=field.high).contains(&last);
    match is_whole && is_within && first <= last {
        true => Ok(Range::Random(first, last)),
        false => Err(": a random number is one of a range, as in 0~30"),
    }
}

fn number(cursor: &mut FieldCursor<'_>, low: u32, names: &[&str]) -> Result<u32, &'static str> {
    let text = cursor.take_while(|byte| byte.is_ascii_alphanumeric());
    if let Some(index) = names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        return Ok(low + u32::try_from(index).unwrap_or_default());
    }
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A number that is too large to parse is outside of every range.
    if digits { Ok(text.parse().unwrap_or(1_000_000)) } else { Err("") }
}

#[cfg(test)]
mod tests;
