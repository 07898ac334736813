//! Figures: numbers that a check-in carries, such as `rows=1200`.

mod lines;
mod values;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use lines::{Lines, Scanner, of_line};
pub(crate) use values::parse_value;
pub use values::{number, words};

use crate::Invalid;

/// The most figures of one check-in that are kept.
pub const MOST_FIGURES: usize = 20;
/// The longest name of a figure, in characters.
pub const LONGEST_NAME: usize = 64;
/// The beginning of a line of output that gives a figure: `::figure rows=1200`.
pub const LINE_BEGINS: &str = "::figure";
/// The longest line of output that can give a figure, in bytes, without its line end.
pub const LONGEST_LINE: usize = 4096;

/// Figures by name. If a name is given twice, the last value counts. At most [`MOST_FIGURES`] names are taken. The
/// JSON form is an object; members that are not figures are ignored when it is read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Value", into = "Value")]
pub struct Figures(BTreeMap<String, f64>);

/// No value is NaN.
impl Eq for Figures {}

/// Why a text or value is not taken as a figure; the wording follows the rejected text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It has no `=`.
    #[error("is no figure; give NAME=NUMBER, as in rows=1200")]
    Form,
    /// The part before `=` is not a valid name of a figure.
    #[error(
        "has no name of a figure before its =; allowed: 1 to {LONGEST_NAME} letters of ASCII, digits and _ . : / -, \
         beginning with a letter, _ or /"
    )]
    Name,
    /// The value is not a finite number.
    #[error("has no finite number behind its =; give a number, 1200 or 5.3e6")]
    Number,
    /// There are [`MOST_FIGURES`] other names already.
    #[error("is one too many: {MOST_FIGURES} of one check-in are kept")]
    Beyond,
}

impl Flaw {
    /// The error that says what is wrong with `text`.
    pub fn of(self, text: &str) -> Invalid {
        Invalid::new("figure", format!("{:?} {self}", cut(text)))
    }
}

impl Figures {
    /// Whether there are no figures.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All figures with their values, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// The value of the figure `name`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Sets one figure. An error if the name or the value is invalid, or if there are [`MOST_FIGURES`] others.
    pub fn set(&mut self, name: &str, value: f64) -> Result<(), Flaw> {
        if !is_name(name) {
            return Err(Flaw::Name);
        }
        if !value.is_finite() {
            return Err(Flaw::Number);
        }
        if self.0.len() >= MOST_FIGURES && !self.0.contains_key(name) {
            return Err(Flaw::Beyond);
        }
        // Adding 0.0 turns -0.0 into 0.0.
        self.0.insert(name.to_owned(), value + 0.0);
        Ok(())
    }

    /// Sets one figure from its text, `rows=1200`.
    pub fn set_text(&mut self, text: &str) -> Result<(), Flaw> {
        let (name, value) = parse(text)?;
        self.set(name, value)
    }

    /// Takes the figures from the lines of an output, `::figure rows=1200`, and adds those whose
    /// names are not set yet. Returns the problem of the first line that begins like a figure but
    /// is not a valid one.
    pub fn add_lines(&mut self, output: &str) -> Option<Invalid> {
        if !output.contains(LINE_BEGINS) {
            return None;
        }
        let mut lines = Scanner::default();
        lines.push(output.as_bytes());
        let (found, problem) = lines.finish();
        problem.or(self.add(&found))
    }

    /// Adds those figures whose names are not set yet. Returns the problem of the first that does not fit.
    pub fn add(&mut self, others: &Self) -> Option<Invalid> {
        let mut problem = None;
        for (name, value) in others.iter() {
            if self.get(name).is_none() {
                let set = self.set(name, value).map_err(|flaw| flaw.of(&format!("{name}={value}")));
                problem = problem.or(set.err());
            }
        }
        problem
    }

    /// As JSON: `{"rows": 1200}`.
    pub fn json(&self) -> Value {
        Value::Object(self.iter().map(|(name, value)| (name.to_owned(), number(value))).collect())
    }

    /// Reads what [`Figures::json`] wrote, and what clients send in this shape. Members that are not figures are left
    /// out; their problems are returned.
    pub fn from_json(value: &Value) -> (Self, Vec<Invalid>) {
        let mut figures = Self::default();
        let Value::Object(object) = value else {
            let problem = "must be an object of names and numbers, {\"rows\": 1200}";
            return (figures, vec![Invalid::new("figures", problem)]);
        };
        let mut problems = Vec::new();
        for (name, value) in object {
            let number = match value {
                Value::Number(number) => number.as_f64(),
                Value::String(text) => parse_value(text),
                _ => None,
            };
            let set = number.ok_or(Flaw::Number).and_then(|number| figures.set(name, number));
            problems.extend(set.map_err(|flaw| flaw.of(&format!("{name}={value}"))).err());
        }
        (figures, problems)
    }
}

impl From<Value> for Figures {
    fn from(value: Value) -> Self {
        Self::from_json(&value).0
    }
}

