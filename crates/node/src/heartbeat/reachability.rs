//! Whether the database is reachable, watched by a thread that never queries it: the heartbeat reports each contact,
//! so a hanging query does not prevent the watcher from noticing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use askama::Template;
use innkeeper_core::duty::Duty;
use parking_lot::{Mutex, MutexGuard};

use super::away::AwayMark;
use super::{AWAY, Operator};
use crate::{Shutdown, SupervisedThread};

/// The interval between looks.
pub(crate) const LOOK: Duration = Duration::from_millis(500);
/// The most time that one look may count. A process that was suspended did not look, and that time does not count as
/// an outage.
const MOST_PER_LOOK: Duration = Duration::from_secs(2);

/// When the database was last reached. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Contact(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Whether it was reached since the last look.
    reached: bool,
    /// The last error, if it was not.
    problem: Option<String>,
}

impl Contact {
    /// Reports that the database was reached.
    pub fn made(&self) {
        *self.state() = State { reached: true, problem: None };
    }

    /// Reports that it was not, with the error.
    pub fn failed(&self, problem: &dyn std::fmt::Display) {
        self.state().problem = Some(problem.to_string());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

/// A change that must be reported.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The database has been unreachable for this time, with the cause if known.
    OutOfReach(Duration, String),
    /// The database answers again, after its outage was reported.
    BackAgain,
}

/// Watches the contact with the database.
pub(crate) struct ReachabilityMonitor {
    contact: Contact,
    patience: Duration,
    waited: Duration,
    looked: Instant,
    told: bool,
}

impl ReachabilityMonitor {
    /// A monitor that reports outages longer than `patience`.
    pub fn new(contact: Contact, patience: Duration) -> Self {
        Self { contact, patience, waited: Duration::ZERO, looked: Instant::now(), told: false }
    }

    /// The same; if `told`, the previous process reported an outage, so the recovery must be reported.
    pub fn having_told(mut self, told: bool) -> Self {
        self.told = told;
        self
    }

    /// The handle by which contacts are reported to this monitor.
    pub fn contact(&self) -> Contact {
        self.contact.clone()
    }

    /// One look at `now`.
    pub fn look(&mut self, now: Instant) -> Option<Finding> {
        let passed = now.saturating_duration_since(std::mem::replace(&mut self.looked, now));
        let State { reached, problem } = {
            let mut state = self.contact.state();
            State { reached: std::mem::take(&mut state.reached), problem: state.problem.clone() }
        };
        if reached {
            self.waited = Duration::ZERO;
            return std::mem::take(&mut self.told).then_some(Finding::BackAgain);
        }
        self.waited += passed.min(MOST_PER_LOOK);
        if self.waited < self.patience || std::mem::replace(&mut self.told, true) {
            return None;
        }
        let problem = problem.unwrap_or_else(|| "it does not answer".to_owned());
        Some(Finding::OutOfReach(self.waited, problem))
    }
}

/// Starts the thread that tells the operator when the database becomes unreachable, and when it is back.
pub(super) fn start(
    contact: Contact,
    operator: Operator,
    words: String,
    duties: &'static [Duty],
    mark: AwayMark,
    shutdown: &Shutdown,
) -> std::io::Result<SupervisedThread> {
    let mut monitor = ReachabilityMonitor::new(contact, AWAY).having_told(mark.is_set());
    let stop = shutdown.clone();
    SupervisedThread::spawn("reachability", shutdown, move || {
        while !stop.wait_timeout(LOOK) {
            match monitor.look(Instant::now()) {
                Some(Finding::OutOfReach(waited, problem)) => {
                    operator.tell(DatabaseMessage::Away {
                        whose: &words,
                        duties,
                        seconds: waited.as_secs(),
                        problem: &problem,
                    });
                    mark.set();
                }
                Some(Finding::BackAgain) => {
                    operator.tell(DatabaseMessage::Back { whose: &words });
                    mark.clear();
                }
                None => {}
            }
        }
        Ok(())
    })
}

/// A message to the operator about the database.
#[derive(Template)]
enum DatabaseMessage<'a> {
    #[template(path = "database_away.txt")]
    Away { whose: &'a str, duties: &'a [Duty], seconds: u64, problem: &'a str },
    #[template(path = "database_back.txt")]
    Back { whose: &'a str },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heartbeat::OperatorMessage;

    #[test]
    fn what_follows_is_said_of_what_the_process_does() {
        let said = |duties: &[Duty]| {
            let (whose, problem) = ("The ingest on inn", "refused");
            OperatorMessage::from(DatabaseMessage::Away { whose, duties, seconds: 20, problem }).text
        };
        assert_eq!(
            said(&[Duty::Ingest]),
            "The ingest on inn has had no answer from the database for 20 s. Until it has one, check-ins that come to it are answered \
             503.\nWhat went wrong last: refused"
        );
        assert!(
            !said(&[Duty::Web]).contains("check-ins")
                && said(&[Duty::Ingest, Duty::Sweeper, Duty::Web]).contains(", and it notices")
        );
    }

    #[test]
    fn one_that_was_restarted_tells_that_it_answers() {
        let contact = Contact::default();
        let mut monitor =
            ReachabilityMonitor::new(contact.clone(), Duration::from_secs(20)).having_told(true);
        contact.made();
        assert_eq!(monitor.look(Instant::now()), Some(Finding::BackAgain));
        assert_eq!(monitor.look(Instant::now()), None);
    }

    #[test]
    fn it_is_told_once_that_nothing_came_and_once_that_it_does_again() {
        let contact = Contact::default();
        let mut monitor = ReachabilityMonitor::new(contact.clone(), Duration::from_secs(20));
        let mut now = Instant::now();
        let mut seconds = |monitor: &mut ReachabilityMonitor, many: u32| {
            (0..many * 2)
                .filter_map(|_| {
                    now += LOOK;
                    monitor.look(now)
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(seconds(&mut monitor, 19), []);
        contact.made();
        assert_eq!(seconds(&mut monitor, 19), []);
        contact.failed(&"refused");
        let told = seconds(&mut monitor, 40);
        let [Finding::OutOfReach(waited, problem)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((waited.as_secs(), problem.as_str()), (20, "refused"));
        contact.made();
        assert_eq!(seconds(&mut monitor, 5), [Finding::BackAgain]);
        assert_eq!(seconds(&mut monitor, 5), []);
    }

    #[test]
    fn a_process_that_was_stopped_accuses_no_database() {
        let contact = Contact::default();
        let mut monitor = ReachabilityMonitor::new(contact.clone(), Duration::from_secs(20));
        let now = Instant::now();
        contact.made();
        assert_eq!(monitor.look(now), None);
        assert_eq!(monitor.look(now + Duration::from_secs(600)), None);
        contact.made();
        assert_eq!(monitor.look(now + Duration::from_secs(601)), None);
    }
}
