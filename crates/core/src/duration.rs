//! Durations as people write and read them: `90s`, `5m`, `6h`, `1d`; "5 minutes", "1 hour 30 minutes".

use chrono::TimeDelta;

use crate::Invalid;

/// The longest duration that any field takes: ten years of 365 days.
pub const LONGEST: TimeDelta = TimeDelta::days(3650);

/// Each unit's length in milliseconds, and its names.
const UNITS: [(i64, &[&str]); 6] = [
    (1, &["ms", "millisecond", "milliseconds"]),
    (1000, &["s", "sec", "secs", "second", "seconds"]),
    (60_000, &["m", "min", "mins", "minute", "minutes"]),
    (3_600_000, &["h", "hr", "hrs", "hour", "hours"]),
    (86_400_000, &["d", "day", "days"]),
    (7 * 86_400_000, &["w", "week", "weeks"]),
];

/// Reads `90s`, `5m`, `6h`, `1d`, `250ms`, `1.5h`, several units in a row (`1h30m`, `1h 30m`),
/// words (`5 minutes`), and ISO 8601's `P1DT12H`. `field` names the value in an error.
pub fn parse(field: &'static str, text: &str) -> Result<TimeDelta, Invalid> {
    const WRITE: &str = "write a number and a unit: 90s, 5m, 6h, 1d, 1h30m";
    let wrong = |problem: &str| Invalid::new(field, format!("{text:?} {problem}"));
    let trimmed = text.trim();
    if trimmed.len() > 100 {
        return Err(Invalid::new(field, format!("is too long for a duration; {WRITE}")));
    }
    let (mut rest, iso) = match trimmed.strip_prefix(['P', 'p']) {
        Some(rest) => (rest.to_ascii_lowercase(), true),
        None => (trimmed.to_owned(), false),
    };
    if iso {
        let (date, time) = rest.split_once('t').unwrap_or((&rest, ""));
        if date.contains(['y', 'm']) {
            return Err(wrong("counts months or years, whose length differs; write days: 30d, 365d"));
        }
        if date.contains(['h', 's']) {
            return Err(wrong(
                "is not a duration: in ISO 8601 hours, minutes and seconds follow a T, as in PT1H30M",
            ));
        }
        rest = format!("{date}{time}");
    }
    if rest.is_empty() {
        return Err(wrong(&format!("is not a duration; {WRITE}")));
    }
    let mut total = TimeDelta::zero();
    let mut rest = rest.as_str();
    while !rest.is_empty() {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let (amount, after) = (&rest[..rest.len() - after.len()], after.trim_start());
        let behind = after.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let unit = &after[..after.len() - behind.len()];
        // In systemd `M` is a month; refuse it rather than read it as a minute.
        if !iso && unit == "M" {
            return Err(wrong("counts months, whose length differs; write days: 30d"));
        }
        let unit = unit.to_ascii_lowercase();
        rest = behind.trim_start();
        if !amount.is_empty() && unit.is_empty() && rest.is_empty() {
            return Err(wrong(&format!("has no unit; {WRITE}")));
        }
        let unit_ms =
            UNITS.iter().find(|(_, names)| names.contains(&unit.as_str())).map(|(unit_ms, _)| *unit_ms);
        let Some((unit_ms, thousandths)) = unit_ms.zip(thousandths(amount)) else {
            return Err(wrong(&format!("is not a duration; {WRITE}")));
        };
        // In thousandths of a millisecond.
        let part = thousandths.saturating_mul(unit_ms);
        total = TimeDelta::try_milliseconds(part / 1000)
            .and_then(|part| total.checked_add(&part))
            .filter(|sum| *sum <= LONGEST)
            .ok_or_else(|| wrong("is too long; at most 3650d"))?;
        if part % 1000 != 0 {
            return Err(wrong("is finer than a millisecond"));
        }
    }
    Ok(total)
}

/// A decimal number in thousandths: `1.5` becomes 1500. At most three digits may follow the point.
fn thousandths(amount: &str) -> Option<i64> {
    let (whole, part) = amount.split_once('.').unwrap_or((amount, "0"));
    if whole.is_empty() || part.is_empty() || part.len() > 3 || part.contains('.') {
        return None;
    }
    // A number with too many digits is reported as too long, not as malformed.
    let whole: i64 = whole.parse().unwrap_or(i64::MAX);
    let part: i64 = format!("{part:0<3}").parse().ok()?;
    Some(whole.saturating_mul(1000).saturating_add(part))
}

/// The duration in words, to at most two units: "5 minutes", "1 day 2 hours", "0 seconds", "850 milliseconds".
pub fn words(span: TimeDelta) -> String {
    let ms = span.num_milliseconds().max(0);
    if ms > 0 && ms < 1000 {
        return counted(ms, "millisecond");
    }
    let parts: Vec<String> = split(ms / 1000).map(|(n, unit)| counted(n, unit)).collect();
    if parts.is_empty() { "0 seconds".to_owned() } else { parts.join(" ") }
}

