//! The state of this node's duties, as its heartbeats report it, and which heartbeats are stored.
//!
//! A node makes a heartbeat each second. Over Postgres each is stored. Over SQLite one in fifteen seconds is stored,
//! and any with news: a duty that fails or recovers, an address, a span without writes, a question of the sweeper's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use askama::Template;
use chrono::TimeDelta;
use innkeeper_core::alert::stamp;
use innkeeper_core::duty::{Duty, DutyPart};
use innkeeper_core::{Clock, Time};
use innkeeper_store::{DatabaseKind, Node, Store, StoreError, Work};

use super::progress::Progress;
use super::troubles::{Reach, Tell, Trouble};
use super::{NodeClock, Operator};

/// A check-in that takes longer to write counts as blocked.
const SLOW_WRITE: Duration = Duration::from_secs(3);
/// A read for pages that takes longer counts as blocked.
const SLOW_READ: Duration = Duration::from_secs(5);
/// A sweep that takes longer counts as blocked.
const SLOW_SWEEP: Duration = Duration::from_secs(15);
/// If no sweep was made for longer and none fails, the clock is in doubt. The operator knows that already; peers learn
/// it by this.
const RESTS: Duration = Duration::from_secs(30);
/// A part of a duty that cannot be done for this long is reported to peers; they wait as long for a whole duty.
const PART: Duration = Duration::from_secs(60);
/// The longest time between stored heartbeats over SQLite.
const STORED_EVERY: Duration = Duration::from_millis(14_500);
/// A longer span without writes may be a blind window, and is stored.
const GAP: TimeDelta = TimeDelta::seconds(5);

/// The progress of a process's duties, as reported by the threads that do them. Clones share it.
#[derive(Debug, Clone)]
pub struct Progresses {
    /// The writing of check-ins.
    pub ingest: Progress,
    /// The passes of the sweep.
    pub sweeper: Progress,
    /// The senders' updates of messages: claims and results.
    pub sending: Progress,
    /// The reads for pages and responses.
    pub web: Progress,
    duties: &'static [Duty],
}

impl Progresses {
    pub(crate) fn new(duties: &'static [Duty]) -> Self {
        Self {
            ingest: Progress::new(SLOW_WRITE),
            sweeper: Progress::new(SLOW_SWEEP),
            web: Progress::new(SLOW_READ),
            sending: Progress::new(SLOW_SWEEP),
            duties,
        }
    }

    fn of(&self, duty: Duty) -> &Progress {
        match duty {
            Duty::Ingest => &self.ingest,
            Duty::Sweeper => &self.sweeper,
            Duty::Web => &self.web,
        }
    }

    /// The duties of this process and their parts.
    fn known(&self) -> impl Iterator<Item = (DutyPart, &Progress)> {
        self.duties.iter().flat_map(|duty| self.parts_of(*duty))
    }

    /// A duty and its parts.
    fn parts_of(&self, duty: Duty) -> impl Iterator<Item = (DutyPart, &Progress)> {
        let sending = (duty == Duty::Sweeper).then_some((DutyPart::Sending, &self.sending));
        std::iter::once((duty.into(), self.of(duty))).chain(sending)
    }

    /// The part of a duty that has failed for so long that peers are told, although the rest may work.
    fn part_undone(&self, duty: Duty) -> Option<DutyPart> {
        let fails_for_long = |progress: &Progress| {
            progress.standing().failing.is_some_and(|failing| failing.since.elapsed() >= PART)
        };
        self.parts_of(duty)
            .find(|(part, progress)| *part != DutyPart::from(duty) && fails_for_long(progress))
            .map(|(part, _)| part)
    }

    /// A line that says what this process cannot do now, and why; `None` if it can do everything.
    pub fn problem(&self) -> Option<String> {
        let failing = self.known().filter_map(|(part, progress)| {
            let failing = progress.standing().failing?;
            let words = Trouble::new(part, progress.clone()).words();
            Some(format!("{words}, for {} s: {}", failing.since.elapsed().as_secs(), failing.problem))
        });
        let failing: Vec<String> = failing.collect();
        (!failing.is_empty()).then(|| failing.join("; "))
    }
}

