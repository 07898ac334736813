//! The alerters that sweepers publish, by which every role warns of dead ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use innkeeper_core::names::AlerterName;
use innkeeper_core::reservation::Spec;
use innkeeper_core::ways::{DeadEnd, WaysOut};
use innkeeper_store::{Store, StoreError};
use parking_lot::{Mutex, MutexGuard};

use crate::config::Live;
use crate::{Config, Role};

/// How long the cached list is used before it is refreshed.
const HOLDS: Duration = Duration::from_secs(5);

/// The alerters of this process, and of all sweepers. Clones share them.
///
/// Sweepers send the messages, so their alerters count: a process that sweeps adds those of the other sweepers to its
/// own, and any other process uses only what the sweepers have published. Until a sweeper has published anything, a
/// process uses its own configuration.
#[derive(Debug, Clone)]
pub struct KnownWays(Arc<Known>);

#[derive(Debug)]
struct Known {
    live: Live,
    role: Role,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The configuration from which `own` was made.
    of: Arc<Config>,
    own: Arc<WaysOut>,
    /// The lists published by sweepers.
    published: Vec<WaysOut>,
    all: Arc<WaysOut>,
    looked_at: Option<Instant>,
    /// When `all` last changed; the first look at the other sweepers does not count as a change.
    since: Instant,
    has_looked: bool,
}

impl Config {
    /// The configured alerters.
    pub fn ways_out(&self) -> WaysOut {
        let is_parked = |name: &str| {
            self.alerters.iter().any(|(known, alerter)| known.as_str() == name && !alerter.enabled)
        };
        WaysOut::new(self.alerters.iter().map(|(name, alerter)| (name, alerter.kind()))).parking(is_parked)
    }
}

impl KnownWays {
    /// The initial state in a process of this role: its own alerters.
    pub fn new(config: &Config, role: Role) -> Self {
        let live = config.live();
        let of = live.get();
        let own = Arc::new(of.ways_out());
        let state = State {
            of,
            all: Arc::clone(&own),
            own,
            published: Vec::new(),
            looked_at: None,
            since: Instant::now(),
            has_looked: false,
        };
        Self(Arc::new(Known { live, role, state: Mutex::new(state) }))
    }

    /// The alerters of `config`, in a process that sweeps alone.
    pub fn of(config: &Config) -> Self {
        Self::new(config, Role::Standalone)
    }

    /// All alerters, as of the last look.
    pub fn get(&self) -> Arc<WaysOut> {
        Arc::clone(&self.state().all)
    }

    /// How long the alerters have been unchanged, as far as this process knows. The sweeper reports dead ends caused
    /// by a change of alerters; whoever takes a later change of a reservation reports those caused by that.
    pub fn unchanged_for(&self) -> Duration {
        self.state().since.elapsed()
    }

    /// Whether this process both sweeps and takes changes of reservations.
    pub fn are_of_all_roles(&self) -> bool {
        self.0.role == Role::Standalone
    }

    /// The alerters of this process's own configuration.
    pub fn own(&self) -> Arc<WaysOut> {
        Arc::clone(&self.state().own)
    }

    /// The names that `notify` and `alerters` may contain: those of `config` and those that sweepers have published.
    pub fn names(&self, config: &Config) -> Vec<AlerterName> {
        let ways = self.get();
        let others = ways.names().filter(|name| !config.knows_alerter(name));
        let others = others.filter_map(|name| AlerterName::parse("alerters", name).ok());
        config.alerters.keys().cloned().chain(others).collect()
    }

    /// All alerters, refreshed from the database if the cache is some seconds old. If the database does not answer,
    /// the cached list is returned.
    pub fn look(&self, store: &Store) -> Arc<WaysOut> {
        if self.is_old()
            && let Err(error) = self.refresh(store)
        {
            log::debug!("the sweepers' alerters cannot be read: {error}");
        }
        self.get()
    }

    /// The dead ends in this spec. If the cached list yields any, it is refreshed from the database first, because it
    /// may be some seconds old and a false warning must not be given.
    pub fn dead_ends(&self, store: &Store, spec: &Spec) -> Vec<DeadEnd> {
        let found = self.look(store).of_terms(spec).dead_ends;
        if found.is_empty() {
            return found;
        }
        if let Err(error) = self.refresh(store) {
            log::debug!("the sweepers' alerters cannot be read: {error}");
        }
        self.get().of_terms(spec).dead_ends
    }

    /// Whether [`look`](Self::look) would query the database.
    pub fn is_old(&self) -> bool {
        self.state().looked_at.is_none_or(|at| at.elapsed() >= HOLDS)
    }

    /// Reads what the sweepers have published.
    ///
    /// # Errors
    /// A database error.
    pub fn refresh(&self, store: &Store) -> Result<(), StoreError> {
        // Set before the query, so that one caller queries and the others use the cached list.
        self.state().looked_at = Some(Instant::now());
        let published = store.published_ways()?.into_iter().map(|(_, ways)| ways).collect();
        let mut state = self.state();
        state.published = published;
        let since = state.since;
        state.put_together(self.sweeps());
        if !std::mem::replace(&mut state.has_looked, true) {
            state.since = since;
        }
        Ok(())
    }

    /// The state for the configuration now in force.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.state.lock();
        let config = self.0.live.get();
        if !Arc::ptr_eq(&state.of, &config) {
            state.own = Arc::new(config.ways_out());
            state.of = config;
            if self.sweeps() {
                // The published lists contain this process's own alerters from before the reload.
                state.published.clear();
                state.looked_at = None;
            }
            state.put_together(self.sweeps());
        }
        state
    }

    fn sweeps(&self) -> bool {
        matches!(self.0.role, Role::Sweeper | Role::Standalone)
    }
}

impl State {
    fn put_together(&mut self, sweeps: bool) {
        let mut others = self.published.iter();
        let first = if sweeps { Some(&*self.own) } else { others.next() };
        let all = first.map(|first| others.fold(first.clone(), |all, other| all.and(other)));
        let all = all.map_or_else(|| Arc::clone(&self.own), Arc::new);
        if all != self.all {
            self.since = Instant::now();
        }
        self.all = all;
    }
}
