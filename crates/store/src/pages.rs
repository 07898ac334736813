//! What pages show beside reservations: alerts, deliveries, counts.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};
use innkeeper_core::Time;
use innkeeper_core::alert::Cause;
use innkeeper_core::notice::DeliveryState;
use innkeeper_core::uptime::DownTime;
use serde::Serialize;

use crate::outbox::notice_of;
use crate::readable::readable;
use crate::rows::{AlertRow, CHECKED_OUT, ms, time, word};
use crate::schema::{alerts, deliveries};
use crate::{Store, StoreError};

/// The most alerts that are read for the uptime bars of one page.
const MOST_TROUBLES: i64 = 50_000;

/// Counts that come from small indexes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many alerts are open.
    pub down: i64,
    /// How many messages wait.
    pub waiting: i64,
}

/// An alert, open or past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PastAlert {
    /// Its number.
    pub id: i64,
    /// The number of its reservation, which may no longer exist.
    pub reservation_id: i64,
    /// The app of its reservation.
    pub app: String,
    /// The component of its reservation.
    pub component: String,
    /// `missed`, `overran` or `failed`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub cause: Cause,
    /// The reason as a sentence.
    pub sentence: String,
    /// When it opened.
    pub opened_at: DateTime<Utc>,
    /// When it closed; null while it is open.
    pub closed_at: Option<DateTime<Utc>>,
    /// Why it closed, if not by a new success: `schedule changed: not overdue by it`, `checked out`, or a late report
    /// which showed that the job had been well: `it had run at 02:00 on Wed 25 Nov (Europe/Berlin)`.
    pub ending: Option<String>,
}

/// What a message is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    /// A reservation, which may be gone.
    Job {
        /// Its number.
        reservation_id: i64,
        /// Its app.
        app: String,
        /// Its component.
        component: String,
    },
    /// Something else; this is the subject of the message.
    Subject(String),
}

/// A message and its delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SentDelivery {
    /// Its number.
    pub id: i64,
    /// The number of its alert; null if it belongs to none.
    pub alert_id: Option<i64>,
    /// The reservation or the subject that it is about. The API leaves it out: it names the alert.
    #[serde(skip)]
    pub topic: Topic,
    /// `opened`, `reminder`, `recovered`, …; empty if the row was damaged and repaired.
    pub event: String,
    /// The name of the alerter.
    pub alerter: String,
    /// The address, if the alerter has several recipients.
    pub recipient: String,
    /// `waiting`, `delivered` or `dead`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub state: DeliveryState,
    /// The number of attempts.
    pub attempts: i64,
    /// The problem of the last attempt.
    pub problem: Option<String>,
    /// When it was put into the outbox.
    pub created_at: DateTime<Utc>,
    /// When the next attempt is due, while it waits.
    pub next_at: DateTime<Utc>,
    /// When it was delivered or given up.
    pub finished_at: Option<DateTime<Utc>>,
}

/// A reservation with many alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadGuest {
    /// Its number.
    pub reservation_id: i64,
    /// Its app.
    pub app: String,
    /// Its component.
    pub component: String,
    /// How many alerts opened.
    pub alerts: i64,
    /// When the latest opened.
    pub latest_at: Time,
}

