//! The senders that there are: a crew for each alerter of the configuration in force.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender as End;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use innkeeper_core::Clock;
use innkeeper_node::config::Live;
use innkeeper_node::heart::progress::Progress;
use innkeeper_node::{Config, Metrics, Part, Shutdown, Ways};
use innkeeper_store::Store;

use crate::dispatch::{self, Crew, Sender};
use crate::leases::Leases;

/// How soon a crew that could not be started is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// What crews are made with, and those that work.
pub(crate) struct Crews {
    /// Where their outbox is.
    pub store: Store,
    pub ways: Ways,
    pub live: Live,
    pub clock: Arc<dyn Clock>,
    pub leases: Leases,
    pub lease: TimeDelta,
    /// How many send, per alerter.
    pub senders: usize,
    pub metrics: Metrics,
    /// How the senders get on with what they write of messages.
    pub progress: Progress,
    pub shutdown: Shutdown,
    /// Where their threads are joined.
    pub parts: Arc<Mutex<Vec<Part>>>,
    /// Each thread holds one until it ends.
    pub end: End<()>,
    pub working: Vec<Crew>,
    /// The configuration that those are of.
    pub of: Option<Arc<Config>>,
    /// When one could not be started.
    pub failed_at: Option<Instant>,
}

impl Crews {
    /// Starts the crews of alerters that are new, and has those of alerters that are gone end. Returns the configuration when it is not
    /// the one of the last call.
    ///
    /// # Errors
    /// When the system gives no thread: it is tried again at a call some seconds later.
    pub(crate) fn follow(&mut self) -> anyhow::Result<Option<Arc<Config>>> {
        let config = self.live.get();
        if self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, &config)) {
            return Ok(None);
        }
        if self.failed_at.is_some_and(|at| at.elapsed() < AGAIN) {
            return Ok(None);
        }
        let alerters = self.ways.now();
        let kind = |crew: &Crew| alerters.get(crew.name.as_str()).map(|alerter| alerter.kind());
        self.working.retain(|crew| {
            let stays = kind(crew) == Some(crew.kind);
            if !stays {
                crew.retire();
            }
            stays
        });
        let mut failed = None;
        for name in alerters.names() {
            if self.working.iter().any(|crew| crew.name == *name) {
                continue;
            }
            let Some(alerter) = alerters.get(name.as_str()) else { continue };
            let crew = Crew::new(name, alerter, self.senders, &self.shutdown);
            match self.start(&crew) {
                Ok(()) => self.working.push(crew),
                Err(error) => {
                    // Those that did start.
                    crew.retire();
                    failed = Some(error.context(format!("alerter.{name}")));
                }
            }
        }
        self.failed_at = failed.is_some().then(Instant::now);
        if let Some(error) = failed {
            return Err(error);
        }
        self.of = Some(Arc::clone(&config));
        Ok(Some(config))
    }

    fn start(&self, crew: &Crew) -> anyhow::Result<()> {
        for (place, bell) in crew.bells.iter().enumerate() {
            let mut sender = Sender {
                store: self.store.clone(),
                alerters: self.ways.now(),
                name: crew.name.clone(),
                clock: Arc::clone(&self.clock),
                lease: self.lease,
                leases: self.leases.clone(),
                claiming: Arc::clone(&crew.claiming),
                begin: Arc::clone(&crew.begin),
                retry_for: self.live.get().sweeper.retry_for,
                metrics: self.metrics.clone(),
                complaints: Arc::clone(&crew.complaints),
                progress: self.progress.clone(),
            };
            let (bell, stop) = (bell.clone(), self.shutdown.clone());
            let helpers = if place == 0 { crew.bells[1..].to_vec() } else { Vec::new() };
            let (ways, live, retired) = (self.ways.clone(), self.live.clone(), Arc::clone(&crew.retired));
            let end = self.end.clone();
            let part = Part::spawn("sender", &self.shutdown, move || {
                let refresh = |sender: &mut Sender| {
                    sender.alerters = ways.now();
                    sender.retry_for = live.get().sweeper.retry_for;
                    !retired.load(Ordering::Relaxed)
                };
                dispatch::run(&mut sender, refresh, place == 0, &bell, &helpers, &stop);
                drop(end);
                Ok(())
            })?;
            self.parts.lock().unwrap_or_else(PoisonError::into_inner).push(part);
        }
        Ok(())
    }
}

/// Whether a crew is to end.
pub(crate) type Retired = Arc<AtomicBool>;
