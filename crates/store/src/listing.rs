//! Lists reservations page by page.
//!
//! A page begins behind a key instead of at an offset, so that a late page costs as much as the
//! first. The keys of some reservations are read first, in the order of the page, and then their
//! rows. Only an evaluation ([`Assessed`]) can tell the state of a reservation. To list those in a
//! given state, SQL excludes reservations that are certainly in another one, and the rest are
//! loaded and looked at. More keys are read until the page is full or [`MOST_LOOKED_AT`]
//! reservations were examined.

mod keys;

use std::collections::HashMap;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};
use innkeeper_core::Time;
use innkeeper_core::assessed::Assessed;
use innkeeper_core::sla::State;

use crate::connection::AnyConnection;
use crate::readable::{Read, read};
use crate::rows::{ReservationRow, StateRow, ms};
use crate::schema::{reservations, states};
use crate::snapshot::at_one_time;
use crate::{LeftOut, Store, StoreError, reads};

pub use keys::{Filter, ListCursor};
use keys::{Key, keys, readable_keys};

/// The most reservations that are examined for one page, if it lists only those in a given state.
pub const MOST_LOOKED_AT: i64 = 10_000;
/// A page of reservations.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The reservations, in order.
    pub listed: Vec<Assessed>,
    /// Where the list continues. `None` at the end.
    pub next: Option<ListCursor>,
    /// How many reservations were examined, if [`MOST_LOOKED_AT`] ended the page before it was
    /// full.
    pub looked_at: Option<i64>,
}

/// A step of a walk through all reservations.
#[derive(Debug, Clone, PartialEq)]
pub struct Walked {
    /// The reservations of this step, by id. Rows that cannot be read are logged and left out.
    pub listed: Vec<Assessed>,
    /// Where the list continues. `None` at the end.
    pub next: Option<i64>,
}

impl Store {
    /// Up to `limit` reservations behind `cursor`, and where the next page begins. Rows that cannot
    /// be read are logged and left out.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn page(
        &self,
        filter: &Filter,
        cursor: &ListCursor,
        limit: i64,
        now: Time,
    ) -> Result<Page, StoreError> {
        // One snapshot for all queries: the order "worst first" lists the reservations with an open
        // alert, and then the others. A reservation that changed sides in between would be listed
        // twice or not at all.
        at_one_time(&mut *self.get()?, |connection| page(connection, filter, cursor, limit, now))
    }

    /// Up to `limit` reservations with ids greater than `after`, by id, for a walk through all
    /// reservations.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn walk(&self, after: i64, limit: i64, now: Time) -> Result<Walked, StoreError> {
        let (connection, mut left_out) = (&mut *self.get()?, LeftOut::default());
        let together: QueryResult<Vec<(ReservationRow, StateRow)>> = reservations::table
            .inner_join(states::table)
            .filter(reservations::id.gt(after))
            .order(reservations::id)
            .limit(limit)
            .select((ReservationRow::as_select(), StateRow::as_select()))
            .load(connection);
        let (ids, rows) = match together.map_err(StoreError::from) {
            Ok(rows) => (rows.iter().map(|(row, _)| row.id).collect::<Vec<i64>>(), rows),
            Err(error) if error.is_unavailable() => return Err(error),
            // At least one of the rows cannot be read. Read the others.
            Err(_) => {
                let ids: Vec<i64> = states::table
                    .filter(states::reservation_id.gt(after))
                    .order(states::reservation_id)
                    .limit(limit)
                    .select(states::reservation_id)
                    .load(connection)?;
                let rows = read_in_order(connection, &ids, &mut left_out)?;
                (ids, rows)
            }
        };
        let next = ids.last().copied().filter(|_| ids.len() as i64 == limit);
        let listed = reads::assessed(connection, rows, Some(&ids), now, &mut left_out)?;
        left_out.say();
        Ok(Walked { listed, next })
    }

    /// The reservation with this id, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if the reservation exists but cannot be read. Another
    /// `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn listed(&self, id: i64, now: Time) -> Result<Option<Assessed>, StoreError> {
        let (connection, mut left_out) = (&mut *self.get()?, LeftOut::default());
        let rows = read_in_order(connection, &[id], &mut left_out)?;
        let listed = reads::assessed(connection, rows, Some(&[id]), now, &mut left_out)?;
        match left_out.named.pop() {
            Some(unreadable) => Err(StoreError::Unreadable(unreadable)),
            None => Ok(listed.into_iter().next()),
        }
    }
}

