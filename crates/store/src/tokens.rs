//! Tokens: secrets that programs use instead of a password. Only their hashes are stored.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use innkeeper_core::Time;
use innkeeper_core::access::{Rights, Scope, UserRole};
use innkeeper_core::names::AppName;
use innkeeper_core::open_past::ANYBODY;

use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::{tokens, users};
use crate::{ActingStore, Store, StoreError};

/// How exactly a token's latest use is recorded, in ms.
const USED_EVERY: i64 = 3_600_000;

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// What it may do. It never may do more than its owner: the token of a viewer can only read.
    pub scopes: Vec<Scope>,
    /// The apps that it is limited to; empty for all apps.
    pub apps: Vec<AppName>,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Time,
    /// When it expires; none if it does not.
    pub expires_at: Option<Time>,
    /// When it was used last, recorded once an hour.
    pub used_at: Option<Time>,
    /// The user to whom it belongs. It ends when that user is removed.
    pub owner: Option<String>,
    /// Whether it can be used. A token that an unnamed visitor made while the instance was open has
    /// to be confirmed by an admin first, and so has the owner of a token.
    pub confirmed: bool,
}

impl Token {
    /// The rights of a program that uses it.
    pub fn rights(&self) -> Rights {
        Rights::of_token(self.scopes.clone(), self.apps.clone())
    }
}

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Its name.
    pub name: String,
    /// The hash of its secret.
    pub hash: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The apps that it is limited to; empty for all apps.
    pub apps: Vec<AppName>,
    /// When it expires; none if it does not.
    pub expires_at: Option<Time>,
}

/// The outcome of making a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenAdded {
    /// The token was made.
    Made(Token),
    /// There is a token of this name already.
    Taken,
    /// The user or token that makes it was removed.
    MakerGone,
    /// It would last longer than the token that makes it, which expires at this time.
    Outlives(Time),
}

impl Store {
    /// Every token, by name.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        let rows: Vec<Row> = tokens::table
            .left_join(users::table)
            .order(tokens::name)
            .select((TokenRow::as_select(), Option::<Owner>::as_select()))
            .load(&mut *self.get()?)?;
        rows.into_iter().map(|(row, owner)| row.token(owner)).collect()
    }

    /// The token with this hash; none when it has expired or its owner was removed. Records its
    /// use. The caller has to check whether it is `confirmed`.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn token(&self, hash: &str, now: Time) -> Result<Option<Token>, StoreError> {
        let connection = &mut *self.get()?;
        let row: Option<Row> = tokens::table
            .left_join(users::table)
            .filter(tokens::hash.eq(hash))
            .filter(tokens::expires_at.is_null().or(tokens::expires_at.gt(ms(now))))
            .filter(tokens::owner_id.is_null().or(users::id.is_not_null()))
            .select((TokenRow::as_select(), Option::<Owner>::as_select()))
            .first(connection)
            .optional()?;
        let Some((row, owner)) = row else { return Ok(None) };
        if row.used_at.is_none_or(|used_at| used_at < ms(now) - USED_EVERY) {
            diesel::update(tokens::table.filter(tokens::id.eq(row.id)))
                .set(tokens::used_at.eq(Some(ms(now))))
                .execute(connection)?;
        }
        row.token(owner).map(Some)
    }
}

impl ActingStore {
    /// Makes a token.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn add_token(&self, token: &NewToken, now: Time) -> Result<TokenAdded, StoreError> {
        self.write(|connection| {
            let apps: Vec<&str> = token.apps.iter().map(AppName::as_str).collect();
            let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
            let by = self.actor.who.as_str();
            let owner = match owner_of(connection, by)? {
                // The maker was removed meanwhile, so the token would have no owner.
                Maker::Gone => return Ok(TokenAdded::MakerGone),
                maker => maker.id(),
            };
            let makers_end = end_of(connection, by)?;
            if let Some(end) = makers_end.filter(|end| token.expires_at.is_none_or(|own| own > *end)) {
                return Ok(TokenAdded::Outlives(end));
            }
            let made = sql_query(
                "INSERT INTO tokens (name, hash, scopes, apps, created_by, created_at, expires_at, confirmed, owner_id)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                 ON CONFLICT (name) DO NOTHING",
            )
            .bind::<Text, _>(&token.name)
            .bind::<Text, _>(&token.hash)
            .bind::<Text, _>(scopes.join(","))
            .bind::<Text, _>(serde_json::Value::from(apps.clone()).to_string())
            .bind::<Text, _>(by)
            .bind::<BigInt, _>(ms(now))
            .bind::<Nullable<BigInt>, _>(token.expires_at.map(ms))
            .bind::<Bool, _>(!self.actor.is_anybody())
            .bind::<Nullable<BigInt>, _>(owner)
            .execute(connection)?;
            if made == 0 {
                return Ok(TokenAdded::Taken);
            }
            let about = match apps.is_empty() {
                true => scopes.join(", "),
                false => format!("{}; for {}", scopes.join(", "), apps.join(", ")),
            };
            self.note(connection, "add token", &format!("token {}", token.name), &about, now)?;
            let (row, owner): Row = tokens::table
                .left_join(users::table)
                .filter(tokens::name.eq(&token.name))
                .select((TokenRow::as_select(), Option::<Owner>::as_select()))
                .first(connection)?;
            row.token(owner).map(TokenAdded::Made)
        })
    }

    /// Removes a token. Returns false when there is none of this number.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn remove_token(&self, id: i64, now: Time) -> Result<bool, StoreError> {
        self.write(|connection| {
            let name: Option<String> =
                tokens::table.filter(tokens::id.eq(id)).select(tokens::name).first(connection).optional()?;
            let Some(name) = name else { return Ok(false) };
            diesel::delete(tokens::table.filter(tokens::id.eq(id))).execute(connection)?;
            self.note(connection, "remove token", &format!("token {name}"), "", now)?;
            Ok(true)
        })
    }
}

