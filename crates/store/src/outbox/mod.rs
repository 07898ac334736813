//! The outbox. Messages wait here until an alerter has sent them.
//!
//! A sender claims messages by a lease, commits, sends them, and records the result. A crash
//! between any two of these steps loses nothing: the lease expires, and the message is sent again
//! with the same key. Messages about one incident to one recipient keep their order.
//!
//! This file puts messages in, and counts those that wait. `claim.rs` claims them, `pacing.rs`
//! collects messages into digests, `record.rs` records the results, `again.rs` retries a message on
//! request. `reached.rs` tells who was notified of an alert, `outages.rs` what cannot be delivered,
//! `mail.rs` whether mail can be sent at all. `gone.rs` gives up messages for an alerter that no
//! longer exists.

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
use innkeeper_core::notice::{DeliveryState, EventKind, Notice};
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
    /// The mail address. Empty if the alerter has a single recipient.
    pub recipient: String,
    /// The message.
    pub notice: Notice,
}

impl NewDelivery {
    /// A message to this recipient through this alerter.
    pub fn through(way: &Way, notice: Notice) -> Self {
        Self { alerter: way.alerter.clone(), recipient: way.recipient().to_owned(), notice }
    }
}

/// One message of a [`Sending`].
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Its id.
    pub id: i64,
    /// The message.
    pub notice: Notice,
    /// How many attempts to send it there were before.
    pub attempts: i64,
    /// When it was put into the outbox.
    pub created_at: Time,
    /// When it became ready to be sent.
    pub next_at: Time,
}

/// One or more messages that are sent together to one recipient, with one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Sending {
    /// The idempotency key. It is the same whenever exactly these messages are sent again.
    pub key: String,
    /// The mail address. Empty if the alerter has a single recipient.
    pub recipient: String,
    /// The messages, oldest first.
    pub deliveries: Vec<Delivery>,
}

/// A place in the order in which messages become ready: the time, and the id.
pub type Place = (Time, i64);

/// The result of an attempt to send a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendOutcome {
    /// The provider accepted it.
    Delivered,
    /// It is to be tried again.
    Retry {
        /// When to try again.
        at: Time,
        /// Whether the provider may have accepted it nevertheless. Then exactly the same messages
        /// must be sent again with the same key.
        maybe_sent: bool,
        /// What went wrong.
        problem: String,
    },
    /// It is given up, because it was refused permanently.
    Dead {
        /// Why it was refused.
        problem: String,
    },
    /// It is given up, because it was retried for as long as messages are.
    Exhausted {
        /// Why the last attempt failed.
        problem: String,
    },
    /// It was not tried. The lease is given back.
    Untried,
}

/// Deliveries that have the same result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedDeliveries {
    /// The ids of the deliveries.
    pub ids: Vec<i64>,
    /// The result.
    pub outcome: SendOutcome,
}

/// How many deliveries have not been delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WaitingCounts {
    /// Those that wait for the first or another attempt.
    pub waiting: i64,
    /// Those that were given up.
    pub dead: i64,
}

impl Store {
    /// When the next message of `alerter` is ready to be sent. `None` if none waits. The time may
    /// be too early, because messages that are claimed, and those that wait for an earlier message
    /// of their incident, count too.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn next_delivery_at(&self, alerter: &str) -> Result<Option<Time>, StoreError> {
        // MIN would be slow here: without statistics, planners read all of the other index of
        // waiting messages for it.
        let next: Option<i64> = deliveries::table
            .filter(deliveries::state.eq(DeliveryState::Waiting.as_str()))
            .filter(deliveries::alerter.eq(alerter))
            .order((deliveries::next_at, deliveries::id))
            .select(deliveries::next_at)
            .first(&mut *self.get()?)
            .optional()?;
        Ok(next.map(time))
    }

    /// How many deliveries wait, and how many were given up.
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
    /// Puts messages into the outbox that belong to no alert (summaries, messages to the operator).
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

/// Parses the column `notice` of the delivery `id`.
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
