//! Removing a reservation, and undoing that within a day.
//!
//! A checkout removes the reservation's row and its state, and keeps both in the table `checkouts`.
//! The history stays where it is. When the checkout is undone, the reservation has its number, its
//! ping address and its history again, and the sweeper judges it anew.

use chrono::TimeDelta;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool};
use innkeeper_core::Time;
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::notice::Notice;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::connection::AnyConnection;
use crate::reservation_rows::{find, find_by_id, lock_states};
use crate::rewind::bring_back;
use crate::rows::{AlertRow, CHECKED_OUT, ReservationRow, StateRow, ms, time};
use crate::schema::{alerts, audit, checkouts, deliveries, ping_keys, reservations, states};
use crate::slugs::{self, insert_with_slug};
use crate::{ActingStore, Store, StoreError, lookup_keys, outbox, recent};

/// How long a checkout can be undone.
pub const UNDO_WITHIN: TimeDelta = TimeDelta::days(1);

/// The action of a checkout in the audit log.
const CHECK_OUT: &str = "check out";

/// The detail of a checkout in the audit log.
fn noted(id: i64) -> String {
    format!("reservation {id}")
}

/// A reservation that was checked out. The checkout may still be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// Its number.
    pub reservation_id: i64,
    /// Its app.
    pub app: String,
    /// Its component.
    pub component: String,
    /// When it was checked out.
    pub at: Time,
    /// By whom.
    pub who: String,
}

/// What became of an undo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    /// The reservation is back.
    Done,
    /// There is no such checkout any more.
    Unknown,
    /// Its names are taken by another reservation.
    Taken {
        /// The names.
        name: String,
    },
}

/// What is kept of a reservation that was checked out.
#[derive(Serialize, Deserialize)]
struct Kept {
    reservation: ReservationRow,
    state: StateRow,
    latest_checkin_id: Option<i64>,
    previous_checkin_id: Option<i64>,
}

/// Reads what is kept. Older versions kept the parts of the schedule in fields of their own, and
/// later versions the frequency beside the schedule.
fn read_kept(text: &str) -> serde_json::Result<Kept> {
    let mut kept: Value = serde_json::from_str(text)?;
    if let Some(reservation) = kept.get_mut("reservation").and_then(Value::as_object_mut)
        && !reservation.contains_key("schedule")
    {
        let part = |name: &str| reservation.get(name).and_then(Value::as_str).unwrap_or("?");
        let schedule = match reservation.get("period_ms").and_then(Value::as_i64) {
            Some(period) => format!("every {}s", period / 1000),
            None => format!("cron {} {}", part("cron"), part("time_zone")),
        };
        reservation.insert("schedule".to_owned(), schedule.into());
    }
    if let Some(reservation) = kept.get_mut("reservation")
        && let Some(count) = reservation["frequency"].as_i64()
        && let Some(unit) = reservation["time_units"].as_str()
    {
        reservation["schedule"] = format!("every {count} {unit}").into();
    }
    serde_json::from_value(kept)
}

