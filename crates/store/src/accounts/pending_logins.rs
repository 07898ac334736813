//! Pending logins: the password was right, and the second factor is missing. A pending login is
//! identified by the hash of its secret.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use innkeeper_core::Time;

use super::rows::{User, UserRow, has_password, lock_user};
use crate::connection::AnyConnection;
use crate::rows::ms;
use crate::schema::{pending_logins, users};
use crate::{ActingStore, Store, StoreError};

/// How long a pending login is valid.
pub const PENDING_FOR: TimeDelta = TimeDelta::minutes(5);
/// How often a second factor can be tried for one pending login.
const MOST_TRIES: i64 = 5;
/// The most pending logins of one user. If there are more, the oldest ones of the network that has
/// the most are removed. Thus somebody who knows the password but lacks the factor removes only
/// their own.
const MOST_OF_ONE_USER: i64 = 50;

impl Store {
    /// The user of a pending login, while it is valid.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn pending_login(&self, login: &str, now: Time) -> Result<Option<User>, StoreError> {
        waiting(&mut *self.get()?, login, MOST_TRIES, now)
    }

    /// As [`Self::pending_login`], and counts a try. `None` if there were too many tries.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn try_pending_login(&self, login: &str, now: Time) -> Result<Option<User>, StoreError> {
        self.write(|connection| {
            let row = pending_logins::table
                .filter(pending_logins::hash.eq(login))
                .filter(pending_logins::tries.lt(MOST_TRIES));
            let tried = diesel::update(row)
                .set(pending_logins::tries.eq(pending_logins::tries + 1))
                .execute(connection)?;
            if tried == 0 {
                return Ok(None);
            }
            // This try is counted already, and the last one is allowed.
            waiting(connection, login, MOST_TRIES + 1, now)
        })
    }
}

impl ActingStore {
    /// Stores a pending login with the hash `login`, of somebody who has entered the password with
    /// the hash `password` from this network. Returns false, and stores nothing, if the password
    /// has been changed meanwhile.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn add_pending_login(
        &self,
        user: &User,
        password: &str,
        login: &str,
        network: &str,
        now: Time,
    ) -> Result<bool, StoreError> {
        self.write(|connection| {
            lock_user(connection, user.id)?;
            if !has_password(connection, user.id, password)? {
                return Ok(false);
            }
            let of_user = pending_logins::table.filter(pending_logins::user_id.eq(user.id));
            diesel::delete(of_user.filter(pending_logins::created_at.le(ms(now - PENDING_FOR))))
                .execute(connection)?;
            sql_query(
                "DELETE FROM pending_logins WHERE hash IN (
                     SELECT hash FROM (
                         SELECT hash, created_at,
                                row_number() OVER (PARTITION BY network ORDER BY created_at DESC, hash) AS place
                         FROM pending_logins
                         WHERE user_id = $1
                     ) AS placed
                     ORDER BY place, created_at DESC, hash
                     LIMIT 1000 OFFSET $2
                 )",
            )
            .bind::<BigInt, _>(user.id)
            .bind::<BigInt, _>(MOST_OF_ONE_USER - 1)
            .execute(connection)?;
            diesel::insert_into(pending_logins::table)
                .values((
                    pending_logins::hash.eq(login),
                    pending_logins::user_id.eq(user.id),
                    pending_logins::tries.eq(0),
                    pending_logins::network.eq(network),
                    pending_logins::created_at.eq(ms(now)),
                ))
                .execute(connection)?;
            let whom = format!("user {}", user.name);
            self.note(connection, "ask for second factor", &whom, "the password was right", now)?;
            Ok(true)
        })
    }
}

fn waiting(
    connection: &mut AnyConnection,
    login: &str,
    tries: i64,
    now: Time,
) -> Result<Option<User>, StoreError> {
    let row: Option<UserRow> = pending_logins::table
        .inner_join(users::table)
        .filter(pending_logins::hash.eq(login))
        .filter(pending_logins::tries.lt(tries))
        .filter(pending_logins::created_at.gt(ms(now - PENDING_FOR)))
        .filter(users::confirmed)
        .select(UserRow::as_select())
        .first(connection)
        .optional()?;
    row.map(UserRow::user).transpose()
}
