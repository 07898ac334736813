//! The fast path for the most frequent check-in: a success without a definition, figures, a run id
//! or a report of an agent, for a reservation that never had a start.
//!
//! The cache of lookup keys names the reservations. Prepared statements update the facts of those
//! that still have their lookup key, and add the history. All other check-ins are not written and
//! take the general path: those whose lookup key is gone, whose reservation has runs, or whose
//! reservation has several check-ins in the batch.

mod lookup_cache;
mod postgres;
mod sqlite;

use std::sync::Arc;

use innkeeper_core::checkin::{CheckIn, CheckInKind};
use parking_lot::{Mutex, MutexGuard};
use uuid::Uuid;

use super::{Arrival, Definition, FastPath, Recorded, Target};
use crate::connection::{AnyConnection, write_on};
use crate::database_file::DatabaseFile;
use crate::{StoreError, guard, lookup_keys};

pub(crate) use lookup_cache::LookupCache;

/// A check-in on the fast path.
struct Plain<'a> {
    id: i64,
    lookup_key: Uuid,
    checkin: &'a CheckIn,
    /// Its index in the batch.
    place: usize,
}

/// The result of one check-in that was written.
struct Update {
    id: i64,
    /// Whether the reservation is due for a sweep now.
    wake: bool,
}

/// The lookup key of the target. `None` for a slug, which has none.
fn lookup_key(target: &Target) -> Option<Uuid> {
    match target {
        Target::Names(app, component) => Some(lookup_keys::of_names(app, component)),
        Target::Key(key) => Some(*key),
        Target::Slug { .. } => None,
    }
}

fn may_be_short(arrival: &Arrival) -> bool {
    let CheckIn { kind, run_id, report, figures, .. } = &arrival.checkin;
    *kind == CheckInKind::Success
        && run_id.is_none()
        && report.is_none()
        && figures.is_empty()
        && arrival.definition == Definition::None
}

/// Writes the arrivals of the batch that can take the fast path, in one transaction.
pub(super) fn record(
    file: Option<&Arc<DatabaseFile>>,
    connection: &mut AnyConnection,
    known: &Mutex<LookupCache>,
    batch: &[Arrival],
) -> Result<FastPath, StoreError> {
    let lookup_keys: Vec<(Uuid, usize)> = batch
        .iter()
        .enumerate()
        .filter_map(|(place, arrival)| Some((lookup_key(&arrival.target)?, place)))
        .collect();
    let ids = find(connection, known, &lookup_keys)?;
    let mut plain: Vec<Plain<'_>> = lookup_keys
        .into_iter()
        .zip(ids)
        .filter_map(|((lookup_key, place), id)| {
            Some(Plain { id: id?, lookup_key, checkin: &batch[place].checkin, place })
        })
        .collect();
    // Write in the order of the reservations' ids, so that two nodes' batches cannot deadlock.
    // Several check-ins of one reservation take the general path together, which keeps their order.
    plain.sort_unstable_by_key(|plain| (plain.id, plain.place));
    remove_all_of_equals(&mut plain);
    plain.retain(|plain| may_be_short(&batch[plain.place]));

    let mut fast_path = FastPath { recorded: vec![None; batch.len()], wake: false };
    if plain.is_empty() {
        return Ok(fast_path);
    }
    let alone = match connection {
        AnyConnection::Postgres(connection) => guard::begins_with(connection).is_none(),
        AnyConnection::Sqlite(_) => false,
    };
    let write = |connection: &mut AnyConnection| match connection {
        AnyConnection::Sqlite(connection) => sqlite::write(connection, &plain),
        AnyConnection::Postgres(connection) => postgres::write(connection, &plain),
    };
    // On Postgres the statement is its own transaction, unless transactions have to begin with
    // settings.
    let written = if alone { write(connection)? } else { write_on(file, connection, write)? };
    for Update { id, wake } in written {
        if let Ok(found) = plain.binary_search_by_key(&id, |plain| plain.id) {
            fast_path.recorded[plain[found].place] =
                Some(Recorded::Done { reservation_id: id, created: false, alerters: Vec::new() });
        }
        fast_path.wake |= wake;
    }
    let closed = plain.iter().filter(|plain| fast_path.recorded[plain.place].is_none());
    closed.for_each(|plain| lock(known).forget(plain.lookup_key));
    Ok(fast_path)
}

/// The reservations of the lookup keys, from the cache or from the database. `None` for a lookup
/// key without a reservation.
fn find(
    connection: &mut AnyConnection,
    known: &Mutex<LookupCache>,
    lookup_keys: &[(Uuid, usize)],
) -> Result<Vec<Option<i64>>, StoreError> {
    let look = |known: &LookupCache| {
        lookup_keys.iter().map(|(lookup_key, _)| known.id_of(*lookup_key)).collect::<Vec<_>>()
    };
    let ids = look(&lock(known));
    let unknown: Vec<Uuid> = lookup_keys
        .iter()
        .zip(&ids)
        .filter(|(_, id)| id.is_none())
        .map(|((lookup_key, _), _)| *lookup_key)
        .collect();
    if unknown.is_empty() {
        return Ok(ids);
    }
    let found = match connection {
        AnyConnection::Postgres(connection) => postgres::find(connection, &unknown)?,
        AnyConnection::Sqlite(connection) => sqlite::find(connection, &unknown)?,
    };
    let mut known = lock(known);
    found.into_iter().for_each(|(lookup_key, id)| known.remember(lookup_key, id));
    Ok(look(&known))
}

fn lock(known: &Mutex<LookupCache>) -> MutexGuard<'_, LookupCache> {
    known.lock()
}

/// Removes the check-ins of reservations that have more than one of them.
fn remove_all_of_equals(plain: &mut Vec<Plain<'_>>) {
    let mut last = None;
    let repeated: Vec<i64> = plain
        .iter()
        .filter_map(|plain| (last.replace(plain.id) == Some(plain.id)).then_some(plain.id))
        .collect();
    if !repeated.is_empty() {
        plain.retain(|plain| repeated.binary_search(&plain.id).is_err());
    }
}

/// The SET clause of the update, in SQL for both databases; `new` is the check-in. CASE replaces
/// GREATEST and LEAST, because SQLite has no equivalents that ignore NULL. The clause is in two
/// parts because Postgres needs a COLLATE between them; without it, Postgres compares the texts by
/// its locale.
const SET: [&str; 2] = [
    "last_checkin_at = CASE WHEN new.at < s.last_checkin_at THEN s.last_checkin_at ELSE new.at END,
     last_source = CASE
         WHEN new.at < s.last_seen_at OR new.at = s.last_seen_at AND s.last_source > new.source",
    "    THEN s.last_source ELSE new.source END,
     last_seen_at = CASE WHEN new.at < s.last_seen_at THEN s.last_seen_at ELSE new.at END,
     runs_over_at = CASE WHEN new.at < s.runs_over_at THEN s.runs_over_at ELSE new.at END,
     checkins = s.checkins + 1,
     wake_at = CASE WHEN (s.eager OR s.status = 'down') AND new.at < s.wake_at THEN new.at ELSE s.wake_at END,
     previous_checkin_id = s.latest_checkin_id,
     latest_checkin_id = new.id",
];
