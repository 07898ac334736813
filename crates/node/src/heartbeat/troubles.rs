//! Duties that fail although their process lives: the operator is told once, and again when they recover.

use std::time::{Duration, Instant};

use innkeeper_core::duty::DutyPart;

use super::progress::{Failing, Progress};

/// How long a duty must fail before the operator is told; long enough for a failover.
const TOLD_AFTER: Duration = Duration::from_secs(12);
/// If the database is reached after a duty has failed for this long, the failure is not caused by an outage.
const FAILS: Duration = Duration::from_secs(3);

/// Since when the database has been reachable. A failure during an outage of the database is no
/// failure of the duty. Single heartbeats that fail are no outage: the database is unreachable when
/// no heartbeat has succeeded for [`super::AWAY`], and the operator is then told of that.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    since: Option<Instant>,
    last: Option<Instant>,
}

impl Reach {
    /// Takes the result of a heartbeat. Returns since when the database has been reachable; `None`
    /// while it is unreachable.
    pub fn beat(&mut self, is_reached: bool, now: Instant) -> Option<Instant> {
        let is_away = self.last.is_none_or(|last| now.saturating_duration_since(last) >= super::AWAY);
        if is_reached {
            self.last = Some(now);
            if is_away {
                self.since = Some(now);
            }
        } else if is_away {
            self.since = None;
        }
        self.since
    }
}

/// A duty of this process or a part of one, and whether the operator was told that it fails.
pub(crate) struct Trouble {
    pub part: DutyPart,
    pub progress: Progress,
    told: bool,
    /// When the database was reached although the duty had failed for a while.
    met: Option<Instant>,
}

/// What to report.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    /// The duty fails.
    Fails(Failing),
    /// The duty is done again.
    Done,
}

impl Trouble {
    pub fn new(part: DutyPart, progress: Progress) -> Self {
        Self { part, progress, told: false, met: None }
    }

    /// What to report at a heartbeat that has (`is_reached`) or has not reached the database. Since
    /// `well` there has been no other reason for a failure, such as an outage of the database,
    /// which is reported by itself.
    pub fn look(&mut self, is_reached: bool, well: Instant, now: Instant) -> Option<Tell> {
        let Some(failing) = self.progress.standing().failing else {
            self.met = None;
            return std::mem::take(&mut self.told).then_some(Tell::Done);
        };
        let lasts = |since: Instant, long: Duration| now.saturating_duration_since(since) >= long;
        if self.met.is_some_and(|met| met < well) {
            self.met = None;
        }
        if self.met.is_none() && is_reached && lasts(failing.since.max(well), FAILS) {
            self.met = Some(now);
        }
        let stays = self.met.is_some_and(|met| lasts(met, TOLD_AFTER - FAILS));
        let is_due = !failing.is_told && stays && lasts(failing.since.max(well), TOLD_AFTER);
        (is_due && !std::mem::replace(&mut self.told, true)).then_some(Tell::Fails(failing))
    }

    /// The failure in words.
    pub fn words(&self) -> &'static str {
        match self.part {
            DutyPart::Ingest => "check-ins cannot be written",
            DutyPart::Sweeper => "sweeps fail",
            DutyPart::Sending => "messages cannot be sent",
            DutyPart::Web => "what pages show cannot be read",
        }
    }
}

#[cfg(test)]
mod tests {
    use innkeeper_store::StoreError;

    use super::*;

    /// The second at which the failure of check-ins is reported, if the heartbeats of the seconds
    /// for which `reached` returns true succeed.
    fn told_at(reached: impl Fn(u64) -> bool) -> Option<u64> {
        let progress = Progress::new(Duration::from_secs(60));
        progress.begin("writer").failed(&StoreError::Unavailable("no".to_owned()));
        let begun = progress.standing().failing?.since;
        let (mut reach, mut trouble) = (Reach::default(), Trouble::new(DutyPart::Ingest, progress));
        // All was well for a minute before.
        (0..60).for_each(|second| {
            reach.beat(true, begun - Duration::from_secs(60 - second));
        });
        (1..120).find(|second| {
            let now = begun + Duration::from_secs(*second);
            let since = reach.beat(reached(*second), now);
            since.is_some_and(|since| trouble.look(reached(*second), since, now).is_some())
        })
    }

    #[test]
    fn check_ins_that_fail_are_told_whether_heartbeats_flap_or_not() {
        assert_eq!(told_at(|_| true), Some(12));
        assert_eq!(told_at(|second| second % 10 != 0), Some(12), "one in ten fails");
        assert_eq!(told_at(|second| second % 2 == 0), Some(13), "each other fails");
        assert_eq!(told_at(|second| second % 15 == 0), Some(24), "one in fifteen gets through");
    }

    #[test]
    fn what_follows_from_a_database_that_is_away_is_not_told() {
        assert_eq!(told_at(|_| false), None);
        assert_eq!(told_at(|second| second > 15), Some(25), "a failover, after which they go on to fail");
        assert_eq!(told_at(|second| second > 60), Some(73), "an outage, after which they go on to fail");
    }
}
