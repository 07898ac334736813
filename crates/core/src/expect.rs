//! Conditions on the figures of a success: `rows > 0`, `bytes >= 0.5 * median(10)`.
//!
//! A success that breaks a clause counts as a failure: the job ran, but did not do its work. A
//! clause compares one figure with a number, or with the median of its last values. The median
//! needs [`LEAST_VALUES`] values; a clause with fewer values holds. The median counts the values of
//! earlier successes that satisfied their clauses, and the values of other successes only after a
//! person has accepted them.

use std::fmt;

use crate::figures::{self, Figures};
use crate::{Invalid, Time};

/// The most clauses of one reservation.
pub const MOST_CLAUSES: usize = 10;
/// The most values that a median uses; this many are kept with the reservation.
pub const MOST_VALUES: usize = 50;
/// The fewest values that a median needs.
pub const LEAST_VALUES: usize = 3;
/// The separator between several unexpected figures.
pub const ALSO: &str = ". Also, ";
/// The longest text of a clause, in characters.
const LONGEST_CLAUSE: usize = 150;

/// The clauses that the figures of a success must satisfy, in the order in which they were written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expect(Vec<Clause>);

/// One condition on one figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Clause {
    /// The figure's name.
    pub name: String,
    operator: Operator,
    bound: Bound,
}

/// What a figure is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    Number(f64),
    /// A factor, and the number of latest values whose median it multiplies.
    Median(f64, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Less,
    AtMost,
    Equal,
    Other,
    AtLeast,
    More,
}

impl Operator {
    /// Longer operators first, so that `>=` is not read as `>`.
    const ALL: [(Self, &'static str); 6] = [
        (Self::AtMost, "<="),
        (Self::AtLeast, ">="),
        (Self::Equal, "=="),
        (Self::Other, "!="),
        (Self::Less, "<"),
        (Self::More, ">"),
    ];

    fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(operator, _)| *operator == self).map_or("", |(_, text)| text)
    }

    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Less => value < bound,
            Self::AtMost => value <= bound,
            Self::Equal => value == bound,
            Self::Other => value != bound,
            Self::AtLeast => value >= bound,
            Self::More => value > bound,
        }
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.name, self.operator.as_str())?;
        match self.bound {
            Bound::Number(number) => write!(f, "{}", figures::number(number)),
            Bound::Median(1.0, count) => write!(f, "median({count})"),
            Bound::Median(factor, count) => write!(f, "{} * median({count})", figures::number(factor)),
        }
    }
}

impl Clause {
    /// Reads `NAME OPERATOR BOUND`, where the bound is a number, `median(N)` or `FACTOR * median(N)`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let wrong = |problem: String| {
            Invalid::new("expect", format!("{:?}: {problem}", text.chars().take(60).collect::<String>()))
        };
        if text.chars().count() > LONGEST_CLAUSE {
            return Err(wrong(format!("is longer than {LONGEST_CLAUSE} characters")));
        }
        let trimmed = text.trim();
        let end = trimmed.bytes().position(|byte| !figures::is_of_name(byte)).unwrap_or(trimmed.len());
        let (name, rest) = trimmed.split_at(end);
        if !figures::is_name(name) {
            return Err(wrong("must begin with the name of a figure: rows > 0".to_owned()));
        }
        let rest = rest.trim_start();
        let operator =
            Operator::ALL.into_iter().find_map(|(operator, text)| Some((operator, rest.strip_prefix(text)?)));
        let Some((operator, bound)) = operator else {
            return Err(wrong(format!("after {name} one of < <= == != >= > must stand: rows > 0")));
        };
        let bound = Bound::parse(bound).map_err(wrong)?;
        Ok(Self { name: name.to_owned(), operator, bound })
    }

    /// The number of values that its median uses, if it has one.
    pub fn median_of(&self) -> Option<usize> {
        match self.bound {
            Bound::Number(_) => None,
            Bound::Median(_, count) => Some(count),
        }
    }

    /// Judges the figures. `past` are the values of the clause's figure that count, the latest last.
    pub fn judge(&self, figures: &Figures, past: &[f64]) -> ClauseVerdict {
        let Some(value) = figures.get(&self.name) else {
            return ClauseVerdict::Broken(format!("{} is missing; expected: {self}", self.name));
        };
        let (bound, which) = match self.bound {
            Bound::Number(number) => (number, String::new()),
            Bound::Median(factor, count) => match median(past, count) {
                Ok(median) => (factor * median, format!(", which is {}", figures::words(factor * median))),
                Err(known) => return ClauseVerdict::TooFew(known),
            },
        };
        if self.operator.holds(value, bound) {
            return ClauseVerdict::Holds;
        }
        // If the two look the same when rounded, show the exact value.
        let value = match figures::words(value) == figures::words(bound) {
            true => figures::number(value).to_string(),
            false => figures::words(value),
        };
        ClauseVerdict::Broken(format!("{} was {value}; expected: {self}{which}", self.name))
    }
}

