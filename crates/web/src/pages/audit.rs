//! Who changed what.

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use askama::Template;
use innkeeper_http::{ApiError, Caller};
use innkeeper_store::AuditEntry;
use serde::Deserialize;

use super::frame::Frame;
use super::view::When;
use super::{ask, page};
use crate::AppState;

/// Entries on a page.
const ENTRIES: i64 = 100;

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage<'a> {
    frame: Frame<'a>,
    entries: Vec<(When, AuditEntry)>,
    next: Option<String>,
}

#[derive(Deserialize)]
pub struct Before {
    before: Option<i64>,
}

/// Who changed what.
pub async fn audit(
    app_state: Data<AppState>,
    caller: Caller,
    query: Query<Before>,
) -> Result<HttpResponse, ApiError> {
    let before = query.before;
    let (entries, now) =
        ask(&app_state, move |app_state, now| Ok((app_state.store.audit_log(before, ENTRIES)?, now))).await?;
    let next = (entries.len() as i64 == ENTRIES)
        .then(|| entries.last().map(|entry| format!("/settings/audit?before={}", entry.id)))
        .flatten();
    let zone = caller.zone_or(chrono_tz::UTC);
    let entries = entries.into_iter().map(|entry| (When::new(entry.at, zone, now), entry)).collect();
    page(&AuditPage { frame: Frame::of(&app_state, &caller, "/settings"), entries, next })
}
