//! Periodic housekeeping: pruning of old rows.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::{Clock, lived};
use innkeeper_node::Shutdown;
use innkeeper_node::config::Live;
use innkeeper_node::heartbeat::Singleton;
use innkeeper_store::{Store, StoreError, UNDO_WITHIN, Walk};

/// The interval between two rounds.
const EVERY: Duration = Duration::from_secs(600);
/// The delay of the first round after the start, so that it does not slow the start down.
const FIRST: Duration = Duration::from_secs(30);

/// How long a blind window is kept. A job that was last heard of before it has long been reported.
const BLIND_WINDOWS_KEPT: TimeDelta = TimeDelta::days(90);

/// How long a clock step is kept.
const STEPS_KEPT: TimeDelta = TimeDelta::days(90);

/// How long entries of the audit log are kept.
const AUDIT_KEPT: TimeDelta = TimeDelta::days(400);

/// How long the time of the last message to a recipient is kept: longer than any digest gathers.
const PACING_KEPT: TimeDelta = TimeDelta::hours(1);

/// The parts that housekeeping needs.
pub(crate) struct Housekeeper {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub live: Live,
    pub singleton: Singleton,
}

impl Housekeeper {
    /// Does one round, if this node holds the lease, and stops when it loses it.
    pub fn keep_once(&self, walk: &mut Walk, shutdown: &Shutdown) -> Result<(), StoreError> {
        if !self.singleton.is_held() || !self.clock.is_steady() {
            return Ok(());
        }
        let now = self.clock.now();
        let config = self.live.get();
        // Ages count only the time in which Innkeeper was running and its clock was steady.
        let windows = self.store.blind_windows(now)?;
        let ago = |age| lived::ago(&windows, age, now);
        self.store.forget_blind_windows(ago(BLIND_WINDOWS_KEPT))?;
        self.store.forget_clock_steps(ago(STEPS_KEPT))?;
        self.store.forget_visits(ago(AUDIT_KEPT), now)?;
        self.store.forget_pacing(now - PACING_KEPT)?;
        self.store.forget_checkouts(ago(UNDO_WITHIN))?;
        let go_on = || self.singleton.is_held() && self.clock.is_steady() && !shutdown.is_requested();
        self.store.forget_report_keys(ago(config.ingest.reports_back), &go_on)?;
        let older_than = ago(TimeDelta::days(config.history.keep_days.into()));
        let pruned = self.store.prune(config.history.keep_checkins.into(), older_than, walk, &go_on)?;
        log::debug!("pruned {pruned:?}");
        Ok(())
    }
}

/// The loop, until the process stops.
pub(crate) fn run(keeper: &Housekeeper, shutdown: &Shutdown) {
    let (mut pause, mut walk) = (FIRST, Walk::default());
    while !shutdown.wait_timeout(pause) {
        if let Err(error) = keeper.keep_once(&mut walk, shutdown) {
            log::warn!("housekeeping: {error}; trying again in {} min", EVERY.as_secs() / 60);
        }
        pause = EVERY;
    }
}
