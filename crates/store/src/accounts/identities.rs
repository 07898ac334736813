//! Users who log in by OpenID Connect: which user a provider's subject stands for, and logins that
//! have begun.
//!
//! Secrets are passed as hashes: the store never sees them.

use std::sync::Arc;

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use innkeeper_core::Time;
use innkeeper_core::access::UserRole;

use super::ending::end_sessions;
use super::rows::{User, UserRow, find_user, insert_user, lock_user};
use crate::connection::AnyConnection;
use crate::rows::ms;
use crate::schema::{identities, invitations, openid_logins, users};
use crate::{ActingStore, Actor, Store, StoreError};

/// A login must be completed within this time.
pub(crate) const LOGINS_HOLD: TimeDelta = TimeDelta::minutes(10);
/// The most logins that may be under way from one network, and in total. If there are more, the
/// oldest are removed.
const MOST_OF_A_NETWORK: i64 = 100;
const MOST_LOGINS: i64 = 20_000;

/// A person whose identity a provider confirms.
#[derive(Debug, Clone, Copy)]
pub struct Newcomer<'a> {
    /// The provider.
    pub issuer: &'a str,
    /// The provider's identifier for the person, which never changes.
    pub subject: &'a str,
    /// Their user name if they log in for the first time. `None` if the provider sent no usable
    /// name.
    pub name: Option<&'a str>,
    /// Their role. `None` if they may not log in.
    pub role: Option<UserRole>,
    /// Whether the provider said nothing about roles. Then `role` does not replace another role of
    /// an existing user.
    pub role_unsaid: bool,
    /// Whether `role` counts at each login, and not only at the first.
    pub role_follows: bool,
    /// Whether a person who logs in for the first time with the name of an existing user is taken
    /// for that user.
    pub trust_names: bool,
    /// The client's address.
    pub source: &'a str,
}

impl Newcomer<'_> {
    /// Whether `role` must not replace the user's own role, because the provider said nothing about
    /// roles.
    fn keeps_from(&self, user: &User, role: UserRole) -> bool {
        self.role_unsaid && self.role_follows && user.role != role
    }
}

/// The result of a login at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrived {
    /// The person is this user, who may log in.
    In(User),
    /// The person is this user, who has yet to be confirmed.
    Unconfirmed(User),
    /// The person has no role, and may not log in. If they are a user, their sessions have ended,
    /// their password has been removed, and they are a viewer.
    NoRole,
    /// The provider said nothing about roles, and the user has another role than the default.
    RoleUnsaid,
    /// The person logs in for the first time, and the provider sent no usable name.
    Nameless,
    /// The person logs in for the first time, and another user has their name.
    NameTaken,
    /// As [`Self::NameTaken`], and the user with that name has another subject at this provider.
    AnotherSubject,
}

impl Store {
    /// The same store, for users who can log in at this provider. [`Store::has_admin`] then counts
    /// admins who can do so.
    #[must_use]
    pub fn with_logins_at(&self, issuer: Option<&str>) -> Self {
        let mut store = self.clone();
        store.issuer = issuer.map(Arc::from);
        store
    }

