//! Rows as the tables have them, and their way to and from core's types.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use innkeeper_core::Time;
use innkeeper_core::alert::OpenAlert;
use innkeeper_core::facts::{Facts, Run};
use innkeeper_core::names::{AlerterName, AppName, ComponentName};
use innkeeper_core::recipient::Recipients;
use innkeeper_core::reservation::{Conclusions, Frequency, Reservation, Status, Terms, TimeUnit};
use innkeeper_core::schedule::Schedule;
use innkeeper_core::snooze::{Snooze, SnoozeMode, Snoozes};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::StoreError;
use crate::schema::{alerts, reservations, runs, states};

/// An instant as the columns have it: UTC milliseconds.
pub(crate) fn ms(at: Time) -> i64 {
    at.timestamp_millis()
}

/// An instant of a column. Beyond the calendar's ends it is the nearest end.
pub(crate) fn time(ms: i64) -> Time {
    Time::from_timestamp_millis(ms).unwrap_or(if ms < 0 { Time::MIN_UTC } else { Time::MAX_UTC })
}

fn span(ms: i64) -> TimeDelta {
    TimeDelta::try_milliseconds(ms).unwrap_or(TimeDelta::MAX)
}

/// The names of a reservation, with its id.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct NamedRow {
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    #[diesel(sql_type = Text)]
    pub app: String,
    #[diesel(sql_type = Text)]
    pub component: String,
}

/// One row of `reservations`, without its id.
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = reservations, treat_none_as_null = true)]
pub(crate) struct TermsRow {
    pub app: String,
    pub component: String,
    pub slug: String,
    pub owner: String,
    pub description: String,
    pub tags: String,
    pub notify: String,
    pub alerters: String,
    pub alert_msg: String,
    pub alert_subject: String,
    pub recovery_msg: String,
    pub runbook: String,
    pub schedule: String,
    pub period_ms: Option<i64>,
    pub frequency: Option<i64>,
    pub time_units: Option<String>,
    pub grace_ms: i64,
    pub alert_after: i64,
    pub remind_every_ms: Option<i64>,
    pub notify_recovery: bool,
    pub max_run_ms: Option<i64>,
    pub min_run_ms: Option<i64>,
    pub is_site: bool,
}

impl From<&Terms> for TermsRow {
    fn from(terms: &Terms) -> Self {
        let list = |list: &[String]| serde_json::Value::from(list).to_string();
        let alerters: Vec<String> = terms.alerters.iter().map(ToString::to_string).collect();
        let period_ms = match &terms.schedule {
            Schedule::Every(period) => Some(period.num_milliseconds()),
            Schedule::Cron(_) | Schedule::Calendar(_) => None,
        };
        Self {
            app: terms.app.to_string(),
            component: terms.component.to_string(),
            slug: terms.slug.clone(),
            owner: terms.owner.clone(),
            description: terms.description.clone(),
            tags: list(&terms.tags),
            notify: terms.notify.to_string(),
            alerters: list(&alerters),
            alert_msg: terms.alert_msg.clone(),
            alert_subject: terms.alert_subject.clone(),
            recovery_msg: terms.recovery_msg.clone(),
            runbook: terms.runbook.clone(),
            schedule: terms.schedule.notation(),
            period_ms,
            frequency: terms.frequency.map(|frequency| frequency.count),
            time_units: terms.frequency.map(|frequency| frequency.unit.as_str().to_owned()),
            grace_ms: terms.grace.num_milliseconds(),
            alert_after: terms.alert_after,
            remind_every_ms: terms.remind_every.map(|span| span.num_milliseconds()),
            notify_recovery: terms.notify_recovery,
            max_run_ms: terms.max_run.map(|span| span.num_milliseconds()),
            min_run_ms: terms.min_run.map(|span| span.num_milliseconds()),
            is_site: terms.is_site,
        }
    }
}

/// One row of `reservations`.
#[derive(Debug, Clone, Queryable, QueryableByName, Selectable, Serialize, Deserialize)]
#[diesel(table_name = reservations)]
pub(crate) struct ReservationRow {
    pub id: i64,
    pub key: String,
    pub app: String,
    pub component: String,
    /// Empty in what older versions kept of a checkout.
    #[serde(default)]
    pub slug: String,
    pub owner: String,
    pub description: String,
    pub tags: String,
    pub notify: String,
    pub alerters: String,
    pub alert_msg: String,
    // Missing in what older versions kept of a checkout.
    #[serde(default)]
    pub alert_subject: String,
    #[serde(default)]
    pub recovery_msg: String,
    #[serde(default)]
    pub runbook: String,
    pub schedule: String,
    pub frequency: Option<i64>,
    pub time_units: Option<String>,
    pub grace_ms: i64,
    pub alert_after: i64,
    pub remind_every_ms: Option<i64>,
    pub notify_recovery: bool,
    pub max_run_ms: Option<i64>,
    pub min_run_ms: Option<i64>,
    pub is_site: bool,
    pub created_at: i64,
    /// What ping addresses called it before slugs were stored; they still may.
    #[serde(default)]
    pub old_slug: Option<String>,
    /// What its job brought along last.
    #[serde(default)]
    pub brought: Option<String>,
}

