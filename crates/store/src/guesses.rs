//! Counts of wrong passwords. [`innkeeper_core::guesses`] decides how long the next attempt has to
//! wait.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use innkeeper_core::Time;
use innkeeper_core::guesses::{CountedBy, GuessCount};

use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::login_failures;
use crate::{Store, StoreError};

/// Wrong passwords are forgotten after this long without another.
pub(crate) const FAILURES_HOLD: TimeDelta = TimeDelta::hours(1);
/// The most counts that are kept. Beyond that the oldest are forgotten, and [`AT_A_TIME`] more with
/// them.
const MOST_COUNTS: i64 = 20_000;
const AT_A_TIME: i64 = 2_000;

impl Store {
    /// How long a password with these counts has to wait; none when it may be checked now.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn wait_for(&self, counts: &[GuessCount], now: Time) -> Result<Option<TimeDelta>, StoreError> {
        let of: Vec<&str> = counts.iter().map(|count| count.of.as_str()).collect();
        let rows: Vec<(String, i64, i64)> = login_failures::table
            .filter(login_failures::who.eq_any(of))
            .select((login_failures::who, login_failures::failures, login_failures::last_at))
            .load(&mut *self.get()?)?;
        let waits = rows.into_iter().filter_map(|(who, failures, last_at)| {
            let count = counts.iter().find(|count| count.of == who)?;
            wait(count.by, failures, time(last_at), now)
        });
        Ok(waits.max())
    }

    /// Counts a password as wrong before it is checked, so that many attempts at once are no better
    /// than one after the other. Where the attempt has to wait, nothing is counted, and the wait is
    /// returned.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn count_guess(&self, counts: &[GuessCount], now: Time) -> Result<Option<TimeDelta>, StoreError> {
        let mut counts = counts.to_vec();
        // Always in the same order, so that two logins never wait for each other.
        counts.sort_by(|one, other| one.of.cmp(&other.of));
        let mut must_wait = None;
        let counted = self.write(|connection| {
            for GuessCount { by, of } in &counts {
                let Counted { failures, last_at } = lock(connection, of, now)?;
                let last_at = time(last_at);
                must_wait = must_wait.max(wait(*by, failures, last_at, now));
                let failures = if last_at > now - FAILURES_HOLD { failures } else { 0 };
                diesel::update(login_failures::table.filter(login_failures::who.eq(of)))
                    .set((login_failures::failures.eq(failures + 1), login_failures::last_at.eq(ms(now))))
                    .execute(connection)?;
            }
            match must_wait {
                None => Ok(()),
                Some(_) => Err(StoreError::Refused(diesel::result::Error::RollbackTransaction)),
            }
        });
        match counted {
            Err(StoreError::Refused(diesel::result::Error::RollbackTransaction)) => return Ok(must_wait),
            counted => counted?,
        }
        self.forget_the_oldest_guesses()?;
        Ok(None)
    }

    /// Removes the oldest counts when there are too many, so that a flood from many networks does
    /// not fill the database.
    fn forget_the_oldest_guesses(&self) -> Result<(), StoreError> {
        let connection = &mut *self.get()?;
        let counts: i64 = login_failures::table.count().get_result(connection)?;
        if counts <= MOST_COUNTS {
            return Ok(());
        }
        // A count that is locked is in use just now, and so not one of the oldest.
        let skip = match connection {
            AnyConnection::Postgres(_) => "FOR UPDATE SKIP LOCKED",
            AnyConnection::Sqlite(_) => "",
        };
        sql_query(format!(
            "DELETE FROM login_failures WHERE who IN (SELECT who FROM login_failures ORDER BY last_at LIMIT $1 {skip})"
        ))
        .bind::<BigInt, _>(counts - MOST_COUNTS + AT_A_TIME)
        .execute(connection)?;
        Ok(())
    }

    /// Forgets the wrong passwords before a right one. For a network only this attempt is taken off
    /// its count, since its attempts on other users still count.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn forget_guesses(&self, counts: &[GuessCount]) -> Result<(), StoreError> {
        self.write(|connection| {
            for GuessCount { by, of } in counts {
                let row = login_failures::table.filter(login_failures::who.eq(of));
                match by {
                    CountedBy::Network => diesel::update(row.filter(login_failures::failures.gt(0)))
                        .set(login_failures::failures.eq(login_failures::failures - 1))
                        .execute(connection)?,
                    _ => diesel::delete(row).execute(connection)?,
                };
            }
            Ok(())
        })
    }
}

fn wait(by: CountedBy, failures: i64, last_at: Time, now: Time) -> Option<TimeDelta> {
    let failures = if last_at > now - FAILURES_HOLD { failures } else { 0 };
    Some(last_at + by.wait_after(failures) - now).filter(|wait| *wait > TimeDelta::zero())
}

/// The count, made where it is missing. It stays locked until the transaction ends.
fn lock(connection: &mut AnyConnection, of: &str, now: Time) -> Result<Counted, StoreError> {
    let sql = "INSERT INTO login_failures (who, failures, last_at) VALUES ($1, 0, $2)
               ON CONFLICT (who) DO UPDATE SET who = excluded.who
               RETURNING failures, last_at";
    Ok(sql_query(sql).bind::<Text, _>(of).bind::<BigInt, _>(ms(now)).get_result(connection)?)
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    failures: i64,
    #[diesel(sql_type = BigInt)]
    last_at: i64,
}
