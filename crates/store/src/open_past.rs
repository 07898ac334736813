//! Users, tokens and shares that were made or changed while the instance was open to everybody, and
//! their confirmation ([`innkeeper_core::open_past`]).

use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::open_past::{ACTIONS, ANYBODY, AuditAction, OpenPast};

use crate::accounts::ending::{end_factors, end_sessions};
use crate::accounts::rows::{User, find_user};
use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::{audit, invitations, shares, tokens, users};
use crate::tokens::{find_token, owner_of};
use crate::{ActingStore, Store, StoreError};

/// How many users, tokens and shares are not confirmed yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unconfirmed {
    /// Users.
    pub users: i64,
    /// Tokens.
    pub tokens: i64,
    /// Status pages and badges that are shown without a login.
    pub shares: i64,
}

/// The outcome of confirming a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenConfirmed {
    /// The token can be used.
    Done,
    /// There is no token of this number.
    Unknown,
    /// It belongs to this user, who has to be confirmed first.
    OwnerFirst(String),
}

impl Store {
    /// Requires a confirmation of all users, tokens and shares that unnamed visitors made or
    /// changed, according to the audit log. The migration only covers the simplest cases, and a
    /// node of an older version may have let visitors act since.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn doubt_the_open_past(&self) -> Result<(), StoreError> {
        self.write(doubt)
    }

    /// How many users, tokens and shares from the time when the instance was open are not confirmed
    /// yet.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn unconfirmed(&self) -> Result<Unconfirmed, StoreError> {
        let connection = &mut *self.get()?;
        let users = users::table.filter(users::confirmed.eq(false)).count().get_result(connection)?;
        let is_nobodys = tokens::created_by.eq(ANYBODY).and(tokens::owner_id.is_null());
        let tokens = tokens::table
            .filter(tokens::confirmed.eq(false).or(is_nobodys))
            .count()
            .get_result(connection)?;
        let shares = shares::table.filter(shares::confirmed.eq(false)).count().get_result(connection)?;
        Ok(Unconfirmed { users, tokens, shares })
    }

    /// How many tokens have no owner because their maker was removed by an older version, in which
    /// tokens did not end with their users.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn tokens_left_behind(&self) -> Result<i64, StoreError> {
        let of_somebody = tokens::created_by.like("user %").or(tokens::created_by.like("token %"));
        let left = tokens::table.filter(tokens::owner_id.is_null()).filter(of_somebody);
        Ok(left.count().get_result(&mut *self.get()?)?)
    }
}

impl ActingStore {
    /// Confirms a user whom an unnamed visitor made or changed while the instance was open; the
    /// role stays as it is now. The user's password, sessions, second factors and invitation links
    /// end, because strangers may have them, so the user needs a new link. None when there is no
    /// such user.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn confirm_user(&self, id: i64, now: Time) -> Result<Option<User>, StoreError> {
        self.write(|connection| {
            let Some(user) = find_user(connection, id)? else { return Ok(None) };
            if user.confirmed {
                return Ok(Some(user));
            }
            diesel::update(users::table.filter(users::id.eq(id)))
                .set((users::confirmed.eq(true), users::password.eq(None::<String>)))
                .execute(connection)?;
            end_sessions(connection, id)?;
            end_links(connection, id)?;
            end_factors(connection, id)?;
            let (subject, role) = (format!("user {}", user.name), user.role.as_str());
            self.note(connection, "confirm user", &subject, role, now)?;
            // What this user made meanwhile is doubted and confirmed separately.
            doubt(connection)?;
            Ok(Some(User { confirmed: true, has_password: false, ..user }))
        })
    }

    /// Confirms a token that an unnamed visitor made while the instance was open. A token without
    /// an owner then belongs to the user who confirms it.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn confirm_token(&self, id: i64, now: Time) -> Result<TokenConfirmed, StoreError> {
        self.write(|connection| {
            let Some((row, owner)) = find_token(connection, id)? else { return Ok(TokenConfirmed::Unknown) };
            if let Some(owner) = owner.filter(|owner| !owner.confirmed) {
                return Ok(TokenConfirmed::OwnerFirst(owner.name));
            }
            if !row.is_confirmed() {
                let who = self.actor.who.as_str();
                let owner = match row.owner_id {
                    Some(owner) => Some(owner),
                    None => owner_of(connection, who)?.id(),
                };
                diesel::update(tokens::table.filter(tokens::id.eq(id)))
                    .set((tokens::confirmed.eq(true), tokens::owner_id.eq(owner)))
                    .execute(connection)?;
                self.note(connection, "confirm token", &format!("token {}", row.name), &row.scopes, now)?;
            }
            Ok(TokenConfirmed::Done)
        })
    }
}

/// Reads the audit log, and requires a confirmation of everything that it casts doubt on.
fn doubt(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let log: Vec<(i64, String, String, String)> = audit::table
        .filter(audit::action.eq_any(ACTIONS))
        .order(audit::id)
        .select((audit::at, audit::who, audit::action, audit::subject))
        .load(connection)?;
    let past = OpenPast::read(log.iter().map(|(at, who, action, subject)| AuditAction {
        at: time(*at),
        who,
        action,
        subject,
    }));
    for (name, at) in past.users() {
        doubt_user(connection, name, at)?;
    }
    for (name, at) in past.tokens() {
        let made = tokens::table.filter(tokens::name.eq(name)).filter(tokens::created_at.le(ms(at)));
        diesel::update(made).set(tokens::confirmed.eq(false)).execute(connection)?;
    }
    for (subject, at) in past.shares() {
        // "page of app shop"
        let mut words = subject.splitn(4, ' ');
        let [Some(shape), Some(_), Some(kind), Some(of)] = [(); 4].map(|()| words.next()) else { continue };
        let made = shares::table
            .filter(shares::shape.eq(shape).and(shares::kind.eq(kind)).and(shares::subject.eq(of)))
            .filter(shares::created_at.le(ms(at)));
        diesel::update(made).set(shares::confirmed.eq(false)).execute(connection)?;
    }
    Ok(())
}

/// Requires a confirmation of the user of this name, whom an unnamed visitor made or changed at
/// `at`. A later user of the same name is not meant.
fn doubt_user(connection: &mut AnyConnection, name: &str, at: Time) -> Result<(), StoreError> {
    let doubted = users::table
        .filter(users::name.eq(name))
        .filter(users::confirmed)
        .filter(users::created_at.le(ms(at)))
        .select(users::id);
    if let Some(id) = doubted.first(connection).optional()? {
        diesel::update(users::table.filter(users::id.eq(id)))
            .set(users::confirmed.eq(false))
            .execute(connection)?;
        end_links(connection, id)?;
    }
    Ok(())
}

/// Ends the links with which a password for this user can be chosen.
fn end_links(connection: &mut AnyConnection, user_id: i64) -> Result<(), StoreError> {
    diesel::delete(invitations::table.filter(invitations::user_id.eq(user_id))).execute(connection)?;
    Ok(())
}
