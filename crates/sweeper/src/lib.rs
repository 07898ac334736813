//! The sweeper: finds overdue reservations, composes the messages about them, sends them, and sums
//! up the week.
//!
//! It evaluates reservations and never accepts check-ins. Each piece of work is a step that returns what it did, with a
//! short loop around it.
//!
//! Where to start: [`Sweeper`] puts the parts together; `watch.rs` is the loop of the sweep; `decide.rs` decides what
//! happens to due reservations; `messages.rs` composes what people read; `dispatch.rs` sends it; `worker_pools.rs`
//! keeps senders for each alerter; `leases.rs` keeps the claims on messages that are being sent; `scan_cursor.rs`
//! remembers where a scan begins; `summary.rs` is the weekly table; `housekeeping.rs` prunes; `outages.rs` reports
//! messages that are not delivered; `routing.rs` looks for reservations whose messages have no recipient;
//! `summary_loop.rs` sends the summary when it is time; `peers.rs`, `mail_loop.rs` and `heartbeat.rs` watch Innkeeper
//! itself.

mod backoff;
pub mod decide;
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
pub mod scan_cursor;
pub mod summary;
pub mod summary_loop;
pub mod watch;
mod worker_pools;

use std::sync::Arc;
use std::time::Duration;

use innkeeper_alerter::HttpAsker;
use innkeeper_http::Listener;
use innkeeper_node::heartbeat::Singleton;
use innkeeper_node::{Config, Process, Role, RoleWork, Shutdown, SupervisedThread, Wake};
use parking_lot::Mutex;

use heartbeat::OutsideHeartbeat;
use leases::Leases;
use mail_loop::MailLoop;
use messages::MessageComposer;
use peers::WatchedPeer;
use summary_loop::Summaries;
use worker_pools::WorkerPools;

/// How long a stop waits for messages that are being sent. A message that is interrupted is sent again under the same
/// key.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// The running sweeper, with its threads.
pub struct Sweeper {
    parts: Arc<Mutex<Vec<SupervisedThread>>>,
    ended: std::sync::mpsc::Receiver<()>,
    singleton: Singleton,
}

impl Sweeper {
    /// Starts the sweep, the senders of each alerter, and the housekeeping. `wake` is signalled when the conclusion
    /// about a reservation may have changed.
    ///
    /// # Errors
    /// A peer, a mailbox or a heartbeat address that cannot be used, or a thread that cannot be
    /// started.
    pub fn start(process: &Process, wake: Wake) -> anyhow::Result<Self> {
        let (store, config, heartbeat) = (process.store(), process.config(), process.heartbeat());
        let (ways, shutdown) = (process.alerters().clone(), process.shutdown());
        let clock = heartbeat.clock();
        // The lease has a connection of its own, as the heartbeat has: a lease that is renewed too late is lost.
        let singleton = Singleton::new(store.apart_with_short_waits(), heartbeat.id(), heartbeat.clock());
        let live = config.live();
        let parts = Arc::<Mutex<Vec<SupervisedThread>>>::default();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let start = |name, work: Box<dyn FnOnce() + Send>| -> anyhow::Result<()> {
            let end = end.clone();
            let part = SupervisedThread::spawn(name, shutdown, move || {
                work();
                drop(end);
                Ok(())
            })?;
            parts.lock().push(part);
            Ok(())
        };
        let leases = Leases::default();
        let mut worker_pools = WorkerPools {
            // The senders' queries are short. Under high load more of them at once would take CPU time from the
            // check-ins.
            store: store.apart(),
            ways: ways.clone(),
            live: live.clone(),
            clock: Arc::clone(&clock),
            leases: leases.clone(),
            lease: config.sweeper.lease,
            senders: config.sweeper.senders,
            metrics: heartbeat.metrics().clone(),
            progress: heartbeat.progresses().sending.clone(),
            shutdown: shutdown.clone(),
            parts: Arc::clone(&parts),
            end: end.clone(),
            working: Vec::new(),
            parked: worker_pools::parked_before(store),
            of: None,
            failed_at: None,
        };
        worker_pools.follow()?;
        let (renewed, lease, stop) = (store.clone(), config.sweeper.lease, shutdown.clone());
        let renewing = Arc::clone(&clock);
        start("leases", Box::new(move || leases::run(&leases, &renewed, renewing.as_ref(), lease, &stop)))?;
        // The sweep has its own connections too, so that it does not wait for the senders.
        let mut watch = watch::Watch {
            store: store.apart(),
            clock: Arc::clone(&clock),
            composer: MessageComposer::new(config, heartbeat.ways()),
            batch: i64::from(config.sweeper.batch),
            metrics: heartbeat.metrics().clone(),
            operator: Some(heartbeat.operator().clone()),
        };
        let progress = heartbeat.progresses().sweeper.clone();
        start("sweep", Box::new(move || watch::run(&mut watch, &progress, &wake, &mut worker_pools)))?;
        let keeper =
            housekeeping::Housekeeper { store: store.clone(), clock, live, singleton: singleton.clone() };
        let (claim, stop) = (singleton.clone(), shutdown.clone());
        start("singleton", Box::new(move || claim.run(&stop)))?;
        let outside = Outside { process, singleton: &singleton };
        for (name, work) in outside.loops()? {
            let stop = shutdown.clone();
            start(name, Box::new(move || work(&stop)))?;
        }
        let stop = shutdown.clone();
        let operator = heartbeat.operator().clone();
        let gone =
            gone::GoneWatch::new(store, heartbeat.clock(), config.live(), &operator, &singleton, shutdown);
        let (own, claim) = (store.clone(), singleton.clone());
        let routing = routing::Routing::new(own, heartbeat.id(), heartbeat.clock(), operator, claim, gone);
        routing.publish_at_reloads(&config.live());
        let looking = shutdown.clone();
        start("routing", Box::new(move || routing.run(&looking)))?;
        let outages = outages::Outages {
            store: store.clone(),
            clock: heartbeat.clock(),
            operator: heartbeat.operator().clone(),
            singleton: singleton.clone(),
        };
        let stopping = shutdown.clone();
        start("outages", Box::new(move || outages.run(&stopping)))?;
        start("housekeeping", Box::new(move || housekeeping::run(&keeper, &stop)))?;
        Ok(Self { parts, ended, singleton })
    }

