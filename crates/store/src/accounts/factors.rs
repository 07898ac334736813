//! Second factors: which ones a user has, codes of authenticator apps, each of which is accepted
//! once, and recovery codes.
//!
//! Codes are computed elsewhere. The store gets the beginning of the time step of a right code, and
//! the hashes of recovery codes.

use std::collections::HashMap;

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use innkeeper_core::Time;

use super::ending::{end_factors, end_other_sessions, end_sessions};
use super::rows::{
    Factors, User, factors_of, find_user, forget_lone_recovery_codes, lock_user, recovery_codes_left,
    replace_recovery_codes,
};
use crate::rows::ms;
use crate::schema::{passkeys, recovery_codes, totp, totp_setups, users};
use crate::{ActingStore, Store, StoreError};

/// If the time step of the last accepted code begins this much later than that of a new code, the
/// clock was ahead when the last one was accepted.
const AHEAD: TimeDelta = TimeDelta::minutes(2);
/// How long the first code of a new authenticator app is waited for.
pub const SET_UP_WITHIN: TimeDelta = TimeDelta::minutes(15);

/// The result of setting up an authenticator app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppAdded {
    /// It was added and is the user's first second factor. The new recovery codes are valid.
    First,
    /// It was added beside passkeys. The earlier recovery codes stay valid.
    Another,
    /// It was not added: the set-up has expired, or the user has an app already.
    TooLate,
}

impl Store {
    /// The second factors of a user.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn factors(&self, user_id: i64) -> Result<Factors, StoreError> {
        factors_of(&mut *self.get()?, user_id)
    }

    /// The second factors of each user, by the user's id. Users without one are left out.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn factors_of_all(&self) -> Result<HashMap<i64, Factors>, StoreError> {
        let connection = &mut *self.get()?;
        let mut all: HashMap<i64, Factors> = HashMap::new();
        for id in totp::table.select(totp::user_id).load::<i64>(connection)? {
            all.entry(id).or_default().app = true;
        }
        for id in passkeys::table.select(passkeys::user_id).load::<i64>(connection)? {
            all.entry(id).or_default().passkeys += 1;
        }
        for id in recovery_codes::table.select(recovery_codes::user_id).load::<i64>(connection)? {
            all.entry(id).or_default().recovery_codes += 1;
        }
        all.retain(|_, factors| factors.any());
        Ok(all)
    }

    /// Stores the secret that a session shows until the first code is entered. It replaces a secret
    /// that another session of the user shows.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn begin_app_setup(
        &self,
        user_id: i64,
        session: &str,
        secret: &str,
        now: Time,
    ) -> Result<(), StoreError> {
        self.write(|connection| {
            sql_query(
                "INSERT INTO totp_setups (user_id, session, secret, created_at) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (user_id) DO UPDATE
                 SET session = excluded.session, secret = excluded.secret, created_at = excluded.created_at",
            )
            .bind::<BigInt, _>(user_id)
            .bind::<Text, _>(session)
            .bind::<Text, _>(secret)
            .bind::<BigInt, _>(ms(now))
            .execute(connection)?;
            Ok(())
        })
    }

    /// The secret that this session shows, while the first code is waited for.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn app_setup(&self, user_id: i64, session: &str, now: Time) -> Result<Option<String>, StoreError> {
        Ok(totp_setups::table
            .filter(totp_setups::user_id.eq(user_id))
            .filter(totp_setups::session.eq(session))
            .filter(totp_setups::created_at.gt(ms(now - SET_UP_WITHIN)))
            .select(totp_setups::secret)
            .first(&mut *self.get()?)
            .optional()?)
    }

    /// The secret of the user's authenticator app, if they have one.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn app_secret(&self, user_id: i64) -> Result<Option<String>, StoreError> {
        Ok(totp::table
            .filter(totp::user_id.eq(user_id))
            .select(totp::secret)
            .first(&mut *self.get()?)
            .optional()?)
    }

    /// Accepts a right code for this secret; `began` is the beginning of its time step. Returns
    /// false if a code of this step or a later one was accepted before. Of two requests with the
    /// same code, one succeeds. A step that is minutes later was recorded while the clock was
    /// ahead, and is ignored.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn take_step(&self, user_id: i64, secret: &str, began: Time) -> Result<bool, StoreError> {
        let unused = totp::table
            .filter(totp::user_id.eq(user_id))
            .filter(totp::secret.eq(secret))
            .filter(totp::used_at.lt(ms(began)).or(totp::used_at.gt(ms(began + AHEAD))));
        let taken = diesel::update(unused).set(totp::used_at.eq(ms(began))).execute(&mut *self.get()?)?;
        Ok(taken > 0)
    }
}

