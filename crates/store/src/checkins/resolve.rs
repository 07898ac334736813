//! Finds the reservations that the arrivals of a batch name, and creates or changes those that
//! arrivals define.

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use innkeeper_core::names::{AlerterName, AppName, ComponentName};
use innkeeper_core::reservation::Patch;
use innkeeper_core::{Invalid, brought};

use super::{Arrival, Definition, Target, batch_time};
use crate::connection::AnyConnection;
use crate::reservation_rows::{find, lock_states};
use crate::reserve::{ReservationRequest, reserve_with_alerters};
use crate::reserve_many::{self, NewReservation};
use crate::schema::{ping_keys, reservations};
use crate::{Actor, Reserved, StoreError};

/// The advisory lock of batches that create reservations. The number is arbitrary; no other program
/// may use it on this database.
const LOCK: i64 = 0x1221_6b65_6570_6573;

/// The result of resolving a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resolved {
    Known {
        id: i64,
        created: bool,
        /// Its `alerters`, if the arrival carried a definition.
        alerters: Vec<AlerterName>,
    },
    /// The arrival's idempotency key was recorded before.
    Recorded,
    Unknown,
    Refused(Invalid),
}

impl Resolved {
    /// The reservation, where there is one.
    pub fn id(&self) -> Option<i64> {
        match self {
            Self::Known { id, .. } => Some(*id),
            Self::Recorded | Self::Unknown | Self::Refused(_) => None,
        }
    }
}

/// Resolves each target of the batch but those that are `known` to be recorded, making or changing the reservations that arrivals bring along.
///
/// Batches that create reservations take turns. Existing reservations are locked in id order before
/// any is changed. Thus batches that create and change the same reservations wait for each other
/// and never deadlock.
pub(crate) fn resolve(
    connection: &mut AnyConnection,
    batch: &[Arrival],
    known_before: &[bool],
) -> Result<Vec<Resolved>, StoreError> {
    let now = batch_time(batch).unwrap_or_default();
    let mut ids = find_all(connection, batch)?;
    let mut defined: HashMap<&Target, Resolved> = HashMap::new();
    let makes =
        |arrival: &Arrival| arrival.definition != Definition::None && !ids.contains_key(&arrival.target);
    let changes = |arrival: &Arrival| matches!(arrival.definition, Definition::Always(_));
    let mut made = HashMap::new();
    if batch.iter().any(makes) {
        one_at_a_time(connection)?;
        ids = find_all(connection, batch)?;
        lock_known(connection, &ids)?;
        made = make_new(connection, batch, known_before, &ids, now)?;
    } else if batch.iter().any(changes) {
        lock_known(connection, &ids)?;
    }
    let mut resolved = Vec::with_capacity(batch.len());
    for (place, (arrival, is_known)) in batch.iter().zip(known_before).enumerate() {
        if *is_known {
            resolved.push(Resolved::Recorded);
            continue;
        }
        if let Some(answer) = made.remove(&place) {
            if let Resolved::Known { id, .. } = &answer {
                defined.insert(&arrival.target, known(*id));
            }
            resolved.push(answer);
            continue;
        }
        let found = || defined.get(&arrival.target).or_else(|| ids.get(&arrival.target)).cloned();
        let answer = match &arrival.definition {
            Definition::None => found().unwrap_or(Resolved::Unknown),
            Definition::IfMissing(patch) => match found() {
                Some(answer) => answer,
                None => define(connection, arrival, patch, false, now)?,
            },
            Definition::Always(patch) => define(connection, arrival, patch, true, now)?,
        };
        if let Resolved::Known { id, .. } = &answer {
            defined.insert(&arrival.target, known(*id));
        }
        resolved.push(answer);
    }
    Ok(resolved)
}

/// A reservation that was there before.
pub(super) fn known(id: i64) -> Resolved {
    Resolved::Known { id, created: false, alerters: Vec::new() }
}

