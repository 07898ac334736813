//! What is shown to whoever has its key: status pages of an app or a tag, badges of a reservation or a tag.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Text};
use innkeeper_core::Time;

use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::shares;
use crate::{ActingStore, Store, StoreError};

/// Something that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Nobody guesses it.
    pub key: String,
    /// `page` or `badge`.
    pub shape: String,
    /// Of what: `app`, `tag` or `reservation`.
    pub kind: String,
    /// The app, the tag, or the reservation's number.
    pub subject: String,
    /// What stands above a page, or left on a badge.
    pub title: String,
    /// When it was made.
    pub created_at: Time,
    /// Whether somebody known shows it: not what anybody showed while the instance was open, until an admin confirms it.
    pub confirmed: bool,
}

impl Share {
    /// As the audit log names it.
    fn named(&self) -> String {
        format!("{} of {} {}", self.shape, self.kind, self.subject)
    }
}

impl Store {
    /// Everything that is shown, by kind and subject.
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

    /// What is shown under this key.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn share(&self, key: &str) -> Result<Option<Share>, StoreError> {
        find(&mut *self.get()?, key)
    }

    /// The one of this shape and subject.
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
    /// Shows something. What is shown already gets the new title, and keeps its key, unless nobody knows who knows that. What
    /// anybody shows in an open instance, or gives another title, has yet to be confirmed, whatever `share` says.
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

    /// Lets something be seen that anybody showed while the instance was open. False when it is not shown.
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

    /// Shows it no more. False when it was not shown.
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