impl Bound {
    fn parse(text: &str) -> Result<Self, String> {
        let allowed = || "a number, median(10) or 0.5 * median(10) must stand last".to_owned();
        let number = figures::parse_value;
        if let Some(number) = number(text) {
            return Ok(Self::Number(number));
        }
        let (factor, median) = match text.split_once('*') {
            None => (1.0, text),
            Some((left, right)) => match (number(left), number(right)) {
                (Some(factor), _) => (factor, right),
                (_, Some(factor)) => (factor, left),
                _ => return Err(allowed()),
            },
        };
        let count = median.trim().strip_prefix("median").map(str::trim_start);
        let count =
            count.and_then(|rest| rest.strip_prefix('(')?.strip_suffix(')')).ok_or_else(allowed)?.trim();
        let count = count.parse::<usize>().ok().filter(|count| (LEAST_VALUES..=MOST_VALUES).contains(count));
        let count =
            count.ok_or_else(|| format!("a median is taken of {LEAST_VALUES} to {MOST_VALUES} values"))?;
        Ok(Self::Median(factor, count))
    }
}

/// The median of the last `count` values: the mean of the middle two if their number is even. An error with the number
/// of values if there are too few.
fn median(past: &[f64], count: usize) -> Result<f64, usize> {
    let mut last: Vec<f64> = past.iter().rev().take(count).copied().collect();
    if last.len() < LEAST_VALUES {
        return Err(last.len());
    }
    last.sort_by(f64::total_cmp);
    let middle = last.len() / 2;
    if last.len().is_multiple_of(2) {
        // Halve before adding, so that two large values do not overflow.
        Ok(last[middle - 1] / 2.0 + last[middle] / 2.0)
    } else {
        Ok(last[middle])
    }
}

/// The result of judging one clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClauseVerdict {
    /// The clause holds.
    Holds,
    /// The clause passes, because its median has only this many values.
    TooFew(usize),
    /// The clause is broken: "rows was 0; expected: rows > 0".
    Broken(String),
}

/// A success with unexpected figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexpected {
    /// When it came.
    pub at: Time,
    /// Its number in the history.
    pub checkin_id: i64,
    /// The unexpected figures: "rows was 0; expected: rows > 0".
    pub figures: String,
}

impl Expect {
    /// Reads clauses, one per text or several in one text separated by commas. Blank texts are ignored.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, Invalid> {
        let texts = texts.iter().flat_map(|text| text.as_ref().split(','));
        let texts: Vec<&str> = texts.filter(|text| !text.trim().is_empty()).collect();
        if texts.len() > MOST_CLAUSES {
            return Err(Invalid::new(
                "expect",
                format!("has {} clauses; allowed are {MOST_CLAUSES}", texts.len()),
            ));
        }
        texts.into_iter().map(Clause::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there are no clauses.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The clauses.
    pub fn clauses(&self) -> &[Clause] {
        &self.0
    }

    /// The figures that the clauses name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|clause| clause.name.as_str())
    }

    /// The clauses as texts.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// The unexpected figures, as sentences; `None` if every clause holds. `past` returns the values of a figure that
    /// count, the latest last.
    pub fn unexpected(&self, figures: &Figures, past: impl Fn(&str) -> Vec<f64>) -> Option<String> {
        let broken: Vec<String> = self
            .0
            .iter()
            .filter_map(|clause| match clause.judge(figures, &past(&clause.name)) {
                ClauseVerdict::Broken(problem) => Some(problem),
                ClauseVerdict::Holds | ClauseVerdict::TooFew(_) => None,
            })
            .collect();
        (!broken.is_empty()).then(|| broken.join(ALSO))
    }
}

impl fmt::Display for Expect {
    /// `rows > 0, bytes >= 0.5 * median(10)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().join(", "))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by it")]
mod tests {
    use super::*;

