//! The ways out as the sweepers have them, which every role warns by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use innkeeper_core::names::AlerterName;
use innkeeper_core::reservation::Spec;
use innkeeper_core::ways::{DeadEnd, WaysOut};
use innkeeper_store::{Store, StoreError};
use parking_lot::{Mutex, MutexGuard};

use crate::config::Live;
use crate::{Config, Role};

/// How long what is known holds.
const HOLDS: Duration = Duration::from_secs(5);

/// The alerters of this process, and of all sweepers. Clones share them.
///
/// Messages are sent by sweepers, so theirs count: a process that sweeps adds those of the others to its own, and any other process
/// goes by the sweepers' word alone. While no sweeper has ever said anything, its own configuration is what it has.
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
    /// The configuration that `own` is of.
    of: Arc<Config>,
    own: Arc<WaysOut>,
    /// What the sweepers have said.
    published: Vec<WaysOut>,
    all: Arc<WaysOut>,
    looked_at: Option<Instant>,
    /// Since when `all` is as it is; what the first look at the others finds is no change.
    since: Instant,
    has_looked: bool,
}

impl Config {
    /// The ways out that are configured.
    pub fn ways_out(&self) -> WaysOut {
        let is_parked = |name: &str| {
            self.alerters.iter().any(|(known, alerter)| known.as_str() == name && !alerter.enabled)
        };
        WaysOut::new(self.alerters.iter().map(|(name, alerter)| (name, alerter.kind()))).parking(is_parked)
    }
}

impl KnownWays {
    /// What a process of this role knows at its start: its own.
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

    /// Those of the configuration `config`, in a process that sweeps by itself.
    pub fn of(config: &Config) -> Self {
        Self::new(config, Role::Standalone)
    }

    /// All ways out, as of the last look.
    pub fn get(&self) -> Arc<WaysOut> {
        Arc::clone(&self.state().all)
    }

    /// How long they have been the same, as far as this process knows. What leads nowhere since they changed is the sweeper's to tell, what
    /// leads nowhere by a later change of a reservation is told by who takes that.
    pub fn unchanged_for(&self) -> Duration {
        self.state().since.elapsed()
    }

    /// Whether this process sweeps and takes changes, too.
    pub fn are_of_all_roles(&self) -> bool {
        self.0.role == Role::Standalone
    }

    /// Those of this process's own configuration.
    pub fn own(&self) -> Arc<WaysOut> {
        Arc::clone(&self.state().own)
    }

    /// The names that `notify` and `alerters` may use: those of `config`, and those that a sweeper has.
    pub fn names(&self, config: &Config) -> Vec<AlerterName> {
        let ways = self.get();
        let others = ways.names().filter(|name| !config.knows_alerter(name));
        let others = others.filter_map(|name| AlerterName::parse("alerters", name).ok());
        config.alerters.keys().cloned().chain(others).collect()
    }

    /// All ways out, looked up again if that was some seconds ago. Asks the database; where that does not answer, what was known holds.
    pub fn look(&self, store: &Store) -> Arc<WaysOut> {
        if self.is_old()
            && let Err(error) = self.refresh(store)
        {
            log::debug!("the sweepers' alerters: {error}");
        }
        self.get()
    }

    /// What in this spec leads nowhere, also by what the sweepers have said a moment ago: what is known may be some seconds old, and
    /// nobody is to be told wrongly. Asks the database where it finds something.
    pub fn dead_ends(&self, store: &Store, spec: &Spec) -> Vec<DeadEnd> {
        let found = self.look(store).of_terms(spec).dead_ends;
        if found.is_empty() {
            return found;
        }
        if let Err(error) = self.refresh(store) {
            log::debug!("the sweepers' alerters: {error}");
        }
        self.get().of_terms(spec).dead_ends
    }

    /// Whether [`look`](Self::look) would ask the database.
    pub fn is_old(&self) -> bool {
        self.state().looked_at.is_none_or(|at| at.elapsed() >= HOLDS)
    }

    /// Looks up what the sweepers have said.
    ///
    /// # Errors
    /// The database's.
    pub fn refresh(&self, store: &Store) -> Result<(), StoreError> {
        // Noted first, so that one caller asks and the others go on with what is known.
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

    /// The state, by the configuration that is in force now.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.state.lock();
        let config = self.0.live.get();
        if !Arc::ptr_eq(&state.of, &config) {
            state.own = Arc::new(config.ways_out());
            state.of = config;
            if self.sweeps() {
                // What this process has said itself stands among it, as it was before the reload.
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
