//! Handles a request for a reservation: makes it, or changes the existing one.

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

/// A request for a reservation, and who makes it.
#[derive(Clone, Copy)]
pub(crate) struct ReservationRequest<'w> {
    /// What is requested.
    pub patch: &'w Patch,
    /// Whether a job sends the request with a check-in. Then only what differs from its previous
    /// request counts.
    pub is_brought: bool,
    /// Who makes the request.
    pub by: &'w Actor,
}

/// The making of a reservation in the audit log.
pub(crate) const MAKE: &str = "make reservation";
/// A change of its spec there.
const CHANGE: &str = "change reservation";

/// Makes a reservation, or changes the existing one. Also returns the `alerters` that it has
/// afterwards.
pub(crate) fn reserve_with_alerters(
    connection: &mut AnyConnection,
    app: &AppName,
    component: &ComponentName,
    ReservationRequest { patch, is_brought, by }: ReservationRequest<'_>,
    now: Time,
) -> Result<(Reserved, Vec<AlerterName>), StoreError> {
    let brought = is_brought.then(|| brought::text(patch));
    // A further attempt is needed only when another process makes or removes it between reading and
    // writing.
    for _ in 0..3 {
        let found = find(connection, app, component)?;
        let before = found.as_ref().map(|row| row.terms_with(patch.other_schedule())).transpose()?;
        if let Err(problem) = patch.check_for(before.as_ref()) {
            return Ok((Reserved::Incomplete(problem), Vec::new()));
        }
        if let Some((row, before)) = found.zip(before) {
            let mut patch = Cow::Borrowed(patch);
            // Where the existing reservation cannot be read, the whole request counts, because it
            // may mend it.
            if let Some(brought) = brought.as_ref().filter(|_| row.spec().is_ok()) {
                match &row.brought {
                    Some(last) if last == brought => {
                        return Ok((Reserved::Unchanged(row.id), before.alerters));
                    }
                    Some(last) => patch = Cow::Owned(brought::news(patch.into_owned(), last)),
                    // No previous request is known, so a person may have changed something since.
                    // Nothing counts until the job sends something else.
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

/// Adds an entry to the audit log about who made or changed a reservation.
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

/// Adds an entry to the audit log about who changed a reservation. Two machines that send different
/// specs for one job change it back and forth, so the same change by a job is logged once an hour.
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

/// Stores what a job has requested with a check-in, if it has.
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
    // The ping key is made with the first reservation of an app, so that the ping address can be
    // read with the reservation. It is made before the reservation, so that two who make
    // reservations of a new app wait for each other here, without holding other locks.
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