impl From<Figures> for Value {
    fn from(figures: Figures) -> Self {
        figures.json()
    }
}

impl FromIterator<(String, f64)> for Figures {
    /// Leaves out invalid figures.
    fn from_iter<T: IntoIterator<Item = (String, f64)>>(list: T) -> Self {
        let mut figures = Self::default();
        for (name, value) in list {
            let _ = figures.set(&name, value);
        }
        figures
    }
}

/// Reads `rows=1200`: blanks around the name and the value do not matter.
pub fn parse(text: &str) -> Result<(&str, f64), Flaw> {
    let (name, value) = text.split_once('=').ok_or(Flaw::Form)?;
    let name = name.trim();
    if !is_name(name) {
        return Err(Flaw::Name);
    }
    Ok((name, parse_value(value).ok_or(Flaw::Number)?))
}

/// Whether `name` is a valid name of a figure.
pub fn is_name(name: &str) -> bool {
    let may_begin = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b'/';
    name.len() <= LONGEST_NAME && name.bytes().next().is_some_and(may_begin) && name.bytes().all(is_of_name)
}

/// Whether the name of a figure may contain this byte.
pub fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.:/-".contains(&byte)
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by it")]
mod tests {
    use super::*;

    fn figures(list: &[(&str, f64)]) -> Figures {
        list.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn a_figure_is_a_name_and_a_finite_number() {
        for (text, name, value) in [
            ("rows=1200", "rows", 1200.0),
            (" rows = -1.5e3 ", "rows", -1500.0),
            ("/home:used=0.5", "/home:used", 0.5),
            ("_x=+3", "_x", 3.0),
            ("_a.b:c-d/9=.5", "_a.b:c-d/9", 0.5),
        ] {
            assert_eq!(parse(text).unwrap(), (name, value), "{text}");
        }
        let long = format!("{}=1", "x".repeat(65));
        for (flaw, texts) in [
            (Flaw::Form, &["", "rows"][..]),
            (Flaw::Name, &["=3", "9rows=3", "-a=1", "ro ws=3", "ä=1", &long]),
            (Flaw::Number, &["rows=", "a=1=2", "rows=NaN", "rows=inf", "a=-infinity", "rows=1e999"]),
            (Flaw::Number, &["rows=0x10", "rows=3 MB", "a=1k", "a=1_000", "rows=1,5"]),
        ] {
            for text in texts {
                assert_eq!(parse(text), Err(flaw), "{text}");
            }
        }
        assert!(parse(&format!("{}=1", "x".repeat(64))).is_ok());
    }

    #[test]
    fn lines_name_figures_and_the_last_value_of_a_name_counts() {
        let mut known = figures(&[("given", 1.0)]);
        let output = "hello\n::figure rows=1\r\n  ::figure rows=2\n::figure given=7\n::figures rows=9\nx ::figure rows=9\n::figure no\n";
        let problem = known.add_lines(output).unwrap();
        assert_eq!(known, figures(&[("given", 1.0), ("rows", 2.0)]));
        assert_eq!(problem.problem, "\"no\" is no figure; give NAME=NUMBER, as in rows=1200");
        assert_eq!(Figures::default().add_lines("nothing here"), None);
    }

    #[test]
    fn no_more_are_kept_than_there_may_be() {
        let output: String = (0..30).map(|n| format!("::figure f{n}={n}\n")).collect();
        let mut kept = Figures::default();
        assert!(kept.add_lines(&output).unwrap().problem.contains("20 of one check-in"));
        assert_eq!((kept.iter().count(), kept.get("f19"), kept.get("f20")), (20, Some(19.0), None));
        assert_eq!((kept.set("f19", 2.5), kept.set("f20", 1.0)), (Ok(()), Err(Flaw::Beyond)));
        assert_eq!((kept.get("f19"), kept.set("f19", f64::NAN)), (Some(2.5), Err(Flaw::Number)));
    }

    #[test]
    fn json_keeps_them() {
        let all = figures(&[("rows", 1200.0), ("share", 0.25), ("big", 1e300), ("minus", -3.0)]);
        let json = serde_json::json!({"rows": 1200, "share": 0.25, "big": 1e300, "minus": -3});
        assert_eq!(all.json(), json);
        let (read, problems) = Figures::from_json(&all.json());
        assert_eq!((&read, problems.len()), (&all, 0));
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Figures>(&text).unwrap(), all);
        let (read, problems) = Figures::from_json(&serde_json::json!({"a": "12", "b": true, "c d": 1}));
        assert_eq!((read, problems.len()), (figures(&[("a", 12.0)]), 2));
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(said[0].starts_with("figure: \"b=true\" has no finite number behind its ="), "{said:?}");
        assert!(said[1].starts_with("figure: \"c d=1\" has no name of a figure"), "{said:?}");
        assert_eq!(Figures::from_json(&serde_json::json!([1])).1.len(), 1);
    }
}
