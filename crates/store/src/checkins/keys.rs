//! Idempotency keys. A report that is sent again is recorded once, even if two nodes get it at the
//! same time.
//!
//! A batch inserts the keys of its reports before it does anything else, in sorted order. Thus
//! batches that share keys wait for each other and never deadlock. A key that another batch has
//! inserted and committed is known.

use std::collections::HashSet;

use chrono::TimeDelta;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Text};
use diesel::sqlite::SqliteConnection;
use innkeeper_core::Time;
use uuid::Uuid;

use super::Arrival;
use super::resolve::Resolved;
use crate::connection::AnyConnection;
use crate::prepared::prepared;
use crate::rows::ms;
use crate::schema::report_keys;
use crate::{Store, StoreError};

/// The most rows that one statement of the pruning deletes.
const CHUNK: i64 = 5000;
/// How much longer keys are kept than reports may be late, so that a repeat is recognized until it
/// is too old to be accepted.
const LONGER: TimeDelta = TimeDelta::minutes(5);

fn key(arrival: &Arrival) -> Option<Uuid> {
    arrival.checkin.report.as_ref()?.key
}

/// Inserts the keys of the batch. Returns for each arrival whether its key was known: from another
/// batch, or from an earlier arrival of this one.
pub(super) fn take(connection: &mut AnyConnection, batch: &[Arrival]) -> Result<Vec<bool>, StoreError> {
    let mut wanted: Vec<(String, i64)> = batch
        .iter()
        .filter_map(|arrival| Some((key(arrival)?.to_string(), ms(arrival.checkin.arrived_at()))))
        .collect();
    if wanted.is_empty() {
        return Ok(vec![false; batch.len()]);
    }
    wanted.sort_unstable();
    wanted.dedup_by(|next, before| next.0 == before.0);
    let taken = match connection {
        AnyConnection::Postgres(connection) => take_on_postgres(connection, &wanted)?,
        AnyConnection::Sqlite(connection) => take_on_sqlite(connection, wanted)?,
    };
    let mut taken: HashSet<String> = taken.into_iter().collect();
    Ok(batch.iter().map(|arrival| key(arrival).is_some_and(|key| !taken.remove(&key.to_string()))).collect())
}

#[derive(QueryableByName)]
struct Taken {
    #[diesel(sql_type = Text)]
    key: String,
}

/// If another open transaction has inserted a key, the statement waits until that transaction ends.
fn take_on_postgres(
    connection: &mut PgConnection,
    wanted: &[(String, i64)],
) -> Result<Vec<String>, StoreError> {
    let (keys, arrived_at): (Vec<&str>, Vec<i64>) =
        wanted.iter().map(|(key, at)| (key.as_str(), *at)).unzip();
    let taken: Vec<Taken> = prepared(
        "INSERT INTO report_keys (key, arrived_at)
         SELECT key, arrived_at
         FROM unnest(",
        (keys.into_sql::<Array<Text>>(), arrived_at.into_sql::<Array<BigInt>>()),
        ") AS new (key, arrived_at)
         ORDER BY key COLLATE \"C\"
         ON CONFLICT DO NOTHING
         RETURNING key",
    )
    .load(connection)?;
    Ok(taken.into_iter().map(|row| row.key).collect())
}

/// Only one transaction writes to SQLite at a time, so there is nothing to wait for.
fn take_on_sqlite(
    connection: &mut SqliteConnection,
    wanted: Vec<(String, i64)>,
) -> Result<Vec<String>, StoreError> {
    let mut taken = Vec::with_capacity(wanted.len());
    for (key, arrived_at) in wanted {
        let inserted = diesel::insert_or_ignore_into(report_keys::table)
            .values((report_keys::key.eq(&key), report_keys::arrived_at.eq(arrived_at)))
            .execute(connection)?;
        if inserted > 0 {
            taken.push(key);
        }
    }
    Ok(taken)
}

/// Gives back the keys of arrivals that were not recorded after all. Arrivals of the batch that counted as repeats of those
/// become `instead`.
pub(super) fn give_back(
    connection: &mut AnyConnection,
    batch: &[Arrival],
    resolved: &mut [Option<Resolved>],
    instead: Option<Resolved>,
) -> Result<(), StoreError> {
    let is_nothing = |resolved: &Option<Resolved>| {
        matches!(resolved, None | Some(Resolved::Unknown | Resolved::Refused(_)))
    };
    let unused: HashSet<Uuid> = batch
        .iter()
        .zip(resolved.iter())
        .filter(|(_, resolved)| is_nothing(resolved))
        .filter_map(|(arrival, _)| key(arrival))
        .collect();
    if unused.is_empty() {
        return Ok(());
    }
    let keys = unused.iter().map(Uuid::to_string);
    diesel::delete(report_keys::table.filter(report_keys::key.eq_any(keys))).execute(connection)?;
    for (arrival, resolved) in batch.iter().zip(resolved) {
        if matches!(resolved, Some(Resolved::Recorded))
            && key(arrival).is_some_and(|key| unused.contains(&key))
        {
            resolved.clone_from(&instead);
        }
    }
    Ok(())
}

impl Store {
    /// Deletes the keys of reports that arrived some minutes before `too_old`, the earliest time
    /// that a report may name now. Works in small steps, and stops between them when `go_on`
    /// returns false. Returns how many keys it deleted.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn forget_report_keys(&self, too_old: Time, go_on: &dyn Fn() -> bool) -> Result<usize, StoreError> {
        let connection = &mut *self.get()?;
        let mut forgotten = 0;
        while go_on() {
            let removed = sql_query(
                "DELETE FROM report_keys
                 WHERE key IN (SELECT key FROM report_keys WHERE arrived_at < $1 ORDER BY arrived_at LIMIT $2)",
            )
            .bind::<BigInt, _>(ms(too_old - LONGER))
            .bind::<BigInt, _>(CHUNK)
            .execute(connection)?;
            forgotten += removed;
            if removed == 0 {
                break;
            }
        }
        Ok(forgotten)
    }
}
