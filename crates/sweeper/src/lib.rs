//! The night watch: finds what is overdue, puts into words what has to be told, sends it, and sums up the week.
//!
//! It draws conclusions and never takes check-ins. Each piece of work is a step that returns what it did, and a short loop
//! around it.
//!
//! Where to start: [`Sweeper`] puts the parts together; `watch.rs` is the sweep; `messages.rs` writes what people read;
//! `dispatch.rs` sends it, `crews.rs` has senders for each alerter, `leases.rs` keeps what is being sent, `begin.rs` where a look begins; `summary.rs` is the weekly table; `housekeeping.rs` prunes;
//! `outages.rs` tells of messages that do not get through; `routing.rs` looks for reservations whose messages lead nowhere;
//! `summary_loop.rs` sends the summary when it is time; `peers.rs`, `mail_loop.rs` and `heartbeat.rs` look after Innkeeper itself.

mod backoff;
pub mod begin;
mod crews;
pub mod dispatch;
pub mod gone;
pub mod heartbeat;
mod housekeeping;
pub mod leases;
pub mod mail_loop;
pub mod messages;
pub mod outages;
pub mod own;
mod parts;
pub mod peers;
pub mod routing;
pub mod summary;
pub mod summary_loop;
pub mod watch;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use innkeeper_alerter::Asker;
use innkeeper_node::heart::Singleton;
use innkeeper_node::http::health::Health;
use innkeeper_node::http::metrics::Observed;
use innkeeper_node::http::nodes::Nodes;
use innkeeper_node::http::{self, Gate, HttpService};
use innkeeper_node::{Config, Heart, Part, Role, Shutdown, Wake, Ways, wait_for_database};
use innkeeper_store::Store;

use crews::Crews;
use heartbeat::Heartbeat;
use leases::Leases;
use mail_loop::MailLoop;
use messages::Speaker;
use peers::Peer;
use summary_loop::Summaries;

/// How long a stop waits for messages that are being sent. What is cut off goes out again under the same key.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Connections at once to the listener that says how the sweeper is.
const CONNECTIONS: usize = 64;

/// The running watch: its threads.
pub struct Sweeper {
    parts: Arc<Mutex<Vec<Part>>>,
    ended: std::sync::mpsc::Receiver<()>,
    singleton: Singleton,
}

impl Sweeper {
    /// Starts the sweep, the senders of each alerter, and the housekeeping. `wake` rings when a conclusion may have changed.
    ///
    /// # Errors
    /// An alerter that cannot be built, or no thread to be had.
    pub fn start(
        store: &Store,
        config: &Config,
        heart: &Heart,
        wake: Wake,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let clock = heart.clock();
        // Of its own, as a heartbeat: a lease that is prolonged too late is lost.
        let singleton = Singleton::new(store.apart_with_short_waits(), heart.id(), heart.clock());
        let ways = Ways::new(config, Arc::clone(&clock))?;
        let live = config.live();
        let parts = Arc::<Mutex<Vec<Part>>>::default();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let start = |name, work: Box<dyn FnOnce() + Send>| -> anyhow::Result<()> {
            let end = end.clone();
            let part = Part::spawn(name, shutdown, move || {
                work();
                drop(end);
                Ok(())
            })?;
            parts.lock().unwrap_or_else(PoisonError::into_inner).push(part);
            Ok(())
        };
        let leases = Leases::default();
        let mut crews = Crews {
            // What senders ask of the database is short. In a storm more at once would take the processors from the check-ins.
            store: store.apart(),
            ways: ways.clone(),
            live: live.clone(),
            clock: Arc::clone(&clock),
            leases: leases.clone(),
            lease: config.sweeper.lease,
            senders: config.sweeper.senders,
            metrics: heart.metrics().clone(),
            progress: heart.progresses().sending.clone(),
            shutdown: shutdown.clone(),
            parts: Arc::clone(&parts),
            end: end.clone(),
            working: Vec::new(),
            of: None,
            failed_at: None,
        };
        crews.follow()?;
        let (renewed, lease, stop) = (store.clone(), config.sweeper.lease, shutdown.clone());
        let renewing = Arc::clone(&clock);
        start("leases", Box::new(move || leases::run(&leases, &renewed, renewing.as_ref(), lease, &stop)))?;
        // Nor must the sweep wait for them.
        let mut watch = watch::Watch {
            store: store.apart(),
            clock: Arc::clone(&clock),
            speaker: Speaker::new(config, heart.ways()),
            batch: i64::from(config.sweeper.batch),
            metrics: heart.metrics().clone(),
            operator: Some(heart.operator().clone()),
        };
        let progress = heart.progresses().sweeper.clone();
        start("sweep", Box::new(move || watch::run(&mut watch, &progress, &wake, &mut crews)))?;
        let keeper = housekeeping::Keeper { store: store.clone(), clock, live, singleton: singleton.clone() };
        let (claim, stop) = (singleton.clone(), shutdown.clone());
        start("singleton", Box::new(move || claim.run(&stop)))?;
        let outside = Outside { store, heart, singleton: &singleton, ways: &ways };
        for (name, work) in outside.loops(config)? {
            let stop = shutdown.clone();
            start(name, Box::new(move || work(&stop)))?;
        }
        let stop = shutdown.clone();
        let operator = heart.operator().clone();
        let gone = gone::Gone::new(store, heart.clock(), config.live(), &operator, &singleton, shutdown);
        let (own, claim) = (store.clone(), singleton.clone());
        let routing = routing::Routing::new(own, heart.id(), heart.clock(), operator, claim, gone);
        routing.publish_at_reloads(&config.live());
        let looking = shutdown.clone();
        start("routing", Box::new(move || routing.run(&looking)))?;
        let outages = outages::Outages {
            store: store.clone(),
            clock: heart.clock(),
            operator: heart.operator().clone(),
            singleton: singleton.clone(),
        };
        let stopping = shutdown.clone();
        start("outages", Box::new(move || outages.run(&stopping)))?;
        start("housekeeping", Box::new(move || housekeeping::run(&keeper, &stop)))?;
        Ok(Self { parts, ended, singleton })
    }

