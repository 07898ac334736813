//! The heartbeat loop: it records this node each second, acts on the heartbeats of others, and records the node's end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use askama::Template;
use chrono::TimeDelta;
use innkeeper_core::alert::stamp;
use innkeeper_core::duty::Duty;
use innkeeper_core::reservation::Window;
use innkeeper_core::{Clock, Time, duration};
use innkeeper_store::{
    DatabaseKind, GoneNodes, HeartbeatOutcome, KnownNode, Node as NodeRow, NodeChanges, NodeHeartbeat, Store,
    StoreError, Work,
};
use parking_lot::Mutex;

use super::clock::Follower;
use super::condition::{Condition, Progresses};
use super::progress::HEARTBEAT;
use super::reachability::Contact;
use super::{
    BEAT, DeadEndReporter, Operator, OperatorMessage, Refusals, SETTLED_AFTER, expected, gone_after,
    missing_after,
};
use crate::Shutdown;
use crate::clock::NodeClock;

/// If more time passes between two heartbeats of its own, the node was suspended.
const ASLEEP: TimeDelta = TimeDelta::seconds(5);
/// How long a stopping node continues its heartbeat at most, while accepted check-ins are written.
const LAST_WRITES: Duration = Duration::from_secs(20);
/// Shorter blind windows are not reported: they are restarts.
const WORTH_TELLING: TimeDelta = TimeDelta::seconds(5);

/// The heartbeat loop.
pub(super) struct HeartbeatLoop {
    pub store: Store,
    pub clock: Arc<NodeClock>,
    pub follower: Follower,
    pub operator: Operator,
    pub dead_end_reporter: DeadEndReporter,
    pub refusals: Refusals,
    pub address: Arc<Mutex<String>>,
    pub duties: &'static [Duty],
    pub node: NodeRow,
    pub history: History,
    pub contact: Contact,
    pub expected: expected::Watch,
    pub condition: Condition,
    pub progresses: Progresses,
    pub stopping_since: Option<Time>,
}

impl HeartbeatLoop {
    /// One heartbeat, and a look at the other nodes.
    pub fn tick(&mut self) {
        self.dead_end_reporter.flush_if_due();
        self.refusals.flush(Instant::now());
        let outcome = self.correct_and_beat();
        self.condition.look(outcome.is_ok(), &self.node, &self.operator);
        match outcome {
            Ok(outcome) => {
                self.contact.made();
                for duty in &outcome.taken_up {
                    self.operator.tell(NodeMessage::TakenUp { some: some(*duty), whose: self.words() });
                }
                for (what, done) in [("watch", self.watch()), ("expected nodes", self.look_for_expected())] {
                    if let Err(error) = done {
                        log::debug!("{what}: {error}");
                    }
                }
            }
            Err(error) => {
                log::debug!("heartbeat: {error}");
                // A lost file is reported by the thread that watches the file.
                if error.is_file_lost() {
                    self.contact.made();
                } else {
                    self.contact.failed(&error);
                }
            }
        }
    }

    fn correct_and_beat(&mut self) -> Result<HeartbeatOutcome, StoreError> {
        self.follower.follow(&self.store, &self.operator);
        self.node.offset = self.clock.offset();
        self.node.address = self.address.lock().clone();
        let now = self.clock.now();
        if !self.clock.is_steady() {
            // No sweep succeeds during an outage; afterwards that must not look as if no node had swept.
            self.history = History::default();
        }
        let work = self.condition.work(now);
        if self.condition.is_due(&self.store, &self.node, &work)? {
            let outcome = self.beat(&work, now)?;
            self.history.beat_at(now);
            return Ok(outcome);
        }
        self.condition.outcome(&work);
        self.history.beat_at(now);
        Ok(HeartbeatOutcome::default())
    }