impl ReservationRow {
    /// The terms; an error when a column does not hold what it was given.
    pub fn terms(&self) -> Result<Terms, StoreError> {
        self.terms_with(None)
    }

    /// The same; a schedule that cannot be read is no error where somebody gives another.
    pub fn terms_with(&self, other: Option<&Schedule>) -> Result<Terms, StoreError> {
        let corrupt = |problem: String| StoreError::Corrupt { table: "reservations", id: self.id, problem };
        let list = |column: &str, text: &str| {
            serde_json::from_str::<Vec<String>>(text).map_err(|error| corrupt(format!("{column}: {error}")))
        };
        let schedule = Schedule::parse(&self.schedule).or_else(|error| other.cloned().ok_or(error));
        let frequency = match (self.frequency, &self.time_units) {
            (Some(count), Some(unit)) => {
                let unit = TimeUnit::parse(unit).map_err(|error| corrupt(error.to_string()))?;
                Some(Frequency { count, unit })
            }
            _ => None,
        };
        let alerters = list("alerters", &self.alerters)?
            .iter()
            .map(|name| AlerterName::parse("alerters", name))
            .collect::<Result<_, _>>()
            .map_err(|error| corrupt(error.to_string()))?;
        Ok(Terms {
            app: AppName::trusted(self.app.clone()),
            component: ComponentName::trusted(self.component.clone()),
            slug: self.slug.clone(),
            owner: self.owner.clone(),
            description: self.description.clone(),
            tags: list("tags", &self.tags)?,
            notify: Recipients::parse("notify", &self.notify).map_err(|error| corrupt(error.to_string()))?,
            alerters,
            alert_msg: self.alert_msg.clone(),
            alert_subject: self.alert_subject.clone(),
            recovery_msg: self.recovery_msg.clone(),
            runbook: self.runbook.clone(),
            schedule: schedule.map_err(|error| corrupt(error.to_string()))?,
            frequency,
            grace: span(self.grace_ms),
            alert_after: self.alert_after,
            remind_every: self.remind_every_ms.map(span),
            notify_recovery: self.notify_recovery,
            max_run: self.max_run_ms.map(span),
            min_run: self.min_run_ms.map(span),
            is_site: self.is_site,
        })
    }

    /// The reservation with its state.
    pub fn with(&self, state: &StateRow) -> Result<Reservation, StoreError> {
        let key = Uuid::parse_str(&self.key).map_err(|error| StoreError::Corrupt {
            table: "reservations",
            id: self.id,
            problem: format!("key: {error}"),
        })?;
        Ok(Reservation {
            id: self.id,
            key,
            terms: self.terms()?,
            created_at: time(self.created_at),
            facts: state.facts(),
            conclusions: state.conclusions()?,
        })
    }
}

/// One row of `states`.
#[derive(Debug, Clone, Queryable, QueryableByName, Selectable, AsChangeset, Serialize, Deserialize)]
#[diesel(table_name = states, primary_key(reservation_id), treat_none_as_null = true)]
pub(crate) struct StateRow {
    pub reservation_id: i64,
    pub last_checkin_at: Option<i64>,
    pub last_start_at: Option<i64>,
    pub last_fail_at: Option<i64>,
    pub last_exit_code: Option<i32>,
    pub last_seen_at: Option<i64>,
    pub last_source: String,
    pub runs_over_at: Option<i64>,
    pub checkins: i64,
    pub fails: i64,
    pub status: String,
    pub wake_at: i64,
    pub snoozed_until: Option<i64>,
    pub fails_seen: i64,
    pub checkins_seen: i64,
    pub fail_streak: i64,
    pub short_at: Option<i64>,
    /// Missing in what older versions kept of a checkout; the sweeper looks at what comes back, and says anew.
    #[serde(default)]
    pub eager: bool,
    #[serde(default)]
    pub snoozes: Option<String>,
    #[serde(default)]
    pub heard_at: Option<i64>,
    #[serde(default)]
    pub changed: Option<String>,
}