impl Store {
    /// The checkouts of the whole installation that can be undone, latest first.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn checkouts(&self, limit: i64) -> Result<Vec<Checkout>, StoreError> {
        let rows: Vec<(i64, String, String, i64, String)> = checkouts::table
            .order(checkouts::checked_out_at.desc())
            .limit(limit)
            .select((
                checkouts::reservation_id,
                checkouts::app,
                checkouts::component,
                checkouts::checked_out_at,
                checkouts::who,
            ))
            .load(&mut *self.get()?)?;
        let checkout = |(reservation_id, app, component, at, who)| Checkout {
            reservation_id,
            app,
            component,
            at: time(at),
            who,
        };
        Ok(rows.into_iter().map(checkout).collect())
    }

    /// The checkout of the reservation of this number.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn checkout(&self, id: i64) -> Result<Option<Checkout>, StoreError> {
        let row: Option<(String, String, i64, String)> = checkouts::table
            .filter(checkouts::reservation_id.eq(id))
            .select((checkouts::app, checkouts::component, checkouts::checked_out_at, checkouts::who))
            .first(&mut *self.get()?)
            .optional()?;
        Ok(row.map(|(app, component, at, who)| Checkout {
            reservation_id: id,
            app,
            component,
            at: time(at),
            who,
        }))
    }

    /// The number of the reservation that has these names.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn id_of(&self, app: &str, component: &str) -> Result<Option<i64>, StoreError> {
        Ok(reservations::table
            .filter(reservations::app.eq(app))
            .filter(reservations::component.eq(component))
            .select(reservations::id)
            .first(&mut *self.get()?)
            .optional()?)
    }

    /// The latest checkout of the reservation of this number in the audit log, which remembers it
    /// longer than a day. Where it is not clear which part of the subject is the app, all of it
    /// counts as the app, and the component is empty.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn past_checkout(&self, id: i64) -> Result<Option<Checkout>, StoreError> {
        let connection = &mut *self.get()?;
        // Written as in the index and not bound: otherwise the planner does not see that the index
        // fits.
        let row: Option<(String, i64, String)> = audit::table
            .filter(sql::<Bool>(&format!("action = '{CHECK_OUT}'")))
            .filter(audit::detail.eq(noted(id)))
            .order(audit::id.desc())
            .select((audit::subject, audit::at, audit::who))
            .first(connection)
            .optional()?;
        let Some((subject, at, who)) = row else { return Ok(None) };
        // Names may contain slashes. The app is the part that has a ping key: that outlives its
        // reservations.
        let mut splits: Vec<(&str, &str)> =
            subject.match_indices('/').map(|(at, _)| (&subject[..at], &subject[at + 1..])).collect();
        if splits.len() > 1 {
            let apps: Vec<&str> = splits.iter().map(|(app, _)| *app).collect();
            let known: Vec<String> = ping_keys::table
                .filter(ping_keys::app.eq_any(apps))
                .select(ping_keys::app)
                .load(connection)?;
            splits.retain(|(app, _)| known.iter().any(|known| known == app));
        }
        let (app, component) = match splits[..] {
            [(app, component)] => (app.to_owned(), component.to_owned()),
            _ => (subject, String::new()),
        };
        Ok(Some(Checkout { reservation_id: id, app, component, at: time(at), who }))
    }

    /// Forgets checkouts before `before`, which cannot be undone any more. The next prunings remove
    /// their history. Returns how many were forgotten.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn forget_checkouts(&self, before: Time) -> Result<usize, StoreError> {
        self.write(|connection| {
            recent::forget(connection, before)?;
            Ok(sql_query("DELETE FROM checkouts WHERE checked_out_at < $1")
                .bind::<BigInt, _>(ms(before))
                .execute(connection)?)
        })
    }
}

