//! Merges the check-ins of one batch into one change of facts for each reservation.

use std::collections::HashMap;

use innkeeper_core::Time;
use innkeeper_core::checkin::CheckIn;
use innkeeper_core::facts::Facts;
use uuid::Uuid;

use crate::rows::ms;

/// The facts that a batch adds to one reservation. Times are UTC milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Merged {
    pub id: i64,
    /// The lookup key that the reservation must still have; none where that is certain.
    pub lookup_key: Option<Uuid>,
    /// The id of the latest of them in the history.
    pub latest_id: i64,
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
    /// One for each reservation, in id order. `checkins` are sorted by reservation, and `ids` are theirs in the history.
    pub fn by_reservation<'a>(
        checkins: impl Iterator<Item = (i64, &'a CheckIn)>,
        ids: &[i64],
        lookup_keys: &HashMap<i64, Uuid>,
    ) -> Vec<Self> {
        let mut merged: Vec<Collected> = Vec::with_capacity(ids.len());
        for ((id, checkin), latest_id) in checkins.zip(ids) {
            if merged.last().is_none_or(|last| last.id != id) {
                merged.push(Collected { id, ..Collected::default() });
            }
            if let Some(last) = merged.last_mut() {
                last.facts.record(checkin);
                last.latest_id = *latest_id;
                last.arrived_at = last.arrived_at.max(Some(checkin.arrived_at()));
                last.late |= checkin.reported_late_at().is_some();
            }
        }
        merged
            .into_iter()
            .map(|Collected { id, facts, latest_id, arrived_at, late }| Self {
                id,
                lookup_key: lookup_keys.get(&id).copied(),
                latest_id,
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
}

/// The check-ins of one reservation, while they are collected.
#[derive(Default)]
struct Collected {
    id: i64,
    facts: Facts,
    latest_id: i64,
    arrived_at: Option<Time>,
    late: bool,
}
