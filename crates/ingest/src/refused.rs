//! Check-ins of single reservations that the database refuses while it accepts those of others.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use askama::Template;
use innkeeper_core::checkin::CheckInKind;
use innkeeper_core::reservation::Window;
use innkeeper_node::heartbeat::Operator;
use innkeeper_store::{Arrival, StoreError, Target};

/// The most reservations of which the operator is told; further ones are only logged.
const MOST_TOLD: usize = 100;
/// The most reservations that are remembered, to bound memory; further ones are not.
const MOST_KNOWN: usize = 10_000;
/// The interval at which the operator is reminded of a reservation that is still refused.
const AGAIN: Duration = Duration::from_secs(24 * 3600);
/// Refusals further apart are unrelated: each may have been one that affected all.
const TOGETHER: Duration = Duration::from_secs(600);

/// The least time between two notes in the database about one reservation.
const NOTED: Duration = Duration::from_secs(1);

/// Tells the operator.
type Tell = dyn Fn(RefusedCheckIns<'_>) + Send;

/// The message to the operator.
#[derive(Template)]
#[template(path = "check_ins_refused.txt")]
struct RefusedCheckIns<'a> {
    job: &'a str,
    error: &'a StoreError,
    is_failure: bool,
}

/// Targets whose check-ins were refused lately.
pub(crate) struct RefusalTracker {
    tell: Box<Tell>,
    by_name: HashMap<String, Refusals>,
}

struct Refusals {
    first: Instant,
    /// The span of the refused successes that are not yet noted in the database.
    successes: Option<Window>,
    /// Whether it is certain that other check-ins are accepted.
    known: bool,
    told: bool,
    /// When it was last noted in the database.
    noted: Option<Instant>,
}

impl RefusalTracker {
    pub fn new(operator: &Operator) -> Self {
        let operator = operator.clone();
        Self::telling(move |message| operator.tell(message))
    }

