//! Jobs whose successes the database refuses while it accepts the check-ins of others. Such a job
//! has a blind window of its own. It begins with the first refused success since the job was last
//! heard from. It ends when the job is heard from again, or when its next success would be expected
//! if the last refused one had been written.

use std::collections::HashMap;
use std::slice;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use innkeeper_core::Time;
use innkeeper_core::reservation::{Reservation, Window};
use innkeeper_core::sla::RefusedSpan;

use super::resolve::{Resolved, find_all};
use super::{Arrival, CheckInWriter};
use crate::StoreError;
use crate::connection::{AnyConnection, write_on};
use crate::rows::{ms, time};
use crate::schema::refusals;

/// The spans in which successes were refused, by reservation.
#[derive(Debug, Default)]
pub(crate) struct Refusals(HashMap<i64, Window>);

impl Refusals {
    /// The spans of these reservations, or of all. A span that lasts beyond `now` is cut off there.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn of(connection: &mut AnyConnection, ids: Option<&[i64]>, now: Time) -> Result<Self, StoreError> {
        let mut query = refusals::table.filter(refusals::from_at.le(ms(now))).into_boxed();
        if let Some(ids) = ids {
            query = query.filter(refusals::reservation_id.eq_any(ids));
        }
        let rows: Vec<(i64, i64, i64)> = query
            .select((refusals::reservation_id, refusals::from_at, refusals::until_at))
            .load(connection)?;
        let window = |from, until| Window { from: time(from), until: time(until).min(now) };
        Ok(Self(rows.into_iter().map(|(id, from, until)| (id, window(from, until))).collect()))
    }

    /// The span of this reservation, if it has one.
    pub fn of_one(&self, reservation: &Reservation, now: Time) -> Option<RefusedSpan> {
        let window = self.0.get(&reservation.id)?;
        Some(RefusedSpan::new(*window, &reservation.spec.schedule, now))
    }
}

impl CheckInWriter {
    /// Records that successes of the reservation that `arrival` names were refused in `window`. If
    /// the reservation was heard from since its recorded span, a new span begins.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn note_refusal(&mut self, arrival: &Arrival, window: Window) -> Result<(), StoreError> {
        let file = self.store.file().cloned();
        self.on_connection(|connection| {
            let found = find_all(connection, slice::from_ref(arrival))?.remove(&arrival.target);
            let Some(Resolved::Known { id, .. }) = found else { return Ok(()) };
            write_on(file.as_ref(), connection, |connection| {
                sql_query(
                    "INSERT INTO refusals (reservation_id, from_at, until_at) VALUES ($1, $2, $3)
                     ON CONFLICT (reservation_id) DO UPDATE
                     SET from_at = CASE
                             WHEN EXISTS (
                                 SELECT 1 FROM states s
                                 WHERE s.reservation_id = refusals.reservation_id
                                     AND (s.last_checkin_at > refusals.until_at OR s.last_fail_at > refusals.until_at)
                             ) THEN excluded.from_at
                             ELSE refusals.from_at
                         END,
                         until_at = CASE
                             WHEN refusals.until_at < excluded.until_at THEN excluded.until_at
                             ELSE refusals.until_at
                         END",
                )
                .bind::<BigInt, _>(id)
                .bind::<BigInt, _>(ms(window.from))
                .bind::<BigInt, _>(ms(window.until))
                .execute(connection)?;
                Ok(())
            })
        })
    }
}
