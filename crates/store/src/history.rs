//! The history of check-ins: reading it, and pruning what is old or too much.

use chrono::TimeDelta;
use diesel::dsl::{exists, max, not};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use innkeeper_core::Time;
use innkeeper_core::checkin::{CheckIn, CheckInKind};
use innkeeper_core::figures::Figures;
use innkeeper_core::notice::DeliveryState;

use crate::connection::AnyConnection;
use crate::recent::figures_of;
use crate::rows::{ms, time};
use crate::schema::{alerts, checkins, deliveries, late_failures, runs};
use crate::{Store, StoreError, recent};

/// Rows that one statement of the pruning touches at most, so that no lock is held for long.
const CHUNK: i64 = 5000;

/// A check-in as the history keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkin {
    /// Its number.
    pub id: i64,
    /// When it happened.
    pub at: Time,
    /// When it arrived, where it was reported late.
    pub arrived_at: Option<Time>,
    /// What it said.
    pub kind: CheckInKind,
    /// The exit status, where one was given.
    pub exit_code: Option<i32>,
    /// The signal that ended the run, where the client said so: `SIGTERM`.
    pub signal: Option<String>,
    /// How long the run took, where start and end are a pair, or the client said so.
    pub duration: Option<TimeDelta>,
    /// The most memory that the run used, in bytes, where the client said so.
    pub peak_memory_bytes: Option<i64>,
    /// The run's id, where it has one.
    pub run_id: Option<String>,
    /// The numbers that it brought.
    pub figures: Figures,
    /// The client's address.
    pub source: String,
    /// Notes or body.
    pub notes: String,
}

/// How far the walk through the history has come that finds what is too much. One pass looks at four times as many rows as
/// have come since the last, and at a million at least; the next goes on from there. So the work grows with the check-ins that
/// come, not with those that are kept, and a reservation has too many of them for a while.
#[derive(Debug, Clone, Default)]
pub struct Walk {
    /// Where to go on.
    from: i64,
    /// The latest check-in when it stopped.
    latest: Option<i64>,
}

/// See [`Walk`].
const AT_LEAST: i64 = 1_000_000;

impl Walk {
    /// How many rows a pass looks at, `latest` being the id of the latest.
    fn length(&self, latest: i64) -> i64 {
        let came = self.latest.map_or(0, |before| latest - before);
        came.saturating_mul(4).max(AT_LEAST)
    }
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
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn checkins_of(&self, reservation_id: i64, limit: i64) -> Result<Vec<Checkin>, StoreError> {
        latest(&mut *self.get()?, reservation_id, limit)
    }

