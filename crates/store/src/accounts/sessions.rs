//! Sessions. A session is identified by the hash of its secret. The store never sees the secret.

use chrono::TimeDelta;
use diesel::prelude::*;
use innkeeper_core::second_factor::LoginMethod;
use innkeeper_core::{Time, lived};

use super::ending::{end_other_sessions, end_pending_login, end_sessions};
use super::factors::SET_UP_WITHIN;
use super::identities::LOGINS_HOLD;
use super::passkeys::{CEREMONY_HOLDS, forget_ceremonies};
use super::pending_logins::PENDING_FOR;
use super::rows::{User, UserRow, factors_of, find_user, had_factor, has_password, lock_user};
use crate::guesses::FAILURES_HOLD;
use crate::rows::{ms, time};
use crate::schema::{
    audit, invitations, login_failures, openid_logins, pending_logins, sessions, totp_setups, users,
};
use crate::{ActingStore, Store, StoreError};

/// How long a session lasts at most, even if it is used.
const LONGEST_SESSION: TimeDelta = TimeDelta::days(30);
/// The time of a session's last use is written at most this often.
const SEEN_EVERY: TimeDelta = TimeDelta::seconds(30);
/// A link by which a user chooses a password is removed this long after it has expired.
const LINKS_KEPT: TimeDelta = TimeDelta::days(1);

/// The most sessions of one user. If there are more, those that were used longest ago end.
const MOST_SESSIONS: i64 = 100;

/// A session that is to begin.
#[derive(Debug, Clone, Copy)]
pub struct NewSession<'a> {
    /// The hash of its secret.
    pub hash: &'a str,
    /// The CSRF token that every form of the session must send back.
    pub csrf: &'a str,
    /// How the user logs in.
    pub method: LoginMethod,
    /// The client's address.
    pub source: &'a str,
    /// A description of the browser.
    pub browser: &'a str,
    /// The hash of the password, if the user has just entered it. It must still be the user's
    /// password.
    pub password: Option<&'a str>,
    /// The hash of the pending login that waited for the second factor, if there was one. It ends
    /// when the session begins.
    pub pending: Option<&'a str>,
}

/// The session to which a request belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its user.
    pub user: User,
    /// The CSRF token that every form of the session must send back.
    pub csrf: String,
    /// How the user logged in.
    pub method: LoginMethod,
}

/// A session in the list that its user sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSession {
    /// The hash of its secret. The hash is not secret itself.
    pub hash: String,
    /// When it began.
    pub created_at: Time,
    /// When it was last used. This may be up to 30 seconds old.
    pub seen_at: Time,
    /// The client's address when it began.
    pub source: String,
    /// A description of the browser.
    pub browser: String,
    /// How the user logged in.
    pub method: LoginMethod,
}

impl Store {
    /// The session with this hash. `None` if it was not used for `idle`, if it is older than 30
    /// days, or if its user has yet to be confirmed. `None` also if it began with the password
    /// alone although its user had a second factor, which a node of an older version allows. `uses`
    /// says that a person makes the request, and not the page by itself: then the time of the last
    /// use is updated.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn session(
        &self,
        session: &str,
        uses: bool,
        idle: TimeDelta,
        now: Time,
    ) -> Result<Option<Session>, StoreError> {
        let connection = &mut *self.get()?;
        let found: Option<(UserRow, String, String, i64, i64)> = sessions::table
            .inner_join(users::table)
            .filter(sessions::hash.eq(session))
            .filter(users::confirmed)
            .filter(sessions::seen_at.gt(ms(now - idle)))
            .filter(sessions::created_at.gt(ms(now - LONGEST_SESSION)))
            .select((
                UserRow::as_select(),
                sessions::csrf,
                sessions::method,
                sessions::seen_at,
                sessions::created_at,
            ))
            .first(connection)
            .optional()?;
        let Some((row, csrf, method, seen_at, created_at)) = found else { return Ok(None) };
        let (user, method) = (row.user()?, LoginMethod::stored(&method));
        if method == LoginMethod::Password && had_factor(connection, user.id, created_at)? {
            return Ok(None);
        }
        if uses && now - time(seen_at) > SEEN_EVERY.min(idle / 4) {
            diesel::update(sessions::table.filter(sessions::hash.eq(session)))
                .set(sessions::seen_at.eq(ms(now)))
                .execute(connection)?;
        }
        Ok(Some(Session { user, csrf, method }))
    }

    /// The sessions of a user that have not ended, the most recently used first.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn sessions_of(
        &self,
        user_id: i64,
        idle: TimeDelta,
        now: Time,
    ) -> Result<Vec<KnownSession>, StoreError> {
        let rows: Vec<(String, i64, i64, String, String, String)> = sessions::table
            .filter(sessions::user_id.eq(user_id))
            .filter(sessions::seen_at.gt(ms(now - idle)))
            .filter(sessions::created_at.gt(ms(now - LONGEST_SESSION)))
            .order((sessions::seen_at.desc(), sessions::created_at.desc(), sessions::hash))
            .limit(MOST_SESSIONS)
            .select((
                sessions::hash,
                sessions::created_at,
                sessions::seen_at,
                sessions::source,
                sessions::browser,
                sessions::method,
            ))
            .load(&mut *self.get()?)?;
        let known = |(hash, created_at, seen_at, source, browser, method): (_, _, _, _, _, String)| {
            let method = LoginMethod::stored(&method);
            KnownSession {
                hash,
                created_at: time(created_at),
                seen_at: time(seen_at),
                source,
                browser,
                method,
            }
        };
        Ok(rows.into_iter().map(known).collect())
    }

    /// Removes what has expired: sessions, pending logins, links by which users choose a password,
    /// ceremonies, counts of wrong passwords, logins at an OpenID provider, set-ups of
    /// authenticator apps, and entries of the audit log from before `log_begins`.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn forget_visits(&self, log_begins: Time, now: Time) -> Result<(), StoreError> {
        // Count ages in lived time ([`lived`]), so that a clock that jumps removes nothing.
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
        forget_ceremonies(connection, ago(CEREMONY_HOLDS))?;
        diesel::delete(login_failures::table.filter(login_failures::last_at.lt(ago(FAILURES_HOLD))))
            .execute(connection)?;
        diesel::delete(openid_logins::table.filter(openid_logins::began_at.lt(ago(LOGINS_HOLD))))
            .execute(connection)?;
        diesel::delete(pending_logins::table.filter(pending_logins::created_at.lt(ago(PENDING_FOR))))
            .execute(connection)?;
        diesel::delete(totp_setups::table.filter(totp_setups::created_at.lt(ago(SET_UP_WITHIN))))
            .execute(connection)?;
        diesel::delete(audit::table.filter(audit::at.lt(ms(log_begins)))).execute(connection)?;
        Ok(())
    }
}