/// The state of this node's duties; see the module.
pub(crate) struct Condition {
    clock: Arc<NodeClock>,
    progresses: Progresses,
    troubles: Vec<Trouble>,
    stored: Option<Stored>,
    /// The time until which all check-ins had been written at the last heartbeat.
    written_until: Option<Time>,
    /// Since when the database has been reachable.
    reach: Reach,
    /// When check-ins last could not be written.
    deaf_at: Option<Instant>,
}

/// A message to the operator about a duty or a part of one.
#[derive(Template)]
enum DutyMessage<'a> {
    #[template(path = "duty_fails.txt")]
    Fails { part: DutyPart, place: &'a str, since: String, problem: &'a str },
    #[template(path = "duty_done.txt")]
    Done { part: DutyPart, place: &'a str },
}

/// The content of the last stored heartbeat.
struct Stored {
    at: Instant,
    address: String,
    unable: Vec<DutyPart>,
}

impl Condition {
    pub fn new(clock: Arc<NodeClock>, progresses: Progresses) -> Self {
        let troubles =
            progresses.known().map(|(part, progress)| Trouble::new(part, progress.clone())).collect();
        Self {
            clock,
            progresses,
            troubles,
            stored: None,
            written_until: None,
            reach: Reach::default(),
            deaf_at: None,
        }
    }

    /// Whether nothing has been stored yet.
    pub fn is_first(&self) -> bool {
        self.stored.is_none()
    }

    /// The time until which all check-ins had been written at the last heartbeat.
    pub fn written_until(&self) -> Option<Time> {
        self.written_until
    }

    /// The state of each duty at `now`.
    pub fn work(&self, now: Time) -> Vec<Work> {
        let at = |instant: Instant| now - TimeDelta::from_std(instant.elapsed()).unwrap_or_default();
        let work = |duty: &Duty| {
            let (duty, progress) = (*duty, self.progresses.of(*duty));
            let standing = progress.standing();
            let problem = self.progresses.parts_of(duty).find_map(|(part, progress)| {
                let failing = progress.standing().failing?;
                let words = Trouble::new(part, progress.clone()).words();
                Some(format!(
                    "{words} since {}: {}",
                    stamp(at(failing.since), chrono_tz::UTC),
                    failing.problem
                ))
            });
            let done_until = match duty {
                // Proved by requests, and otherwise by a probe every 15 seconds.
                Duty::Ingest | Duty::Web => standing.until,
                Duty::Sweeper => progress.proved_or_started(),
            };
            let rests = duty == Duty::Sweeper && done_until.elapsed() >= RESTS;
            let problem = problem.or_else(|| {
                rests.then(|| {
                    format!("nothing has been judged since {}", stamp(at(done_until), chrono_tz::UTC))
                })
            });
            Work {
                duty,
                done_until: at(done_until),
                proved_at: standing.proved.map(at),
                problem,
                part: self.progresses.part_undone(duty),
            }
        };
        self.progresses.duties.iter().map(work).collect()
    }

    /// Whether this heartbeat must be stored. Over SQLite this queries the database, which also shows that it is
    /// reachable.
    ///
    /// # Errors
    /// A database error.
    pub fn is_due(&self, store: &Store, node: &Node, work: &[Work]) -> Result<bool, StoreError> {
        if store.backend() == DatabaseKind::Postgres {
            return Ok(true);
        }
        let able: Vec<Duty> =
            work.iter().filter(|work| work.problem.is_none()).map(|work| work.duty).collect();
        let wanted = store.wants_heartbeat(&node.id, &able)?;
        let Some(stored) = &self.stored else { return Ok(true) };
        let leapt =
            written_until(work).zip(self.written_until).is_some_and(|(until, before)| until - before > GAP);
        Ok(wanted
            || leapt
            || stored.at.elapsed() >= STORED_EVERY
            || stored.address != node.address
            || stored.unable != unable(work))
    }

    /// Records that the heartbeat was stored.
    pub fn stored(&mut self, node: &Node, work: &[Work]) {
        let address = node.address.clone();
        self.stored = Some(Stored { at: Instant::now(), address, unable: unable(work) });
    }

    /// Records that the heartbeat is over, stored or not.
    pub fn outcome(&mut self, work: &[Work]) {
        self.written_until = written_until(work);
    }

