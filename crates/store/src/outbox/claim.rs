//! Claims messages that are ready to be sent, by a lease.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use innkeeper_core::Time;
use innkeeper_core::notice::DeliveryState;
use innkeeper_core::notice::EventKind;

use super::outages::{AllGivenUp, add_given_up, note_given_up};
use super::{Delivery, Place, Sending, notice_of, pacing};
use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::deliveries;
use crate::{Seldom, Store, StoreError};

/// How many groups of messages a claim tries before it gives up. Another sender may hold the first
/// ones, or they cannot be read.
const GROUPS: usize = 16;
/// The class of the advisory locks under which digests are claimed. The number is arbitrary; no
/// other program may use it on this database.
const DIGEST_LOCKS: i32 = 0x1221_6b65;

impl Store {
    /// Claims up to `limit` messages for `alerter`, each as a sending of its own, and returns them
    /// oldest first.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn claim_singles(
        &self,
        alerter: &str,
        now: Time,
        lease: TimeDelta,
        token: &str,
        limit: i64,
    ) -> Result<Vec<Sending>, StoreError> {
        self.claim_singles_after(None, alerter, now, lease, token, limit)
    }

    /// As [`Self::claim_singles`], without the messages up to `place`. Every message that was sent
    /// leaves a dead entry in the index. Until the table is vacuumed, a query that begins at the
    /// start of the index reads all of them. A sender with many messages to send skips them with
    /// `place`.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn claim_singles_after(
        &self,
        place: Option<Place>,
        alerter: &str,
        now: Time,
        lease: TimeDelta,
        token: &str,
        limit: i64,
    ) -> Result<Vec<Sending>, StoreError> {
        let (place_at, place_id) = place.map_or((i64::MIN, i64::MIN), |(at, id)| (ms(at), id));
        let mut sendings = self.write(|connection| {
            let behind = "AND (d.next_at, d.id) > ($3, $4)";
            let then = "ORDER BY d.next_at, d.id LIMIT $5";
            let ready = ready_sql(connection, "earlier.id < d.id", behind, then);
            let rows: Vec<ClaimedRow> = sql_query(format!(
                "WITH ready AS ({ready})
                 UPDATE deliveries
                 SET lease_until = $6, lease_token = $7, sending = key
                 WHERE id IN (SELECT id FROM ready)
                 RETURNING id, recipient, notice, key AS sending, attempts, created_at, next_at"
            ))
            .bind::<Text, _>(alerter)
            .bind::<BigInt, _>(ms(now))
            .bind::<BigInt, _>(place_at)
            .bind::<BigInt, _>(place_id)
            .bind::<BigInt, _>(limit)
            .bind::<BigInt, _>(ms(now + lease))
            .bind::<Text, _>(token)
            .load(connection)?;
            readable(connection, rows, now, |key, recipient, delivery| Sending {
                key,
                recipient,
                deliveries: vec![delivery],
            })
        })?;
        sendings.sort_by_key(|sending| sending.deliveries.first().map(|delivery| delivery.id));
        Ok(sendings)
    }

    /// Claims up to `limit` messages to one recipient of `alerter` as one sending. If `is_paced`,
    /// it leaves out recipients for whom messages are being collected, and begins to collect
    /// messages for the one it claims.
    ///
    /// Messages that may have been sent before are claimed again exactly as they were. All other
    /// messages to the recipient that are ready form one sending.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn claim_digest(
        &self,
        alerter: &str,
        now: Time,
        lease: TimeDelta,
        token: &str,
        limit: i64,
        is_paced: bool,
    ) -> Result<Option<Sending>, StoreError> {
        // A message waits while an earlier one of its incident cannot be sent with it.
        let not_yet = "earlier.id < d.id
             AND (earlier.next_at > $2
                  OR earlier.lease_until > $2
                  OR earlier.sending IS DISTINCT FROM d.sending)";
        let not_gathering = if is_paced { pacing::not_gathering_sql() } else { String::new() };
        // Search without the lock first. Messages that are being collected are skipped row by row,
        // which takes time, and a search that finds nothing must not keep others from writing.
        if first_group(&mut *self.get()?, alerter, now, not_yet, &not_gathering, &[])?.is_none() {
            return Ok(None);
        }
        let mut except: Vec<String> = Vec::new();
        self.write(|connection| {
            one_at_a_time(connection, alerter)?;
            for _ in 0..GROUPS {
                let Some(group) = first_group(connection, alerter, now, not_yet, &not_gathering, &except)?
                else {
                    break;
                };
                let of_group = "AND d.recipient = $3 AND COALESCE(d.sending, '') = $4";
                let ready = ready_sql(connection, not_yet, of_group, "ORDER BY d.id LIMIT $5");
                // The key is derived from the messages that are sent together. Whenever exactly
                // these are sent again, the key is the same: also after a refusal, and when
                // somebody asks for a message that was given up.
                let rows: Vec<ClaimedRow> = sql_query(format!(
                    "WITH ready AS MATERIALIZED ({ready})
                     UPDATE deliveries
                     SET lease_until = $6, lease_token = $7, sending = COALESCE(sending, (
                         SELECT CASE WHEN COUNT(*) = 1 THEN MIN(key)
                                ELSE MIN(key) || '+' || COUNT(*) || '+' || CAST(SUM(id) AS TEXT) END
                         FROM ready))
                     WHERE id IN (SELECT id FROM ready)
                     RETURNING id, recipient, notice, sending, attempts, created_at, next_at"
                ))
                .bind::<Text, _>(alerter)
                .bind::<BigInt, _>(ms(now))
                .bind::<Text, _>(&group.recipient)
                .bind::<Text, _>(group.sending.as_deref().unwrap_or_default())
                .bind::<BigInt, _>(limit)
                .bind::<BigInt, _>(ms(now + lease))
                .bind::<Text, _>(token)
                .load(connection)?;
                let key = rows.first().map(|row| row.sending.clone()).unwrap_or_default();
                let mut deliveries = readable(connection, rows, now, |_, _, delivery| delivery)?;
                deliveries.sort_by_key(|delivery| delivery.id);
                if !deliveries.is_empty() {
                    let is_summary = |one: &Delivery| one.notice.event == EventKind::Summary;
                    if is_paced && !deliveries.iter().all(is_summary) {
                        let is_full = deliveries.len() as i64 >= limit;
                        pacing::gather(connection, alerter, &group.recipient, token, is_full, now)?;
                    }
                    return Ok(Some(Sending { key, recipient: group.recipient, deliveries }));
                }
                except.push(group.recipient);
            }
            Ok(None)
        })
    }
}

