//! The installation itself: who calls, its summary, who changed what.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use innkeeper_http::{ApiError, Caller, Who};
use innkeeper_node::summary::draw_up;
use innkeeper_store::AuditEntry;
use serde::Serialize;
use utoipa::ToSchema;

use super::ask;
use super::reading::Asked;
use super::shown::next;
use crate::AppState;
use crate::lists::JSON;

type Answer = Result<HttpResponse, ApiError>;

/// Who calls, and what they may do.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    /// `user`, `token`, or `anybody` where the instance is open.
    kind: &'static str,
    /// The user's or token's name.
    name: Option<String>,
    /// `checkin`, `read`, `manage`.
    scopes: Vec<&'static str>,
    /// Whether they decide who may come in.
    admin: bool,
    /// The apps that they are bound to; null for every one.
    apps: Option<Vec<String>>,
}

/// Ask who you are
///
/// And what you may do.
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
/// What is missed now, and what went wrong and recovered in the last seven days.
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
    /// The installation that speaks.
    instance: String,
    /// When it was drawn up.
    at: DateTime<Utc>,
    /// The start of the span it looks at.
    since: DateTime<Utc>,
    /// How many reservations there are.
    reservations: i64,
    /// What is missed now, longest first.
    missed: Vec<Missed>,
    /// What went wrong in the span and is still open, latest first.
    open: Vec<Incident>,
    /// What went wrong and recovered in the span, latest first.
    recovered: Vec<Incident>,
    /// Reservations that cannot be read, so that nothing is known of them, a sentence each; absent where there are none.
    unreadable: Option<Vec<String>>,
}

/// A reservation that is missed now.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what is written as it is drawn up")]
pub(crate) struct Missed {
    /// The number of its reservation.
    reservation_id: i64,
    app: String,
    component: String,
    owner: String,
    /// `overdue`, `down`, `held`, `snoozed`.
    state: String,
    /// The latest success.
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
    /// Whether it is a failure that was over when it was reported: nobody was told, and there was no alert.
    reported_late: bool,
}

/// One entry of the audit log.
#[derive(Serialize, ToSchema)]
pub(crate) struct Entry {
    /// Its number.
    id: i64,
    /// When.
    at: DateTime<Utc>,
    /// Who: `user ada`, `token deploy`, `anybody`.
    who: String,
    /// From which address.
    source: String,
    /// What was done: `make reservation`, `log in`, …
    action: String,
    /// To what: `shop/backup`, `user bob`, …
    subject: String,
    /// What changed by it, a line each.
    detail: String,
}

/// A page of the audit log.
#[derive(Serialize, ToSchema)]
pub(crate) struct Audit {
    /// Latest first.
    entries: Vec<Entry>,
    /// What `before` takes for the next page; null on the last one.
    next: Option<i64>,
}

/// Read who changed what
#[utoipa::path(get, path = "/api/v1/audit", tag = "Instance", security(("bearer" = ["admin"])),
    params(
        ("before" = Option<i64>, Query, description = "`next` of the page before"),
        ("limit" = Option<i64>, Query, description = "1 to 200; 50 where it is absent"),
    ),
    responses((status = 200, description = "a page", body = Audit)))]
pub(crate) async fn audit(app_state: Data<AppState>, caller: Caller, request: HttpRequest) -> Answer {
    let asked = Asked::of(&request, &["before", "limit"])?;
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
