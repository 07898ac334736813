//! Records the results of claimed messages, and renews leases.

use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::notice::DeliveryState;

use super::outages::{AllGivenUp, add_given_up, note_given_up};
use super::{FinishedDeliveries, SendOutcome, pacing};
use crate::connection::AnyConnection;
use crate::rows::ms;
use crate::schema::deliveries;
use crate::{Store, StoreError};

/// The most rows in one statement, because SQLite needs a bound value for each.
const CHUNK: usize = 10_000;

impl Store {
    /// Records the results of deliveries that were claimed under `token`. Deliveries that another
    /// sender has claimed since are not changed.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn finish(&self, token: &str, finished: &[FinishedDeliveries], now: Time) -> Result<(), StoreError> {
        self.write(|connection| {
            let mut given_up = AllGivenUp::new();
            let groups = by_outcome(finished);
            for (outcome, ids) in &groups {
                for ids in ids.chunks(CHUNK) {
                    finish(connection, token, ids, outcome, now, &mut given_up)?;
                }
            }
            // Record the messages that were sent first: if a part of a digest was sent, failures of
            // other parts must not undo that.
            let mut ended: Vec<_> =
                groups.iter().filter_map(|(outcome, ids)| Some((*outcome, *ids.first()?))).collect();
            ended.sort_by_key(|(outcome, _)| !pacing::is_sent(outcome));
            for (outcome, first) in ended {
                pacing::ended(connection, token, first, outcome, now)?;
            }
            note_given_up(connection, &given_up)
        })
    }

    /// Renews the lease of `ids`, claimed under `token`, until `until`. Deliveries that another
    /// sender has claimed since are not changed. Deliveries that another transaction has locked are
    /// skipped: their results are just being recorded, so they need no lease, and two transactions
    /// that lock many rows must not wait for each other.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn renew_lease(&self, token: &str, ids: &[i64], until: Time) -> Result<(), StoreError> {
        self.write(|connection| {
            for ids in ids.chunks(CHUNK) {
                let mine = deliveries::table
                    .filter(deliveries::id.eq_any(ids))
                    .filter(deliveries::lease_token.eq(token))
                    .filter(deliveries::state.eq(DeliveryState::Waiting.as_str()))
                    .select(deliveries::id);
                let mine: Vec<i64> = match connection {
                    AnyConnection::Postgres(connection) => {
                        mine.for_update().skip_locked().load(connection)?
                    }
                    AnyConnection::Sqlite(connection) => mine.load(connection)?,
                };
                diesel::update(deliveries::table.filter(deliveries::id.eq_any(mine)))
                    .set(deliveries::lease_until.eq(Some(ms(until))))
                    .execute(connection)?;
            }
            Ok(())
        })
    }
}

/// Groups the ids by outcome, so that one statement records all deliveries with the same result.
fn by_outcome(finished: &[FinishedDeliveries]) -> Vec<(&SendOutcome, Vec<i64>)> {
    let mut groups: Vec<(&SendOutcome, Vec<i64>)> = Vec::new();
    for FinishedDeliveries { ids, outcome } in finished {
        // Search from the end. There are few outcomes: nearly all deliveries succeed, and each
        // retry has a time of its own.
        match groups.iter_mut().rev().find(|(known, _)| *known == outcome) {
            Some((_, all)) => all.extend(ids),
            None => groups.push((outcome, ids.clone())),
        }
    }
    groups
}

fn finish(
    connection: &mut AnyConnection,
    token: &str,
    ids: &[i64],
    outcome: &SendOutcome,
    now: Time,
    given_up: &mut AllGivenUp,
) -> Result<(), StoreError> {
    let mine = deliveries::table
        .filter(deliveries::id.eq_any(ids))
        .filter(deliveries::lease_token.eq(token))
        .filter(deliveries::state.eq(DeliveryState::Waiting.as_str()));
    let unleased = (deliveries::lease_until.eq(None::<i64>), deliveries::lease_token.eq(None::<String>));
    match outcome {
        SendOutcome::Delivered => diesel::update(mine)
            .set((
                deliveries::state.eq(DeliveryState::Delivered.as_str()),
                deliveries::attempts.eq(deliveries::attempts + 1),
                deliveries::finished_at.eq(Some(ms(now))),
                deliveries::problem.eq(None::<String>),
                unleased,
            ))
            .execute(connection)?,
        SendOutcome::Dead { problem } | SendOutcome::Exhausted { problem } => {
            let ids: Vec<i64> = mine.clone().select(deliveries::id).load(connection)?;
            let is_refusal = matches!(outcome, SendOutcome::Dead { .. });
            add_given_up(connection, &ids, problem, is_refusal, given_up)?;
            diesel::update(mine)
                .set((
                    deliveries::state.eq(DeliveryState::Dead.as_str()),
                    deliveries::attempts.eq(deliveries::attempts + 1),
                    deliveries::finished_at.eq(Some(ms(now))),
                    deliveries::problem.eq(Some(problem)),
                    unleased,
                ))
                .execute(connection)?
        }
        SendOutcome::Retry { at, maybe_sent, problem } => {
            let tried = (
                deliveries::attempts.eq(deliveries::attempts + 1),
                deliveries::next_at.eq(ms(*at)),
                deliveries::problem.eq(Some(problem)),
                unleased,
            );
            if *maybe_sent {
                diesel::update(mine).set(tried).execute(connection)?
            } else {
                // No receiver has seen the key, so the messages may be combined with others.
                diesel::update(mine)
                    .set((tried, deliveries::sending.eq(pacing::alone())))
                    .execute(connection)?
            }
        }
        SendOutcome::Untried => diesel::update(mine).set(unleased).execute(connection)?,
    };
    Ok(())
}
