//! Writes the values that check-ins carry, and removes old ones beyond the limits.

use std::sync::LazyLock;

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Double, Text};
use innkeeper_core::checkin::CheckInKind;
use innkeeper_core::expect::MOST_VALUES;
use innkeeper_core::figures::MOST_FIGURES;

use super::{FAIL, MOST_RUN_TIMES, RUN_TIME, SUCCESS};
use crate::StoreError;
use crate::checkins::HistoryRow;
use crate::connection::AnyConnection;
use crate::history::Checkin;
use crate::prepared::prepared;
use crate::schema::recent_values;

/// A value to write.
struct New<'a> {
    reservation_id: i64,
    name: &'a str,
    checkin_id: i64,
    value: f64,
    outcome: &'static str,
}

/// Writes the figures and run times of a batch.
pub(crate) fn add(connection: &mut AnyConnection, history: &[HistoryRow<'_>]) -> Result<(), StoreError> {
    let mut new: Vec<New<'_>> = Vec::new();
    let mut full: Vec<i64> = Vec::new();
    for row in history {
        let outcome = match row.checkin.kind {
            CheckInKind::Success => SUCCESS,
            CheckInKind::Fail => FAIL,
            CheckInKind::Start | CheckInKind::Log => continue,
        };
        let (reservation_id, checkin_id) = (row.reservation_id, row.id);
        let took = row.duration_ms.map(|took| (RUN_TIME, took as f64));
        let values = row.checkin.figures.iter().chain(took);
        new.extend(values.map(|(name, value)| New { reservation_id, name, checkin_id, value, outcome }));
        if is_time_to_trim(checkin_id) && (took.is_some() || !row.checkin.figures.is_empty()) {
            full.push(reservation_id);
        }
    }
    insert(connection, &new)?;
    full.sort_unstable();
    full.dedup();
    trim(connection, &full)
}

/// Whether values beyond the limits are removed with this check-in. This is so for one in 32 on
/// average. The choice is spread so that it does not coincide with a regular pattern of the ids.
fn is_time_to_trim(checkin_id: i64) -> bool {
    // Fibonacci hashing: multiply by 2^64 divided by the golden ratio, and take the highest bits.
    checkin_id.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 59 == 0
}

/// Writes the run time of a run whose start was recorded after its end.
pub(crate) fn add_run_time(
    connection: &mut AnyConnection,
    reservation_id: i64,
    end: &Checkin,
    took: TimeDelta,
) -> Result<(), StoreError> {
    let outcome = if end.kind == CheckInKind::Fail { FAIL } else { SUCCESS };
    let value = took.num_milliseconds() as f64;
    insert(connection, &[New { reservation_id, name: RUN_TIME, checkin_id: end.id, value, outcome }])
}

fn insert(connection: &mut AnyConnection, new: &[New<'_>]) -> Result<(), StoreError> {
    match connection {
        _ if new.is_empty() => {}
        AnyConnection::Postgres(connection) => {
            prepared(
                "INSERT INTO recent_values (reservation_id, name, checkin_id, value, outcome)
                 SELECT * FROM unnest(",
                (
                    new.iter().map(|new| new.reservation_id).collect::<Vec<_>>().into_sql::<Array<BigInt>>(),
                    new.iter().map(|new| new.name).collect::<Vec<_>>().into_sql::<Array<Text>>(),
                    new.iter().map(|new| new.checkin_id).collect::<Vec<_>>().into_sql::<Array<BigInt>>(),
                    new.iter().map(|new| new.value).collect::<Vec<_>>().into_sql::<Array<Double>>(),
                    new.iter().map(|new| new.outcome).collect::<Vec<_>>().into_sql::<Array<Text>>(),
                ),
                ")
                 ON CONFLICT (reservation_id, name, checkin_id) DO UPDATE SET value = EXCLUDED.value, outcome = EXCLUDED.outcome",
            )
            .execute(connection)?;
        }
        AnyConnection::Sqlite(connection) => {
            for new in new {
                diesel::replace_into(recent_values::table)
                    .values((
                        recent_values::reservation_id.eq(new.reservation_id),
                        recent_values::name.eq(new.name),
                        recent_values::checkin_id.eq(new.checkin_id),
                        recent_values::value.eq(new.value),
                        recent_values::outcome.eq(new.outcome),
                    ))
                    .execute(connection)?;
            }
        }
    }
    Ok(())
}

/// Removes the values of these reservations beyond the limits. Values that medians count, and
/// values that they do not count, have a limit of their own each: otherwise fifty failures in a row
/// would leave a median without values. If there are too many figures, those with the latest values
/// stay.
fn trim(connection: &mut AnyConnection, reservations: &[i64]) -> Result<(), StoreError> {
    for surplus in [&*SURPLUS_VALUES, &*SURPLUS_NAMES] {
        match connection {
            _ if reservations.is_empty() => {}
            AnyConnection::Postgres(connection) => {
                let ids = reservations.to_vec().into_sql::<Array<BigInt>>();
                prepared("WITH wanted AS (SELECT unnest(", ids, surplus).execute(connection)?;
            }
            AnyConnection::Sqlite(connection) => {
                for id in reservations {
                    let id = (*id).into_sql::<BigInt>();
                    prepared("WITH wanted AS (SELECT (", id, surplus).execute(connection)?;
                }
            }
        }
    }
    Ok(())
}

/// Deletes the surplus values of each name.
static SURPLUS_VALUES: LazyLock<String> = LazyLock::new(|| {
    format!(
        ") AS id)
         DELETE FROM recent_values
         WHERE (reservation_id, name, checkin_id) IN (
             SELECT reservation_id, name, checkin_id
             FROM (
                 SELECT reservation_id, name, checkin_id, row_number() OVER (
                     PARTITION BY reservation_id, name, outcome = '{SUCCESS}' ORDER BY checkin_id DESC) AS place
                 FROM recent_values
                 WHERE reservation_id IN (SELECT id FROM wanted)) AS ordered
             WHERE place > CASE WHEN name = '{RUN_TIME}' THEN {MOST_RUN_TIMES} ELSE {MOST_VALUES} END)"
    )
});

/// Deletes the values of surplus names.
static SURPLUS_NAMES: LazyLock<String> = LazyLock::new(|| {
    format!(
        ") AS id)
         DELETE FROM recent_values
         WHERE (reservation_id, name) IN (
             SELECT reservation_id, name
             FROM (
                 SELECT reservation_id, name, row_number() OVER (
                     PARTITION BY reservation_id ORDER BY max(checkin_id) DESC, name) AS place
                 FROM recent_values
                 WHERE reservation_id IN (SELECT id FROM wanted) AND name <> '{RUN_TIME}'
                 GROUP BY reservation_id, name) AS ordered
             WHERE place > {MOST_FIGURES})"
    )
});