/// To whom a new token belongs.
pub(crate) enum Maker {
    /// It belongs to this user, who makes it or whose token makes it.
    Of(i64),
    /// It belongs to nobody: the command line makes it, or a token that belongs to nobody.
    Nobodys,
    /// The user or token that makes it was removed.
    Gone,
}

impl Maker {
    /// The user to whom it belongs.
    pub fn id(self) -> Option<i64> {
        match self {
            Self::Of(id) => Some(id),
            Self::Nobodys | Self::Gone => None,
        }
    }
}

/// To whom a token belongs that `who` makes.
pub(crate) fn owner_of(connection: &mut AnyConnection, who: &str) -> Result<Maker, StoreError> {
    if let Some(name) = who.strip_prefix("user ") {
        let user = users::table.filter(users::name.eq(name)).select(users::id);
        return Ok(user.first(connection).optional()?.map_or(Maker::Gone, Maker::Of));
    }
    let Some(name) = who.strip_prefix("token ") else { return Ok(Maker::Nobodys) };
    let token = tokens::table.filter(tokens::name.eq(name)).select(tokens::owner_id);
    let owner: Option<Option<i64>> = token.first(connection).optional()?;
    Ok(owner.map_or(Maker::Gone, |owner| owner.map_or(Maker::Nobodys, Maker::Of)))
}

/// When `who` expires, if it is a token that expires.
fn end_of(connection: &mut AnyConnection, who: &str) -> Result<Option<Time>, StoreError> {
    let Some(name) = who.strip_prefix("token ") else { return Ok(None) };
    let ends: Option<Option<i64>> = tokens::table
        .filter(tokens::name.eq(name))
        .select(tokens::expires_at)
        .first(connection)
        .optional()?;
    Ok(ends.flatten().map(time))
}

/// The token of this number with its owner.
pub(crate) fn find_token(connection: &mut AnyConnection, id: i64) -> Result<Option<Row>, StoreError> {
    Ok(tokens::table
        .left_join(users::table)
        .filter(tokens::id.eq(id))
        .select((TokenRow::as_select(), Option::<Owner>::as_select()))
        .first(connection)
        .optional()?)
}

/// A token with its owner, where it has one.
pub(crate) type Row = (TokenRow, Option<Owner>);

#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
pub(crate) struct Owner {
    pub name: String,
    role: String,
    pub confirmed: bool,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = tokens)]
pub(crate) struct TokenRow {
    id: i64,
    pub name: String,
    pub scopes: String,
    apps: String,
    created_by: String,
    created_at: i64,
    expires_at: Option<i64>,
    used_at: Option<i64>,
    confirmed: bool,
    pub owner_id: Option<i64>,
}

impl TokenRow {
    /// Whether it is confirmed. A node of an older version may have let an unnamed visitor make a
    /// token without marking it as unconfirmed. Such a token has no owner until it is confirmed.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed && (self.created_by != ANYBODY || self.owner_id.is_some())
    }

    fn token(self, owner: Option<Owner>) -> Result<Token, StoreError> {
        let corrupt = |problem: String| StoreError::Corrupt { table: "tokens", id: self.id, problem };
        let mut scopes =
            Scope::parse_list(self.scopes.split(',')).map_err(|error| corrupt(error.to_string()))?;
        if let Some(owner) = &owner {
            let role = UserRole::parse("role", &owner.role).map_err(|error| corrupt(error.to_string()))?;
            let may = Rights::of_role(role);
            scopes.retain(|scope| may.scopes().contains(scope));
        }
        let is_confirmed = self.is_confirmed();
        let apps: Vec<String> =
            serde_json::from_str(&self.apps).map_err(|error| corrupt(format!("apps: {error}")))?;
        Ok(Token {
            id: self.id,
            name: self.name,
            scopes,
            apps: apps.into_iter().map(AppName::trusted).collect(),
            created_by: self.created_by,
            created_at: time(self.created_at),
            expires_at: self.expires_at.map(time),
            used_at: self.used_at.map(time),
            confirmed: is_confirmed && owner.as_ref().is_none_or(|owner| owner.confirmed),
            owner: owner.map(|owner| owner.name),
        })
    }
}
