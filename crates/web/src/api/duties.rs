//! Snoozes of Innkeeper's own duties. During a snooze the operator gets no message that no node does that work.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use chrono::{DateTime, Utc};
use innkeeper_core::{Invalid, Time};
use innkeeper_http::{ApiError, Body, Caller};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ask, reading, rest};
use crate::AppState;

type Answer = Result<HttpResponse, ApiError>;

/// A duty that some node should always do.
#[derive(Serialize, ToSchema)]
pub(crate) struct DutyState {
    /// `ingest`, `sweeper` or `web`.
    name: String,
    /// The end of the snooze; null if the duty is not snoozed.
    snoozed_until: Option<DateTime<Utc>>,
}

/// The length of a snooze. Give one of the two fields.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DutySnooze {
    /// The length from now: `2h`, `1d`; at most ten years.
    duration: Option<String>,
    /// The end, as RFC 3339.
    until: Option<String>,
}

/// Snooze a duty
///
/// Until the end of the snooze the operator gets no message that no node does this work.
#[utoipa::path(post, path = "/api/v1/duties/{name}/snooze", tag = "Instance", security(("bearer" = ["manage"])),
    params(("name" = String, Path, description = "`ingest`, `sweeper` or `web`")),
    request_body(content = DutySnooze, example = json!({"duration": "2h"})),
    responses((status = 200, description = "it sleeps", body = DutyState)))]
pub(crate) async fn snooze(
    app_state: Data<AppState>,
    caller: Caller,
    name: Path<String>,
    Body(body): Body,
) -> Answer {
    let snooze: DutySnooze = reading::json(&body)?;
    let end = move |now| rest::end(snooze.duration.as_deref(), snooze.until.as_deref(), now);
    sleep(&app_state, &caller, name.into_inner(), end).await
}

/// End the snooze of a duty
///
/// The operator gets messages about the duty again.
#[utoipa::path(post, path = "/api/v1/duties/{name}/resume", tag = "Instance", security(("bearer" = ["manage"])),
    params(("name" = String, Path, description = "`ingest`, `sweeper` or `web`")),
    responses((status = 200, description = "it is watched again", body = DutyState)))]
pub(crate) async fn resume(app_state: Data<AppState>, caller: Caller, name: Path<String>) -> Answer {
    sleep(&app_state, &caller, name.into_inner(), Ok).await
}

async fn sleep(
    app_state: &Data<AppState>,
    caller: &Caller,
    name: String,
    end: impl FnOnce(Time) -> Result<Time, Invalid> + Send + 'static,
) -> Answer {
    let duty = ask(app_state, caller, move |store, now| {
        let until = end(now)?;
        if !store.snooze_duty(&name, until, now)? {
            return Err(ApiError::NotFound(format!("there is no duty {name:?}")));
        }
        Ok(DutyState { name, snoozed_until: (until > now).then_some(until) })
    })
    .await?;
    Ok(HttpResponse::Ok().json(duty))
}
