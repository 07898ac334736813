//! What is shown: reservations with their state.

use std::collections::HashMap;

use diesel::prelude::*;
use innkeeper_core::alert::OpenAlert;
use innkeeper_core::reservation::Reservation;

use crate::connection::AnyConnection;
use crate::rows::{AlertRow, ReservationRow, StateRow};
use crate::schema::{alerts, ping_keys, reservations, states};
use crate::{Store, StoreError};

/// A reservation as a list shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The reservation with its facts and conclusions.
    pub reservation: Reservation,
    /// The alert that is open on it.
    pub open_alert: Option<OpenAlert>,
    /// The key that stands before its slug in a ping address, where the app has one.
    pub ping_key: Option<String>,
}

impl Store {
    /// All reservations, or those of one app; latest check-in first. Rows that cannot be read are logged and left out.
    pub fn list(&self, app: Option<&str>) -> Result<Vec<Listed>, StoreError> {
        let connection = &mut *self.get()?;
        let mut query = reservations::table
            .inner_join(states::table)
            .select((ReservationRow::as_select(), StateRow::as_select()))
            .into_boxed();
        if let Some(app) = app {
            query = query.filter(reservations::app.eq(app.to_owned()));
        }
        let mut rows: Vec<(ReservationRow, StateRow)> = query.load(connection)?;
        rows.sort_by_key(|(row, state)| (std::cmp::Reverse(state.last_checkin_at), row.id));
        let mut open = open_alerts(connection)?;
        let ping_keys: HashMap<String, String> =
            ping_keys::table.select((ping_keys::app, ping_keys::key)).load(connection)?.into_iter().collect();
        let mut listed = Vec::with_capacity(rows.len());
        for (row, state) in rows {
            match row.with(&state) {
                Ok(reservation) => listed.push(Listed {
                    open_alert: open.remove(&row.id),
                    ping_key: ping_keys.get(&row.app).cloned(),
                    reservation,
                }),
                Err(error) => log::error!("{}/{} is not shown: {error}", row.app, row.component),
            }
        }
        Ok(listed)
    }

    /// How many reservations there are.
    pub fn count(&self) -> Result<i64, StoreError> {
        Ok(reservations::table.count().get_result(&mut *self.get()?)?)
    }
}

fn open_alerts(connection: &mut AnyConnection) -> Result<HashMap<i64, OpenAlert>, StoreError> {
    let rows: Vec<AlertRow> =
        alerts::table.filter(alerts::closed_at.is_null()).select(AlertRow::as_select()).load(connection)?;
    let mut open = HashMap::new();
    for row in rows {
        match row.open_alert() {
            Ok(alert) => drop(open.insert(row.reservation_id, alert)),
            Err(error) => log::error!("the alert of {}/{} is not shown: {error}", row.app, row.component),
        }
    }
    Ok(open)
}
