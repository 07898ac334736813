//! Claiming by a lease what is ready to go out.

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

/// Groups that a claim looks at before it gives up: others may hold the first ones, or they cannot be read.
const GROUPS: usize = 16;
/// The class of the advisory locks under which digests are claimed: any number that no other program uses here.
const DIGEST_LOCKS: i32 = 0x1221_6b65;

impl Store {
    /// Claims up to `limit` single messages for `alerter`, each a sending of its own, oldest first.
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

    /// The same, of those that stand behind `place`. What has gone out leaves an entry in the index that is dead and yet passed over
    /// one by one until the table is vacuumed: who works off a storm need not begin with them each time.
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

    /// Claims what waits for one recipient of `alerter`, up to `limit` messages, as one sending; where the alerter is `paced`, for
    /// somebody who does not gather messages at the moment, and has messages gather for them.
    ///
    /// What may have been sent before goes out again as it was; everything else that is ready goes out together.
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
        // A message waits while an earlier one of its incident cannot go out with it.
        let not_yet = "earlier.id < d.id
             AND (earlier.next_at > $2
                  OR earlier.lease_until > $2
                  OR earlier.sending IS DISTINCT FROM d.sending)";
        let not_gathering = if is_paced { pacing::not_gathering_sql() } else { String::new() };
        // First looked for without the lock: what gathers is passed over row by row, and who finds nothing keeps nobody
        // from writing.
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
                // The key follows from what goes out together, so that whenever just that goes out again, it has the same key: also after a
                // refusal, and when somebody asks for a message that was given up.
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

/// To whom what is ready first goes, and under which key if it has one.
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

/// Has those who claim digests of one alerter take turns. A claim that is not committed cannot be seen, and what follows
/// the messages in it would seem to be ready.
fn one_at_a_time(connection: &mut AnyConnection, alerter: &str) -> Result<(), StoreError> {
    if let AnyConnection::Postgres(connection) = connection {
        sql_query("SELECT pg_advisory_xact_lock($1, hashtext($2))")
            .bind::<Integer, _>(DIGEST_LOCKS)
            .bind::<Text, _>(alerter)
            .execute(connection)?;
    }
    Ok(())
}

/// The text of a query over what is ready for alerter `$1` at `$2`.
///
/// The earlier messages are looked for by a query with a limit, one index look-up for each candidate: NOT EXISTS would be turned
/// into a join, which planners without statistics make quadratic. They wait as long as they have not ended: asked by `state`, such
/// planners would take the index of all that waits.
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

/// The ids and keys of what is ready, locked against other claimers.
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

/// The claimed messages. One that cannot be read is given up, so that it does not keep the others waiting for ever.
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
