//! The installation itself: the caller, the summary, and the audit log.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use innkeeper_http::{ApiError, Caller, Who};
use innkeeper_node::summary::draw_up;
use innkeeper_store::AuditEntry;
use serde::Serialize;
use utoipa::ToSchema;

use super::ask;
use super::reading::ReadQuery;
use super::shown::next;
use crate::AppState;
use crate::lists::JSON;

type Answer = Result<HttpResponse, ApiError>;

/// The caller, and what they may do.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    /// `user`, `token`, or `anybody` if the instance is open.
    kind: &'static str,
    /// The name of the user or token.
    name: Option<String>,
    /// The scopes: `checkin`, `read`, `manage`.
    scopes: Vec<&'static str>,
    /// Whether the caller is an admin, who decides about access.
    admin: bool,
    /// The apps that the caller is limited to; null for all apps.
    apps: Option<Vec<String>>,
}

/// Ask who you are
///
/// Also returns what you may do.
#[utoipa::path(get, path = "/api/v1/me", tag = "Instance", security(("bearer" = [])),
    responses((status = 200, description = "you", body = Me)))]
pub(crate) async fn me(caller: Caller) -> HttpResponse {
    let (kind, name) = match &caller.who {
        Who::Anybody => ("anybody", None),
        Who::User(user) => ("user", Some(user.name.clone())),
        Who::Token(name) => ("token", Some(name.clone())),
    };
    HttpResponse::Ok().json(Me {
        kind,
        name,
        scopes: caller.rights.scopes().iter().map(|scope| scope.as_str()).collect(),
        admin: caller.rights.administer(),
        apps: caller.apps(),
    })
}

/// Read the summary
///
/// Returns what is overdue now, and what went wrong and recovered in the last seven days.
#[utoipa::path(get, path = "/api/v1/summary", tag = "Instance", security(("bearer" = ["read"])),
    responses((status = 200, description = "the summary, as the `--json` of the sweeper's `--summary`", body = Summary)))]
pub(crate) async fn summary(app_state: Data<AppState>) -> Answer {
    let (store, instance, now) = (app_state.store.clone(), app_state.instance.clone(), app_state.clock.now());
    let (list, ()) =
        app_state.spools.make(move |spool| spool.json(&draw_up(&store, &instance, now)?)).await?;
    Ok(list.answer(JSON, String::new()))
}

/// The summary.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what is written as it is drawn up")]
pub(crate) struct Summary {
    /// The name of the installation.
    instance: String,
    /// When it was drawn up.
    at: DateTime<Utc>,
    /// The start of the period that it covers.
    since: DateTime<Utc>,
    /// How many reservations there are.
    reservations: i64,
    /// The reservations whose deadline has passed, longest first.
    missed: Vec<Missed>,
    /// Incidents of the period that are still open, latest first.
    open: Vec<Incident>,
    /// Incidents of the period that have ended, latest first.
    recovered: Vec<Incident>,
    /// A sentence for each reservation that cannot be read, so that its state is unknown; absent if there are none.
    unreadable: Option<Vec<String>>,
}

/// A reservation whose deadline has passed.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what is written as it is drawn up")]
pub(crate) struct Missed {
    /// The number of its reservation.
    reservation_id: i64,
    app: String,
    component: String,
    owner: String,
    /// The state: `overdue`, `down`, `held` or `snoozed`.
    state: String,
    /// When the latest success happened.
    last_checkin_at: Option<DateTime<Utc>>,
    /// The deadline that has passed.
    deadline: DateTime<Utc>,
}

/// One incident.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what is written as it is drawn up")]
pub(crate) struct Incident {
    /// The number of its reservation, which may have been checked out since.
    reservation_id: i64,
    app: String,
    component: String,
    owner: String,
    /// `missed`, `overran` or `failed`.
    cause: String,
    /// The reason as a sentence.
    reason: String,
    /// When it opened.
    opened_at: DateTime<Utc>,
    /// When it closed; null while it is open.
    closed_at: Option<DateTime<Utc>>,
    /// Whether the incident was a failure that was reported only after it had ended. Then there was no alert and no
    /// message.
    reported_late: bool,
}

/// One entry of the audit log.
#[derive(Serialize, ToSchema)]
pub(crate) struct Entry {
    /// Its number.
    id: i64,
    /// The time of the change.
    at: DateTime<Utc>,
    /// Who made the change: `user ada`, `token deploy`, `anybody`.
    who: String,
    /// The client's address.
    source: String,
    /// The action: `make reservation`, `log in`, …
    action: String,
    /// The object of the action: `shop/backup`, `user bob`, …
    subject: String,
    /// The changes, one line for each.
    detail: String,
}

/// A page of the audit log.
#[derive(Serialize, ToSchema)]
pub(crate) struct Audit {
    /// The entries, latest first.
    entries: Vec<Entry>,
    /// The value of `before` for the next page; null on the last one.
    next: Option<i64>,
}

/// Read who changed what
#[utoipa::path(get, path = "/api/v1/audit", tag = "Instance", security(("bearer" = ["admin"])),
    params(
        ("before" = Option<i64>, Query, description = "`next` of the page before"),
        ("limit" = Option<i64>, Query, description = "1 to 200; 50 if it is absent"),
    ),
    responses((status = 200, description = "a page", body = Audit)))]
pub(crate) async fn audit(app_state: Data<AppState>, caller: Caller, request: HttpRequest) -> Answer {
    let asked = ReadQuery::of(&request, &["before", "limit"])?;
    let (before, limit) = (asked.before()?, asked.limit()?);
    let entries = ask(&app_state, &caller, move |store, _| Ok(store.audit_log(before, limit)?)).await?;
    let entry = |entry: AuditEntry| Entry {
        id: entry.id,
        at: entry.at,
        who: entry.who,
        source: entry.source,
        action: entry.action,
        subject: entry.subject,
        detail: entry.detail,
    };
    let entries: Vec<Entry> = entries.into_iter().map(entry).collect();
    Ok(HttpResponse::Ok().json(Audit { next: next(&entries, limit, |entry| entry.id), entries }))
}
