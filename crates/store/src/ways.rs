//! Which alerters the sweepers have, and where the messages of all reservations go.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use innkeeper_core::Time;
use innkeeper_core::names::AlerterName;
use innkeeper_core::recipient::Recipients;
use innkeeper_core::reservation::Spec;
use innkeeper_core::ways::WaysOut;
use innkeeper_core::ways::kept::{Presence, SweeperWays};

use crate::rows::{ReservationRow, ms, time};
use crate::schema::{nodes, reservations, ways};
use crate::{Seldom, Store, StoreError};

/// Limits how often this is logged: each of many thousand routes may be unreadable.
static UNREADABLE: Seldom = Seldom::new();

/// The roles that send messages.
const SWEEPERS: [&str; 2] = ["sweeper", "standalone"];

/// Reservations with the same `notify` and `alerters`.
#[derive(Debug, Clone, PartialEq)]
pub struct SameRoute {
    /// Their `notify`.
    pub notify: Recipients,
    /// Their `alerters`.
    pub alerters: Vec<AlerterName>,
    /// How many of the reservations that were looked at have this route.
    pub count: i64,
    /// The lowest number of these reservations.
    pub first_id: i64,
}

/// The routes of some reservations in the order of their numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReservationRoutes {
    /// The routes, each once.
    pub routes: Vec<SameRoute>,
    /// The number of the last reservation that was looked at; none when there was none.
    pub last_id: Option<i64>,
}

