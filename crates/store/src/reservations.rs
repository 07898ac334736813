//! Making, changing, snoozing and removing reservations.

use std::borrow::Cow;

use diesel::prelude::*;
use diesel::{
    sql_query,
    sql_types::{BigInt, Text},
};
use innkeeper_core::alert::OpenAlert;
use innkeeper_core::names::{AlerterName, AppName, ComponentName};
use innkeeper_core::reservation::{Conclusions, Reservation, Terms, Wishes};
use innkeeper_core::sla::{View, evaluate};
use innkeeper_core::snooze::{Snooze, SnoozeMode};
use innkeeper_core::{Invalid, Time, brought};
use uuid::Uuid;

use crate::connection::AnyConnection;
use crate::rows::{AlertRow, ReservationRow, StateRow, TermsRow, ms, snoozes_text, time};
use crate::schema::{alerts, ping_keys, reservations, states};
use crate::{Store, StoreError, doors, history, slugs};

/// So far back the latest run that was too short is looked for in the history.
const MOST_READ: i64 = 100;

/// What became of a wish for a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// It is new.
    Created(i64),
    /// It was there, and something in it changed.
    Changed(i64),
    /// It was there already, just so.
    Unchanged(i64),
    /// It was not there, and the wish does not say enough to make it; or what would come of it cannot be.
    Incomplete(Invalid),
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is as wished.
    Done,
    /// There is no such reservation.
    Unknown,
    /// Somebody else changed it in between.
    Outdated,
}

impl Reserved {
    /// The number of the reservation; none where there is none.
    pub fn id(&self) -> Option<i64> {
        match self {
            Self::Created(id) | Self::Changed(id) | Self::Unchanged(id) => Some(*id),
            Self::Incomplete(_) => None,
        }
    }
}

impl Store {
    /// Makes the reservation, or changes the existing one as wished.
    pub fn reserve(
        &self,
        app: &AppName,
        component: &ComponentName,
        wishes: &Wishes,
        now: Time,
    ) -> Result<Reserved, StoreError> {
        self.write(|connection| {
            let before = match self.actor {
                Some(_) => find(connection, app, component)?.map(|row| row.terms()).transpose()?,
                None => None,
            };
            let reserved = reserve(connection, app, component, wishes, now)?;
            if self.actor.is_some()
                && let Reserved::Created(_) | Reserved::Changed(_) = reserved
                && let Some(row) = find(connection, app, component)?
            {
                self.note_terms(connection, before.as_ref(), &row.terms()?, now)?;
            }
            Ok(reserved)
        })
    }

    /// Makes a reservation of names that nobody has yet. None when they are taken.
    pub fn create(&self, terms: Terms, now: Time) -> Result<Option<i64>, StoreError> {
        self.write(|connection| {
            let id = create(connection, terms.clone(), now)?;
            if id.is_some() {
                self.note_terms(connection, None, &terms, now)?;
            }
            Ok(id)
        })
    }

    /// Changes the reservation of this number as wished, if its terms are still those that `expected` takes.
    pub fn change(
        &self,
        id: i64,
        wishes: &Wishes,
        expected: &dyn Fn(&Terms) -> bool,
        now: Time,
    ) -> Result<Change, StoreError> {
        self.write(|connection| {
            lock_states(connection, &[id])?;
            let Some(row) = find_by_id(connection, id)? else { return Ok(Change::Unknown) };
            let before = row.terms_with(wishes.other_schedule())?;
            if !expected(&before) {
                return Ok(Change::Outdated);
            }
            match change(connection, row, wishes, now)? {
                None => Ok(Change::Unknown),
                Some(Reserved::Changed(_)) => {
                    let after = wishes.clone().applied_to(before.clone());
                    self.note_terms(connection, Some(&before), &after, now)?;
                    Ok(Change::Done)
                }
                Some(_) => Ok(Change::Done),
            }
        })
    }

    pub(crate) fn note_terms(
        &self,
        connection: &mut AnyConnection,
        before: Option<&Terms>,
        after: &Terms,
        now: Time,
    ) -> Result<(), StoreError> {
        let action = if before.is_some() { "change reservation" } else { "make reservation" };
        let subject = format!("{}/{}", after.app, after.component);
        let detail = before.map_or_else(String::new, |before| before.difference(after).join("\n"));
        self.note(connection, action, &subject, &detail, now)
    }

