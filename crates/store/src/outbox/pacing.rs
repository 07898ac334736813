//! Collects messages to one recipient into digests: for whom messages are collected at the moment,
//! and until when. The rule is in `innkeeper_core::pacing`. The times are stored here, so that all
//! sweepers share them and a restart keeps them.
//!
//! After a claim, messages to its recipient are collected for a while. Those put in during that
//! time become ready at its end, so that claims need not skip them one by one. Two kinds of
//! messages are not held back: those that may have been sent before, which are sent again
//! unchanged, and summaries.

use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};
use innkeeper_core::Time;
use innkeeper_core::notice::EventKind;
use innkeeper_core::pacing::{OVER, gather_after_failure, gather_until, is_gathering};

use super::SendOutcome;
use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::pacing;
use crate::{Store, StoreError};

/// The condition `AND …` on a delivery `d` that it is not held back at `$2`: either it already
/// belongs to a sending, or no messages are collected for its recipient.
pub(super) fn not_gathering_sql() -> String {
    let over = OVER.num_milliseconds();
    format!(
        "AND (d.sending IS NOT NULL OR (
             SELECT p.next_at
             FROM pacing p
             WHERE p.alerter = d.alerter
               AND p.recipient = d.recipient
               AND p.next_at > $2
               AND p.next_at <= $2 + {over}
             LIMIT 1) IS NULL)"
    )
}

/// SQL for the column `sending` of a message that nobody has received: its own key if it must be
/// sent alone, as a summary must, and otherwise NULL.
pub(super) fn alone() -> SqlLiteral<Nullable<Text>> {
    sql(&format!("CASE WHEN event = '{}' THEN key END", EventKind::Summary.as_str()))
}

/// SQL for the time at which a message about an alert becomes ready if it is put in at `at`. The
/// query must have the columns of the message as `new`.
pub(super) fn ready_sql(at: &str) -> String {
    let over = OVER.num_milliseconds();
    format!(
        "COALESCE((
             SELECT p.next_at
             FROM pacing p
             WHERE p.alerter = new.alerter
               AND p.recipient = new.recipient
               AND p.next_at > {at}
               AND p.next_at <= {at} + {over}
             LIMIT 1), {at})"
    )
}

/// When a message becomes ready that is put in at `now`.
pub(super) fn ready_at(
    connection: &mut AnyConnection,
    alerter: &str,
    recipient: &str,
    event: EventKind,
    now: Time,
) -> Result<Time, StoreError> {
    if event == EventKind::Summary {
        return Ok(now);
    }
    let until: Option<i64> =
        pacing::table.find((alerter, recipient)).select(pacing::next_at).first(connection).optional()?;
    Ok(until.map(time).filter(|until| is_gathering(*until, now)).unwrap_or(now))
}

/// Begins to collect messages for a recipient whose messages were claimed under `token`. `is_full`
/// says that the claim took as many as one sending holds. A claim while messages are being
/// collected already changes nothing.
pub(super) fn gather(
    connection: &mut AnyConnection,
    alerter: &str,
    recipient: &str,
    token: &str,
    is_full: bool,
    now: Time,
) -> Result<(), StoreError> {
    let known: Option<(i64, Option<i64>)> = pacing::table
        .find((alerter, recipient))
        .select((pacing::next_at, pacing::sent_at))
        .first(connection)
        .optional()?;
    if known.is_some_and(|(next_at, _)| is_gathering(time(next_at), now)) {
        return Ok(());
    }
    let last = known.and_then(|(_, sent_at)| sent_at);
    sql_query(
        "INSERT INTO pacing (alerter, recipient, next_at, sent_at, sent_before_at, token)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (alerter, recipient) DO UPDATE
         SET next_at = excluded.next_at, sent_at = excluded.sent_at,
             sent_before_at = excluded.sent_before_at, token = excluded.token",
    )
    .bind::<Text, _>(alerter)
    .bind::<Text, _>(recipient)
    .bind::<BigInt, _>(ms(gather_until(last.map(time), is_full, now)))
    .bind::<BigInt, _>(ms(now))
    .bind::<Nullable<BigInt>, _>(last)
    .bind::<Text, _>(token)
    .execute(connection)?;
    Ok(())
}

/// Whether the recipient has received a message with this result, or may have.
pub(super) fn is_sent(outcome: &SendOutcome) -> bool {
    matches!(outcome, SendOutcome::Delivered | SendOutcome::Retry { maybe_sent: true, .. })
}

/// Records in `pacing` the result of what was claimed under `token`; `delivery` is one of those
/// messages. If the recipient has received nothing, the times are set as if nothing had been sent.
pub(super) fn ended(
    connection: &mut AnyConnection,
    token: &str,
    delivery: i64,
    outcome: &SendOutcome,
    now: Time,
) -> Result<(), StoreError> {
    let (change, until) = match outcome {
        // Without the token, results of other parts of the digest change nothing any more.
        outcome if is_sent(outcome) => ("sent_at = $1, token = ''", now),
        SendOutcome::Retry { at, .. } => {
            ("next_at = $1, sent_at = sent_before_at", gather_after_failure(*at, now))
        }
        SendOutcome::Dead { .. } | SendOutcome::Untried => ("next_at = $1, sent_at = sent_before_at", now),
        SendOutcome::Delivered | SendOutcome::Exhausted { .. } => return Ok(()),
    };
    // Find the row by alerter and recipient, because there is no index on the token.
    sql_query(format!(
        "UPDATE pacing
         SET {change}
         WHERE alerter = (SELECT d.alerter FROM deliveries d WHERE d.id = $2)
           AND recipient = (SELECT d.recipient FROM deliveries d WHERE d.id = $2)
           AND token = $3"
    ))
    .bind::<BigInt, _>(ms(until))
    .bind::<BigInt, _>(delivery)
    .bind::<Text, _>(token)
    .execute(connection)?;
    Ok(())
}

impl Store {
    /// Deletes the rows of recipients for whom collecting messages ended before `before`. Returns
    /// how many.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn forget_pacing(&self, before: Time) -> Result<usize, StoreError> {
        let old = pacing::table.filter(pacing::next_at.lt(ms(before)));
        Ok(diesel::delete(old).execute(&mut *self.get()?)?)
    }
}
