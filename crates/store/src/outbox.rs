//! The outbox: messages wait here until an alerter has taken them.
//!
//! A sender claims by a lease, commits, sends, and records. A crash between any two of these loses nothing: the lease runs
//! out, and the message goes out again under the same key. Messages of one incident to one recipient keep their order.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text};
use innkeeper_core::Time;
use innkeeper_core::notice::Notice;
use uuid::Uuid;

use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::deliveries;
use crate::{NewDelivery, Store, StoreError};

/// Groups that a claim looks at before it gives up: other senders may hold the first ones.
const GROUPS: i64 = 16;
/// The class of the advisory locks under which digests are claimed: any number that no other program uses here.
const DIGEST_LOCKS: i32 = 0x1221_6b65;

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

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
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
    /// It is given up.
    Dead {
        /// Why.
        problem: String,
    },
    /// It was not tried; the lease is given back.
    Untried,
}

/// Deliveries and what became of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Which.
    pub ids: Vec<i64>,
    /// What became of them.
    pub outcome: Outcome,
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
    /// Puts messages that belong to no alert (summary, operator) into the outbox.
    pub fn put_notices(&self, new: &[NewDelivery], now: Time) -> Result<(), StoreError> {
        self.write(|connection| {
            for delivery in new {
                put(connection, None, &delivery.alerter, &delivery.recipient, &delivery.notice, now)?;
            }
            Ok(())
        })
    }

    /// Claims up to `limit` single messages for `alerter`, each a sending of its own, oldest first.
    pub fn claim_singles(
        &self,
        alerter: &str,
        now: Time,
        lease: TimeDelta,
        token: &str,
        limit: i64,
    ) -> Result<Vec<Sending>, StoreError> {
        let mut sendings = self.write(|connection| {
            let ready = ready_sql(connection, "earlier.id < d.id", "", "ORDER BY d.next_at, d.id LIMIT $3");
            let rows: Vec<ClaimedRow> = sql_query(format!(
                "WITH ready AS ({ready})
                 UPDATE deliveries
                 SET lease_until = $4, lease_token = $5, sending = key
                 WHERE id IN (SELECT id FROM ready)
                 RETURNING id, recipient, notice, key AS sending, attempts, created_at"
            ))
            .bind::<Text, _>(alerter)
            .bind::<BigInt, _>(ms(now))
            .bind::<BigInt, _>(limit)
            .bind::<BigInt, _>(ms(now + lease))
            .bind::<Text, _>(token)
            .load(connection)?;
            readable(connection, rows, now)
        })?;
        sendings.sort_by_key(|sending| sending.deliveries.first().map(|delivery| delivery.id));
        Ok(sendings)
    }

    /// Claims what waits for one recipient of `alerter`, up to `limit` messages, as one sending.
    ///
    /// What may have been sent before goes out again as it was; everything else that is ready goes out together.
    pub fn claim_digest(
        &self,
        alerter: &str,
        now: Time,
        lease: TimeDelta,
        token: &str,
        limit: i64,
    ) -> Result<Option<Sending>, StoreError> {
        let sendings = self.write(|connection| {
            one_at_a_time(connection, alerter)?;
            // A message waits while an earlier one of its incident cannot go out with it.
            let not_yet = "earlier.id < d.id
                 AND (earlier.next_at > $2
                      OR earlier.lease_until > $2
                      OR earlier.sending IS DISTINCT FROM d.sending)";
            let grouped = "GROUP BY d.recipient, d.sending ORDER BY MIN(d.next_at), MIN(d.id) LIMIT $3";
            let groups: Vec<GroupRow> =
                sql_query(ready_columns("d.recipient, d.sending", not_yet, "", grouped, ""))
                    .bind::<Text, _>(alerter)
                    .bind::<BigInt, _>(ms(now))
                    .bind::<BigInt, _>(GROUPS)
                    .load(connection)?;
            for group in groups {
                let of_group = "AND d.recipient = $3 AND COALESCE(d.sending, '') = $4";
                let ready = ready_sql(connection, not_yet, of_group, "ORDER BY d.id LIMIT $5");
                let key = group.sending.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
                let rows: Vec<ClaimedRow> = sql_query(format!(
                    "WITH ready AS ({ready})
                     UPDATE deliveries
                     SET lease_until = $6, lease_token = $7, sending = $8
                     WHERE id IN (SELECT id FROM ready)
                     RETURNING id, recipient, notice, sending, attempts, created_at"
                ))
                .bind::<Text, _>(alerter)
                .bind::<BigInt, _>(ms(now))
                .bind::<Text, _>(&group.recipient)
                .bind::<Text, _>(group.sending.as_deref().unwrap_or_default())
                .bind::<BigInt, _>(limit)
                .bind::<BigInt, _>(ms(now + lease))
                .bind::<Text, _>(token)
                .bind::<Text, _>(key)
                .load(connection)?;
                let sendings = readable(connection, rows, now)?;
                if !sendings.is_empty() {
                    return Ok(sendings);
                }
            }
            Ok(Vec::new())
        })?;
        Ok(sendings.into_iter().reduce(|mut digest, next| {
            digest.deliveries.extend(next.deliveries);
            digest.deliveries.sort_by_key(|delivery| delivery.id);
            digest
        }))
    }

    /// Records what became of claimed deliveries. Those whose lease another sender has taken over meanwhile are left alone.
    pub fn finish(&self, token: &str, finished: &[Finished], now: Time) -> Result<(), StoreError> {
        self.write(|connection| {
            for Finished { ids, outcome } in finished {
                for ids in ids.chunks(10_000) {
                    finish(connection, token, ids, outcome, now)?;
                }
            }
            Ok(())
        })
    }

    /// Prolongs the claim `token` of `ids` until `until`; what another sender has taken over meanwhile is left alone.
    pub fn renew_lease(&self, token: &str, ids: &[i64], until: Time) -> Result<(), StoreError> {
        self.write(|connection| {
            for ids in ids.chunks(10_000) {
                let mine = deliveries::table
                    .filter(deliveries::id.eq_any(ids))
                    .filter(deliveries::lease_token.eq(token))
                    .filter(deliveries::state.eq("waiting"));
                diesel::update(mine).set(deliveries::lease_until.eq(Some(ms(until)))).execute(connection)?;
            }
            Ok(())
        })
    }

    /// When the next message of `alerter` is ready to go out; none when nothing waits. May be early: one that is claimed, or waits
    /// for an earlier one of its incident, counts too.
    pub fn next_delivery_at(&self, alerter: &str) -> Result<Option<Time>, StoreError> {
        let next: Option<i64> = deliveries::table
            .filter(deliveries::state.eq("waiting"))
            .filter(deliveries::alerter.eq(alerter))
            .select(diesel::dsl::min(deliveries::next_at))
            .first(&mut *self.get()?)?;
        Ok(next.map(time))
    }

    /// Gives up messages for alerters that are not configured any more and were put in before `before`.
    pub fn bury_orphans(&self, configured: &[&str], before: Time, now: Time) -> Result<usize, StoreError> {
        let buried = diesel::update(
            deliveries::table
                .filter(deliveries::state.eq("waiting"))
                .filter(deliveries::alerter.ne_all(configured))
                .filter(deliveries::created_at.lt(ms(before))),
        )
        .set((
            deliveries::state.eq("dead"),
            deliveries::problem.eq(Some("no alerter of this name is configured")),
            deliveries::finished_at.eq(Some(ms(now))),
        ))
        .execute(&mut *self.get()?)?;
        Ok(buried)
    }

    /// How many deliveries wait and how many were given up.
    pub fn waiting_counts(&self) -> Result<WaitingCounts, StoreError> {
        let connection = &mut *self.get()?;
        let mut count = |state: &str| {
            deliveries::table.filter(deliveries::state.eq(state)).count().get_result::<i64>(connection)
        };
        Ok(WaitingCounts { waiting: count("waiting")?, dead: count("dead")? })
    }
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
/// into a join, which planners without statistics make quadratic.
fn ready_columns(columns: &str, not_yet: &str, and: &str, then: &str, lock: &str) -> String {
    format!(
        "SELECT {columns}
         FROM deliveries d
         WHERE d.state = 'waiting'
           AND d.alerter = $1
           AND d.next_at <= $2
           AND (d.lease_until IS NULL OR d.lease_until <= $2)
           AND (
               SELECT earlier.id
               FROM deliveries earlier
               WHERE earlier.state = 'waiting'
                 AND earlier.alert_id = d.alert_id
                 AND earlier.alerter = d.alerter
                 AND earlier.recipient = d.recipient
                 AND {not_yet}
               LIMIT 1) IS NULL
           {and}
         {then} {lock}"
    )
}