    /// Finds the user for a person who has logged in at a provider. Creates the user at the first
    /// login, and updates their role at later ones. If the role changes, the user's sessions end.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn arrive(&self, newcomer: &Newcomer<'_>, now: Time) -> Result<Arrived, StoreError> {
        self.write(|connection| match (find(connection, newcomer)?, newcomer.role) {
            (Some(user), None) => {
                self.by(&user.name, newcomer).lose_role(connection, &user, now)?;
                Ok(Arrived::NoRole)
            }
            (Some(user), Some(role)) => {
                self.by(&user.name, newcomer).follow(connection, newcomer, user, role, now)
            }
            (None, None) => Ok(Arrived::NoRole),
            (None, Some(role)) => self.welcome(connection, newcomer, role, now),
        })
    }

    /// A store that acts as the user `name`: the audit log names the user themselves for what their
    /// login changes. Such an entry does not confirm anybody who has yet to be confirmed
    /// ([`innkeeper_core::open_past`]). `name` is the user's name here, which may differ from the
    /// one at the provider.
    fn by(&self, name: &str, newcomer: &Newcomer<'_>) -> ActingStore {
        self.acting_as(Actor::user(name, newcomer.source))
    }

    /// Handles the first login of a person: creates a user, or links them to an existing one.
    fn welcome(
        &self,
        connection: &mut AnyConnection,
        newcomer: &Newcomer<'_>,
        role: UserRole,
        now: Time,
    ) -> Result<Arrived, StoreError> {
        let Some(name) = newcomer.name else { return Ok(Arrived::Nameless) };
        if let Some(user) = insert_user(connection, name, role, None, now)? {
            if identify(connection, newcomer, &user)? {
                let detail = format!("{}\nby OpenID Connect: {}", role.as_str(), newcomer.subject);
                self.by(name, newcomer).note(
                    connection,
                    "add user",
                    &format!("user {name}"),
                    &detail,
                    now,
                )?;
                return Ok(Arrived::In(user));
            }
            // Another request has linked this subject to a user with another name in between.
            diesel::delete(users::table.filter(users::id.eq(user.id))).execute(connection)?;
        }
        let row: Option<UserRow> = users::table
            .filter(users::name.eq(name))
            .select(UserRow::as_select())
            .first(connection)
            .optional()?;
        let called_so = row.map(UserRow::user).transpose()?;
        if let Some(user) = &called_so {
            // Two persons with this name must not be linked to the user at the same time.
            lock_user(connection, user.id)?;
        }
        // Another request may have linked the person in between.
        if let Some(user) = find(connection, newcomer)? {
            return self.by(&user.name, newcomer).follow(connection, newcomer, user, role, now);
        }
        let Some(user) = called_so else { return Ok(Arrived::NameTaken) };
        if is_another(connection, newcomer.issuer, &user)? {
            return Ok(Arrived::AnotherSubject);
        }
        if !newcomer.trust_names {
            return Ok(Arrived::NameTaken);
        }
        if !user.confirmed {
            return Ok(Arrived::Unconfirmed(user));
        }
        if newcomer.keeps_from(&user, role) {
            return Ok(Arrived::RoleUnsaid);
        }
        if !identify(connection, newcomer, &user)? {
            return Ok(Arrived::AnotherSubject);
        }
        let detail = format!("comes by OpenID Connect: {}", newcomer.subject);
        let own = self.by(name, newcomer);
        own.note(connection, "change user", &format!("user {name}"), &detail, now)?;
        own.follow(connection, newcomer, user, role, now)
    }

    /// The ids of the users who log in by OpenID Connect.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn users_by_openid(&self) -> Result<Vec<i64>, StoreError> {
        Ok(identities::table.select(identities::user_id).distinct().load(&mut *self.get()?)?)
    }

    /// Stores that a login has begun. `login` is the hash of the secret that the browser must bring
    /// back, `network` is the client's, and `next` is the page to show afterwards.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn begin_openid_login(
        &self,
        login: &str,
        network: &str,
        next: &str,
        now: Time,
    ) -> Result<(), StoreError> {
        self.write(|connection| {
            diesel::delete(openid_logins::table.filter(openid_logins::began_at.le(ms(now - LOGINS_HOLD))))
                .execute(connection)?;
            diesel::insert_into(openid_logins::table)
                .values((
                    openid_logins::hash.eq(login),
                    openid_logins::network.eq(network),
                    openid_logins::next.eq(next),
                    openid_logins::began_at.eq(ms(now)),
                ))
                .execute(connection)?;
            Ok(())
        })?;
        let connection = &mut *self.get()?;
        // Skip logins that are being completed: their rows are locked.
        let skip = match connection {
            AnyConnection::Postgres(_) => "FOR UPDATE SKIP LOCKED",
            AnyConnection::Sqlite(_) => "",
        };
        let of_network: i64 =
            openid_logins::table.filter(openid_logins::network.eq(network)).count().get_result(connection)?;
        if of_network > MOST_OF_A_NETWORK {
            sql_query(format!(
                "DELETE FROM openid_logins WHERE hash IN
                     (SELECT hash FROM openid_logins WHERE network = $1 ORDER BY began_at LIMIT $2 {skip})"
            ))
            .bind::<Text, _>(network)
            .bind::<BigInt, _>(of_network - MOST_OF_A_NETWORK)
            .execute(connection)?;
        }
        let in_all: i64 = openid_logins::table.count().get_result(connection)?;
        if in_all > MOST_LOGINS {
            sql_query(format!(
                "DELETE FROM openid_logins WHERE hash IN
                     (SELECT hash FROM openid_logins ORDER BY began_at LIMIT $1 {skip})"
            ))
            .bind::<BigInt, _>(in_all - MOST_LOGINS)
            .execute(connection)?;
        }
        Ok(())
    }

    /// Ends the login with this hash, and returns the page to show afterwards. `None` if there is
    /// no such login, if another request has ended it, or if it has expired.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn end_openid_login(&self, login: &str, now: Time) -> Result<Option<String>, StoreError> {
        self.write(|connection| {
            let row = openid_logins::table.filter(openid_logins::hash.eq(login));
            let found: Option<(String, i64)> =
                row.select((openid_logins::next, openid_logins::began_at)).first(connection).optional()?;
            let Some((next, began_at)) = found else { return Ok(None) };
            // The transaction that deletes the row gets the result.
            let ended = diesel::delete(row).execute(connection)?;
            Ok(Some(next).filter(|_| ended == 1 && began_at > ms(now - LOGINS_HOLD)))
        })
    }
}