    fn telling(tell: impl Fn(RefusedCheckIns<'_>) + Send + 'static) -> Self {
        Self { tell: Box::new(tell), by_name: HashMap::new() }
    }

    /// Whether only check-ins for this target are known to be refused: since the first refusal, others could be
    /// written.
    pub fn is_known(&self, target: &Target) -> bool {
        self.by_name.get(&name(target)).is_some_and(|refusals| refusals.known)
    }

    /// Records that the database refuses this check-in, and that others could be written at `proved`. The operator is
    /// told as soon as it is certain that not all are refused, which is reported separately. Returns the span of
    /// refused successes of its reservation, if it is certain and must be noted in the database. Only successes excuse
    /// a job: other refused check-ins may report a failure, or only a start.
    pub fn note(&mut self, arrival: &Arrival, error: &StoreError, proved: Option<Instant>) -> Option<Window> {
        let (kind, at) = (arrival.checkin.kind, arrival.checkin.at);
        let name = name(&arrival.target);
        if self.by_name.get(&name).is_none_or(Refusals::is_old) {
            self.by_name.retain(|_, refusals| !refusals.is_old());
            if self.by_name.len() >= MOST_KNOWN {
                return None;
            }
        }
        let first =
            || Refusals { first: Instant::now(), successes: None, known: false, told: false, noted: None };
        let refusals = self.by_name.entry(name.clone()).or_insert_with(first);
        if !refusals.known && refusals.first.elapsed() > TOGETHER {
            *refusals = first();
        }
        // A late report needs no excuse: nobody waits for it.
        if kind == CheckInKind::Success && arrival.checkin.reported_late_at().is_none() {
            let Window { from, until } = refusals.successes.unwrap_or(Window { from: at, until: at });
            refusals.successes = Some(Window { from: from.min(at), until: until.max(at) });
        }
        if !refusals.known && proved.is_none_or(|proved| proved <= refusals.first) {
            return None;
        }
        if !std::mem::replace(&mut refusals.known, true) {
            self.tell_of(&name, kind, error);
        }
        let refusals = self.by_name.get_mut(&name)?;
        // An earlier span may be over: the database knows whether the job was heard meanwhile.
        let window = refusals.successes.take()?;
        if refusals.noted.is_some_and(|noted| noted.elapsed() < NOTED) {
            return None;
        }
        refusals.noted = Some(Instant::now());
        Some(window)
    }

    fn tell_of(&mut self, name: &str, kind: CheckInKind, error: &StoreError) {
        if self.by_name.values().filter(|refusals| refusals.told).count() >= MOST_TOLD {
            return;
        }
        if let Some(refusals) = self.by_name.get_mut(name) {
            refusals.told = true;
        }
        (self.tell)(RefusedCheckIns { job: name, error, is_failure: kind == CheckInKind::Fail });
    }
}

impl Refusals {
    /// Whether the last refusal is so old that the next one is unrelated.
    fn is_old(&self) -> bool {
        self.first.elapsed() >= AGAIN
    }
}

/// The target in messages. A ping key is secret and is not shown.
fn name(target: &Target) -> String {
    match target {
        Target::Names(app, component) => format!("{app}/{component}"),
        Target::Key(key) => format!("the ping key {}…", &key.to_string()[..8]),
        Target::Slug { slug, .. } => format!("{slug} of a ping key"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by it")]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use chrono::{DateTime, Utc};
    use innkeeper_core::checkin::CheckIn;
    use innkeeper_core::names::{AppName, ComponentName};
    use innkeeper_node::heartbeat::OperatorMessage;
    use innkeeper_store::Definition;

    use super::*;

    fn told() -> (RefusalTracker, Receiver<OperatorMessage>) {
        let (tell, told) = channel();
        let refused = RefusalTracker::telling(move |message| tell.send(message.into()).unwrap());
        (refused, told)
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    /// Refuses this check-in, and immediately accepts others.
    fn refuse(refused: &mut RefusalTracker, name: &str, kind: CheckInKind, second: i64) -> Option<Window> {
        let target = Target::Names(AppName::parse("shop").unwrap(), ComponentName::parse(name).unwrap());
        let checkin = CheckIn::new(kind, at(second));
        let error = StoreError::File("no".to_owned());
        let arrival = Arrival { target, checkin, definition: Definition::None };
        refused.note(&arrival, &error, Some(Instant::now() + Duration::from_secs(1)))
    }

    #[test]
    fn successes_alone_are_noted_and_failures_are_told() {
        let (mut refused, told) = told();
        let window = |from, until| Some(Window { from: at(from), until: at(until) });
        for kind in [CheckInKind::Fail, CheckInKind::Fail, CheckInKind::Start, CheckInKind::Log] {
            assert_eq!(refuse(&mut refused, "failing", kind, 1), None);
        }
        let OperatorMessage { subject, text, .. } = told.try_recv().unwrap();
        assert_eq!(subject, "Check-ins of shop/failing cannot be written");
        assert!(text.contains("reported a failure of the job"), "{text}");
        assert_eq!(refuse(&mut refused, "failing", CheckInKind::Success, 2), window(2, 2));

        let before = Some(Instant::now());
        let target = Target::Names(AppName::parse("shop").unwrap(), ComponentName::parse("backup").unwrap());
        let success = CheckIn::new(CheckInKind::Success, at(5));
        let arrival = Arrival { target, checkin: success, definition: Definition::None };
        let error = StoreError::File("no".to_owned());
        assert_eq!(refused.note(&arrival, &error, before), None, "it may be a fault of all");
        assert!(!refused.is_known(&arrival.target));
        assert_eq!(
            refuse(&mut refused, "backup", CheckInKind::Start, 9),
            window(5, 5),
            "what was before counts"
        );
        assert!(refused.is_known(&arrival.target));
        let text = told.try_recv().unwrap().text;
        assert!(!text.contains("reported a failure of the job"), "{text}");
    }

    #[test]
    fn a_hundred_are_told_of_and_ten_thousand_are_noted() {
        let (mut refused, told) = told();
        for n in 0..MOST_KNOWN {
            let name = format!("job{n}");
            assert!(refuse(&mut refused, &name, CheckInKind::Success, 1).is_some(), "{name}");
        }
        assert_eq!(told.try_iter().count(), MOST_TOLD);
        assert_eq!(refuse(&mut refused, "another", CheckInKind::Success, 1), None);
        assert_eq!(refused.by_name.len(), MOST_KNOWN);
    }
}
