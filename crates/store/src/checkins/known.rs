//! Finds the reservations of a batch without a lock: by the cache of lookup keys, or by one query for each kind of target.
//!
//! What it finds is a hint. The update of the states checks that the reservation still has the lookup key, and what a hint does
//! not settle (a target that nobody knows, a definition that makes or changes a reservation) is left to [`super::resolve`].

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;
use innkeeper_core::brought;
use innkeeper_core::names::AlerterName;
use innkeeper_core::reservation::Patch;
use parking_lot::Mutex;
use uuid::Uuid;

use super::resolve::{Resolved, find_slugs, has_nul, known};
use super::{Arrival, Definition, LookupCache, Target, postgres, sqlite};
use crate::connection::AnyConnection;
use crate::rows::ReservationRow;
use crate::schema::reservations;
use crate::{StoreError, lookup_keys};

/// What is known of an arrival.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hint {
    /// None where it is not settled.
    pub resolved: Option<Resolved>,
    /// The lookup key that the reservation must still have.
    pub lookup_key: Option<Uuid>,
}

/// The lookup key that the target names, where it names one.
fn lookup_key(target: &Target) -> Option<Uuid> {
    match target {
        Target::Names(app, component) => Some(lookup_keys::of_names(app, component)),
        Target::Key(key) => Some(*key),
        Target::Slug { .. } => None,
    }
}

/// A hint for each arrival of the batch. Those of `recorded` were recorded before.
///
/// # Errors
/// A `StoreError` when the database cannot be reached, or refuses the statement.
pub(super) fn hints(
    connection: &mut AnyConnection,
    cache: &Mutex<LookupCache>,
    batch: &[Arrival],
    recorded: &[bool],
) -> Result<Vec<Hint>, StoreError> {
    let keys: Vec<Option<Uuid>> = batch.iter().map(|arrival| lookup_key(&arrival.target)).collect();
    let mut ids = by_lookup_keys(connection, cache, &keys)?;
    by_slugs(connection, batch, &mut ids)?;
    let unchanged = unchanged(connection, batch, &ids)?;
    // What is left over takes the others of its reservation along, so that they are written in their order.
    let mut left_over: HashSet<i64> = HashSet::new();
    let mut hints = Vec::with_capacity(batch.len());
    for ((((arrival, id), lookup_key), is_recorded), unchanged) in
        batch.iter().zip(&ids).zip(keys).zip(recorded).zip(unchanged)
    {
        let resolved = match (id, &arrival.definition) {
            _ if *is_recorded => Some(Resolved::Recorded),
            (None, _) => None,
            (Some(id), Definition::None | Definition::IfMissing(_)) => Some(known(*id)),
            (Some(id), Definition::Always(_)) => {
                unchanged.map(|alerters| Resolved::Known { id: *id, created: false, alerters })
            }
        };
        if resolved.is_none() {
            left_over.extend(id);
        }
        hints.push(Hint { resolved, lookup_key });
    }
    let mut key_of: HashMap<i64, Option<Uuid>> = HashMap::new();
    for hint in &hints {
        if let Some(Resolved::Known { id, .. }) = hint.resolved
            && *key_of.entry(id).or_insert(hint.lookup_key) != hint.lookup_key
        {
            // The update checks one lookup key of each reservation.
            left_over.insert(id);
        }
    }
    if !left_over.is_empty() {
        for hint in &mut hints {
            hint.resolved
                .take_if(|resolved| matches!(resolved, Resolved::Known { id, .. } if left_over.contains(id)));
        }
    }
    Ok(hints)
}

/// The reservations of the lookup keys, from the cache or looked up now; none for a lookup key without a reservation.
fn by_lookup_keys(
    connection: &mut AnyConnection,
    cache: &Mutex<LookupCache>,
    keys: &[Option<Uuid>],
) -> Result<Vec<Option<i64>>, StoreError> {
    let look = |cache: &LookupCache| keys.iter().map(|key| cache.id_of((*key)?)).collect::<Vec<_>>();
    let ids = look(&cache.lock());
    let unknown: Vec<Uuid> =
        keys.iter().zip(&ids).filter(|(_, id)| id.is_none()).filter_map(|(key, _)| *key).collect();
    if unknown.is_empty() {
        return Ok(ids);
    }
    let found = match connection {
        AnyConnection::Postgres(connection) => postgres::find(connection, unknown)?,
        AnyConnection::Sqlite(connection) => sqlite::find(connection, &unknown)?,
    };
    let mut cache = cache.lock();
    found.into_iter().for_each(|(lookup_key, id)| cache.remember(lookup_key, id));
    Ok(look(&cache))
}

/// Adds the reservations of the targets that are slugs.
fn by_slugs(
    connection: &mut AnyConnection,
    batch: &[Arrival],
    ids: &mut [Option<i64>],
) -> Result<(), StoreError> {
    let slugs: Vec<(&String, &String)> = batch
        .iter()
        .filter_map(|arrival| match &arrival.target {
            // No name has a NUL, and Postgres would refuse the whole batch for one.
            Target::Slug { ping_key, slug } if !has_nul(ping_key) && !has_nul(slug) => Some((ping_key, slug)),
            _ => None,
        })
        .collect();
    if slugs.is_empty() {
        return Ok(());
    }
    let found = find_slugs(connection, &slugs)?;
    for (arrival, place) in batch.iter().zip(ids) {
        if let Some(Resolved::Known { id, .. }) = found.get(&arrival.target) {
            *place = Some(*id);
        }
    }
    Ok(())
}

/// For each arrival that brings what it brought the last time, the `alerters` of its reservation.
fn unchanged(
    connection: &mut AnyConnection,
    batch: &[Arrival],
    ids: &[Option<i64>],
) -> Result<Vec<Option<Vec<AlerterName>>>, StoreError> {
    let brings = |(arrival, id): (&Arrival, &Option<i64>)| match arrival.definition {
        Definition::Always(_) => *id,
        Definition::None | Definition::IfMissing(_) => None,
    };
    let wanted: HashSet<i64> = batch.iter().zip(ids).filter_map(brings).collect();
    if wanted.is_empty() {
        return Ok(vec![None; batch.len()]);
    }
    let rows: Vec<ReservationRow> = reservations::table
        .filter(reservations::id.eq_any(wanted.iter().copied().collect::<Vec<i64>>()))
        .select(ReservationRow::as_select())
        .load(connection)?;
    let rows: HashMap<i64, ReservationRow> = rows.into_iter().map(|row| (row.id, row)).collect();
    let alerters = |(arrival, id): (&Arrival, &Option<i64>)| match &arrival.definition {
        Definition::Always(patch) => alerters_if_unchanged(rows.get(id.as_ref()?)?, patch),
        Definition::None | Definition::IfMissing(_) => None,
    };
    Ok(batch.iter().zip(ids).map(alerters).collect())
}

/// The `alerters` of a reservation, if its job brings what it brought the last time. None where its row cannot be read: what the job
/// brings may mend it.
fn alerters_if_unchanged(row: &ReservationRow, patch: &Patch) -> Option<Vec<AlerterName>> {
    if row.brought.as_deref() != Some(brought::text(patch).as_str()) {
        return None;
    }
    let spec = row.spec().ok()?;
    patch.check_for(Some(&spec)).ok()?;
    Some(spec.alerters)
}
