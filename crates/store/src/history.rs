//! The history of check-ins: reading it, and pruning what is too old or too numerous.

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

/// The most rows that one statement of the pruning touches, so that no lock is held for long.
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
    /// What it reported: a start, a success, a failure or a log entry.
    pub kind: CheckInKind,
    /// The exit status, where one was given.
    pub exit_code: Option<i32>,
    /// The signal that ended the run, where the client said so: `SIGTERM`.
    pub signal: Option<String>,
    /// How long the run took, where its start was reported as well, or the client said so.
    pub duration: Option<TimeDelta>,
    /// The most memory that the run used, in bytes, where the client said so.
    pub peak_memory_bytes: Option<i64>,
    /// The run's id, where it has one.
    pub run_id: Option<String>,
    /// The figures that it reported.
    pub figures: Figures,
    /// The client's address.
    pub source: String,
    /// Notes or body.
    pub notes: String,
}

/// The place that the walk through the history has reached; the walk finds check-ins beyond the
/// number that is kept. One pass looks at four times as many rows as have come since the pass
/// before, and at least at a million. The next pass goes on from there. So the work grows with the
/// check-ins that come, not with those that are kept. Until the walk comes by, a reservation may
/// have too many.
#[derive(Debug, Clone, Default)]
pub struct Walk {
    /// The number of the check-in at which to go on.
    from: i64,
    /// The latest check-in when it stopped.
    latest: Option<i64>,
}

/// The fewest rows that a pass looks at; see [`Walk`].
const AT_LEAST: i64 = 1_000_000;

impl Walk {
    /// How many rows a pass looks at. `latest` is the number of the latest check-in.
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

    /// The `limit` check-ins of a reservation before its check-in of the number `before`, latest
    /// first. Empty once that check-in was pruned.
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

    /// Removes check-ins beyond the latest `keep` of each reservation or older than `older_than`,
    /// and alerts and deliveries that ended before it. Removes check-ins in small steps, each a
    /// transaction of its own, and asks `go_on` before each.
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
                // The deliveries of an open alert are kept: they say who has to be told of its end.
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
        // A run that is under way is kept: its time limit may be longer than the history.
        diesel::delete(
            runs::table
                .filter(runs::ended_at.lt(ms(older_than)))
                .filter(runs::started_at.is_null().or(runs::started_at.le(runs::ended_at))),
        )
        .execute(connection)?;
        Ok(pruned)
    }

    /// Removes up to [`CHUNK`] check-ins older than `older_than`. The latest check-in of all stays,
    /// whatever its age: on SQLite new ids continue from it, and other tables refer to them. Ids
    /// grow with the time of arrival, so the oldest rows are the first of the primary key, and no
    /// index on `at` is needed.
    fn prune_old_checkins(&self, older_than: Time) -> Result<usize, StoreError> {
        let connection = &mut *self.get()?;
        let oldest: Vec<i64> =
            checkins::table.select(checkins::id).order(checkins::id).limit(CHUNK).load(connection)?;
        let Some(last) = oldest.last() else { return Ok(0) };
        // The bound is a plain parameter, because Postgres scans the whole table for a subquery.
        // This is not a query of the DSL, because that would be prepared once for all bounds; the
        // best plan depends on how many rows lie below the bound.
        let latest: Option<i64> = checkins::table.select(max(checkins::id)).first(connection)?;
        Ok(sql_query("DELETE FROM checkins WHERE id <= $1 AND COALESCE(arrived_at, at) < $2 AND id <> $3")
            .bind::<BigInt, _>(*last)
            .bind::<BigInt, _>(ms(older_than))
            .bind::<BigInt, _>(latest.unwrap_or_default())
            .execute(connection)?)
    }
}

/// Removes check-ins beyond the latest `keep` of each reservation, as far as the walk goes. Also
/// removes check-ins that belong neither to a reservation nor to a checkout that can be undone.
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

/// A query that walks back through the history of a reservation from `$from`. The next row must be
/// of the same reservation and have the previous number, so the walk ends where rows were pruned.
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
/// Walks back from the latest check-in of the reservation `$1`.
const BACK: &str = back!(
    "states s
     JOIN checkins c ON c.id = s.latest_checkin_id AND c.reservation_id = s.reservation_id AND c.number = s.checkins
     WHERE s.reservation_id = $1"
);
/// Walks back from the check-in `$2` of the reservation `$1`.
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
    // The limit also ends the recursion, because rows are made as they are fetched.
    let rows: Vec<Row> = sql_query(format!("{BACK} SELECT * FROM back LIMIT $2"))
        .bind::<BigInt, _>(reservation_id)
        .bind::<BigInt, _>(limit)
        .load(connection)?;
    rows.into_iter().map(|row| row.checkin(reservation_id)).collect()
}

/// How many check-ins back the end of a run is looked for when its start is recorded after it.
const MOST_LATE: i64 = 200;

/// Writes the duration of a run whose end was recorded before its `start`.
pub(crate) fn pair_late(
    connection: &mut AnyConnection,
    reservation_id: i64,
    start: &CheckIn,
) -> Result<(), StoreError> {
    let run_id = start.run_id.map(|id| id.to_string());
    let mut since: Vec<Checkin> = latest(connection, reservation_id, MOST_LATE)?;
    since.retain(|row| row.at >= start.at && row.kind != CheckInKind::Log);
    // Among check-ins of the same time the start comes first.
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