/// The recipient of the message that became ready first, and the key of its sending if it has one.
fn first_group(
    connection: &mut AnyConnection,
    alerter: &str,
    now: Time,
    not_yet: &str,
    not_gathering: &str,
    except: &[String],
) -> Result<Option<GroupRow>, StoreError> {
    let listed = match connection {
        AnyConnection::Postgres(_) => "json_array_elements_text($3::json)",
        AnyConnection::Sqlite(_) => "value FROM json_each($3)",
    };
    let and = format!("AND d.recipient NOT IN (SELECT {listed}) {not_gathering}");
    let first = "ORDER BY d.next_at, d.id LIMIT 1";
    Ok(sql_query(ready_columns("d.recipient, d.sending", not_yet, &and, first, ""))
        .bind::<Text, _>(alerter)
        .bind::<BigInt, _>(ms(now))
        .bind::<Text, _>(serde_json::json!(except).to_string())
        .get_result(connection)
        .optional()?)
}

/// Lets only one transaction at a time claim digests of an alerter. Other transactions do not see a
/// claim that is not committed, and would take later messages of its incidents to be ready.
fn one_at_a_time(connection: &mut AnyConnection, alerter: &str) -> Result<(), StoreError> {
    if let AnyConnection::Postgres(connection) = connection {
        sql_query("SELECT pg_advisory_xact_lock($1, hashtext($2))")
            .bind::<Integer, _>(DIGEST_LOCKS)
            .bind::<Text, _>(alerter)
            .execute(connection)?;
    }
    Ok(())
}

