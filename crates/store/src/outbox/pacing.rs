//! Who gathers messages at the moment, and until when. The rule is `innkeeper_core::pacing`; it is kept here, so that all sweepers
//! follow it together, and a restart does not forget it.
//!
//! A claim closes the way to its recipient. Messages that come while it is closed are put in as ready at its end, so that who claims
//! need not pass over them. What may have been sent before is not held: it goes out again just as it was. Nor is a summary.

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

/// The condition on a delivery `d` that nobody gathers for its recipient at `$2`: `AND …`.
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

/// The key under which a message goes out that has not been tried: its own where it has to stand alone, as a summary does.
pub(super) fn alone() -> SqlLiteral<Nullable<Text>> {
    sql(&format!("CASE WHEN event = '{}' THEN key END", EventKind::Summary.as_str()))
}

/// From when on the message of an alert may go out that is put in at `at`, as SQL in a query that has its columns as `new`.
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

/// From when on a message may go out that is put in at `now`.
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

/// Has messages gather for whom something was claimed under `token`, as much as a message holds where it `is_full`. What goes out once more while they do changes nothing.
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

/// Whether somebody has got what ended so, or may have got it.
pub(super) fn is_sent(outcome: &SendOutcome) -> bool {
    matches!(outcome, SendOutcome::Delivered | SendOutcome::Retry { maybe_sent: true, .. })
}

/// What was claimed under `token` ended so, `delivery` among it. Where the recipient has got nothing of it, it is as if
/// nothing had been sent.
pub(super) fn ended(
    connection: &mut AnyConnection,
    token: &str,
    delivery: i64,
    outcome: &SendOutcome,
    now: Time,
) -> Result<(), StoreError> {
    let (change, until) = match outcome {
        // It stays sent, whatever becomes of its other parts.
        outcome if is_sent(outcome) => ("sent_at = $1, token = ''", now),
        SendOutcome::Retry { at, .. } => {
            ("next_at = $1, sent_at = sent_before_at", gather_after_failure(*at, now))
        }
        SendOutcome::Dead { .. } | SendOutcome::Untried => ("next_at = $1, sent_at = sent_before_at", now),
        SendOutcome::Delivered | SendOutcome::Exhausted { .. } => return Ok(()),
    };
    // By whom it was for: no index knows the tokens.
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
    /// Forgets for whom messages gathered until before `before`.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn forget_pacing(&self, before: Time) -> Result<usize, StoreError> {
        let old = pacing::table.filter(pacing::next_at.lt(ms(before)));
        Ok(diesel::delete(old).execute(&mut *self.get()?)?)
    }
}
