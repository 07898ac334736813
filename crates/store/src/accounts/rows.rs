//! The rows of users and of their second factors, for all other files about accounts.

use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::access::{UserRole, look_alike, new_user_name};

use crate::StoreError;
use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::{passkeys, recovery_codes, totp, users};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Their id.
    pub id: i64,
    /// The name by which they log in.
    pub name: String,
    /// What they may do.
    pub role: UserRole,
    /// Whether a password was chosen.
    pub has_password: bool,
    /// When the user was created.
    pub created_at: Time,
    /// Whether the user may log in. It is false for a user who was created while anybody could use
    /// Innkeeper without a login, until an admin confirms them.
    pub confirmed: bool,
    /// Whether this user must have a second factor, even if not all users must.
    pub second_factor_required: bool,
}

pub(crate) fn find_user(connection: &mut AnyConnection, id: i64) -> Result<Option<User>, StoreError> {
    let row: Option<UserRow> =
        users::table.filter(users::id.eq(id)).select(UserRow::as_select()).first(connection).optional()?;
    row.map(UserRow::user).transpose()
}

/// Inserts a user. `None` if the name is taken, looks like another user's, or is not allowed.
pub(crate) fn insert_user(
    connection: &mut AnyConnection,
    name: &str,
    role: UserRole,
    password: Option<&str>,
    now: Time,
) -> Result<Option<User>, StoreError> {
    if new_user_name("name", name).is_err() {
        return Ok(None);
    }
    let others: Vec<String> = users::table.select(users::name).load(connection)?;
    if others.iter().any(|other| look_alike(other, name)) {
        return Ok(None);
    }
    let made = diesel::sql_query(
        "INSERT INTO users (name, role, password, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING",
    )
    .bind::<diesel::sql_types::Text, _>(name)
    .bind::<diesel::sql_types::Text, _>(role.as_str())
    .bind::<diesel::sql_types::Nullable<diesel::sql_types::Text>, _>(password)
    .bind::<diesel::sql_types::BigInt, _>(ms(now))
    .execute(connection)?;
    if made == 0 {
        return Ok(None);
    }
    let row: UserRow =
        users::table.filter(users::name.eq(name)).select(UserRow::as_select()).first(connection)?;
    row.user().map(Some)
}

/// Locks the user until the end of the transaction. Every transaction that reads how a user logs
/// in, and then writes, must call this before it reads. On SQLite no lock is needed, because only
/// one transaction writes at a time.
pub(crate) fn lock_user(connection: &mut AnyConnection, user_id: i64) -> Result<(), StoreError> {
    if let AnyConnection::Postgres(connection) = connection {
        diesel::sql_query("SELECT id FROM users WHERE id = $1 FOR UPDATE")
            .bind::<diesel::sql_types::BigInt, _>(user_id)
            .execute(connection)?;
    }
    Ok(())
}

/// Whether `hash` is still the hash of the user's password.
pub(crate) fn has_password(
    connection: &mut AnyConnection,
    user_id: i64,
    hash: &str,
) -> Result<bool, StoreError> {
    let such = users::table.filter(users::id.eq(user_id)).filter(users::password.eq(hash));
    let found: i64 = such.count().get_result(connection)?;
    Ok(found > 0)
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
pub(crate) struct UserRow {
    id: i64,
    name: String,
    role: String,
    pub(super) password: Option<String>,
    created_at: i64,
    confirmed: bool,
    second_factor_required: bool,
}

impl UserRow {
    pub fn user(self) -> Result<User, StoreError> {
        let role = UserRole::parse("role", &self.role).map_err(|error| StoreError::Corrupt {
            table: "users",
            id: self.id,
            problem: error.to_string(),
        })?;
        Ok(User {
            id: self.id,
            name: self.name,
            role,
            has_password: self.password.is_some(),
            created_at: time(self.created_at),
            confirmed: self.confirmed,
            second_factor_required: self.second_factor_required,
        })
    }
}

/// The second factors of a user. This is the only definition of which kinds there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Factors {
    /// Whether they have an authenticator app.
    pub app: bool,
    /// How many passkeys they have.
    pub passkeys: usize,
    /// How many recovery codes are left. Recovery codes alone are not a second factor.
    pub recovery_codes: usize,
}

impl Factors {
    /// Whether the user has one, so that a login asks for it.
    pub fn any(self) -> bool {
        self.app || self.passkeys > 0
    }
}

/// The second factors of a user.
pub(crate) fn factors_of(connection: &mut AnyConnection, user_id: i64) -> Result<Factors, StoreError> {
    let app: i64 = totp::table.filter(totp::user_id.eq(user_id)).count().get_result(connection)?;
    let passkeys: i64 =
        passkeys::table.filter(passkeys::user_id.eq(user_id)).count().get_result(connection)?;
    Ok(Factors {
        app: app > 0,
        passkeys: usize::try_from(passkeys).unwrap_or_default(),
        recovery_codes: recovery_codes_left(connection, user_id)?,
    })
}

/// Whether the user has a second factor that was added before this time.
pub(crate) fn had_factor(
    connection: &mut AnyConnection,
    user_id: i64,
    before: i64,
) -> Result<bool, StoreError> {
    let apps = totp::table.filter(totp::user_id.eq(user_id)).filter(totp::created_at.lt(before));
    let keys = passkeys::table.filter(passkeys::user_id.eq(user_id)).filter(passkeys::created_at.lt(before));
    let apps: i64 = apps.count().get_result(connection)?;
    let keys: i64 = keys.count().get_result(connection)?;
    Ok(apps + keys > 0)
}

pub(crate) fn recovery_codes_left(connection: &mut AnyConnection, user_id: i64) -> Result<usize, StoreError> {
    let left: i64 =
        recovery_codes::table.filter(recovery_codes::user_id.eq(user_id)).count().get_result(connection)?;
    Ok(usize::try_from(left).unwrap_or_default())
}

pub(crate) fn replace_recovery_codes(
    connection: &mut AnyConnection,
    user_id: i64,
    codes: &[String],
) -> Result<(), StoreError> {
    diesel::delete(recovery_codes::table.filter(recovery_codes::user_id.eq(user_id))).execute(connection)?;
    for code in codes {
        diesel::insert_into(recovery_codes::table)
            .values((recovery_codes::hash.eq(code), recovery_codes::user_id.eq(user_id)))
            .execute(connection)?;
    }
    Ok(())
}

/// Removes the recovery codes of a user if they have no second factor any more.
pub(crate) fn forget_lone_recovery_codes(
    connection: &mut AnyConnection,
    user_id: i64,
) -> Result<(), StoreError> {
    match factors_of(connection, user_id)?.any() {
        true => Ok(()),
        false => replace_recovery_codes(connection, user_id, &[]),
    }
}
