//! The outbox: messages wait here until an alerter has taken them.
//!
//! A sender claims by a lease, commits, sends, and records. A crash between any two of these loses nothing: the lease runs
//! out, and the message goes out again under the same key. Messages of one incident to one recipient keep their order.
//!
//! `claim.rs` is the claiming, `pacing.rs` who gathers messages, `record.rs` what became of the sends, `again.rs` what somebody wants tried again, `reached.rs` who has been told,
//! `outages.rs` what does not get through, `gone.rs` what waits for an alerter that is gone; here is what is put in and what waits.

mod again;
mod claim;
mod gone;
mod mail;
mod outages;
mod pacing;
mod reached;
mod record;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Text};
use innkeeper_core::Time;
use innkeeper_core::notice::DeliveryState;
use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_core::ways::Way;
use uuid::Uuid;

use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::deliveries;
use crate::{ActingStore, Store, StoreError};

pub use again::Retried;
pub use gone::{GivingUp, GoneAlerter};
pub use outages::{Outage, OutageNews, TOO_LONG, Undelivered};
pub use reached::Reached;
pub(crate) use reached::reached;

/// One message for the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDelivery {
    /// The alerter's name.
    pub alerter: String,
    /// The mail address; empty where the alerter has but one recipient.
    pub recipient: String,
    /// The message.
    pub notice: Notice,
}

impl NewDelivery {
    /// A message on this way.
    pub fn through(way: &Way, notice: Notice) -> Self {
        Self { alerter: way.alerter.clone(), recipient: way.recipient().to_owned(), notice }
    }
}

/// One message of a sending.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Its number.
    pub id: i64,
    /// The message.
    pub notice: Notice,
    /// How often it was tried before.
    pub attempts: i64,
    /// When it was put into the outbox.
    pub created_at: Time,
    /// From when on it was ready to go out.
    pub next_at: Time,
}

/// One or more messages that go out together to one recipient, under one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Sending {
    /// The idempotency key: the same whenever just these messages are sent again.
    pub key: String,
    /// The mail address; empty where the alerter has but one recipient.
    pub recipient: String,
    /// The messages, oldest first.
    pub deliveries: Vec<Delivery>,
}

/// A place in the order in which messages are ready: when, and the number.
pub type Place = (Time, i64);

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendOutcome {
    /// The provider took it.
    Delivered,
    /// It is to be tried again.
    Retry {
        /// When.
        at: Time,
        /// Whether the provider may have taken it all the same; then it must go out again just as it was.
        maybe_sent: bool,
        /// What went wrong.
        problem: String,
    },
    /// It is given up: it was refused for good.
    Dead {
        /// Why.
        problem: String,
    },
    /// It is given up: it was tried for as long as a message is.
    Exhausted {
        /// Why the last time.
        problem: String,
    },
    /// It was not tried; the lease is given back.
    Untried,
}

/// Deliveries and what became of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedDeliveries {
    /// Which.
    pub ids: Vec<i64>,
    /// What became of them.
    pub outcome: SendOutcome,
}

/// How many deliveries there are of each kind that has not ended well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WaitingCounts {
    /// Waiting to be sent, or sent again.
    pub waiting: i64,
    /// Given up.
    pub dead: i64,
}

impl Store {
    /// When the next message of `alerter` is ready to go out; none when nothing waits. May be early: one that is claimed, or waits
    /// for an earlier one of its incident, counts too.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn next_delivery_at(&self, alerter: &str) -> Result<Option<Time>, StoreError> {
        // Not MIN: for that, planners without statistics read the other index of what waits from end to end.
        let next: Option<i64> = deliveries::table
            .filter(deliveries::state.eq(DeliveryState::Waiting.as_str()))
            .filter(deliveries::alerter.eq(alerter))
            .order((deliveries::next_at, deliveries::id))
            .select(deliveries::next_at)
            .first(&mut *self.get()?)
            .optional()?;
        Ok(next.map(time))
    }

    /// How many deliveries wait and how many were given up.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn waiting_counts(&self) -> Result<WaitingCounts, StoreError> {
        let connection = &mut *self.get()?;
        let mut count = |state: DeliveryState| {
            deliveries::table
                .filter(deliveries::state.eq(state.as_str()))
                .count()
                .get_result::<i64>(connection)
        };
        Ok(WaitingCounts { waiting: count(DeliveryState::Waiting)?, dead: count(DeliveryState::Dead)? })
    }
}

