//! Users, and the links by which they choose a password.
//!
//! Passwords and links are passed as hashes: the store never sees a secret.

use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::access::UserRole;

use super::ending::{end_other_sessions, end_sessions};
use super::rows::{User, UserRow, find_user, insert_user, lock_user};
use crate::connection::AnyConnection;
use crate::rows::ms;
use crate::schema::{identities, invitations, tokens, users};
use crate::{ActingStore, Store, StoreError};

/// What happens to the tokens of a user who is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokensLeft {
    /// They end with the user.
    End,
    /// They belong to this user from now on.
    GoTo(i64),
}

/// The result of a request to remove a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// The user was removed.
    Done {
        /// How many tokens ended or were handed over.
        tokens: usize,
    },
    /// There is no such user.
    Unknown,
    /// The user who should get the tokens does not exist, or may not have them because they are a
    /// viewer or have yet to be confirmed. Nothing was changed.
    NoHeir,
}

impl Store {
    /// Every user, by name.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn users(&self) -> Result<Vec<User>, StoreError> {
        let rows: Vec<UserRow> =
            users::table.order(users::name).select(UserRow::as_select()).load(&mut *self.get()?)?;
        rows.into_iter().map(UserRow::user).collect()
    }

    /// The user with this name, and the hash of their password if they have one.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn user_named(&self, name: &str) -> Result<Option<(User, Option<String>)>, StoreError> {
        let row: Option<UserRow> = users::table
            .filter(users::name.eq(name))
            .select(UserRow::as_select())
            .first(&mut *self.get()?)
            .optional()?;
        row.map(|row| {
            let password = row.password.clone();
            row.user().map(|user| (user, password))
        })
        .transpose()
    }

    /// Whether there is an admin who can log in.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn has_admin(&self) -> Result<bool, StoreError> {
        self.has_admin_in(&mut *self.get()?)
    }

    fn has_admin_in(&self, connection: &mut AnyConnection) -> Result<bool, StoreError> {
        // No issuer is empty. Without a provider, this matches no identity.
        let issuer = self.issuer.as_deref().unwrap_or_default();
        let by_openid = identities::table.filter(identities::issuer.eq(issuer)).select(identities::user_id);
        let admins: i64 = users::table
            .filter(users::role.eq(UserRole::Admin.as_str()))
            .filter(users::password.is_not_null().or(users::id.eq_any(by_openid)))
            .filter(users::confirmed)
            .count()
            .get_result(connection)?;
        Ok(admins > 0)
    }

    /// Stores the hash of a link by which the first admin is created. Returns false, and stores
    /// nothing, if there is an admin who can log in.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn invite_first_admin(&self, invitation: &str, expires_at: Time) -> Result<bool, StoreError> {
        self.write(|connection| {
            if self.has_admin_in(connection)? {
                return Ok(false);
            }
            invite(connection, invitation, None, expires_at)?;
            Ok(true)
        })
    }

    /// For whom the link with this hash is: `Some(Some(user))` for a user, `Some(None)` for the
    /// first admin, and `None` if it cannot be used.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn invited(&self, invitation: &str, now: Time) -> Result<Option<Option<User>>, StoreError> {
        let connection = &mut *self.get()?;
        let Some(user_id) = find_invitation(connection, invitation, now)? else { return Ok(None) };
        match user_id {
            Some(id) => Ok(find_user(connection, id)?.map(Some)),
            None if self.has_admin_in(connection)? => Ok(None),
            None => Ok(Some(None)),
        }
    }
}

