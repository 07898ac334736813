//! Reads which reservations are put aside because they cannot be judged. The sweep leaves them out.
//! `unjudged.rs` writes them.

use chrono::TimeDelta;
use diesel::prelude::*;
use innkeeper_core::Time;

use crate::connection::AnyConnection;
use crate::rows::time;
use crate::schema::unjudged;
use crate::{Store, StoreError};

/// How long a reservation is put aside before it is tried again.
pub(crate) const AGAIN: TimeDelta = TimeDelta::seconds(60);

/// A reservation that cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unjudged {
    /// Its id.
    pub reservation_id: i64,
    /// Its app. Empty if it cannot be read.
    pub app: String,
    /// Its component. Empty if it cannot be read.
    pub component: String,
    /// Why it cannot be judged.
    pub problem: String,
    /// Since when it cannot be judged.
    pub since_at: Time,
}

impl Unjudged {
    /// Its app and component, or its id if they cannot be read.
    pub fn name(&self) -> String {
        match self.app.as_str() {
            "" => format!("reservation {}", self.reservation_id),
            app => format!("{app}/{}", self.component),
        }
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = unjudged)]
struct UnjudgedRow {
    reservation_id: i64,
    app: String,
    component: String,
    problem: String,
    since_at: i64,
}

impl From<UnjudgedRow> for Unjudged {
    fn from(row: UnjudgedRow) -> Self {
        let UnjudgedRow { reservation_id, app, component, problem, since_at } = row;
        Self { reservation_id, app, component, problem, since_at: time(since_at) }
    }
}

/// The ids of the reservations that are put aside, and until when (UTC milliseconds).
pub(crate) fn aside(connection: &mut AnyConnection) -> Result<Vec<(i64, i64)>, StoreError> {
    Ok(unjudged::table.select((unjudged::reservation_id, unjudged::again_at)).load(connection)?)
}

/// Records that these reservations could be judged. Returns the names of those that could not be
/// judged before.
pub(crate) fn judged(connection: &mut AnyConnection, ids: &[i64]) -> Result<Vec<String>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let known = unjudged::table.filter(unjudged::reservation_id.eq_any(ids));
    let rows: Vec<UnjudgedRow> = known.select(UnjudgedRow::as_select()).load(connection)?;
    diesel::delete(unjudged::table.filter(unjudged::reservation_id.eq_any(ids))).execute(connection)?;
    Ok(rows.into_iter().map(|row| Unjudged::from(row).name()).collect())
}

impl Store {
    /// The reservations that cannot be judged, by app and component.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn unjudged(&self) -> Result<Vec<Unjudged>, StoreError> {
        let rows: Vec<UnjudgedRow> = unjudged::table
            .order((unjudged::app, unjudged::component, unjudged::reservation_id))
            .select(UnjudgedRow::as_select())
            .load(&mut *self.get()?)?;
        Ok(rows.into_iter().map(Unjudged::from).collect())
    }
}
