//! Passkeys, and the WebAuthn ceremonies in which they are registered and used.
//!
//! The store keeps credentials and the states of ceremonies as text, and does not interpret them.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use innkeeper_core::Time;
use strum::IntoStaticStr;

use super::ending::end_other_sessions;
use super::rows::{User, factors_of, forget_lone_recovery_codes, lock_user, replace_recovery_codes};
use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::{ceremonies, passkeys};
use crate::{ActingStore, Store, StoreError};

/// The most passkeys of one user.
pub const MOST_PASSKEYS: usize = 20;
/// How long a ceremony may take. The browser is told five minutes; the rest allows for the
/// transmission.
pub(crate) const CEREMONY_HOLDS: TimeDelta = TimeDelta::seconds(330);

/// A passkey of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passkey {
    /// Its id.
    pub id: i64,
    /// The credential id that its authenticator has chosen, in base64url.
    pub credential_id: String,
    /// JSON with its public key and what is known about its authenticator.
    pub credential: String,
    /// The name that its user has chosen.
    pub name: String,
    /// When it was added.
    pub created_at: Time,
    /// When somebody last logged in with it.
    pub last_used_at: Option<Time>,
}

/// A passkey that is to be added.
#[derive(Debug, Clone, Copy)]
pub struct NewPasskey<'a> {
    /// The credential id that its authenticator has chosen, in base64url.
    pub credential_id: &'a str,
    /// JSON with its public key and what is known about its authenticator.
    pub credential: &'a str,
    /// The name that its user has chosen.
    pub name: &'a str,
    /// The hash of the session in which its user adds it.
    pub session: &'a str,
    /// The hashes of new recovery codes. They are used if this is the first second factor.
    pub recovery_codes: &'a [String],
}

/// The result of adding a passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasskeyAdded {
    /// It was added and is the user's first second factor. The new recovery codes are valid. The
    /// user's other sessions have ended, because they began without a second factor.
    First,
    /// It was added beside other second factors.
    Another,
    /// It was not added, because it is registered already.
    Taken,
    /// It was not added, because the user has [`MOST_PASSKEYS`] already.
    TooMany,
}

/// What a ceremony is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum CeremonyKind {
    /// A passkey is registered.
    Register,
    /// A passkey signs, so that its user can log in or change their account.
    Authenticate,
}

impl CeremonyKind {
    fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Store {
    /// The passkeys of a user, the oldest first.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn passkeys_of(&self, user_id: i64) -> Result<Vec<Passkey>, StoreError> {
        let rows: Vec<PasskeyRow> = passkeys::table
            .filter(passkeys::user_id.eq(user_id))
            .order(passkeys::id)
            .select(PasskeyRow::as_select())
            .load(&mut *self.get()?)?;
        Ok(rows.into_iter().map(PasskeyRow::passkey).collect())
    }

    /// Records that a passkey has signed: stores its new `credential` and `sign_count`, the
    /// authenticator's count of signatures. Returns false, and stores nothing, if the count has not
    /// grown (the passkey may have been cloned), or if the user does not have this passkey any
    /// more.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn use_passkey(
        &self,
        user_id: i64,
        passkey: &Passkey,
        credential: &str,
        sign_count: u32,
        now: Time,
    ) -> Result<bool, StoreError> {
        let sign_count = i64::from(sign_count);
        self.write(|connection| {
            // An authenticator that does not count always reports zero.
            let counts_on = passkeys::sign_count
                .lt(sign_count)
                .or(passkeys::sign_count.eq(0).and(passkeys::sign_count.eq(sign_count)));
            let used = diesel::update(
                passkeys::table
                    .filter(passkeys::id.eq(passkey.id))
                    .filter(passkeys::user_id.eq(user_id))
                    .filter(counts_on),
            )
            .set((
                passkeys::credential.eq(credential),
                passkeys::sign_count.eq(sign_count),
                passkeys::last_used_at.eq(Some(ms(now))),
            ))
            .execute(connection)?;
            Ok(used > 0)
        })
    }

    /// Begins a ceremony of the session or pending login with this hash. It replaces an earlier
    /// ceremony of the same kind. Ceremonies of the user's sessions and logins that have ended are
    /// removed. Thus a session or pending login has at most one ceremony of each kind, and none can
    /// end the ceremony of another.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn begin_ceremony(
        &self,
        hash: &str,
        kind: CeremonyKind,
        user_id: i64,
        state: &str,
        now: Time,
    ) -> Result<(), StoreError> {
        self.write(|connection| {
            lock_user(connection, user_id)?;
            sql_query(
                "INSERT INTO ceremonies (hash, kind, user_id, state, began_at) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (hash, kind) DO UPDATE
                 SET user_id = excluded.user_id, state = excluded.state, began_at = excluded.began_at",
            )
            .bind::<Text, _>(hash)
            .bind::<Text, _>(kind.as_str())
            .bind::<BigInt, _>(user_id)
            .bind::<Text, _>(state)
            .bind::<BigInt, _>(ms(now))
            .execute(connection)?;
            sql_query(
                "DELETE FROM ceremonies
                 WHERE user_id = $1
                   AND hash <> $2
                   AND hash NOT IN (SELECT hash FROM sessions WHERE user_id = $1)
                   AND hash NOT IN (SELECT hash FROM pending_logins WHERE user_id = $1)",
            )
            .bind::<BigInt, _>(user_id)
            .bind::<Text, _>(hash)
            .execute(connection)?;
            Ok(())
        })
    }

    /// Ends a ceremony, and returns its state. `None` if there is none, if another request has
    /// ended it, or if it has expired.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn take_ceremony(
        &self,
        hash: &str,
        kind: CeremonyKind,
        user_id: i64,
        now: Time,
    ) -> Result<Option<String>, StoreError> {
        let taken: Option<Taken> = self.write(|connection| {
            Ok(sql_query(
                "DELETE FROM ceremonies WHERE hash = $1 AND kind = $2 AND user_id = $3
                 RETURNING state, began_at",
            )
            .bind::<Text, _>(hash)
            .bind::<Text, _>(kind.as_str())
            .bind::<BigInt, _>(user_id)
            .get_result(connection)
            .optional()?)
        })?;
        Ok(taken.filter(|taken| now - time(taken.began_at) < CEREMONY_HOLDS).map(|taken| taken.state))
    }
}

