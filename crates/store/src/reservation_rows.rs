//! Finding, locking and inserting rows of reservations, for all files that change reservations.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;
use innkeeper_core::Time;
use innkeeper_core::names::{AppName, ComponentName};
use uuid::Uuid;

use crate::StoreError;
use crate::connection::AnyConnection;
use crate::rows::{ReservationRow, TermsRow, ms};
use crate::schema::{ping_keys, reservations, states};

pub(crate) fn find(
    connection: &mut AnyConnection,
    app: &AppName,
    component: &ComponentName,
) -> Result<Option<ReservationRow>, StoreError> {
    Ok(reservations::table
        .filter(reservations::app.eq(app.as_str()))
        .filter(reservations::component.eq(component.as_str()))
        .select(ReservationRow::as_select())
        .first(connection)
        .optional()?)
}

/// The row of this number.
pub(crate) fn find_by_id(
    connection: &mut AnyConnection,
    id: i64,
) -> Result<Option<ReservationRow>, StoreError> {
    Ok(reservations::table
        .filter(reservations::id.eq(id))
        .select(ReservationRow::as_select())
        .first(connection)
        .optional()?)
}

/// Locks the states of the reservations `ids` in the order of their ids, as every transaction does.
/// On SQLite nothing needs to be locked, because the transaction that writes is the only one.
pub(crate) fn lock_states(connection: &mut AnyConnection, ids: &[i64]) -> Result<(), StoreError> {
    if let AnyConnection::Postgres(connection) = connection {
        states::table
            .filter(states::reservation_id.eq_any(ids))
            .order(states::reservation_id)
            .select(states::reservation_id)
            .for_update()
            .load::<i64>(connection)?;
    }
    Ok(())
}

/// See [`crate::Store::ping_key`].
pub(crate) fn ping_key(connection: &mut AnyConnection, app: &str) -> Result<String, StoreError> {
    let known: Option<String> = ping_keys::table
        .filter(ping_keys::app.eq(app))
        .select(ping_keys::key)
        .first(connection)
        .optional()?;
    if let Some(key) = known {
        return Ok(key);
    }
    sql_query("INSERT INTO ping_keys (app, key) VALUES ($1, $2) ON CONFLICT (app) DO NOTHING")
        .bind::<Text, _>(app)
        .bind::<Text, _>(Uuid::new_v4().simple().to_string())
        .execute(connection)?;
    Ok(ping_keys::table.filter(ping_keys::app.eq(app)).select(ping_keys::key).first(connection)?)
}

/// Notes for the sweeper which of the terms that it judges by have changed since it looked last.
pub(crate) fn note_changed(connection: &mut AnyConnection, id: i64, changed: &str) -> Result<(), StoreError> {
    let known: Option<Option<String>> = states::table
        .filter(states::reservation_id.eq(id))
        .select(states::changed)
        .first(connection)
        .optional()?;
    let known = known.flatten().unwrap_or_default();
    let mut fields: Vec<&str> = known.split(", ").filter(|field| !field.is_empty()).collect();
    for field in changed.split(", ") {
        if !fields.contains(&field) {
            fields.push(field);
        }
    }
    diesel::update(states::table.filter(states::reservation_id.eq(id)))
        .set(states::changed.eq(fields.join(", ")))
        .execute(connection)?;
    Ok(())
}

/// The end of a snooze, as the audit log writes it.
pub(crate) fn snooze_end(until: Time) -> String {
    until.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Inserts the row of a reservation, with the number `id` if one is given. None when its names or
/// its slug are taken.
pub(crate) fn insert(
    connection: &mut AnyConnection,
    id: Option<i64>,
    key: Uuid,
    row: &TermsRow,
    created_at: Time,
) -> Result<Option<i64>, StoreError> {
    macro_rules! insert {
        ($connection:expr) => {
            diesel::insert_into(reservations::table)
                .values((
                    id.map(|id| reservations::id.eq(id)),
                    reservations::key.eq(key.to_string()),
                    row,
                    reservations::created_at.eq(ms(created_at)),
                    reservations::updated_at.eq(ms(created_at)),
                ))
                .on_conflict_do_nothing()
                .returning(reservations::id)
                .get_result($connection)
                .optional()?
        };
    }
    // A macro, because the types of the two databases' `RETURNING` queries differ.
    Ok(match connection {
        AnyConnection::Postgres(connection) => insert!(connection),
        AnyConnection::Sqlite(connection) => insert!(connection),
    })
}
