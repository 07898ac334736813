//! Users who come by OpenID Connect: whom a provider means, and logins that have been begun.
//!
//! What was drawn at random comes in as its hash: the store never sees a secret.

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

/// A login must end this soon after its beginning.
pub(crate) const LOGINS_HOLD: TimeDelta = TimeDelta::minutes(10);
/// So many may be under way from one network, and in all. Beyond, the oldest are forgotten.
const MOST_OF_A_NETWORK: i64 = 100;
const MOST_LOGINS: i64 = 20_000;

/// Somebody of whom a provider says who they are.
#[derive(Debug, Clone, Copy)]
pub struct Newcomer<'a> {
    /// Which provider.
    pub issuer: &'a str,
    /// Its own name for them, which never changes.
    pub subject: &'a str,
    /// What they are to be called, where they come for the first time; none where no name can be taken.
    pub name: Option<&'a str>,
    /// What they may do; none where they may not come in.
    pub role: Option<UserRole>,
    /// Whether the provider said nothing of it, so that nobody's role is taken from them.
    pub role_unsaid: bool,
    /// Whether that is so each time, and not the first time alone.
    pub role_follows: bool,
    /// Whether somebody who is called like a user that there is, is that user.
    pub trust_names: bool,
    /// The client's address.
    pub source: &'a str,
}

impl Newcomer<'_> {
    /// Whether this role is not theirs to have instead of the user's own: the provider said nothing of it.
    fn keeps_from(&self, user: &User, role: UserRole) -> bool {
        self.role_unsaid && self.role_follows && user.role != role
    }
}

/// What came of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrived {
    /// They are this user, who may come in.
    In(User),
    /// They are this user, who has yet to be confirmed.
    Unconfirmed(User),
    /// They have no role; those who had one, have none any more, and neither session nor password.
    NoRole,
    /// The provider said nothing of their role, and they have another than those of whom it says nothing.
    RoleUnsaid,
    /// They come for the first time, and have no name.
    Nameless,
    /// They come for the first time, and another user has their name.
    NameTaken,
    /// The same, and this provider means that user by another subject.
    AnotherSubject,
}

impl Store {
    /// The same store, where users can log in at this provider: an admin who can do so is one that there is
    /// ([`Store::has_admin`]).
    #[must_use]
    pub fn with_logins_at(&self, issuer: Option<&str>) -> Self {
        let mut store = self.clone();
        store.issuer = issuer.map(Arc::from);
        store
    }

    /// The user whom a provider means: makes them when they come for the first time, and gives them the role that they
    /// have now. One whose role changes has no session any more.
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

    /// What a login changes is its user's own deed in the audit log: it vouches for nobody who is doubted
    /// ([`innkeeper_core::open_past`]). `name` is what they are called here, whatever the provider says.
    fn by(&self, name: &str, newcomer: &Newcomer<'_>) -> ActingStore {
        self.acting_as(Actor::user(name, newcomer.source))
    }

    /// The first time.
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
            // Another request made them under another name.
            diesel::delete(users::table.filter(users::id.eq(user.id))).execute(connection)?;
        }
        let row: Option<UserRow> = users::table
            .filter(users::name.eq(name))
            .select(UserRow::as_select())
            .first(connection)
            .optional()?;
        let called_so = row.map(UserRow::user).transpose()?;
        if let Some(user) = &called_so {
            // Two who are called so come one after the other.
            lock_user(connection, user.id)?;
        }
        // Made by another request in between.
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

    /// Which users come by OpenID Connect, by their numbers.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn users_by_openid(&self) -> Result<Vec<i64>, StoreError> {
        Ok(identities::table.select(identities::user_id).distinct().load(&mut *self.get()?)?)
    }

    /// Remembers that a login was begun, by the hash of what must come back.
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
        // Those that somebody ends just now are not the oldest.
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

    /// Where the login with this hash goes on, which ends with that: it is had once, and in time.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn end_openid_login(&self, login: &str, now: Time) -> Result<Option<String>, StoreError> {
        self.write(|connection| {
            let row = openid_logins::table.filter(openid_logins::hash.eq(login));
            let found: Option<(String, i64)> =
                row.select((openid_logins::next, openid_logins::began_at)).first(connection).optional()?;
            let Some((next, began_at)) = found else { return Ok(None) };
            // Whoever deletes it has it.
            let ended = diesel::delete(row).execute(connection)?;
            Ok(Some(next).filter(|_| ended == 1 && began_at > ms(now - LOGINS_HOLD)))
        })
    }
}

impl ActingStore {
    /// Another time: the role may have changed.
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

    /// Their sessions end, their tokens do no more than read, and no password lets them in beside the provider.
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

/// Whether the provider means somebody else by this user already.
fn is_another(connection: &mut AnyConnection, issuer: &str, user: &User) -> Result<bool, StoreError> {
    let others: i64 = identities::table
        .filter(identities::user_id.eq(user.id))
        .filter(identities::issuer.eq(issuer))
        .count()
        .get_result(connection)?;
    Ok(others > 0)
}

/// False where somebody is known by this subject already.
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
