//! Check-ins of reservations that somebody else has locked: they wait by themselves, so that they hold up nobody but themselves.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::queue::Batch;

/// Several reservations that are locked for longer are a failure. A sweep may hold its rows for some time.
const FAILS_AFTER: Duration = Duration::from_secs(3);

/// Those that wait, in groups of one target each.
pub(crate) struct Locked {
    groups: VecDeque<Group>,
    most: usize,
}

/// Check-ins of one target.
pub(crate) struct Group {
    pub batch: Batch,
    /// Since when it has been known that it is locked.
    since: Instant,
}

impl Locked {
    /// Of as many targets as `most`, and about as many of each.
    pub fn new(most: usize) -> Self {
        Self { groups: VecDeque::new(), most }
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.groups.len() >= self.most
    }

    /// Keeps check-ins of one target, which was found to be locked just now.
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

    /// Whether this is a failure: several are locked, and have been for long.
    pub fn is_failure(&self) -> bool {
        self.groups.len() > 1 && self.groups.iter().any(|group| group.since.elapsed() >= FAILS_AFTER)
    }

    /// The one that was tried longest ago.
    pub fn next(&mut self) -> Option<Group> {
        self.groups.pop_front()
    }

    /// It is locked still.
    pub fn again(&mut self, group: Group) {
        self.groups.push_back(group);
    }
}

impl Group {
    /// One reservation alone is locked, and check-ins can be written as of `proved`: then nobody's silence has to wait for these. The
    /// sweep leaves out a row that is locked, so their own job is not judged either.
    pub fn hold_up_nobody_if(&mut self, proved: Option<Instant>) {
        if proved.is_some_and(|proved| proved >= self.since) {
            self.batch.count_no_more();
        }
    }

    /// There is an end to how many are kept: those that were answered 503 go first.
    fn add(&mut self, batch: Batch, most: usize) {
        for entry in batch.into_entries() {
            self.batch.push(entry);
        }
        if self.batch.arrivals.len() > most {
            self.batch.forget_unasked();
        }
    }
}