    /// Stores a heartbeat.
    fn beat(&mut self, work: &[Work], now: Time) -> Result<HeartbeatOutcome, StoreError> {
        let operator = &self.operator;
        let tell = |window: &Window| match window.until - window.from > WORTH_TELLING {
            true => operator.deliveries(blind(window), now),
            false => Vec::new(),
        };
        let heartbeat = NodeHeartbeat {
            node: &self.node,
            work,
            first: self.condition.is_first(),
            written_until: self.condition.written_until(),
            stopping_since: self.stopping_since,
            now,
        };
        // Over SQLite, a heartbeat commits to the same file as a check-in. A failed commit is
        // therefore reported as a failure to write check-ins, and not as an unreachable database.
        let of_one_file = self.store.backend() == DatabaseKind::Sqlite && self.duties.contains(&Duty::Ingest);
        let attempt = of_one_file.then(|| self.progresses.ingest.begin(HEARTBEAT));
        let outcome = match (self.store.record_heartbeat(&heartbeat, &tell), attempt) {
            (Ok(outcome), attempt) => {
                if let Some(attempt) = attempt {
                    attempt.succeeded();
                }
                outcome
            }
            (Err(error), Some(attempt)) if !heartbeat.first => {
                log::debug!("heartbeat: {error}");
                attempt.failed(&error);
                return Ok(HeartbeatOutcome::default());
            }
            (Err(error), _) => return Err(error),
        };
        if let Some(window) = &outcome.blind {
            log::warn!("{}", OperatorMessage::from(blind(window)).text);
        }
        if outcome.probe {
            self.progresses.ingest.want_probe();
        }
        self.condition.stored(&self.node, work);
        self.condition.outcome(work);
        Ok(outcome)
    }