/// The ids of what is ready, locked against other claimers.
fn ready_sql(connection: &AnyConnection, not_yet: &str, and: &str, then: &str) -> String {
    let lock = match connection {
        AnyConnection::Postgres(_) => "FOR UPDATE OF d SKIP LOCKED",
        AnyConnection::Sqlite(_) => "",
    };
    ready_columns("d.id", not_yet, and, then, lock)
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
}

impl ClaimedRow {
    fn into_sending(self) -> Result<Sending, StoreError> {
        let delivery = Delivery {
            id: self.id,
            notice: notice_of(self.id, &self.notice)?,
            attempts: self.attempts,
            created_at: time(self.created_at),
        };
        Ok(Sending { key: self.sending, recipient: self.recipient, deliveries: vec![delivery] })
    }
}

/// The claimed messages. One that cannot be read is given up, so that it does not keep the others waiting for ever.
fn readable(
    connection: &mut AnyConnection,
    rows: Vec<ClaimedRow>,
    now: Time,
) -> Result<Vec<Sending>, StoreError> {
    let mut sendings = Vec::with_capacity(rows.len());
    for row in rows {
        let id = row.id;
        match row.into_sending() {
            Ok(sending) => sendings.push(sending),
            Err(error) => {
                log::error!("a message is given up: {error}");
                diesel::update(deliveries::table.filter(deliveries::id.eq(id)))
                    .set((
                        deliveries::state.eq("dead"),
                        deliveries::problem.eq(Some(error.to_string())),
                        deliveries::finished_at.eq(Some(ms(now))),
                        deliveries::lease_until.eq(None::<i64>),
                        deliveries::lease_token.eq(None::<String>),
                    ))
                    .execute(connection)?;
            }
        }
    }
    Ok(sendings)
}

