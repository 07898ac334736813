//! The last values of each figure of a reservation, and its last run times. They are kept apart
//! from the history and do not depend on its limits.
//!
//! `keep.rs` writes them, `judge.rs` judges by them whether a success is as expected, and
//! `accept.rs` lets a person accept unexpected values.

mod accept;
mod judge;
mod keep;

use std::collections::{BTreeMap, HashMap};

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Double, Text};
use innkeeper_core::Time;
use innkeeper_core::expect::MOST_VALUES;
use innkeeper_core::figures::{Figures, MOST_FIGURES};

pub use accept::Accepted;
pub(crate) use judge::{baselines, judge_anew, note_bad};
pub(crate) use keep::{add, add_run_time};

use crate::connection::AnyConnection;
use crate::rows::ms;
use crate::schema::{recent_values, states};
use crate::{Store, StoreError};

/// The name under which run times are stored, in milliseconds. No figure can have this name.
const RUN_TIME: &str = "";
/// How many run times are kept.
const MOST_RUN_TIMES: usize = 200;

const SUCCESS: &str = "success";
const UNEXPECTED: &str = "unexpected";
const FAIL: &str = "fail";

/// One of the last values of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecentValue {
    /// The value.
    pub value: f64,
    /// Whether medians count it: its success was as expected, or was accepted, and nothing later
    /// was accepted in its place.
    pub counts: bool,
}

/// The last values of a reservation, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recent {
    /// The values of each figure, 50 at most.
    pub figures: BTreeMap<String, Vec<RecentValue>>,
    /// How long the last runs took, in milliseconds, 200 at most.
    pub run_times: Vec<RecentValue>,
}

/// The latest value of a figure.
#[derive(Debug, Clone, PartialEq, QueryableByName)]
pub struct LatestFigure {
    /// The app.
    #[diesel(sql_type = Text)]
    pub app: String,
    /// The component.
    #[diesel(sql_type = Text)]
    pub component: String,
    /// The name of the figure. Empty for the run time, which is in milliseconds.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Its value.
    #[diesel(sql_type = Double)]
    pub value: f64,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = recent_values)]
struct Row {
    name: String,
    checkin_id: i64,
    value: f64,
    outcome: String,
}

impl Store {
    /// The last values of a reservation.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn recent(&self, reservation_id: i64) -> Result<Recent, StoreError> {
        let connection = &mut *self.get()?;
        let accepted_from: Option<Option<i64>> = states::table
            .filter(states::reservation_id.eq(reservation_id))
            .select(states::accepted_from)
            .first(connection)
            .optional()?;
        let from = accepted_from.flatten().unwrap_or(i64::MIN);
        let rows: Vec<Row> = recent_values::table
            .filter(recent_values::reservation_id.eq(reservation_id))
            .order(recent_values::checkin_id)
            .select(Row::as_select())
            .load(connection)?;
        let (mut recent, mut last) = (Recent::default(), HashMap::new());
        for row in rows {
            let is_before = row.checkin_id < from && row.name != RUN_TIME;
            let value = RecentValue { value: row.value, counts: row.outcome == SUCCESS && !is_before };
            match row.name.as_str() {
                RUN_TIME => recent.run_times.push(value),
                _ => {
                    last.insert(row.name.clone(), row.checkin_id);
                    recent.figures.entry(row.name).or_default().push(value);
                }
            }
        }
        let mut last: Vec<(i64, String)> = last.into_iter().map(|(name, id)| (id, name)).collect();
        last.sort_unstable_by(|one, other| other.cmp(one));
        for (_, name) in last.iter().skip(MOST_FIGURES) {
            recent.figures.remove(name);
        }
        for values in recent.figures.values_mut() {
            values.drain(..values.len().saturating_sub(MOST_VALUES));
        }
        recent.run_times.drain(..recent.run_times.len().saturating_sub(MOST_RUN_TIMES));
        Ok(recent)
    }

    /// The latest value of each figure of these apps, or of all apps if `apps` is empty, sorted by
    /// app, component and name. Returns `limit` at most. Run times have an empty name, and are in
    /// milliseconds.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn latest_figures(&self, apps: &[String], limit: i64) -> Result<Vec<LatestFigure>, StoreError> {
        let connection = &mut *self.get()?;
        let among = match (apps, &*connection) {
            ([], _) => "$1 = '[]'",
            (_, AnyConnection::Postgres(_)) => "app IN (SELECT jsonb_array_elements_text($1::jsonb))",
            (_, AnyConnection::Sqlite(_)) => "app IN (SELECT value FROM json_each($1))",
        };
        Ok(sql_query(format!(
            "SELECT r.app, r.component, v.name, v.value
             FROM (
                 SELECT reservation_id, name, checkin_id, row_number() OVER (
                     PARTITION BY reservation_id, name = '{RUN_TIME}' ORDER BY checkin_id DESC, name) AS place
                 FROM (
                     SELECT reservation_id, name, max(checkin_id) AS checkin_id
                     FROM recent_values
                     WHERE reservation_id IN (SELECT id FROM reservations WHERE {among})
                     GROUP BY reservation_id, name) AS each_name) AS latest
             JOIN recent_values v
                 ON v.reservation_id = latest.reservation_id AND v.name = latest.name AND v.checkin_id = latest.checkin_id
             JOIN reservations r ON r.id = latest.reservation_id
             WHERE latest.place <= {MOST_FIGURES}
             ORDER BY r.app, r.component, v.name
             LIMIT $2"
        ))
        .bind::<Text, _>(serde_json::Value::from(apps).to_string())
        .bind::<BigInt, _>(limit)
        .load(connection)?)
    }
}

/// The figures of this check-in that are still kept.
fn figures_at(
    connection: &mut AnyConnection,
    reservation_id: i64,
    checkin_id: i64,
) -> Result<Figures, StoreError> {
    let values: Vec<(String, f64)> = recent_values::table
        .filter(recent_values::reservation_id.eq(reservation_id))
        .filter(recent_values::checkin_id.eq(checkin_id))
        .filter(recent_values::name.ne(RUN_TIME))
        .select((recent_values::name, recent_values::value))
        .load(connection)?;
    Ok(values.into_iter().collect())
}

/// Deletes the values of reservations that were checked out before `before` and can no longer be restored.
pub(crate) fn forget(connection: &mut AnyConnection, before: Time) -> Result<(), StoreError> {
    sql_query(
        "DELETE FROM recent_values
         WHERE reservation_id IN (SELECT reservation_id FROM checkouts WHERE checked_out_at < $1)",
    )
    .bind::<BigInt, _>(ms(before))
    .execute(connection)?;
    Ok(())
}

/// The text of figures for their column. `None` if there are no figures.
pub(crate) fn figures_text(figures: &Figures) -> Option<String> {
    (!figures.is_empty()).then(|| figures.json().to_string())
}

/// The figures in the text of their column. Text that cannot be parsed counts as no figures.
pub(crate) fn figures_of(text: Option<&str>) -> Figures {
    let value = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    if matches!(value, serde_json::Value::Object(_)) {
        Figures::from_json(&value).0
    } else {
        Figures::default()
    }
}
