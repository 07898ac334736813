//! What makes a process a node: it beats each second, watches the others, and says goodbye.
//!
//! `clock/` is the time that all nodes share, `operator.rs` how people hear of Innkeeper's own troubles, `letters.rs` how that is sent,
//! `astray.rs` how they hear of reservations whose messages lead nowhere, `progress.rs` whether the work of a duty gets done,
//! `pending.rs` what of it has come and waits, `condition.rs` what a heartbeat says of
//! that, `troubles.rs` what the operator hears of it, `file.rs` what is done for an SQLite file, `singleton.rs` the lease of what only
//! one node may do, `watchman.rs` who notices that the database is out of reach. Here is the heartbeat, and what follows from those of
//! the others.

pub mod astray;
pub mod clock;
mod condition;
mod expected;
mod file;
mod letters;
mod operator;
pub mod pending;
pub mod progress;
mod singleton;
mod troubles;
pub(crate) mod watchman;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use innkeeper_core::alert::stamp;
use innkeeper_core::reservation::Window;
use innkeeper_core::{Clock, Time, duration};
use innkeeper_store::{
    Beaten, DatabaseKind, Heartbeat, KnownNode, Node as NodeRow, Store, StoreError, Watched, Work,
};
use uuid::Uuid;

pub use astray::Astray;
use clock::Follower;
pub use clock::NodeClock;
pub use condition::Progresses;
pub use expected::{FEWER_FOR, Strength, strengths};
pub use operator::Operator;
pub use singleton::{LEASE, Singleton};
use watchman::{Contact, Finding, Watchman};

use crate::config::Live;
use crate::{Config, KnownWays, Metrics, Part, Role, Shutdown};
use condition::Condition;
use progress::HEARTBEAT;

/// How often a node beats.
const BEAT: Duration = Duration::from_secs(1);
/// A node whose last heartbeat is longer ago is gone.
pub const GONE_AFTER: TimeDelta = TimeDelta::seconds(10);
/// A duty that nobody has had for longer is missing: a restart takes less.
pub const MISSING_AFTER: TimeDelta = TimeDelta::seconds(15);
/// How long a node must have been beating before it judges others: after an outage all of them look dead.
pub const SETTLED_AFTER: TimeDelta = TimeDelta::seconds(12);
/// Between two heartbeats of its own a node has not slept for longer than this.
const ASLEEP: TimeDelta = TimeDelta::seconds(5);
/// How long the database may be away before the operator hears of it.
pub const AWAY: Duration = Duration::from_secs(20);
/// How long a node that stops goes on beating at most, while what it has taken in is written.
const LAST_WRITES: Duration = Duration::from_secs(20);
/// How long a stop waits for the goodbye, and for a message to the operator that is being sent.
const FAREWELL: Duration = Duration::from_secs(8);
/// A blind window that is shorter is not worth a message: a restart.
const WORTH_TELLING: TimeDelta = TimeDelta::seconds(5);

/// After how long without a stored heartbeat a node of this store is gone.
pub fn gone_after(store: &Store) -> TimeDelta {
    GONE_AFTER + store.backend().unstored_heartbeats()
}

/// After how long without a stored heartbeat a duty of this store is missing.
pub fn missing_after(store: &Store) -> TimeDelta {
    MISSING_AFTER + store.backend().unstored_heartbeats()
}

/// The heart of a process: the heartbeat's thread, and what it shares.
pub struct Heart {
    clock: Arc<NodeClock>,
    operator: Operator,
    live: Live,
    astray: Astray,
    id: String,
    address: Arc<Mutex<String>>,
    metrics: Metrics,
    progresses: Progresses,
    parts: Vec<Part>,
    /// Asked for when all work is done, after the stop.
    finished: Shutdown,
}

