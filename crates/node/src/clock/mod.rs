//! The clock of a node: the boot clock (`boot.rs`) plus an anchor, which `heartbeat/clock/` moves.

pub mod boot;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use chrono::TimeDelta;
use innkeeper_core::{Clock, SystemClock, Time};
use innkeeper_store::{Store, StoreError};

/// A smaller offset counts as zero, because reading two clocks takes time.
const NOISE: TimeDelta = TimeDelta::milliseconds(20);

/// The time that all nodes share, as far as this one knows it.
#[derive(Debug)]
pub struct NodeClock {
    anchor_ms: AtomicI64,
    steady: AtomicBool,
}

impl Default for NodeClock {
    /// The machine's clock, until the reference has been sampled.
    fn default() -> Self {
        let anchor = SystemClock.now().timestamp_millis() - boot_ms();
        Self { anchor_ms: AtomicI64::new(anchor), steady: AtomicBool::new(false) }
    }
}

impl NodeClock {
    /// How far this clock is ahead of the machine's clock.
    pub fn offset(&self) -> TimeDelta {
        let offset = self.now() - SystemClock.now();
        if offset.abs() <= NOISE { TimeDelta::zero() } else { offset }
    }

    pub(crate) fn set(&self, anchor_ms: i64, steady: bool) {
        self.anchor_ms.store(anchor_ms, Ordering::SeqCst);
        self.steady.store(steady, Ordering::SeqCst);
    }
}

impl Clock for NodeClock {
    fn now(&self) -> Time {
        let at = boot_ms().saturating_add(self.anchor_ms.load(Ordering::SeqCst));
        Time::from_timestamp_millis(at).unwrap_or_else(|| SystemClock.now())
    }

    fn uncorrected(&self) -> Time {
        SystemClock.now()
    }

    fn is_steady(&self) -> bool {
        self.steady.load(Ordering::SeqCst)
    }
}

/// The time that the nodes use, for a command that ends at once.
///
/// # Errors
/// A database error.
pub fn reference(store: &Store) -> Result<Time, StoreError> {
    Ok(store.database_time()?.unwrap_or_else(|| SystemClock.now()))
}

pub(crate) fn boot_ms() -> i64 {
    i64::try_from(boot::now().as_millis()).unwrap_or(i64::MAX)
}
