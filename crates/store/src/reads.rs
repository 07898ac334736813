//! Reading reservations and their state for pages and the API.

use std::collections::HashMap;

use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::alert::{Cause, OpenAlert};
use innkeeper_core::assessed::{Assessed, ReservationData};
use innkeeper_core::facts::Run;
use innkeeper_core::sites::Sites;

use crate::blind::Blindness;
use crate::checkins::Refusals;
use crate::connection::AnyConnection;
use crate::rows::{AlertRow, ReservationRow, RunRow, StateRow};
use crate::schema::{alerts, ping_keys, reservations, runs};
use crate::{LeftOut, Seldom, Store, StoreError, sites};

impl Store {
    /// How many alerts are open because a check-in was missed.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn overdue_alerts(&self) -> Result<i64, StoreError> {
        let open = alerts::table.filter(alerts::closed_at.is_null());
        Ok(open.filter(alerts::cause.eq(Cause::Missed.as_str())).count().get_result(&mut *self.get()?)?)
    }

    /// How many reservations there are.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn count(&self) -> Result<i64, StoreError> {
        Ok(reservations::table.count().get_result(&mut *self.get()?)?)
    }
}

/// Assesses these rows at `now`, in their order. `ids` are the numbers of the rows, where they are
/// few: then only what belongs to them is read. Rows that cannot be read are added to `left_out`.
pub(crate) fn assessed(
    connection: &mut AnyConnection,
    rows: Vec<(ReservationRow, StateRow)>,
    ids: Option<&[i64]>,
    now: Time,
    left_out: &mut LeftOut,
) -> Result<Vec<Assessed>, StoreError> {
    let mut open = open_alerts(connection, ids)?;
    let apps = ids.map(|_| {
        let mut apps: Vec<&str> = rows.iter().map(|(row, _)| row.app.as_str()).collect();
        apps.sort_unstable();
        apps.dedup();
        apps
    });
    let ping_keys = ping_keys_of(connection, apps.as_deref())?;
    let mut runs = going_runs(connection, ids)?;
    let sites = sites::of_apps(connection, apps, now)?;
    let sites = Sites::at(now, &sites);
    let (blindness, refusals) = (Blindness::at(connection, now)?, Refusals::of(connection, ids, now)?);
    let mut assessed = Vec::with_capacity(rows.len());
    for (row, state) in rows {
        match row.with(&state) {
            Ok(reservation) => {
                let known = ReservationData {
                    open_alert: open.remove(&row.id),
                    runs: runs.remove(&row.id).unwrap_or_default(),
                    refused: refusals.of_one(&reservation, now),
                    ping_key: ping_keys.get(&row.app).cloned(),
                    reservation,
                };
                assessed.push(known.assess(&blindness.windows, &sites, now));
            }
            Err(error) => left_out.add(&row, &error),
        }
    }
    Ok(assessed)
}

/// The ping keys of these apps, or of all, by app.
fn ping_keys_of(
    connection: &mut AnyConnection,
    apps: Option<&[&str]>,
) -> Result<HashMap<String, String>, StoreError> {
    let mut query = ping_keys::table.select((ping_keys::app, ping_keys::key)).into_boxed();
    if let Some(apps) = apps {
        query = query.filter(ping_keys::app.eq_any(apps));
    }
    Ok(query.load(connection)?.into_iter().collect())
}

/// The runs that have begun and not ended, by reservation.
fn going_runs(
    connection: &mut AnyConnection,
    ids: Option<&[i64]>,
) -> Result<HashMap<i64, Vec<Run>>, StoreError> {
    let mut query = runs::table
        .filter(runs::started_at.is_not_null())
        .filter(runs::ended_at.is_null().or(runs::ended_at.lt(runs::started_at)))
        .select(RunRow::as_select())
        .into_boxed();
    if let Some(ids) = ids {
        query = query.filter(runs::reservation_id.eq_any(ids.to_vec()));
    }
    let rows: Vec<RunRow> = query.load(connection)?;
    let mut going: HashMap<i64, Vec<Run>> = HashMap::new();
    for row in rows {
        going.entry(row.reservation_id).or_default().push(row.run());
    }
    Ok(going)
}

fn open_alerts(
    connection: &mut AnyConnection,
    ids: Option<&[i64]>,
) -> Result<HashMap<i64, OpenAlert>, StoreError> {
    let mut query =
        alerts::table.filter(alerts::closed_at.is_null()).select(AlertRow::as_select()).into_boxed();
    if let Some(ids) = ids {
        query = query.filter(alerts::reservation_id.eq_any(ids.to_vec()));
    }
    let rows: Vec<AlertRow> = query.load(connection)?;
    let mut open = HashMap::new();
    for row in rows {
        match row.open_alert() {
            Ok(alert) => drop(open.insert(row.reservation_id, alert)),
            Err(error) => {
                static UNREADABLE: Seldom = Seldom::new();
                let what = format_args!("the alert of {}/{} is not shown: {error}", row.app, row.component);
                UNREADABLE.error(what);
            }
        }
    }
    Ok(open)
}