    /// Lets nothing be told of the reservation until `until`. False when there is none.
    pub fn snooze(
        &self,
        app: &AppName,
        component: &ComponentName,
        until: Time,
        mode: SnoozeMode,
        now: Time,
    ) -> Result<bool, StoreError> {
        self.write(|connection| match find(connection, app, component)? {
            Some(row) => self.put_to_sleep(connection, &row, Some((until, mode)), now),
            None => Ok(false),
        })
    }

    /// The same by its number.
    pub fn snooze_by_id(
        &self,
        id: i64,
        until: Time,
        mode: SnoozeMode,
        now: Time,
    ) -> Result<bool, StoreError> {
        self.write(|connection| match find_by_id(connection, id)? {
            Some(row) => self.put_to_sleep(connection, &row, Some((until, mode)), now),
            None => Ok(false),
        })
    }

    /// Ends a snooze now. False when there is no such reservation.
    pub fn resume_by_id(&self, id: i64, now: Time) -> Result<bool, StoreError> {
        self.write(|connection| match find_by_id(connection, id)? {
            Some(row) => self.put_to_sleep(connection, &row, None, now),
            None => Ok(false),
        })
    }

    fn put_to_sleep(
        &self,
        connection: &mut AnyConnection,
        row: &ReservationRow,
        snooze: Option<(Time, SnoozeMode)>,
        now: Time,
    ) -> Result<bool, StoreError> {
        lock_states(connection, &[row.id])?;
        let state: Option<StateRow> = states::table
            .filter(states::reservation_id.eq(row.id))
            .select(StateRow::as_select())
            .first(connection)
            .optional()?;
        let Some(state) = state else { return Ok(false) };
        let mut snoozes = state.snoozes()?;
        match snooze {
            Some((until, mode)) => snoozes.begin(Snooze { from: now, until, mode }),
            None => snoozes.end(now),
        }
        let changed = diesel::update(states::table.filter(states::reservation_id.eq(row.id)))
            .set((
                states::snoozes.eq(snoozes_text(&snoozes)),
                states::snoozed_until.eq(snoozes.last_until().map(ms)),
                states::wake_at.eq(state.wake_at.min(ms(now))),
            ))
            .execute(connection)?;
        let (action, detail) = match snooze {
            Some((until, mode)) => ("snooze", format!("until {}, {}", snooze_end(until), mode.as_str())),
            None => ("resume", String::new()),
        };
        self.note(connection, action, &format!("{}/{}", row.app, row.component), &detail, now)?;
        Ok(changed > 0)
    }

    /// The reservation with its open alert.
    pub fn reservation(
        &self,
        app: &AppName,
        component: &ComponentName,
    ) -> Result<Option<(Reservation, Option<OpenAlert>)>, StoreError> {
        let connection = &mut *self.get()?;
        let found: Option<(ReservationRow, StateRow)> = reservations::table
            .inner_join(states::table)
            .filter(reservations::app.eq(app.as_str()))
            .filter(reservations::component.eq(component.as_str()))
            .select((ReservationRow::as_select(), StateRow::as_select()))
            .first(connection)
            .optional()?;
        let Some((row, state)) = found else { return Ok(None) };
        let alert: Option<AlertRow> = alerts::table
            .filter(alerts::reservation_id.eq(row.id))
            .filter(alerts::closed_at.is_null())
            .select(AlertRow::as_select())
            .first(connection)
            .optional()?;
        Ok(Some((row.with(&state)?, alert.map(|alert| alert.open_alert()).transpose()?)))
    }

    /// The key that stands before a slug in the app's ping addresses; made at the first asking.
    pub fn ping_key(&self, app: &AppName) -> Result<String, StoreError> {
        self.write(|connection| ping_key(connection, app.as_str()))
    }
}

/// See [`Store::reserve`].
pub(crate) fn reserve(
    connection: &mut AnyConnection,
    app: &AppName,
    component: &ComponentName,
    wishes: &Wishes,
    now: Time,
) -> Result<Reserved, StoreError> {
    Ok(reserve_with_alerters(connection, app, component, wishes, false, now)?.0)
}

