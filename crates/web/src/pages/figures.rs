//! The figures of a reservation as its page shows them: the last value, a line of the last values, and what is expected.

use std::fmt::Write as _;

use chrono::TimeDelta;
use innkeeper_core::expect::{ClauseVerdict, Expect};
use innkeeper_core::figures::words;
use innkeeper_core::{duration, figures};
use innkeeper_store::{Recent, RecentValue};

use crate::api::says;

/// The size of a line, in its own units.
const WIDE: f64 = 200.0;
const HIGH: f64 = 32.0;
/// What stays free around it, so that no stroke is cut.
const MARGIN: f64 = 3.0;

/// A figure.
pub struct FigureRow {
    pub name: String,
    pub last: String,
    pub line: Sparkline,
}

/// A line of values.
pub struct Sparkline {
    /// The corners of the line: `0,3 10.5,29`.
    pub points: String,
    /// Where values stand that medians do not count.
    pub others: Vec<(String, String)>,
    /// What it shows.
    pub words: String,
}

/// A clause and how it stands.
pub struct ClauseRow {
    pub clause: String,
    pub says: String,
    pub is_broken: bool,
}

/// The figures, and last how long the runs took.
pub fn rows(recent: &Recent) -> Vec<FigureRow> {
    let mut rows: Vec<FigureRow> =
        recent.figures.iter().filter_map(|(name, values)| row(name, values, &words)).collect();
    let span = |value: f64| duration::words(TimeDelta::milliseconds(value as i64));
    rows.extend(row("run time", &recent.run_times, &span).filter(|_| recent.run_times.len() > 1));
    rows
}

fn row(name: &str, values: &[RecentValue], words: &dyn Fn(f64) -> String) -> Option<FigureRow> {
    let last = words(values.last()?.value);
    Some(FigureRow { name: name.to_owned(), line: Sparkline::of(values, words), last })
}

/// The clauses.
pub fn clauses(expect: &Expect, verdicts: &[Option<ClauseVerdict>]) -> Vec<ClauseRow> {
    let row = |(place, clause): (usize, &innkeeper_core::expect::Clause)| {
        let verdict = verdicts.get(place).and_then(Option::as_ref);
        ClauseRow {
            clause: clause.to_string(),
            says: says(verdict),
            is_broken: matches!(verdict, Some(ClauseVerdict::Broken(_))),
        }
    };
    expect.clauses().iter().enumerate().map(row).collect()
}

/// The figures of one check-in: `rows 1,200, bytes 5,368,709`.
pub fn in_words(figures: &figures::Figures) -> String {
    figures.iter().map(|(name, value)| format!("{name} {}", words(value))).collect::<Vec<_>>().join(", ")
}

impl Sparkline {
    fn of(values: &[RecentValue], words: &dyn Fn(f64) -> String) -> Self {
        let all = || values.iter().map(|one| one.value);
        let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
        // Halved, so that the distance of two large ones is finite.
        let range = most / 2.0 - least / 2.0;
        let (wide, high) = (WIDE - 2.0 * MARGIN, HIGH - 2.0 * MARGIN);
        let step = if values.len() > 1 { wide / (values.len() - 1) as f64 } else { 0.0 };
        let place = |(at, one): (usize, &RecentValue)| {
            let share = if range > 0.0 { (one.value / 2.0 - least / 2.0) / range } else { 0.5 };
            (format!("{:.1}", MARGIN + at as f64 * step), format!("{:.1}", MARGIN + (1.0 - share) * high))
        };
        let mut points = String::new();
        let mut others = Vec::new();
        for (at, one) in values.iter().enumerate() {
            let (x, y) = place((at, one));
            // Writing into a text cannot fail.
            let _ = write!(points, "{}{x},{y}", if at > 0 { " " } else { "" });
            if !one.counts {
                others.push((x, y));
            }
        }
        let mut text = match values.len() {
            1 => "one value".to_owned(),
            count if range > 0.0 => {
                format!("the last {count} values, from {} to {}", words(least), words(most))
            }
            count => format!("the last {count} values, all {}", words(least)),
        };
        if !others.is_empty() {
            let _ = write!(text, "; {} of them from failures or unexpected successes", others.len());
        }
        Self { points, others, words: text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(list: &[(f64, bool)]) -> Vec<RecentValue> {
        list.iter().map(|(value, counts)| RecentValue { value: *value, counts: *counts }).collect()
    }

    #[test]
    fn a_line_goes_from_the_oldest_to_the_latest_value_and_marks_what_does_not_count() {
        let line = Sparkline::of(&values(&[(0.0, true), (10.0, false), (5.0, true)]), &words);
        assert_eq!(line.points, "3.0,29.0 100.0,3.0 197.0,16.0");
        assert_eq!(line.others, [("100.0".to_owned(), "3.0".to_owned())]);
        assert_eq!(
            line.words,
            "the last 3 values, from 0 to 10; 1 of them from failures or unexpected successes"
        );
    }

    #[test]
    fn one_value_equal_ones_and_the_largest_are_drawn() {
        assert_eq!(Sparkline::of(&values(&[(7.0, true)]), &words).words, "one value");
        let same = Sparkline::of(&values(&[(7.0, true), (7.0, true)]), &words);
        assert_eq!(
            (same.points.as_str(), same.words.as_str()),
            ("3.0,16.0 197.0,16.0", "the last 2 values, all 7")
        );
        let large = Sparkline::of(&values(&[(f64::MIN, true), (f64::MAX, true)]), &words);
        assert_eq!(large.points, "3.0,29.0 197.0,3.0");
    }

    #[test]
    fn run_times_are_said_as_durations() {
        let recent = Recent { run_times: values(&[(1000.0, true), (61_000.0, true)]), ..Recent::default() };
        let rows = rows(&recent);
        assert_eq!((rows[0].name.as_str(), rows[0].last.as_str()), ("run time", "1 minute 1 second"));
    }
}
