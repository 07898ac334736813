//! The audit log: who changed what. Each change adds its entry in its own transaction.

use std::borrow::Cow;

use chrono::TimeDelta;
use diesel::dsl::{exists, max};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use innkeeper_core::Time;

use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::audit;
use crate::{ActingStore, Actor, Store, StoreError};

/// The most bytes that are kept of an entry's detail: enough for a reservation's texts, before and
/// after.
const LONGEST_DETAIL: usize = 64 * 1024;
/// How many of the latest entries [`has_lately`] looks at.
const LATELY: i64 = 1000;

/// One entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number.
    pub id: i64,
    /// When it was added.
    pub at: Time,
    /// Who made the change: `user ada`, `token deploy`, `anybody`.
    pub who: String,
    /// The client's address.
    pub source: String,
    /// What was done: `make reservation`, `log in`, …
    pub action: String,
    /// What was changed: `shop/backup`, `user bob`, …
    pub subject: String,
    /// What changed, one line for each change.
    pub detail: String,
}

impl Store {
    /// Entries before the number `before`, latest first.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn audit_log(&self, before: Option<i64>, limit: i64) -> Result<Vec<AuditEntry>, StoreError> {
        let rows: Vec<AuditRow> = audit::table
            .filter(audit::id.lt(before.unwrap_or(i64::MAX)))
            .order(audit::id.desc())
            .limit(limit)
            .select(AuditRow::as_select())
            .load(&mut *self.get()?)?;
        let entry = |row: AuditRow| AuditEntry {
            id: row.id,
            at: time(row.at),
            who: row.who,
            source: row.source,
            action: row.action,
            subject: row.subject,
            detail: row.detail,
        };
        Ok(rows.into_iter().map(entry).collect())
    }
}

impl ActingStore {
    /// Adds an entry about something that changes nothing else: a login, a test message.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn note_action(
        &self,
        action: &str,
        subject: &str,
        detail: &str,
        now: Time,
    ) -> Result<(), StoreError> {
        self.write(|connection| self.note(connection, action, subject, detail, now))
    }

    /// Adds an entry in the transaction of the change.
    pub(crate) fn note(
        &self,
        connection: &mut AnyConnection,
        action: &str,
        subject: &str,
        detail: &str,
        now: Time,
    ) -> Result<(), StoreError> {
        add(connection, &self.actor, action, subject, detail, now)
    }

    /// Changes the entry of this number, or adds one where it is none or gone; returns the entry's
    /// number. Used for events that may come in great numbers, so that a flood of them does not
    /// fill the log.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn note_again(
        &self,
        id: Option<i64>,
        action: &str,
        subject: &str,
        detail: &str,
        now: Time,
    ) -> Result<Option<i64>, StoreError> {
        let actor = &self.actor;
        self.write(|connection| {
            if let Some(id) = id {
                let changed = diesel::update(audit::table.filter(audit::id.eq(id)))
                    .set((
                        audit::source.eq(&actor.source),
                        audit::subject.eq(subject),
                        audit::detail.eq(detail),
                    ))
                    .execute(connection)?;
                if changed > 0 {
                    return Ok(Some(id));
                }
            }
            let id: NewId = sql_query(
                "INSERT INTO audit (at, who, source, action, subject, detail)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 RETURNING id",
            )
            .bind::<BigInt, _>(ms(now))
            .bind::<Text, _>(&actor.who)
            .bind::<Text, _>(&actor.source)
            .bind::<Text, _>(action)
            .bind::<Text, _>(subject)
            .bind::<Text, _>(detail)
            .get_result(connection)?;
            Ok(Some(id.id))
        })
    }
}

/// Adds an entry of what `actor` did.
pub(crate) fn add(
    connection: &mut AnyConnection,
    actor: &Actor,
    action: &str,
    subject: &str,
    detail: &str,
    now: Time,
) -> Result<(), StoreError> {
    diesel::insert_into(audit::table)
        .values((
            audit::at.eq(ms(now)),
            audit::who.eq(&actor.who),
            audit::source.eq(&actor.source),
            audit::action.eq(action),
            audit::subject.eq(subject),
            audit::detail.eq(kept(detail)),
        ))
        .execute(connection)?;
    Ok(())
}

/// The part of a detail that is kept: at most [`LONGEST_DETAIL`] bytes, without the zero bytes that
/// Postgres refuses.
fn kept(detail: &str) -> Cow<'_, str> {
    let end =
        (0..=detail.len().min(LONGEST_DETAIL)).rev().find(|end| detail.is_char_boundary(*end)).unwrap_or(0);
    let cut = detail.get(..end).unwrap_or_default();
    if cut.contains('\0') { Cow::Owned(cut.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(cut) }
}

/// Whether the same entry was added in the hour before `now`, among the latest [`LATELY`] entries.
/// Looks at few rows, because the log has no index for this.
pub(crate) fn has_lately(
    connection: &mut AnyConnection,
    actor: &Actor,
    action: &str,
    subject: &str,
    detail: &str,
    now: Time,
) -> Result<bool, StoreError> {
    let latest: Option<i64> = audit::table.select(max(audit::id)).first(connection)?;
    let Some(latest) = latest else { return Ok(false) };
    let same = audit::table
        .filter(audit::id.gt(latest - LATELY))
        .filter(audit::at.gt(ms(now - TimeDelta::hours(1))))
        .filter(audit::who.eq(&actor.who).and(audit::action.eq(action)))
        .filter(audit::subject.eq(subject).and(audit::detail.eq(detail)));
    Ok(diesel::select(exists(same)).get_result(connection)?)
}

#[derive(QueryableByName)]
struct NewId {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = audit)]
struct AuditRow {
    id: i64,
    at: i64,
    who: String,
    source: String,
    action: String,
    subject: String,
    detail: String,
}
