//! Reading reservations so that one row that cannot be read is named, and keeps nobody from reading the others.
//!
//! A row may hold NULL or text where a number belongs (an SQLite file that was edited by hand), or lie on a damaged page. SQLite reads
//! text as the number 0, which would accuse a healthy job, so that types are asked for.

use std::fmt::Write as _;

use diesel::prelude::*;
use diesel::sql_query;

use crate::StoreError;
use crate::connection::AnyConnection;
use crate::rows::{ReservationRow, StateRow};
use crate::schema::{reservations, states};
use crate::sweep::IdAndText;

/// So many ids in one statement.
const CHUNK: usize = 500;

/// The columns of numbers.
const NUMBERS: [&str; 24] = [
    "s.last_checkin_at",
    "s.last_start_at",
    "s.last_fail_at",
    "s.last_exit_code",
    "s.last_seen_at",
    "s.runs_over_at",
    "s.checkins",
    "s.fails",
    "s.wake_at",
    "s.snoozed_until",
    "s.fails_seen",
    "s.checkins_seen",
    "s.fail_streak",
    "s.short_at",
    "r.period_ms",
    "r.frequency",
    "r.grace_ms",
    "r.alert_after",
    "r.remind_every_ms",
    "r.notify_recovery",
    "r.max_run_ms",
    "r.min_run_ms",
    "r.is_site",
    "r.created_at",
];

/// Rows that could be read, and those that could not, with what is wrong with them.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub rows: Vec<(ReservationRow, StateRow)>,
    pub unreadable: Vec<(i64, String)>,
}

/// The reservations `ids` with their states, in no order. Those that are not there are left out.
pub(crate) fn read(connection: &mut AnyConnection, ids: &[i64]) -> Result<Read, StoreError> {
    let mut read = Read::default();
    for ids in ids.chunks(CHUNK) {
        read_apart(connection, ids, &mut read)?;
    }
    Ok(read)
}

/// Halves what cannot be read until the row at fault stands alone.
fn read_apart(connection: &mut AnyConnection, ids: &[i64], into: &mut Read) -> Result<(), StoreError> {
    match read_together(connection, ids) {
        Ok((rows, malformed)) => {
            into.rows.extend(rows);
            into.unreadable.extend(malformed);
            Ok(())
        }
        Err(error) if error.is_unavailable() => Err(error),
        Err(error) if ids.len() == 1 => {
            into.unreadable.extend(ids.iter().map(|id| (*id, error.to_string())));
            Ok(())
        }
        Err(_) => {
            let (first, second) = ids.split_at(ids.len() / 2);
            read_apart(connection, first, into)?;
            read_apart(connection, second, into)
        }
    }
}

type Rows = Vec<(ReservationRow, StateRow)>;

fn read_together(
    connection: &mut AnyConnection,
    ids: &[i64],
) -> Result<(Rows, Vec<(i64, String)>), StoreError> {
    let malformed = malformed(connection, ids)?;
    let mut rows: Rows = reservations::table
        .inner_join(states::table)
        .filter(reservations::id.eq_any(ids))
        .select((ReservationRow::as_select(), StateRow::as_select()))
        .load(connection)?;
    if !malformed.is_empty() {
        rows.retain(|(row, _)| !malformed.iter().any(|(id, _)| *id == row.id));
    }
    Ok((rows, malformed))
}

/// Rows with something else where a number belongs. Postgres does not let that happen.
fn malformed(connection: &mut AnyConnection, ids: &[i64]) -> Result<Vec<(i64, String)>, StoreError> {
    let AnyConnection::Sqlite(connection) = connection else { return Ok(Vec::new()) };
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let (mut which, mut any) = (String::new(), String::new());
    for column in NUMBERS {
        let wrong = format!("typeof({column}) NOT IN ('integer', 'null')");
        // Writing to a String does not fail.
        let _ = write!(which, " WHEN {wrong} THEN '{column}'");
        let _ = write!(any, "{}{wrong}", if any.is_empty() { "" } else { " OR " });
    }
    let rows: Vec<IdAndText> = sql_query(format!(
        "SELECT s.reservation_id AS id, CASE{which} END AS text
         FROM states s
         JOIN reservations r ON r.id = s.reservation_id
         WHERE s.reservation_id IN ({}) AND ({any})",
        list(ids)
    ))
    .load(connection)?;
    let problem = |column: &str| {
        let table = if column.starts_with("s.") { "states" } else { "reservations" };
        format!("{table}.{} is not a number", &column[2..])
    };
    Ok(rows.into_iter().map(|row| (row.id, problem(&row.text))).collect())
}

/// Ids as SQL lists them.
pub(crate) fn list(ids: &[i64]) -> String {
    ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}
