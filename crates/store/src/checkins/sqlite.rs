//! Writes a batch to SQLite in one transaction, by small statements that are prepared once.

use diesel::dsl::max;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, Text};
use diesel::sqlite::SqliteConnection;
use innkeeper_core::names::{AppName, ComponentName};
use uuid::Uuid;

use super::merge::Merged;
use super::{HistoryRow, Updated};
use crate::StoreError;
use crate::prepared::prepared;
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
    #[diesel(sql_type = Nullable<BigInt>)]
    last_start_at: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    runs_over_before: Option<i64>,
    #[diesel(sql_type = BigInt)]
    wake_at: i64,
    #[diesel(sql_type = BigInt)]
    checkins: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    previous_checkin_id: Option<i64>,
}

/// Adds the merged facts, as the statement for Postgres does. MAX and MIN of several values are NULL if one of them is, hence
/// COALESCE.
pub(crate) fn update_facts(
    connection: &mut SqliteConnection,
    merged: &[Merged],
) -> Result<Vec<Updated>, StoreError> {
    let mut updated = Vec::with_capacity(merged.len());
    for new in merged {
        let lookup_key = new.lookup_key.map(Uuid::into_bytes);
        let row: Option<UpdatedRow> = prepared(
            "WITH new (id, lookup_key, checkin_at, start_at, fail_at, exit_code, seen_at, source, over_at, checkins, fails, latest_id,
                 arrived_at, late) AS (VALUES (",
            (
                new.id.into_sql::<BigInt>(),
                lookup_key.as_ref().map(<[u8; 16]>::as_slice).into_sql::<Nullable<Binary>>(),
                new.last_checkin_at.into_sql::<Nullable<BigInt>>(),
                new.last_start_at.into_sql::<Nullable<BigInt>>(),
                new.last_fail_at.into_sql::<Nullable<BigInt>>(),
                new.last_exit_code.into_sql::<Nullable<Integer>>(),
                new.last_seen_at.into_sql::<BigInt>(),
                new.last_source.as_str().into_sql::<Text>(),
                new.runs_over_at.into_sql::<Nullable<BigInt>>(),
                new.checkins.into_sql::<BigInt>(),
                new.fails.into_sql::<BigInt>(),
                new.latest_id.into_sql::<BigInt>(),
                new.arrived_at.into_sql::<BigInt>(),
                new.late.into_sql::<Bool>(),
            ),
            "))
             UPDATE states AS s
             SET last_checkin_at = COALESCE(MAX(s.last_checkin_at, new.checkin_at), s.last_checkin_at, new.checkin_at),
                 last_start_at = COALESCE(MAX(s.last_start_at, new.start_at), s.last_start_at, new.start_at),
                 last_exit_code = CASE
                     WHEN new.fail_at IS NULL OR new.fail_at < s.last_fail_at THEN s.last_exit_code
                     WHEN new.fail_at = s.last_fail_at
                         THEN COALESCE(MAX(s.last_exit_code, new.exit_code), s.last_exit_code, new.exit_code)
                     ELSE new.exit_code END,
                 last_fail_at = COALESCE(MAX(s.last_fail_at, new.fail_at), s.last_fail_at, new.fail_at),
                 last_source = CASE
                     WHEN new.seen_at < s.last_seen_at THEN s.last_source
                     WHEN new.seen_at = s.last_seen_at THEN MAX(s.last_source, new.source)
                     ELSE new.source END,
                 last_seen_at = COALESCE(MAX(s.last_seen_at, new.seen_at), new.seen_at),
                 runs_over_before = s.runs_over_at,
                 runs_over_at = COALESCE(MAX(s.runs_over_at, new.over_at), s.runs_over_at, new.over_at),
                 checkins = s.checkins + new.checkins,
                 fails = s.fails + new.fails,
                 wake_at = CASE
                     WHEN s.eager OR s.status = 'down' OR new.fails > 0 OR new.late
                         OR new.start_at IS NOT NULL AND s.last_start_at IS NULL THEN MIN(s.wake_at, new.arrived_at)
                     ELSE s.wake_at END,
                 reported_late = s.reported_late OR new.late,
                 previous_checkin_id = s.latest_checkin_id,
                 latest_checkin_id = new.latest_id
             FROM new
             WHERE s.reservation_id = new.id
                 AND (new.lookup_key IS NULL OR new.lookup_key IN (s.names_key, s.ping_key))
             RETURNING last_start_at, runs_over_before, wake_at, checkins, previous_checkin_id",
        )
        .get_result(connection)
        .optional()?;
        updated.extend(row.map(|row| Updated {
            id: new.id,
            last_start_at: row.last_start_at,
            runs_over_before: row.runs_over_before,
            wake: row.wake_at <= new.arrived_at,
            checkins: row.checkins,
            previous_id: row.previous_checkin_id,
        }));
    }
    Ok(updated)
}

#[derive(QueryableByName)]
struct FoundRow {
    #[diesel(sql_type = BigInt)]
    reservation_id: i64,
}

/// The reservations of these lookup keys.
pub(crate) fn find(
    connection: &mut SqliteConnection,
    wanted: &[Uuid],
) -> Result<Vec<(Uuid, i64)>, StoreError> {
    let mut found = Vec::with_capacity(wanted.len());
    for lookup_key in wanted {
        let row: Option<FoundRow> = prepared(
            "SELECT reservation_id FROM lookup_keys WHERE lookup_key = ",
            lookup_key.as_bytes().as_slice().into_sql::<Binary>(),
            "",
        )
        .get_result(connection)
        .optional()?;
        found.extend(row.map(|row| (*lookup_key, row.reservation_id)));
    }
    Ok(found)
}

/// The id of the latest row of the history, or 0. The caller holds the write lock, so nobody else takes the next ids.
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
