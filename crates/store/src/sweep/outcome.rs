//! What a pass of the sweep did.

use std::collections::BTreeMap;

/// What one pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepOutcome {
    /// Reservations that were looked at.
    pub looked: usize,
    /// Alerts that opened, those that closed at once included.
    pub opened: usize,
    /// Alerts that closed.
    pub closed: usize,
    /// Alerts that were told again.
    pub reminded: usize,
    /// Messages put into the outbox, by alerter.
    pub deliveries: BTreeMap<String, usize>,
    /// Reservations that could not be judged, and why. They are the caller's to [put
    /// aside](crate::Store::put_aside).
    pub unjudged: Vec<(i64, String)>,
    /// The names of those that could be judged again.
    pub judged_again: Vec<String>,
}

impl SweepOutcome {
    /// Adds what another part of the same pass did.
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
