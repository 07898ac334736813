//! [`ActingStore`]: a store that knows on whose behalf it changes something.
//!
//! Everything that a person, a program or the configuration may change is a method of
//! [`ActingStore`], which is made for an [`Actor`]. Each change adds its entry to the audit log in
//! the same transaction. [`Store`] itself reads, takes the facts that check-ins and heartbeats
//! write, and writes the sweeper's conclusions.

use std::ops::Deref;
use std::sync::Arc;

use innkeeper_core::open_past::ANYBODY;

use crate::Store;

/// On whose behalf something is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `user ada`, `token deploy`, `anybody`.
    pub who: String,
    /// The client's address.
    pub source: String,
}

impl Actor {
    /// The user of this name, at this address.
    pub fn user(name: &str, source: &str) -> Self {
        Self { who: format!("user {name}"), source: source.to_owned() }
    }

    /// Whoever can run Innkeeper's programs on this machine.
    pub fn command_line() -> Self {
        Self { who: "command line".to_owned(), source: "this machine".to_owned() }
    }

    /// Whether this is an unnamed visitor of an open instance.
    pub fn is_anybody(&self) -> bool {
        self.who == ANYBODY
    }
}

/// A store that changes something on behalf of an actor, and reads as every store does.
#[derive(Clone)]
pub struct ActingStore {
    store: Store,
    pub(crate) actor: Arc<Actor>,
}

impl Store {
    /// This store, acting on behalf of `actor`.
    pub fn acting_as(&self, actor: Actor) -> ActingStore {
        ActingStore { store: self.clone(), actor: Arc::new(actor) }
    }
}

impl Deref for ActingStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}