impl ActingStore {
    /// Begins a session. If the user has 100 sessions, the one that was used longest ago ends.
    /// Returns false, and begins no session, in three cases: the pending login has ended; the
    /// password has been changed; or the login was by password alone, and the user has a second
    /// factor by now.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn begin_session(&self, user: &User, new: &NewSession<'_>, now: Time) -> Result<bool, StoreError> {
        self.write(|connection| {
            lock_user(connection, user.id)?;
            if let Some(password) = new.password
                && !has_password(connection, user.id, password)?
            {
                return Ok(false);
            }
            if let Some(pending) = new.pending
                && !end_pending_login(connection, pending)?
            {
                return Ok(false);
            }
            if new.method == LoginMethod::Password && factors_of(connection, user.id)?.any() {
                return Ok(false);
            }
            let too_many: Vec<String> = sessions::table
                .filter(sessions::user_id.eq(user.id))
                .order((sessions::seen_at.desc(), sessions::created_at.desc(), sessions::hash))
                .offset(MOST_SESSIONS - 1)
                .select(sessions::hash)
                .load(connection)?;
            diesel::delete(sessions::table.filter(sessions::hash.eq_any(too_many))).execute(connection)?;
            diesel::insert_into(sessions::table)
                .values((
                    sessions::hash.eq(new.hash),
                    sessions::user_id.eq(user.id),
                    sessions::csrf.eq(new.csrf),
                    sessions::created_at.eq(ms(now)),
                    sessions::seen_at.eq(ms(now)),
                    sessions::source.eq(new.source),
                    sessions::browser.eq(new.browser),
                    sessions::method.eq(new.method.as_str()),
                ))
                .execute(connection)?;
            self.note(connection, "log in", &format!("user {}", user.name), new.method.words(), now)?;
            Ok(true)
        })
    }

    /// Ends a session.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn end_session(&self, session: &str, now: Time) -> Result<(), StoreError> {
        self.write(|connection| {
            let ended =
                diesel::delete(sessions::table.filter(sessions::hash.eq(session))).execute(connection)?;
            match ended {
                0 => Ok(()),
                _ => self.note(connection, "log out", &self.actor.who, "", now),
            }
        })
    }

    /// Ends one of a user's own sessions. Returns false if the user has no such session.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn end_own_session(&self, user: &User, session: &str, now: Time) -> Result<bool, StoreError> {
        self.write(|connection| {
            let own =
                sessions::table.filter(sessions::user_id.eq(user.id)).filter(sessions::hash.eq(session));
            let about: Option<(String, String)> =
                own.select((sessions::browser, sessions::source)).first(connection).optional()?;
            let Some((browser, source)) = about else { return Ok(false) };
            diesel::delete(own).execute(connection)?;
            let detail = format!("{browser}, {source}");
            self.note(connection, "end session", &format!("user {}", user.name), &detail, now)?;
            Ok(true)
        })
    }

    /// Ends every session of a user. If the user does it, `from_session` is the session of the
    /// request, which does not end. Returns how many ended, or `None` if there is no such user.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn end_sessions(
        &self,
        user_id: i64,
        from_session: Option<&str>,
        now: Time,
    ) -> Result<Option<usize>, StoreError> {
        self.write(|connection| {
            lock_user(connection, user_id)?;
            let Some(user) = find_user(connection, user_id)? else { return Ok(None) };
            let ended = match from_session {
                Some(session) => end_other_sessions(connection, user_id, session)?,
                None => end_sessions(connection, user_id)?,
            };
            let detail = format!("{ended} ended");
            self.note(connection, "end sessions", &format!("user {}", user.name), &detail, now)?;
            Ok(Some(ended))
        })
    }
}
