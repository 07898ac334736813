//! Keeps a worker pool of senders for each alerter of the current configuration that is not parked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender as End;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use innkeeper_core::Clock;
use innkeeper_core::ways::parked_words;
use innkeeper_node::config::Live;
use innkeeper_node::heartbeat::progress::Progress;
use innkeeper_node::{Config, Metrics, Shutdown, SupervisedThread, Ways};
use innkeeper_store::Store;
use parking_lot::Mutex;

use crate::dispatch::{self, DeliverySender, WorkerPool};
use crate::leases::Leases;

/// The pause before a worker pool that could not be started is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// The running worker pools, and what new ones need.
pub(crate) struct WorkerPools {
    /// The database with the outbox.
    pub store: Store,
    pub ways: Ways,
    pub live: Live,
    pub clock: Arc<dyn Clock>,
    pub leases: Leases,
    pub lease: TimeDelta,
    /// The number of senders per alerter.
    pub senders: usize,
    pub metrics: Metrics,
    /// The progress of the senders, for the health status.
    pub progress: Progress,
    pub shutdown: Shutdown,
    /// The threads, which are joined at the stop.
    pub parts: Arc<Mutex<Vec<SupervisedThread>>>,
    /// Each thread holds a clone until it ends.
    pub end: End<()>,
    pub working: Vec<WorkerPool>,
    /// The parked alerters at the last call; before the first call, those that sweepers published before this process
    /// started.
    pub parked: BTreeSet<String>,
    /// The configuration of the last call.
    pub of: Option<Arc<Config>>,
    /// When a worker pool could not be started.
    pub failed_at: Option<Instant>,
}

impl WorkerPools {
    /// Starts worker pools for new alerters, and ends those of alerters that are gone. Returns the configuration if it
    /// has changed since the last call.
    ///
    /// # Errors
    /// A thread cannot be started. A call some seconds later tries again.
    pub(crate) fn follow(&mut self) -> anyhow::Result<Option<Arc<Config>>> {
        let config = self.live.get();
        if self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, &config)) {
            return Ok(None);
        }
        if self.failed_at.is_some_and(|at| at.elapsed() < AGAIN) {
            return Ok(None);
        }
        let alerters = self.ways.now();
        let parked: BTreeSet<String> = alerters.parked().map(|(name, _)| name.to_string()).collect();
        // At the start each program logs this itself.
        for name in parked.difference(&self.parked).filter(|_| self.of.is_some()) {
            log::warn!("alerter.{}", parked_words(name));
        }
        let was_parked = |name: &str| self.parked.contains(name) && !parked.contains(name);
        let kind =
            |worker_pool: &WorkerPool| alerters.get(worker_pool.name.as_str()).map(|alerter| alerter.kind());
        self.working.retain(|worker_pool| {
            let stays = kind(worker_pool) == Some(worker_pool.kind);
            if !stays {
                worker_pool.retire();
            }
            stays
        });
        let mut failed = None;
        for name in alerters.names() {
            if self.working.iter().any(|worker_pool| worker_pool.name == *name) {
                continue;
            }
            let Some(alerter) = alerters.get(name.as_str()) else { continue };
            let mut worker_pool = WorkerPool::new(name, alerter, self.senders, &self.shutdown);
            if was_parked(name.as_str()) {
                log::info!("alerter.{name} is enabled again: what waited for it goes out");
                worker_pool.enabled_at = Some(self.clock.now());
            }
            match self.start(&worker_pool) {
                Ok(()) => self.working.push(worker_pool),
                Err(error) => {
                    // Ends those threads of the pool that did start.
                    worker_pool.retire();
                    failed = Some(error.context(format!("alerter.{name}")));
                }
            }
        }
        self.failed_at = failed.is_some().then(Instant::now);
        if let Some(error) = failed {
            return Err(error);
        }
        self.parked = parked;
        self.of = Some(Arc::clone(&config));
        Ok(Some(config))
    }

    fn start(&self, worker_pool: &WorkerPool) -> anyhow::Result<()> {
        for (place, wake) in worker_pool.wakes.iter().enumerate() {
            let mut sender = DeliverySender {
                store: self.store.clone(),
                alerters: self.ways.now(),
                name: worker_pool.name.clone(),
                clock: Arc::clone(&self.clock),
                lease: self.lease,
                leases: self.leases.clone(),
                claiming: Arc::clone(&worker_pool.claiming),
                cursor: Arc::clone(&worker_pool.cursor),
                retry_for: self.live.get().sweeper.retry_for,
                enabled_at: worker_pool.enabled_at,
                metrics: self.metrics.clone(),
                complaints: Arc::clone(&worker_pool.complaints),
                progress: self.progress.clone(),
            };
            let (wake, stop) = (wake.clone(), self.shutdown.clone());
            let helpers = if place == 0 { worker_pool.wakes[1..].to_vec() } else { Vec::new() };
            let (ways, live, retired) =
                (self.ways.clone(), self.live.clone(), Arc::clone(&worker_pool.retired));
            let end = self.end.clone();
            let part = SupervisedThread::spawn("sender", &self.shutdown, move || {
                let refresh = |sender: &mut DeliverySender| {
                    sender.alerters = ways.now();
                    sender.retry_for = live.get().sweeper.retry_for;
                    !retired.load(Ordering::Relaxed)
                };
                dispatch::run(&mut sender, refresh, place == 0, &wake, &helpers, &stop);
                drop(end);
                Ok(())
            })?;
            self.parts.lock().push(part);
        }
        Ok(())
    }
}

/// The alerters that sweepers published as parked before this process started. If this process has enabled one, its
/// messages were not tried before.
pub(crate) fn parked_before(store: &Store) -> BTreeSet<String> {
    match store.published_ways() {
        Ok(said) => said.iter().flat_map(|(_, ways)| ways.parked().map(str::to_owned)).collect(),
        Err(error) => {
            log::debug!("which alerters were parked before: {error}");
            BTreeSet::new()
        }
    }
}
