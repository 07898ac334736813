//! Whether mail can be sent, judged by the deliveries. Those with a recipient are mail: all other
//! alerters have a single recipient, which is not stored.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use diesel::dsl::{max, min};
use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::notice::DeliveryState;

use crate::rows::{ms, time};
use crate::schema::deliveries;
use crate::{Store, StoreError};

/// Mail fails if one has been tried in vain for this long, and no other was delivered meanwhile.
const LONG: TimeDelta = TimeDelta::minutes(10);
/// How far back deliveries count that have been delivered or given up.
const LATELY: TimeDelta = TimeDelta::hours(1);
/// Mail also fails if it was refused for this many recipients and reached nobody. For fewer, the
/// addresses may be wrong.
const MANY: usize = 3;
/// The most given-up deliveries that are read.
const READ: i64 = 100;

impl Store {
    /// Since when sending mail fails. `None` if it works, or if there is no mail to send.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn mail_fails_since(&self, now: Time) -> Result<Option<Time>, StoreError> {
        let connection = &mut *self.get()?;
        let waiting: Option<i64> = deliveries::table
            .filter(deliveries::state.eq(DeliveryState::Waiting.as_str()))
            .filter(deliveries::recipient.ne(""))
            .filter(deliveries::attempts.gt(0))
            .select(min(deliveries::created_at))
            .first(connection)?;
        let delivered: Option<i64> = deliveries::table
            .filter(deliveries::finished_at.gt(ms(now - LATELY)))
            .filter(deliveries::state.eq(DeliveryState::Delivered.as_str()))
            .filter(deliveries::recipient.ne(""))
            .select(max(deliveries::finished_at))
            .first(connection)?;
        let since = waiting.map(time).filter(|since| *since <= now - LONG);
        if let Some(since) = since.filter(|_| delivered.is_none_or(|at| time(at) <= now - LONG)) {
            return Ok(Some(since));
        }
        let dead = deliveries::table
            .filter(deliveries::finished_at.gt(ms(now - LATELY)))
            .filter(deliveries::state.eq(DeliveryState::Dead.as_str()))
            .filter(deliveries::recipient.ne(""));
        let dead: Vec<(String, Option<i64>)> = dead
            .order(deliveries::finished_at.desc())
            .limit(READ)
            .select((deliveries::recipient, deliveries::finished_at))
            .load(connection)?;
        let people: BTreeSet<&str> = dead.iter().map(|(recipient, _)| recipient.as_str()).collect();
        let first = dead.iter().filter_map(|(_, at)| *at).min();
        Ok(first.map(time).filter(|_| people.len() >= MANY && delivered.is_none()))
    }
}