    /// Takes note of whether the database was reached; reports duties that fail although it is reachable.
    pub fn look(&mut self, is_reached: bool, node: &Node, operator: &Operator) {
        let now = Instant::now();
        let Some(reached) = self.reach.beat(is_reached, now) else { return };
        let place = format!("the {} on {}", node.role, node.host);
        for trouble in &mut self.troubles {
            let mut since = reached;
            match trouble.part {
                DutyPart::Ingest if trouble.progress.standing().failing.is_some() => self.deaf_at = Some(now),
                DutyPart::Ingest => {}
                // While check-ins cannot be written no job is judged, and the operator knows that already.
                _ => since = self.deaf_at.map_or(reached, |deaf_at| reached.max(deaf_at)),
            }
            let (news, part, place) = (trouble.look(is_reached, since, now), trouble.part, &place);
            match news {
                None => {}
                Some(Tell::Done) => operator.tell(DutyMessage::Done { part, place }),
                Some(Tell::Fails(failing)) => {
                    let since =
                        self.clock.now() - TimeDelta::from_std(failing.since.elapsed()).unwrap_or_default();
                    let since = stamp(since, chrono_tz::UTC);
                    operator.tell(DutyMessage::Fails { part, place, since, problem: &failing.problem });
                }
            }
        }
    }
}

fn written_until(work: &[Work]) -> Option<Time> {
    work.iter().find(|work| work.duty == Duty::Ingest).map(|work| work.done_until)
}

fn unable(work: &[Work]) -> Vec<DutyPart> {
    let undone = |work: &Work| [work.problem.is_some().then_some(work.duty.into()), work.part];
    work.iter().flat_map(undone).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heartbeat::OperatorMessage;

    #[test]
    fn what_fails_and_is_done_again_is_said_with_what_follows() {
        let place = "the sweeper on inn";
        for (part, fails, text, done) in [
            (
                DutyPart::Ingest,
                "Check-ins cannot be written",
                "check-ins have not been written since noon: no disk\nJobs that check in get 500 or 503; none becomes overdue \
                 by that.",
                "Check-ins can be written again",
            ),
            (
                DutyPart::Sweeper,
                "Sweeps fail",
                "sweeps have failed since noon: no disk\nJobs that fall silent are not noticed until this is fixed.",
                "Sweeps succeed again",
            ),
            (
                DutyPart::Sending,
                "Messages cannot be sent",
                "messages have not been sent since noon: no disk\nUntil this is fixed, alerts are not delivered, or are \
                 delivered more than once. Waiting messages are sent then.",
                "Messages can be sent again",
            ),
            (
                DutyPart::Web,
                "Pages cannot be shown",
                "what pages show has not been readable since noon: no disk\nPages and the API return errors. Jobs are still \
                 watched.",
                "Pages can be shown again",
            ),
        ] {
            let since = "noon".to_owned();
            let message =
                OperatorMessage::from(DutyMessage::Fails { part, place, since, problem: "no disk" });
            assert_eq!(message.subject, fails);
            assert_eq!(message.text, format!("Reported by {place}: {text}"));
            let message = OperatorMessage::from(DutyMessage::Done { part, place });
            assert_eq!(
                (message.subject.as_str(), message.text.as_str()),
                (done, "Reported by the sweeper on inn.")
            );
        }
    }

    #[test]
    fn senders_that_cannot_write_for_a_minute_are_told_to_others() {
        let progresses = Progresses::new(&[Duty::Ingest, Duty::Sweeper]);
        let fails_for = |long: Duration| {
            let since = Instant::now().checked_sub(long);
            progresses.sending.begin_with("hook", since).failed(&StoreError::Unavailable("no".to_owned()));
        };
        assert_eq!(progresses.part_undone(Duty::Sweeper), None);
        fails_for(PART.saturating_sub(Duration::from_secs(30)));
        assert_eq!(progresses.part_undone(Duty::Sweeper), None, "not for long yet");
        progresses.sending.begin("hook").succeeded();
        fails_for(PART);
        assert_eq!(progresses.part_undone(Duty::Sweeper), Some(DutyPart::Sending));
        assert_eq!(progresses.part_undone(Duty::Ingest), None);
        progresses.sending.begin("hook").succeeded();
        assert_eq!(progresses.part_undone(Duty::Sweeper), None);
    }
}