/// A query over the messages that are ready for alerter `$1` at `$2`.
///
/// A subquery with a limit looks for earlier messages, which takes one index look-up for each
/// candidate. NOT EXISTS would be turned into a join, which takes quadratic time with planners that
/// have no statistics. The subquery asks for `finished_at` and not for `state`, because for `state`
/// such planners would use the index of all waiting messages.
fn ready_columns(columns: &str, not_yet: &str, and: &str, then: &str, lock: &str) -> String {
    format!(
        "SELECT {columns}
         FROM deliveries d
         WHERE d.state = 'waiting'
           AND d.alerter = $1
           AND d.next_at <= $2
           AND (d.lease_until IS NULL OR d.lease_until <= $2)
           {and}
           AND (
               SELECT earlier.id
               FROM deliveries earlier
               WHERE earlier.finished_at IS NULL
                 AND earlier.alert_id = d.alert_id
                 AND earlier.alerter = d.alerter
                 AND earlier.recipient = d.recipient
                 AND {not_yet}
               LIMIT 1) IS NULL
         {then} {lock}"
    )
}

/// A query that locks the messages that are ready, and returns their ids and keys.
fn ready_sql(connection: &AnyConnection, not_yet: &str, and: &str, then: &str) -> String {
    let lock = match connection {
        AnyConnection::Postgres(_) => "FOR UPDATE OF d SKIP LOCKED",
        AnyConnection::Sqlite(_) => "",
    };
    ready_columns("d.id, d.key", not_yet, and, then, lock)
}

#[derive(QueryableByName)]
struct GroupRow {
    #[diesel(sql_type = Text)]
    recipient: String,
    #[diesel(sql_type = Nullable<Text>)]
    sending: Option<String>,
}

#[derive(QueryableByName)]
struct ClaimedRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    recipient: String,
    #[diesel(sql_type = Text)]
    notice: String,
    #[diesel(sql_type = Text)]
    sending: String,
    #[diesel(sql_type = BigInt)]
    attempts: i64,
    #[diesel(sql_type = BigInt)]
    created_at: i64,
    #[diesel(sql_type = BigInt)]
    next_at: i64,
}

/// Builds the result from the claimed rows. A message that cannot be read is given up, so that it
/// does not block the others forever.
fn readable<T>(
    connection: &mut AnyConnection,
    rows: Vec<ClaimedRow>,
    now: Time,
    made: impl Fn(String, String, Delivery) -> T,
) -> Result<Vec<T>, StoreError> {
    let mut all = Vec::with_capacity(rows.len());
    for ClaimedRow { id, recipient, notice, sending, attempts, created_at, next_at } in rows {
        match notice_of(id, &notice) {
            Ok(notice) => {
                let (created_at, next_at) = (time(created_at), time(next_at));
                let delivery = Delivery { id, notice, attempts, created_at, next_at };
                all.push(made(sending, recipient, delivery));
            }
            Err(error) => {
                static UNREADABLE: Seldom = Seldom::new();
                UNREADABLE.error(format_args!("a message is given up: {error}"));
                let mut given_up = AllGivenUp::new();
                add_given_up(connection, &[id], &error.to_string(), false, &mut given_up)?;
                note_given_up(connection, &given_up)?;
                diesel::update(deliveries::table.filter(deliveries::id.eq(id)))
                    .set((
                        deliveries::state.eq(DeliveryState::Dead.as_str()),
                        deliveries::problem.eq(Some(error.to_string())),
                        deliveries::finished_at.eq(Some(ms(now))),
                        deliveries::lease_until.eq(None::<i64>),
                        deliveries::lease_token.eq(None::<String>),
                    ))
                    .execute(connection)?;
            }
        }
    }
    Ok(all)
}
