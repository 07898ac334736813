//! Outages: messages that wait too long, and messages that were given up.
//!
//! The transaction that gives up a message also records the outage. [`Store::watch_outages`] puts
//! the message about the outage into the outbox, in the transaction that marks the outage as told.
//! Messages to the operator do not count: one that fails must not cause another.

use std::collections::{BTreeMap, HashMap};

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};
use innkeeper_core::Time;
use innkeeper_core::notice::{DeliveryState, EventKind};

use super::put;
use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::{alerts, deliveries, outages};
use crate::{NewDelivery, Store, StoreError};

/// The operator is told of messages that wait for longer than this.
pub const TOO_LONG: TimeDelta = TimeDelta::minutes(10);
/// An outage that was told this long ago is told again if it lasts, and deleted if it does not.
const TOLD_AGAIN: TimeDelta = TimeDelta::days(1);

/// An alerter that cannot deliver messages, or a recipient whose messages are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// The alerter.
    pub alerter: String,
    /// The mail address whose messages are refused permanently. Empty if the outage is the
    /// alerter's.
    pub recipient: String,
    /// When the first of its messages was put into the outbox.
    pub since: Time,
    /// How many messages were given up during it.
    pub given_up: i64,
    /// How many messages wait too long.
    pub waiting: i64,
    /// The last problem. Empty if nothing was tried.
    pub problem: String,
}

/// What has changed about outages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutageNews {
    /// Those that have begun, and those that last and are told again.
    pub begun: Vec<Outage>,
    /// Those that have ended.
    pub ended: Vec<Outage>,
    /// All that last, including those in `begun`.
    pub going_on: Vec<Outage>,
}

/// The messages about the latest alert of a reservation that have not been delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undelivered {
    /// How many messages were given up.
    pub given_up: i64,
    /// How many messages wait too long.
    pub waiting: i64,
    /// The problem of one of them.
    pub problem: String,
}

/// Messages of one alerter to one recipient that one transaction gives up.
pub(super) struct GivenUp {
    count: i64,
    since: i64,
    problem: String,
}

/// By alerter and recipient. Every transaction that writes several outages writes them in this
/// order, so that transactions cannot deadlock.
pub(super) type AllGivenUp = BTreeMap<(String, String), GivenUp>;

