//! The rows of the tables, and their conversion to and from the types of `innkeeper_core`.

use std::ops::Deref;

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use innkeeper_core::Time;
use innkeeper_core::alert::{Cause, OpenAlert};
use innkeeper_core::expect::{Expect, Unexpected};
use innkeeper_core::facts::{Facts, Run};
use innkeeper_core::names::{AlerterName, AppName, ComponentName};
use innkeeper_core::recipient::Recipients;
use innkeeper_core::reminders::Reminders;
use innkeeper_core::reservation::{Conclusions, Reservation, Spec};
use innkeeper_core::schedule::Schedule;
use innkeeper_core::snooze::{Snooze, SnoozeMode, Snoozes};
use innkeeper_core::word::Word;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::StoreError;
use crate::schema::{alerts, reservations, runs, states};

/// A time as the columns hold it: milliseconds since 1970, UTC.
pub(crate) fn ms(at: Time) -> i64 {
    at.timestamp_millis()
}

/// The time in a column. A value outside of the calendar's range gives the nearest time within it.
pub(crate) fn time(ms: i64) -> Time {
    Time::from_timestamp_millis(ms).unwrap_or(if ms < 0 { Time::MIN_UTC } else { Time::MAX_UTC })
}

/// Parses the word in a column of the row `id`.
///
/// # Errors
/// [`StoreError::Corrupt`] when the word is unknown; it names the column and the word.
pub(crate) fn word<W: Word>(
    table: &'static str,
    id: i64,
    column: &'static str,
    text: &str,
) -> Result<W, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt { table, id, problem: format!("{column} {text:?}") })
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

/// The columns of `reservations` that hold the spec. They are read, inserted and updated together.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable, AsChangeset, Serialize, Deserialize)]
#[diesel(table_name = reservations, treat_none_as_null = true)]
pub(crate) struct TermsRow {
    pub app: String,
    pub component: String,
    /// Empty in checkouts that an older version has kept.
    #[serde(default)]
    pub slug: String,
    pub owner: String,
    pub description: String,
    pub tags: String,
    pub notify: String,
    pub alerters: String,
    pub alert_msg: String,
    // Missing in checkouts that an older version has kept.
    #[serde(default)]
    pub alert_subject: String,
    #[serde(default)]
    pub recovery_msg: String,
    #[serde(default)]
    pub runbook: String,
    /// See [`Schedule::notation_as_written`].
    pub schedule: String,
    pub grace_ms: i64,
    pub alert_after: i64,
    pub remind_every_ms: Option<i64>,
    pub notify_recovery: bool,
    pub max_run_ms: Option<i64>,
    pub min_run_ms: Option<i64>,
    #[serde(default = "no_list")]
    pub expect: String,
    pub is_site: bool,
}

/// The columns of [`TermsRow`] that hold numbers.
pub(crate) const NUMBERS: [&str; 7] =
    ["grace_ms", "alert_after", "remind_every_ms", "notify_recovery", "max_run_ms", "min_run_ms", "is_site"];

impl From<&Spec> for TermsRow {
    fn from(spec: &Spec) -> Self {
        let list = |list: &[String]| serde_json::Value::from(list).to_string();
        let alerters: Vec<String> = spec.alerters.iter().map(ToString::to_string).collect();
        Self {
            app: spec.app.to_string(),
            component: spec.component.to_string(),
            slug: spec.slug.clone(),
            owner: spec.owner.clone(),
            description: spec.description.clone(),
            tags: list(&spec.tags),
            notify: spec.notify.to_string(),
            alerters: list(&alerters),
            alert_msg: spec.alert_msg.clone(),
            alert_subject: spec.alert_subject.clone(),
            recovery_msg: spec.recovery_msg.clone(),
            runbook: spec.runbook.clone(),
            schedule: spec.schedule.notation_as_written(spec.frequency),
            grace_ms: spec.grace.num_milliseconds(),
            alert_after: spec.alert_after,
            remind_every_ms: spec.remind_every.ms(),
            notify_recovery: spec.notify_recovery,
            max_run_ms: spec.max_run.map(|span| span.num_milliseconds()),
            min_run_ms: spec.min_run.map(|span| span.num_milliseconds()),
            expect: list(&spec.expect.texts()),
            is_site: spec.is_site,
        }
    }
}

/// One row of `reservations`.
#[derive(Debug, Clone, Queryable, Selectable, Serialize, Deserialize)]
#[diesel(table_name = reservations)]
pub(crate) struct ReservationRow {
    pub id: i64,
    pub key: String,
    #[diesel(embed)]
    #[serde(flatten)]
    pub spec: TermsRow,
    pub created_at: i64,
    /// The slug in its ping addresses before slugs were stored. Such addresses still work.
    #[serde(default)]
    pub old_slug: Option<String>,
    /// The spec that its job sent with its latest check-in that had one.
    #[serde(default)]
    pub brought: Option<String>,
}

impl Deref for ReservationRow {
    type Target = TermsRow;

    fn deref(&self) -> &TermsRow {
        &self.spec
    }
}

