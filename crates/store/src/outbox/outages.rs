//! What does not get through: messages that wait too long, and messages that were given up.
//!
//! That a message is given up and that somebody must hear of it commit together; the pass over the outages tells it, together with
//! marking it as told. Messages to the operator are left out: one that fails must not make another.

use std::collections::{BTreeMap, HashMap};

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};
use innkeeper_core::Time;
use innkeeper_core::notice::DeliveryState;
use innkeeper_core::notice::EventKind;

use super::put;
use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::{alerts, deliveries, outages};
use crate::{NewDelivery, Store, StoreError};

/// A message that waits for longer has somebody told.
pub const TOO_LONG: TimeDelta = TimeDelta::minutes(10);
/// An outage that was told longer ago is told again if it goes on, and otherwise forgotten.
const TOLD_AGAIN: TimeDelta = TimeDelta::days(1);

/// An alerter that does not get messages through, or a recipient whose messages are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// The alerter.
    pub alerter: String,
    /// The mail address whose messages are refused for good; empty where it is about the alerter.
    pub recipient: String,
    /// When the first message was put in that it is about.
    pub since: Time,
    /// Messages given up in it.
    pub given_up: i64,
    /// Messages that wait too long.
    pub waiting: i64,
    /// What went wrong last; empty where nothing was tried.
    pub problem: String,
}

/// What there is to tell about outages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutageNews {
    /// Those that nobody has heard of.
    pub begun: Vec<Outage>,
    /// Those that are over.
    pub ended: Vec<Outage>,
    /// All that go on, those that have begun among them.
    pub going_on: Vec<Outage>,
}

/// What of the latest alert of a reservation did not reach somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undelivered {
    /// Messages that were given up.
    pub given_up: i64,
    /// Messages that wait too long.
    pub waiting: i64,
    /// What went wrong with one of them.
    pub problem: String,
}

/// Messages of one alerter to one recipient that are given up in a transaction.
pub(super) struct GivenUp {
    count: i64,
    since: i64,
    problem: String,
}

/// By alerter and recipient: whoever writes several outages takes them in this order.
pub(super) type AllGivenUp = BTreeMap<(String, String), GivenUp>;

impl Store {
    /// Looks what does not get through at `now`, messages that were put in before `before` among it, and puts what `tell` makes of the news into the outbox, in the transaction that marks it
    /// as told. Writes nothing where all is well. Returns the news.
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

    /// The outages that go on, as of the last look.
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

    /// What of the latest alert of each of these reservations did not reach somebody; those of which all did are left out.
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

/// Adds the messages `ids`, which are about to be given up, to `all`. `is_refusal`: the recipient is refused, and not the alerter
/// out of order.
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

/// Records them, for the next pass over the outages.
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

/// The condition on a message that has waited too long at `$1`. One that somebody asked for again counts from its next failure.
const WAITS_TOO_LONG: &str =
    "state = 'waiting' AND event <> 'operator' AND created_at <= $1 AND (attempts > 0 OR next_at <= $1)";

/// Whether anything is or was amiss.
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

/// Writes how many messages of each alerter wait too long.
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

/// Whether anything of it was delivered after `told_at`.
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