/// Lets only one batch at a time create reservations, until it commits. On SQLite no lock is
/// needed, because only one transaction writes at a time.
fn one_at_a_time(connection: &mut AnyConnection) -> Result<(), StoreError> {
    if let AnyConnection::Postgres(connection) = connection {
        sql_query("SELECT pg_advisory_xact_lock($1)").bind::<BigInt, _>(LOCK).execute(connection)?;
    }
    Ok(())
}

fn lock_known(connection: &mut AnyConnection, ids: &HashMap<Target, Resolved>) -> Result<(), StoreError> {
    lock_states(connection, &ids.values().filter_map(Resolved::id).collect::<Vec<_>>())
}

/// Makes the reservations that nobody has yet, of those that the batch brings along: all at once where nothing stands in their way.
/// Returns what the arrivals that made them resolve to, by their place in the batch.
fn make_new(
    connection: &mut AnyConnection,
    batch: &[Arrival],
    known_before: &[bool],
    ids: &HashMap<Target, Resolved>,
    now: innkeeper_core::Time,
) -> Result<HashMap<usize, Resolved>, StoreError> {
    let AnyConnection::Postgres(connection) = connection else { return Ok(HashMap::new()) };
    let mut seen: HashSet<(&AppName, &ComponentName)> = HashSet::new();
    let (mut places, mut new) = (Vec::new(), Vec::new());
    for (place, arrival) in batch.iter().enumerate() {
        let (Target::Names(app, component), false) = (&arrival.target, known_before[place]) else { continue };
        let (patch, brought) = match &arrival.definition {
            Definition::None => continue,
            Definition::IfMissing(patch) => (patch, None),
            Definition::Always(patch) => (patch, Some(brought::text(patch))),
        };
        if ids.contains_key(&arrival.target)
            || !seen.insert((app, component))
            || patch.check_for(None).is_err()
        {
            continue;
        }
        // What is wrong with it is said by who makes it alone.
        let Ok(spec) = patch.as_ref().clone().into_spec(app.clone(), component.clone()) else { continue };
        let by = Actor { who: arrival.checkin.by.clone(), source: arrival.checkin.source.clone() };
        places.push(place);
        new.push(NewReservation { spec, brought, by });
    }
    let made = reserve_many::make(connection, &new, now)?;
    let answers = places.into_iter().zip(made).zip(new).filter_map(|((place, id), new)| {
        Some((place, Resolved::Known { id: id?, created: true, alerters: new.spec.alerters }))
    });
    Ok(answers.collect())
}

fn define(
    connection: &mut AnyConnection,
    arrival: &Arrival,
    patch: &Patch,
    is_brought: bool,
    now: innkeeper_core::Time,
) -> Result<Resolved, StoreError> {
    let Arrival { target, checkin, .. } = arrival;
    let by = Actor { who: checkin.by.clone(), source: checkin.source.clone() };
    let wish = ReservationRequest { patch, is_brought, by: &by };
    let (reserved, alerters) = match target {
        Target::Names(app, component) => reserve_with_alerters(connection, app, component, wish, now)?,
        Target::Slug { ping_key, slug } if !has_nul(ping_key) && !has_nul(slug) => {
            // An earlier arrival of the batch may just have created it.
            if let Some(found) = find_slugs(connection, &[(ping_key, slug)])?.remove(target) {
                return Ok(found);
            }
            let app: Option<String> = ping_keys::table
                .filter(ping_keys::key.eq(ping_key))
                .select(ping_keys::app)
                .first(connection)
                .optional()?;
            let Some(app) = app.map(AppName::trusted) else { return Ok(Resolved::Unknown) };
            let component = ComponentName::trusted(slug.clone());
            // If there is a component with exactly this name, it is meant although it has another
            // slug.
            if let Some(row) = find(connection, &app, &component)? {
                return Ok(known(row.id));
            }
            let patch = Patch { slug: Some(slug.clone()), ..patch.clone() };
            reserve_with_alerters(
                connection,
                &app,
                &component,
                ReservationRequest { patch: &patch, ..wish },
                now,
            )?
        }
        Target::Slug { .. } | Target::Key(_) => return Ok(Resolved::Unknown),
    };
    Ok(match reserved {
        Reserved::Created(id) => Resolved::Known { id, created: true, alerters },
        Reserved::Changed(id) | Reserved::Unchanged(id) => Resolved::Known { id, created: false, alerters },
        Reserved::Incomplete(problem) => Resolved::Refused(problem),
    })
}

