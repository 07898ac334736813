//! Snoozes of duties: while a duty is snoozed, nobody is told that no node does it. Also removes
//! the reservations that older versions made for duties.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use innkeeper_core::Time;
use innkeeper_core::names::{AppName, ComponentName};

use crate::readable::list;
use crate::reservation_rows::{find_by_id, lock_states};
use crate::rows::{NamedRow, ms, time};
use crate::schema::{alerts, deliveries, duties, reservations, runs, states};
use crate::{ActingStore, Store, StoreError, lookup_keys};

/// The audit log goes back further than this. So it shows for each younger reservation whether
/// somebody made it.
const SURELY_LOGGED: TimeDelta = TimeDelta::days(300);

impl Store {
    /// The duties that are snoozed at `now`, and until when.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn snoozed_duties(&self, now: Time) -> Result<BTreeMap<String, Time>, StoreError> {
        let rows: Vec<(String, Option<i64>)> = duties::table
            .filter(duties::snoozed_until.gt(ms(now)))
            .select((duties::name, duties::snoozed_until))
            .load(&mut *self.get()?)?;
        Ok(rows.into_iter().filter_map(|(name, until)| Some((name, time(until?)))).collect())
    }

    /// Removes the reservations `innkeeper/ingest`, `innkeeper/sweeper` and `innkeeper/web` that
    /// nodes of an older version make for their duties, since nothing checks in to them after an
    /// upgrade. Such nodes make them anew each minute as long as they run. A reservation that
    /// somebody made under such a name stays. A snooze of one becomes a snooze of the duty. The
    /// next pruning removes the history. Returns the names of those removed.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn remove_own_reservations(&self, now: Time) -> Result<Vec<String>, StoreError> {
        let own: Vec<NamedRow> = sql_query(
            "SELECT r.id, r.app, r.component
             FROM reservations r
             WHERE r.app = 'innkeeper' AND r.component IN ('ingest', 'sweeper', 'web')
                 AND r.owner = 'Innkeeper' AND r.description = 'Whether a node does the work of ' || r.component
                 AND r.created_at > $1
                 AND NOT EXISTS (
                     SELECT 1 FROM audit a
                     WHERE a.action IN ('make reservation', 'undo check-out') AND a.subject = r.app || '/' || r.component
                 )
             ORDER BY r.id",
        )
        .bind::<BigInt, _>(ms(now - SURELY_LOGGED))
        .load(&mut *self.get()?)?;
        if own.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<i64> = own.iter().map(|row| row.id).collect();
        self.write(|connection| {
            lock_states(connection, &ids)?;
            sql_query(format!(
                "UPDATE duties
                 SET snoozed_until = (
                     SELECT s.snoozed_until
                     FROM reservations r JOIN states s ON s.reservation_id = r.id
                     WHERE r.id IN ({0}) AND r.component = duties.name
                 )
                 WHERE name IN (
                     SELECT r.component
                     FROM reservations r JOIN states s ON s.reservation_id = r.id
                     WHERE r.id IN ({0}) AND s.snoozed_until > COALESCE(duties.snoozed_until, 0)
                 )",
                list(&ids)
            ))
            .execute(connection)?;
            let told: Vec<i64> = alerts::table
                .filter(alerts::reservation_id.eq_any(&ids))
                .select(alerts::id)
                .load(connection)?;
            diesel::delete(deliveries::table.filter(deliveries::alert_id.eq_any(&told)))
                .execute(connection)?;
            diesel::delete(alerts::table.filter(alerts::id.eq_any(&told))).execute(connection)?;
            for NamedRow { id, app, component } in &own {
                let Some(row) = find_by_id(connection, *id)? else { continue };
                let names = (AppName::trusted(app.clone()), ComponentName::trusted(component.clone()));
                let key = row.key.parse().unwrap_or_default();
                lookup_keys::close(connection, &lookup_keys::of(&names.0, &names.1, key))?;
            }
            diesel::delete(runs::table.filter(runs::reservation_id.eq_any(&ids))).execute(connection)?;
            diesel::delete(states::table.filter(states::reservation_id.eq_any(&ids))).execute(connection)?;
            diesel::delete(reservations::table.filter(reservations::id.eq_any(&ids))).execute(connection)?;
            Ok(own.iter().map(|row| format!("{}/{}", row.app, row.component)).collect())
        })
    }
}

impl ActingStore {
    /// Snoozes the duty: nobody is told before `until` that no node does it. An `until` that is not
    /// after `now` ends a snooze. Returns false when there is no such duty.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn snooze_duty(&self, name: &str, until: Time, now: Time) -> Result<bool, StoreError> {
        self.write(|connection| {
            let snoozed_until = (until > now).then(|| ms(until));
            let changed = diesel::update(duties::table.filter(duties::name.eq(name)))
                .set(duties::snoozed_until.eq(snoozed_until))
                .execute(connection)?;
            let (action, detail) = match until > now {
                true => ("snooze duty", format!("until {}", until.format("%Y-%m-%d %H:%M:%S UTC"))),
                false => ("resume duty", String::new()),
            };
            if changed > 0 {
                self.note(connection, action, name, &detail, now)?;
            }
            Ok(changed > 0)
        })
    }
}
