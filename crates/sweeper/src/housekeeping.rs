//! What is done now and then: pruning.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::{Clock, lived};
use innkeeper_node::Shutdown;
use innkeeper_node::config::Live;
use innkeeper_node::heartbeat::Singleton;
use innkeeper_store::{Store, StoreError, UNDO_WITHIN, Walk};

/// How often.
const EVERY: Duration = Duration::from_secs(600);
/// The first time, after the start: late enough not to slow it down.
const FIRST: Duration = Duration::from_secs(30);

/// How long a blind window is remembered: a job that was last heard of before it has long been told about.
const BLIND_WINDOWS_KEPT: TimeDelta = TimeDelta::days(90);

/// How long a step of a clock is remembered.
const STEPS_KEPT: TimeDelta = TimeDelta::days(90);

/// How long the audit log goes back.
const AUDIT_KEPT: TimeDelta = TimeDelta::days(400);

/// How long it is remembered when somebody was written to last: longer than any storm gathers.
const PACING_KEPT: TimeDelta = TimeDelta::hours(1);

/// What the housekeeping works with.
pub(crate) struct Keeper {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub live: Live,
    pub singleton: Singleton,
}

impl Keeper {
    /// Does it once, if this node is the one to do it, and stops when it is not any more.
    pub fn keep_once(&self, walk: &mut Walk, shutdown: &Shutdown) -> Result<(), StoreError> {
        if !self.singleton.is_held() || !self.clock.is_steady() {
            return Ok(());
        }
        let now = self.clock.now();
        let config = self.live.get();
        // Neither an outage nor a clock that jumped makes anything old.
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
pub(crate) fn run(keeper: &Keeper, shutdown: &Shutdown) {
    let (mut pause, mut walk) = (FIRST, Walk::default());
    while !shutdown.wait_timeout(pause) {
        if let Err(error) = keeper.keep_once(&mut walk, shutdown) {
            log::warn!("housekeeping: {error}; trying again in {} min", EVERY.as_secs() / 60);
        }
        pause = EVERY;
    }
}
