//! Finds the reservations that are due, and locks them.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use innkeeper_core::Time;

use super::aside::{AGAIN, aside};
use crate::StoreError;
use crate::connection::AnyConnection;
use crate::readable::list;
use crate::rows::ms;
use crate::schema::states;

/// Which reservations a sweep claims.
pub(crate) enum Claim<'a> {
    /// Those that are due, without those that were due before the given time. The number is the
    /// most that are claimed.
    Due(Option<Time>, i64),
    /// Those of these ids that are due.
    These(&'a [i64]),
}

#[derive(QueryableByName)]
struct Claimed {
    #[diesel(sql_type = BigInt)]
    reservation_id: i64,
}

/// The `wake_at` at which a search of the index begins. Without `from` it is the smallest there can
/// be.
pub(crate) fn begin(from: Option<Time>) -> i64 {
    from.map_or(i64::MIN, ms)
}

/// The ids of the reservations that are due, without locking them.
pub(crate) fn due_ids(
    connection: &mut AnyConnection,
    from: Option<Time>,
    now: Time,
    limit: i64,
) -> Result<Vec<i64>, StoreError> {
    let aside = aside(connection)?;
    due(connection, &Claim::Due(from, limit), &aside, now, "")
}

/// Locks the claimed reservations, and leaves out those that another sweeper has locked and those
/// that are put aside. On SQLite no lock is needed, because the transaction is the only one that
/// writes.
pub(super) fn claim(
    connection: &mut AnyConnection,
    claim: &Claim<'_>,
    aside: &[(i64, i64)],
    now: Time,
) -> Result<Vec<i64>, StoreError> {
    let lock = match connection {
        AnyConnection::Postgres(_) => "FOR UPDATE SKIP LOCKED",
        AnyConnection::Sqlite(_) => "",
    };
    due(connection, claim, aside, now, lock)
}

fn due(
    connection: &mut AnyConnection,
    claim: &Claim<'_>,
    aside: &[(i64, i64)],
    now: Time,
    lock: &str,
) -> Result<Vec<i64>, StoreError> {
    // The plus sign keeps planners from using the index of `wake_at`, which may lead to rows that
    // cannot be read.
    let (from, limit, these, wake_at) = match claim {
        Claim::Due(from, limit) => (*from, *limit, String::new(), "wake_at"),
        Claim::These(ids) => {
            (None, ids.len() as i64, format!("AND reservation_id IN ({})", list(ids)), "+wake_at")
        }
    };
    let later: Vec<i64> = aside.iter().filter(|(_, until)| *until > ms(now)).map(|(id, _)| *id).collect();
    let others = match later.is_empty() {
        true => String::new(),
        false => format!("AND reservation_id NOT IN ({})", list(&later)),
    };
    let rows: Vec<Claimed> = sql_query(format!(
        "SELECT reservation_id FROM states WHERE {wake_at} >= $1 AND {wake_at} <= $2 {these} {others}
         ORDER BY {wake_at} LIMIT $3 {lock}"
    ))
    .bind::<BigInt, _>(begin(from))
    .bind::<BigInt, _>(ms(now))
    .bind::<BigInt, _>(limit)
    .load(connection)?;
    Ok(rows.into_iter().map(|row| row.reservation_id).collect())
}

/// Postpones reservations that cannot be read, so that the others are swept without them.
pub(super) fn put_off(
    connection: &mut AnyConnection,
    corrupt: &[(i64, String)],
    now: Time,
) -> Result<(), StoreError> {
    for (id, _) in corrupt {
        let put_off = diesel::update(states::table.filter(states::reservation_id.eq(*id)))
            .set(states::wake_at.eq(ms(now + AGAIN)))
            .execute(connection);
        match (put_off.map_err(StoreError::from), &connection) {
            // Perhaps the row cannot be written either. The caller puts the reservation aside in a
            // table of its own.
            (Err(error), AnyConnection::Sqlite(_)) if !error.is_unavailable() => {
                log::debug!("reservation {id} is not put off: {error}");
            }
            (done, _) => drop(done?),
        }
    }
    Ok(())
}
