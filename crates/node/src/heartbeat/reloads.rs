//! Audit entries for reloads of the configuration, which may change who is notified, and how.

use std::sync::Arc;

use innkeeper_core::Clock;
use innkeeper_store::{ActingStore, Actor, Store};

use crate::Role;
use crate::config::{ConfigError, Reloaded};

/// Writes the audit entries.
pub(super) struct Reloads {
    store: ActingStore,
    clock: Arc<dyn Clock>,
    role: Role,
}

impl Reloads {
    /// The writer for the process of this role on this host. A reload waits for the database as
    /// long as `store` does.
    pub fn new(store: &Store, clock: Arc<dyn Clock>, role: Role, host: &str) -> Self {
        let actor = Actor { who: "configuration".to_owned(), source: host.to_owned() };
        Self { store: store.acting_as(actor), clock, role }
    }

    /// Records the result of a reload. A configuration that is refused, or that changes nothing,
    /// leaves no entry.
    pub fn note(&self, done: &Result<Reloaded, ConfigError>) {
        let changed = match done {
            Ok(done) if !done.changed.is_empty() => done.changed.join("\n"),
            Ok(_) | Err(_) => return,
        };
        let subject = format!("node {}", self.role.as_str());
        if let Err(error) = self.store.note_action("reload", &subject, &changed, self.clock.now()) {
            log::error!("the changes of the reload cannot be written to the audit log: {error}");
        }
    }
}