/// The same; returns also the `alerters` that it has then. With `is_brought`, a job brings the wishes along with a check-in: of them counts
/// what differs from what it brought the last time.
pub(crate) fn reserve_with_alerters(
    connection: &mut AnyConnection,
    app: &AppName,
    component: &ComponentName,
    wishes: &Wishes,
    is_brought: bool,
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
            let terms = wishes.clone().into_owned().applied_to(before);
            if let Err(problem) = terms.check() {
                return Ok((Reserved::Incomplete(problem), Vec::new()));
            }
            match change(connection, row, &wishes, now) {
                Ok(Some(reserved)) => {
                    note_brought(connection, id, brought.as_deref())?;
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
        match create(connection, terms, now) {
            Ok(Some(id)) => {
                note_brought(connection, id, brought.as_deref())?;
                return Ok((Reserved::Created(id), alerters));
            }
            Ok(None) => {}
            Err(StoreError::Invalid(problem)) => return Ok((Reserved::Incomplete(problem), Vec::new())),
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Unavailable(format!("{app}/{component} is being made and removed at the same time")))
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

/// Writes what the wish changes, and has the sweeper look at it anew. None when the reservation is gone.
fn change(
    connection: &mut AnyConnection,
    row: ReservationRow,
    wishes: &Wishes,
    now: Time,
) -> Result<Option<Reserved>, StoreError> {
    if row.terms().is_ok_and(|known| wishes.clone().applied_to(known.clone()) == known) {
        return Ok(Some(Reserved::Unchanged(row.id)));
    }
    lock_states(connection, &[row.id])?;
    // Read again under the lock: another process may just have changed something else in it.
    let row: Option<ReservationRow> = reservations::table
        .filter(reservations::id.eq(row.id))
        .select(ReservationRow::as_select())
        .first(connection)
        .optional()?;
    let Some(row) = row else { return Ok(None) };
    let before = row.terms_with(wishes.other_schedule())?;
    let after = wishes.clone().applied_to(before.clone());
    write_terms(connection, row.id, &before, &after, now)?;
    Ok(Some(Reserved::Changed(row.id)))
}

/// Writes other terms of the reservation `id`, whose state is locked, and has the sweeper look at it anew.
pub(crate) fn write_terms(
    connection: &mut AnyConnection,
    id: i64,
    before: &Terms,
    after: &Terms,
    now: Time,
) -> Result<(), StoreError> {
    if after.slug != before.slug {
        slugs::check_terms(connection, after)?;
    }
    if after.schedule != before.schedule {
        after.schedule.check_ahead(now).map_err(StoreError::Invalid)?;
    }
    diesel::update(reservations::table.filter(reservations::id.eq(id)))
        .set((&TermsRow::from(after), reservations::updated_at.eq(ms(now))))
        .execute(connection)?;
    diesel::update(states::table.filter(states::reservation_id.eq(id)))
        .set((states::wake_at.eq(ms(now)), states::eager.eq(after.has_run_limits())))
        .execute(connection)?;
    if let Some(changed) = before.judged_otherwise(after) {
        note_changed(connection, id, &changed)?;
    }
    if after.min_run != before.min_run {
        // Runs that ended under the old rule are not judged by the new one.
        diesel::update(states::table.filter(states::reservation_id.eq(id)))
            .set(states::checkins_seen.eq(states::checkins))
            .execute(connection)?;
        forget_short_run(connection, id, after)?;
    }
    Ok(())
}

/// Notes for the sweeper which of the terms that it judges by are other than at its last look.
fn note_changed(connection: &mut AnyConnection, id: i64, changed: &str) -> Result<(), StoreError> {
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

/// Forgets the latest run that was too short where it is not by `terms`.
fn forget_short_run(connection: &mut AnyConnection, id: i64, terms: &Terms) -> Result<(), StoreError> {
    let short_at: Option<Option<i64>> = states::table
        .filter(states::reservation_id.eq(id))
        .select(states::short_at)
        .first(connection)
        .optional()?;
    let Some(short_at) = short_at.flatten() else { return Ok(()) };
    let took = history::latest(connection, id, MOST_READ)?
        .into_iter()
        .find(|checkin| checkin.at == time(short_at) && checkin.duration.is_some())
        .and_then(|checkin| checkin.duration);
    if took.zip(terms.min_run).is_none_or(|(took, least)| took >= least) {
        diesel::update(states::table.filter(states::reservation_id.eq(id)))
            .set(states::short_at.eq(None::<i64>))
            .execute(connection)?;
    }
    Ok(())
}

/// Locks the states of the reservations `ids` in id order, as everybody takes them. SQLite has one writer, and this is it.
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

/// See [`Store::ping_key`].
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

#[derive(diesel::QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// The end of a snooze, as the audit log says it.
pub(crate) fn snooze_end(until: Time) -> String {
    until.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
