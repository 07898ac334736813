//! Writes a batch to SQLite in one transaction, by small statements that are prepared once.

use diesel::dsl::max;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use diesel::sqlite::SqliteConnection;
use innkeeper_core::names::{AppName, ComponentName};

use super::merge::Merged;
use super::{HistoryRow, Updated};
use crate::StoreError;
use crate::rows::ms;
use crate::schema::{checkins, reservations};

pub(crate) fn find_names(
    connection: &mut SqliteConnection,
    names: &[(&AppName, &ComponentName)],
) -> Result<Vec<(i64, String, String)>, StoreError> {
    let mut rows = Vec::with_capacity(names.len());
    for (app, component) in names {
        let row: Option<(i64, String, String)> = reservations::table
            .filter(reservations::app.eq(app.as_str()))
            .filter(reservations::component.eq(component.as_str()))
            .select((reservations::id, reservations::app, reservations::component))
            .first(connection)
            .optional()?;
        rows.extend(row);
    }
    Ok(rows)
}

#[derive(QueryableByName)]
struct UpdatedRow {
    #[diesel(sql_type = Bool)]
    has_starts: bool,
    #[diesel(sql_type = Bool)]
    wake: bool,
    #[diesel(sql_type = BigInt)]
    checkins: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    previous_checkin_id: Option<i64>,
}

/// Adds the merged facts, as the statement for Postgres does. MAX with several arguments is NULL if
/// one of them is, hence COALESCE.
pub(crate) fn update_facts(
    connection: &mut SqliteConnection,
    merged: &[Merged],
    ids: &[i64],
) -> Result<Vec<Updated>, StoreError> {
    let mut updated = Vec::with_capacity(merged.len());
    for (new, latest_id) in merged.iter().zip(Merged::latest(merged, ids)) {
        let row: Option<UpdatedRow> = sql_query(
            "UPDATE states
             SET last_checkin_at = COALESCE(MAX(last_checkin_at, $1), last_checkin_at, $1),
                 last_start_at = COALESCE(MAX(last_start_at, $2), last_start_at, $2),
                 last_exit_code = CASE
                     WHEN $3 IS NULL OR $3 < last_fail_at THEN last_exit_code
                     WHEN $3 = last_fail_at THEN COALESCE(MAX(last_exit_code, $4), last_exit_code, $4)
                     ELSE $4 END,
                 last_fail_at = COALESCE(MAX(last_fail_at, $3), last_fail_at, $3),
                 last_source = CASE
                     WHEN $5 < last_seen_at THEN last_source
                     WHEN $5 = last_seen_at THEN MAX(last_source, $6)
                     ELSE $6 END,
                 last_seen_at = COALESCE(MAX(last_seen_at, $5), $5),
                 runs_over_at = COALESCE(MAX(runs_over_at, $7), runs_over_at, $7),
                 checkins = checkins + $8,
                 fails = fails + $9,
                 wake_at = CASE
                     WHEN eager OR status = 'down' OR $9 > 0 OR $10 OR $2 IS NOT NULL AND last_start_at IS NULL
                         THEN MIN(wake_at, $11)
                     ELSE wake_at END,
                 reported_late = reported_late OR $10,
                 previous_checkin_id = latest_checkin_id,
                 latest_checkin_id = $12
             WHERE reservation_id = $13
             RETURNING last_start_at IS NOT NULL AS has_starts, wake_at <= $11 AS wake, checkins, previous_checkin_id",
        )
        .bind::<Nullable<BigInt>, _>(new.last_checkin_at)
        .bind::<Nullable<BigInt>, _>(new.last_start_at)
        .bind::<Nullable<BigInt>, _>(new.last_fail_at)
        .bind::<Nullable<Integer>, _>(new.last_exit_code)
        .bind::<BigInt, _>(new.last_seen_at)
        .bind::<Text, _>(&new.last_source)
        .bind::<Nullable<BigInt>, _>(new.runs_over_at)
        .bind::<BigInt, _>(new.checkins)
        .bind::<BigInt, _>(new.fails)
        .bind::<Bool, _>(new.late)
        .bind::<BigInt, _>(new.arrived_at)
        .bind::<BigInt, _>(latest_id)
        .bind::<BigInt, _>(new.id)
        .get_result(connection)
        .optional()?;
        updated.extend(row.map(|row| Updated {
            id: new.id,
            has_starts: row.has_starts,
            wake: row.wake,
            checkins: row.checkins,
            previous_id: row.previous_checkin_id,
        }));
    }
    Ok(updated)
}

/// The id of the latest row of the history, or 0. The caller holds the write lock, so that nobody
/// else takes the next ids.
pub(crate) fn latest_id(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(checkins::table.select(max(checkins::id)).first::<Option<i64>>(connection)?.unwrap_or_default())
}

pub(crate) fn add_history(
    connection: &mut SqliteConnection,
    history: &[HistoryRow<'_>],
) -> Result<(), StoreError> {
    for row in history {
        diesel::insert_into(checkins::table)
            .values((
                checkins::id.eq(row.id),
                checkins::reservation_id.eq(row.reservation_id),
                checkins::at.eq(ms(row.checkin.at)),
                checkins::kind.eq(row.checkin.kind.as_str()),
                checkins::exit_code.eq(row.checkin.exit_code),
                checkins::duration_ms.eq(row.duration_ms),
                checkins::run_id.eq(row.checkin.run_id.map(|id| id.to_string())),
                checkins::source.eq(&row.checkin.source),
                checkins::notes.eq(&row.checkin.notes),
                checkins::number.eq(row.number),
                checkins::previous_id.eq(row.previous_id),
                checkins::arrived_at.eq(row.checkin.reported_late_at().map(ms)),
                checkins::signal.eq(row.signal()),
                checkins::peak_memory_bytes.eq(row.peak_memory_bytes()),
                checkins::figures.eq(row.figures()),
            ))
            .execute(connection)?;
    }
    Ok(())
}
