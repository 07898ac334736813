//! The heartbeat makes a process a node: it reports each second, watches the other nodes, and announces its own end.
//!
//! - `recorder.rs` records the heartbeat, and acts on those of other nodes;
//! - `clock/` is the common time of all nodes;
//! - `progress.rs` knows whether the work of a duty gets done, `pending.rs` which work waits, `condition.rs` what the
//!   heartbeat reports of it, and `troubles.rs` what the operator is told of it;
//! - `operator.rs` writes messages to the operator about Innkeeper itself, `operator_queue.rs` sends them;
//! - `dead_end_reporter.rs` reports reservations whose messages reach nobody, `refusals.rs` refused configurations;
//! - `reachability.rs` notices that the database is unreachable, `away.rs` keeps what was last reported of that;
//! - `file.rs` watches an SQLite file;
//! - `singleton.rs` is the lease for work that only one node may do.
//!
//! This module starts them and holds what they share.

pub(crate) mod away;
pub mod clock;
mod condition;
pub mod dead_end_reporter;
mod expected;
mod file;
mod operator;
mod operator_queue;
pub mod pending;
pub mod progress;
pub(crate) mod reachability;
mod recorder;
mod refusals;
mod reloads;
mod singleton;
mod troubles;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use innkeeper_core::Clock;
use innkeeper_core::duty::Duty;
use innkeeper_store::{EndedWaits, Node as NodeRow, Store};
use parking_lot::Mutex;
use uuid::Uuid;

pub use crate::clock::NodeClock;
use away::AwayMark;
use clock::Follower;
pub use condition::Progresses;
pub use dead_end_reporter::DeadEndReporter;
pub use expected::{FEWER_FOR, Strength, strengths};
pub use operator::{Operator, OperatorMessage};
use reachability::Contact;
pub use singleton::{LEASE, Singleton};

use crate::config::Live;
use crate::{Config, KnownWays, Metrics, Role, Shutdown, SupervisedThread};
use condition::Condition;
use recorder::{HeartbeatLoop, History};
use refusals::Refusals;
use reloads::Reloads;

/// The interval between heartbeats.
const BEAT: Duration = Duration::from_secs(1);
/// A node whose last heartbeat is older than this is gone.
pub const GONE_AFTER: TimeDelta = TimeDelta::seconds(10);
/// A duty that no node has done for longer is missing; a restart takes less.
pub const MISSING_AFTER: TimeDelta = TimeDelta::seconds(15);
/// How long a node must have been beating before it judges others: after an outage all others look dead.
pub const SETTLED_AFTER: TimeDelta = TimeDelta::seconds(12);
/// How long the database may be unreachable before the operator is told.
pub const AWAY: Duration = Duration::from_secs(20);
/// How long, after a stop is requested, the last heartbeats, the notice of the end and the return of the lease may
/// wait in total for a database that does not answer. In a role that takes no check-ins this bounds its other work
/// too.
const LAST_WAIT: Duration = Duration::from_secs(3);
/// How long a stop waits for the notice of the end and for a message to the operator that is being sent.
const FAREWELL: Duration = Duration::from_secs(8);

/// The time without a stored heartbeat after which a node of this store is gone.
pub fn gone_after(store: &Store) -> TimeDelta {
    GONE_AFTER + store.backend().unstored_heartbeats()
}

/// The time without a stored heartbeat after which a duty of this store is missing.
pub fn missing_after(store: &Store) -> TimeDelta {
    MISSING_AFTER + store.backend().unstored_heartbeats()
}

/// The heartbeat of a process: its thread, and the state shared with other threads.
pub struct Heartbeat {
    clock: Arc<NodeClock>,
    operator: Operator,
    live: Live,
    dead_end_reporter: DeadEndReporter,
    id: String,
    address: Arc<Mutex<String>>,
    metrics: Metrics,
    progresses: Progresses,
    parts: Vec<SupervisedThread>,
    /// Requested after the stop, when all work is done.
    finished: Shutdown,
}