impl ActingStore {
    /// Removes the reservation. An open alert of it closes, and everyone who was told of that alert
    /// is told so. Returns false when there is no such reservation.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn check_out(&self, app: &AppName, component: &ComponentName, now: Time) -> Result<bool, StoreError> {
        self.write(|connection| match find(connection, app, component)? {
            Some(row) => self.remove(connection, &row, now),
            None => Ok(false),
        })
    }

    /// Like [`ActingStore::check_out`], for the reservation of this number.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn check_out_by_id(&self, id: i64, now: Time) -> Result<bool, StoreError> {
        self.write(|connection| match find_by_id(connection, id)? {
            Some(row) => self.remove(connection, &row, now),
            None => Ok(false),
        })
    }

    pub(crate) fn remove(
        &self,
        connection: &mut AnyConnection,
        row: &ReservationRow,
        now: Time,
    ) -> Result<bool, StoreError> {
        // The lock on the state comes first, as everywhere, so that no sweep holds the row
        // meanwhile.
        lock_states(connection, &[row.id])?;
        let kept: Option<(StateRow, Option<i64>, Option<i64>)> = states::table
            .filter(states::reservation_id.eq(row.id))
            .select((StateRow::as_select(), states::latest_checkin_id, states::previous_checkin_id))
            .first(connection)
            .optional()?;
        // Another has removed it meanwhile.
        let Some((state, latest_checkin_id, previous_checkin_id)) = kept else { return Ok(false) };
        let open: Vec<AlertRow> = alerts::table
            .filter(alerts::reservation_id.eq(row.id))
            .filter(alerts::closed_at.is_null())
            .select(AlertRow::as_select())
            .load(connection)?;
        for alert in open {
            diesel::update(alerts::table.filter(alerts::id.eq(alert.id)))
                .set((alerts::closed_at.eq(Some(ms(now))), alerts::ending.eq(Some(CHECKED_OUT))))
                .execute(connection)?;
            tell_of_checkout(connection, alert.id, now)?;
        }
        let (app, component) =
            (AppName::trusted(row.app.clone()), ComponentName::trusted(row.component.clone()));
        let kept = Kept { reservation: row.clone(), state, latest_checkin_id, previous_checkin_id };
        let [slug, old_slug] = [Some(row.slug.clone()), row.old_slug.clone()];
        let corrupt = |error: serde_json::Error| StoreError::Corrupt {
            table: "reservations",
            id: row.id,
            problem: error.to_string(),
        };
        diesel::insert_into(checkouts::table)
            .values((
                checkouts::reservation_id.eq(row.id),
                checkouts::app.eq(&row.app),
                checkouts::component.eq(&row.component),
                checkouts::checked_out_at.eq(ms(now)),
                checkouts::who.eq(self.actor.who.as_str()),
                checkouts::reservation.eq(serde_json::to_string(&kept).map_err(corrupt)?),
                checkouts::slug.eq(slug),
                checkouts::old_slug.eq(old_slug),
            ))
            .execute(connection)?;
        diesel::delete(reservations::table.filter(reservations::id.eq(row.id))).execute(connection)?;
        lookup_keys::close(
            connection,
            &lookup_keys::of(&app, &component, row.key.parse().unwrap_or_default()),
        )?;
        self.note(connection, CHECK_OUT, &format!("{app}/{component}"), &noted(row.id), now)?;
        Ok(true)
    }

    /// Undoes a checkout. The check-ins of the reservation count as before; runs that were under
    /// way are forgotten.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn undo_checkout(&self, id: i64, now: Time) -> Result<Undone, StoreError> {
        self.write(|connection| {
            let kept: Option<String> = checkouts::table
                .filter(checkouts::reservation_id.eq(id))
                .select(checkouts::reservation)
                .first(connection)
                .optional()?;
            let Some(kept) = kept else { return Ok(Undone::Unknown) };
            // Of several who try at once, the one who deletes the row undoes the checkout.
            let taken = diesel::delete(checkouts::table.filter(checkouts::reservation_id.eq(id)))
                .execute(connection)?;
            if taken == 0 {
                return Ok(Undone::Unknown);
            }
            let corrupt = |problem: String| StoreError::Corrupt { table: "checkouts", id, problem };
            let Kept { reservation, mut state, latest_checkin_id, previous_checkin_id } =
                read_kept(&kept).map_err(|error| corrupt(error.to_string()))?;
            let mut spec = reservation.spec()?;
            if !slugs::is_free(connection, &reservation.app, &spec.slug)? {
                spec.slug.clear();
            }
            let name = format!("{}/{}", spec.app, spec.component);
            let key = reservation.key.parse().map_err(|_| corrupt("key".to_owned()))?;
            let created_at = time(reservation.created_at).min(now);
            if insert_with_slug(connection, Some(id), key, &spec, created_at)?.is_none() {
                // The rollback brings the row in `checkouts` back.
                return Err(StoreError::Taken(name));
            }
            slugs::bring_back(connection, &reservation)?;
            let slug: String = reservations::table
                .filter(reservations::id.eq(id))
                .select(reservations::slug)
                .first(connection)?;
            let detail = match reservation.slug == slug || reservation.slug.is_empty() {
                true => String::new(),
                false => format!("slug: {} -> {slug}", reservation.slug),
            };
            let lookup_keys = lookup_keys::of(&spec.app, &spec.component, key);
            lookup_keys::open(connection, id, lookup_keys, ms(now), false)?;
            // The checkout closed its alert; the sweeper judges it anew.
            if state.status == "down" {
                "up".clone_into(&mut state.status);
            }
            // The clock may have been ahead then and have been set back since.
            bring_back(&mut state, ms(now));
            state.wake_at = ms(now);
            diesel::update(states::table.filter(states::reservation_id.eq(id)))
                .set((
                    &state,
                    states::latest_checkin_id.eq(latest_checkin_id),
                    states::previous_checkin_id.eq(previous_checkin_id),
                ))
                .execute(connection)?;
            self.note(connection, "undo check-out", &name, &detail, now)?;
            Ok(Undone::Done)
        })
        .or_else(|error| match error {
            StoreError::Taken(name) => Ok(Undone::Taken { name }),
            other => Err(other),
        })
    }
}

/// Puts a message into the outbox for everyone who was told of the alert: it is over because the
/// job was checked out.
fn tell_of_checkout(connection: &mut AnyConnection, alert_id: i64, now: Time) -> Result<(), StoreError> {
    let told: Vec<(i64, String, String, String)> = deliveries::table
        .filter(deliveries::alert_id.eq(alert_id))
        .order(deliveries::id)
        .select((deliveries::id, deliveries::alerter, deliveries::recipient, deliveries::notice))
        .load(connection)?;
    let mut reached: Vec<(String, String)> = Vec::new();
    for (id, alerter, recipient, notice) in told {
        let way = (alerter, recipient);
        if reached.contains(&way) {
            continue;
        }
        let opened: Notice = match outbox::notice_of(id, &notice) {
            Ok(notice) => notice,
            Err(error) => {
                log::error!("{} {} does not hear of a check-out: {error}", way.0, way.1);
                continue;
            }
        };
        outbox::put(connection, Some(alert_id), &way.0, &way.1, &opened.checked_out(now), now)?;
        reached.push(way);
    }
    Ok(())
}