impl ActingStore {
    /// Creates a user, and stores the hash of the link by which they choose a password. Returns
    /// `None` if the name is taken or looks like another user's, or if it is not allowed.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn add_user(
        &self,
        name: &str,
        role: UserRole,
        invitation: &str,
        expires_at: Time,
        now: Time,
    ) -> Result<Option<User>, StoreError> {
        self.write(|connection| {
            let Some(mut user) = insert_user(connection, name, role, None, now)? else { return Ok(None) };
            if self.actor.is_anybody() {
                diesel::update(users::table.filter(users::id.eq(user.id)))
                    .set(users::confirmed.eq(false))
                    .execute(connection)?;
                user.confirmed = false;
            }
            invite(connection, invitation, Some(user.id), expires_at)?;
            self.note(connection, "add user", &format!("user {name}"), role.as_str(), now)?;
            Ok(Some(user))
        })
    }

    /// Returns the user with this name, and creates them without a password if there is none yet.
    /// Returns `None` if the name looks like another user's, or if it is not allowed.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn user_or_new(&self, name: &str, role: UserRole, now: Time) -> Result<Option<User>, StoreError> {
        if let Some((user, _)) = self.user_named(name)? {
            return Ok(Some(user));
        }
        let made = self.write(|connection| {
            let made = insert_user(connection, name, role, None, now)?;
            if made.is_some() {
                self.note(connection, "add user", &format!("user {name}"), role.as_str(), now)?;
            }
            Ok(made)
        })?;
        match made {
            Some(user) => Ok(Some(user)),
            // Another request may have created the user in between.
            None => Ok(self.user_named(name)?.map(|(user, _)| user)),
        }
    }

    /// Gives a user another role, and ends their sessions. Returns false if there is no such user.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn change_role(&self, id: i64, role: UserRole, now: Time) -> Result<bool, StoreError> {
        self.write(|connection| {
            let Some(user) = find_user(connection, id)? else { return Ok(false) };
            diesel::update(users::table.filter(users::id.eq(id)))
                .set(users::role.eq(role.as_str()))
                .execute(connection)?;
            end_sessions(connection, id)?;
            let detail = format!("role: {} -> {}", user.role.as_str(), role.as_str());
            self.note(connection, "change user", &format!("user {}", user.name), &detail, now)?;
            Ok(true)
        })
    }

    /// Changes the password from `old` to `new` (both are hashes). The user's links and their other
    /// sessions end; `session` does not. Returns false if the password is no longer `old`.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn change_password(
        &self,
        user: &User,
        old: &str,
        new: &str,
        session: &str,
        now: Time,
    ) -> Result<bool, StoreError> {
        self.write(|connection| {
            lock_user(connection, user.id)?;
            let unchanged = users::table.filter(users::id.eq(user.id)).filter(users::password.eq(old));
            if diesel::update(unchanged).set(users::password.eq(Some(new))).execute(connection)? == 0 {
                return Ok(false);
            }
            diesel::delete(invitations::table.filter(invitations::user_id.eq(user.id)))
                .execute(connection)?;
            end_other_sessions(connection, user.id, session)?;
            self.note(connection, "change password", &format!("user {}", user.name), "", now)?;
            Ok(true)
        })
    }

    /// Stores the hash of a new link by which a user chooses a password, in place of earlier ones.
    /// Returns false if there is no such user.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn invite_again(
        &self,
        id: i64,
        invitation: &str,
        expires_at: Time,
        now: Time,
    ) -> Result<bool, StoreError> {
        self.write(|connection| {
            let Some(user) = find_user(connection, id)? else { return Ok(false) };
            diesel::delete(invitations::table.filter(invitations::user_id.eq(id))).execute(connection)?;
            invite(connection, invitation, Some(id), expires_at)?;
            self.note(connection, "make password link", &format!("user {}", user.name), "", now)?;
            Ok(true)
        })
    }

    /// Removes a user with their sessions and links. Their tokens end or are handed over.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn remove_user(&self, id: i64, tokens: TokensLeft, now: Time) -> Result<Removed, StoreError> {
        self.write(|connection| {
            let Some(user) = find_user(connection, id)? else { return Ok(Removed::Unknown) };
            let of_user = tokens::table.filter(tokens::owner_id.eq(id));
            let names: Vec<String> = of_user.select(tokens::name).order(tokens::name).load(connection)?;
            let fate = match tokens {
                TokensLeft::End => {
                    diesel::delete(of_user).execute(connection)?;
                    "ended"
                }
                TokensLeft::GoTo(heir) => {
                    let heir = find_user(connection, heir)?
                        .filter(|heir| heir.id != id && heir.confirmed && heir.role != UserRole::Viewer);
                    let Some(heir) = heir else { return Ok(Removed::NoHeir) };
                    diesel::update(of_user).set(tokens::owner_id.eq(heir.id)).execute(connection)?;
                    &format!("handed over to {}", heir.name)
                }
            };
            diesel::delete(users::table.filter(users::id.eq(id))).execute(connection)?;
            let detail: Vec<String> = names.iter().map(|name| format!("token {name}: {fate}")).collect();
            self.note(connection, "remove user", &format!("user {}", user.name), &detail.join("\n"), now)?;
            Ok(Removed::Done { tokens: names.len() })
        })
    }

    /// Uses the link with the hash `invitation`: sets the password (a hash) of its user, or creates
    /// the first admin with the name `name`. Ends the user's sessions, and all other links for that
    /// user or for the first admin. Returns `None` if the link cannot be used any more, or the name
    /// cannot be taken.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn accept_invitation(
        &self,
        invitation: &str,
        name: &str,
        password: &str,
        now: Time,
    ) -> Result<Option<User>, StoreError> {
        self.write(|connection| {
            let Some(user_id) = find_invitation(connection, invitation, now)? else { return Ok(None) };
            match user_id {
                Some(id) => lock_user(connection, id)?,
                None => lock_first_links(connection)?,
            }
            // The transaction that deletes the link has used it.
            let used = diesel::delete(invitations::table.filter(invitations::hash.eq(invitation)))
                .execute(connection)?;
            if used == 0 {
                return Ok(None);
            }
            let user = match user_id {
                Some(id) => find_user(connection, id)?,
                None if self.has_admin_in(connection)? => None,
                None => {
                    let made = insert_user(connection, name, UserRole::Admin, Some(password), now)?;
                    diesel::delete(invitations::table.filter(invitations::user_id.is_null()))
                        .execute(connection)?;
                    made
                }
            };
            let Some(user) = user else {
                // Roll back, so that the link can be used again with another name.
                return Err(StoreError::Refused(diesel::result::Error::RollbackTransaction));
            };
            diesel::update(users::table.filter(users::id.eq(user.id)))
                .set(users::password.eq(Some(password)))
                .execute(connection)?;
            diesel::delete(invitations::table.filter(invitations::user_id.eq(user.id)))
                .execute(connection)?;
            end_sessions(connection, user.id)?;
            self.note(connection, "choose password", &format!("user {}", user.name), "", now)?;
            Ok(Some(User { has_password: true, ..user }))
        })
        .or_else(|error| match error {
            StoreError::Refused(diesel::result::Error::RollbackTransaction) => Ok(None),
            other => Err(other),
        })
    }
}

/// Locks all links for the first admin, so that only one of them can be used.
fn lock_first_links(connection: &mut AnyConnection) -> Result<(), StoreError> {
    if let AnyConnection::Postgres(connection) = connection {
        diesel::sql_query("SELECT hash FROM invitations WHERE user_id IS NULL ORDER BY hash FOR UPDATE")
            .execute(connection)?;
    }
    Ok(())
}

fn invite(
    connection: &mut AnyConnection,
    hash: &str,
    user_id: Option<i64>,
    expires_at: Time,
) -> Result<(), StoreError> {
    diesel::insert_into(invitations::table)
        .values((
            invitations::hash.eq(hash),
            invitations::user_id.eq(user_id),
            invitations::expires_at.eq(ms(expires_at)),
        ))
        .execute(connection)?;
    Ok(())
}

/// The user whose link it is, or `Some(None)` for the first admin. `None` if it cannot be used.
fn find_invitation(
    connection: &mut AnyConnection,
    hash: &str,
    now: Time,
) -> Result<Option<Option<i64>>, StoreError> {
    Ok(invitations::table
        .filter(invitations::hash.eq(hash))
        .filter(invitations::expires_at.gt(ms(now)))
        .select(invitations::user_id)
        .first(connection)
        .optional()?)
}
