//! The HTTP service for jobs, with three protocols (GoTel, gocron, Healthchecks) and that of the agent.
//!
//! It is stateless and records facts: it never decides what a check-in means, and never answers 2xx
//! before the commit.
//!
//! Where to start: [`Ingest`] assembles it. `queue.rs` and `batch_writer.rs` take a check-in from
//! its request to its commit; `locked.rs` keeps those whose reservation is locked. `gotel.rs`,
//! `gocron.rs` and `healthchecks.rs` each implement one protocol; `reports.rs` takes the reports of
//! agents, which may come late. `fields.rs` parses requests.

mod batch_writer;
mod fields;
#[doc(hidden)]
pub mod fuzz;
mod gocron;
mod gotel;
mod healthchecks;
mod locked;
mod queue;
mod refused;
mod reports;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::web::{self, Data};
use innkeeper_core::names::AlerterName;
use innkeeper_core::recipient::Recipients;
use innkeeper_core::reminders::Reminders;
use innkeeper_core::ways::WaysOut;
use innkeeper_core::{Clock, Invalid, Time};
use innkeeper_http::{ApiError, Caller, Listener, Routes, blocking, client_address};
use innkeeper_node::config::Live;
use innkeeper_node::heartbeat::DeadEndReporter;
use innkeeper_node::{Config, KnownWays, Process, Role, RoleWork, Shutdown, SupervisedThread, Wake};
use innkeeper_store::{ActingStore, Store, StoreError};

pub use queue::Queue;

/// The pause before a request is retried while the database is unreachable.
const AGAIN: Duration = Duration::from_millis(200);
/// The time allowed for one attempt while the database is unreachable.
const ATTEMPT: Duration = Duration::from_secs(3);

/// How long each writer may continue to write after the listeners failed.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// The running service: its routes share the queue, its writers empty it.
pub struct Ingest {
    app_state: Data<AppState>,
    writers: Vec<SupervisedThread>,
}

/// State shared by the handlers.
pub(crate) struct AppState {
    pub store: Store,
    pub queue: Queue,
    pub clock: Arc<dyn Clock>,
    /// The configuration in force.
    pub live: Live,
    pub commit_timeout: Duration,
    /// The alerters that sweepers publish.
    pub ways: KnownWays,
    /// The reporter of reservations whose messages reach nobody.
    pub dead_end_reporter: DeadEndReporter,
    /// The queries that are in progress for that reporter.
    pub asking: gocron::NamesBeingAsked,
    /// Wakes the sweeper when a conclusion may have changed.
    pub wake: Option<Wake>,
}

impl Ingest {
    /// Starts the writers. `wake` belongs to the sweeper, if one runs in this process.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(process: &Process, wake: Option<Wake>) -> anyhow::Result<Self> {
        let (store, config, heartbeat) = (process.store(), process.config(), process.heartbeat());
        let metrics = heartbeat.metrics().clone();
        let (length, patience) = (config.ingest.queue, config.ingest.commit_timeout);
        let (queue, waiting) =
            Queue::new(length, patience, metrics.clone(), heartbeat.progresses().ingest.clone());
        metrics.watch_queue(queue.depth())?;
        let app_state = AppState {
            store: store.clone(),
            queue,
            clock: heartbeat.clock(),
            live: config.live(),
            commit_timeout: config.ingest.commit_timeout,
            ways: heartbeat.ways().clone(),
            dead_end_reporter: heartbeat.dead_end_reporter().clone(),
            asking: gocron::NamesBeingAsked::default(),
            wake: wake.clone(),
        };
        let writers =
            batch_writer::start(waiting, store, config.ingest.batch, wake, heartbeat, process.shutdown())?;
        Ok(Self { app_state: Data::new(app_state), writers })
    }

    /// A function that registers the routes. Each listener needs one.
    pub fn routes(&self) -> impl Fn(&mut Routes<'_>) + Send + Sync + 'static {
        let app_state = self.app_state.clone();
        move |routes| {
            routes.app_data(app_state.clone());
            gotel::mount(routes);
            gocron::mount(routes);
            // Registered before the pings, whose addresses match any word.
            reports::mount(routes);
            healthchecks::mount(routes);
        }
    }
}

impl RoleWork for Ingest {
    /// Waits until all queued check-ins are written. If the listener failed, its remains may keep
    /// the queue open, so the writers never learn that nothing more will come.
    fn finish(self: Box<Self>, in_order: bool) -> anyhow::Result<()> {
        drop(self.app_state);
        let join =
            |part: SupervisedThread| if in_order { part.join() } else { part.join_within(LAST_WRITES) };
        self.writers.into_iter().try_for_each(join)
    }
}

impl AppState {
    /// The names that `notify` and `alerters` may use: those of this process's configuration, and
    /// those that a sweeper has.
    pub fn alerter_names(&self) -> Vec<AlerterName> {
        self.ways.names(&self.live.get())
    }

    /// The known alerters, without waiting: if the cached list is old, another thread refreshes it.
    pub fn latest_ways(&self) -> Arc<WaysOut> {
        if self.ways.is_old() {
            let (ways, store) = (self.ways.clone(), self.store.clone());
            drop(web::block(move || ways.look(&store)));
        }
        self.ways.get()
    }

    /// The time of this request.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// The client's address as text.
    pub fn source(&self, request: &HttpRequest) -> String {
        client_address(request, &self.live.get().ingest.trusted_proxies).to_string()
    }

    /// `remind_every` of a reservation made by GoTel's call.
    pub fn remind_every(&self) -> Reminders {
        self.live.get().sweeper.remind_every
    }

    /// The recipients of a reservation that a ping creates: the operator.
    ///
    /// # Errors
    /// None, if the configuration was accepted.
    pub fn operator(&self) -> Result<Recipients, Invalid> {
        let config = self.live.get();
        let operator: Vec<&str> = config.operator.iter().map(|recipient| recipient.as_str()).collect();
        Recipients::parse("operator", &operator.join(","))
    }
}

/// Runs a store call for the caller on a thread that may block. While the database is unreachable,
/// retries for as long as a check-in would wait.
pub(crate) async fn patiently<T: Send + 'static>(
    app_state: &Data<AppState>,
    caller: &Caller,
    call: impl Fn(&ActingStore) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let (store, patience) = (app_state.store.acting_as(caller.actor()), app_state.commit_timeout);
    let begun = Instant::now();
    let done = blocking(move || {
        loop {
            match call(&store) {
                Err(error) if error.is_unavailable() && begun.elapsed() + AGAIN + ATTEMPT < patience => {
                    std::thread::sleep(AGAIN)
                }
                done => return done,
            }
        }
    })
    .await
    .map_err(ApiError::internal)?;
    done.map_err(ApiError::from)
}

/// The complete process: waits for the database, then serves until it is asked to stop.
///
/// # Errors
/// The error that ended the process earlier.
pub fn run(config: &Config, shutdown: &Shutdown) -> anyhow::Result<()> {
    let process = Process::start(Role::Ingest, config, shutdown)?;
    let listener = Listener::new(&process, "ingest", config.ingest.listen).workers(config.ingest.workers);
    let ingest = Ingest::start(&process, None)?;
    let listener = listener.routes(ingest.routes());
    process.run(|stop| listener.run(stop), vec![Box::new(ingest)])
}
