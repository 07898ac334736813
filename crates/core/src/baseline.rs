//! The earlier values of a job's figures, against which the figures of a success are judged.

use std::collections::{HashMap, HashSet};

use crate::expect::Expect;
use crate::figures::Figures;

/// The values of the figures that a reservation's clauses name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Baseline {
    /// By figure, in the order in which they were recorded.
    values: HashMap<String, Vec<Value>>,
    /// The first check-in whose values a person has accepted; medians count nothing before it.
    accepted_from: Option<i64>,
    /// Successes that had unexpected figures or were too short.
    excluded: HashSet<i64>,
}

/// A value that was recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Value {
    checkin_id: i64,
    value: f64,
    counts: bool,
}

impl Baseline {
    /// A baseline without values. `accepted_from` is the first check-in whose values a person has accepted.
    pub fn new(accepted_from: Option<i64>) -> Self {
        Self { accepted_from, ..Self::default() }
    }

    /// Adds a value of the figure `name`; call it in the order of recording. `counts` says whether its success was as
    /// expected.
    pub fn add(&mut self, name: String, checkin_id: i64, value: f64, counts: bool) {
        self.values.entry(name).or_default().push(Value { checkin_id, value, counts });
    }

    /// The unexpected figures of this success, judged by the earlier values, as a sentence; `None` if there are none.
    pub fn judge(&mut self, expect: &Expect, checkin_id: i64, figures: &Figures) -> Option<String> {
        let words = expect.unexpected(figures, |name| self.past(name, checkin_id));
        if words.is_some() {
            self.exclude(checkin_id);
        }
        words
    }

    /// Excludes this success from all medians.
    pub fn exclude(&mut self, checkin_id: i64) {
        self.excluded.insert(checkin_id);
    }

    /// Whether this check-in was found to be as expected, or was accepted.
    pub fn is_known_to_count(&self, checkin_id: i64) -> bool {
        !self.excluded.contains(&checkin_id) && self.of(checkin_id).any(|known| known.counts)
    }

    /// Whether this success is known to have had unexpected figures or to have been too short.
    pub fn is_known_as_bad(&self, checkin_id: i64) -> bool {
        self.of(checkin_id).any(|known| !known.counts)
    }

    /// The values of a figure that count in a median for the check-in `before`, the latest last.
    pub fn past(&self, name: &str, before: i64) -> Vec<f64> {
        // Check-ins before the acceptance are judged by the values that counted then.
        let from = self.accepted_from.filter(|from| *from <= before).unwrap_or(i64::MIN);
        let counts = |known: &&Value| {
            known.counts
                && (from..before).contains(&known.checkin_id)
                && !self.excluded.contains(&known.checkin_id)
        };
        self.values.get(name).into_iter().flatten().filter(counts).map(|known| known.value).collect()
    }

    fn of(&self, checkin_id: i64) -> impl Iterator<Item = &Value> {
        self.values.values().flatten().filter(move |known| known.checkin_id == checkin_id)
    }
}
