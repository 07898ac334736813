//! The results: one row per figure, as a table for people and as JSON.

use serde_json::{Map, Value, json};

/// A figure compared with its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetVerdict {
    /// The target is reached.
    Ok,
    /// The target is missed.
    Miss,
    /// The figure could not be measured.
    Failed,
    /// The figure has no target.
    Shown,
}

impl TargetVerdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Miss => "miss",
            Self::Failed => "failed",
            Self::Shown => "",
        }
    }
}

/// The result of one figure.
#[derive(Debug, Clone)]
pub struct Row {
    figure: String,
    measured: String,
    target: String,
    /// The comparison with the target.
    pub verdict: TargetVerdict,
    conditions: String,
    /// What is known to prevent the target from being reached.
    held_by: &'static str,
    numbers: Map<String, Value>,
}

impl Row {
    /// A row for `figure`, with the measured value as text.
    pub fn new(figure: &str, measured: String) -> Self {
        Self {
            figure: figure.to_owned(),
            measured,
            target: String::new(),
            verdict: TargetVerdict::Shown,
            conditions: String::new(),
            held_by: "",
            numbers: Map::new(),
        }
    }

    /// A row for a figure that could not be measured, with the reason.
    pub fn failed(figure: &str, error: &str) -> Self {
        let mut row = Self::new(figure, error.to_owned());
        row.verdict = TargetVerdict::Failed;
        row
    }

    /// Sets the target to at least `bound`, with this unit (may be empty).
    #[must_use]
    pub fn at_least(self, value: f64, bound: f64, unit: &str) -> Self {
        self.judged(value >= bound, value, format!("≥ {}{unit}", short(bound)))
    }

    /// Sets the target to at most `bound`.
    #[must_use]
    pub fn at_most(self, value: f64, bound: f64, unit: &str) -> Self {
        self.judged(value <= bound, value, format!("≤ {}{unit}", short(bound)))
    }

    /// Marks the target as missed, regardless of the value.
    #[must_use]
    pub fn missed(mut self) -> Self {
        self.verdict = TargetVerdict::Miss;
        self
    }

    /// The name of the figure.
    pub fn figure(&self) -> &str {
        &self.figure
    }

    fn judged(mut self, reached: bool, value: f64, target: String) -> Self {
        self.verdict = match self.verdict {
            // A value that is not finite comes from a division by zero and is not a measurement.
            TargetVerdict::Failed => TargetVerdict::Failed,
            _ if !value.is_finite() => TargetVerdict::Failed,
            TargetVerdict::Shown | TargetVerdict::Ok if reached => TargetVerdict::Ok,
            _ => TargetVerdict::Miss,
        };
        self.target = if self.target.is_empty() { target } else { format!("{}, {target}", self.target) };
        if !self.numbers.contains_key("value") {
            self.numbers.insert("value".to_owned(), json!(value));
        }
        self
    }

    /// Sets the conditions of the measurement.
    #[must_use]
    pub fn under(mut self, conditions: String) -> Self {
        self.conditions = conditions;
        self
    }

    /// Sets what is known to prevent the target from being reached: the profile, and what was tried. Shown if the
    /// target is missed.
    #[must_use]
    pub fn held_by(mut self, what: &'static str) -> Self {
        self.held_by = what;
        self
    }

    /// Adds a remark to the conditions.
    pub fn remark(&mut self, text: &str) {
        let between = if self.conditions.is_empty() { "" } else { "; " };
        self.conditions = format!("{}{between}{text}", self.conditions);
    }

    /// Adds a number to the JSON.
    #[must_use]
    pub fn with(mut self, name: &str, number: impl Into<Value>) -> Self {
        self.numbers.insert(name.to_owned(), number.into());
        self
    }

    /// The row as JSON.
    pub fn json(&self) -> Value {
        json!({
            "figure": self.figure,
            "measured": self.measured,
            "target": self.target,
            "verdict": self.verdict.word(),
            "conditions": self.conditions,
            "held_by": if self.verdict == TargetVerdict::Miss { self.held_by } else { "" },
            "numbers": self.numbers,
        })
    }
}

