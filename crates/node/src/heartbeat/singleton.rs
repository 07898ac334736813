//! Work that only one node does: it holds a lease, and stops before anybody else can take it.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::Clock;
use innkeeper_store::{Store, StoreError};
use parking_lot::{Mutex, MutexGuard};

use crate::Shutdown;
use crate::clock::boot;

/// The name of the lease for all singleton work.
pub const LEASE: &str = "coordinator";
/// How long the lease lasts without a renewal.
pub const SPAN: Duration = Duration::from_secs(6);
/// How long before the end of the lease its holder stops, because its boot clock may run at a slightly different rate.
pub const MARGIN: Duration = Duration::from_secs(1);
/// How often the lease is renewed or tried for.
const EVERY: Duration = Duration::from_secs(1);

/// Whether this node holds the lease. Clones share it.
#[derive(Clone)]
pub struct Singleton {
    store: Store,
    holder: String,
    clock: Arc<dyn Clock>,
    /// The end of the lease by the boot clock, so that a machine that slept through it notices.
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

    /// Tries to take or renew the lease. Returns whether it is held now.
    ///
    /// # Errors
    /// A database error; a lease that was held keeps its end.
    pub fn claim(&self) -> Result<bool, StoreError> {
        // The lease counts from before the query; the database counts from later, so the holder stops first.
        let asked = boot::now();
        let span = TimeDelta::from_std(SPAN).unwrap_or_default();
        let taken = self.store.take_lease(LEASE, &self.holder, span, self.clock.now())?;
        let mut until = self.until();
        let had = until.is_some();
        *until = taken.then(|| asked + SPAN - MARGIN);
        match (had, taken) {
            (false, true) => log::info!("this node is the coordinator now"),
            (true, false) => log::info!("another node is the coordinator now"),
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
