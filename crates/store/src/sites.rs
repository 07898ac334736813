//! Sites: Internet gateways whose silence holds the alerts of the jobs behind them.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use innkeeper_core::Time;
use innkeeper_core::reservation::{Reservation, Window};
use innkeeper_core::sla::{View, evaluate};
use innkeeper_core::snooze::Snoozes;

use crate::connection::AnyConnection;
use crate::readable::{Read, read_within};
use crate::rows::{AlertRow, ms, time};
use crate::schema::{alerts, reservations};
use crate::{Seldom, StoreError};

/// How long a silence that is over is remembered for the jobs behind the site.
const SITE_MEMORY: TimeDelta = TimeDelta::days(7);

/// Each pass of the sweep that looks at a job of its app comes by such a site.
static UNREADABLE: Seldom = Seldom::new();

/// The sites of the apps at hand: Internet gateways whose silence holds the alerts behind them.
pub(crate) struct Sites(Vec<Site>);

struct Site {
    id: i64,
    app: String,
    source: String,
    silent: bool,
    silences: Vec<Window>,
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// The numbers of the sites of these apps, or of all.
fn ids_of(connection: &mut AnyConnection, apps: Option<Vec<&str>>) -> Result<Vec<i64>, StoreError> {
    if let AnyConnection::Sqlite(connection) = connection {
        // Named: SQLite would rather read every job of the app by the index of slugs, also one that cannot be read.
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

impl Sites {
    /// The sites of the apps of these reservations.
    pub fn of(connection: &mut AnyConnection, found: &[Reservation], now: Time) -> Result<Self, StoreError> {
        let mut apps: Vec<&str> = found.iter().map(|found| found.terms.app.as_str()).collect();
        apps.sort_unstable();
        apps.dedup();
        Self::of_apps(connection, Some(apps), now)
    }

    /// The sites of these apps, or all.
    pub fn of_apps(
        connection: &mut AnyConnection,
        apps: Option<Vec<&str>>,
        now: Time,
    ) -> Result<Self, StoreError> {
        let ids = ids_of(connection, apps)?;
        if ids.is_empty() {
            return Ok(Self(Vec::new()));
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
            let mut site = match row.with(state) {
                Ok(site) => site,
                Err(error) => {
                    UNREADABLE
                        .error(format_args!("the site {}/{} holds nothing: {error}", row.app, row.component));
                    continue;
                }
            };
            let of_site = || incidents.iter().filter(|alert| alert.reservation_id == row.id);
            // A snooze keeps its silence from being told, and does not end it.
            site.conclusions.snoozes = Snoozes::default();
            let open = of_site().any(|alert| alert.closed_at.is_none());
            // One that was withdrawn was none.
            let silences = of_site()
                .filter(|alert| alert.ending.is_none())
                .filter_map(|alert| {
                    let from = time(alert.success_before.unwrap_or(alert.opened_at));
                    Some(Window { from, until: time(alert.closed_at?) })
                })
                .collect();
            sites.push(Site {
                id: row.id,
                app: row.app.clone(),
                source: state.last_source.clone(),
                silent: open || evaluate(&View::of(&site, None), now).overdue,
                silences,
            });
        }
        Ok(Self(sites))
    }

    /// The sites that this reservation stands behind.
    fn of_reservation<'a>(&'a self, reservation: &'a Reservation) -> impl Iterator<Item = &'a Site> {
        let source = &reservation.facts.last_source;
        self.0.iter().filter(move |site| {
            !source.is_empty()
                && site.source == *source
                && site.app == reservation.terms.app.as_str()
                && site.id != reservation.id
        })
    }

    /// Whether the reservation stands behind a site that is silent.
    pub fn silent_for(&self, reservation: &Reservation) -> bool {
        self.of_reservation(reservation).any(|site| site.silent)
    }

    /// The silences that are over of the sites that the reservation stands behind.
    pub fn silences_for(&self, reservation: &Reservation) -> Vec<Window> {
        self.of_reservation(reservation).flat_map(|site| site.silences.iter().copied()).collect()
    }
}
