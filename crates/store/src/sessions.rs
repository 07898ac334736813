//! Sessions. A session is known by the hash of its secret: the store never sees the secret itself.

use chrono::TimeDelta;
use diesel::prelude::*;
use innkeeper_core::{Time, lived};

use crate::connection::AnyConnection;
use crate::guesses::FAILURES_HOLD;
use crate::rows::{ms, time};
use crate::schema::{audit, invitations, login_failures, sessions, users};
use crate::users::{User, UserRow};
use crate::{Store, StoreError};

/// How long a session lasts at most, whatever happens in it.
const LONGEST_SESSION: TimeDelta = TimeDelta::days(30);
/// A session's last use is written this often.
const SEEN_EVERY: TimeDelta = TimeDelta::seconds(30);
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

    /// The session with this hash, unless it was not used for `idle`, is 30 days old, or its user has yet to be
    /// confirmed. Says that it is used.
    pub fn session(&self, session: &str, idle: TimeDelta, now: Time) -> Result<Option<Session>, StoreError> {
        let connection = &mut *self.get()?;
        let found: Option<(UserRow, String, i64)> = sessions::table
            .inner_join(users::table)
            .filter(sessions::hash.eq(session))
            .filter(users::confirmed)
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
