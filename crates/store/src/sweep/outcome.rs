//! The result of a sweep.

use std::collections::BTreeMap;

/// What one sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepOutcome {
    /// How many reservations were claimed.
    pub looked: usize,
    /// How many alerts opened, including those that closed at once.
    pub opened: usize,
    /// How many alerts closed, including those that had only just opened.
    pub closed: usize,
    /// How many open alerts were reported again.
    pub reminded: usize,
    /// How many messages were put into the outbox, by alerter.
    pub deliveries: BTreeMap<String, usize>,
    /// The ids of reservations that could not be judged, and why. The caller must [put them
    /// aside](crate::Store::put_aside).
    pub unjudged: Vec<(i64, String)>,
    /// The names of reservations that could be judged again.
    pub judged_again: Vec<String>,
}

impl SweepOutcome {
    /// Adds the result of another part of the same sweep.
    pub(crate) fn add(&mut self, other: Self) {
        self.looked += other.looked;
        self.opened += other.opened;
        self.closed += other.closed;
        self.reminded += other.reminded;
        for (alerter, count) in other.deliveries {
            *self.deliveries.entry(alerter).or_default() += count;
        }
        self.unjudged.extend(other.unjudged);
        self.judged_again.extend(other.judged_again);
    }
}
