//! The assembly of a process, whatever its role: how it starts, and how it ends.

use std::sync::Arc;

use innkeeper_core::Clock;
use innkeeper_store::Store;

use crate::{Config, Heartbeat, Role, Shutdown, Ways, is_unused, wait_for_database};

/// The work of a role in this process: the threads that it has started and must end.
pub trait RoleWork {
    /// Ends the work, after a stop was requested. `in_order` says that the listener ended as requested; otherwise its
    /// remains may still hold resources that this work waits for.
    ///
    /// # Errors
    /// Why a thread of the work died, if one did.
    fn finish(self: Box<Self>, in_order: bool) -> anyhow::Result<()>;
}

/// The common parts of every process: its configuration, database, alerters, heartbeat and stop request.
///
/// The `main` of a role starts one, starts the work of its roles with it, and calls [`Process::run`].
pub struct Process {
    config: Config,
    shutdown: Shutdown,
    is_first_start: bool,
    store: Store,
    alerters: Ways,
    heartbeat: Heartbeat,
}

impl Process {
    /// Waits for the database, and starts the heartbeat.
    ///
    /// # Errors
    /// An unusable database, an alerter that cannot be built, or a thread that cannot be started.
    pub fn start(role: Role, config: &Config, shutdown: &Shutdown) -> anyhow::Result<Self> {
        let store = wait_for_database(config, role, shutdown)?;
        // This must precede the heartbeat, which makes the database a used one.
        let is_first_start = role == Role::Standalone && is_unused(&store);
        let heartbeat = Heartbeat::start(&store, config, role, shutdown)?;
        let alerters = Ways::new(config, heartbeat.clock())?;
        Ok(Self {
            config: config.clone(),
            shutdown: shutdown.clone(),
            is_first_start,
            store,
            alerters,
            heartbeat,
        })
    }

    /// Calls `serve` with the stop request. When it returns, requests the stop, ends `work` in the given order, and
    /// tells the other nodes that this one has ended.
    ///
    /// # Errors
    /// The first error of `serve`, the work and the heartbeat. The others are logged.
    pub fn run(
        self,
        serve: impl FnOnce(&Shutdown) -> anyhow::Result<()>,
        work: Vec<Box<dyn RoleWork>>,
    ) -> anyhow::Result<()> {
        let served = serve(&self.shutdown);
        self.shutdown.request();
        let in_order = served.is_ok();
        let ended = work.into_iter().map(|work| work.finish(in_order)).collect::<Vec<_>>();
        let all = [served].into_iter().chain(ended).chain([self.heartbeat.finish()]);
        let mut errors = all.filter_map(Result::err);
        let first = errors.next();
        errors.for_each(|error| log::error!("while it ends: {error:#}"));
        first.map_or(Ok(()), Err)
    }

    /// The configuration at the start of the process.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The stop request.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The alerters of the configuration in force.
    pub fn alerters(&self) -> &Ways {
        &self.alerters
    }

    /// The heartbeat of this node.
    pub fn heartbeat(&self) -> &Heartbeat {
        &self.heartbeat
    }

    /// The common time of all nodes.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.heartbeat.clock()
    }

    /// Whether the database was unused at the start. Only determined for the standalone program.
    pub fn is_first_start(&self) -> bool {
        self.is_first_start
    }
}
