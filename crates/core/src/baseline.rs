//! The values that the figures of a job had before, by which it is judged whether those of a success are as
//! expected.

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
    /// Successes that were found to be other than expected, or too short.
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
    /// Without a value yet. `accepted_from` is the first check-in whose values a person has accepted.
    pub fn new(accepted_from: Option<i64>) -> Self {
        Self { accepted_from, ..Self::default() }
    }

    /// Adds a value of the figure `name`, recorded after those before it. `counts` says whether its success
    /// was as expected.
    pub fn add(&mut self, name: String, checkin_id: i64, value: f64, counts: bool) {
        self.values.entry(name).or_default().push(Value { checkin_id, value, counts });
    }

    /// What in the figures of this success is other than expected, by the values before it.
    pub fn judge(&mut self, expect: &Expect, checkin_id: i64, figures: &Figures) -> Option<String> {
        let words = expect.unexpected(figures, |name| self.past(name, checkin_id));
        if words.is_some() {
            self.exclude(checkin_id);
        }
        words
    }

    /// Has no median count this success.
    pub fn exclude(&mut self, checkin_id: i64) {
        self.excluded.insert(checkin_id);
    }

    /// Whether this check-in was found to be as expected, or was accepted.
    pub fn is_known_to_count(&self, checkin_id: i64) -> bool {
        !self.excluded.contains(&checkin_id) && self.of(checkin_id).any(|known| known.counts)
    }

    /// Whether this success was found to be other than expected, or too short.
    pub fn is_known_as_bad(&self, checkin_id: i64) -> bool {
        self.of(checkin_id).any(|known| !known.counts)
    }

    /// The values of a figure that a median counts for the check-in `before`, the latest last.
    pub fn past(&self, name: &str, before: i64) -> Vec<f64> {
        // What was before it was accepted is judged by what was right then.
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