impl Store {
    /// Looks for outages at `now`. Messages that were put in before `before` wait too long. `tell`
    /// words the messages about what has changed; they are put into the outbox in the transaction
    /// that marks the outages as told. Writes nothing if there is no outage. Returns what has
    /// changed.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn watch_outages(
        &self,
        before: Time,
        now: Time,
        tell: &dyn Fn(&OutageNews) -> Vec<NewDelivery>,
    ) -> Result<OutageNews, StoreError> {
        if !has_signs(&mut *self.get()?, before)? {
            return Ok(OutageNews::default());
        }
        self.write(|connection| {
            note_waiting(connection, before)?;
            let lock = match connection {
                AnyConnection::Postgres(_) => "FOR UPDATE",
                AnyConnection::Sqlite(_) => "",
            };
            let rows: Vec<OutageRow> = sql_query(format!(
                "SELECT alerter, recipient, since_at, given_up, waiting, problem, told_at
                 FROM outages
                 ORDER BY alerter, recipient {lock}"
            ))
            .load(connection)?;
            let mut news = OutageNews::default();
            for row in rows {
                let this = outages::table.find((row.alerter.clone(), row.recipient.clone()));
                let is_old = row.told_at.is_some_and(|at| at <= ms(now - TOLD_AGAIN));
                match row.told_at {
                    Some(told_at) if row.waiting == 0 && delivers_since(connection, &row, told_at)? => {
                        diesel::delete(this).execute(connection)?;
                        news.ended.push(row.outage());
                    }
                    Some(_) if row.waiting == 0 && is_old => {
                        diesel::delete(this).execute(connection)?;
                    }
                    None if row.waiting + row.given_up == 0 => {
                        diesel::delete(this).execute(connection)?;
                    }
                    Some(_) if !is_old => news.going_on.push(row.outage()),
                    _ => {
                        diesel::update(this).set(outages::told_at.eq(Some(ms(now)))).execute(connection)?;
                        news.going_on.push(row.outage());
                        news.begun.push(row.outage());
                    }
                }
            }
            if !news.begun.is_empty() || !news.ended.is_empty() {
                for NewDelivery { alerter, recipient, notice } in tell(&news) {
                    put(connection, None, &alerter, &recipient, &notice, now)?;
                }
            }
            Ok(news)
        })
    }

    /// The outages that are recorded.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn outages(&self) -> Result<Vec<Outage>, StoreError> {
        let rows: Vec<OutageRow> = outages::table
            .order((outages::alerter, outages::recipient))
            .select(OutageRow::as_select())
            .load(&mut *self.get()?)?;
        Ok(rows.iter().map(OutageRow::outage).collect())
    }

    /// For each of these reservations, the undelivered messages about its latest alert.
    /// Reservations without such messages are left out.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn undelivered(&self, ids: &[i64], now: Time) -> Result<HashMap<i64, Undelivered>, StoreError> {
        let connection = &mut *self.get()?;
        let latest: Vec<(i64, Option<i64>)> = alerts::table
            .filter(alerts::reservation_id.eq_any(ids))
            .group_by(alerts::reservation_id)
            .select((alerts::reservation_id, diesel::dsl::max(alerts::id)))
            .load(connection)?;
        let of_alert: HashMap<i64, i64> =
            latest.into_iter().filter_map(|(reservation, alert)| Some((alert?, reservation))).collect();
        let lost: Vec<(Option<i64>, String, Option<String>)> = deliveries::table
            .filter(deliveries::alert_id.eq_any(of_alert.keys()))
            .filter(
                deliveries::state.eq(DeliveryState::Dead.as_str()).or(deliveries::state
                    .eq(DeliveryState::Waiting.as_str())
                    .and(deliveries::created_at.le(ms(now - TOO_LONG)))),
            )
            .order(deliveries::id)
            .select((deliveries::alert_id, deliveries::state, deliveries::problem))
            .load(connection)?;
        let mut all: HashMap<i64, Undelivered> = HashMap::new();
        for (alert, state, problem) in lost {
            let Some(reservation) = alert.and_then(|alert| of_alert.get(&alert)) else { continue };
            let one = all.entry(*reservation).or_default();
            *if state == DeliveryState::Dead.as_str() { &mut one.given_up } else { &mut one.waiting } += 1;
            one.problem = problem.unwrap_or_default();
        }
        Ok(all)
    }
}

/// Adds the messages `ids`, which are about to be given up, to `all`. `is_refusal` says that the
/// recipient was refused, so that the outage is the recipient's and not the alerter's.
pub(super) fn add_given_up(
    connection: &mut AnyConnection,
    ids: &[i64],
    problem: &str,
    is_refusal: bool,
    all: &mut AllGivenUp,
) -> Result<(), StoreError> {
    let rows: Vec<(String, String, i64)> = deliveries::table
        .filter(deliveries::id.eq_any(ids))
        .filter(deliveries::event.ne(EventKind::Operator.as_str()))
        .select((deliveries::alerter, deliveries::recipient, deliveries::created_at))
        .load(connection)?;
    for (alerter, recipient, created_at) in rows {
        let recipient = if is_refusal { recipient } else { String::new() };
        let one = all.entry((alerter, recipient)).or_insert_with(|| GivenUp {
            count: 0,
            since: created_at,
            problem: String::new(),
        });
        one.count += 1;
        one.since = one.since.min(created_at);
        problem.clone_into(&mut one.problem);
    }
    Ok(())
}

/// Records the given-up messages as outages, for the next [`Store::watch_outages`].
pub(super) fn note_given_up(connection: &mut AnyConnection, all: &AllGivenUp) -> Result<(), StoreError> {
    for ((alerter, recipient), GivenUp { count, since, problem }) in all {
        sql_query(
            "INSERT INTO outages (alerter, recipient, since_at, given_up, waiting, problem)
             VALUES ($1, $2, $3, $4, 0, $5)
             ON CONFLICT (alerter, recipient) DO UPDATE
             SET given_up = outages.given_up + excluded.given_up, problem = excluded.problem",
        )
        .bind::<Text, _>(alerter)
        .bind::<Text, _>(recipient)
        .bind::<BigInt, _>(since)
        .bind::<BigInt, _>(count)
        .bind::<Text, _>(problem)
        .execute(connection)?;
    }
    Ok(())
}

