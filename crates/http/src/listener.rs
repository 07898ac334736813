//! The listener of a process: the routes of its roles, and those that report its state.

use std::net::SocketAddr;

use innkeeper_node::heartbeat::Singleton;
use innkeeper_node::{Process, Shutdown, descriptors};

use super::health::Health;
use super::metrics::Observed;
use super::nodes::Nodes;
use super::peer::Peer;
use super::{Authenticator, HttpService, Routes};

/// The most open connections of a listener that only reports the state of the process.
const STATUS_CONNECTIONS: usize = 64;

type Registers = Box<dyn Fn(&mut Routes<'_>) + Send + Sync>;
type Tells = Box<dyn FnOnce(SocketAddr) + Send>;

/// A listener before it listens. Routes are registered in the order in which they were added, those
/// of the process last.
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

/// The routes that report the state of a process.
struct Status {
    health: Health,
    nodes: Nodes,
    peer: Peer,
    observed: Observed,
    /// Whether `/` answers the requests of checker's peers.
    answers_checkers: bool,
}

impl Listener {
    /// The listener for the roles of this process, called `name` in logs.
    pub fn new(process: &Process, name: &'static str, listen: SocketAddr) -> Self {
        let mut listener = Self::bare(process, name, listen);
        listener.connections = descriptors::for_connections(process.config());
        listener.authenticator = listener.authenticator.telling(process.heartbeat().operator());
        listener.on_listening(process.heartbeat().listening())
    }

    /// A listener that only reports the state of the process, with one worker thread.
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

    /// The authenticator of this listener.
    pub fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// Sets the number of worker threads; none for one per core.
    #[must_use]
    pub fn workers(mut self, workers: Option<usize>) -> Self {
        self.workers = workers;
        self
    }

    /// Sets the lease for the work that only one node does, so that `/is-coordinator` tells whether
    /// this process holds it.
    #[must_use]
    pub fn lease(mut self, singleton: &Singleton) -> Self {
        self.status.nodes = self.status.nodes.with_lease(singleton.clone());
        self
    }

    /// Adds routes. `register` is called once per worker thread.
    #[must_use]
    pub fn routes(mut self, register: impl Fn(&mut Routes<'_>) + Send + Sync + 'static) -> Self {
        self.routes.push(Box::new(register));
        self
    }

    /// Calls `tell` with the real address when the listener accepts connections. With port 0 the
    /// system chooses the port.
    #[must_use]
    pub fn on_listening(mut self, tell: impl FnOnce(SocketAddr) + Send + 'static) -> Self {
        self.on_listening.push(Box::new(tell));
        self
    }

    /// Serves until `shutdown` is requested; see [`HttpService::run`].
    ///
    /// # Errors
    /// The address cannot be listened on, or the server ended without a request.
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
