//! The guests' door: the HTTP that jobs call, in the words of three protocols (GoTel, gocron, Healthchecks).
//!
//! It is stateless and writes facts: it never decides what a check-in means, and never answers 2xx before the commit.
//!
//! Where to start: [`Ingest`] puts it together; `queue.rs` and `scribe.rs` are the life of a check-in between
//! request and commit, `locked.rs` what becomes of those whose reservation somebody else has locked;
//! `gotel.rs`, `gocron.rs` and `healthchecks.rs` each speak one protocol; `fields.rs` parses what comes in.

mod fields;
#[doc(hidden)]
pub mod fuzz;
mod gocron;
mod gotel;
mod healthchecks;
mod locked;
mod queue;
mod refused;
mod scribe;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::web::{self, Data};
use chrono::TimeDelta;
use innkeeper_core::names::AlerterName;
use innkeeper_core::recipient::Recipients;
use innkeeper_core::ways::WaysOut;
use innkeeper_core::{Clock, Invalid, Time};
use innkeeper_node::config::Live;
use innkeeper_node::heart::Astray;
use innkeeper_node::http::health::Health;
use innkeeper_node::http::metrics::Observed;
use innkeeper_node::http::nodes::Nodes;
use innkeeper_node::http::peer::Peer;
use innkeeper_node::http::{ApiError, Caller, Gate, HttpService, Routes, client_address};
use innkeeper_node::{Config, Heart, KnownWays, Part, Role, Shutdown, Wake, descriptors, wait_for_database};
use innkeeper_store::{Store, StoreError};

pub use queue::Queue;

/// How soon a request is tried again while the database is away.
const AGAIN: Duration = Duration::from_millis(200);
/// How long one attempt may take while the database is away.
const ATTEMPT: Duration = Duration::from_secs(3);

/// How long each writer may write on when the listeners could not go on.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// The running door: its routes share the queue, its writers empty it.
pub struct Ingest {
    desk: Data<Desk>,
    writers: Vec<Part>,
}

/// What the handlers share.
pub(crate) struct Desk {
    pub store: Store,
    pub queue: Queue,
    pub clock: Arc<dyn Clock>,
    /// The configuration in force.
    pub live: Live,
    pub commit_timeout: Duration,
    /// The ways out as the sweepers have them.
    pub ways: KnownWays,
    /// How the operator hears of reservations whose messages lead nowhere.
    pub astray: Astray,
    /// What is asked for it.
    pub asking: gocron::Asked,
    /// Woken when a conclusion may have changed.
    pub wake: Option<Wake>,
}

impl Ingest {
    /// Starts the writers. `wake` is the sweeper's, where it runs in this process.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        store: Store,
        config: &Config,
        heart: &Heart,
        wake: Option<Wake>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let metrics = heart.metrics().clone();
        let (length, patience) = (config.ingest.queue, config.ingest.commit_timeout);
        let (queue, waiting) =
            Queue::new(length, patience, metrics.clone(), heart.progresses().ingest.clone());
        metrics.watch_queue(queue.depth())?;
        let desk = Desk {
            store: store.clone(),
            queue,
            clock: heart.clock(),
            live: config.live(),
            commit_timeout: config.ingest.commit_timeout,
            ways: heart.ways().clone(),
            astray: heart.astray().clone(),
            asking: gocron::Asked::default(),
            wake: wake.clone(),
        };
        let writers = scribe::start(waiting, &store, config.ingest.batch, wake, heart, shutdown)?;
        Ok(Self { desk: Data::new(desk), writers })
    }

    /// What registers the routes; one for each listener.
    pub fn routes(&self) -> impl Fn(&mut Routes<'_>) + Send + Sync + 'static {
        let desk = self.desk.clone();
        move |routes| {
            routes.app_data(desk.clone());
            gotel::mount(routes);
            gocron::mount(routes);
            healthchecks::mount(routes);
        }
    }

    /// Waits until what is queued has been written. Call it when the listeners have ended: as they were asked to, or (not `in_order`) because
    /// they could not go on. Then what is left of them may keep the queue open, and the writers never learn that nothing more comes.
    ///
    /// # Errors
    /// Why a writer died, if it did.
    pub fn finish(self, in_order: bool) -> anyhow::Result<()> {
        drop(self.desk);
        let join = |part: Part| if in_order { part.join() } else { part.join_within(LAST_WRITES) };
        self.writers.into_iter().try_for_each(join)
    }
}

impl Desk {
    /// The names that `notify` and `alerters` may use: those of this process's configuration, and those that a sweeper has.
    pub fn alerter_names(&self) -> Vec<AlerterName> {
        self.ways.names(&self.live.get())
    }

    /// The ways out, for who must not wait: what is known, which another thread looks up again when it is old.
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
    pub fn remind_every(&self) -> Option<TimeDelta> {
        self.live.get().sweeper.remind_every
    }

    /// Who hears of a reservation that a ping made.
    ///
    /// # Errors
    /// None that the configuration would have let through.
    pub fn operator(&self) -> Result<Recipients, Invalid> {
        let config = self.live.get();
        let operator: Vec<&str> = config.operator.iter().map(|recipient| recipient.as_str()).collect();
        Recipients::parse("operator", &operator.join(","))
    }
}

/// Runs a call to the store, on the caller's behalf, on a thread that may block; while the database is away, tries again for as long as a check-in
/// would wait.
pub(crate) async fn patiently<T: Send + 'static>(
    desk: &Data<Desk>,
    caller: &Caller,
    call: impl Fn(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let (store, patience) = (desk.store.on_behalf_of(caller.actor()), desk.commit_timeout);
    let begun = Instant::now();
    let done = web::block(move || {
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

/// The whole process: waits for the database, then serves until it is asked to stop.
///
/// # Errors
/// What ended it before that.
pub fn run(config: &Config, shutdown: &Shutdown) -> anyhow::Result<()> {
    let store = wait_for_database(config, Role::Ingest, shutdown)?;
    let health = Health::new(store.clone(), env!("CARGO_PKG_VERSION"));
    let heart = Heart::start(&store, config, Role::Ingest, shutdown)?;
    let nodes = Nodes::new(store.clone(), &heart, None);
    let observed = Observed::new(store.clone(), &heart);
    let peer = Peer::new(store.clone(), heart.clock(), &config.instance);
    let gate = Gate::new(&store, config, heart.clock()).telling(heart.operator());
    let ingest = Ingest::start(store, config, &heart, None, shutdown)?;
    let routes = ingest.routes();
    let service = HttpService::new("ingest", config.ingest.listen, gate, move |mounted| {
        routes(mounted);
        health.mount(mounted);
        nodes.mount(mounted);
        peer.mount(mounted);
        observed.mount(mounted);
    });
    let served = service
        .workers(config.ingest.workers)
        .connections(descriptors::for_connections(config))
        .on_listening(heart.listening())
        .run(shutdown);
    shutdown.request();
    let written = ingest.finish(served.is_ok());
    let said_goodbye = heart.finish();
    served?;
    written?;
    said_goodbye
}