/// See [`Store::page`].
fn page(
    connection: &mut AnyConnection,
    filter: &Filter,
    cursor: &ListCursor,
    limit: i64,
    now: Time,
) -> Result<Page, StoreError> {
    // One more than is shown, to learn whether there is a next page.
    let wanted = limit + 1;
    let mut cursor = Some(cursor.clone());
    let mut found: Vec<(Assessed, ListCursor)> = Vec::new();
    let (mut looked_at, mut left_out) = (0, LeftOut::default());
    while let Some(from) = cursor.take() {
        let chunk = match filter.state {
            None => wanted - found.len() as i64,
            Some(_) => from.chunk().min(MOST_LOOKED_AT - looked_at),
        };
        let keys = match keys(connection, filter, &from, chunk, now) {
            Err(error) if !error.is_unavailable() => {
                log::debug!("a page is made without what cannot be read: {error}");
                readable_keys(connection, filter, &from, chunk)?
            }
            keys => keys?,
        };
        looked_at += keys.len() as i64;
        cursor = match keys.last() {
            Some(last) if keys.len() as i64 == chunk => Some(from.behind(last)),
            _ => from.then(),
        };
        found.extend(rows_of(connection, filter, &from, &keys, now, &mut left_out)?);
        if found.len() as i64 >= wanted {
            left_out.say();
            found.truncate(limit as usize);
            let next = found.last().map(|(_, behind)| behind.clone());
            let listed = found.into_iter().map(|(listed, _)| listed).collect();
            return Ok(Page { listed, next, looked_at: None });
        }
        if filter.state.is_some() && looked_at >= MOST_LOOKED_AT {
            break;
        }
    }
    left_out.say();
    let listed = found.into_iter().map(|(listed, _)| listed).collect();
    Ok(Page { listed, looked_at: cursor.is_some().then_some(looked_at), next: cursor })
}

/// The reservations of these keys that match the filter, in the order of the keys. Each comes with
/// the cursor behind it.
fn rows_of(
    connection: &mut AnyConnection,
    filter: &Filter,
    cursor: &ListCursor,
    keys: &[Key],
    now: Time,
    left_out: &mut LeftOut,
) -> Result<Vec<(Assessed, ListCursor)>, StoreError> {
    let ids: Vec<i64> = keys.iter().map(|key| key.id).collect();
    let mut query = reservations::table
        .inner_join(states::table)
        .filter(reservations::id.eq_any(ids))
        .select((ReservationRow::as_select(), StateRow::as_select()))
        .into_boxed();
    if matches!(filter.state, Some(State::Late | State::Overdue | State::Held | State::Unobserved)) {
        // In these states a check-in is due already, or a run is over its limit. Exclude
        // reservations without a run limit whose period has not passed since their latest check-in.
        let period_ms = period_ms(connection);
        let by_now = |from: &str| format!("COALESCE({from}, 0) + {period_ms} <= ");
        query = query.filter(
            sql::<Bool>(&format!("({period_ms} IS NULL OR reservations.max_run_ms IS NOT NULL OR ("))
                .sql(&by_now("reservations.created_at"))
                .bind::<BigInt, _>(ms(now))
                .sql(&format!(" AND {}", by_now("states.last_checkin_at")))
                .bind::<BigInt, _>(ms(now))
                .sql(&format!(" AND {}", by_now("states.last_fail_at")))
                .bind::<BigInt, _>(ms(now))
                .sql("))"),
        );
    }
    let together: QueryResult<Vec<(ReservationRow, StateRow)>> = query.load(connection);
    let rows = match together.map_err(StoreError::from) {
        Ok(rows) => rows,
        Err(error) if error.is_unavailable() => return Err(error),
        Err(_) => {
            let ids: Vec<i64> = keys.iter().map(|key| key.id).collect();
            read_in_order(connection, &ids, left_out)?
        }
    };
    let ids: Vec<i64> = rows.iter().map(|(row, _)| row.id).collect();
    let assessed = reads::assessed(connection, rows, Some(&ids), now, left_out)?;
    let mut by_id: HashMap<i64, Assessed> =
        assessed.into_iter().map(|one| (one.reservation.id, one)).collect();
    // The owner and the tags are in the keys' query, too, unless a row could not be read there.
    let fits = |one: &Assessed| {
        let spec = &one.reservation.spec;
        filter.state.is_none_or(|state| one.evaluation.state == state)
            && filter.owner.as_ref().is_none_or(|owner| *owner == spec.owner)
            && filter.tag.as_ref().is_none_or(|tag| spec.tags.contains(tag))
    };
    Ok(keys
        .iter()
        .filter_map(|key| Some((by_id.remove(&key.id).filter(fits)?, cursor.behind(key))))
        .collect())
}

/// SQL for the period of a schedule, in milliseconds. It is NULL for a schedule without a fixed
/// period. [`Schedule::notation_as_written`] defines the forms.
///
/// [`Schedule::notation_as_written`]: innkeeper_core::schedule::Schedule::notation_as_written
fn period_ms(connection: &AnyConnection) -> String {
    let count = match connection {
        AnyConnection::Postgres(_) => {
            "CAST(substring(reservations.schedule FROM '^every ([0-9]{1,10})') AS BIGINT)"
        }
        AnyConnection::Sqlite(_) => "CAST(substr(reservations.schedule, 7) AS INTEGER)",
    };
    let units =
        [("s", 1000), (" seconds", 1000), (" minutes", 60_000), (" hours", 3_600_000), (" days", 86_400_000)];
    let form = |(unit, ms): (&str, i64)| format!(" WHEN 'every ' || {count} || '{unit}' THEN {count} * {ms}");
    format!("(CASE reservations.schedule{} END)", units.map(form).concat())
}

/// The rows of these reservations that can be read, by id.
fn read_in_order(
    connection: &mut AnyConnection,
    ids: &[i64],
    left_out: &mut LeftOut,
) -> Result<Vec<(ReservationRow, StateRow)>, StoreError> {
    let Read { mut rows, unreadable } = read(connection, ids)?;
    left_out.add_all(connection, unreadable)?;
    rows.sort_by_key(|(row, _)| row.id);
    Ok(rows)
}
