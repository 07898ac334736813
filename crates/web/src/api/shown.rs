//! The bodies of answers. Instants are RFC 3339 in UTC. Names are those of `POST /reservation` and of the tables.

use chrono::{DateTime, Utc};
use innkeeper_core::Time;
use innkeeper_core::access::Permission;
use innkeeper_core::assessed::Assessed;
use innkeeper_http::Caller;
use innkeeper_store::{Checkin, PastAlert, SentDelivery, Undelivered};
use serde::Serialize;
use utoipa::ToSchema;

use super::document::{ReservationDocument, etag};
use crate::AppState;
use crate::pages::view::warnings;

/// A reservation and its state.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reservation {
    /// Its number, which is never used again.
    id: i64,
    #[serde(flatten)]
    document: ReservationDocument,
    /// `new`, `up`, `late`, `overdue`, `down`, `running`, `snoozed`, `held` or `unobserved`.
    state: &'static str,
    /// Why it is down, as a sentence.
    reason: Option<String>,
    /// The schedule in words.
    schedule: String,
    /// When the next check-in is expected.
    expected_at: DateTime<Utc>,
    /// `expected_at` plus the grace.
    deadline: DateTime<Utc>,
    /// When the latest success happened.
    last_checkin_at: Option<DateTime<Utc>>,
    /// The number of check-ins so far.
    checkins: i64,
    /// Consecutive misses and failures, counted up to `alert_after`; an alert opens at that number.
    in_a_row: i64,
    /// The end of the snooze; null if there is none.
    snoozed_until: Option<DateTime<Utc>>,
    /// How check-ins due during the snooze are treated: `quiet` (reported at its end if still missing) or `skip` (not
    /// expected).
    snooze_mode: Option<&'static str>,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// Its ping address. Everybody who knows it can check in, so it is null for callers who may not.
    ping_url: Option<String>,
    /// The app's ping key, which precedes the slug in `/ping/<key>/<slug>`. Null if there is none, and for callers who
    /// may not check in.
    ping_key: Option<String>,
    /// Whether the app has a ping key.
    has_ping_key: bool,
    /// The value for `If-Match`.
    etag: String,
    /// Problems with its messages, as sentences: recipients in `notify` and `alerters` that cannot be reached, and
    /// messages of its latest alert that were given up or have waited for over ten minutes.
    warnings: Vec<String>,
}

impl Reservation {
    pub fn of(
        assessed: &Assessed,
        undelivered: Option<&Undelivered>,
        app_state: &AppState,
        caller: &Caller,
        now: Time,
    ) -> Self {
        let may_check_in = caller.may(Permission::CheckIn);
        let Assessed { reservation, open_alert, ping_key, evaluation, .. } = assessed;
        let spec = &reservation.spec;
        Self {
            id: reservation.id,
            document: ReservationDocument::of(spec),
            state: evaluation.state.as_str(),
            reason: open_alert.as_ref().map(|alert| alert.reason.sentence(spec.schedule.zone())),
            schedule: spec.schedule.to_string(),
            expected_at: evaluation.expected_at,
            deadline: evaluation.deadline,
            last_checkin_at: reservation.facts.last_checkin_at,
            checkins: reservation.facts.checkins,
            in_a_row: evaluation.in_a_row,
            snoozed_until: reservation.conclusions.snoozed_until(now),
            snooze_mode: reservation.conclusions.snooze_at(now).map(|snooze| snooze.mode.as_str()),
            created_at: reservation.created_at,
            ping_url: may_check_in.then(|| format!("{}/ping/{}", app_state.public_url, reservation.key)),
            ping_key: ping_key.clone().filter(|_| may_check_in),
            has_ping_key: ping_key.is_some(),
            etag: etag(spec),
            warnings: warnings(app_state.warnings_of(spec), undelivered),
        }
    }

    /// The value of `ETag`.
    pub fn etag(&self) -> &str {
        &self.etag
    }
}