/// The reservations that the batch names. Targets without a reservation are left out.
pub(super) fn find_all(
    connection: &mut AnyConnection,
    batch: &[Arrival],
) -> Result<HashMap<Target, Resolved>, StoreError> {
    let (mut names, mut keys, mut slugs) = (Vec::new(), Vec::new(), Vec::new());
    for arrival in batch {
        match &arrival.target {
            Target::Names(app, component) => names.push((app, component)),
            Target::Key(key) => keys.push(*key),
            // No reservation has a NUL in its slug, and for a NUL Postgres would refuse the whole
            // batch.
            Target::Slug { ping_key, slug } if has_nul(ping_key) || has_nul(slug) => {}
            Target::Slug { ping_key, slug } => slugs.push((ping_key, slug)),
        }
    }
    let mut found = HashMap::new();
    if !names.is_empty() {
        names.sort();
        names.dedup();
        let rows = match connection {
            AnyConnection::Postgres(connection) => super::postgres::find_names(connection, &names)?,
            AnyConnection::Sqlite(connection) => super::sqlite::find_names(connection, &names)?,
        };
        for (id, app, component) in rows {
            let target = Target::Names(AppName::trusted(app), ComponentName::trusted(component));
            found.insert(target, known(id));
        }
    }
    if !keys.is_empty() {
        let texts: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let rows: Vec<(i64, String)> = reservations::table
            .filter(reservations::key.eq_any(texts))
            .select((reservations::id, reservations::key))
            .load(connection)?;
        for (id, key) in rows {
            if let Ok(key) = key.parse() {
                found.insert(Target::Key(key), known(id));
            }
        }
    }
    if !slugs.is_empty() {
        found.extend(find_slugs(connection, &slugs)?);
    }
    Ok(found)
}

/// The reservations with these slugs, in the apps of these ping keys. If no reservation has a slug, the one counts that had it before
/// slugs were stored.
pub(super) fn find_slugs(
    connection: &mut AnyConnection,
    slugs: &[(&String, &String)],
) -> Result<HashMap<Target, Resolved>, StoreError> {
    let keys: Vec<&String> = slugs.iter().map(|(key, _)| *key).collect();
    let apps: HashMap<String, String> = ping_keys::table
        .filter(ping_keys::key.eq_any(keys))
        .select((ping_keys::app, ping_keys::key))
        .load::<(String, String)>(connection)?
        .into_iter()
        .collect();
    let of_apps = || reservations::table.filter(reservations::app.eq_any(apps.keys()));
    let mut found = HashMap::new();
    let mut add = |rows: Vec<(i64, String, String)>| {
        for (id, app, slug) in rows {
            let Some(ping_key) = apps.get(&app).cloned() else { continue };
            found.insert(Target::Slug { ping_key, slug }, known(id));
        }
        let is_missing = |(key, slug): &&(&String, &String)| {
            !found.contains_key(&Target::Slug { ping_key: (*key).clone(), slug: (*slug).clone() })
        };
        slugs.iter().filter(is_missing).map(|(_, slug)| *slug).collect::<Vec<&String>>()
    };
    let wanted: Vec<&String> = slugs.iter().map(|(_, slug)| *slug).collect();
    let missing = add(of_apps()
        .filter(reservations::slug.eq_any(wanted))
        .select((reservations::id, reservations::app, reservations::slug))
        .load(connection)?);
    if !missing.is_empty() {
        add(of_apps()
            .filter(reservations::old_slug.eq_any(missing))
            .select((reservations::id, reservations::app, reservations::old_slug.assume_not_null()))
            .load(connection)?);
    }
    Ok(found)
}

pub(super) fn has_nul(text: &str) -> bool {
    text.contains('\0')
}
