//! The results of checks that Innkeeper makes of itself and its peers: the mail loop, other
//! installations.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use innkeeper_core::Time;

use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::checks;
use crate::{NewDelivery, Store, StoreError, outbox};

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfCheck {
    /// `mail`, or `peer` and a name.
    pub name: String,
    /// `ok`, or what is wrong in a word or two.
    pub state: String,
    /// What is wrong, as text for people; empty where nothing is.
    pub problem: String,
    /// Since when the state is this one.
    pub since_at: Time,
    /// When it was checked last.
    pub checked_at: Time,
}

impl Store {
    /// Records the result of the check `name`. When its state is new, `tell` gets the state before
    /// and returns messages, which go into the outbox in the same transaction. Returns whether the
    /// state is new.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn note_check(
        &self,
        name: &str,
        state: &str,
        problem: &str,
        now: Time,
        tell: &dyn Fn(Option<&str>) -> Vec<NewDelivery>,
    ) -> Result<bool, StoreError> {
        self.write(|connection| {
            let lock = match connection {
                AnyConnection::Postgres(_) => "FOR UPDATE",
                AnyConnection::Sqlite(_) => "",
            };
            let known: Option<CheckRow> = sql_query(format!(
                "SELECT name, state, problem, since_at, checked_at FROM checks WHERE name = $1 {lock}"
            ))
            .bind::<Text, _>(name)
            .get_result(connection)
            .optional()?;
            let before = known.as_ref().map(|known| known.state.as_str());
            let changed = before != Some(state);
            sql_query(
                "INSERT INTO checks (name, state, problem, since_at, checked_at) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (name) DO UPDATE
                 SET state = excluded.state, problem = excluded.problem, since_at = excluded.since_at,
                     checked_at = excluded.checked_at",
            )
            .bind::<Text, _>(name)
            .bind::<Text, _>(state)
            .bind::<Text, _>(problem)
            .bind::<BigInt, _>(match &known {
                Some(known) if !changed => known.since_at,
                _ => ms(now),
            })
            .bind::<BigInt, _>(ms(now))
            .execute(connection)?;
            if changed {
                for NewDelivery { alerter, recipient, notice } in &tell(before) {
                    outbox::put(connection, None, alerter, recipient, notice, now)?;
                }
            }
            Ok(changed)
        })
    }

    /// Every check, by name.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn checks(&self) -> Result<Vec<SelfCheck>, StoreError> {
        let rows: Vec<CheckRow> =
            checks::table.order(checks::name).select(CheckRow::as_select()).load(&mut *self.get()?)?;
        let check = |row: CheckRow| SelfCheck {
            name: row.name,
            state: row.state,
            problem: row.problem,
            since_at: time(row.since_at),
            checked_at: time(row.checked_at),
        };
        Ok(rows.into_iter().map(check).collect())
    }
}

#[derive(QueryableByName, Queryable, Selectable)]
#[diesel(table_name = checks)]
struct CheckRow {
    name: String,
    state: String,
    problem: String,
    since_at: i64,
    checked_at: i64,
}