impl Store {
    /// Records which alerters the sweeper `node` has.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn publish_ways(&self, node: &str, alerters: &WaysOut) -> Result<(), StoreError> {
        let text = serde_json::to_string(alerters).map_err(|error| corrupt(error.to_string()))?;
        self.write(|connection| {
            sql_query(
                "INSERT INTO ways (node_id, alerters) VALUES ($1, $2)
                 ON CONFLICT (node_id) DO UPDATE SET alerters = excluded.alerters",
            )
            .bind::<Text, _>(node)
            .bind::<Text, _>(&text)
            .execute(connection)?;
            Ok(())
        })
    }

    /// The alerters of the running sweepers, the latest started first. Where none is running, those
    /// of the sweepers that are gone.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn published_ways(&self) -> Result<Vec<(String, WaysOut)>, StoreError> {
        /// A node's id and alerters, and when it started, said goodbye, and was found to be gone.
        type Row = (String, String, Option<i64>, Option<i64>, Option<i64>);
        let rows: Vec<Row> = ways::table
            .left_join(nodes::table)
            .order((nodes::started_at.desc(), ways::node_id))
            .select((
                ways::node_id,
                ways::alerters,
                nodes::started_at.nullable(),
                nodes::goodbye_at.nullable(),
                nodes::told_at.nullable(),
            ))
            .load(&mut *self.get()?)?;
        let mut here = Vec::new();
        let mut gone = Vec::new();
        for (node, text, started_at, goodbye_at, told_at) in rows {
            let ways = match serde_json::from_str(&text) {
                Ok(ways) => ways,
                Err(error) => {
                    // The node notices that and publishes its alerters anew.
                    log::warn!("the alerters of the node {node} cannot be read: {error}");
                    continue;
                }
            };
            let is_here = started_at.is_some() && goodbye_at.is_none() && told_at.is_none();
            if is_here { &mut here } else { &mut gone }.push((node, ways));
        }
        Ok(if here.is_empty() { gone } else { here })
    }

    /// The running sweepers, and those that are gone but have published their alerters.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn sweepers(&self) -> Result<Vec<SweeperWays>, StoreError> {
        let connection = &mut *self.get()?;
        let mut said: HashMap<String, String> =
            ways::table.select((ways::node_id, ways::alerters)).load(connection)?.into_iter().collect();
        /// A node's id and machine, and when it started, sent its latest heartbeat, said goodbye,
        /// and was found to be gone.
        type Row = (String, String, i64, i64, Option<i64>, Option<i64>);
        let rows: Vec<Row> = nodes::table
            .filter(nodes::role.eq_any(SWEEPERS))
            .order((nodes::started_at, nodes::id))
            .select((
                nodes::id,
                nodes::host,
                nodes::started_at,
                nodes::beat_at,
                nodes::goodbye_at,
                nodes::told_at,
            ))
            .load(connection)?;
        let mut sweepers = Vec::with_capacity(rows.len());
        for (node, host, started_at, beat_at, goodbye_at, told_at) in rows {
            let presence = match (goodbye_at, told_at) {
                (Some(_), _) => Presence::Stopped,
                (None, Some(_)) => Presence::Silent,
                (None, None) => Presence::Here,
            };
            let text = said.remove(&node);
            if text.is_none() && presence != Presence::Here {
                continue;
            }
            sweepers.push(SweeperWays {
                node,
                host,
                started_at: time(started_at),
                heard_at: time(goodbye_at.unwrap_or(beat_at).max(beat_at)),
                presence,
                ways: text.and_then(|text| serde_json::from_str(&text).ok()),
            });
        }
        // Sweepers of which only the published alerters are left.
        sweepers.extend(said.into_keys().map(|node| SweeperWays {
            node,
            host: String::new(),
            started_at: Time::UNIX_EPOCH,
            heard_at: Time::UNIX_EPOCH,
            presence: Presence::Silent,
            ways: None,
        }));
        Ok(sweepers)
    }

    /// Forgets which alerters these nodes had.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn forget_ways(&self, nodes: &[String]) -> Result<(), StoreError> {
        self.write(|connection| {
            diesel::delete(ways::table.filter(ways::node_id.eq_any(nodes))).execute(connection)?;
            Ok(())
        })
    }

    /// The routes of up to `limit` reservations with numbers greater than `after`. With `until`,
    /// only of those that were not changed after that time. Routes that cannot be read are left
    /// out.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn routes_after(
        &self,
        after: i64,
        until: Option<Time>,
        limit: i64,
    ) -> Result<ReservationRoutes, StoreError> {
        let connection = &mut *self.get()?;
        let last_id: Option<i64> = reservations::table
            .filter(reservations::id.gt(after))
            .order(reservations::id)
            .limit(limit)
            .select(reservations::id)
            .load::<i64>(connection)?
            .last()
            .copied();
        let Some(last_id) = last_id else { return Ok(ReservationRoutes::default()) };
        let rows: Vec<RouteRow> = sql_query(
            "SELECT notify, alerters, COUNT(*) AS count, MIN(id) AS first_id
             FROM reservations
             WHERE id > $1 AND id <= $2 AND updated_at <= $3
             GROUP BY notify, alerters
             ORDER BY MIN(id)",
        )
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(last_id)
        .bind::<BigInt, _>(until.map_or(i64::MAX, ms))
        .load(connection)?;
        let mut routes = Vec::with_capacity(rows.len());
        for RouteRow { notify, alerters, count, first_id } in rows {
            let names: Vec<AlerterName> = match serde_json::from_str(&alerters) {
                Ok(names) => names,
                Err(error) => {
                    UNREADABLE.error(format_args!("reservation {first_id}: alerters: {error}"));
                    continue;
                }
            };
            match Recipients::parse("notify", &notify) {
                Ok(notify) => routes.push(SameRoute { notify, alerters: names, count, first_id }),
                Err(error) => UNREADABLE.error(format_args!("reservation {first_id}: {error}")),
            }
        }
        Ok(ReservationRoutes { routes, last_id: Some(last_id) })
    }

    /// App and component of up to `limit` reservations on this route with numbers up to `to`, in
    /// the order of their numbers. With `until`, only of those that were not changed after that
    /// time.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn names_on_route(
        &self,
        route: &SameRoute,
        to: i64,
        until: Option<Time>,
        limit: i64,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let alerters = serde_json::to_string(&route.alerters).map_err(|error| corrupt(error.to_string()))?;
        Ok(reservations::table
            .filter(reservations::id.between(route.first_id, to))
            .filter(reservations::updated_at.le(until.map_or(i64::MAX, ms)))
            .filter(reservations::notify.eq(route.notify.to_string()))
            .filter(reservations::alerters.eq(alerters))
            .order(reservations::id)
            .limit(limit)
            .select((reservations::app, reservations::component))
            .load(&mut *self.get()?)?)
    }

    /// The spec of the reservation `id`, and when it was changed last; none when there is no such
    /// reservation.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn terms_of(&self, id: i64) -> Result<Option<(Spec, Time)>, StoreError> {
        let row: Option<(ReservationRow, i64)> = reservations::table
            .filter(reservations::id.eq(id))
            .select((ReservationRow::as_select(), reservations::updated_at))
            .first(&mut *self.get()?)
            .optional()?;
        row.map(|(row, updated_at)| Ok((row.spec()?, time(updated_at)))).transpose()
    }
}

fn corrupt(problem: String) -> StoreError {
    StoreError::Corrupt { table: "ways", id: 0, problem }
}

#[derive(QueryableByName)]
struct RouteRow {
    #[diesel(sql_type = Text)]
    notify: String,
    #[diesel(sql_type = Text)]
    alerters: String,
    #[diesel(sql_type = BigInt)]
    count: i64,
    #[diesel(sql_type = BigInt)]
    first_id: i64,
}
