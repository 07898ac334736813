//! The alerters that a process has built, through reloads of its configuration.

use std::sync::Arc;

use innkeeper_alerter::Alerters;
use parking_lot::RwLock;

/// All alerters of the configuration in force; clones share them. They are built once at the start, and once at each
/// reload.
#[derive(Clone)]
pub struct Ways(Arc<RwLock<Arc<Alerters>>>);

impl Ways {
    /// Wraps these alerters.
    pub(crate) fn of(alerters: Alerters) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(alerters))))
    }

    /// Replaces the alerters, for all clones.
    pub(crate) fn replace(&self, alerters: Alerters) {
        *self.0.write() = Arc::new(alerters);
    }

    /// The present alerters.
    pub fn now(&self) -> Arc<Alerters> {
        Arc::clone(&self.0.read())
    }
}
