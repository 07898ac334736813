//! Makes many reservations at once on Postgres, with one statement for each table.
//!
//! Only what nothing stands in the way of is made here: its names and the slug that is made of its component are nobody's, and were
//! nobody's that can come back. The others are left to `reserve.rs`, one by one. SQLite has no round trips to save, so there all are.

use std::collections::{HashMap, HashSet};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Text, Uuid as SqlUuid};
use innkeeper_core::reservation::{Conclusions, Reservation, Spec};
use innkeeper_core::{Time, slug};
use uuid::Uuid;

use crate::prepared::prepared;
use crate::rows::{TermsRow, ms};
use crate::schema::{audit, ping_keys, reservations};
use crate::{Actor, StoreError, lookup_keys, reserve};

/// A reservation to make.
pub(crate) struct NewReservation {
    /// What it asks for. It is checked.
    pub spec: Spec,
    /// What its job brought along, if it is kept; see [`innkeeper_core::brought`].
    pub brought: Option<String>,
    /// Who makes it.
    pub by: Actor,
}

/// Makes those of `wanted` that nothing stands in the way of. Returns the id of each in their order; none for one that was not made.
/// The caller has the other batches that make reservations wait.
pub(crate) fn make(
    connection: &mut PgConnection,
    wanted: &[NewReservation],
    now: Time,
) -> Result<Vec<Option<i64>>, StoreError> {
    let mut made = vec![None; wanted.len()];
    let mut rows: Vec<(usize, TermsRow)> = Vec::with_capacity(wanted.len());
    let mut addresses: HashSet<(String, String)> = HashSet::new();
    for (place, new) in wanted.iter().enumerate() {
        let mut row = TermsRow::from(&new.spec);
        if row.slug.is_empty() {
            row.slug = slug::of(&row.component);
        }
        let is_ahead = new.spec.schedule.check_ahead(now).is_ok();
        if is_ahead && !row.slug.is_empty() && addresses.insert((row.app.clone(), row.slug.clone())) {
            rows.push((place, row));
        }
    }
    let hindered = hindered(connection, &rows)?;
    rows.retain(|(place, _)| !hindered.contains(&(*place as i32)));
    if rows.is_empty() {
        return Ok(made);
    }
    add_ping_keys(connection, &rows)?;
    let keys: Vec<Uuid> = rows.iter().map(|_| Uuid::new_v4()).collect();
    let values: Vec<_> = rows
        .iter()
        .zip(&keys)
        .map(|((place, row), key)| {
            (
                reservations::key.eq(key.to_string()),
                row,
                reservations::brought.eq(&wanted[*place].brought),
                reservations::created_at.eq(ms(now)),
                reservations::updated_at.eq(ms(now)),
            )
        })
        .collect();
    let inserted: Vec<(i64, String)> = diesel::insert_into(reservations::table)
        .values(values)
        .on_conflict_do_nothing()
        .returning((reservations::id, reservations::key))
        .load(connection)?;
    let ids: HashMap<String, i64> = inserted.into_iter().map(|(id, key)| (key, id)).collect();
    let mut new: Vec<Reservation> = Vec::with_capacity(rows.len());
    for ((place, _), key) in rows.iter().zip(keys) {
        let Some(id) = ids.get(&key.to_string()).copied() else { continue };
        made[*place] = Some(id);
        new.push(Reservation {
            id,
            key,
            spec: wanted[*place].spec.clone(),
            created_at: now,
            facts: Default::default(),
            conclusions: Conclusions::fresh(now),
        });
    }
    open(connection, &new, now)?;
    note(connection, wanted.iter().zip(&made).filter(|(_, id)| id.is_some()).map(|(new, _)| new), now)?;
    Ok(made)
}

#[derive(QueryableByName)]
struct HinderedRow {
    #[diesel(sql_type = Integer)]
    place: i32,
}