/// The value of `expect` for checkouts that an older version has kept: no clauses.
fn no_list() -> String {
    "[]".to_owned()
}

impl ReservationRow {
    /// The spec.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when a column cannot be parsed.
    pub fn spec(&self) -> Result<Spec, StoreError> {
        self.terms_with(None)
    }

    /// The spec; with the schedule `other` in place of one that cannot be parsed.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when a column cannot be parsed.
    pub fn terms_with(&self, other: Option<&Schedule>) -> Result<Spec, StoreError> {
        let corrupt = |problem: String| StoreError::Corrupt { table: "reservations", id: self.id, problem };
        let list = |column: &str, text: &str| {
            serde_json::from_str::<Vec<String>>(text).map_err(|error| corrupt(format!("{column}: {error}")))
        };
        let (schedule, frequency) = Schedule::parse_as_written(&self.schedule)
            .or_else(|error| other.cloned().map(|other| (other, None)).ok_or(error))
            .map_err(|error| corrupt(error.to_string()))?;
        let alerters = list("alerters", &self.alerters)?
            .iter()
            .map(|name| AlerterName::parse("alerters", name))
            .collect::<Result<_, _>>()
            .map_err(|error| corrupt(error.to_string()))?;
        Ok(Spec {
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
            schedule,
            frequency,
            grace: span(self.grace_ms),
            alert_after: self.alert_after,
            remind_every: Reminders::from_ms(self.remind_every_ms),
            notify_recovery: self.notify_recovery,
            max_run: self.max_run_ms.map(span),
            min_run: self.min_run_ms.map(span),
            expect: Expect::parse(&list("expect", &self.expect)?)
                .map_err(|error| corrupt(error.to_string()))?,
            is_site: self.is_site,
        })
    }

    /// The reservation with its state.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when a column of either row cannot be parsed.
    pub fn with(&self, state: &StateRow) -> Result<Reservation, StoreError> {
        let key = Uuid::parse_str(&self.key).map_err(|error| StoreError::Corrupt {
            table: "reservations",
            id: self.id,
            problem: format!("key: {error}"),
        })?;
        Ok(Reservation {
            id: self.id,
            key,
            spec: self.spec()?,
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
    /// Missing in checkouts that an older version has kept. The sweeper sets it anew when the
    /// reservation comes back.
    #[serde(default)]
    pub eager: bool,
    #[serde(default)]
    pub snoozes: Option<String>,
    #[serde(default)]
    pub heard_at: Option<i64>,
    #[serde(default)]
    pub changed: Option<String>,
    #[serde(default)]
    pub reported_late: bool,
    #[serde(default)]
    pub unexpected_at: Option<i64>,
    #[serde(default)]
    pub unexpected_figures: Option<String>,
    #[serde(default)]
    pub unexpected_checkin: Option<i64>,
    /// The check-in from which on medians count, where a person has accepted a new level of
    /// figures.
    #[serde(default)]
    pub accepted_from: Option<i64>,
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

    /// The snoozes. Of a snooze that a version before 2026-12 began only the end is stored. Its
    /// mode is [`SnoozeMode::Skip`], which was the only meaning then.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the column cannot be parsed.
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

    fn unexpected(&self) -> Option<Unexpected> {
        let figures = self.unexpected_figures.clone().unwrap_or_default();
        let checkin_id = self.unexpected_checkin.unwrap_or_default();
        self.unexpected_at.map(|at| Unexpected { at: time(at), checkin_id, figures })
    }

    fn conclusions(&self) -> Result<Conclusions, StoreError> {
        Ok(Conclusions {
            status: word("states", self.reservation_id, "status", &self.status)?,
            wake_at: time(self.wake_at),
            snoozes: self.snoozes()?,
            changed: self.changed.clone(),
            heard_at: self.heard_at.map(time),
            fails_seen: self.fails_seen,
            checkins_seen: self.checkins_seen,
            fail_streak: self.fail_streak,
            short_at: self.short_at.map(time),
            unexpected: self.unexpected(),
            eager: self.eager,
            reported_late: self.reported_late,
        })
    }
}

/// Snoozes as their column holds them: beginnings and ends in milliseconds before the end of the
/// last one. None where there are no snoozes.
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
    pub start_arrived_at: Option<i64>,
}

impl RunRow {
    pub fn run(&self) -> Run {
        Run {
            run_id: Uuid::parse_str(&self.run_id).ok(),
            started_at: self.started_at.map(time),
            ended_at: self.ended_at.map(time),
            told_at: self.told_at.map(time),
            start_arrived_at: self.start_arrived_at.map(time),
        }
    }
}

/// The `ending` of an alert that was closed by a checkout. Any other `ending` says why the alert
/// was withdrawn, or which late report shows that the job was well; such an alert does not count as
/// trouble.
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
    pub answered_until: Option<i64>,
}

impl AlertRow {
    /// The cause.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the word is unknown.
    pub fn cause(&self) -> Result<Cause, StoreError> {
        word("alerts", self.id, "cause", &self.cause)
    }

    /// The alert as the rules read it.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the reason cannot be parsed.
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
            answered_until: self.answered_until.map(time),
        })
    }
}