impl StateRow {
    fn facts(&self) -> Facts {
        Facts {
            last_checkin_at: self.last_checkin_at.map(time),
            last_start_at: self.last_start_at.map(time),
            last_fail_at: self.last_fail_at.map(time),
            last_exit_code: self.last_exit_code,
            last_seen_at: self.last_seen_at.map(time),
            last_source: self.last_source.clone(),
            runs_over_at: self.runs_over_at.map(time),
            checkins: self.checkins,
            fails: self.fails,
        }
    }

    /// Its snoozes. Of one that a version before 2026-12 began only the end is known; it meant that what was due in it is not expected.
    pub fn snoozes(&self) -> Result<Snoozes, StoreError> {
        let Some(end) = self.snoozed_until else { return Ok(Snoozes::default()) };
        let Some(text) = &self.snoozes else {
            let from = self.facts().last_end_at().unwrap_or(time(0));
            return Ok(Snoozes::one(Snooze { from, until: time(end), mode: SnoozeMode::Skip }));
        };
        let spans: Vec<(SnoozeMode, i64, i64)> =
            serde_json::from_str(text).map_err(|error| StoreError::Corrupt {
                table: "states",
                id: self.reservation_id,
                problem: format!("snoozes: {error}"),
            })?;
        let before = |ms: i64| time(end.saturating_sub(ms));
        let snooze = |(mode, from, until)| Snooze { from: before(from), until: before(until), mode };
        Ok(spans.into_iter().map(snooze).collect())
    }

    fn conclusions(&self) -> Result<Conclusions, StoreError> {
        let status = match self.status.as_str() {
            "new" => Status::New,
            "up" => Status::Up,
            "down" => Status::Down,
            other => {
                let problem = format!("status {other:?}");
                return Err(StoreError::Corrupt { table: "states", id: self.reservation_id, problem });
            }
        };
        Ok(Conclusions {
            status,
            wake_at: time(self.wake_at),
            snoozes: self.snoozes()?,
            changed: self.changed.clone(),
            heard_at: self.heard_at.map(time),
            fails_seen: self.fails_seen,
            checkins_seen: self.checkins_seen,
            fail_streak: self.fail_streak,
            short_at: self.short_at.map(time),
            eager: self.eager,
        })
    }
}

/// Snoozes as their column has them, beginnings and ends as milliseconds before the end of the last; none where there is none.
pub(crate) fn snoozes_text(snoozes: &Snoozes) -> Option<String> {
    let end = snoozes.last_until()?;
    let before = |at: Time| (end - at).num_milliseconds();
    let spans: Vec<(SnoozeMode, i64, i64)> =
        snoozes.iter().map(|snooze| (snooze.mode, before(snooze.from), before(snooze.until))).collect();
    Some(serde_json::json!(spans).to_string())
}

/// One row of `runs`.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = runs)]
pub(crate) struct RunRow {
    pub reservation_id: i64,
    pub run_id: String,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub told_at: Option<i64>,
}

impl RunRow {
    pub fn run(&self) -> Run {
        Run {
            run_id: Uuid::parse_str(&self.run_id).ok(),
            started_at: self.started_at.map(time),
            ended_at: self.ended_at.map(time),
            told_at: self.told_at.map(time),
        }
    }
}

/// The `ending` of an alert that was closed by a checkout. Any other says why it was withdrawn: then there was no trouble.
pub(crate) const CHECKED_OUT: &str = "checked out";

/// One row of `alerts`.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = alerts)]
pub(crate) struct AlertRow {
    pub id: i64,
    pub reservation_id: i64,
    pub app: String,
    pub component: String,
    pub owner: String,
    pub cause: String,
    pub reason: String,
    pub sentence: String,
    pub dedup_key: String,
    pub opened_at: i64,
    pub told_at: i64,
    pub closed_at: Option<i64>,
    pub success_before: Option<i64>,
    pub ending: Option<String>,
}

impl AlertRow {
    pub fn open_alert(&self) -> Result<OpenAlert, StoreError> {
        let reason = serde_json::from_str(&self.reason).map_err(|error| StoreError::Corrupt {
            table: "alerts",
            id: self.id,
            problem: format!("reason: {error}"),
        })?;
        Ok(OpenAlert {
            id: self.id,
            opened_at: time(self.opened_at),
            reason,
            told_at: time(self.told_at),
            success_before: self.success_before.map(time),
        })
    }
}
