//! Making, changing, snoozing and removing reservations.

use diesel::prelude::*;
use diesel::{
    sql_query,
    sql_types::{BigInt, Text},
};
use innkeeper_core::alert::OpenAlert;
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::notice::Notice;
use innkeeper_core::reservation::{Conclusions, Reservation, Terms, Wishes};
use innkeeper_core::sla::{View, evaluate};
use innkeeper_core::{Invalid, Time};
use uuid::Uuid;

use crate::connection::AnyConnection;
use crate::rows::{AlertRow, ReservationRow, StateRow, TermsRow, ms};
use crate::schema::{alerts, deliveries, ping_keys, reservations, states};
use crate::{Store, StoreError, doors, history, outbox};

/// What became of a wish for a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// It is new.
    Created(i64),
    /// It was there, and something in it changed.
    Changed(i64),
    /// It was there already, just so.
    Unchanged(i64),
    /// It was not there, and the wish does not say enough to make it.
    Incomplete(Invalid),
}

impl Store {
    /// Makes the reservation, or changes the existing one as wished.
    pub fn reserve(
        &self,
        app: &AppName,
        component: &ComponentName,
        wishes: &Wishes,
        now: Time,
    ) -> Result<Reserved, StoreError> {
        self.write(|connection| reserve(connection, app, component, wishes, now))
    }

    /// Lets nothing alert on the reservation until `until`. False when there is none.
    pub fn snooze(
        &self,
        app: &AppName,
        component: &ComponentName,
        until: Time,
        now: Time,
    ) -> Result<bool, StoreError> {
        self.write(|connection| {
            let Some(row) = find(connection, app, component)? else { return Ok(false) };
            let changed = sql_query(
                "UPDATE states
                 SET snoozed_until = $1, wake_at = CASE WHEN wake_at < $2 THEN wake_at ELSE $2 END
                 WHERE reservation_id = $3",
            )
            .bind::<BigInt, _>(ms(until))
            .bind::<BigInt, _>(ms(now))
            .bind::<BigInt, _>(row.id)
            .execute(connection)?;
            Ok(changed > 0)
        })
    }

    /// Removes the reservation with its facts and history. An alert that is open on it closes, and whoever was
    /// told of it hears so. False when there is none.
    pub fn check_out(&self, app: &AppName, component: &ComponentName, now: Time) -> Result<bool, StoreError> {
        self.write(|connection| {
            let Some(row) = find(connection, app, component)? else { return Ok(false) };
            // The state's lock first, as everybody takes it, so that no sweep holds the row half-way.
            lock_states(connection, &[row.id])?;
            let open: Vec<AlertRow> = alerts::table
                .filter(alerts::reservation_id.eq(row.id))
                .filter(alerts::closed_at.is_null())
                .select(AlertRow::as_select())
                .load(connection)?;
            for alert in open {
                diesel::update(alerts::table.filter(alerts::id.eq(alert.id)))
                    .set(alerts::closed_at.eq(Some(ms(now))))
                    .execute(connection)?;
                tell_of_checkout(connection, alert.id, now)?;
            }
            history::forget(connection, row.id)?;
            diesel::delete(reservations::table.filter(reservations::id.eq(row.id))).execute(connection)?;
            doors::close(connection, &doors::of(app, component, row.key.parse().unwrap_or_default()))?;
            Ok(true)
        })
    }

    /// The reservation with its open alert.
    pub fn reservation(
        &self,
        app: &AppName,
        component: &ComponentName,
    ) -> Result<Option<(Reservation, Option<OpenAlert>)>, StoreError> {
        let connection = &mut *self.get()?;
        let found: Option<(ReservationRow, StateRow)> = reservations::table
            .inner_join(states::table)
            .filter(reservations::app.eq(app.as_str()))
            .filter(reservations::component.eq(component.as_str()))
            .select((ReservationRow::as_select(), StateRow::as_select()))
            .first(connection)
            .optional()?;
        let Some((row, state)) = found else { return Ok(None) };
        let alert: Option<AlertRow> = alerts::table
            .filter(alerts::reservation_id.eq(row.id))
            .filter(alerts::closed_at.is_null())
            .select(AlertRow::as_select())
            .first(connection)
            .optional()?;
        Ok(Some((row.with(&state)?, alert.map(|alert| alert.open_alert()).transpose()?)))
    }