impl ActingStore {
    /// Adds an authenticator app after its first code was right; `began` is the beginning of the
    /// code's time step. If it is the user's first second factor, `codes` (hashes) become their
    /// recovery codes. Otherwise the earlier ones stay valid. The user's other sessions end,
    /// because they began without this factor.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn finish_app_setup(
        &self,
        user: &User,
        session: &str,
        secret: &str,
        began: Time,
        codes: &[String],
        now: Time,
    ) -> Result<AppAdded, StoreError> {
        self.write(|connection| {
            lock_user(connection, user.id)?;
            let shown = totp_setups::table
                .filter(totp_setups::user_id.eq(user.id))
                .filter(totp_setups::session.eq(session))
                .filter(totp_setups::secret.eq(secret))
                .filter(totp_setups::created_at.gt(ms(now - SET_UP_WITHIN)));
            // An app is not replaced by another. The first must be removed before, which needs a
            // stronger check.
            let factors = factors_of(connection, user.id)?;
            if factors.app {
                return Ok(AppAdded::TooLate);
            }
            // The transaction that deletes the set-up has finished it.
            if diesel::delete(shown).execute(connection)? == 0 {
                return Ok(AppAdded::TooLate);
            }
            diesel::insert_into(totp::table)
                .values((
                    totp::user_id.eq(user.id),
                    totp::secret.eq(secret),
                    totp::created_at.eq(ms(now)),
                    totp::used_at.eq(ms(began)),
                ))
                .execute(connection)?;
            end_other_sessions(connection, user.id, session)?;
            self.note(connection, "set up second factor", &format!("user {}", user.name), "app", now)?;
            if factors.any() {
                return Ok(AppAdded::Another);
            }
            replace_recovery_codes(connection, user.id, codes)?;
            Ok(AppAdded::First)
        })
    }

    /// Uses the recovery code with this hash. Returns false if the user has no such code, or has
    /// used it.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn use_recovery_code(&self, user: &User, code: &str, now: Time) -> Result<bool, StoreError> {
        self.write(|connection| {
            let used = diesel::delete(
                recovery_codes::table
                    .filter(recovery_codes::hash.eq(code))
                    .filter(recovery_codes::user_id.eq(user.id)),
            )
            .execute(connection)?;
            if used == 0 {
                return Ok(false);
            }
            let left = recovery_codes_left(connection, user.id)?;
            let detail = format!("{left} left");
            self.note(connection, "use recovery code", &format!("user {}", user.name), &detail, now)?;
            Ok(true)
        })
    }

    /// Replaces the recovery codes of a user by `codes` (hashes). Returns false if the user has no
    /// second factor.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn renew_recovery_codes(&self, user: &User, codes: &[String], now: Time) -> Result<bool, StoreError> {
        self.write(|connection| {
            lock_user(connection, user.id)?;
            if !factors_of(connection, user.id)?.any() {
                return Ok(false);
            }
            replace_recovery_codes(connection, user.id, codes)?;
            self.note(connection, "make recovery codes", &format!("user {}", user.name), "", now)?;
            Ok(true)
        })
    }

    /// Removes a user's authenticator app at their own request, and their recovery codes if they
    /// have no passkey. Their other sessions end; `session` does not. Returns false if they have no
    /// app.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn remove_app(&self, user: &User, session: &str, now: Time) -> Result<bool, StoreError> {
        self.write(|connection| {
            lock_user(connection, user.id)?;
            let app = totp::table.filter(totp::user_id.eq(user.id));
            if diesel::delete(app).execute(connection)? == 0 {
                return Ok(false);
            }
            forget_lone_recovery_codes(connection, user.id)?;
            end_other_sessions(connection, user.id, session)?;
            self.note(connection, "remove second factor", &format!("user {}", user.name), "app", now)?;
            Ok(true)
        })
    }

    /// Removes every second factor of a user, and ends their sessions. If the user does it,
    /// `from_session` is the session of the request, which does not end. Returns false if there is
    /// no such user, or nothing to remove.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn remove_second_factor(
        &self,
        user_id: i64,
        from_session: Option<&str>,
        now: Time,
    ) -> Result<bool, StoreError> {
        self.write(|connection| {
            lock_user(connection, user_id)?;
            let Some(user) = find_user(connection, user_id)? else { return Ok(false) };
            if end_factors(connection, user_id)? == 0 {
                return Ok(false);
            }
            match from_session {
                Some(session) => end_other_sessions(connection, user_id, session)?,
                None => end_sessions(connection, user_id)?,
            };
            self.note(connection, "remove second factor", &format!("user {}", user.name), "", now)?;
            Ok(true)
        })
    }

    /// Sets whether this user must have a second factor, even if not all users must. Returns false
    /// if there is no such user.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn require_second_factor(&self, id: i64, required: bool, now: Time) -> Result<bool, StoreError> {
        self.write(|connection| {
            let Some(user) = find_user(connection, id)? else { return Ok(false) };
            if user.second_factor_required != required {
                diesel::update(users::table.filter(users::id.eq(id)))
                    .set(users::second_factor_required.eq(required))
                    .execute(connection)?;
                let was = |required| if required { "required" } else { "optional" };
                let detail = format!("{} -> {}", was(!required), was(required));
                self.note(connection, "require second factor", &format!("user {}", user.name), &detail, now)?;
            }
            Ok(true)
        })
    }
}
