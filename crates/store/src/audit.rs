//! Who changed what: an entry beside each change, in its transaction.

use std::sync::Arc;

use diesel::prelude::*;
use innkeeper_core::Time;

use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::audit;
use crate::{Store, StoreError};

/// Who asks for a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `user ada`, `token deploy`, `anybody`.
    pub who: String,
    /// The client's address.
    pub source: String,
}

/// One entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: Time,
    /// Who: `user ada`, `token deploy`, `anybody`.
    pub who: String,
    /// From which address.
    pub source: String,
    /// What was done: `create reservation`, `log in`, …
    pub action: String,
    /// To what: `shop/backup`, `user bob`, …
    pub subject: String,
    /// What changed by it, a line each.
    pub detail: String,
}

impl Store {
    /// The same store; what is changed through it stands in the audit log under this name.
    #[must_use]
    pub fn on_behalf_of(&self, actor: Actor) -> Self {
        let mut store = self.clone();
        store.actor = Some(Arc::new(actor));
        store
    }

    /// Adds an entry about something that changes nothing else: a login, a test message.
    pub fn note_action(
        &self,
        action: &str,
        subject: &str,
        detail: &str,
        now: Time,
    ) -> Result<(), StoreError> {
        self.write(|connection| self.note(connection, action, subject, detail, now))
    }

    /// Adds an entry, where somebody acts.
    pub(crate) fn note(
        &self,
        connection: &mut AnyConnection,
        action: &str,
        subject: &str,
        detail: &str,
        now: Time,
    ) -> Result<(), StoreError> {
        let Some(actor) = &self.actor else { return Ok(()) };
        diesel::insert_into(audit::table)
            .values((
                audit::at.eq(ms(now)),
                audit::who.eq(&actor.who),
                audit::source.eq(&actor.source),
                audit::action.eq(action),
                audit::subject.eq(subject),
                audit::detail.eq(detail),
            ))
            .execute(connection)?;
        Ok(())
    }

    /// Entries before the number `before`, latest first.
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
