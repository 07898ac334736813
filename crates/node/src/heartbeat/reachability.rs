//! Whether the database is within reach, told by a thread that never asks it anything: the heartbeat says when it was reached, and
//! a query that hangs keeps nobody from noticing that it was not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use askama::Template;
use parking_lot::{Mutex, MutexGuard};

use super::away::AwayMark;
use super::{AWAY, Operator};
use crate::{Shutdown, SupervisedThread};

/// How often it looks.
pub(crate) const LOOK: Duration = Duration::from_millis(500);
/// What one look may count for: a process that was stopped meanwhile has not looked, and nobody was out of reach.
const MOST_PER_LOOK: Duration = Duration::from_secs(2);

/// When the database was last reached. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Contact(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Reached since the last look.
    reached: bool,
    /// What was said last, where it was not.
    problem: Option<String>,
}

impl Contact {
    /// It was reached.
    pub fn made(&self) {
        *self.state() = State { reached: true, problem: None };
    }

    /// It was not, and this is why.
    pub fn failed(&self, problem: &dyn std::fmt::Display) {
        self.state().problem = Some(problem.to_string());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

/// What is worth telling.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// For so long, and why, as far as that is known.
    OutOfReach(Duration, String),
    /// After it was told that it is not.
    BackAgain,
}

/// Who looks.
pub(crate) struct ReachabilityMonitor {
    contact: Contact,
    patience: Duration,
    waited: Duration,
    looked: Instant,
    told: bool,
}

impl ReachabilityMonitor {
    /// One that tells of what lasts for `patience`.
    pub fn new(contact: Contact, patience: Duration) -> Self {
        Self { contact, patience, waited: Duration::ZERO, looked: Instant::now(), told: false }
    }

    /// The same, where the last process told that the database is out of reach, if `told`: that it answers is to be told.
    pub fn having_told(mut self, told: bool) -> Self {
        self.told = told;
        self
    }

    /// What tells this one that the database was reached.
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

/// Tells the operator when the database is out of reach, and when it is back, on a thread that does not ask it.
pub(super) fn start(
    contact: Contact,
    operator: Operator,
    words: String,
    duties: &'static [&'static str],
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

/// What the operator hears of the database.
#[derive(Template)]
enum DatabaseMessage<'a> {
    #[template(path = "database_away.txt")]
    Away { whose: &'a str, duties: &'a [&'a str], seconds: u64, problem: &'a str },
    #[template(path = "database_back.txt")]
    Back { whose: &'a str },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heartbeat::OperatorMessage;

    #[test]
    fn what_follows_is_said_of_what_the_process_does() {
        let said = |duties: &[&str]| {
            let (whose, problem) = ("The ingest on inn", "refused");
            OperatorMessage::from(DatabaseMessage::Away { whose, duties, seconds: 20, problem }).text
        };
        assert_eq!(
            said(&["ingest"]),
            "The ingest on inn has had no answer from the database for 20 s. Until it has one, check-ins that come to it are answered \
             503.\nWhat went wrong last: refused"
        );
        assert!(
            !said(&["web"]).contains("check-ins")
                && said(&["ingest", "sweeper", "web"]).contains(", and it notices")
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