    /// The key that stands before a slug in the app's ping addresses; made at the first asking.
    pub fn ping_key(&self, app: &AppName) -> Result<String, StoreError> {
        self.write(|connection| ping_key(connection, app.as_str()))
    }
}

/// See [`Store::reserve`].
pub(crate) fn reserve(
    connection: &mut AnyConnection,
    app: &AppName,
    component: &ComponentName,
    wishes: &Wishes,
    now: Time,
) -> Result<Reserved, StoreError> {
    // Again only when another process makes or removes it between the look and the deed.
    for _ in 0..3 {
        if let Some(row) = find(connection, app, component)? {
            match change(connection, row, wishes, now)? {
                Some(reserved) => return Ok(reserved),
                None => continue,
            }
        }
        let terms = match wishes.clone().into_terms(app.clone(), component.clone()) {
            Ok(terms) => terms,
            Err(problem) => return Ok(Reserved::Incomplete(problem)),
        };
        if let Some(id) = create(connection, terms, now)? {
            return Ok(Reserved::Created(id));
        }
    }
    Err(StoreError::Unavailable(format!("{app}/{component} is being made and removed at the same time")))
}

fn find(
    connection: &mut AnyConnection,
    app: &AppName,
    component: &ComponentName,
) -> Result<Option<ReservationRow>, StoreError> {
    Ok(reservations::table
        .filter(reservations::app.eq(app.as_str()))
        .filter(reservations::component.eq(component.as_str()))
        .select(ReservationRow::as_select())
        .first(connection)
        .optional()?)
}

/// Inserts a reservation and its state; none when its names are taken.
fn create(connection: &mut AnyConnection, terms: Terms, now: Time) -> Result<Option<i64>, StoreError> {
    // Made with the first reservation of the app, so that whoever reads the reservation can read its ping address;
    // and before it, so that whoever makes a reservation of a new app waits for others here, and holds nothing yet.
    ping_key(connection, terms.app.as_str())?;
    let row = TermsRow::from(&terms);
    let key = Uuid::new_v4();
    let inserted: Option<Id> = sql_query(
        "INSERT INTO reservations (key, app, component, slug, owner, description, tags, notify, alerters, alert_msg,
             schedule, period_ms, cron, time_zone, frequency, time_units, grace_ms, alert_after, remind_every_ms,
             notify_recovery, max_run_ms, min_run_ms, is_site, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
             $22, $23, $24, $24)
         ON CONFLICT (app, component) DO NOTHING
         RETURNING id",
    )
    .bind::<Text, _>(key.to_string())
    .bind::<Text, _>(row.app)
    .bind::<Text, _>(row.component)
    .bind::<Text, _>(row.slug)
    .bind::<Text, _>(row.owner)
    .bind::<Text, _>(row.description)
    .bind::<Text, _>(row.tags)
    .bind::<Text, _>(row.notify)
    .bind::<Text, _>(row.alerters)
    .bind::<Text, _>(row.alert_msg)
    .bind::<Text, _>(row.schedule)
    .bind::<diesel::sql_types::Nullable<BigInt>, _>(row.period_ms)
    .bind::<diesel::sql_types::Nullable<Text>, _>(row.cron)
    .bind::<diesel::sql_types::Nullable<Text>, _>(row.time_zone)
    .bind::<diesel::sql_types::Nullable<BigInt>, _>(row.frequency)
    .bind::<diesel::sql_types::Nullable<Text>, _>(row.time_units)
    .bind::<BigInt, _>(row.grace_ms)
    .bind::<BigInt, _>(row.alert_after)
    .bind::<diesel::sql_types::Nullable<BigInt>, _>(row.remind_every_ms)
    .bind::<diesel::sql_types::Bool, _>(row.notify_recovery)
    .bind::<diesel::sql_types::Nullable<BigInt>, _>(row.max_run_ms)
    .bind::<diesel::sql_types::Nullable<BigInt>, _>(row.min_run_ms)
    .bind::<diesel::sql_types::Bool, _>(row.is_site)
    .bind::<BigInt, _>(ms(now))
    .get_result(connection)
    .optional()?;
    let Some(Id { id }) = inserted else { return Ok(None) };
    let reservation = Reservation {
        id,
        key,
        terms,
        created_at: now,
        facts: Default::default(),
        conclusions: Conclusions::fresh(now),
    };
    let first_look = evaluate(&View::of(&reservation, None), now).conclusions.wake_at;
    let doors = doors::of(&reservation.terms.app, &reservation.terms.component, key);
    doors::open(connection, id, doors, ms(first_look), is_eager(&reservation.terms))?;
    Ok(Some(id))
}