impl Heart {
    /// Starts it. The first heartbeat is out when this returns, so that a blind window that ends here is known before anything is
    /// judged; where the database does not take it, the thread goes on trying.
    ///
    /// # Errors
    /// An alerter that cannot be built, or no thread to be had.
    pub fn start(store: &Store, config: &Config, role: Role, shutdown: &Shutdown) -> anyhow::Result<Self> {
        let clock = Arc::new(NodeClock::default());
        let (operator, sender) = Operator::start(config, role, clock.clone(), shutdown)?;
        for problem in Operator::unreached(config) {
            log::warn!("{problem}");
        }
        let astray = Astray::new(operator.clone());
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let refused = operator.clone();
        config.live().on_reload(move |done| {
            if let Err(error) = done {
                let text = format!("The configuration stays as it was. Wrong with the new one:\n{error}");
                refused.tell("The new configuration is refused", &text);
            }
        });
        let address = Arc::<Mutex<String>>::default();
        let contact = Contact::default();
        let progresses = Progresses::new(role.duties());
        let mut pulse = Pulse {
            // Of its own: a heartbeat must not wait while others use all connections.
            store: store.apart_with_short_waits(),
            clock: clock.clone(),
            follower: Follower::new(Arc::clone(&clock), &host, store),
            operator: operator.clone(),
            astray: astray.clone(),
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
        let id = pulse.node.id.clone();
        // First, since what follows asks the database.
        let looking = watch_contact(contact, operator.clone(), pulse.words(), shutdown)?;
        pulse.follower.follow(&pulse.store, &pulse.operator);
        pulse.node.started_at = clock.now();
        pulse.tick();
        let (stop, finished) = (shutdown.clone(), Shutdown::new());
        let done = finished.clone();
        let heart = Part::spawn("heart", shutdown, move || {
            while !stop.wait_timeout(BEAT) {
                pulse.tick();
            }
            pulse.beat_on(&done);
            pulse.goodbye();
            Ok(())
        })?;
        let mut parts = vec![looking, heart, sender];
        parts.extend(file::start(store, &operator, &clock, shutdown)?);
        let (live, metrics) = (config.live(), Metrics::new()?);
        Ok(Self { clock, operator, live, astray, id, address, metrics, progresses, parts, finished })
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
    pub fn astray(&self) -> &Astray {
        &self.astray
    }

    /// The ways out that there are.
    pub fn ways(&self) -> &KnownWays {
        self.operator.ways()
    }

    /// What says where this node listens, once it does.
    pub fn listening(&self) -> impl FnOnce(std::net::SocketAddr) + Send + 'static {
        let address = Arc::clone(&self.address);
        move |listening| *address.lock().unwrap_or_else(PoisonError::into_inner) = listening.to_string()
    }

    /// Waits for its end, a while at most: the goodbye is said now. Call it after the stop, when what was taken in has been written.
    ///
    /// # Errors
    /// Why a part died, if one did.
    pub fn finish(self) -> anyhow::Result<()> {
        self.finished.request();
        drop((self.operator, self.astray));
        self.parts.into_iter().try_for_each(|part| part.join_within(FAREWELL))
    }
}

/// The heartbeat itself.
struct Pulse {
    store: Store,
    clock: Arc<NodeClock>,
    follower: Follower,
    operator: Operator,
    astray: Astray,
    address: Arc<Mutex<String>>,
    duties: &'static [&'static str],
    node: NodeRow,
    history: History,
    contact: Contact,
    expected: expected::Watch,
    condition: Condition,
    progresses: Progresses,
    stopping_since: Option<Time>,
}

impl Pulse {
    /// One heartbeat, and a look at the others.
    fn tick(&mut self) {
        self.astray.flush(false);
        let beaten = self.correct_and_beat();
        self.condition.look(beaten.is_ok(), &self.node, &self.operator);
        match beaten {
            Ok(beaten) => {
                self.contact.made();
                for duty in &beaten.taken_up {
                    self.operator.tell(
                        &format!("There is {} again", some(duty)),
                        &format!("{} has taken up its work.", self.words()),
                    );
                }
                for (what, done) in [("watch", self.watch()), ("expected nodes", self.look_for_expected())] {
                    if let Err(error) = done {
                        log::debug!("{what}: {error}");
                    }
                }
            }
            Err(error) => {
                log::debug!("heartbeat: {error}");
                // Who looks at the file tells of a lost one.
                if error.is_file_lost() {
                    self.contact.made();
                } else {
                    self.contact.failed(&error);
                }
            }
        }
    }

