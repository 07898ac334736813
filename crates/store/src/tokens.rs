//! Tokens: what programs show instead of a password. Kept as hashes.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};
use innkeeper_core::Time;
use innkeeper_core::access::{Rights, Scope};
use innkeeper_core::names::AppName;

use crate::rows::{ms, time};
use crate::schema::tokens;
use crate::{Store, StoreError};

/// How exactly a token's last use is known, ms.
const USED_EVERY: i64 = 3_600_000;

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// For which apps; empty for every one.
    pub apps: Vec<AppName>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Time,
    /// Until when it can be used; none for ever.
    pub expires_at: Option<Time>,
    /// When it was used last, to the hour.
    pub used_at: Option<Time>,
}

impl Token {
    /// What whoever shows it may do.
    pub fn rights(&self) -> Rights {
        Rights::of_token(self.scopes.clone(), self.apps.clone())
    }
}

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// What it is called.
    pub name: String,
    /// The hash of its secret.
    pub hash: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// For which apps; empty for every one.
    pub apps: Vec<AppName>,
    /// Until when it can be used; none for ever.
    pub expires_at: Option<Time>,
}

impl Store {
    /// Every token, by name.
    pub fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        let rows: Vec<TokenRow> =
            tokens::table.order(tokens::name).select(TokenRow::as_select()).load(&mut *self.get()?)?;
        rows.into_iter().map(TokenRow::token).collect()
    }

    /// Makes a token. None when the name is taken.
    pub fn add_token(&self, token: &NewToken, now: Time) -> Result<Option<Token>, StoreError> {
        self.write(|connection| {
            let apps: Vec<&str> = token.apps.iter().map(AppName::as_str).collect();
            let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
            let by = self.actor.as_ref().map_or("", |actor| actor.who.as_str());
            let made = sql_query(
                "INSERT INTO tokens (name, hash, scopes, apps, created_by, created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)
                 ON CONFLICT (name) DO NOTHING",
            )
            .bind::<Text, _>(&token.name)
            .bind::<Text, _>(&token.hash)
            .bind::<Text, _>(scopes.join(","))
            .bind::<Text, _>(serde_json::Value::from(apps.clone()).to_string())
            .bind::<Text, _>(by)
            .bind::<BigInt, _>(ms(now))
            .bind::<Nullable<BigInt>, _>(token.expires_at.map(ms))
            .execute(connection)?;
            if made == 0 {
                return Ok(None);
            }
            let about = match apps.is_empty() {
                true => scopes.join(", "),
                false => format!("{}; for {}", scopes.join(", "), apps.join(", ")),
            };
            self.note(connection, "add token", &format!("token {}", token.name), &about, now)?;
            let row: TokenRow = tokens::table
                .filter(tokens::name.eq(&token.name))
                .select(TokenRow::as_select())
                .first(connection)?;
            row.token().map(Some)
        })
    }

    /// Removes a token. None when there is none of this number.
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

    /// The token with this hash, while it can be used. Says that it is used.
    pub fn token(&self, hash: &str, now: Time) -> Result<Option<Token>, StoreError> {
        let connection = &mut *self.get()?;
        let row: Option<TokenRow> = tokens::table
            .filter(tokens::hash.eq(hash))
            .filter(tokens::expires_at.is_null().or(tokens::expires_at.gt(ms(now))))
            .select(TokenRow::as_select())
            .first(connection)
            .optional()?;
        let Some(row) = row else { return Ok(None) };
        if row.used_at.is_none_or(|used_at| used_at < ms(now) - USED_EVERY) {
            diesel::update(tokens::table.filter(tokens::id.eq(row.id)))
                .set(tokens::used_at.eq(Some(ms(now))))
                .execute(connection)?;
        }
        row.token().map(Some)
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = tokens)]
struct TokenRow {
    id: i64,
    name: String,
    scopes: String,
    apps: String,
    created_by: String,
    created_at: i64,
    expires_at: Option<i64>,
    used_at: Option<i64>,
}

impl TokenRow {
    fn token(self) -> Result<Token, StoreError> {
        let corrupt = |problem: String| StoreError::Corrupt { table: "tokens", id: self.id, problem };
        let scopes = Scope::parse_list(self.scopes.split(',')).map_err(|error| corrupt(error.to_string()))?;
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
        })
    }
}