/// Whether any check-in of such a reservation may change a conclusion.
fn is_eager(terms: &Terms) -> bool {
    terms.max_run.is_some() || terms.min_run.is_some()
}

/// Writes what the wish changes, and has the sweeper look at it anew. None when the reservation is gone.
fn change(
    connection: &mut AnyConnection,
    row: ReservationRow,
    wishes: &Wishes,
    now: Time,
) -> Result<Option<Reserved>, StoreError> {
    let known = row.terms()?;
    if wishes.clone().applied_to(known.clone()) == known {
        return Ok(Some(Reserved::Unchanged(row.id)));
    }
    lock_states(connection, &[row.id])?;
    // Read again under the lock: another process may just have changed something else in it.
    let row: Option<ReservationRow> = reservations::table
        .filter(reservations::id.eq(row.id))
        .select(ReservationRow::as_select())
        .first(connection)
        .optional()?;
    let Some(row) = row else { return Ok(None) };
    let before = row.terms()?;
    let after = wishes.clone().applied_to(before.clone());
    diesel::update(reservations::table.filter(reservations::id.eq(row.id)))
        .set((&TermsRow::from(&after), reservations::updated_at.eq(ms(now))))
        .execute(connection)?;
    diesel::update(states::table.filter(states::reservation_id.eq(row.id)))
        .set((states::wake_at.eq(ms(now)), states::eager.eq(is_eager(&after))))
        .execute(connection)?;
    if after.min_run != before.min_run {
        // Runs that ended under the old rule are not judged by the new one.
        diesel::update(states::table.filter(states::reservation_id.eq(row.id)))
            .set(states::checkins_seen.eq(states::checkins))
            .execute(connection)?;
    }
    Ok(Some(Reserved::Changed(row.id)))
}

/// Locks the states of the reservations `ids` in id order, as everybody takes them. SQLite has one writer, and this is it.
pub(crate) fn lock_states(connection: &mut AnyConnection, ids: &[i64]) -> Result<(), StoreError> {
    if let AnyConnection::Postgres(connection) = connection {
        states::table
            .filter(states::reservation_id.eq_any(ids))
            .order(states::reservation_id)
            .select(states::reservation_id)
            .for_update()
            .load::<i64>(connection)?;
    }
    Ok(())
}

/// Puts into the outbox, for everyone who was told of the alert, that it is over because the job was checked out.
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

/// See [`Store::ping_key`].
fn ping_key(connection: &mut AnyConnection, app: &str) -> Result<String, StoreError> {
    let known: Option<String> = ping_keys::table
        .filter(ping_keys::app.eq(app))
        .select(ping_keys::key)
        .first(connection)
        .optional()?;
    if let Some(key) = known {
        return Ok(key);
    }
    sql_query("INSERT INTO ping_keys (app, key) VALUES ($1, $2) ON CONFLICT (app) DO NOTHING")
        .bind::<Text, _>(app)
        .bind::<Text, _>(Uuid::new_v4().simple().to_string())
        .execute(connection)?;
    Ok(ping_keys::table.filter(ping_keys::app.eq(app)).select(ping_keys::key).first(connection)?)
}

#[derive(diesel::QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}