impl ActingStore {
    /// Adds a passkey to a user.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn add_passkey(
        &self,
        user: &User,
        new: NewPasskey<'_>,
        now: Time,
    ) -> Result<PasskeyAdded, StoreError> {
        self.write(|connection| {
            lock_user(connection, user.id)?;
            let factors = factors_of(connection, user.id)?;
            if factors.passkeys >= MOST_PASSKEYS {
                return Ok(PasskeyAdded::TooMany);
            }
            let added = sql_query(
                "INSERT INTO passkeys (user_id, credential_id, credential, name, created_at)
                 VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (credential_id) DO NOTHING",
            )
            .bind::<BigInt, _>(user.id)
            .bind::<Text, _>(new.credential_id)
            .bind::<Text, _>(new.credential)
            .bind::<Text, _>(new.name)
            .bind::<BigInt, _>(ms(now))
            .execute(connection)?;
            if added == 0 {
                return Ok(PasskeyAdded::Taken);
            }
            self.note(connection, "add passkey", &format!("user {}", user.name), new.name, now)?;
            if factors.any() {
                return Ok(PasskeyAdded::Another);
            }
            replace_recovery_codes(connection, user.id, new.recovery_codes)?;
            end_other_sessions(connection, user.id, new.session)?;
            Ok(PasskeyAdded::First)
        })
    }

    /// Renames a passkey of a user. Returns false if they have no passkey with this id.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn rename_passkey(&self, user: &User, id: i64, name: &str, now: Time) -> Result<bool, StoreError> {
        self.write(|connection| {
            let Some(before) = name_of(connection, user.id, id)? else { return Ok(false) };
            if before != name {
                diesel::update(passkeys::table.filter(passkeys::id.eq(id)))
                    .set(passkeys::name.eq(name))
                    .execute(connection)?;
                let detail = format!("name: {before} -> {name}");
                self.note(connection, "rename passkey", &format!("user {}", user.name), &detail, now)?;
            }
            Ok(true)
        })
    }

    /// Removes a passkey of a user, and their recovery codes if they have no other second factor.
    /// Their other sessions end, because somebody may have logged in with the passkey; `session`
    /// does not. Returns false if they have no passkey with this id.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn remove_passkey(&self, user: &User, id: i64, session: &str, now: Time) -> Result<bool, StoreError> {
        self.write(|connection| {
            lock_user(connection, user.id)?;
            let Some(name) = name_of(connection, user.id, id)? else { return Ok(false) };
            diesel::delete(passkeys::table.filter(passkeys::id.eq(id))).execute(connection)?;
            forget_lone_recovery_codes(connection, user.id)?;
            end_other_sessions(connection, user.id, session)?;
            self.note(connection, "remove passkey", &format!("user {}", user.name), &name, now)?;
            Ok(true)
        })
    }
}

/// Removes the ceremonies that began before this time (UTC milliseconds).
pub(crate) fn forget_ceremonies(connection: &mut AnyConnection, before: i64) -> Result<(), StoreError> {
    diesel::delete(ceremonies::table.filter(ceremonies::began_at.lt(before))).execute(connection)?;
    Ok(())
}

fn name_of(connection: &mut AnyConnection, user_id: i64, id: i64) -> Result<Option<String>, StoreError> {
    Ok(passkeys::table
        .filter(passkeys::id.eq(id))
        .filter(passkeys::user_id.eq(user_id))
        .select(passkeys::name)
        .first(connection)
        .optional()?)
}

#[derive(QueryableByName)]
struct Taken {
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = BigInt)]
    began_at: i64,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = passkeys)]
struct PasskeyRow {
    id: i64,
    credential_id: String,
    credential: String,
    name: String,
    created_at: i64,
    last_used_at: Option<i64>,
}

impl PasskeyRow {
    fn passkey(self) -> Passkey {
        Passkey {
            id: self.id,
            credential_id: self.credential_id,
            credential: self.credential,
            name: self.name,
            created_at: time(self.created_at),
            last_used_at: self.last_used_at.map(time),
        }
    }
}
