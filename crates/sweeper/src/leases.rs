//! The claims of this process whose outcome is not yet recorded. Leases are short, so that another sweeper takes over
//! soon after a crash. They are renewed while the process lives, so that a slow provider's messages stay with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::{Clock, Time};
use innkeeper_node::{Seldom, Shutdown};
use innkeeper_store::{Sending, Store, StoreError};
use parking_lot::{Mutex, MutexGuard};

/// The current claims, by token. Clones share them.
#[derive(Clone, Default)]
pub struct Leases(Arc<Mutex<HashMap<String, Vec<i64>>>>);

/// A current claim. It ends when this value is dropped.
pub(crate) struct HeldLease<'a> {
    leases: &'a Leases,
    token: &'a str,
}

impl Leases {
    /// Remembers the claim `token` of `sendings` until the returned value is dropped.
    pub(crate) fn hold<'a>(&'a self, token: &'a str, sendings: &[Sending]) -> HeldLease<'a> {
        let deliveries = sendings.iter().flat_map(|sending| &sending.deliveries);
        self.claims().insert(token.to_owned(), deliveries.map(|delivery| delivery.id).collect());
        HeldLease { leases: self, token }
    }

    /// Extends every current claim until `until`.
    ///
    /// # Errors
    /// A database error. The claims then keep their former expiry.
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

/// The loop, until the process stops: renews the claims three times per lease.
pub(crate) fn run(leases: &Leases, store: &Store, clock: &dyn Clock, lease: TimeDelta, shutdown: &Shutdown) {
    let pause = (lease / 3).to_std().unwrap_or(Duration::from_secs(1));
    let complaints = Seldom::new();
    while !shutdown.wait_timeout(pause) {
        if let Err(error) = leases.renew(store, clock.now() + lease) {
            complaints.warn(format_args!("leases: {error}"));
        }
    }
}