/// A Markdown table of all rows, with aligned columns.
pub fn markdown(rows: &[Row]) -> String {
    let head = ["figure", "measured", "target", "", "conditions"].map(str::to_owned);
    let mut lines = vec![head];
    lines.extend(rows.iter().map(|row| {
        [&row.figure, &row.measured, &row.target, row.verdict.word(), &row.conditions]
            .map(|text: &str| text.replace('\n', " ").replace('|', "/"))
    }));
    let mut widths = [0; 5];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    // The last column is not padded to its longest cell.
    widths[4] = 10;
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        let cells: Vec<String> =
            line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ").trim_end()));
        if number == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            text.push_str(&format!("| {} |\n", rules.join(" | ")));
        }
    }
    let missed = rows.iter().filter(|row| row.verdict == TargetVerdict::Miss && !row.held_by.is_empty());
    missed.for_each(|row| text.push_str(&format!("\n{} ({}): {}\n", row.figure, row.measured, row.held_by)));
    text
}

/// A short Markdown table, as in the documentation: measured value and target. A missed target is marked.
pub fn short_markdown(rows: &[Row]) -> String {
    let mut text = String::from("| figure | measured | target |\n|---|---|---|\n");
    for Row { figure, measured, target, verdict, .. } in rows {
        let missed = match verdict {
            TargetVerdict::Ok | TargetVerdict::Shown => "",
            TargetVerdict::Miss => " (missed)",
            TargetVerdict::Failed => " (not measured)",
        };
        let cells = [figure, measured, target].map(|cell| cell.replace('\n', " ").replace('|', "/"));
        text.push_str(&format!("| {} | {} | {}{missed} |\n", cells[0], cells[1], cells[2]));
    }
    text
}

/// A whole number with commas between thousands: `41,230`.
pub fn commas(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0.0 { format!("-{text}") } else { text }
}

/// The median; of an even number of values the lower middle one.
pub fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => 0.0,
        count => numbers[(count - 1) / 2],
    }
}

fn short(number: f64) -> String {
    if number >= 1000.0 { commas(number) } else { number.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_with_two_bounds_reaches_both_or_none() {
        let row = Row::new("x", "1 and 9".to_owned()).at_most(1.0, 2.0, " s").at_most(9.0, 8.0, " s");
        assert_eq!(row.verdict, TargetVerdict::Miss);
        assert_eq!(row.target, "≤ 2 s, ≤ 8 s");
        let row = Row::new("x", "1 and 7".to_owned()).at_most(1.0, 2.0, " s").at_most(7.0, 8.0, " s");
        assert_eq!(row.verdict, TargetVerdict::Ok);
    }

    #[test]
    fn a_miss_says_what_holds_it_and_a_hit_does_not() {
        let row = |value| Row::new("speed", "so".to_owned()).at_least(value, 2.0, "").held_by("the disk");
        assert!(markdown(&[row(1.0)]).ends_with("\nspeed (so): the disk\n"));
        assert!(!markdown(&[row(2.0)]).contains("the disk"));
        assert_eq!(
            (row(1.0).json()["held_by"].as_str(), row(2.0).json()["held_by"].as_str()),
            (Some("the disk"), Some(""))
        );
    }

    #[test]
    fn what_is_no_number_was_not_measured() {
        for value in [f64::INFINITY, f64::NAN] {
            let row = Row::new("x", String::new())
                .at_most(1.0, 2.0, "")
                .at_most(value, 2.0, "")
                .at_least(1.0, 1.0, "");
            assert_eq!(row.verdict, TargetVerdict::Failed);
        }
    }

    #[test]
    fn the_short_table_says_what_misses_its_target() {
        let rows = [
            Row::new("a | b", "1".to_owned()).at_most(1.0, 2.0, " s"),
            Row::new("c", "3".to_owned()).at_most(3.0, 2.0, " s"),
            Row::failed("d", "nothing came"),
        ];
        let lines: Vec<String> = short_markdown(&rows).lines().skip(2).map(str::to_owned).collect();
        assert_eq!(
            lines,
            ["| a / b | 1 | ≤ 2 s |", "| c | 3 | ≤ 2 s (missed) |", "| d | nothing came |  (not measured) |"]
        );
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(commas(1_234_567.4), "1,234,567");
        assert_eq!(commas(999.0), "999");
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }
}
