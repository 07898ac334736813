//! Passkeys, and the ceremonies in which they are made and used.
//!
//! What a credential and a ceremony's state say is for whoever knows WebAuthn; here they are text.

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
/// How long a browser may take: five minutes, which it is told, and a little for the way.
pub(crate) const CEREMONY_HOLDS: TimeDelta = TimeDelta::seconds(330);

/// A passkey of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passkey {
    /// Its number.
    pub id: i64,
    /// What its authenticator calls it, in base64url.
    pub credential_id: String,
    /// JSON: its public key, and what is known of its authenticator.
    pub credential: String,
    /// What its user calls it.
    pub name: String,
    /// When it was added.
    pub created_at: Time,
    /// When somebody last logged in with it.
    pub last_used_at: Option<Time>,
}

/// A passkey that is to be added.
#[derive(Debug, Clone, Copy)]
pub struct NewPasskey<'a> {
    /// What its authenticator calls it, in base64url.
    pub credential_id: &'a str,
    /// JSON: its public key, and what is known of its authenticator.
    pub credential: &'a str,
    /// What its user calls it.
    pub name: &'a str,
    /// The session (as its hash) in which its user adds it.
    pub session: &'a str,
    /// Recovery codes (as their hashes), for a first second factor.
    pub recovery_codes: &'a [String],
}

/// What became of a passkey that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasskeyAdded {
    /// It is there, and is the user's first second factor: the recovery codes are in force, and the other sessions, which
    /// came in without, have ended.
    First,
    /// It is there beside others.
    Another,
    /// It is somebody's already.
    Taken,
    /// Its user has [`MOST_PASSKEYS`] already.
    TooMany,
}

/// What a ceremony is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum CeremonyKind {
    /// A passkey is added.
    Register,
    /// One signs, so that its user comes in, or changes their account.
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

    /// A passkey has signed: keeps what is known of it now, and how often it has signed, as it says. False, and nothing
    /// is kept, when it has signed that often before (there are two of it), or is no passkey of this user any more.
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
            // Zero: its authenticator does not count.
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

    /// Begins a ceremony of the session, or the pending login, with this hash. It takes the place of an earlier one of
    /// the same kind. Those of sessions and logins that are over go: so a user has at most one of each kind for each of
    /// theirs, and nobody gives up another one's.
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

    /// The state of a ceremony that is under way, for whoever asks first: it ends by that.
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
    /// Adds a passkey of a user.
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

    /// Gives a passkey of a user another name. False when there is none of this number.
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

    /// Removes a passkey of a user; without another second factor the recovery codes go, too. Their sessions end but this
    /// one: somebody may have come in by it. False when there is none of this number.
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

/// Removes the ceremonies that began before this time.
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