/// The places of those whose names or slug are, or were, another's.
fn hindered(connection: &mut PgConnection, rows: &[(usize, TermsRow)]) -> Result<HashSet<i32>, StoreError> {
    let texts = |value: fn(&TermsRow) -> &String| {
        rows.iter().map(|(_, row)| value(row).as_str()).collect::<Vec<_>>().into_sql::<Array<Text>>()
    };
    let found: Vec<HinderedRow> = prepared(
        "SELECT new.place FROM unnest(",
        (
            rows.iter().map(|(place, _)| *place as i32).collect::<Vec<_>>().into_sql::<Array<Integer>>(),
            texts(|row| &row.app),
            texts(|row| &row.component),
            texts(|row| &row.slug),
        ),
        ") AS new (place, app, component, slug)
         WHERE EXISTS (SELECT 1 FROM reservations r WHERE r.app = new.app AND r.component = new.component)
             OR EXISTS (SELECT 1 FROM reservations r WHERE r.app = new.app AND r.slug = new.slug)
             OR EXISTS (SELECT 1 FROM reservations r WHERE r.app = new.app AND r.old_slug = new.slug)
             OR EXISTS (SELECT 1 FROM checkouts c WHERE c.app = new.app AND c.component = new.component)
             OR EXISTS (SELECT 1 FROM checkouts c WHERE c.app = new.app AND c.slug = new.slug)
             OR EXISTS (SELECT 1 FROM checkouts c WHERE c.app = new.app AND c.old_slug = new.slug)
             OR EXISTS (SELECT 1 FROM checkouts c WHERE c.app = new.app AND c.slug IS NULL)",
    )
    .load(connection)?;
    Ok(found.into_iter().map(|row| row.place).collect())
}

/// Makes the ping keys of apps that have none, in their order, so that batches that make them wait for each other and never deadlock.
fn add_ping_keys(connection: &mut PgConnection, rows: &[(usize, TermsRow)]) -> Result<(), StoreError> {
    let mut apps: Vec<&str> = rows.iter().map(|(_, row)| row.app.as_str()).collect();
    apps.sort_unstable();
    apps.dedup();
    let known: Vec<String> = ping_keys::table
        .filter(ping_keys::app.eq_any(apps.clone()))
        .select(ping_keys::app)
        .load(connection)?;
    let known: HashSet<&str> = known.iter().map(String::as_str).collect();
    let new: Vec<_> = apps
        .into_iter()
        .filter(|app| !known.contains(app))
        .map(|app| (ping_keys::app.eq(app), ping_keys::key.eq(Uuid::new_v4().simple().to_string())))
        .collect();
    if !new.is_empty() {
        diesel::insert_into(ping_keys::table).values(new).on_conflict_do_nothing().execute(connection)?;
    }
    Ok(())
}

/// Opens the lookup keys of new reservations, and makes their states.
fn open(connection: &mut PgConnection, new: &[Reservation], now: Time) -> Result<(), StoreError> {
    let first: Vec<Conclusions> = new.iter().map(|one| Conclusions::first(one, now)).collect();
    let keys: Vec<[Uuid; 2]> =
        new.iter().map(|one| lookup_keys::of(&one.spec.app, &one.spec.component, one.key)).collect();
    let ids = || new.iter().map(|one| one.id).collect::<Vec<_>>().into_sql::<Array<BigInt>>();
    let keys =
        |which: usize| keys.iter().map(|both| both[which]).collect::<Vec<_>>().into_sql::<Array<SqlUuid>>();
    prepared(
        "INSERT INTO lookup_keys (reservation_id, lookup_key)
         SELECT new.id, key
         FROM unnest(",
        (ids(), keys(0), keys(1)),
        ") AS new (id, names_key, ping_key), LATERAL (VALUES (names_key), (ping_key)) AS of_it (key)",
    )
    .execute(connection)?;
    prepared(
        "INSERT INTO states (reservation_id, names_key, ping_key, wake_at, eager)
         SELECT * FROM unnest(",
        (
            ids(),
            keys(0),
            keys(1),
            first.iter().map(|one| ms(one.wake_at)).collect::<Vec<_>>().into_sql::<Array<BigInt>>(),
            first.iter().map(|one| one.eager).collect::<Vec<_>>().into_sql::<Array<Bool>>(),
        ),
        ")",
    )
    .execute(connection)?;
    Ok(())
}

/// Writes down who made them.
fn note<'a>(
    connection: &mut PgConnection,
    made: impl Iterator<Item = &'a NewReservation>,
    now: Time,
) -> Result<(), StoreError> {
    let entries: Vec<_> = made
        .map(|NewReservation { spec, by, .. }| {
            (
                audit::at.eq(ms(now)),
                audit::who.eq(&by.who),
                audit::source.eq(&by.source),
                audit::action.eq(reserve::MAKE),
                audit::subject.eq(format!("{}/{}", spec.app, spec.component)),
                audit::detail.eq(""),
            )
        })
        .collect();
    diesel::insert_into(audit::table).values(entries).execute(connection)?;
    Ok(())
}
