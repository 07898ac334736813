//! Work that only one node does: it holds a lease, and stops before anybody else can take it.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::Clock;
use innkeeper_store::{Store, StoreError};
use parking_lot::{Mutex, MutexGuard};

use super::clock::boot;
use crate::Shutdown;

/// The lease of all singleton work.
pub const LEASE: &str = "coordinator";
/// How long the lease lasts without being prolonged.
pub const SPAN: Duration = Duration::from_secs(6);
/// How long before that its holder stops: by its own boot clock, which may run a little differently.
pub const MARGIN: Duration = Duration::from_secs(1);
/// How often it is prolonged, or tried for.
const EVERY: Duration = Duration::from_secs(1);

/// Whether this node is the one. Clones share it.
#[derive(Clone)]
pub struct Singleton {
    store: Store,
    holder: String,
    clock: Arc<dyn Clock>,
    /// By the boot clock: one that slept through its lease holds it no more.
    until: Arc<Mutex<Option<Duration>>>,
}

impl Singleton {
    /// The claim of the node `holder`, which does not hold the lease yet.
    pub fn new(store: Store, holder: &str, clock: Arc<dyn Clock>) -> Self {
        Self { store, holder: holder.to_owned(), clock, until: Arc::default() }
    }

    /// Whether it holds the lease, and may go on.
    pub fn is_held(&self) -> bool {
        self.until().is_some_and(|until| boot::now() < until)
    }

    /// Tries to take the lease or to prolong it. Returns whether it is held now.
    ///
    /// # Errors
    /// The database's; the lease that was held lasts as long as it would have.
    pub fn claim(&self) -> Result<bool, StoreError> {
        // Counted from before the asking: the database counts from later.
        let asked = boot::now();
        let span = TimeDelta::from_std(SPAN).unwrap_or_default();
        let taken = self.store.take_lease(LEASE, &self.holder, span, self.clock.now())?;
        let mut until = self.until();
        let had = until.is_some();
        *until = taken.then(|| asked + SPAN - MARGIN);
        match (had, taken) {
            (false, true) => log::info!("this node does what only one may do"),
            (true, false) => log::info!("another node does what only one may do"),
            _ => {}
        }
        Ok(taken)
    }

    /// Gives the lease back, so that another node need not wait for its end.
    fn give_back(&self) {
        if self.until().take().is_some()
            && let Err(error) = self.store.give_lease_back(LEASE, &self.holder)
        {
            log::debug!("the lease ends by itself: {error}");
        }
    }

    /// Keeps trying until the process stops.
    pub fn run(&self, shutdown: &Shutdown) {
        loop {
            if let Err(error) = self.claim() {
                log::debug!("the lease: {error}");
            }
            if shutdown.wait_timeout(EVERY) {
                return self.give_back();
            }
        }
    }

    fn until(&self) -> MutexGuard<'_, Option<Duration>> {
        self.until.lock()
    }
}
