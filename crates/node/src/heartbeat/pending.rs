//! Pending work by its time of arrival. The caller learns until when all work that arrived is done, however it is
//! queued, passed on, retried or given up.
//!
//! Time is divided into slices, each of which counts the pending work that arrived in it. So an arrival costs two
//! additions and no lock, and the result is too early by one slice at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The length of a slice.
const SLICE: Duration = Duration::from_millis(50);
/// The number of separate counters, enough for the last seven minutes. Older work shares a counter with a later slice,
/// which can only make the result earlier.
const SLICES: u64 = 8192;

/// The slices of one kind of work.
#[derive(Debug)]
pub(super) struct Slices {
    started: Instant,
    counts: Box<[AtomicU32]>,
    /// All work in slices before this one is done.
    first: AtomicU64,
}

/// One item of pending work; dropping it means that it is done.
#[derive(Debug)]
pub struct Pending {
    slices: Arc<Slices>,
    slice: u64,
}

impl Slices {
    pub fn new(started: Instant) -> Self {
        let counts = (0..SLICES).map(|_| AtomicU32::new(0)).collect();
        Self { started, counts, first: AtomicU64::new(0) }
    }

    /// Adds an item that arrives at `now`.
    pub fn come(self: &Arc<Self>, now: Instant) -> Pending {
        let slice = self.slice(now);
        self.count(slice).fetch_add(1, Ordering::SeqCst);
        Pending { slices: Arc::clone(self), slice }
    }

    /// All work that had arrived by the returned time is done.
    pub fn done_until(&self, now: Instant) -> Instant {
        let current = self.slice(now);
        let mut first = self.first.load(Ordering::SeqCst);
        while first < current && self.count(first).load(Ordering::SeqCst) == 0 {
            first += 1;
        }
        self.first.fetch_max(first, Ordering::SeqCst);
        let all_done = first >= current && self.count(current).load(Ordering::SeqCst) == 0;
        if all_done { now } else { self.begin(first).min(now) }
    }

    fn slice(&self, at: Instant) -> u64 {
        (at.saturating_duration_since(self.started).as_millis() / SLICE.as_millis()) as u64
    }

    fn begin(&self, slice: u64) -> Instant {
        self.started + Duration::from_millis(slice * SLICE.as_millis() as u64)
    }

    fn count(&self, slice: u64) -> &AtomicU32 {
        &self.counts[(slice % SLICES) as usize]
    }
}

impl Pending {
    /// When it arrived, or a moment before.
    pub fn since(&self) -> Instant {
        self.slices.begin(self.slice)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.slices.count(self.slice).fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_done_up_to_the_oldest_that_is_not_in_whatever_order_they_are_done() {
        let started = Instant::now();
        let slices = Arc::new(Slices::new(started));
        let at = |slice: u32| started + SLICE * slice;
        assert_eq!(slices.done_until(at(1)), at(1));
        let (old, middle, young) = (slices.come(at(2)), slices.come(at(4) + SLICE / 2), slices.come(at(6)));
        assert_eq!((middle.since(), slices.done_until(at(9))), (at(4), at(2)));
        drop(middle);
        assert_eq!(slices.done_until(at(9)), at(2));
        drop(old);
        assert_eq!(slices.done_until(at(9)), at(6));
        drop(young);
        assert_eq!(slices.done_until(at(9)), at(9));
    }

    #[test]
    fn one_that_waits_for_longer_than_there_are_slices_is_not_forgotten() {
        let started = Instant::now();
        let slices = Arc::new(Slices::new(started));
        let at = |slice: u64| started + SLICE * slice as u32;
        let old = slices.come(at(3));
        for slice in 4..SLICES + 10 {
            drop(slices.come(at(slice)));
        }
        assert_eq!(slices.done_until(at(SLICES * 2)), at(3));
        let shares_its_count = slices.come(at(SLICES + 3));
        drop(old);
        assert!(slices.done_until(at(SLICES * 2)) <= at(SLICES + 3));
        drop(shares_its_count);
        assert_eq!(slices.done_until(at(SLICES * 2)), at(SLICES * 2));
    }
}
