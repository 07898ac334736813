//! Reads sites: the Internet gateways whose silence holds back the alerts of the jobs behind them.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use innkeeper_core::Time;
use innkeeper_core::reservation::{Reservation, Window};
use innkeeper_core::sites::Site;

use crate::connection::AnyConnection;
use crate::readable::{Read, read_within};
use crate::rows::{AlertRow, ms, time};
use crate::schema::{alerts, reservations};
use crate::{Seldom, StoreError};

/// How long an ended silence of a site counts for the jobs behind it.
const SITE_MEMORY: TimeDelta = TimeDelta::days(7);

/// Limits how often this is logged: each pass of the sweep that judges a job of the app reads such
/// a site.
static UNREADABLE: Seldom = Seldom::new();

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// The numbers of the sites of these apps, or of all.
fn ids_of(connection: &mut AnyConnection, apps: Option<Vec<&str>>) -> Result<Vec<i64>, StoreError> {
    if let AnyConnection::Sqlite(connection) = connection {
        // The index is named, because SQLite would otherwise read every job of the app through the
        // index of slugs, also a row that cannot be read.
        let of_apps =
            if apps.is_some() { "AND app IN (SELECT value FROM json_each($1))" } else { "AND $1 = 'null'" };
        let sites: Vec<Id> = sql_query(format!(
            "SELECT id FROM reservations INDEXED BY reservations_that_are_sites WHERE is_site {of_apps}"
        ))
        .bind::<Text, _>(serde_json::json!(apps).to_string())
        .load(connection)?;
        return Ok(sites.into_iter().map(|site| site.id).collect());
    }
    let mut query = reservations::table.filter(reservations::is_site).select(reservations::id).into_boxed();
    if let Some(apps) = apps {
        query = query.filter(reservations::app.eq_any(apps));
    }
    Ok(query.load(connection)?)
}

/// The sites of the apps of these reservations.
pub(crate) fn of(
    connection: &mut AnyConnection,
    found: &[Reservation],
    now: Time,
) -> Result<Vec<Site>, StoreError> {
    let mut apps: Vec<&str> = found.iter().map(|found| found.spec.app.as_str()).collect();
    apps.sort_unstable();
    apps.dedup();
    of_apps(connection, Some(apps), now)
}

/// The sites of these apps, or all. One that cannot be read is logged and left out.
pub(crate) fn of_apps(
    connection: &mut AnyConnection,
    apps: Option<Vec<&str>>,
    now: Time,
) -> Result<Vec<Site>, StoreError> {
    let ids = ids_of(connection, apps)?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let Read { rows, unreadable } = read_within(connection, &ids)?;
    for (id, problem) in unreadable {
        UNREADABLE.error(format_args!("the site of number {id} holds nothing: {problem}"));
    }
    let incidents: Vec<AlertRow> = alerts::table
        .filter(alerts::reservation_id.eq_any(ids))
        .filter(alerts::closed_at.is_null().or(alerts::closed_at.gt(ms(now - SITE_MEMORY))))
        .select(AlertRow::as_select())
        .load(connection)?;
    let mut sites = Vec::with_capacity(rows.len());
    for (row, state) in &rows {
        let reservation = match row.with(state) {
            Ok(reservation) => reservation,
            Err(error) => {
                UNREADABLE
                    .error(format_args!("the site {}/{} holds nothing: {error}", row.app, row.component));
                continue;
            }
        };
        let of_site = || incidents.iter().filter(|alert| alert.reservation_id == row.id);
        // A withdrawn alert stands for no silence. An answered one does: late reports show that the site was well, and
        // that nothing came through it meanwhile.
        let silences = of_site()
            .filter(|alert| alert.ending.is_none() || alert.answered_until.is_some())
            .filter_map(|alert| {
                let from = time(alert.success_before.unwrap_or(alert.opened_at));
                Some(Window { from, until: time(alert.closed_at?) })
            })
            .collect();
        let has_open_alert = of_site().any(|alert| alert.closed_at.is_none());
        sites.push(Site { reservation, has_open_alert, silences });
    }
    Ok(sites)
}
