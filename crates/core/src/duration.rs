//! Durations as people write and read them: `90s`, `5m`, `6h`, `1d`; "5 minutes", "1 hour 30 minutes".

use chrono::TimeDelta;

use crate::Invalid;

/// The longest duration that any field takes: ten years of 365 days.
pub const LONGEST: TimeDelta = TimeDelta::days(3650);

/// Reads `90s`, `5m`, `6h`, `1d`, `250ms`, or several in a row (`1h30m`). `field` names the value in an error.
pub fn parse(field: &'static str, text: &str) -> Result<TimeDelta, Invalid> {
    let wrong = || {
        Invalid::new(field, format!("{text:?} is not a duration; write a number and a unit: 90s, 5m, 6h, 1d"))
    };
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total = TimeDelta::zero();
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let amount: i64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let unit_ms: i64 = match &rest[..letters] {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            _ => return Err(wrong()),
        };
        rest = &rest[letters..];
        total = amount
            .checked_mul(unit_ms)
            .and_then(TimeDelta::try_milliseconds)
            .and_then(|part| total.checked_add(&part))
            .filter(|sum| *sum <= LONGEST)
            .ok_or_else(|| Invalid::new(field, format!("{text:?} is too long; at most 3650d")))?;
    }
    Ok(total)
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
        for (text, seconds) in [("90s", 90), ("5m", 300), ("6h", 21_600), ("1d", 86_400), ("1h30m", 5400)] {
            assert_eq!(parse("grace", text).unwrap(), TimeDelta::seconds(seconds), "{text}");
        }
        assert_eq!(parse("grace", "250ms").unwrap(), TimeDelta::milliseconds(250));
    }

    #[test]
    fn refuses_the_rest_and_names_the_field() {
        for text in ["", "5", "m", "-5m", "5 parsecs", "1.5h", "9999999999999999999d", "4000d", "５m"] {
            let error = parse("grace", text).unwrap_err();
            assert_eq!(error.field, "grace", "{text}");
        }
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
