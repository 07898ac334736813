//! Making a reservation, or changing the one that is there, as somebody asks.

use std::borrow::Cow;

use diesel::prelude::*;
use innkeeper_core::names::{AlerterName, AppName, ComponentName};
use innkeeper_core::reservation::{Conclusions, Patch, Reservation, Spec};
use innkeeper_core::{Time, brought};
use uuid::Uuid;

use crate::connection::AnyConnection;
use crate::reservation_rows::{find, ping_key};
use crate::rows::ms;
use crate::schema::reservations;
use crate::terms::{Reserved, change};
use crate::{Actor, StoreError, audit, lookup_keys, slugs};

/// A wish for a reservation, and whose it is.
#[derive(Clone, Copy)]
pub(crate) struct ReservationRequest<'w> {
    /// What is wished.
    pub patch: &'w Patch,
    /// Whether a job brings it along with a check-in: of it counts what differs from what it brought the last time.
    pub is_brought: bool,
    /// Whose it is.
    pub by: &'w Actor,
}

/// The making of a reservation in the audit log.
pub(crate) const MAKE: &str = "make reservation";
/// A change of its spec there.
const CHANGE: &str = "change reservation";

/// Makes a reservation, or changes the one that is there. Returns also the `alerters` that it has then.
pub(crate) fn reserve_with_alerters(
    connection: &mut AnyConnection,
    app: &AppName,
    component: &ComponentName,
    ReservationRequest { patch, is_brought, by }: ReservationRequest<'_>,
    now: Time,
) -> Result<(Reserved, Vec<AlerterName>), StoreError> {
    let brought = is_brought.then(|| brought::text(patch));
    // Again only when another process makes or removes it between the look and the deed.
    for _ in 0..3 {
        let found = find(connection, app, component)?;
        let before = found.as_ref().map(|row| row.terms_with(patch.other_schedule())).transpose()?;
        if let Err(problem) = patch.check_for(before.as_ref()) {
            return Ok((Reserved::Incomplete(problem), Vec::new()));
        }
        if let Some((row, before)) = found.zip(before) {
            let mut patch = Cow::Borrowed(patch);
            // Where the reservation cannot be read as it is, all that is brought along may mend it.
            if let Some(brought) = brought.as_ref().filter(|_| row.spec().is_ok()) {
                match &row.brought {
                    Some(last) if last == brought => {
                        return Ok((Reserved::Unchanged(row.id), before.alerters));
                    }
                    Some(last) => patch = Cow::Owned(brought::news(patch.into_owned(), last)),
                    // Whether a person changed something since is not known: the job is heard when it says something else.
                    None => patch = Cow::Owned(Patch::default()),
                }
            }
            let id = row.id;
            let spec = patch.clone().into_owned().applied_to(before.clone());
            if let Err(problem) = spec.check() {
                return Ok((Reserved::Incomplete(problem), Vec::new()));
            }
            match change(connection, row, &patch, now) {
                Ok(Some(reserved)) => {
                    note_brought(connection, id, brought.as_deref())?;
                    if let Reserved::Changed(_) = reserved {
                        note_change(connection, by, is_brought, &before, &spec, now)?;
                    }
                    return Ok((reserved, spec.alerters));
                }
                Ok(None) => continue,
                Err(StoreError::Invalid(problem)) => return Ok((Reserved::Incomplete(problem), Vec::new())),
                Err(error) => return Err(error),
            }
        }
        let spec = match patch.clone().into_spec(app.clone(), component.clone()) {
            Ok(spec) => spec,
            Err(problem) => return Ok((Reserved::Incomplete(problem), Vec::new())),
        };
        let alerters = spec.alerters.clone();
        match create(connection, spec.clone(), now) {
            Ok(Some(id)) => {
                note_brought(connection, id, brought.as_deref())?;
                note_terms(connection, by, None, &spec, now)?;
                return Ok((Reserved::Created(id), alerters));
            }
            Ok(None) => {}
            Err(StoreError::Invalid(problem)) => return Ok((Reserved::Incomplete(problem), Vec::new())),
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Unavailable(format!("{app}/{component} is being made and removed at the same time")))
}

/// Writes down who made or changed a reservation.
pub(crate) fn note_terms(
    connection: &mut AnyConnection,
    by: &Actor,
    before: Option<&Spec>,
    after: &Spec,
    now: Time,
) -> Result<(), StoreError> {
    let action = if before.is_some() { CHANGE } else { MAKE };
    let subject = format!("{}/{}", after.app, after.component);
    let detail = before.map_or_else(String::new, |before| before.difference(after).join("\n"));
    audit::add(connection, by, action, &subject, &detail, now)
}

/// Writes down who changed a reservation. Two machines that bring different specs for one job change it back and forth: of that
/// the log has each change once an hour.
fn note_change(
    connection: &mut AnyConnection,
    by: &Actor,
    is_brought: bool,
    before: &Spec,
    after: &Spec,
    now: Time,
) -> Result<(), StoreError> {
    let subject = format!("{}/{}", after.app, after.component);
    let detail = before.difference(after).join("\n");
    if is_brought && audit::has_lately(connection, by, CHANGE, &subject, &detail, now)? {
        return Ok(());
    }
    audit::add(connection, by, CHANGE, &subject, &detail, now)
}

/// Keeps what a job brought along, where it did.
fn note_brought(connection: &mut AnyConnection, id: i64, brought: Option<&str>) -> Result<(), StoreError> {
    if let Some(brought) = brought {
        diesel::update(reservations::table.filter(reservations::id.eq(id)))
            .set(reservations::brought.eq(brought))
            .execute(connection)?;
    }
    Ok(())
}

/// Inserts a reservation and its state; none when its names are taken.
pub(crate) fn create(
    connection: &mut AnyConnection,
    spec: Spec,
    now: Time,
) -> Result<Option<i64>, StoreError> {
    spec.schedule.check_ahead(now).map_err(StoreError::Invalid)?;
    // Made with the first reservation of the app, so that whoever reads the reservation can read its ping address;
    // and before it, so that whoever makes a reservation of a new app waits for others here, and holds nothing yet.
    ping_key(connection, spec.app.as_str())?;
    let key = Uuid::new_v4();
    let Some(id) = slugs::insert_with_slug(connection, None, key, &spec, now)? else { return Ok(None) };
    let reservation = Reservation {
        id,
        key,
        spec,
        created_at: now,
        facts: Default::default(),
        conclusions: Conclusions::fresh(now),
    };
    let first = Conclusions::first(&reservation, now);
    let lookup_keys = lookup_keys::of(&reservation.spec.app, &reservation.spec.component, key);
    lookup_keys::open(connection, id, lookup_keys, ms(first.wake_at), first.eager)?;
    Ok(Some(id))
}
