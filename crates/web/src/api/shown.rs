//! What answers show. Instants are RFC 3339, in UTC; names are those of `POST /reservation` and of the tables.

use chrono::{DateTime, Utc};
use innkeeper_core::Time;
use innkeeper_core::access::Need;
use innkeeper_core::sla::evaluate;
use innkeeper_node::http::Caller;
use innkeeper_store::{Checkin, Listed, PastAlert, SentDelivery, Undelivered};
use serde::Serialize;
use utoipa::ToSchema;

use super::document::{ReservationDocument, etag};
use crate::Desk;
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
        listed: &Listed,
        undelivered: Option<&Undelivered>,
        desk: &Desk,
        caller: &Caller,
        now: Time,
    ) -> Self {
        let may_check_in = caller.may(Need::CheckIn);
        let evaluation = evaluate(&listed.view(), now);
        let reservation = &listed.reservation;
        let terms = &reservation.terms;
        Self {
            id: reservation.id,
            document: ReservationDocument::of(terms),
            state: evaluation.state.as_str(),
            reason: listed.open_alert.as_ref().map(|alert| alert.reason.sentence(terms.schedule.zone())),
            schedule: terms.schedule.to_string(),
            expected_at: evaluation.expected_at,
            deadline: evaluation.deadline,
            last_checkin_at: reservation.facts.last_checkin_at,
            checkins: reservation.facts.checkins,
            in_a_row: evaluation.in_a_row,
            snoozed_until: reservation.conclusions.snoozed_until(now),
            snooze_mode: reservation.conclusions.snooze_at(now).map(|snooze| snooze.mode.as_str()),
            created_at: reservation.created_at,
            ping_url: may_check_in.then(|| format!("{}/ping/{}", desk.public_url, reservation.key)),
            ping_key: listed.ping_key.clone().filter(|_| may_check_in),
            has_ping_key: listed.ping_key.is_some(),
            etag: etag(terms),
            warnings: warnings(&desk.dead_ends(terms), undelivered),
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
    pub fn of(reservation: Reservation, listed: &Listed, may_read: bool) -> Self {
        if may_read {
            return Self::Whole(Box::new(reservation));
        }
        let Listed { reservation: stored, .. } = listed;
        let [app, component] =
            [stored.terms.app.as_str(), stored.terms.component.as_str()].map(str::to_owned);
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
    /// When it arrived.
    at: DateTime<Utc>,
    /// `success`, `start`, `fail` or `log`.
    kind: &'static str,
    /// The exit status, where one was given.
    exit_code: Option<i32>,
    /// How long the run took, where start and end are a pair; milliseconds.
    duration_ms: Option<i64>,
    /// The run's id, where it has one.
    run_id: Option<String>,
    /// The client's address.
    source: String,
    /// Notes or body.
    notes: String,
}

impl From<Checkin> for CheckIn {
    fn from(checkin: Checkin) -> Self {
        Self {
            at: checkin.at,
            kind: checkin.kind.as_str(),
            exit_code: checkin.exit_code,
            duration_ms: checkin.duration.map(|duration| duration.num_milliseconds()),
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
    cause: String,
    /// Why, as a sentence.
    sentence: String,
    /// When it opened.
    opened_at: DateTime<Utc>,
    /// When it closed; null while it is open.
    closed_at: Option<DateTime<Utc>>,
    /// Why it closed, where no success closed it: `schedule changed: not overdue by it`, `checked out`.
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
    state: String,
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