    /// The `limit` check-ins of a reservation before its check-in of the number `before`, latest first. None once that one was pruned.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn checkins_before(
        &self,
        reservation_id: i64,
        before: i64,
        limit: i64,
    ) -> Result<Vec<Checkin>, StoreError> {
        let rows: Vec<Row> = sql_query(format!("{BACK_FROM} SELECT * FROM back WHERE id <> $2 LIMIT $3"))
            .bind::<BigInt, _>(reservation_id)
            .bind::<BigInt, _>(before)
            .bind::<BigInt, _>(limit)
            .load(&mut *self.get()?)?;
        rows.into_iter().map(|row| row.checkin(reservation_id)).collect()
    }

    /// Removes check-ins beyond the latest `keep` of each reservation or older than `older_than`, and alerts and deliveries
    /// that ended before it. Works in small steps, each a transaction of its own; `go_on` is asked between them.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn prune(
        &self,
        keep: i64,
        older_than: Time,
        walk: &mut Walk,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        while go_on() {
            let removed = self.prune_old_checkins(older_than)?;
            pruned.checkins += removed;
            if removed == 0 {
                break;
            }
        }
        let connection = &mut *self.get()?;
        pruned.checkins += prune_numerous(connection, keep, walk, go_on)?;
        pruned.deliveries = diesel::delete(
            deliveries::table
                .filter(deliveries::finished_at.lt(ms(older_than)))
                .filter(deliveries::state.ne(DeliveryState::Waiting.as_str()))
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
        diesel::delete(late_failures::table.filter(late_failures::noted_at.lt(ms(older_than))))
            .execute(connection)?;
        // A run that goes on is kept: its limit may be longer than the history.
        diesel::delete(
            runs::table
                .filter(runs::ended_at.lt(ms(older_than)))
                .filter(runs::started_at.is_null().or(runs::started_at.le(runs::ended_at))),
        )
        .execute(connection)?;
        Ok(pruned)
    }

    /// The latest of all stays, whatever its age: over SQLite ids go on from it, and what is kept apart from the history goes by them.
    /// Ids grow with the time of arrival, so the oldest rows are the first of the primary key, and no index on `at` is needed.
    fn prune_old_checkins(&self, older_than: Time) -> Result<usize, StoreError> {
        let connection = &mut *self.get()?;
        let oldest: Vec<i64> =
            checkins::table.select(checkins::id).order(checkins::id).limit(CHUNK).load(connection)?;
        let Some(last) = oldest.last() else { return Ok(0) };
        // A plain bound, because Postgres scans the whole table where it is a subquery. The text is not prepared once for
        // all bounds, as a query of the DSL would be: how many rows lie below it decides about the plan.
        let latest: Option<i64> = checkins::table.select(max(checkins::id)).first(connection)?;
        Ok(sql_query("DELETE FROM checkins WHERE id <= $1 AND COALESCE(arrived_at, at) < $2 AND id <> $3")
            .bind::<BigInt, _>(*last)
            .bind::<BigInt, _>(ms(older_than))
            .bind::<BigInt, _>(latest.unwrap_or_default())
            .execute(connection)?)
    }
}

/// Removes check-ins beyond the latest `keep` of each reservation, and those of no reservation (and no checkout that can be undone), as far as the walk goes.
fn prune_numerous(
    connection: &mut AnyConnection,
    keep: i64,
    walk: &mut Walk,
    go_on: &dyn Fn() -> bool,
) -> Result<usize, StoreError> {
    let latest: Option<i64> = checkins::table.select(max(checkins::id)).first(connection)?;
    let Some(latest) = latest else { return Ok(0) };
    let (mut removed, mut left) = (0, walk.length(latest));
    while left > 0 && go_on() {
        let to: Option<i64> = checkins::table
            .filter(checkins::id.ge(walk.from))
            .order(checkins::id)
            .offset(CHUNK - 1)
            .limit(1)
            .select(checkins::id)
            .first(connection)
            .optional()?;
        removed += sql_query(
            "DELETE FROM checkins
             WHERE id >= $1 AND id <= $2 AND id <> $3
                 AND NOT EXISTS (
                     SELECT 1
                     FROM states
                     WHERE states.reservation_id = checkins.reservation_id
                         AND checkins.number > states.checkins - $4)
                 AND NOT EXISTS (
                     SELECT 1
                     FROM checkouts
                     WHERE checkouts.reservation_id = checkins.reservation_id)",
        )
        .bind::<BigInt, _>(walk.from)
        .bind::<BigInt, _>(to.unwrap_or(latest))
        .bind::<BigInt, _>(latest)
        .bind::<BigInt, _>(keep)
        .execute(connection)?;
        left -= CHUNK;
        walk.from = to.map_or(0, |to| to + 1);
        if to.is_none() {
            break;
        }
    }
    walk.latest = Some(latest);
    Ok(removed)
}

/// The way back through the history of a reservation, from where it begins. A row belongs to it if it is of this reservation and has
/// the number before: where rows were pruned, the way ends.
macro_rules! back {
    ($from:literal) => {
        concat!(
            "WITH RECURSIVE back AS (
                 SELECT c.* FROM ",
            $from,
            " UNION ALL
                 SELECT c.*
                 FROM back
                 JOIN checkins c
                     ON c.id = back.previous_id AND c.reservation_id = back.reservation_id AND c.number = back.number - 1
             )"
        )
    };
}
/// From the latest check-in of the reservation `$1`.
const BACK: &str = back!(
    "states s
     JOIN checkins c ON c.id = s.latest_checkin_id AND c.reservation_id = s.reservation_id AND c.number = s.checkins
     WHERE s.reservation_id = $1"
);
/// From its check-in `$2`.
const BACK_FROM: &str = back!("checkins c WHERE c.reservation_id = $1 AND c.id = $2");

