//! What this process has claimed and not yet recorded. Its leases are short, so that another sweeper soon takes over after a
//! crash, and are renewed while it lives, so that a slow provider's messages stay its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::{Clock, Time};
use innkeeper_node::{Seldom, Shutdown};
use innkeeper_store::{Sending, Store, StoreError};
use parking_lot::{Mutex, MutexGuard};

/// The claims under way, by token. Clones share them.
#[derive(Clone, Default)]
pub struct Leases(Arc<Mutex<HashMap<String, Vec<i64>>>>);

/// A claim under way; it ends when this is dropped.
pub(crate) struct HeldLease<'a> {
    leases: &'a Leases,
    token: &'a str,
}

impl Leases {
    /// Remembers the claim `token` of `sendings` until the result is dropped.
    pub(crate) fn hold<'a>(&'a self, token: &'a str, sendings: &[Sending]) -> HeldLease<'a> {
        let deliveries = sendings.iter().flat_map(|sending| &sending.deliveries);
        self.claims().insert(token.to_owned(), deliveries.map(|delivery| delivery.id).collect());
        HeldLease { leases: self, token }
    }

    /// Prolongs every claim under way until `until`.
    ///
    /// # Errors
    /// The database's; the claims then hold for as long as they did.
    pub fn renew(&self, store: &Store, until: Time) -> Result<(), StoreError> {
        let claims: Vec<(String, Vec<i64>)> =
            self.claims().iter().map(|(token, ids)| (token.clone(), ids.clone())).collect();
        claims.iter().try_for_each(|(token, ids)| store.renew_lease(token, ids, until))
    }

    fn claims(&self) -> MutexGuard<'_, HashMap<String, Vec<i64>>> {
        self.0.lock()
    }
}

impl Drop for HeldLease<'_> {
    fn drop(&mut self) {
        self.leases.claims().remove(self.token);
    }
}

/// The loop: three times in the span of a lease, until the process stops.
pub(crate) fn run(leases: &Leases, store: &Store, clock: &dyn Clock, lease: TimeDelta, shutdown: &Shutdown) {
    let pause = (lease / 3).to_std().unwrap_or(Duration::from_secs(1));
    let complaints = Seldom::new();
    while !shutdown.wait_timeout(pause) {
        if let Err(error) = leases.renew(store, clock.now() + lease) {
            complaints.warn(format_args!("leases: {error}"));
        }
    }
}