    fn figures(list: &[(&str, f64)]) -> Figures {
        list.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn clauses_are_read_and_written() {
        for (text, written) in [
            ("rows > 0", "rows > 0"),
            ("rows>0", "rows > 0"),
            ("  bytes   >=0.5*median( 10 ) ", "bytes >= 0.5 * median(10)"),
            ("bytes <= median(3) * 2", "bytes <= 2 * median(3)"),
            ("x == median(50)", "x == median(50)"),
            ("x.y-z<=-0.5 * median (50)", "x.y-z <= -0.5 * median(50)"),
            ("/home:used != -1.5e3", "/home:used != -1500"),
        ] {
            let clause = Clause::parse(text).unwrap();
            assert_eq!(clause.to_string(), written);
            assert_eq!(Clause::parse(written).unwrap(), clause);
        }
        for (text, problem) in [
            ("", "must begin with the name of a figure"),
            ("> 0", "must begin with the name of a figure"),
            ("rows", "one of < <= == != >= > must stand"),
            ("rows = 0", "one of < <= == != >= > must stand"),
            ("rows > ", "must stand last"),
            ("rows > many", "must stand last"),
            ("rows > NaN", "must stand last"),
            ("rows > 1 0", "must stand last"),
            ("rows > median(1 0)", "3 to 50 values"),
            ("rows > median(2)", "3 to 50 values"),
            ("rows > median(51)", "3 to 50 values"),
            ("rows > mean(5)", "must stand last"),
            ("rows > 0 and bytes > 0", "must stand last"),
            ("rows > 0 rows < 5", "must stand last"),
            ("9rows > 0", "must begin with the name of a figure"),
            ("rows > 1 0", "must stand last"),
            ("rows > 2 *", "must stand last"),
            ("rows > 2 * 3", "must stand last"),
            ("rows > x * median(5)", "must stand last"),
            ("rows > med ian(5)", "must stand last"),
            ("rows > median(many)", "3 to 50 values"),
        ] {
            let error = Clause::parse(text).unwrap_err();
            assert!(error.problem.contains(problem), "{text}: {}", error.problem);
        }
        assert!(Expect::parse(&["x > 0"; 11]).unwrap_err().problem.contains("11 clauses"));
        assert!(Expect::parse(&["", " ", " , "]).unwrap().is_empty());
        assert!(Expect::parse(&["x > 0,"; 11]).unwrap_err().problem.contains("11 clauses"));
        let some = Expect::parse(&["/var/log > 0, b<5", "c!=-1e3", ""]).unwrap();
        assert_eq!(some.texts(), ["/var/log > 0", "b < 5", "c != -1000"]);
        assert_eq!(some.names().collect::<Vec<_>>(), ["/var/log", "b", "c"]);
    }

    #[test]
    fn a_clause_is_broken_by_a_value_or_by_its_absence() {
        let clause = Clause::parse("rows > 0").unwrap();
        assert_eq!(clause.judge(&figures(&[("rows", 1.0)]), &[]), ClauseVerdict::Holds);
        assert_eq!(
            clause.judge(&figures(&[("rows", 0.0)]), &[]),
            ClauseVerdict::Broken("rows was 0; expected: rows > 0".into())
        );
        assert_eq!(
            clause.judge(&figures(&[("row", 1.0)]), &[]),
            ClauseVerdict::Broken("rows is missing; expected: rows > 0".into())
        );
    }

    #[test]
    fn what_is_told_is_not_rounded_to_what_was_expected() {
        for (clause, value, words) in [
            ("share >= 0.5", 0.49999, "share was 0.49999; expected: share >= 0.5"),
            ("share <= 1000000", 1_000_000.4, "share was 1000000.4; expected: share <= 1000000"),
        ] {
            let verdict = Clause::parse(clause).unwrap().judge(&figures(&[("share", value)]), &[]);
            assert_eq!(verdict, ClauseVerdict::Broken(words.into()));
        }
    }

    #[test]
    fn a_median_needs_three_values_and_takes_the_last() {
        let clause = Clause::parse("bytes >= 0.5 * median(4)").unwrap();
        let judge = |value: f64, past: &[f64]| clause.judge(&figures(&[("bytes", value)]), past);
        assert_eq!(judge(1.0, &[100.0, 100.0]), ClauseVerdict::TooFew(2));
        assert_eq!(judge(50.0, &[100.0, 100.0, 100.0]), ClauseVerdict::Holds);
        let words = "bytes was 49; expected: bytes >= 0.5 * median(4), which is 50";
        assert_eq!(judge(49.0, &[100.0, 100.0, 100.0]), ClauseVerdict::Broken(words.into()));
        // The last four: 10, 10, 30, 30.
        assert_eq!(judge(10.0, &[1e9, 1e9, 10.0, 10.0, 30.0, 30.0]), ClauseVerdict::Holds);
        assert!(matches!(judge(9.0, &[1e9, 1e9, 10.0, 10.0, 30.0, 30.0]), ClauseVerdict::Broken(_)));
        // A missing figure breaks the clause, however few values there are.
        assert!(matches!(clause.judge(&Figures::default(), &[]), ClauseVerdict::Broken(_)));
        assert_eq!(median(&[f64::MAX, f64::MAX, f64::MAX, f64::MAX], 4), Ok(f64::MAX));
    }

    #[test]
    fn all_that_is_broken_is_named() {
        let expect = Expect::parse(&["rows > 0", "bytes > 0", "share <= 1"]).unwrap();
        let broken = expect.unexpected(&figures(&[("rows", 0.0), ("share", 0.5)]), |_| Vec::new()).unwrap();
        assert_eq!(broken, "rows was 0; expected: rows > 0. Also, bytes is missing; expected: bytes > 0");
        assert_eq!(expect.to_string(), "rows > 0, bytes > 0, share <= 1");
    }
}
