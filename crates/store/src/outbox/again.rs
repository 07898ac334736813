//! Retries a message on request.

use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};
use innkeeper_core::Time;
use innkeeper_core::notice::DeliveryState;
use innkeeper_core::ways::kept::KnownAlerters;

use crate::connection::AnyConnection;
use crate::rows::ms;
use crate::schema::deliveries;
use crate::{ActingStore, StoreError};

/// The result of a request to retry a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retried {
    /// The message is tried now.
    Done,
    /// There is no such message.
    Unknown,
    /// The message was already delivered.
    Delivered,
    /// The message's alerter, with this name, no longer exists.
    NoAlerter(String),
}

impl ActingStore {
    /// Makes a message ready to be sent now, even while messages are collected for its recipient. A
    /// message that was given up waits again as if it had never been tried, and is sent alone. Its
    /// creation time is kept, so a message that is too old for retries gets one attempt. A message
    /// whose alerter no longer exists is not changed.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn retry_delivery(&self, id: i64, now: Time) -> Result<Retried, StoreError> {
        let kept = KnownAlerters::of(&self.sweepers()?, now).filter(|kept| kept.is_complete);
        self.write(|connection| {
            let this = deliveries::table.filter(deliveries::id.eq(id));
            let about: Option<About> = this.select(About::as_select()).first(connection).optional()?;
            let Some(about) = about else { return Ok(Retried::Unknown) };
            if about.state != DeliveryState::Delivered.as_str()
                && kept.is_some_and(|kept| !kept.names.contains(&about.alerter))
            {
                return Ok(Retried::NoAlerter(about.alerter));
            }
            diesel::update(this.filter(deliveries::state.eq(DeliveryState::Dead.as_str())))
                .set((
                    deliveries::state.eq(DeliveryState::Waiting.as_str()),
                    deliveries::attempts.eq(0),
                    deliveries::finished_at.eq(None::<i64>),
                    // The digest that it was part of is not restored.
                    deliveries::sending.eq(deliveries::key.nullable()),
                ))
                .execute(connection)?;
            if !try_now(connection, id, &about, now)? {
                return Ok(Retried::Delivered);
            }
            let About { event, alerter, recipient, .. } = about;
            let detail = format!("{event} {alerter} {recipient}");
            self.note(connection, "retry delivery", &format!("delivery {id}"), detail.trim_end(), now)?;
            Ok(Retried::Done)
        })
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = deliveries)]
struct About {
    event: String,
    alerter: String,
    recipient: String,
    state: String,
    alert_id: Option<i64>,
}

/// Makes the message ready now, with a key of its own, so that it is not held back. The same is
/// done with earlier messages of its incident that wait. Sendings that may have been sent before
/// are made ready as a whole and keep their key. Returns false if the message does not wait.
fn try_now(connection: &mut AnyConnection, id: i64, about: &About, now: Time) -> Result<bool, StoreError> {
    let waiting = || {
        deliveries::table
            .filter(deliveries::state.eq(DeliveryState::Waiting.as_str()))
            .filter(deliveries::alerter.eq(&about.alerter))
            .filter(deliveries::recipient.eq(&about.recipient))
    };
    let before = match about.alert_id {
        Some(alert) => {
            waiting().filter(deliveries::alert_id.eq(alert)).filter(deliveries::id.le(id)).into_boxed()
        }
        None => waiting().filter(deliveries::id.eq(id)).into_boxed(),
    };
    let before: Vec<(i64, Option<String>)> =
        before.select((deliveries::id, deliveries::sending)).load(connection)?;
    if !before.iter().any(|(waits, _)| *waits == id) {
        return Ok(false);
    }
    let (ids, sendings): (Vec<i64>, Vec<Option<String>>) = before.into_iter().unzip();
    let together = deliveries::id.eq_any(ids).or(deliveries::sending.eq_any(sendings.into_iter().flatten()));
    // Messages that are being sent are left to their sender.
    let free = deliveries::lease_until.is_null().or(deliveries::lease_until.le(ms(now)));
    diesel::update(waiting().filter(together).filter(free))
        .set((
            deliveries::next_at.eq(ms(now)),
            deliveries::sending.eq(coalesce(deliveries::sending, deliveries::key.nullable())),
        ))
        .execute(connection)?;
    Ok(true)
}

diesel::define_sql_function! {
    /// SQL's COALESCE: the first of the two values that is not NULL.
    fn coalesce(first: Nullable<Text>, second: Nullable<Text>) -> Nullable<Text>;
}
