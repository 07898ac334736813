//! The facts that a reservation's check-ins leave. Facts only grow: two nodes may record two check-ins in either
//! order, and the facts are the same.

use chrono::TimeDelta;
use uuid::Uuid;

use crate::Time;
use crate::checkin::{CheckIn, CheckInKind};

/// The facts of one reservation. The store writes the same merge as SQL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The latest success.
    pub last_checkin_at: Option<Time>,
    /// The latest start.
    pub last_start_at: Option<Time>,
    /// The latest failure.
    pub last_fail_at: Option<Time>,
    /// The exit status of the latest failure.
    pub last_exit_code: Option<i32>,
    /// The latest check-in of any kind.
    pub last_seen_at: Option<Time>,
    /// The client address of the latest check-in of any kind; empty before the first.
    pub last_source: String,
    /// Every run that began before this instant is over (see [`CheckIn::ends_all_runs`]).
    pub runs_over_at: Option<Time>,
    /// Check-ins of any kind since the reservation was made.
    pub checkins: i64,
    /// Failures since the reservation was made.
    pub fails: i64,
}

impl Facts {
    /// Adds one check-in. The order in which check-ins are added does not matter.
    pub fn record(&mut self, checkin: &CheckIn) {
        let at = Some(checkin.at);
        self.checkins += 1;
        match checkin.kind {
            CheckInKind::Success => self.last_checkin_at = self.last_checkin_at.max(at),
            CheckInKind::Start => self.last_start_at = self.last_start_at.max(at),
            CheckInKind::Fail => {
                self.fails += 1;
                let known = (self.last_fail_at, self.last_exit_code);
                (self.last_fail_at, self.last_exit_code) = known.max((at, checkin.exit_code));
            }
            CheckInKind::Log => {}
        }
        if checkin.ends_all_runs() {
            self.runs_over_at = self.runs_over_at.max(at);
        }
        let seen = (self.last_seen_at, std::mem::take(&mut self.last_source));
        (self.last_seen_at, self.last_source) = seen.max((at, checkin.source.clone()));
    }

    /// The latest check-in: its kind and its time.
    pub fn last_word(&self) -> Option<(CheckInKind, Time)> {
        let of = |kind, at: Option<Time>| at.map(|at| (at, kind));
        // Of several at one instant the end of a run counts, because it says the most.
        let known = [
            of(CheckInKind::Fail, self.last_fail_at),
            of(CheckInKind::Success, self.last_checkin_at),
            of(CheckInKind::Start, self.last_start_at),
            of(CheckInKind::Log, self.last_seen_at),
        ];
        let mut latest = None;
        for (at, kind) in known.into_iter().flatten() {
            if latest.is_none_or(|(_, known)| at > known) {
                latest = Some((kind, at));
            }
        }
        latest
    }

    /// When the job last reported the end of a run, success or failure.
    pub fn last_end_at(&self) -> Option<Time> {
        self.last_checkin_at.max(self.last_fail_at)
    }

    /// Whether nothing but remarks has been recorded yet.
    pub fn is_new(&self) -> bool {
        self.last_end_at().max(self.last_start_at).is_none()
    }
}

/// One run of a job: its start, and its own end if that has been reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The run's id; `None` for runs without one.
    pub run_id: Option<Uuid>,
    /// The latest start under this id.
    pub started_at: Option<Time>,
    /// The latest end under this id.
    pub ended_at: Option<Time>,
    /// When people were notified that it is over its limit, or it was found to be over without a report.
    pub told_at: Option<Time>,
    /// When its start arrived, if that was reported late: then its end may still be on the way.
    pub start_arrived_at: Option<Time>,
}

impl Run {
    /// When the run began, if by these facts it is still in progress. A run id ends once; a later start with it is
    /// ignored.
    pub fn going_since(&self, facts: &Facts) -> Option<Time> {
        if self.run_id.is_some() && self.ended_at.is_some() {
            return None;
        }
        let over = self.ended_at.max(facts.runs_over_at);
        self.started_at.filter(|started| over.is_none_or(|over| over < *started))
    }
}

/// A check-in as the history keeps it, for conclusions that need the order of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number in the history.
    pub id: i64,
    /// When it happened.
    pub at: Time,
    /// What it said.
    pub kind: CheckInKind,
    /// The exit status, if one was given.
    pub exit_code: Option<i32>,
    /// How long the run took, if start and end form a pair.
    pub duration: Option<TimeDelta>,
    /// For a success: its unexpected figures, as a sentence.
    pub unexpected: Option<String>,
    /// Whether it was reported late.
    pub late: bool,
    /// Whether it had been recorded when the sweeper last looked.
    pub seen: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_checkin() -> impl Strategy<Value = CheckIn> {
        let kinds = [CheckInKind::Success, CheckInKind::Start, CheckInKind::Fail, CheckInKind::Log];
        (0i64..50, 0usize..4, 0i32..3, 0u8..3, any::<bool>()).prop_map(
            move |(at, kind, code, source, named)| {
                let mut checkin = CheckIn::new(kinds[kind], Time::from_timestamp_millis(at).unwrap());
                checkin.exit_code = (kinds[kind] == CheckInKind::Fail).then_some(code);
                checkin.source = format!("10.0.0.{source}");
                checkin.run_id = named.then(|| Uuid::from_u128(u128::from(source)));
                checkin
            },
        )
    }

    #[test]
    fn the_last_word_is_the_latest_of_any_kind() {
        let at = |seconds| Time::from_timestamp(seconds, 0).unwrap();
        let mut facts = Facts::default();
        assert_eq!(facts.last_word(), None);
        let kinds = [CheckInKind::Success, CheckInKind::Start, CheckInKind::Fail, CheckInKind::Log];
        for (second, kind) in (1..).zip(kinds.into_iter().chain(kinds)) {
            facts.record(&CheckIn::new(kind, at(second)));
            assert_eq!(facts.last_word(), Some((kind, at(second))));
        }
        facts.record(&CheckIn::new(CheckInKind::Log, at(20)));
        facts.record(&CheckIn::new(CheckInKind::Start, at(20)));
        facts.record(&CheckIn::new(CheckInKind::Success, at(20)));
        assert_eq!(
            facts.last_word(),
            Some((CheckInKind::Success, at(20))),
            "its end, where all came at once"
        );
    }

    proptest! {
        #[test]
        fn the_order_of_recording_does_not_matter(
            (forward, shuffled) in prop::collection::vec(any_checkin(), 0..12)
                .prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle())),
        ) {
            let merge = |list: &[CheckIn]| {
                let mut facts = Facts::default();
                list.iter().for_each(|checkin| facts.record(checkin));
                facts
            };
            prop_assert_eq!(merge(&forward), merge(&shuffled));
        }
    }
}
