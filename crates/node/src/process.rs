//! A process as it is put together, whatever its role: what it begins with, and how it ends.

use std::sync::Arc;

use innkeeper_core::Clock;
use innkeeper_store::Store;

use crate::{Config, Heartbeat, Role, Shutdown, Ways, is_unused, wait_for_database};

/// The work of a role in this process: what it has started, and has to end.
pub trait RoleWork {
    /// Ends it, after the stop was asked for. `in_order` says that the listener has ended as it was asked to; otherwise what is left
    /// of it may still hold what this work waits for.
    ///
    /// # Errors
    /// Why a part of it died, if one did.
    fn finish(self: Box<Self>, in_order: bool) -> anyhow::Result<()>;
}

/// What every process has: its configuration, database, alerters and heartbeat, and the request to stop.
///
/// A role's main starts one, starts the work of its roles with it, and calls [`Process::run`].
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
    /// A database that cannot be used, an alerter that cannot be built, or no thread to be had.
    pub fn start(role: Role, config: &Config, shutdown: &Shutdown) -> anyhow::Result<Self> {
        let store = wait_for_database(config, role, shutdown)?;
        // Before the heartbeat, which is what makes a database used.
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

    /// Calls `serve` with the request to stop; when it returns, asks for the stop, ends `work` in the given order, and says goodbye
    /// to the other nodes.
    ///
    /// # Errors
    /// The first of what ended `serve`, the work, and the heartbeat.
    pub fn run(
        self,
        serve: impl FnOnce(&Shutdown) -> anyhow::Result<()>,
        work: Vec<Box<dyn RoleWork>>,
    ) -> anyhow::Result<()> {
        let served = serve(&self.shutdown);
        self.shutdown.request();
        let in_order = served.is_ok();
        let ended: Vec<_> = work.into_iter().map(|work| work.finish(in_order)).collect();
        let said_goodbye = self.heartbeat.finish();
        served?;
        ended.into_iter().collect::<anyhow::Result<()>>()?;
        said_goodbye
    }

    /// The configuration as it was at the start.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The request to stop.
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

    /// What makes the process a node among others.
    pub fn heartbeat(&self) -> &Heartbeat {
        &self.heartbeat
    }

    /// The time that all nodes share.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.heartbeat.clock()
    }

    /// Whether nobody has used the database before. Only the standalone program asks.
    pub fn is_first_start(&self) -> bool {
        self.is_first_start
    }
}