    /// The lease of what only one node does.
    pub fn singleton(&self) -> &Singleton {
        &self.singleton
    }

    /// Waits for the threads to end after a stop was asked for; at most ten seconds, so that a provider that hangs cannot
    /// hold up the stop.
    ///
    /// # Errors
    /// Why a part died, if one did.
    pub fn finish(self) -> anyhow::Result<()> {
        // Every part holds one end of the channel, so it breaks when the last has ended.
        if let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = self.ended.recv_timeout(STOP_WITHIN) {
            log::warn!("a message is still being sent; it will go out again under the same key");
            return Ok(());
        }
        let parts = std::mem::take(&mut *self.parts.lock().unwrap_or_else(PoisonError::into_inner));
        parts.into_iter().try_for_each(Part::join)
    }
}

/// What the loops that look beyond this installation share.
struct Outside<'a> {
    store: &'a Store,
    heart: &'a Heart,
    singleton: &'a Singleton,
    ways: &'a Ways,
}

type Loop = Box<dyn FnOnce(&Shutdown) + Send>;

impl Outside<'_> {
    /// The loops that are configured, with names for their threads.
    fn loops(&self, config: &Config) -> anyhow::Result<Vec<(&'static str, Loop)>> {
        let (store, clock, singleton) = (self.store, self.heart.clock(), self.singleton);
        let mut loops: Vec<(&'static str, Loop)> = Vec::new();
        for (name, peer) in &config.peers {
            let operator = self.heart.operator().clone();
            let peer =
                Peer::new(name.as_str(), peer, store.clone(), clock.clone(), singleton.clone(), operator)?;
            loops.push(("peer", Box::new(move |stop| peer.run(stop))));
        }
        let mail = MailLoop::new(
            &config.mail_loop,
            &config.instance,
            store.clone(),
            clock.clone(),
            singleton.clone(),
            self.heart.operator().clone(),
            self.ways.now(),
        )?;
        let ways = self.ways.clone();
        if let Some(mut mail) = mail {
            let ways = ways.clone();
            loops.push(("mail-loop", Box::new(move |stop| mail.run(&ways, stop))));
        }
        if let Some(schedule) = &config.sweeper.summary {
            let (live, alerters) = (config.live(), ways.now());
            let mut summaries = Summaries {
                store: store.clone(),
                clock: clock.clone(),
                singleton: singleton.clone(),
                speaker: Speaker::new(config, self.heart.ways()),
                ways: summary::ways(&alerters, &config.operator),
                schedule: schedule.clone(),
            };
            loops.push(("summary", Box::new(move |stop| summaries.run(&live, &ways, stop))));
        }
        if let Some(url) = &config.heartbeat.url {
            let asker = Asker::new(url).map_err(|invalid| anyhow::anyhow!("heartbeat.{invalid}"))?;
            let every = config.heartbeat.every.to_std().unwrap_or_default();
            let heartbeat = Heartbeat {
                store: store.clone(),
                clock: clock.clone(),
                singleton: singleton.clone(),
                asker,
                every,
            };
            loops.push(("heartbeat", Box::new(move |stop| heartbeat.run(stop))));
        }
        if let Some(listen) = config.sweeper.listen {
            let nodes = Nodes::new(store.clone(), self.heart, Some(singleton.clone()));
            let peer = http::peer::Peer::new(store.clone(), clock, &config.instance);
            let health = Health::new(store.clone(), env!("CARGO_PKG_VERSION"));
            let observed = Observed::new(store.clone(), self.heart);
            let gate = Gate::new(store, config, self.heart.clock());
            let service = HttpService::new("sweeper", listen, gate, move |routes| {
                nodes.mount(routes);
                peer.mount(routes);
                peer.mount_for_checkers(routes);
                health.mount(routes);
                observed.mount(routes);
            });
            loops.push(("listener", Box::new(move |stop| serve(service, stop))));
        }
        Ok(loops)
    }
}

/// Says how the sweeper is, until the process stops.
fn serve(service: HttpService, shutdown: &Shutdown) {
    if let Err(error) = service.workers(Some(1)).connections(CONNECTIONS).run(shutdown) {
        log::error!("{error}: {:?}", std::error::Error::source(&error));
        shutdown.request();
    }
}

/// The whole process: waits for the database, then watches until it is asked to stop.
///
/// # Errors
/// What ended it before that.
pub fn run(config: &Config, shutdown: &Shutdown) -> anyhow::Result<()> {
    let store = wait_for_database(config, Role::Sweeper, shutdown)?;
    let heart = Heart::start(&store, config, Role::Sweeper, shutdown)?;
    let sweeper = Sweeper::start(&store, config, &heart, Wake::new(shutdown), shutdown)?;
    log::info!("sweeper: watching over {}", config.database.masked_url());
    shutdown.wait();
    let watched = sweeper.finish();
    heart.finish()?;
    watched
}
