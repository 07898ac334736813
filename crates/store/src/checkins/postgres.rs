//! Writes a batch to Postgres by one statement for each table, with arrays as arguments.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use innkeeper_core::names::{AppName, ComponentName};
use uuid::Uuid;

use super::merge::Merged;
use super::{HistoryRow, Updated};
use crate::StoreError;
use crate::prepared::prepared;
use crate::rows::{NamedRow, ms};

pub(crate) fn find_names(
    connection: &mut PgConnection,
    names: &[(&AppName, &ComponentName)],
) -> Result<Vec<(i64, String, String)>, StoreError> {
    let rows: Vec<NamedRow> = sql_query(
        "SELECT r.id, r.app, r.component
         FROM unnest($1, $2) AS wanted (app, component)
         JOIN reservations r ON r.app = wanted.app AND r.component = wanted.component",
    )
    .bind::<Array<Text>, _>(names.iter().map(|(app, _)| app.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(names.iter().map(|(_, component)| component.as_str()).collect::<Vec<_>>())
    .load(connection)?;
    Ok(rows.into_iter().map(|row| (row.id, row.app, row.component)).collect())
}

#[derive(QueryableByName)]
struct UpdatedRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    last_start_at: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    runs_over_before: Option<i64>,
    #[diesel(sql_type = Bool)]
    wake: bool,
    #[diesel(sql_type = BigInt)]
    checkins: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    previous_checkin_id: Option<i64>,
}

/// Adds the merged facts to the states of the reservations that are there and have their lookup key. `new` is in id order, and the
/// rows are locked in that order.
///
/// GREATEST ignores NULL. If two check-ins have the same time, the greater exit status and source
/// stay, as in `Facts::record`, so that the order of recording does not matter.
pub(crate) fn update_facts(
    connection: &mut PgConnection,
    merged: &[Merged],
) -> Result<Vec<Updated>, StoreError> {
    let column = |value: fn(&Merged) -> Option<i64>| merged.iter().map(value).collect::<Vec<_>>();
    let number = |value: fn(&Merged) -> i64| merged.iter().map(value).collect::<Vec<_>>();
    let mut rows: Vec<UpdatedRow> = prepared(
        "WITH new AS MATERIALIZED (
             SELECT *
             FROM unnest(",
        (
            number(|new| new.id).into_sql::<Array<BigInt>>(),
            merged.iter().map(|new| new.lookup_key).collect::<Vec<_>>().into_sql::<Array<Nullable<SqlUuid>>>(),
            column(|new| new.last_checkin_at).into_sql::<Array<Nullable<BigInt>>>(),
            column(|new| new.last_start_at).into_sql::<Array<Nullable<BigInt>>>(),
            column(|new| new.last_fail_at).into_sql::<Array<Nullable<BigInt>>>(),
            merged.iter().map(|new| new.last_exit_code).collect::<Vec<_>>().into_sql::<Array<Nullable<Integer>>>(),
            number(|new| new.last_seen_at).into_sql::<Array<BigInt>>(),
            merged.iter().map(|new| new.last_source.as_str()).collect::<Vec<_>>().into_sql::<Array<Text>>(),
            column(|new| new.runs_over_at).into_sql::<Array<Nullable<BigInt>>>(),
            number(|new| new.checkins).into_sql::<Array<BigInt>>(),
            number(|new| new.fails).into_sql::<Array<BigInt>>(),
            number(|new| new.latest_id).into_sql::<Array<BigInt>>(),
            number(|new| new.arrived_at).into_sql::<Array<BigInt>>(),
            merged.iter().map(|new| new.late).collect::<Vec<_>>().into_sql::<Array<Bool>>(),
        ),
        ") AS new (id, lookup_key, checkin_at, start_at, fail_at, exit_code, seen_at, source, over_at, checkins, fails,
                  latest_id, arrived_at, late)
         )
         UPDATE states s
         SET last_checkin_at = GREATEST(s.last_checkin_at, new.checkin_at),
             last_start_at = GREATEST(s.last_start_at, new.start_at),
             last_exit_code = CASE
                 WHEN new.fail_at IS NULL OR new.fail_at < s.last_fail_at THEN s.last_exit_code
                 WHEN new.fail_at = s.last_fail_at THEN GREATEST(s.last_exit_code, new.exit_code)
                 ELSE new.exit_code END,
             last_fail_at = GREATEST(s.last_fail_at, new.fail_at),
             last_source = CASE
                 WHEN new.seen_at < s.last_seen_at THEN s.last_source
                 WHEN new.seen_at = s.last_seen_at
                     THEN GREATEST(s.last_source COLLATE \"C\", new.source COLLATE \"C\")
                 ELSE new.source END,
             last_seen_at = GREATEST(s.last_seen_at, new.seen_at),
             runs_over_before = s.runs_over_at,
             runs_over_at = GREATEST(s.runs_over_at, new.over_at),
             checkins = s.checkins + new.checkins,
             fails = s.fails + new.fails,
             wake_at = CASE
                 WHEN s.eager OR s.status = 'down' OR new.fails > 0 OR new.late
                     OR new.start_at IS NOT NULL AND s.last_start_at IS NULL THEN LEAST(s.wake_at, new.arrived_at)
                 ELSE s.wake_at END,
             reported_late = s.reported_late OR new.late,
             previous_checkin_id = s.latest_checkin_id,
             latest_checkin_id = new.latest_id
         FROM new
         WHERE s.reservation_id = new.id
             AND (new.lookup_key IS NULL OR new.lookup_key IN (s.names_key, s.ping_key))
         RETURNING s.reservation_id AS id, s.last_start_at, s.runs_over_before, s.wake_at <= new.arrived_at AS wake,
             s.checkins, s.previous_checkin_id",
    )
    .load(connection)?;
    rows.sort_by_key(|row| row.id);
    Ok(rows
        .into_iter()
        .map(|row| Updated {
            id: row.id,
            last_start_at: row.last_start_at,
            runs_over_before: row.runs_over_before,
            wake: row.wake,
            checkins: row.checkins,
            previous_id: row.previous_checkin_id,
        })
        .collect())
}

#[derive(QueryableByName)]
struct FoundRow {
    #[diesel(sql_type = SqlUuid)]
    lookup_key: Uuid,
    #[diesel(sql_type = BigInt)]
    reservation_id: i64,
}

/// The reservations of these lookup keys.
pub(crate) fn find(
    connection: &mut PgConnection,
    lookup_keys: Vec<Uuid>,
) -> Result<Vec<(Uuid, i64)>, StoreError> {
    let rows: Vec<FoundRow> = prepared(
        "SELECT lookup_key, reservation_id FROM lookup_keys WHERE lookup_key = ANY (",
        lookup_keys.into_sql::<Array<SqlUuid>>(),
        ")",
    )
    .load(connection)?;
    Ok(rows.into_iter().map(|row| (row.lookup_key, row.reservation_id)).collect())
}

/// `count` ids for rows of the history, ascending.
pub(crate) fn next_ids(connection: &mut PgConnection, count: usize) -> Result<Vec<i64>, StoreError> {
    let rows: Vec<NextId> = prepared(
        "SELECT nextval('checkins_id_seq') AS id FROM generate_series(1, ",
        (count as i64).into_sql::<BigInt>(),
        ") ORDER BY 1",
    )
    .load(connection)?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

#[derive(QueryableByName)]
struct NextId {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

pub(crate) fn add_history(
    connection: &mut PgConnection,
    history: &[HistoryRow<'_>],
) -> Result<(), StoreError> {
    if history.is_empty() {
        return Ok(());
    }
    let run_ids: Vec<_> = history.iter().map(|row| row.checkin.run_id.map(|id| id.to_string())).collect();
    let figures: Vec<_> = history.iter().map(HistoryRow::figures).collect();
    prepared(
        "INSERT INTO checkins (id, reservation_id, at, kind, exit_code, duration_ms, run_id, source, notes, number,
             previous_id, arrived_at, signal, peak_memory_bytes, figures)
         OVERRIDING SYSTEM VALUE
         SELECT * FROM unnest(",
        (
            history.iter().map(|row| row.id).collect::<Vec<_>>().into_sql::<Array<BigInt>>(),
            history.iter().map(|row| row.reservation_id).collect::<Vec<_>>().into_sql::<Array<BigInt>>(),
            history.iter().map(|row| ms(row.checkin.at)).collect::<Vec<_>>().into_sql::<Array<BigInt>>(),
            history.iter().map(|row| row.checkin.kind.as_str()).collect::<Vec<_>>().into_sql::<Array<Text>>(),
            history.iter().map(|row| row.checkin.exit_code).collect::<Vec<_>>().into_sql::<Array<Nullable<Integer>>>(),
            history.iter().map(|row| row.duration_ms).collect::<Vec<_>>().into_sql::<Array<Nullable<BigInt>>>(),
            run_ids.into_sql::<Array<Nullable<Text>>>(),
            history.iter().map(|row| row.checkin.source.as_str()).collect::<Vec<_>>().into_sql::<Array<Text>>(),
            history.iter().map(|row| row.checkin.notes.as_str()).collect::<Vec<_>>().into_sql::<Array<Text>>(),
            history.iter().map(|row| row.number).collect::<Vec<_>>().into_sql::<Array<BigInt>>(),
            history.iter().map(|row| row.previous_id).collect::<Vec<_>>().into_sql::<Array<Nullable<BigInt>>>(),
            history
                .iter()
                .map(|row| row.checkin.reported_late_at().map(ms))
                .collect::<Vec<_>>()
                .into_sql::<Array<Nullable<BigInt>>>(),
            history.iter().map(HistoryRow::signal).collect::<Vec<_>>().into_sql::<Array<Nullable<Text>>>(),
            history.iter().map(HistoryRow::peak_memory_bytes).collect::<Vec<_>>().into_sql::<Array<Nullable<BigInt>>>(),
            figures.into_sql::<Array<Nullable<Text>>>(),
        ),
        ")",
    )
    .execute(connection)?;
    Ok(())
}
