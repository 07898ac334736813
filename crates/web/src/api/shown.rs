//! What answers show. Instants are RFC 3339, in UTC; names are those of `POST /reservation` and of the tables.

use chrono::{DateTime, Utc};
use innkeeper_core::Time;
use innkeeper_core::access::Permission;
use innkeeper_core::alert::Cause;
use innkeeper_core::assessed::Assessed;
use innkeeper_core::notice::DeliveryState;
use innkeeper_http::Caller;
use innkeeper_store::{Checkin, PastAlert, SentDelivery, Undelivered};
use serde::Serialize;
use utoipa::ToSchema;

use super::document::{ReservationDocument, etag};
use crate::AppState;
use crate::pages::view::warnings;

/// A reservation and how it stands.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reservation {
    /// Its number, never used twice.
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
    /// `expected_at` and the grace.
    deadline: DateTime<Utc>,
    /// The latest success.
    last_checkin_at: Option<DateTime<Utc>>,
    /// How many check-ins there were.
    checkins: i64,
    /// Misses and failures in a row, `alert_after` at most; an alert opens at so many.
    in_a_row: i64,
    /// The end of the snooze, where there is one.
    snoozed_until: Option<DateTime<Utc>>,
    /// What it means for what is due in it: `quiet` (told at its end if it is still true) or `skip` (not expected).
    snooze_mode: Option<&'static str>,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// Its ping address. Whoever has it can check in, so it is null for whoever may not.
    ping_url: Option<String>,
    /// The app's ping key: it stands before the slug in `/ping/<key>/<slug>`. Null where there is none, and for whoever may not check in.
    ping_key: Option<String>,
    /// Whether the app has a ping key.
    has_ping_key: bool,
    /// What `If-Match` takes.
    etag: String,
    /// What about its messages is not as it should be, as sentences: who of `notify` and `alerters` gets none because it leads nowhere, and
    /// what of its latest alert was given up or has waited for over ten minutes.
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

    /// What `ETag` says of it.
    pub fn etag(&self) -> &str {
        &self.etag
    }
}

/// What a writer hears who may not read: which reservation it is, and no more.
#[derive(Serialize, ToSchema)]
pub(crate) struct Written {
    /// Its number, never used twice.
    id: i64,
    app: String,
    component: String,
    /// What `If-Match` takes.
    etag: String,
}

/// A reservation after a change: whole for whoever may read, too; for a token of `manage` alone, which one it is.
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
    /// Those with an open alert first, then by app and component.
    pub reservations: Vec<Reservation>,
    /// What `cursor` takes for the next page; null on the last one.
    pub next: Option<String>,
}

/// A check-in.
#[derive(Serialize, ToSchema)]
pub(crate) struct CheckIn {
    /// When it happened.
    at: DateTime<Utc>,
    /// When it arrived, where it was reported late; else null.
    arrived_at: Option<DateTime<Utc>>,
    /// `success`, `start`, `fail` or `log`.
    kind: &'static str,
    /// The exit status, where one was given.
    exit_code: Option<i32>,
    /// The signal that ended the run, where an agent said so: `SIGTERM`.
    signal: Option<String>,
    /// How long the run took, where start and end are a pair, or an agent said so; milliseconds.
    duration_ms: Option<i64>,
    /// The most memory that the run used, where an agent said so; bytes.
    peak_memory_bytes: Option<i64>,
    /// The run's id, where it has one.
    run_id: Option<String>,
    /// The figures that it brought, by name.
    #[schema(value_type = Object)]
    figures: serde_json::Value,
    /// The client's address.
    source: String,
    /// Notes or body.
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
    /// Latest first.
    pub checkins: Vec<CheckIn>,
}

/// An alert, open or past.
#[derive(Serialize, ToSchema)]
pub(crate) struct Alert {
    /// Its number.
    pub id: i64,
    /// Its reservation, which may be gone.
    reservation_id: i64,
    /// Of which app.
    app: String,
    /// And component.
    component: String,
    /// `missed`, `overran` or `failed`.
    #[schema(value_type = String)]
    cause: Cause,
    /// Why, as a sentence.
    sentence: String,
    /// When it opened.
    opened_at: DateTime<Utc>,
    /// When it closed; null while it is open.
    closed_at: Option<DateTime<Utc>>,
    /// Why it closed, where it was no success that came in: `schedule changed: not overdue by it`, `checked out`, or what was reported late and
    /// shows that the job was well: `it had run at 02:00 on Wed 25 Nov (Europe/Berlin)`.
    ending: Option<String>,
    /// The messages about it, oldest first.
    pub deliveries: Vec<Delivery>,
}

impl From<PastAlert> for Alert {
    fn from(alert: PastAlert) -> Self {
        Self {
            id: alert.id,
            reservation_id: alert.reservation_id,
            app: alert.app,
            component: alert.component,
            cause: alert.cause,
            sentence: alert.sentence,
            opened_at: alert.opened_at,
            closed_at: alert.closed_at,
            ending: alert.ending,
            deliveries: Vec::new(),
        }
    }
}

/// A page of alerts.
#[derive(Serialize, ToSchema)]
pub(crate) struct Alerts {
    /// Latest first.
    pub alerts: Vec<Alert>,
    /// What `before` takes for the next page; null on the last one.
    pub next: Option<i64>,
}

/// A message and what became of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Delivery {
    /// Its number.
    pub id: i64,
    /// Its alert, where it belongs to one.
    pub alert_id: Option<i64>,
    /// `opened`, `reminder`, `recovered`, …
    event: String,
    /// Through which alerter.
    alerter: String,
    /// To which address, where the alerter has several.
    recipient: String,
    /// `waiting`, `delivered` or `dead`.
    #[schema(value_type = String)]
    state: DeliveryState,
    /// How often it was tried.
    attempts: i64,
    /// What went wrong last.
    problem: Option<String>,
    /// When it was put into the outbox.
    created_at: DateTime<Utc>,
    /// When it is tried next, while it waits.
    next_at: DateTime<Utc>,
    /// When it ended.
    finished_at: Option<DateTime<Utc>>,
}

impl From<SentDelivery> for Delivery {
    fn from(sent: SentDelivery) -> Self {
        Self {
            id: sent.id,
            alert_id: sent.alert_id,
            event: sent.event,
            alerter: sent.alerter,
            recipient: sent.recipient,
            state: sent.state,
            attempts: sent.attempts,
            problem: sent.problem,
            created_at: sent.created_at,
            next_at: sent.next_at,
            finished_at: sent.finished_at,
        }
    }
}

/// A page of messages.
#[derive(Serialize, ToSchema)]
pub(crate) struct Deliveries {
    /// Latest first.
    pub deliveries: Vec<Delivery>,
    /// What `before` takes for the next page; null on the last one.
    pub next: Option<i64>,
}

/// The place of the next page: behind the last of a full one.
pub(crate) fn next<T>(page: &[T], limit: i64, id: impl Fn(&T) -> i64) -> Option<i64> {
    page.last().filter(|_| page.len() as i64 == limit).map(id)
}
