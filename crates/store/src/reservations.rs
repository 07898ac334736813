//! Making, changing and snoozing reservations. `reserve.rs` contains how one is made.

use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::alert::OpenAlert;
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::reservation::{Patch, Reservation, Spec};
use innkeeper_core::snooze::{Snooze, SnoozeMode};

use crate::connection::AnyConnection;
use crate::reservation_rows::{find, find_by_id, lock_states, ping_key, snooze_end};
use crate::reserve::{ReservationRequest, create, reserve_with_alerters};
use crate::rows::{AlertRow, ReservationRow, StateRow, ms, snoozes_text};
use crate::schema::{alerts, reservations, states};
use crate::terms::{Reserved, change};
use crate::{ActingStore, Store, StoreError, reserve};

/// The outcome of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// The reservation is as requested.
    Done,
    /// There is no such reservation.
    Unknown,
    /// Somebody else has changed it meanwhile.
    Outdated,
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

    /// The key that stands before a slug in the app's ping addresses. It is made when it is asked
    /// for the first time.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn ping_key(&self, app: &AppName) -> Result<String, StoreError> {
        self.write(|connection| ping_key(connection, app.as_str()))
    }
}

impl ActingStore {
    /// Makes the reservation, or changes the existing one as `patch` says. A request that is
    /// incomplete or not possible is no error, but [`Reserved::Incomplete`].
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
        let wish = ReservationRequest { patch, is_brought: false, by: &self.actor };
        self.write(|connection| Ok(reserve_with_alerters(connection, app, component, wish, now)?.0))
    }

    /// Makes a reservation and returns its number. None when its names are taken.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when its slug is taken or its schedule never comes due again, and
    /// otherwise a `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn create(&self, spec: Spec, now: Time) -> Result<Option<i64>, StoreError> {
        self.write(|connection| {
            let id = create(connection, spec.clone(), now)?;
            if id.is_some() {
                self.note_terms(connection, None, &spec, now)?;
            }
            Ok(id)
        })
    }

    /// Changes the reservation of this number as `patch` says, if `expected` accepts its current
    /// spec.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when its new slug is taken or its new schedule never comes due
    /// again, and otherwise a `StoreError` when the database cannot be reached, or refuses the
    /// statement.
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

    /// Snoozes the reservation: nobody is told of its troubles before `until`. Returns false when
    /// there is no such reservation.
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

    /// Like [`ActingStore::snooze`], for the reservation of this number.
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

    /// Ends a snooze now. Returns false when there is no such reservation.
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