fn finish(
    connection: &mut AnyConnection,
    token: &str,
    ids: &[i64],
    outcome: &Outcome,
    now: Time,
) -> Result<(), StoreError> {
    let mine = deliveries::table
        .filter(deliveries::id.eq_any(ids))
        .filter(deliveries::lease_token.eq(token))
        .filter(deliveries::state.eq("waiting"));
    let unleased = (deliveries::lease_until.eq(None::<i64>), deliveries::lease_token.eq(None::<String>));
    match outcome {
        Outcome::Delivered => diesel::update(mine)
            .set((
                deliveries::state.eq("delivered"),
                deliveries::attempts.eq(deliveries::attempts + 1),
                deliveries::finished_at.eq(Some(ms(now))),
                deliveries::problem.eq(None::<String>),
                unleased,
            ))
            .execute(connection)?,
        Outcome::Dead { problem } => diesel::update(mine)
            .set((
                deliveries::state.eq("dead"),
                deliveries::attempts.eq(deliveries::attempts + 1),
                deliveries::finished_at.eq(Some(ms(now))),
                deliveries::problem.eq(Some(problem)),
                unleased,
            ))
            .execute(connection)?,
        Outcome::Retry { at, maybe_sent, problem } => {
            let tried = (
                deliveries::attempts.eq(deliveries::attempts + 1),
                deliveries::next_at.eq(ms(*at)),
                deliveries::problem.eq(Some(problem)),
                unleased,
            );
            if *maybe_sent {
                diesel::update(mine).set(tried).execute(connection)?
            } else {
                // Nobody has seen the key, so the messages may go out in other company.
                diesel::update(mine)
                    .set((tried, deliveries::sending.eq(None::<String>)))
                    .execute(connection)?
            }
        }
        Outcome::Untried => diesel::update(mine).set(unleased).execute(connection)?,
    };
    Ok(())
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
    diesel::insert_into(deliveries::table)
        .values((
            deliveries::alert_id.eq(alert_id),
            deliveries::event.eq(notice.event.as_str()),
            deliveries::alerter.eq(alerter),
            deliveries::recipient.eq(recipient),
            deliveries::notice.eq(text),
            deliveries::key.eq(Uuid::new_v4().to_string()),
            deliveries::state.eq("waiting"),
            deliveries::next_at.eq(ms(now)),
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
    sql_query(
        "INSERT INTO deliveries (alert_id, event, alerter, recipient, notice, key, state, next_at, created_at)
         SELECT alert_id, event, alerter, recipient, notice, key, 'waiting', $7, $7
         FROM unnest($1, $2, $3, $4, $5, $6) AS new (alert_id, event, alerter, recipient, notice, key)",
    )
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
