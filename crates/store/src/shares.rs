//! Shares: status pages of an app or a tag, and badges of a reservation or a tag. Whoever has the
//! key of a share sees it without a login.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Text};
use innkeeper_core::Time;

use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::shares;
use crate::{ActingStore, Store, StoreError};

/// A status page or badge that is shown without a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The secret key in its address.
    pub key: String,
    /// `page` or `badge`.
    pub shape: String,
    /// Of what: `app`, `tag` or `reservation`.
    pub kind: String,
    /// The app, the tag, or the reservation's number.
    pub subject: String,
    /// The heading of a page, or the left part of a badge.
    pub title: String,
    /// When it was made.
    pub created_at: Time,
    /// Whether a known user shows it. What an unnamed visitor shared while the instance was open
    /// counts only after an admin confirms it.
    pub confirmed: bool,
}

impl Share {
    /// Its name in the audit log.
    fn named(&self) -> String {
        format!("{} of {} {}", self.shape, self.kind, self.subject)
    }
}

impl Store {
    /// All shares: pages first, then by kind and subject.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn shares(&self) -> Result<Vec<Share>, StoreError> {
        let rows: Vec<ShareRow> = shares::table
            .order((shares::shape.desc(), shares::kind, shares::subject))
            .select(ShareRow::as_select())
            .load(&mut *self.get()?)?;
        Ok(rows.into_iter().map(ShareRow::share).collect())
    }

    /// The share of this key.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn share(&self, key: &str) -> Result<Option<Share>, StoreError> {
        find(&mut *self.get()?, key)
    }

    /// The share of this shape and subject.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn share_of(&self, shape: &str, kind: &str, subject: &str) -> Result<Option<Share>, StoreError> {
        let row: Option<ShareRow> = shares::table
            .filter(shares::shape.eq(shape))
            .filter(shares::kind.eq(kind))
            .filter(shares::subject.eq(subject))
            .select(ShareRow::as_select())
            .first(&mut *self.get()?)
            .optional()?;
        Ok(row.map(ShareRow::share))
    }
}

impl ActingStore {
    /// Adds a share. If there is one of this shape and subject, it gets the new title, and keeps
    /// its key if it was confirmed: otherwise strangers may know the key. A share that an unnamed
    /// visitor of an open instance adds or changes has yet to be confirmed, whatever `share` says.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn add_share(&self, share: &Share) -> Result<(), StoreError> {
        self.write(|connection| {
            sql_query(
                "INSERT INTO shares (key, shape, kind, subject, title, created_at, confirmed)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)
                 ON CONFLICT (shape, kind, subject) DO UPDATE
                 SET title = excluded.title, confirmed = excluded.confirmed,
                     key = CASE WHEN excluded.confirmed AND NOT shares.confirmed THEN excluded.key ELSE shares.key END",
            )
            .bind::<Text, _>(&share.key)
            .bind::<Text, _>(&share.shape)
            .bind::<Text, _>(&share.kind)
            .bind::<Text, _>(&share.subject)
            .bind::<Text, _>(&share.title)
            .bind::<BigInt, _>(ms(share.created_at))
            .bind::<Bool, _>(share.confirmed && !self.actor.is_anybody())
            .execute(connection)?;
            self.note(connection, "share", &share.named(), &share.title, share.created_at)
        })
    }

    /// Confirms a share that an unnamed visitor added while the instance was open. Returns false
    /// when there is no such share.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn confirm_share(&self, key: &str, now: Time) -> Result<bool, StoreError> {
        self.write(|connection| {
            let Some(share) = find(connection, key)? else { return Ok(false) };
            if !share.confirmed {
                diesel::update(shares::table.filter(shares::key.eq(key)))
                    .set(shares::confirmed.eq(true))
                    .execute(connection)?;
                self.note(connection, "confirm share", &share.named(), "", now)?;
            }
            Ok(true)
        })
    }

    /// Removes a share. Returns false when there is no such share.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn remove_share(&self, key: &str, now: Time) -> Result<bool, StoreError> {
        self.write(|connection| {
            let Some(share) = find(connection, key)? else { return Ok(false) };
            diesel::delete(shares::table.filter(shares::key.eq(key))).execute(connection)?;
            self.note(connection, "stop sharing", &share.named(), "", now)?;
            Ok(true)
        })
    }
}

fn find(connection: &mut AnyConnection, key: &str) -> Result<Option<Share>, StoreError> {
    let row: Option<ShareRow> = shares::table
        .filter(shares::key.eq(key))
        .select(ShareRow::as_select())
        .first(connection)
        .optional()?;
    Ok(row.map(ShareRow::share))
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = shares)]
struct ShareRow {
    key: String,
    shape: String,
    kind: String,
    subject: String,
    title: String,
    created_at: i64,
    confirmed: bool,
}

impl ShareRow {
    fn share(self) -> Share {
        Share {
            key: self.key,
            shape: self.shape,
            kind: self.kind,
            subject: self.subject,
            title: self.title,
            created_at: time(self.created_at),
            confirmed: self.confirmed,
        }
    }
}