impl ActingStore {
    /// Puts messages that belong to no alert (summary, operator) into the outbox.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn put_notices(&self, new: &[NewDelivery], now: Time) -> Result<(), StoreError> {
        self.write(|connection| {
            for delivery in new {
                put(connection, None, &delivery.alerter, &delivery.recipient, &delivery.notice, now)?;
            }
            let about = new.first().map_or("", |first| first.notice.subject.as_str());
            self.note(connection, "send message", about, "", now)
        })
    }
}

/// The notice in a row's `notice`.
pub(crate) fn notice_of(id: i64, text: &str) -> Result<Notice, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt {
        table: "deliveries",
        id,
        problem: format!("notice: {error}"),
    })
}

/// Puts one message into the outbox.
pub(crate) fn put(
    connection: &mut AnyConnection,
    alert_id: Option<i64>,
    alerter: &str,
    recipient: &str,
    notice: &Notice,
    now: Time,
) -> Result<(), StoreError> {
    let text = json(notice)?;
    let ready_at = pacing::ready_at(connection, alerter, recipient, notice.event, now)?;
    let key = Uuid::new_v4().to_string();
    let is_alone = notice.event == EventKind::Summary;
    diesel::insert_into(deliveries::table)
        .values((
            deliveries::alert_id.eq(alert_id),
            deliveries::event.eq(notice.event.as_str()),
            deliveries::alerter.eq(alerter),
            deliveries::recipient.eq(recipient),
            deliveries::notice.eq(text),
            deliveries::sending.eq(is_alone.then(|| key.clone())),
            deliveries::key.eq(key),
            deliveries::state.eq(DeliveryState::Waiting.as_str()),
            deliveries::next_at.eq(ms(ready_at)),
            deliveries::created_at.eq(ms(now)),
        ))
        .execute(connection)?;
    Ok(())
}

/// Puts the messages of alerts into the outbox.
pub(crate) fn put_all(
    connection: &mut AnyConnection,
    messages: &[(i64, NewDelivery)],
    now: Time,
) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    let AnyConnection::Postgres(connection) = connection else {
        return messages.iter().try_for_each(|(alert_id, new)| {
            put(connection, Some(*alert_id), &new.alerter, &new.recipient, &new.notice, now)
        });
    };
    let texts = messages.iter().map(|(_, new)| json(&new.notice)).collect::<Result<Vec<_>, _>>()?;
    sql_query(format!(
        "INSERT INTO deliveries (alert_id, event, alerter, recipient, notice, key, state, next_at, created_at)
         SELECT alert_id, event, alerter, recipient, notice, key, 'waiting', {}, $7
         FROM unnest($1, $2, $3, $4, $5, $6) AS new (alert_id, event, alerter, recipient, notice, key)",
        pacing::ready_sql("$7")
    ))
    .bind::<Array<BigInt>, _>(messages.iter().map(|(alert_id, _)| *alert_id).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(messages.iter().map(|(_, new)| new.notice.event.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(messages.iter().map(|(_, new)| new.alerter.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(messages.iter().map(|(_, new)| new.recipient.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(texts)
    .bind::<Array<Text>, _>(messages.iter().map(|_| Uuid::new_v4().to_string()).collect::<Vec<_>>())
    .bind::<BigInt, _>(ms(now))
    .execute(connection)?;
    Ok(())
}

fn json(notice: &Notice) -> Result<String, StoreError> {
    serde_json::to_string(notice).map_err(|error| StoreError::Corrupt {
        table: "deliveries",
        id: 0,
        problem: error.to_string(),
    })
}
