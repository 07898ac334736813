//! Sessions, and wrong passwords. A session is known by the hash of its secret: the store never sees the secret itself.

use chrono::TimeDelta;
use diesel::prelude::*;
use innkeeper_core::{Time, lived};

use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::{audit, invitations, login_failures, sessions, users};
use crate::users::{User, UserRow};
use crate::{Store, StoreError};

/// How long a session lasts at most, whatever happens in it.
const LONGEST_SESSION: TimeDelta = TimeDelta::days(30);
/// A session's last use is written this often.
const SEEN_EVERY: TimeDelta = TimeDelta::seconds(30);
/// Wrong passwords are forgotten after this long without another.
const FAILURES_HOLD: TimeDelta = TimeDelta::hours(1);

/// A link for a password is removed this long after its end.
const LINKS_KEPT: TimeDelta = TimeDelta::days(1);

/// A session, as a request finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose it is.
    pub user: User,
    /// What every form of it must bring back.
    pub csrf: String,
}

impl Store {
    /// Begins a session, known by the hash of its secret.
    pub fn begin_session(&self, user: &User, session: &str, csrf: &str, now: Time) -> Result<(), StoreError> {
        self.write(|connection| {
            diesel::insert_into(sessions::table)
                .values((
                    sessions::hash.eq(session),
                    sessions::user_id.eq(user.id),
                    sessions::csrf.eq(csrf),
                    sessions::created_at.eq(ms(now)),
                    sessions::seen_at.eq(ms(now)),
                ))
                .execute(connection)?;
            self.note(connection, "log in", &format!("user {}", user.name), "", now)
        })
    }

    /// The session with this hash, unless it was not used for `idle`, or is 30 days old. Says that it is used.
    pub fn session(&self, session: &str, idle: TimeDelta, now: Time) -> Result<Option<Session>, StoreError> {
        let connection = &mut *self.get()?;
        let found: Option<(UserRow, String, i64)> = sessions::table
            .inner_join(users::table)
            .filter(sessions::hash.eq(session))
            .filter(sessions::seen_at.gt(ms(now - idle)))
            .filter(sessions::created_at.gt(ms(now - LONGEST_SESSION)))
            .select((UserRow::as_select(), sessions::csrf, sessions::seen_at))
            .first(connection)
            .optional()?;
        let Some((row, csrf, seen_at)) = found else { return Ok(None) };
        if now - time(seen_at) > SEEN_EVERY.min(idle / 4) {
            diesel::update(sessions::table.filter(sessions::hash.eq(session)))
                .set(sessions::seen_at.eq(ms(now)))
                .execute(connection)?;
        }
        Ok(Some(Session { user: row.user()?, csrf }))
    }

    /// Ends a session.
    pub fn end_session(&self, session: &str, now: Time) -> Result<(), StoreError> {
        self.write(|connection| {
            let ended =
                diesel::delete(sessions::table.filter(sessions::hash.eq(session))).execute(connection)?;
            match &self.actor {
                Some(actor) if ended > 0 => self.note(connection, "log out", &actor.who, "", now),
                _ => Ok(()),
            }
        })
    }

    /// How many wrong passwords in a row these (`account ada`, `source 10.0.0.5`) have, and when the last was.
    pub fn login_failures(&self, who: &[String], now: Time) -> Result<Vec<(String, i64, Time)>, StoreError> {
        let rows: Vec<(String, i64, i64)> = login_failures::table
            .filter(login_failures::who.eq_any(who))
            .filter(login_failures::last_at.gt(ms(now - FAILURES_HOLD)))
            .select((login_failures::who, login_failures::failures, login_failures::last_at))
            .load(&mut *self.get()?)?;
        Ok(rows.into_iter().map(|(who, failures, last_at)| (who, failures, time(last_at))).collect())
    }

    /// One more wrong password of each of these.
    pub fn count_login_failure(&self, who: &[String], now: Time) -> Result<(), StoreError> {
        self.write(|connection| {
            let mut who = who.to_vec();
            // In one order, so that two logins never wait for each other.
            who.sort();
            for who in who {
                diesel::sql_query(
                    "INSERT INTO login_failures (who, failures, last_at) VALUES ($1, 1, $2)
                     ON CONFLICT (who) DO UPDATE
                     SET failures = CASE WHEN login_failures.last_at > $3 THEN login_failures.failures + 1 ELSE 1 END,
                         last_at = excluded.last_at",
                )
                .bind::<diesel::sql_types::Text, _>(&who)
                .bind::<diesel::sql_types::BigInt, _>(ms(now))
                .bind::<diesel::sql_types::BigInt, _>(ms(now - FAILURES_HOLD))
                .execute(connection)?;
            }
            Ok(())
        })
    }

    /// Forgets the wrong passwords of these.
    pub fn forget_login_failures(&self, who: &[String]) -> Result<(), StoreError> {
        diesel::delete(login_failures::table.filter(login_failures::who.eq_any(who)))
            .execute(&mut *self.get()?)?;
        Ok(())
    }

    /// Removes what has ended: sessions, links that nobody used, wrong passwords, and entries of the audit log from before `log_begins`.
    pub fn forget_visits(&self, log_begins: Time, now: Time) -> Result<(), StoreError> {
        // Removed is only what ended so long ago in lived time: a clock that jumped is no reason.
        let windows = self.blind_windows(now)?;
        let ago = |age| ms(lived::ago(&windows, age, now));
        let connection = &mut *self.get()?;
        let longest = ago(LONGEST_SESSION);
        diesel::delete(
            sessions::table.filter(sessions::seen_at.lt(longest).or(sessions::created_at.lt(longest))),
        )
        .execute(connection)?;
        diesel::delete(invitations::table.filter(invitations::expires_at.lt(ago(LINKS_KEPT))))
            .execute(connection)?;
        diesel::delete(login_failures::table.filter(login_failures::last_at.lt(ago(FAILURES_HOLD))))
            .execute(connection)?;
        diesel::delete(audit::table.filter(audit::at.lt(ms(log_begins)))).execute(connection)?;
        Ok(())
    }
}

/// Ends every session of a user.
pub(crate) fn end_sessions(connection: &mut AnyConnection, user_id: i64) -> Result<(), StoreError> {
    diesel::delete(sessions::table.filter(sessions::user_id.eq(user_id))).execute(connection)?;
    Ok(())
}