    fn correct_and_beat(&mut self) -> Result<Beaten, StoreError> {
        self.follower.follow(&self.store, &self.operator);
        self.node.offset = self.clock.offset();
        self.node.address = self.address.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = self.clock.now();
        if !self.clock.is_steady() {
            // No sweep is made meanwhile, which afterwards looks as if nobody swept.
            self.history = History::default();
        }
        let work = self.condition.work(now);
        if self.condition.is_due(&self.store, &self.node, &work)? {
            let beaten = self.beat(&work, now)?;
            self.history.beat_at(now);
            return Ok(beaten);
        }
        self.condition.beaten(&work);
        self.history.beat_at(now);
        Ok(Beaten::default())
    }

    /// Stores a heartbeat.
    fn beat(&mut self, work: &[Work<'static>], now: Time) -> Result<Beaten, StoreError> {
        let operator = &self.operator;
        let tell = |window: &Window| match window.until - window.from > WORTH_TELLING {
            true => operator.deliveries("Innkeeper was blind", &blind_words(window), now),
            false => Vec::new(),
        };
        let heartbeat = Heartbeat {
            node: &self.node,
            work,
            first: self.condition.is_first(),
            written_until: self.condition.written_until(),
            stopping_since: self.stopping_since,
            now,
        };
        // SQLite has one file, to which a heartbeat commits as a check-in does. That it cannot be written is told as such: it is in reach.
        let of_one_file = self.store.backend() == DatabaseKind::Sqlite && self.duties.contains(&"ingest");
        let attempt = of_one_file.then(|| self.progresses.ingest.begin(HEARTBEAT));
        let beaten = match (self.store.record_heartbeat(&heartbeat, &tell), attempt) {
            (Ok(beaten), attempt) => {
                if let Some(attempt) = attempt {
                    attempt.succeeded();
                }
                beaten
            }
            (Err(error), Some(attempt)) if !heartbeat.first => {
                log::debug!("heartbeat: {error}");
                attempt.failed(&error);
                return Ok(Beaten::default());
            }
            (Err(error), _) => return Err(error),
        };
        if let Some(window) = &beaten.blind {
            log::warn!("{}", blind_words(window));
        }
        if beaten.probe {
            self.progresses.ingest.want_probe();
        }
        self.condition.stored(&self.node, work);
        self.condition.beaten(work);
        Ok(beaten)
    }

    fn watch(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        if !self.history.is_settled(now) || !self.clock.is_steady() {
            return Ok(());
        }
        let Watched { gone, missing } =
            self.store.watch(gone_after(&self.store), missing_after(&self.store), now)?;
        for node in &gone {
            self.operator.tell(
                &format!("A node is gone: {} on {}", node.node.role, node.node.host),
                &gone_words(node),
            );
        }
        for duty in missing {
            self.operator.tell(
                &format!("There is no {}", duty.name),
                &format!(
                    "No node has done the work of {} since {}. {}",
                    duty.name,
                    stamp(duty.beat_at, chrono_tz::UTC),
                    consequence(&duty.name)
                ),
            );
        }
        Ok(())
    }

    fn look_for_expected(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now();
        if !self.history.is_settled(now) {
            return Ok(());
        }
        self.expected.look(&self.store, &self.operator, now)
    }

    /// Goes on beating after the stop, until the work is done: as long as check-ins are still written and answered, nobody may take this
    /// node for gone and judge the silence of those who sent them. It judges nobody itself.
    fn beat_on(&mut self, finished: &Shutdown) {
        self.astray.flush(true);
        self.stopping_since = Some(self.clock.now());
        let begun = Instant::now();
        while !finished.wait_timeout(BEAT) && begun.elapsed() < LAST_WRITES {
            if let Err(error) = self.correct_and_beat() {
                log::debug!("heartbeat: {error}");
                // Nobody can judge without the database either, and the stop must not wait for another try to end.
                let left = LAST_WRITES.saturating_sub(begun.elapsed());
                finished.wait_timeout(left);
                return;
            }
        }
    }

    fn goodbye(&mut self) {
        self.astray.flush(true);
        // The next start counts from here, also where the latest heartbeat was not stored.
        let now = self.clock.now();
        let work = self.condition.work(now);
        if !self.condition.is_first()
            && let Err(error) = self.beat(&work, now)
        {
            if error.is_unavailable() {
                log::warn!("the others were not told of this stop: {error}");
                return;
            }
            log::debug!("the last heartbeat: {error}");
        }
        if let Err(error) = self.store.say_goodbye(&self.node.id, self.clock.now()) {
            log::warn!("the others were not told of this stop: {error}");
        }
    }

    /// This node in words.
    fn words(&self) -> String {
        format!("The {} on {}", self.node.role, self.node.host)
    }
}

/// Since when a node has been beating without a gap.
#[derive(Debug, Default)]
struct History {
    since: Option<Time>,
    last: Option<Time>,
}

impl History {
    fn beat_at(&mut self, now: Time) {
        let gap = self.last.is_none_or(|last| now - last > ASLEEP || now < last);
        if gap {
            self.since = Some(now);
        }
        self.last = Some(now);
    }

