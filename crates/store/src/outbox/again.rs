//! Trying a message again because somebody asks for it.

use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::ways::kept::Kept;

use super::pacing;
use crate::rows::ms;
use crate::schema::deliveries;
use crate::{Store, StoreError};

/// What became of the wish to try a message again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retried {
    /// It is tried now.
    Done,
    /// There is no such message.
    Unknown,
    /// It was delivered already.
    Delivered,
    /// There is no alerter of this name any more.
    NoAlerter(String),
}

impl Store {
    /// Has a message that was given up wait again, as if it had not been tried; one that waits is tried now. When it was put in stays: one older
    /// than messages are tried for gets one more try. One whose alerter is gone stays as it is.
    pub fn retry_delivery(&self, id: i64, now: Time) -> Result<Retried, StoreError> {
        let kept = Kept::of(&self.sweepers()?, now).filter(|kept| kept.is_complete);
        self.write(|connection| {
            let this = deliveries::table.filter(deliveries::id.eq(id));
            let about: Option<(String, String, String, String)> = this
                .select((deliveries::event, deliveries::alerter, deliveries::recipient, deliveries::state))
                .first(connection)
                .optional()?;
            let Some((event, alerter, recipient, state)) = about else { return Ok(Retried::Unknown) };
            if state != "delivered" && kept.is_some_and(|kept| !kept.names.contains(&alerter)) {
                return Ok(Retried::NoAlerter(alerter));
            }
            let waiting = diesel::update(this.filter(deliveries::state.eq("waiting")))
                .set(deliveries::next_at.eq(ms(now)))
                .execute(connection)?;
            let dead = diesel::update(this.filter(deliveries::state.eq("dead")))
                .set((
                    deliveries::state.eq("waiting"),
                    deliveries::attempts.eq(0),
                    deliveries::next_at.eq(ms(now)),
                    deliveries::finished_at.eq(None::<i64>),
                    // A digest that it was part of does not come together again.
                    deliveries::sending.eq(pacing::alone()),
                ))
                .execute(connection)?;
            if waiting + dead == 0 {
                return Ok(Retried::Delivered);
            }
            let detail = format!("{event} {alerter} {recipient}");
            self.note(connection, "retry delivery", &format!("delivery {id}"), detail.trim_end(), now)?;
            Ok(Retried::Done)
        })
    }
}
