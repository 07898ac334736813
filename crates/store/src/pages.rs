//! What pages ask for: reservations page by page, alerts, deliveries, counts.
//!
//! A page of reservations is found by its key, not by counting: those with an open alert first, then the others, each by app and
//! component. So the millionth page costs what the first does.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use innkeeper_core::Time;
use serde::{Deserialize, Serialize};

use crate::rows::{AlertRow, ReservationRow, StateRow, ms, time};
use crate::schema::{alerts, deliveries, reservations, states};
use crate::{Listed, Store, StoreError, reads};

diesel::define_sql_function! {
    /// In lower case.
    fn lower(text: Text) -> Text;
}

/// Which reservations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// A part of app or component, whatever its case.
    pub text: Option<String>,
    /// Just this app.
    pub app: Option<String>,
    /// Just this owner.
    pub owner: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// Of these apps alone: those that a caller is bound to.
    pub apps: Option<Vec<String>>,
}

/// Where a page begins: behind this reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Whether it has an open alert.
    pub down: bool,
    /// Its app; with `component` empty before everything.
    pub app: String,
    /// Its component.
    pub component: String,
}

impl Cursor {
    /// Before everything.
    pub fn begin() -> Self {
        Self { down: true, app: String::new(), component: String::new() }
    }
}

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reservations.
    pub reservations: i64,
    /// Alerts that are open.
    pub down: i64,
    /// Messages that wait.
    pub waiting: i64,
}

/// An alert, open or past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastAlert {
    /// Its number.
    pub id: i64,
    /// Its reservation, which may be gone.
    pub reservation_id: i64,
    /// Of which app.
    pub app: String,
    /// And component.
    pub component: String,
    /// `missed`, `overran` or `failed`.
    pub cause: String,
    /// Why, as a sentence.
    pub sentence: String,
    /// When it opened.
    pub opened_at: Time,
    /// When it closed.
    pub closed_at: Option<Time>,
}

/// A message and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentDelivery {
    /// Its number.
    pub id: i64,
    /// Its alert, where it belongs to one.
    pub alert_id: Option<i64>,
    /// `opened`, `recovered`, …
    pub event: String,
    /// Through which alerter.
    pub alerter: String,
    /// To which address, where the alerter has several.
    pub recipient: String,
    /// `waiting`, `delivered` or `dead`.
    pub state: String,
    /// How often it was tried.
    pub attempts: i64,
    /// What went wrong last.
    pub problem: Option<String>,
    /// When it was put into the outbox.
    pub created_at: Time,
    /// When it is tried next, while it waits.
    pub next_at: Time,
    /// When it ended.
    pub finished_at: Option<Time>,
}

/// A reservation with many alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadGuest {
    /// Which.
    pub reservation_id: i64,
    /// Of which app.
    pub app: String,
    /// And component.
    pub component: String,
    /// How many alerts opened.
    pub alerts: i64,
    /// When the latest opened.
    pub latest_at: Time,
}

impl Store {
    /// Up to `limit` reservations behind `cursor`, those with an open alert first, then by app and component; with the place of the next page
    /// where there is one.
    pub fn page(
        &self,
        filter: &Filter,
        cursor: &Cursor,
        limit: i64,
        now: Time,
    ) -> Result<(Vec<Listed>, Option<Cursor>), StoreError> {
        let connection = &mut *self.get()?;
        let mut rows: Vec<(ReservationRow, StateRow)> = Vec::new();
        let mut down = cursor.down;
        let mut cursor = cursor.clone();
        loop {
            // One more than is shown tells whether there is a next page.
            let left = limit + 1 - rows.len() as i64;
            let mut query = reservations::table
                .inner_join(states::table)
                .filter(
                    reservations::app.gt(cursor.app.clone()).or(reservations::app
                        .eq(cursor.app.clone())
                        .and(reservations::component.gt(cursor.component.clone()))),
                )
                .order((reservations::app, reservations::component))
                .limit(left)
                .select((ReservationRow::as_select(), StateRow::as_select()))
                .into_boxed();
            if down {
                let open = alerts::table.filter(alerts::closed_at.is_null()).select(alerts::reservation_id);
                query = query.filter(reservations::id.eq_any(open));
            } else {
                query = query.filter(states::status.ne("down"));
            }
            if let Some(text) = &filter.text {
                let pattern = containing(&text.to_lowercase());
                query = query.filter(
                    lower(reservations::app).like(pattern.clone()).escape('\\').or(lower(
                        reservations::component,
                    )
                    .like(pattern)
                    .escape('\\')),
                );
            }
            if let Some(app) = &filter.app {
                query = query.filter(reservations::app.eq(app.clone()));
            }
            if let Some(apps) = &filter.apps {
                query = query.filter(reservations::app.eq_any(apps.clone()));
            }
            if let Some(owner) = &filter.owner {
                query = query.filter(reservations::owner.eq(owner.clone()));
            }
            if let Some(tag) = &filter.tag {
                // As it stands in the JSON list.
                let quoted = serde_json::Value::from(tag.as_str()).to_string();
                query = query.filter(reservations::tags.like(containing(&quoted)).escape('\\'));
            }
            rows.extend(query.load::<(ReservationRow, StateRow)>(connection)?);
            if rows.len() as i64 > limit || !down {
                break;
            }
            down = false;
            cursor = Cursor::begin();
        }
        let next = (rows.len() as i64 > limit).then(|| {
            rows.truncate(limit as usize);
            rows.last().map(|(row, state)| Cursor {
                down: state.status == "down",
                app: row.app.clone(),
                component: row.component.clone(),
            })
        });
        let ids: Vec<i64> = rows.iter().map(|(row, _)| row.id).collect();
        Ok((reads::listed(connection, rows, Some(&ids), now)?, next.flatten()))
    }

