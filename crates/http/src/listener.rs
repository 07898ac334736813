//! The listener of a process: the routes that its roles bring, and those that say how it is.

use std::net::SocketAddr;

use innkeeper_node::heartbeat::Singleton;
use innkeeper_node::{Process, Shutdown, descriptors};

use super::health::Health;
use super::metrics::Observed;
use super::nodes::Nodes;
use super::peer::Peer;
use super::{Authenticator, HttpService, Routes};

/// Connections at once to a listener that only says how the process is.
const STATUS_CONNECTIONS: usize = 64;

type Registers = Box<dyn Fn(&mut Routes<'_>) + Send + Sync>;
type Tells = Box<dyn FnOnce(SocketAddr) + Send>;

/// A listener before it listens. Routes are registered in the order in which they were brought, those of the process last.
pub struct Listener {
    name: &'static str,
    listen: SocketAddr,
    authenticator: Authenticator,
    status: Status,
    routes: Vec<Registers>,
    workers: Option<usize>,
    connections: usize,
    on_listening: Vec<Tells>,
}

/// The routes that say how a process is.
struct Status {
    health: Health,
    nodes: Nodes,
    peer: Peer,
    observed: Observed,
    /// Whether `/` answers as checker's peers ask it.
    answers_checkers: bool,
}

impl Listener {
    /// The one at which the roles of this process are reached, called `name` in logs.
    pub fn new(process: &Process, name: &'static str, listen: SocketAddr) -> Self {
        let mut listener = Self::bare(process, name, listen);
        listener.connections = descriptors::for_connections(process.config());
        listener.authenticator = listener.authenticator.telling(process.heartbeat().operator());
        listener.on_listening(process.heartbeat().listening())
    }

    /// One that only says how the process is, on a thread of its own.
    pub fn of_status(process: &Process, name: &'static str, listen: SocketAddr) -> Self {
        let mut listener = Self::bare(process, name, listen).workers(Some(1));
        listener.status.answers_checkers = true;
        listener
    }

    fn bare(process: &Process, name: &'static str, listen: SocketAddr) -> Self {
        let (store, config, heartbeat) = (process.store(), process.config(), process.heartbeat());
        let status = Status {
            health: Health::new(store.clone(), env!("CARGO_PKG_VERSION")),
            nodes: Nodes::new(store.clone(), heartbeat),
            peer: Peer::new(store.clone(), heartbeat.clock(), &config.instance),
            observed: Observed::new(store.clone(), heartbeat),
            answers_checkers: false,
        };
        Self {
            name,
            listen,
            authenticator: Authenticator::new(store, config, heartbeat.clock()),
            status,
            routes: Vec::new(),
            workers: None,
            connections: STATUS_CONNECTIONS,
            on_listening: Vec::new(),
        }
    }

    /// Who decides who comes in.
    pub fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// How many threads serve; none for one per core.
    #[must_use]
    pub fn workers(mut self, workers: Option<usize>) -> Self {
        self.workers = workers;
        self
    }

    /// Says of the lease of what only one node does whether this process has it.
    #[must_use]
    pub fn lease(mut self, singleton: &Singleton) -> Self {
        self.status.nodes = self.status.nodes.with_lease(singleton.clone());
        self
    }

    /// Brings routes. `register` is called once per worker thread.
    #[must_use]
    pub fn routes(mut self, register: impl Fn(&mut Routes<'_>) + Send + Sync + 'static) -> Self {
        self.routes.push(Box::new(register));
        self
    }

    /// Calls `tell` with the real address once connections are taken (port 0 lets the system choose).
    #[must_use]
    pub fn on_listening(mut self, tell: impl FnOnce(SocketAddr) + Send + 'static) -> Self {
        self.on_listening.push(Box::new(tell));
        self
    }

    /// Serves until `shutdown` is requested; see [`HttpService::run`].
    ///
    /// # Errors
    /// The address cannot be had, or the server ended without being asked.
    pub fn run(self, shutdown: &Shutdown) -> anyhow::Result<()> {
        let Self { name, listen, authenticator, status, routes, workers, connections, on_listening } = self;
        let service = HttpService::new(name, listen, authenticator, move |mounted| {
            routes.iter().for_each(|register| register(mounted));
            status.mount(mounted);
        });
        service
            .workers(workers)
            .connections(connections)
            .on_listening(move |address| on_listening.into_iter().for_each(|tell| tell(address)))
            .run(shutdown)?;
        Ok(())
    }
}

impl Status {
    fn mount(&self, routes: &mut Routes<'_>) {
        self.health.mount(routes);
        self.nodes.mount(routes);
        self.peer.mount(routes);
        if self.answers_checkers {
            self.peer.mount_for_checkers(routes);
        }
        self.observed.mount(routes);
    }
}
