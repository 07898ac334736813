//! Making a reservation, or changing the one that is there, as somebody wishes.

use std::borrow::Cow;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use innkeeper_core::names::{AlerterName, AppName, ComponentName};
use innkeeper_core::reservation::{Conclusions, Reservation, Terms, Wishes};
use innkeeper_core::sla::{View, evaluate};
use innkeeper_core::{Time, brought};
use uuid::Uuid;

use crate::connection::AnyConnection;
use crate::reservations::{Reserved, change, find, ping_key};
use crate::rows::{TermsRow, ms};
use crate::schema::reservations;
use crate::{Actor, StoreError, audit, doors, slugs};

/// A wish for a reservation, and whose it is.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'w> {
    /// What is wished.
    pub wishes: &'w Wishes,
    /// Whether a job brings it along with a check-in: of it counts what differs from what it brought the last time.
    pub is_brought: bool,
    /// Whose it is; none where nobody's change is written down.
    pub by: Option<&'w Actor>,
}

/// As the audit log has a change of terms.
const CHANGE: &str = "change reservation";

/// Makes a reservation, or changes the one that is there. Returns also the `alerters` that it has then.
pub(crate) fn reserve_with_alerters(
    connection: &mut AnyConnection,
    app: &AppName,
    component: &ComponentName,
    Wish { wishes, is_brought, by }: Wish<'_>,
    now: Time,
) -> Result<(Reserved, Vec<AlerterName>), StoreError> {
    let brought = is_brought.then(|| brought::text(wishes));
    // Again only when another process makes or removes it between the look and the deed.
    for _ in 0..3 {
        let found = find(connection, app, component)?;
        let before = found.as_ref().map(|row| row.terms_with(wishes.other_schedule())).transpose()?;
        if let Err(problem) = wishes.check_for(before.as_ref()) {
            return Ok((Reserved::Incomplete(problem), Vec::new()));
        }
        if let Some((row, before)) = found.zip(before) {
            let mut wishes = Cow::Borrowed(wishes);
            // Where the reservation cannot be read as it is, all that is brought along may mend it.
            if let Some(brought) = brought.as_ref().filter(|_| row.terms().is_ok()) {
                match &row.brought {
                    Some(last) if last == brought => {
                        return Ok((Reserved::Unchanged(row.id), before.alerters));
                    }
                    Some(last) => wishes = Cow::Owned(brought::news(wishes.into_owned(), last)),
                    // Whether a person changed something since is not known: the job is heard when it says something else.
                    None => wishes = Cow::Owned(Wishes::default()),
                }
            }
            let id = row.id;
            let terms = wishes.clone().into_owned().applied_to(before.clone());
            if let Err(problem) = terms.check() {
                return Ok((Reserved::Incomplete(problem), Vec::new()));
            }
            match change(connection, row, &wishes, now) {
                Ok(Some(reserved)) => {
                    note_brought(connection, id, brought.as_deref())?;
                    if let Reserved::Changed(_) = reserved {
                        note_change(connection, by, is_brought, &before, &terms, now)?;
                    }
                    return Ok((reserved, terms.alerters));
                }
                Ok(None) => continue,
                Err(StoreError::Invalid(problem)) => return Ok((Reserved::Incomplete(problem), Vec::new())),
                Err(error) => return Err(error),
            }
        }
        let terms = match wishes.clone().into_terms(app.clone(), component.clone()) {
            Ok(terms) => terms,
            Err(problem) => return Ok((Reserved::Incomplete(problem), Vec::new())),
        };
        let alerters = terms.alerters.clone();
        match create(connection, terms.clone(), now) {
            Ok(Some(id)) => {
                note_brought(connection, id, brought.as_deref())?;
                note_terms(connection, by, None, &terms, now)?;
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
    by: Option<&Actor>,
    before: Option<&Terms>,
    after: &Terms,
    now: Time,
) -> Result<(), StoreError> {
    let Some(by) = by else { return Ok(()) };
    let action = if before.is_some() { CHANGE } else { "make reservation" };
    let subject = format!("{}/{}", after.app, after.component);
    let detail = before.map_or_else(String::new, |before| before.difference(after).join("\n"));
    audit::add(connection, by, action, &subject, &detail, now)
}

/// Writes down who changed a reservation. Two machines that bring different terms for one job change it back and forth: of that
/// the log has each change once an hour.
fn note_change(
    connection: &mut AnyConnection,
    by: Option<&Actor>,
    is_brought: bool,
    before: &Terms,
    after: &Terms,
    now: Time,
) -> Result<(), StoreError> {
    let Some(by) = by else { return Ok(()) };
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
    terms: Terms,
    now: Time,
) -> Result<Option<i64>, StoreError> {
    terms.schedule.check_ahead(now).map_err(StoreError::Invalid)?;
    // Made with the first reservation of the app, so that whoever reads the reservation can read its ping address;
    // and before it, so that whoever makes a reservation of a new app waits for others here, and holds nothing yet.
    ping_key(connection, terms.app.as_str())?;
    let key = Uuid::new_v4();
    let Some(id) = slugs::insert_with_slug(connection, None, key, &terms, now)? else { return Ok(None) };
    let reservation = Reservation {
        id,
        key,
        terms,
        created_at: now,
        facts: Default::default(),
        conclusions: Conclusions::fresh(now),
    };
    let first_look = evaluate(&View::of(&reservation, None), now).conclusions.wake_at;
    let doors = doors::of(&reservation.terms.app, &reservation.terms.component, key);
    doors::open(connection, id, doors, ms(first_look))?;
    Ok(Some(id))
}

/// Inserts the row of a reservation; with `id`, under that number. None when its names or its slug are taken.
pub(crate) fn insert(
    connection: &mut AnyConnection,
    id: Option<i64>,
    key: Uuid,
    row: &TermsRow,
    created_at: Time,
) -> Result<Option<i64>, StoreError> {
    let (columns, values) = match (id, &*connection) {
        (None, _) => ("", ""),
        (Some(_), AnyConnection::Postgres(_)) => (", id) OVERRIDING SYSTEM VALUE", ", $26"),
        (Some(_), AnyConnection::Sqlite(_)) => (", id)", ", $26"),
    };
    let columns = if columns.is_empty() { ")" } else { columns };
    let sql = format!(
        "INSERT INTO reservations (key, app, component, slug, owner, description, tags, notify, alerters, alert_msg,
             schedule, period_ms, frequency, time_units, grace_ms, alert_after, remind_every_ms,
             notify_recovery, max_run_ms, min_run_ms, is_site, created_at, updated_at, alert_subject, recovery_msg,
             runbook{columns}
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
             $22, $22, $23, $24, $25{values})
         ON CONFLICT DO NOTHING
         RETURNING id"
    );
    let row = row.clone();
    let query = sql_query(sql)
        .bind::<Text, _>(key.to_string())
        .bind::<Text, _>(row.app)
        .bind::<Text, _>(row.component)
        .bind::<Text, _>(row.slug)
        .bind::<Text, _>(row.owner)
        .bind::<Text, _>(row.description)
        .bind::<Text, _>(row.tags)
        .bind::<Text, _>(row.notify)
        .bind::<Text, _>(row.alerters)
        .bind::<Text, _>(row.alert_msg)
        .bind::<Text, _>(row.schedule)
        .bind::<diesel::sql_types::Nullable<BigInt>, _>(row.period_ms)
        .bind::<diesel::sql_types::Nullable<BigInt>, _>(row.frequency)
        .bind::<diesel::sql_types::Nullable<Text>, _>(row.time_units)
        .bind::<BigInt, _>(row.grace_ms)
        .bind::<BigInt, _>(row.alert_after)
        .bind::<diesel::sql_types::Nullable<BigInt>, _>(row.remind_every_ms)
        .bind::<diesel::sql_types::Bool, _>(row.notify_recovery)
        .bind::<diesel::sql_types::Nullable<BigInt>, _>(row.max_run_ms)
        .bind::<diesel::sql_types::Nullable<BigInt>, _>(row.min_run_ms)
        .bind::<diesel::sql_types::Bool, _>(row.is_site)
        .bind::<BigInt, _>(ms(created_at))
        .bind::<Text, _>(row.alert_subject)
        .bind::<Text, _>(row.recovery_msg)
        .bind::<Text, _>(row.runbook);
    let inserted: Option<Id> = match id {
        Some(id) => query.bind::<BigInt, _>(id).get_result(connection),
        None => query.get_result(connection),
    }
    .optional()?;
    Ok(inserted.map(|row| row.id))
}

#[derive(diesel::QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}
