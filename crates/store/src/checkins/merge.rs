//! Merges the check-ins of one batch into one change of facts for each reservation.

use std::collections::BTreeMap;

use innkeeper_core::Time;
use innkeeper_core::checkin::CheckIn;
use innkeeper_core::facts::Facts;

use crate::rows::ms;

/// The facts that a batch adds to one reservation. Times are UTC milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Merged {
    pub id: i64,
    pub last_checkin_at: Option<i64>,
    pub last_start_at: Option<i64>,
    pub last_fail_at: Option<i64>,
    pub last_exit_code: Option<i32>,
    pub last_seen_at: i64,
    pub last_source: String,
    pub runs_over_at: Option<i64>,
    pub checkins: i64,
    pub fails: i64,
    /// When the latest of its check-ins arrived.
    pub arrived_at: i64,
    /// Whether one of its check-ins was reported late.
    pub late: bool,
}

impl Merged {
    /// Merges check-ins into one change for each reservation, in id order.
    pub fn by_reservation<'a>(checkins: impl Iterator<Item = (i64, &'a CheckIn)>) -> Vec<Self> {
        let mut merged: BTreeMap<i64, (Facts, Option<Time>, bool)> = BTreeMap::new();
        for (id, checkin) in checkins {
            let (facts, arrived_at, late) = merged.entry(id).or_default();
            facts.record(checkin);
            *arrived_at = (*arrived_at).max(Some(checkin.arrived_at()));
            *late |= checkin.reported_late_at().is_some();
        }
        merged
            .into_iter()
            .map(|(id, (facts, arrived_at, late))| Self {
                id,
                last_checkin_at: facts.last_checkin_at.map(ms),
                last_start_at: facts.last_start_at.map(ms),
                last_fail_at: facts.last_fail_at.map(ms),
                last_exit_code: facts.last_exit_code,
                last_seen_at: facts.last_seen_at.map(ms).unwrap_or_default(),
                last_source: facts.last_source,
                runs_over_at: facts.runs_over_at.map(ms),
                checkins: facts.checkins,
                fails: facts.fails,
                arrived_at: arrived_at.map(ms).unwrap_or_default(),
                late,
            })
            .collect()
    }

    /// The id of the latest check-in of each reservation. `ids` are those of all check-ins, in the
    /// order of their reservations.
    pub fn latest<'a>(merged: &'a [Self], ids: &'a [i64]) -> impl Iterator<Item = i64> + 'a {
        let mut end = 0;
        merged.iter().map(move |one| {
            end += one.checkins as usize;
            ids[end - 1]
        })
    }
}
