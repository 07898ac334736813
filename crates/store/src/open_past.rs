//! What is to be confirmed of what was done while everybody could, and its confirmation ([`innkeeper_core::open_past`]).

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

/// How many of each have yet to be confirmed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unconfirmed {
    /// Users.
    pub users: i64,
    /// Tokens.
    pub tokens: i64,
    /// Status pages and badges that are shown outside.
    pub shares: i64,
}

/// What became of the wish to confirm a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenConfirmed {
    /// It can be used.
    Done,
    /// There is none of this number.
    Unknown,
    /// It is this user's, who has to be confirmed first.
    OwnerFirst(String),
}

impl Store {
    /// Has those users, tokens and shares confirmed anew that the audit log says were made or changed by nobody knows whom:
    /// the migration knows the simplest cases alone, and a node of an older version may have let anybody act since.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn doubt_the_open_past(&self) -> Result<(), StoreError> {
        self.write(doubt)
    }

    /// How much has yet to be confirmed of what was made while the instance was open.
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

    /// How many tokens are nobody's because their maker was removed before tokens ended with their users.
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
    /// Lets somebody in whom anybody made or changed while the instance was open, as what they are now. Their password and
    /// sessions end, and the links to them, since nobody knows in whose hands these are: give them another link. None when
    /// there is no such user.
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
            // What they made meanwhile is confirmed by itself.
            doubt(connection)?;
            Ok(Some(User { confirmed: true, has_password: false, ..user }))
        })
    }

    /// Lets a token be used that anybody made while the instance was open; it is whose who confirms it.
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

/// Reads the log, and has what it doubts confirmed anew.
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

/// Has a user confirmed who was made or changed at `at` by nobody knows whom: not one who has the name since.
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

/// Ends the links by which a password of this user can be chosen.
fn end_links(connection: &mut AnyConnection, user_id: i64) -> Result<(), StoreError> {
    diesel::delete(invitations::table.filter(invitations::user_id.eq(user_id))).execute(connection)?;
    Ok(())
}