    fn is_settled(&self, now: Time) -> bool {
        self.since.is_some_and(|since| now - since >= SETTLED_AFTER)
    }
}

/// Tells the operator when the database is out of reach, and when it is back, on a thread that does not ask it.
fn watch_contact(
    contact: Contact,
    operator: Operator,
    words: String,
    shutdown: &Shutdown,
) -> std::io::Result<Part> {
    let mut watchman = Watchman::new(contact, AWAY);
    let stop = shutdown.clone();
    Part::spawn("watchman", shutdown, move || {
        while !stop.wait_timeout(watchman::LOOK) {
            match watchman.look(Instant::now()) {
                Some(Finding::OutOfReach(waited, problem)) => operator.tell(
                    "The database is out of reach",
                    &format!(
                        "{words} has not reached it for {} s, so check-ins are refused and nothing is watched.\n{problem}",
                        waited.as_secs()
                    ),
                ),
                Some(Finding::BackAgain) => {
                    operator.tell("The database answers again", &format!("{words} can reach it."));
                }
                None => {}
            }
        }
        Ok(())
    })
}

fn blind_words(window: &Window) -> String {
    let [from, until] = [window.from, window.until].map(|at| stamp(at, chrono_tz::UTC));
    let length = TimeDelta::seconds((window.until - window.from).num_seconds());
    let span = match length > TimeDelta::zero() {
        true => format!("from {from} to {until} ({})", duration::words(length)),
        false => format!("for less than a second at {from}"),
    };
    format!(
        "No check-in could be recorded {span}. Jobs that were due in that time are given another period, an hour at most, to be heard again."
    )
}

fn gone_words(known: &KnownNode) -> String {
    let KnownNode { node, beat_at, .. } = known;
    let place =
        if node.address.is_empty() { String::new() } else { format!(", which listened on {}", node.address) };
    format!(
        "The {} on {}{place}, stopped without saying goodbye; its last heartbeat was at {}.",
        node.role,
        node.host,
        stamp(*beat_at, chrono_tz::UTC)
    )
}

fn some(duty: &str) -> String {
    let article = if duty.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {duty}")
}

fn consequence(duty: &str) -> &'static str {
    match duty {
        "ingest" => "Jobs cannot check in; none is blamed for it.",
        "sweeper" => "Jobs that fall silent are not noticed, and no alerts are sent, until one is started.",
        _ => "Nobody can look at the pages.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_slept_does_not_judge_others_at_once() {
        let at = |seconds: i64| Time::from_timestamp(1_000_000 + seconds, 0).unwrap();
        let mut history = History::default();
        assert!(!history.is_settled(at(0)));
        (0..=12).for_each(|second| history.beat_at(at(second)));
        assert!(history.is_settled(at(12)));
        history.beat_at(at(600));
        assert!(!history.is_settled(at(600)), "it was asleep for ten minutes");
        (601..=612).for_each(|second| history.beat_at(at(second)));
        assert!(history.is_settled(at(612)));
        history.beat_at(at(500));
        assert!(!history.is_settled(at(500)), "the clock was set back");
    }
}