/// How long ago, in words: "just now" within the second, else "5 minutes ago".
pub fn ago(span: TimeDelta) -> String {
    if span < TimeDelta::seconds(1) { "just now".to_owned() } else { format!("{} ago", words(span)) }
}

/// The duration in its short form, exactly, as [`parse`] reads it: `5m`, `1h30m`, `0s`.
pub fn short(span: TimeDelta) -> String {
    let mut ms = span.num_milliseconds().max(0);
    let mut text = String::new();
    for (unit_ms, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")] {
        if ms >= unit_ms {
            text.push_str(&format!("{}{unit}", ms / unit_ms));
            ms %= unit_ms;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// The two largest units of `seconds` that are not zero.
fn split(seconds: i64) -> impl Iterator<Item = (i64, &'static str)> {
    let parts = [
        (seconds / 86_400, "day"),
        (seconds / 3600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
    ];
    let first = parts.iter().position(|(n, _)| *n > 0).unwrap_or(parts.len());
    parts.into_iter().skip(first).take(2).filter(|(n, _)| *n > 0)
}

/// "1 job", "3 jobs".
pub fn counted(n: i64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        for (text, seconds) in [
            ("90s", 90),
            ("5m", 300),
            ("6h", 21_600),
            ("1d", 86_400),
            ("1h30m", 5400),
            ("5 m", 300),
            ("1h 30m", 5400),
            (" 1 h 30 min ", 5400),
            ("5 minutes", 300),
            ("1 Hour 30 Minutes", 5400),
            ("2 weeks", 14 * 86_400),
            ("1.5h", 5400),
            ("0.25 d", 21_600),
            ("P1D", 86_400),
            ("PT1H30M", 5400),
            ("P1DT12H", 129_600),
            ("P2W", 14 * 86_400),
            ("pt5m", 300),
        ] {
            assert_eq!(parse("grace", text).unwrap(), TimeDelta::seconds(seconds), "{text}");
        }
        assert_eq!(parse("grace", "250ms").unwrap(), TimeDelta::milliseconds(250));
        assert_eq!(parse("grace", "0.25s").unwrap(), TimeDelta::milliseconds(250));
    }

    #[test]
    fn refuses_the_rest_and_names_the_field_and_the_way_to_write_it() {
        for (text, says) in [
            ("", "is not a duration; write a number and a unit: 90s, 5m, 6h, 1d, 1h30m"),
            ("5", "has no unit; write a number and a unit"),
            ("1h 30", "has no unit"),
            ("m", "is not a duration"),
            ("-5m", "is not a duration"),
            ("5 parsecs", "is not a duration"),
            ("1,5h", "is not a duration"),
            ("1.2.3h", "is not a duration"),
            (".5h", "is not a duration"),
            ("５m", "is not a duration"),
            ("0.5ms", "is finer than a millisecond"),
            ("9999999999999999999d", "is too long; at most 3650d"),
            ("4000d", "is too long; at most 3650d"),
            ("1M", "counts months, whose length differs; write days: 30d"),
            ("P1M", "counts months or years, whose length differs; write days: 30d, 365d"),
            ("P1Y", "counts months or years"),
            ("P1H", "hours, minutes and seconds follow a T, as in PT1H30M"),
            ("P", "is not a duration"),
            ("PT", "is not a duration"),
        ] {
            let error = parse("grace", text).expect_err(text);
            assert_eq!(error.field, "grace", "{text}");
            assert!(error.problem.contains(says), "{text}: {error}");
        }
        assert!(parse("grace", &"1h".repeat(1000)).is_err());
    }

    #[test]
    fn speaks_in_two_units() {
        for (seconds, text) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (300, "5 minutes"),
            (5400, "1 hour 30 minutes"),
            (93_784, "1 day 2 hours"),
            (86_460, "1 day"),
        ] {
            assert_eq!(words(TimeDelta::seconds(seconds)), text);
        }
        assert_eq!(words(TimeDelta::milliseconds(850)), "850 milliseconds");
        assert_eq!(ago(TimeDelta::milliseconds(850)), "just now");
        assert_eq!(ago(TimeDelta::minutes(5)), "5 minutes ago");
    }

    proptest! {
        #[test]
        fn short_form_is_read_back(ms in 0i64..315_360_000_000) {
            let span = TimeDelta::milliseconds(ms);
            prop_assert_eq!(parse("x", &short(span)).unwrap(), span);
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,20}") {
            prop_assert!(parse("x", &text).map_or(true, |span| span <= LONGEST));
        }
    }
}
