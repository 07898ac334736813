//! The rows of the summary.

use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::summary::Incident;

use crate::rows::{AlertRow, ms, time};
use crate::schema::alerts;
use crate::{Store, StoreError};

impl Store {
    /// The incidents that were open at some time since `since`, those still open first, then latest first.
    pub fn incidents_since(&self, since: Time) -> Result<Vec<Incident>, StoreError> {
        let rows: Vec<AlertRow> = alerts::table
            .filter(alerts::closed_at.is_null().or(alerts::closed_at.ge(ms(since))))
            .order(alerts::opened_at.desc())
            .select(AlertRow::as_select())
            .load(&mut *self.get()?)?;
        let mut incidents: Vec<Incident> = rows
            .into_iter()
            .map(|row| Incident {
                app: row.app,
                component: row.component,
                owner: row.owner,
                cause: row.cause,
                reason: row.sentence,
                opened_at: time(row.opened_at),
                closed_at: row.closed_at.map(time),
            })
            .collect();
        incidents.sort_by_key(|incident| incident.closed_at.is_some());
        Ok(incidents)
    }
}