    /// The lease for work that only one node does.
    pub fn singleton(&self) -> &Singleton {
        &self.singleton
    }
}

impl RoleWork for Sweeper {
    /// Waits for the threads to end, at most ten seconds, so that a provider that hangs cannot delay the stop.
    fn finish(self: Box<Self>, _in_order: bool) -> anyhow::Result<()> {
        // Every thread holds one end of the channel, so it disconnects when the last thread has ended.
        if let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = self.ended.recv_timeout(STOP_WITHIN) {
            log::warn!("a message is still being sent; it will go out again under the same key");
            return Ok(());
        }
        let parts = std::mem::take(&mut *self.parts.lock());
        parts.into_iter().try_for_each(SupervisedThread::join)
    }
}

/// The common input of the loops that talk to other systems.
struct Outside<'a> {
    process: &'a Process,
    singleton: &'a Singleton,
}

type Loop = Box<dyn FnOnce(&Shutdown) + Send>;

impl Outside<'_> {
    /// The configured loops, with the names of their threads.
    fn loops(&self) -> anyhow::Result<Vec<(&'static str, Loop)>> {
        let Self { process, singleton } = *self;
        let (store, config, heartbeat) = (process.store(), process.config(), process.heartbeat());
        let (clock, ways) = (process.clock(), process.alerters().clone());
        let mut loops: Vec<(&'static str, Loop)> = Vec::new();
        for (name, peer) in &config.peers {
            let operator = heartbeat.operator().clone();
            let peer = WatchedPeer::new(
                name.as_str(),
                peer,
                store.clone(),
                clock.clone(),
                singleton.clone(),
                operator,
            )?;
            loops.push(("peer", Box::new(move |stop| peer.run(stop))));
        }
        let mail = MailLoop::new(
            &config.mail_loop,
            &config.instance,
            store.clone(),
            clock.clone(),
            singleton.clone(),
            heartbeat.operator().clone(),
            ways.now(),
        )?;
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
                composer: MessageComposer::new(config, heartbeat.ways()),
                ways: summary::ways(&alerters, &config.operator),
                schedule: schedule.clone(),
            };
            loops.push(("summary", Box::new(move |stop| summaries.run(&live, &ways, stop))));
        }
        if let Some(url) = &config.heartbeat.url {
            let asker = HttpAsker::new(url).map_err(|invalid| anyhow::anyhow!("heartbeat.{invalid}"))?;
            let every = config.heartbeat.every.to_std().unwrap_or_default();
            let heartbeat = OutsideHeartbeat {
                store: store.clone(),
                clock: clock.clone(),
                singleton: singleton.clone(),
                asker,
                every,
            };
            loops.push(("heartbeat", Box::new(move |stop| heartbeat.run(stop))));
        }
        if let Some(listen) = config.sweeper.listen {
            let listener = Listener::of_status(process, "sweeper", listen).lease(singleton);
            loops.push(("listener", Box::new(move |stop| serve(listener, stop))));
        }
        Ok(loops)
    }
}

/// Serves the health status of the sweeper until the process stops.
fn serve(listener: Listener, shutdown: &Shutdown) {
    if let Err(error) = listener.run(shutdown) {
        log::error!("sweeper: {error:#}");
        shutdown.request();
    }
}

/// The whole process: waits for the database, then runs the sweeper until it is asked to stop.
///
/// # Errors
/// Whatever ended the process before it was asked to stop.
pub fn run(config: &Config, shutdown: &Shutdown) -> anyhow::Result<()> {
    let process = Process::start(Role::Sweeper, config, shutdown)?;
    let sweeper = Sweeper::start(&process, Wake::new(shutdown))?;
    log::info!("sweeper: watching over {}", config.database.masked_url());
    let wait = |stop: &Shutdown| {
        stop.wait();
        Ok(())
    };
    process.run(wait, vec![Box::new(sweeper)])
}