/// The condition on a message that it waits too long if it was put in before `$1`. A message that
/// was retried on request counts only after its next failure.
const WAITS_TOO_LONG: &str =
    "state = 'waiting' AND event <> 'operator' AND created_at <= $1 AND (attempts > 0 OR next_at <= $1)";

/// Whether an outage is recorded, or messages wait too long.
fn has_signs(connection: &mut AnyConnection, before: Time) -> Result<bool, StoreError> {
    let known: Option<String> = outages::table.select(outages::alerter).first(connection).optional()?;
    if known.is_some() {
        return Ok(true);
    }
    let waiting: Vec<WaitingRow> = waiting(connection, before)?;
    Ok(!waiting.is_empty())
}

fn waiting(connection: &mut AnyConnection, before: Time) -> Result<Vec<WaitingRow>, StoreError> {
    Ok(sql_query(format!(
        "SELECT alerter, COUNT(*) AS count, MIN(created_at) AS since_at, MAX(problem) AS problem
         FROM deliveries
         WHERE {WAITS_TOO_LONG}
         GROUP BY alerter
         ORDER BY alerter"
    ))
    .bind::<BigInt, _>(ms(before))
    .load(connection)?)
}

/// Records how many messages of each alerter wait too long.
fn note_waiting(connection: &mut AnyConnection, before: Time) -> Result<(), StoreError> {
    let waiting = waiting(connection, before)?;
    diesel::update(outages::table.filter(outages::waiting.gt(0)))
        .set(outages::waiting.eq(0))
        .execute(connection)?;
    for WaitingRow { alerter, count, since_at, problem } in waiting {
        sql_query(
            "INSERT INTO outages (alerter, recipient, since_at, given_up, waiting, problem)
             VALUES ($1, '', $2, 0, $3, $4)
             ON CONFLICT (alerter, recipient) DO UPDATE
             SET waiting = excluded.waiting, problem = excluded.problem",
        )
        .bind::<Text, _>(alerter)
        .bind::<BigInt, _>(since_at)
        .bind::<BigInt, _>(count)
        .bind::<Text, _>(problem.unwrap_or_default())
        .execute(connection)?;
    }
    Ok(())
}

/// Whether the alerter delivered a message after `told_at`; for an outage of a recipient, a message
/// to that recipient.
fn delivers_since(connection: &mut AnyConnection, row: &OutageRow, told_at: i64) -> Result<bool, StoreError> {
    let mut delivered = deliveries::table
        .filter(deliveries::finished_at.gt(told_at))
        .filter(deliveries::state.eq(DeliveryState::Delivered.as_str()))
        .filter(deliveries::alerter.eq(&row.alerter))
        .select(deliveries::id)
        .into_boxed();
    if !row.recipient.is_empty() {
        delivered = delivered.filter(deliveries::recipient.eq(&row.recipient));
    }
    Ok(delivered.first::<i64>(connection).optional()?.is_some())
}

#[derive(QueryableByName, Queryable, Selectable)]
#[diesel(table_name = outages)]
struct OutageRow {
    alerter: String,
    recipient: String,
    since_at: i64,
    given_up: i64,
    waiting: i64,
    problem: String,
    told_at: Option<i64>,
}

impl OutageRow {
    fn outage(&self) -> Outage {
        Outage {
            alerter: self.alerter.clone(),
            recipient: self.recipient.clone(),
            since: time(self.since_at),
            given_up: self.given_up,
            waiting: self.waiting,
            problem: self.problem.clone(),
        }
    }
}

#[derive(QueryableByName)]
struct WaitingRow {
    #[diesel(sql_type = Text)]
    alerter: String,
    #[diesel(sql_type = BigInt)]
    count: i64,
    #[diesel(sql_type = BigInt)]
    since_at: i64,
    #[diesel(sql_type = Nullable<Text>)]
    problem: Option<String>,
}