impl ActingStore {
    /// Handles a later login of a user, whose role may have changed.
    fn follow(
        &self,
        connection: &mut AnyConnection,
        newcomer: &Newcomer<'_>,
        user: User,
        role: UserRole,
        now: Time,
    ) -> Result<Arrived, StoreError> {
        if !user.confirmed {
            return Ok(Arrived::Unconfirmed(user));
        }
        if !newcomer.role_follows || user.role == role {
            return Ok(Arrived::In(user));
        }
        if newcomer.keeps_from(&user, role) {
            return Ok(Arrived::RoleUnsaid);
        }
        set_role(connection, &user, role)?;
        end_sessions(connection, user.id)?;
        let detail = format!("role: {} -> {}\nby OpenID Connect", user.role.as_str(), role.as_str());
        self.note(connection, "change user", &format!("user {}", user.name), &detail, now)?;
        Ok(Arrived::In(User { role, ..user }))
    }

    /// Takes the role from a user to whom the provider gives none. Their sessions end, their
    /// password and links are removed, and they become a viewer, so that their tokens can only
    /// read.
    fn lose_role(&self, connection: &mut AnyConnection, user: &User, now: Time) -> Result<(), StoreError> {
        lock_user(connection, user.id)?;
        let ended = end_sessions(connection, user.id)?;
        let links = diesel::delete(invitations::table.filter(invitations::user_id.eq(user.id)))
            .execute(connection)?;
        let passwords = diesel::update(users::table.filter(users::id.eq(user.id)))
            .filter(users::password.is_not_null())
            .set(users::password.eq(None::<String>))
            .execute(connection)?;
        if ended + links + passwords == 0 && user.role == UserRole::Viewer {
            return Ok(());
        }
        set_role(connection, user, UserRole::Viewer)?;
        let mut detail = format!(
            "role: {} -> {}\nby OpenID Connect, which gives no role any more: sessions ended",
            user.role.as_str(),
            UserRole::Viewer.as_str()
        );
        if passwords + links > 0 {
            detail.push_str(", password removed");
        }
        self.note(connection, "change user", &format!("user {}", user.name), &detail, now)
    }
}

fn find(connection: &mut AnyConnection, newcomer: &Newcomer<'_>) -> Result<Option<User>, StoreError> {
    let id: Option<i64> = identities::table
        .filter(identities::issuer.eq(newcomer.issuer))
        .filter(identities::subject.eq(newcomer.subject))
        .select(identities::user_id)
        .first(connection)
        .optional()?;
    match id {
        Some(id) => find_user(connection, id),
        None => Ok(None),
    }
}

/// Whether the user has a subject at this provider already.
fn is_another(connection: &mut AnyConnection, issuer: &str, user: &User) -> Result<bool, StoreError> {
    let others: i64 = identities::table
        .filter(identities::user_id.eq(user.id))
        .filter(identities::issuer.eq(issuer))
        .count()
        .get_result(connection)?;
    Ok(others > 0)
}

/// Links the provider's subject to the user. Returns false if the subject belongs to a user
/// already.
fn identify(
    connection: &mut AnyConnection,
    newcomer: &Newcomer<'_>,
    user: &User,
) -> Result<bool, StoreError> {
    let made = sql_query(
        "INSERT INTO identities (issuer, subject, user_id) VALUES ($1, $2, $3)
         ON CONFLICT (issuer, subject) DO NOTHING",
    )
    .bind::<Text, _>(newcomer.issuer)
    .bind::<Text, _>(newcomer.subject)
    .bind::<BigInt, _>(user.id)
    .execute(connection)?;
    Ok(made == 1)
}

fn set_role(connection: &mut AnyConnection, user: &User, role: UserRole) -> Result<(), StoreError> {
    diesel::update(users::table.filter(users::id.eq(user.id)))
        .set(users::role.eq(role.as_str()))
        .execute(connection)?;
    Ok(())
}
