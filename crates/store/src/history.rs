//! The history of check-ins: reading it, and pruning what is old or too much.

use chrono::TimeDelta;
use diesel::dsl::{exists, not};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use innkeeper_core::Time;
use innkeeper_core::checkin::CheckInKind;

use crate::rows::{ms, time};
use crate::schema::{alerts, checkins, deliveries, runs};
use crate::{Store, StoreError};

/// Rows that one statement of the pruning touches at most, so that no lock is held for long.
const CHUNK: i64 = 5000;

/// A check-in as the history keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkin {
    /// When it arrived.
    pub at: Time,
    /// What it said.
    pub kind: CheckInKind,
    /// The exit status, where one was given.
    pub exit_code: Option<i32>,
    /// How long the run took, where start and end are a pair.
    pub duration: Option<TimeDelta>,
    /// The run's id, where it has one.
    pub run_id: Option<String>,
    /// The client's address.
    pub source: String,
    /// Notes or body.
    pub notes: String,
}

/// What a pass of pruning removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Check-ins.
    pub checkins: usize,
    /// Deliveries that had ended.
    pub deliveries: usize,
    /// Alerts that had closed.
    pub alerts: usize,
}

impl Store {
    /// The latest `limit` check-ins of a reservation, latest first.
    pub fn checkins_of(&self, reservation_id: i64, limit: i64) -> Result<Vec<Checkin>, StoreError> {
        type Row = (i64, String, Option<i32>, Option<i64>, Option<String>, String, String);
        let rows: Vec<Row> = checkins::table
            .filter(checkins::reservation_id.eq(reservation_id))
            .order(checkins::id.desc())
            .limit(limit)
            .select((
                checkins::at,
                checkins::kind,
                checkins::exit_code,
                checkins::duration_ms,
                checkins::run_id,
                checkins::source,
                checkins::notes,
            ))
            .load(&mut *self.get()?)?;
        rows.into_iter()
            .map(|(at, kind, exit_code, duration, run_id, source, notes)| {
                let kind = kind.parse().map_err(|error: innkeeper_core::Invalid| StoreError::Corrupt {
                    table: "checkins of reservation",
                    id: reservation_id,
                    problem: error.to_string(),
                })?;
                let duration = duration.map(TimeDelta::milliseconds);
                Ok(Checkin { at: time(at), kind, exit_code, duration, run_id, source, notes })
            })
            .collect()
    }

    /// Removes check-ins beyond the latest `keep` of each reservation or older than `older_than`, and alerts and deliveries
    /// that ended before it. Works in small steps, each a transaction of its own; `go_on` is asked between them.
    pub fn prune(&self, keep: i64, older_than: Time, go_on: &dyn Fn() -> bool) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        while go_on() {
            let removed = self.prune_old_checkins(older_than)?;
            pruned.checkins += removed;
            if removed == 0 {
                break;
            }
        }
        let connection = &mut *self.get()?;
        let last: Option<i64> =
            checkins::table.select(diesel::dsl::max(checkins::reservation_id)).first(connection)?;
        let first: Option<i64> =
            checkins::table.select(diesel::dsl::min(checkins::reservation_id)).first(connection)?;
        if let (Some(mut from), Some(last)) = (first, last) {
            while from <= last && go_on() {
                pruned.checkins += sql_query(
                    "DELETE FROM checkins
                     WHERE id IN (
                         SELECT id
                         FROM (SELECT id, ROW_NUMBER() OVER (PARTITION BY reservation_id ORDER BY id DESC) AS place
                               FROM checkins
                               WHERE reservation_id >= $1 AND reservation_id < $2) placed
                         WHERE place > $3)",
                )
                .bind::<BigInt, _>(from)
                .bind::<BigInt, _>(from + CHUNK)
                .bind::<BigInt, _>(keep)
                .execute(connection)?;
                from += CHUNK;
            }
        }
        pruned.deliveries = diesel::delete(
            deliveries::table
                .filter(deliveries::finished_at.lt(ms(older_than)))
                .filter(deliveries::state.ne("waiting"))
                // They tell who has to hear of the end of an alert that is still open.
                .filter(
                    deliveries::alert_id.is_null().or(not(exists(
                        alerts::table
                            .filter(alerts::id.nullable().eq(deliveries::alert_id))
                            .filter(alerts::closed_at.is_null()),
                    ))),
                ),
        )
        .execute(connection)?;
        pruned.alerts =
            diesel::delete(alerts::table.filter(alerts::closed_at.lt(ms(older_than)))).execute(connection)?;
        // A run that goes on is kept: its limit may be longer than the history.
        diesel::delete(
            runs::table
                .filter(runs::ended_at.lt(ms(older_than)))
                .filter(runs::started_at.is_null().or(runs::started_at.le(runs::ended_at))),
        )
        .execute(connection)?;
        Ok(pruned)
    }

    /// Ids grow with time, so the oldest rows are the first of the primary key, and no index on `at` is needed.
    fn prune_old_checkins(&self, older_than: Time) -> Result<usize, StoreError> {
        let connection = &mut *self.get()?;
        let oldest: Vec<i64> =
            checkins::table.select(checkins::id).order(checkins::id).limit(CHUNK).load(connection)?;
        let Some(last) = oldest.last() else { return Ok(0) };
        // A plain bound, because Postgres scans the whole table where it is a subquery. The text is not prepared once for
        // all bounds, as a query of the DSL would be: how many rows lie below it decides about the plan.
        Ok(sql_query("DELETE FROM checkins WHERE id <= $1 AND at < $2")
            .bind::<BigInt, _>(*last)
            .bind::<BigInt, _>(ms(older_than))
            .execute(connection)?)
    }
}