    /// The reservation of this number.
    pub fn listed(&self, id: i64, now: Time) -> Result<Option<Listed>, StoreError> {
        let connection = &mut *self.get()?;
        let row: Option<(ReservationRow, StateRow)> = reservations::table
            .inner_join(states::table)
            .filter(reservations::id.eq(id))
            .select((ReservationRow::as_select(), StateRow::as_select()))
            .first(connection)
            .optional()?;
        let rows = row.into_iter().collect();
        Ok(reads::listed(connection, rows, Some(&[id]), now)?.into_iter().next())
    }

    /// How many there are of what a page counts.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        Ok(Counts { reservations: self.count()?, ..self.open_counts()? })
    }

    /// How many alerts are open and how many messages wait: what two small indexes know.
    pub fn open_counts(&self) -> Result<Counts, StoreError> {
        let connection = &mut *self.get()?;
        Ok(Counts {
            reservations: 0,
            down: alerts::table.filter(alerts::closed_at.is_null()).count().get_result(connection)?,
            waiting: deliveries::table
                .filter(deliveries::state.eq("waiting"))
                .count()
                .get_result(connection)?,
        })
    }

    /// Alerts before the number `before`, latest first: of one reservation or of all, the open ones or the past.
    pub fn alerts(
        &self,
        reservation_id: Option<i64>,
        open: Option<bool>,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<PastAlert>, StoreError> {
        self.alerts_where(reservation_id, None, open, before, limit)
    }

    /// The same of these apps alone.
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
        let alert = |row: AlertRow| PastAlert {
            id: row.id,
            reservation_id: row.reservation_id,
            app: row.app,
            component: row.component,
            cause: row.cause,
            sentence: row.sentence,
            opened_at: time(row.opened_at),
            closed_at: row.closed_at.map(time),
        };
        Ok(rows.into_iter().map(alert).collect())
    }

    /// The messages of these alerts, oldest first.
    pub fn deliveries_of(&self, alert_ids: &[i64]) -> Result<Vec<SentDelivery>, StoreError> {
        let rows: Vec<DeliveryRow> = deliveries::table
            .filter(deliveries::alert_id.eq_any(alert_ids))
            .order(deliveries::id)
            .select(DeliveryRow::as_select())
            .load(&mut *self.get()?)?;
        Ok(rows.into_iter().map(DeliveryRow::sent).collect())
    }

    /// Messages in this state before the number `before`, latest first.
    pub fn deliveries(
        &self,
        state: &str,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<SentDelivery>, StoreError> {
        let mut query = deliveries::table
            .filter(deliveries::state.eq(state.to_owned()))
            .order(deliveries::id.desc())
            .limit(limit)
            .select(DeliveryRow::as_select())
            .into_boxed();
        if let Some(before) = before {
            query = query.filter(deliveries::id.lt(before));
        }
        let rows: Vec<DeliveryRow> = query.load(&mut *self.get()?)?;
        Ok(rows.into_iter().map(DeliveryRow::sent).collect())
    }

    /// The reservations with the most alerts since `since`, worst first.
    pub fn bad_guests(&self, since: Time, limit: i64) -> Result<Vec<BadGuest>, StoreError> {
        let rows: Vec<BadGuestRow> = sql_query(
            "SELECT reservation_id, MAX(app) AS app, MAX(component) AS component, COUNT(*) AS alerts, MAX(opened_at) AS latest_at
             FROM alerts
             WHERE opened_at >= $1
             GROUP BY reservation_id
             ORDER BY alerts DESC, latest_at DESC
             LIMIT $2",
        )
        .bind::<BigInt, _>(ms(since))
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

/// The pattern of texts that contain `text`, with `\` before what LIKE would take for more than itself.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern + "%"
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
#[diesel(table_name = deliveries)]
struct DeliveryRow {
    id: i64,
    alert_id: Option<i64>,
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
    fn sent(self) -> SentDelivery {
        SentDelivery {
            id: self.id,
            alert_id: self.alert_id,
            event: self.event,
            alerter: self.alerter,
            recipient: self.recipient,
            state: self.state,
            attempts: self.attempts,
            problem: self.problem,
            created_at: time(self.created_at),
            next_at: time(self.next_at),
            finished_at: self.finished_at.map(time),
        }
    }
}