impl Heartbeat {
    /// Starts the heartbeat. The first one is stored when this returns, so that a blind window that ends here is known
    /// before any job is judged. If the database does not accept it, the thread keeps trying.
    ///
    /// # Errors
    /// An alerter cannot be built, or a thread cannot be started.
    pub fn start(store: &Store, config: &Config, role: Role, shutdown: &Shutdown) -> anyhow::Result<Self> {
        let clock = config.live().clock();
        let (operator, sender) = Operator::start(config, role, clock.clone(), shutdown)?;
        for problem in Operator::unreached(config) {
            log::warn!("{problem}");
        }
        let dead_end_reporter = DeadEndReporter::new(operator.clone());
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let refusals = Refusals::new(operator.clone());
        let told = refusals.clone();
        config.live().on_reload(move |done| told.reloaded(done.as_ref().err(), Instant::now()));
        // A connection of its own: the heartbeat must not wait while others use the whole pool.
        let apart = store.apart_with_short_waits();
        let log = Reloads::new(&apart, clock.clone(), role, &host);
        config.live().on_reload(move |done| log.note(done));
        let address = Arc::<Mutex<String>>::default();
        let waiting = apart.clone();
        // Accepted check-ins are written, however long it takes.
        let waits = if role.duties().contains(&Duty::Ingest) { EndedWaits::Short } else { EndedWaits::All };
        shutdown.on_request(move || waiting.end_waits(Instant::now() + LAST_WAIT, waits));
        let contact = Contact::default();
        let progresses = Progresses::new(role.duties());
        let mut recorder = HeartbeatLoop {
            store: apart,
            clock: clock.clone(),
            follower: Follower::new(Arc::clone(&clock), &host, store),
            operator: operator.clone(),
            dead_end_reporter: dead_end_reporter.clone(),
            refusals,
            address: Arc::clone(&address),
            duties: role.duties(),
            node: NodeRow {
                id: Uuid::new_v4().to_string(),
                role: role.to_string(),
                host,
                address: String::new(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at: clock.now(),
                offset: TimeDelta::zero(),
            },
            history: History::default(),
            contact: contact.clone(),
            expected: expected::Watch::new(config.live()),
            condition: Condition::new(Arc::clone(&clock), progresses.clone()),
            progresses: progresses.clone(),
            stopping_since: None,
        };
        let id = recorder.node.id.clone();
        // Started first, because the rest queries the database.
        let looking = reachability::start(
            contact,
            operator.clone(),
            recorder.words(),
            role.duties(),
            AwayMark::new(config, role),
            shutdown,
        )?;
        recorder.follower.follow(&recorder.store, &recorder.operator);
        recorder.node.started_at = clock.now();
        recorder.tick();
        let (stop, finished) = (shutdown.clone(), Shutdown::new());
        let done = finished.clone();
        let heartbeat = SupervisedThread::spawn("heartbeat", shutdown, move || {
            while !stop.wait_timeout(BEAT) {
                recorder.tick();
            }
            recorder.beat_on(&done);
            recorder.goodbye();
            Ok(())
        })?;
        let mut parts = vec![looking, heartbeat, sender];
        parts.extend(file::start(store, &operator, &clock, shutdown)?);
        let (live, metrics) = (config.live(), Metrics::new()?);
        Ok(Self {
            clock,
            operator,
            live,
            dead_end_reporter,
            id,
            address,
            metrics,
            progresses,
            parts,
            finished,
        })
    }

    /// The time that all nodes share.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// The node's id, which also identifies the holder of a lease.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The metrics of this process.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The configuration in force.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// The progress of this process's duties.
    pub fn progresses(&self) -> &Progresses {
        &self.progresses
    }

    /// The channel for messages to the operator.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// The reporter of reservations whose messages reach nobody.
    pub fn dead_end_reporter(&self) -> &DeadEndReporter {
        &self.dead_end_reporter
    }

    /// The known alerters.
    pub fn ways(&self) -> &KnownWays {
        self.operator.ways()
    }

    /// A callback that records the address at which this node listens.
    pub fn listening(&self) -> impl FnOnce(std::net::SocketAddr) + Send + 'static {
        let address = Arc::clone(&self.address);
        move |listening| *address.lock() = listening.to_string()
    }

    /// Waits for its end, for a limited time, and records the end of the node. Call it after the stop, when accepted
    /// check-ins have been written.
    ///
    /// # Errors
    /// The error of a thread that died.
    pub fn finish(self) -> anyhow::Result<()> {
        self.finished.request();
        drop((self.operator, self.dead_end_reporter));
        self.parts.into_iter().try_for_each(|part| part.join_within(FAREWELL))
    }
}