#[derive(QueryableByName)]
#[diesel(table_name = checkins)]
struct Row {
    id: i64,
    at: i64,
    kind: String,
    exit_code: Option<i32>,
    duration_ms: Option<i64>,
    run_id: Option<String>,
    source: String,
    notes: String,
    arrived_at: Option<i64>,
    signal: Option<String>,
    peak_memory_bytes: Option<i64>,
    figures: Option<String>,
}

impl Row {
    fn checkin(self, reservation_id: i64) -> Result<Checkin, StoreError> {
        let kind = self.kind.parse().map_err(|error: innkeeper_core::Invalid| StoreError::Corrupt {
            table: "checkins of reservation",
            id: reservation_id,
            problem: error.to_string(),
        })?;
        Ok(Checkin {
            id: self.id,
            at: time(self.at),
            arrived_at: self.arrived_at.map(time),
            signal: self.signal,
            peak_memory_bytes: self.peak_memory_bytes,
            kind,
            exit_code: self.exit_code,
            duration: self.duration_ms.map(TimeDelta::milliseconds),
            run_id: self.run_id,
            figures: figures_of(self.figures.as_deref()),
            source: self.source,
            notes: self.notes,
        })
    }
}

/// The latest `limit` check-ins of a reservation, latest first.
pub(crate) fn latest(
    connection: &mut AnyConnection,
    reservation_id: i64,
    limit: i64,
) -> Result<Vec<Checkin>, StoreError> {
    // The limit ends the recursion, too: rows are made as they are asked for.
    let rows: Vec<Row> = sql_query(format!("{BACK} SELECT * FROM back LIMIT $2"))
        .bind::<BigInt, _>(reservation_id)
        .bind::<BigInt, _>(limit)
        .load(connection)?;
    rows.into_iter().map(|row| row.checkin(reservation_id)).collect()
}

/// How far back the end is looked for of a run whose start was recorded after it.
const MOST_LATE: i64 = 200;

/// Writes how long a run took whose end was recorded before this start of it.
pub(crate) fn pair_late(
    connection: &mut AnyConnection,
    reservation_id: i64,
    start: &CheckIn,
) -> Result<(), StoreError> {
    let run_id = start.run_id.map(|id| id.to_string());
    let mut since: Vec<Checkin> = latest(connection, reservation_id, MOST_LATE)?;
    since.retain(|row| row.at >= start.at && row.kind != CheckInKind::Log);
    // Of one instant the start comes first.
    since.sort_by_key(|row| (row.at, row.kind != CheckInKind::Start));
    for row in since {
        let is_its_own = row.run_id == run_id;
        let ends_all =
            row.kind == CheckInKind::Fail || (row.kind == CheckInKind::Success && row.run_id.is_none());
        match row.kind {
            CheckInKind::Start if is_its_own && row.at > start.at => return Ok(()),
            CheckInKind::Success | CheckInKind::Fail if is_its_own => {
                if row.duration.is_none() {
                    recent::add_run_time(connection, reservation_id, &row, row.at - start.at)?;
                    diesel::update(checkins::table.filter(checkins::id.eq(row.id)))
                        .set(checkins::duration_ms.eq((row.at - start.at).num_milliseconds()))
                        .execute(connection)?;
                }
                return Ok(());
            }
            CheckInKind::Success | CheckInKind::Fail if ends_all => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_looks_at_four_times_what_has_come_and_at_a_million_at_least() {
        let at = |latest| Walk { from: 0, latest };
        assert_eq!(at(None).length(7_000_000), 1_000_000);
        assert_eq!(at(Some(6_999_000)).length(7_000_000), 1_000_000);
        assert_eq!(at(Some(5_000_000)).length(7_000_000), 8_000_000);
    }
}
