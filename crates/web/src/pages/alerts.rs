//! All alerts, the open ones and the past.

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use askama::Template;
use innkeeper_http::{ApiError, Caller};
use serde::Deserialize;

use super::frame::Frame;
use super::view::AlertRow;
use super::{ENTRIES, ask, page};
use crate::AppState;

/// The place of a page.
#[derive(Deserialize)]
pub struct Before {
    before: Option<i64>,
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage<'a> {
    frame: Frame<'a>,
    open: Vec<AlertRow>,
    past: Vec<AlertRow>,
    next: Option<String>,
}

/// The page.
pub async fn alerts(
    app_state: Data<AppState>,
    caller: Caller,
    query: Query<Before>,
) -> Result<HttpResponse, ApiError> {
    let before = query.before;
    let (open, past, now) = ask(&app_state, move |app_state, now| {
        let open =
            if before.is_none() { app_state.store.alerts(None, Some(true), None, 500)? } else { Vec::new() };
        Ok((open, app_state.store.alerts(None, Some(false), before, ENTRIES)?, now))
    })
    .await?;
    let next = (past.len() as i64 == ENTRIES)
        .then(|| past.last().map(|alert| format!("/alerts?before={}", alert.id)))
        .flatten();
    let zone = caller.zone_or(chrono_tz::UTC);
    let rows = |alerts: &[innkeeper_store::PastAlert]| {
        alerts.iter().map(|alert| AlertRow::of(alert, &[], zone, now)).collect()
    };
    page(&AlertsPage {
        frame: Frame::of(&app_state, &caller, "/alerts"),
        open: rows(&open),
        past: rows(&past),
        next,
    })
}
