//! Functions that several kinds of probes use to read their sections.

use std::path::Path;
use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::duration;
use innkeeper_settings::{Origin, Section, Setting, Table, Value};

/// Shortest and longest time limit.
pub(crate) const LIMITS: std::ops::RangeInclusive<TimeDelta> =
    TimeDelta::milliseconds(10)..=TimeDelta::hours(24);

/// Rewrites other notations into those that a section reads: numbers in lists of texts (`status = [200, 301]`) become
/// texts, and tables of texts (`headers = { Accept = "text/html" }`) become lists of `key: value`.
pub(crate) fn loosen(table: &mut Table, lists: &[&str], tables: &[&str]) {
    for key in lists {
        if let Some(setting) = table.get_mut(*key) {
            match &mut setting.value {
                Value::List(entries) => entries.iter_mut().for_each(|entry| to_text(&mut entry.value)),
                value => to_text(value),
            }
        }
    }
    for key in tables {
        if let Some(setting) = table.get_mut(*key)
            && let Value::Table(entries) = &setting.value
        {
            let lines = entries.iter().map(|(name, entry)| {
                let mut value = entry.value.clone();
                to_text(&mut value);
                let value = match value {
                    Value::Text(text) => Value::Text(format!("{name}: {text}")),
                    other => other,
                };
                Setting { value, origin: entry.origin.clone() }
            });
            setting.value = Value::List(lines.collect());
        }
    }
}

fn to_text(value: &mut Value) {
    let text = match value {
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => return,
    };
    *value = Value::Text(text);
}

/// Reads an optional time limit.
pub(crate) fn maybe_duration(section: &mut Section<'_>, key: &'static str) -> Option<Duration> {
    section.parsed(key, None, |text| limit(key, text).map(Some))
}

/// Parses a time limit.
pub(crate) fn limit(key: &'static str, text: &str) -> Result<Duration, String> {
    let span = duration::parse(key, text).map_err(|invalid| invalid.problem)?;
    if !LIMITS.contains(&span) {
        let (least, most) = (duration::short(*LIMITS.start()), duration::short(*LIMITS.end()));
        return Err(format!("{text:?} is out of bounds; at least {least}, at most {most}"));
    }
    span.to_std().map_err(|error| error.to_string())
}

/// Reads an optional text.
pub(crate) fn maybe_text(section: &mut Section<'_>, key: &'static str) -> Option<String> {
    section.parsed(key, None, |text| match text.is_empty() {
        true => Err("is empty"),
        false => Ok(Some(text.to_owned())),
    })
}

/// Reads an optional boolean.
pub(crate) fn maybe_flag(section: &mut Section<'_>, key: &'static str) -> Option<bool> {
    let is_said = section.origin(key) != Origin::Default;
    let flag = section.flag(key, false);
    is_said.then_some(flag)
}

/// Reads one of several words.
pub(crate) fn word<T: Copy>(
    section: &mut Section<'_>,
    key: &'static str,
    default: T,
    words: &[(&str, T)],
) -> T {
    section.word(key, default, words)
}

/// Reads the file that a key names.
pub(crate) fn file(path: &str, largest: u64) -> Result<Vec<u8>, String> {
    innkeeper_settings::read_file(Path::new(path), largest)
        .map_err(|problem| format!("cannot read {path:?}: {problem}"))
}

/// Parses a size in bytes: `512`, `64KiB`, `10MB`, `1.5GiB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 13] = [
        ("", 1),
        ("b", 1),
        ("kb", 1000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("tb", 1_000_000_000_000),
        ("k", 1 << 10),
        ("kib", 1 << 10),
        ("m", 1 << 20),
        ("mib", 1 << 20),
        ("g", 1 << 30),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
    ];
    let wrong = || format!("{text:?} is no size; write 64KiB, 10MB, 5GB or 2TB");
    let trimmed = text.trim().to_ascii_lowercase();
    let unit = trimmed.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = trimmed[..trimmed.len() - unit.len()].parse().map_err(|_| wrong())?;
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(wrong)?;
    let bytes = number * *factor as f64;
    if !(0.0..=1e18).contains(&bytes) {
        return Err(wrong());
    }
    Ok(bytes.round() as u64)
}

/// Parses a percentage: `10%`, `0.5%`.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').and_then(|number| number.trim_end().parse::<f64>().ok());
    number
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or_else(|| format!("{text:?} is no percentage; write 0% to 100%"))
}

/// Formats a size for people: `1.5 GiB`.
pub(crate) fn in_bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut number = bytes as f64;
    let mut unit = 0;
    while number >= 1024.0 && unit + 1 < units.len() {
        number /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{number:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_percentages() {
        for (text, bytes) in
            [("512", 512), ("64KiB", 65_536), ("1.5 GB", 1_500_000_000), ("2t", 0), ("1g", 1 << 30)]
        {
            assert_eq!(size(text).unwrap_or_default(), bytes, "{text}");
        }
        for bad in ["", "x", "-1", "1e30", "10 apples", "1..5"] {
            size(bad).unwrap_err();
        }
        assert_eq!((percent("10%"), percent("0.5 %")), (Ok(10.0), Ok(0.5)));
        for bad in ["10", "101%", "-1%", "%", "nan%"] {
            percent(bad).unwrap_err();
        }
        assert_eq!(
            (in_bytes(0), in_bytes(1536), in_bytes(3 << 40)),
            ("0 B".into(), "1.5 KiB".into(), "3.0 TiB".into())
        );
    }
}