/// The identity of a reservation, for callers who may change it and not read it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Written {
    /// Its number, which is never used again.
    id: i64,
    app: String,
    component: String,
    /// The value for `If-Match`.
    etag: String,
}

/// A reservation after a change: complete for callers with `read`, and only its identity for a token with `manage`
/// alone.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Changeable {
    Whole(Box<Reservation>),
    Named(Written),
}

impl Changeable {
    pub fn of(reservation: Reservation, assessed: &Assessed, may_read: bool) -> Self {
        if may_read {
            return Self::Whole(Box::new(reservation));
        }
        let stored = &assessed.reservation;
        let [app, component] = [stored.spec.app.as_str(), stored.spec.component.as_str()].map(str::to_owned);
        Self::Named(Written { id: stored.id, app, component, etag: reservation.etag })
    }
}

/// A page of reservations.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reservations {
    /// The reservations: those with an open alert first, then by app and component.
    pub reservations: Vec<Reservation>,
    /// The value of `cursor` for the next page; null on the last one.
    pub next: Option<String>,
}

/// A check-in.
#[derive(Serialize, ToSchema)]
pub(crate) struct CheckIn {
    /// When it happened.
    at: DateTime<Utc>,
    /// When it arrived, if it was reported late; otherwise null.
    arrived_at: Option<DateTime<Utc>>,
    /// `success`, `start`, `fail` or `log`.
    kind: &'static str,
    /// The exit status, if one was given.
    exit_code: Option<i32>,
    /// The signal that ended the run, if an agent reported one: `SIGTERM`.
    signal: Option<String>,
    /// The duration of the run, from its start and end or from an agent; milliseconds.
    duration_ms: Option<i64>,
    /// The peak memory of the run, if an agent reported it; bytes.
    peak_memory_bytes: Option<i64>,
    /// The run's id, if it has one.
    run_id: Option<String>,
    /// The figures in the check-in, by name.
    #[schema(value_type = Object)]
    figures: serde_json::Value,
    /// The client's address.
    source: String,
    /// The notes or the body of the check-in.
    notes: String,
}

impl From<Checkin> for CheckIn {
    fn from(checkin: Checkin) -> Self {
        Self {
            at: checkin.at,
            arrived_at: checkin.arrived_at,
            kind: checkin.kind.as_str(),
            exit_code: checkin.exit_code,
            signal: checkin.signal,
            peak_memory_bytes: checkin.peak_memory_bytes,
            duration_ms: checkin.duration.map(|duration| duration.num_milliseconds()),
            figures: checkin.figures.json(),
            run_id: checkin.run_id,
            source: checkin.source,
            notes: checkin.notes,
        }
    }
}

/// The latest check-ins of a reservation.
#[derive(Serialize, ToSchema)]
pub(crate) struct CheckIns {
    /// The check-ins, latest first.
    pub checkins: Vec<CheckIn>,
}

/// An alert, open or past.
#[derive(Serialize, ToSchema)]
pub(crate) struct Alert {
    #[serde(flatten)]
    pub alert: PastAlert,
    /// The messages about it, oldest first.
    pub deliveries: Vec<SentDelivery>,
}

/// A page of alerts.
#[derive(Serialize, ToSchema)]
pub(crate) struct Alerts {
    /// The alerts, latest first.
    pub alerts: Vec<Alert>,
    /// The value of `before` for the next page; null on the last one.
    pub next: Option<i64>,
}

/// A page of messages.
#[derive(Serialize, ToSchema)]
pub(crate) struct Deliveries {
    /// The messages, latest first.
    pub deliveries: Vec<SentDelivery>,
    /// The value of `before` for the next page; null on the last one.
    pub next: Option<i64>,
}

/// The cursor of the next page: the id of the last entry, if the page is full.
pub(crate) fn next<T>(page: &[T], limit: i64, id: impl Fn(&T) -> i64) -> Option<i64> {
    page.last().filter(|_| page.len() as i64 == limit).map(id)
}
