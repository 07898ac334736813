//! Second factors: which ones a user has, codes that are taken once, and recovery codes.
//!
//! Codes are computed elsewhere: what comes in is when the step of a right one began, and the hashes of recovery codes.

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

/// A step of a code that began later than another by more than this was no neighbour of it.
const AHEAD: TimeDelta = TimeDelta::minutes(2);
/// Within this a first code is given for a secret that was shown.
pub const SET_UP_WITHIN: TimeDelta = TimeDelta::minutes(15);

/// What became of an authenticator app that is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppAdded {
    /// It counts, and is the user's first second factor: the recovery codes are in force.
    First,
    /// It counts, beside passkeys: the recovery codes of before go on.
    Another,
    /// Its secret is not waited for any more.
    TooLate,
}

impl Store {
    /// Which a user has.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn factors(&self, user_id: i64) -> Result<Factors, StoreError> {
        factors_of(&mut *self.get()?, user_id)
    }

    /// Which each user has, by their numbers; who has none is not in it.
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

    /// Keeps the secret that a session is shown until a first code comes. What another session was shown is gone.
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

    /// The secret that this session is shown, while a first code is waited for.
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

    /// The secret of the user's authenticator app.
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

    /// Takes the right code of the step that began at `began`, of this secret. False when one of that step or a later
    /// was taken: of two at once one is taken. One of a step that is minutes later was taken by a clock that was ahead, and
    /// keeps nobody out.
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
    /// A first code was right, of the step that began at `began`: the secret counts from now on. With a first second factor
    /// come these recovery codes; who has passkeys has theirs. The user's other sessions end, since they came in without.
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
            // One app is not replaced by another: the first must be removed, which asks for more.
            let factors = factors_of(connection, user.id)?;
            if factors.app {
                return Ok(AppAdded::TooLate);
            }
            // Whoever deletes it has finished it.
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

    /// Uses a recovery code (as its hash). False when it is none of the user's, or was used.
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

    /// Gives a user other recovery codes (as their hashes); those of before are gone. False when there is no second factor
    /// any more for which they could stand in.
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

    /// Removes a user's authenticator app, at their own wish; without a passkey the recovery codes go, too. Their sessions
    /// end but this one. False when they have none.
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

    /// Removes every second factor of a user. Their sessions end but the one that they do it from, where they do it
    /// themselves. False when there is no such user, or nothing to remove.
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

    /// Says whether a user must have one, whatever is asked of everybody. False when there is no such user.
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
