//! What makes a process a node: it beats each second, watches the others, and says goodbye.
//!
//! `clock/` is the time that all nodes share, `operator.rs` how people hear of Innkeeper's own troubles, `operator_queue.rs` how that is sent,
//! `dead_end_reporter.rs` how they hear of reservations whose messages lead nowhere, `refusals.rs` of a configuration that is refused, `progress.rs` whether the work of a duty gets done,
//! `pending.rs` what of it has come and waits, `condition.rs` what a heartbeat says of
//! that, `troubles.rs` what the operator hears of it, `file.rs` what is done for an SQLite file, `singleton.rs` the lease of what only
//! one node may do, `reachability.rs` what notices that the database is out of reach,
//! `away.rs` what was told of that last, `recorder.rs` records the heartbeat, and what follows from those
//! of the others. Here is what starts them, and what they share.

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
use innkeeper_store::{Node as NodeRow, Store, Waits};
use parking_lot::Mutex;
use uuid::Uuid;

use away::AwayMark;
use clock::Follower;
pub use clock::NodeClock;
pub use condition::Progresses;
pub use dead_end_reporter::DeadEndReporter;
pub use expected::{FEWER_FOR, Strength, strengths};
pub use operator::{Operator, OperatorMessage};
use reachability::Contact;
pub use singleton::{LEASE, Singleton};
pub(crate) use troubles::SENDING;

use crate::config::Live;
use crate::{Config, KnownWays, Metrics, Role, Shutdown, SupervisedThread};
use condition::Condition;
use recorder::{HeartbeatLoop, History};
use refusals::Refusals;
use reloads::Reloads;

/// How often a node beats.
const BEAT: Duration = Duration::from_secs(1);
/// A node whose last heartbeat is longer ago is gone.
pub const GONE_AFTER: TimeDelta = TimeDelta::seconds(10);
/// A duty that nobody has had for longer is missing: a restart takes less.
pub const MISSING_AFTER: TimeDelta = TimeDelta::seconds(15);
/// How long a node must have been beating before it judges others: after an outage all of them look dead.
pub const SETTLED_AFTER: TimeDelta = TimeDelta::seconds(12);
/// How long the database may be away before the operator hears of it.
pub const AWAY: Duration = Duration::from_secs(20);
/// How long after the stop is asked for its heartbeats, its goodbye and its lease wait for a database that does not answer, all together;
/// where no check-ins are taken in, whatever else it does, too.
const LAST_WAIT: Duration = Duration::from_secs(3);
/// How long a stop waits for the goodbye, and for a message to the operator that is being sent.
const FAREWELL: Duration = Duration::from_secs(8);

/// After how long without a stored heartbeat a node of this store is gone.
pub fn gone_after(store: &Store) -> TimeDelta {
    GONE_AFTER + store.backend().unstored_heartbeats()
}

/// After how long without a stored heartbeat a duty of this store is missing.
pub fn missing_after(store: &Store) -> TimeDelta {
    MISSING_AFTER + store.backend().unstored_heartbeats()
}

/// The heartbeat of a process: the heartbeat's thread, and what it shares.
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
    /// Asked for when all work is done, after the stop.
    finished: Shutdown,
}

impl Heartbeat {
    /// Starts it. The first heartbeat is out when this returns, so that a blind window that ends here is known before anything is
    /// judged; where the database does not take it, the thread goes on trying.
    ///
    /// # Errors
    /// An alerter that cannot be built, or no thread to be had.
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
        // Of its own: a heartbeat must not wait while others use all connections.
        let apart = store.apart_with_short_waits();
        let log = Reloads::new(&apart, clock.clone(), role, &host);
        config.live().on_reload(move |done| log.note(done));
        let address = Arc::<Mutex<String>>::default();
        let waiting = apart.clone();
        // What was taken in is written for as long as it takes.
        let waits = if role.duties().contains(&"ingest") { Waits::Short } else { Waits::All };
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
        // First, since what follows asks the database.
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

    /// The node's id: who holds a lease.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What this process counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The configuration in force.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// How the work of this process gets on.
    pub fn progresses(&self) -> &Progresses {
        &self.progresses
    }

    /// How the operator is told.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// How the operator is told of reservations whose messages lead nowhere.
    pub fn dead_end_reporter(&self) -> &DeadEndReporter {
        &self.dead_end_reporter
    }

    /// The ways out that there are.
    pub fn ways(&self) -> &KnownWays {
        self.operator.ways()
    }

    /// What says where this node listens, once it does.
    pub fn listening(&self) -> impl FnOnce(std::net::SocketAddr) + Send + 'static {
        let address = Arc::clone(&self.address);
        move |listening| *address.lock() = listening.to_string()
    }

    /// Waits for its end, a while at most: the goodbye is said now. Call it after the stop, when what was taken in has been written.
    ///
    /// # Errors
    /// Why a part died, if one did.
    pub fn finish(self) -> anyhow::Result<()> {
        self.finished.request();
        drop((self.operator, self.dead_end_reporter));
        self.parts.into_iter().try_for_each(|part| part.join_within(FAREWELL))
    }
}