impl Store {
    /// The first `limit` apps, by name.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn apps(&self, limit: i64) -> Result<Vec<String>, StoreError> {
        use crate::schema::ping_keys;
        Ok(ping_keys::table
            .order(ping_keys::app)
            .limit(limit)
            .select(ping_keys::app)
            .load(&mut *self.get()?)?)
    }

    /// How many alerts are open and how many messages wait. Reads two small indexes.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn open_counts(&self) -> Result<Counts, StoreError> {
        let connection = &mut *self.get()?;
        Ok(Counts {
            down: alerts::table.filter(alerts::closed_at.is_null()).count().get_result(connection)?,
            waiting: deliveries::table
                .filter(deliveries::state.eq(DeliveryState::Waiting.as_str()))
                .count()
                .get_result(connection)?,
        })
    }

    /// Alerts before the number `before`, latest first, of one reservation or of all. `open`
    /// chooses open alerts, past alerts, or both.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn alerts(
        &self,
        reservation_id: Option<i64>,
        open: Option<bool>,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<PastAlert>, StoreError> {
        self.alerts_where(reservation_id, None, open, before, limit)
    }

    /// Like [`Store::alerts`], for reservations of these apps only.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn alerts_of_apps(
        &self,
        apps: &[String],
        open: Option<bool>,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<PastAlert>, StoreError> {
        self.alerts_where(None, Some(apps), open, before, limit)
    }

    fn alerts_where(
        &self,
        reservation_id: Option<i64>,
        apps: Option<&[String]>,
        open: Option<bool>,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<PastAlert>, StoreError> {
        let mut query =
            alerts::table.order(alerts::id.desc()).limit(limit).select(AlertRow::as_select()).into_boxed();
        if let Some(id) = reservation_id {
            query = query.filter(alerts::reservation_id.eq(id));
        }
        if let Some(apps) = apps {
            query = query.filter(alerts::app.eq_any(apps.to_vec()));
        }
        match open {
            Some(true) => query = query.filter(alerts::closed_at.is_null()),
            Some(false) => query = query.filter(alerts::closed_at.is_not_null()),
            None => {}
        }
        if let Some(before) = before {
            query = query.filter(alerts::id.lt(before));
        }
        let rows: Vec<AlertRow> = query.load(&mut *self.get()?)?;
        let alert = |row: AlertRow| {
            Ok(PastAlert {
                cause: row.cause()?,
                id: row.id,
                reservation_id: row.reservation_id,
                app: row.app,
                component: row.component,
                sentence: row.sentence,
                opened_at: time(row.opened_at),
                closed_at: row.closed_at.map(time),
                ending: row.ending,
            })
        };
        Ok(readable(rows, alert))
    }

    /// For each of these reservations, when it was down since the time given with it, in no order.
    /// Withdrawn alerts do not count.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn troubles(&self, since: &[(i64, Time)]) -> Result<HashMap<i64, Vec<DownTime>>, StoreError> {
        let mut troubles: HashMap<i64, Vec<DownTime>> = HashMap::new();
        if since.is_empty() {
            return Ok(troubles);
        }
        // Each reservation has its own span. A common one could be long, and load all alerts of a
        // job that fails each second.
        let wanted: Vec<String> = since.iter().map(|(id, since)| format!("({id}, {})", ms(*since))).collect();
        let rows: Vec<TroubleRow> = sql_query(format!(
            "WITH wanted (id, since) AS (VALUES {})
             SELECT alerts.reservation_id, alerts.opened_at, alerts.closed_at
             FROM wanted
             JOIN alerts ON alerts.reservation_id = wanted.id
             WHERE (alerts.closed_at IS NULL OR alerts.closed_at >= wanted.since)
                 AND (alerts.ending IS NULL OR alerts.ending = '{CHECKED_OUT}')
             LIMIT {MOST_TROUBLES}",
            wanted.join(", ")
        ))
        .load(&mut *self.get()?)?;
        for row in rows {
            let trouble = DownTime { from: time(row.opened_at), until: row.closed_at.map(time) };
            troubles.entry(row.reservation_id).or_default().push(trouble);
        }
        Ok(troubles)
    }

    /// The messages of these alerts, oldest first.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn deliveries_of(&self, alert_ids: &[i64]) -> Result<Vec<SentDelivery>, StoreError> {
        let rows: Vec<DeliveryRow> = deliveries::table
            .left_join(alerts::table)
            .filter(deliveries::alert_id.eq_any(alert_ids))
            .order(deliveries::id)
            .select(DeliveryRow::as_select())
            .load(&mut *self.get()?)?;
        Ok(readable(rows, DeliveryRow::sent))
    }

    /// Messages in this state before the number `before`, latest first.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn deliveries(
        &self,
        state: DeliveryState,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<SentDelivery>, StoreError> {
        let mut query = deliveries::table
            .left_join(alerts::table)
            .filter(deliveries::state.eq(state.as_str()))
            .order(deliveries::id.desc())
            .limit(limit)
            .select(DeliveryRow::as_select())
            .into_boxed();
        if let Some(before) = before {
            query = query.filter(deliveries::id.lt(before));
        }
        let rows: Vec<DeliveryRow> = query.load(&mut *self.get()?)?;
        Ok(readable(rows, DeliveryRow::sent))
    }

    /// The reservations with the most alerts since `since`, worst first. Withdrawn alerts do not
    /// count.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn bad_guests(&self, since: Time, limit: i64) -> Result<Vec<BadGuest>, StoreError> {
        let rows: Vec<BadGuestRow> = sql_query(
            "SELECT reservation_id, MAX(app) AS app, MAX(component) AS component, COUNT(*) AS alerts, MAX(opened_at) AS latest_at
             FROM alerts
             WHERE opened_at >= $1 AND (ending IS NULL OR ending = $2)
             GROUP BY reservation_id
             ORDER BY alerts DESC, latest_at DESC
             LIMIT $3",
        )
        .bind::<BigInt, _>(ms(since))
        .bind::<Text, _>(CHECKED_OUT)
        .bind::<BigInt, _>(limit)
        .load(&mut *self.get()?)?;
        let guest = |row: BadGuestRow| BadGuest {
            reservation_id: row.reservation_id,
            app: row.app,
            component: row.component,
            alerts: row.alerts,
            latest_at: time(row.latest_at),
        };
        Ok(rows.into_iter().map(guest).collect())
    }
}

#[derive(QueryableByName)]
struct TroubleRow {
    #[diesel(sql_type = BigInt)]
    reservation_id: i64,
    #[diesel(sql_type = BigInt)]
    opened_at: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    closed_at: Option<i64>,
}

#[derive(QueryableByName)]
struct BadGuestRow {
    #[diesel(sql_type = BigInt)]
    reservation_id: i64,
    #[diesel(sql_type = Text)]
    app: String,
    #[diesel(sql_type = Text)]
    component: String,
    #[diesel(sql_type = BigInt)]
    alerts: i64,
    #[diesel(sql_type = BigInt)]
    latest_at: i64,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = alerts)]
struct JobRow {
    reservation_id: i64,
    app: String,
    component: String,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = deliveries)]
struct DeliveryRow {
    id: i64,
    alert_id: Option<i64>,
    #[diesel(embed)]
    job: Option<JobRow>,
    notice: String,
    event: String,
    alerter: String,
    recipient: String,
    state: String,
    attempts: i64,
    problem: Option<String>,
    created_at: i64,
    next_at: i64,
    finished_at: Option<i64>,
}

impl DeliveryRow {
    fn sent(self) -> Result<SentDelivery, StoreError> {
        let topic = match self.job {
            Some(JobRow { reservation_id, app, component }) => Topic::Job { reservation_id, app, component },
            None => Topic::Subject(notice_of(self.id, &self.notice)?.subject),
        };
        Ok(SentDelivery {
            id: self.id,
            alert_id: self.alert_id,
            topic,
            event: self.event,
            alerter: self.alerter,
            recipient: self.recipient,
            state: word("deliveries", self.id, "state", &self.state)?,
            attempts: self.attempts,
            problem: self.problem,
            created_at: time(self.created_at),
            next_at: time(self.next_at),
            finished_at: self.finished_at.map(time),
        })
    }
}
