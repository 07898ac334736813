//! Making, changing and snoozing reservations. `reserve.rs` has how one is made.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;
use innkeeper_core::alert::OpenAlert;
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::reservation::{Patch, Reservation, Spec};
use innkeeper_core::snooze::{Snooze, SnoozeMode};
use innkeeper_core::{Invalid, Time};
use uuid::Uuid;

use crate::connection::AnyConnection;
use crate::reserve::{Wish, create, reserve_with_alerters};
use crate::rows::{AlertRow, ReservationRow, StateRow, TermsRow, ms, snoozes_text, time};
use crate::schema::{alerts, ping_keys, reservations, states};
use crate::{ActingStore, Store, StoreError, history, recent, reserve, slugs};

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
pub enum ChangeOutcome {
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
    /// The reservation with its open alert.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
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
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn ping_key(&self, app: &AppName) -> Result<String, StoreError> {
        self.write(|connection| ping_key(connection, app.as_str()))
    }
}

impl ActingStore {
    /// Makes the reservation, or changes the existing one as wished.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn reserve(
        &self,
        app: &AppName,
        component: &ComponentName,
        patch: &Patch,
        now: Time,
    ) -> Result<Reserved, StoreError> {
        let wish = Wish { patch, is_brought: false, by: &self.actor };
        self.write(|connection| Ok(reserve_with_alerters(connection, app, component, wish, now)?.0))
    }

    /// Makes a reservation of names that nobody has yet. None when they are taken.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn create(&self, spec: Spec, now: Time) -> Result<Option<i64>, StoreError> {
        self.write(|connection| {
            let id = create(connection, spec.clone(), now)?;
            if id.is_some() {
                self.note_terms(connection, None, &spec, now)?;
            }
            Ok(id)
        })
    }

    /// Changes the reservation of this number as wished, if its spec is still the one that `expected` takes.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn change(
        &self,
        id: i64,
        patch: &Patch,
        expected: &dyn Fn(&Spec) -> bool,
        now: Time,
    ) -> Result<ChangeOutcome, StoreError> {
        self.write(|connection| {
            lock_states(connection, &[id])?;
            let Some(row) = find_by_id(connection, id)? else { return Ok(ChangeOutcome::Unknown) };
            let before = row.terms_with(patch.other_schedule())?;
            if !expected(&before) {
                return Ok(ChangeOutcome::Outdated);
            }
            match change(connection, row, patch, now)? {
                None => Ok(ChangeOutcome::Unknown),
                Some(Reserved::Changed(_)) => {
                    let after = patch.clone().applied_to(before.clone());
                    self.note_terms(connection, Some(&before), &after, now)?;
                    Ok(ChangeOutcome::Done)
                }
                Some(_) => Ok(ChangeOutcome::Done),
            }
        })
    }

    pub(crate) fn note_terms(
        &self,
        connection: &mut AnyConnection,
        before: Option<&Spec>,
        after: &Spec,
        now: Time,
    ) -> Result<(), StoreError> {
        reserve::note_terms(connection, &self.actor, before, after, now)
    }

    /// Lets nothing be told of the reservation until `until`. False when there is none.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
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
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
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
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
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

/// Writes what the wish changes, and has the sweeper look at it anew. None when the reservation is gone.
pub(crate) fn change(
    connection: &mut AnyConnection,
    row: ReservationRow,
    patch: &Patch,
    now: Time,
) -> Result<Option<Reserved>, StoreError> {
    if row.spec().is_ok_and(|known| patch.clone().applied_to(known.clone()) == known) {
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
    let before = row.terms_with(patch.other_schedule())?;
    let after = patch.clone().applied_to(before.clone());
    write_terms(connection, row.id, &before, &after, now)?;
    Ok(Some(Reserved::Changed(row.id)))
}

/// Writes other terms of the reservation `id`, whose state is locked, and has the sweeper look at it anew.
pub(crate) fn write_terms(
    connection: &mut AnyConnection,
    id: i64,
    before: &Spec,
    after: &Spec,
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
        .execute(connection)
        .map_err(|error| slugs::not_written(after, error))?;
    diesel::update(states::table.filter(states::reservation_id.eq(id)))
        .set((states::wake_at.eq(ms(now)), states::eager.eq(after.judges_successes())))
        .execute(connection)?;
    if let Some(changed) = before.judged_otherwise(after) {
        note_changed(connection, id, &changed)?;
    }
    if after.min_run != before.min_run || after.expect != before.expect {
        // What ended under the old rule is not judged by the new one. Where there were clauses before, what the sweeper has not looked
        // at yet is judged by those that there are now, and not passed over.
        if after.min_run != before.min_run || before.expect.is_empty() {
            diesel::update(states::table.filter(states::reservation_id.eq(id)))
                .set(states::checkins_seen.eq(states::checkins))
                .execute(connection)?;
        }
        forget_short_run(connection, id, after)?;
        recent::judge_anew(connection, id, &after.expect)?;
    }
    Ok(())
}

/// Notes for the sweeper which of the terms that it judges by are other than at its last look.
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

/// Forgets the latest run that was too short where it is not by `spec`.
fn forget_short_run(connection: &mut AnyConnection, id: i64, spec: &Spec) -> Result<(), StoreError> {
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
    if took.zip(spec.min_run).is_none_or(|(took, least)| took >= least) {
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

/// The end of a snooze, as the audit log says it.
pub(crate) fn snooze_end(until: Time) -> String {
    until.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