    fn watch(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        if !self.history.is_settled(now) || !self.clock.is_steady() {
            return Ok(());
        }
        let NodeChanges { gone, missing } =
            self.store.watch(gone_after(&self.store), missing_after(&self.store), now)?;
        for gone in &gone {
            let message = OperatorMessage::from(node_gone(gone));
            match gone.is_news {
                true => self.operator.tell(message),
                false => log::warn!("{}: {}", message.subject, message.text),
            }
        }
        for duty in missing {
            let since = stamp(duty.beat_at, chrono_tz::UTC);
            self.operator.tell(NodeMessage::DutyMissing { duty: &duty.name, since });
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

    /// Continues the heartbeat after the stop until the work is done. While check-ins are still written and answered,
    /// no other node may consider this one gone and judge the silence of their jobs. Meanwhile this node judges no
    /// other.
    pub fn beat_on(&mut self, finished: &Shutdown) {
        self.dead_end_reporter.flush();
        self.stopping_since = Some(self.clock.now());
        let begun = Instant::now();
        while !finished.wait_timeout(BEAT) && begun.elapsed() < LAST_WRITES {
            if let Err(error) = self.correct_and_beat() {
                log::debug!("heartbeat: {error}");
                // Without the database nobody can judge either, and the stop must not wait for another attempt.
                let left = LAST_WRITES.saturating_sub(begun.elapsed());
                finished.wait_timeout(left);
                return;
            }
        }
    }

    pub fn goodbye(&mut self) {
        self.dead_end_reporter.flush();
        // The next start continues from this time, even if the latest heartbeat was not stored.
        let now = self.clock.now();
        let work = self.condition.work(now);
        if !self.condition.is_first()
            && let Err(error) = self.beat(&work, now)
        {
            if error.is_unavailable() {
                log::warn!("the other nodes were not told of this stop: {error}");
                return;
            }
            log::debug!("the last heartbeat: {error}");
        }
        if let Err(error) = self.store.say_goodbye(&self.node.id, self.clock.now()) {
            log::warn!("the other nodes were not told of this stop: {error}");
        }
    }

    /// The name of this node in messages.
    pub fn words(&self) -> String {
        format!("The {} on {}", self.node.role, self.node.host)
    }
}

/// Since when a node has been beating without a gap.
#[derive(Debug, Default)]
pub(super) struct History {
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

/// A message to the operator about nodes and their duties.
#[derive(Template)]
enum NodeMessage<'a> {
    #[template(path = "blind.txt")]
    Blind { from: String, until: String, length: TimeDelta },
    #[template(path = "duty_missing.txt")]
    DutyMissing { duty: &'a str, since: String },
    #[template(path = "duty_taken_up.txt")]
    TakenUp { some: &'static str, whose: String },
    #[template(path = "node_gone.txt")]
    Gone { node: &'a NodeRow, last: String, times: usize, once_in: TimeDelta },
}

fn blind(window: &Window) -> NodeMessage<'static> {
    let [from, until] = [window.from, window.until].map(|at| stamp(at, chrono_tz::UTC));
    NodeMessage::Blind { from, until, length: TimeDelta::seconds((window.until - window.from).num_seconds()) }
}

fn node_gone(gone: &GoneNodes) -> NodeMessage<'_> {
    let KnownNode { node, beat_at, .. } = &gone.last;
    let last = stamp(*beat_at, chrono_tz::UTC);
    NodeMessage::Gone { node, last, times: gone.times, once_in: gone.once_in }
}

fn some(duty: Duty) -> &'static str {
    match duty {
        Duty::Ingest => "an ingest",
        Duty::Sweeper => "a sweeper",
        Duty::Web => "a web",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_says_what_happened_and_what_follows() {
        let at = |second: i64| Time::from_timestamp(1_000_000 + second, 0).unwrap();
        let window = |until| Window { from: at(0), until };
        let end = "Jobs that were due in that time get another period, an hour at most, to check in.";
        assert_eq!(
            OperatorMessage::from(blind(&window(at(90)))).text,
            format!(
                "No check-in could be recorded from {} to {} (1 minute 30 seconds). {end}",
                stamp(at(0), chrono_tz::UTC),
                stamp(at(90), chrono_tz::UTC)
            )
        );
        assert_eq!(
            OperatorMessage::from(blind(&window(at(0) + TimeDelta::milliseconds(500)))).text,
            format!(
                "No check-in could be recorded for less than a second at {}. {end}",
                stamp(at(0), chrono_tz::UTC)
            )
        );
        let missing =
            |duty| OperatorMessage::from(NodeMessage::DutyMissing { duty, since: "noon".to_owned() });
        assert_eq!(missing("web").subject, "There is no web");
        assert_eq!(
            missing("ingest").text,
            "No node has done the work of ingest since noon. Jobs cannot check in; none becomes overdue by that."
        );
        assert!(missing("sweeper").text.ends_with("are sent, until one is started."));
        let again = OperatorMessage::from(NodeMessage::TakenUp {
            some: some(Duty::Ingest),
            whose: "The ingest on inn".to_owned(),
        });
        assert_eq!(again.subject, "There is an ingest again");
        assert_eq!(again.text, "The ingest on inn has taken up its work.");

        let mut node = NodeRow {
            id: String::new(),
            role: "sweeper".to_owned(),
            host: "inn".to_owned(),
            address: String::new(),
            version: String::new(),
            started_at: at(0),
            offset: TimeDelta::zero(),
        };
        let gone = |node: &NodeRow, times| {
            let once_in = TimeDelta::minutes(10);
            OperatorMessage::from(NodeMessage::Gone { node, last: "noon".to_owned(), times, once_in })
        };
        assert_eq!(gone(&node, 1).subject, "A node is gone: sweeper on inn");
        assert_eq!(
            gone(&node, 1).text,
            "The sweeper on inn stopped without a proper shutdown; its last heartbeat was at noon."
        );
        node.address = "[::1]:80".to_owned();
        assert_eq!(
            gone(&node, 3).text,
            "The sweeper on inn, which listened on [::1]:80, stopped without a proper shutdown; its last heartbeat was at noon. 3 have \
             stopped like that there within the last hour. While this continues, it is reported at most once in 10 minutes; the log of \
             the process should say why it ends."
        );
    }

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
