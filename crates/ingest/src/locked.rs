//! Check-ins of locked reservations: they are kept apart, so that they delay only themselves.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::queue::Batch;

/// Several reservations locked for longer count as a failure. A sweep may hold its rows for some time.
const FAILS_AFTER: Duration = Duration::from_secs(3);

/// The waiting check-ins, in groups of one target each.
pub(crate) struct Locked {
    groups: VecDeque<Group>,
    most: usize,
}

/// Check-ins of one target.
pub(crate) struct Group {
    pub batch: Batch,
    /// When it was first found to be locked.
    since: Instant,
}

impl Locked {
    /// Room for `most` targets, and about as many check-ins of each.
    pub fn new(most: usize) -> Self {
        Self { groups: VecDeque::new(), most }
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.groups.len() >= self.most
    }

    /// Keeps check-ins of one target that was just found to be locked.
    pub fn push(&mut self, batch: Batch) {
        match self.groups.iter_mut().find(|group| group.batch.target() == batch.target()) {
            Some(group) => group.add(batch, self.most),
            None => self.groups.push_back(Group { batch, since: Instant::now() }),
        }
    }

    /// Keeps those of the batch whose target is known to be locked; returns the others.
    pub fn take_from(&mut self, batch: Batch) -> Batch {
        if self.is_empty() {
            return batch;
        }
        let mut rest = Batch::default();
        for entry in batch.into_entries() {
            let target = entry.target();
            match self.groups.iter_mut().find(|group| group.batch.target() == Some(target)) {
                Some(group) => group.add(Batch::from(entry), self.most),
                None => rest.push(entry),
            }
        }
        rest
    }

    /// Whether this counts as a failure: several reservations have been locked for long.
    pub fn is_failure(&self) -> bool {
        self.groups.len() > 1 && self.groups.iter().any(|group| group.since.elapsed() >= FAILS_AFTER)
    }

    /// The group whose last attempt was the longest ago.
    pub fn next(&mut self) -> Option<Group> {
        self.groups.pop_front()
    }

    /// Returns a group that is still locked.
    pub fn again(&mut self, group: Group) {
        self.groups.push_back(group);
    }
}

impl Group {
    /// If only one reservation is locked, and check-ins could be written as of `proved`, these no longer delay the
    /// judgement of other jobs. A sweep skips locked rows, so their own job is not judged either.
    pub fn hold_up_nobody_if(&mut self, proved: Option<Instant>) {
        if proved.is_some_and(|proved| proved >= self.since) {
            self.batch.count_no_more();
        }
    }

    /// Adds check-ins up to the limit; those that were answered 503 are dropped first.
    fn add(&mut self, batch: Batch, most: usize) {
        for entry in batch.into_entries() {
            self.batch.push(entry);
        }
        if self.batch.arrivals.len() > most {
            self.batch.forget_unasked();
        }
    }
}
