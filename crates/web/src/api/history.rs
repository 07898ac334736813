//! The history: check-ins, alerts, and messages.

use std::collections::HashMap;

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use innkeeper_core::notice::DeliveryState;
use innkeeper_core::{Invalid, word};
use innkeeper_http::{ApiError, Caller};
use innkeeper_store::{PastAlert, Retried, SentDelivery, Store};

use super::reading::ReadQuery;
use super::shown::{Alert, Alerts, CheckIns, Deliveries, next};
use super::{ask, visible};
use crate::AppState;

type Answer = Result<HttpResponse, ApiError>;

/// List the check-ins of a reservation
#[utoipa::path(get, path = "/api/v1/reservations/{id}/check-ins", tag = "History", security(("bearer" = ["read"])),
    params(
        ("id" = i64, Path, description = "the reservation's number"),
        ("limit" = Option<i64>, Query, description = "1 to 200; 50 if it is absent"),
    ),
    responses((status = 200, description = "the latest", body = CheckIns)))]
pub(crate) async fn checkins(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    request: HttpRequest,
) -> Answer {
    let limit = ReadQuery::of(&request, &["limit"])?.limit()?;
    let (asker, id) = (caller.clone(), id.into_inner());
    let checkins = ask(&app_state, &caller, move |store, now| {
        visible(store, &asker, id, now)?;
        Ok(store.checkins_of(id, limit)?)
    })
    .await?;
    Ok(HttpResponse::Ok().json(CheckIns { checkins: checkins.into_iter().map(Into::into).collect() }))
}

/// List the alerts of a reservation
#[utoipa::path(get, path = "/api/v1/reservations/{id}/alerts", tag = "History", security(("bearer" = ["read"])),
    params(
        ("id" = i64, Path, description = "the reservation's number"),
        ("before" = Option<i64>, Query, description = "`next` of the page before"),
        ("limit" = Option<i64>, Query, description = "1 to 200; 50 if it is absent"),
    ),
    responses((status = 200, description = "a page, each with its messages", body = Alerts)))]
pub(crate) async fn alerts_of(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    request: HttpRequest,
) -> Answer {
    let asked = ReadQuery::of(&request, &["before", "limit"])?;
    let (before, limit) = (asked.before()?, asked.limit()?);
    let (asker, id) = (caller.clone(), id.into_inner());
    let page = ask(&app_state, &caller, move |store, now| {
        visible(store, &asker, id, now)?;
        with_deliveries(store, store.alerts(Some(id), None, before, limit)?, limit)
    })
    .await?;
    Ok(HttpResponse::Ok().json(page))
}

/// List alerts
///
/// Returns open and past alerts. A token that is limited to apps gets those of its apps.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "History", security(("bearer" = ["read"])),
    params(
        ("open" = Option<bool>, Query, description = "only those that are open, or that are past"),
        ("before" = Option<i64>, Query, description = "`next` of the page before"),
        ("limit" = Option<i64>, Query, description = "1 to 200; 50 if it is absent"),
    ),
    responses((status = 200, description = "a page, each with its messages", body = Alerts)))]
pub(crate) async fn alerts(app_state: Data<AppState>, caller: Caller, request: HttpRequest) -> Answer {
    let asked = ReadQuery::of(&request, &["open", "before", "limit"])?;
    let (open, before, limit) = (asked.flag("open")?, asked.before()?, asked.limit()?);
    let apps = caller.apps();
    let page = ask(&app_state, &caller, move |store, _| {
        let alerts = match apps {
            Some(apps) => store.alerts_of_apps(&apps, open, before, limit)?,
            None => store.alerts(None, open, before, limit)?,
        };
        with_deliveries(store, alerts, limit)
    })
    .await?;
    Ok(HttpResponse::Ok().json(page))
}

fn with_deliveries(store: &Store, alerts: Vec<PastAlert>, limit: i64) -> Result<Alerts, ApiError> {
    let ids: Vec<i64> = alerts.iter().map(|alert| alert.id).collect();
    let mut deliveries: HashMap<Option<i64>, Vec<SentDelivery>> = HashMap::new();
    for delivery in store.deliveries_of(&ids)? {
        deliveries.entry(delivery.alert_id).or_default().push(delivery);
    }
    let next = next(&alerts, limit, |alert| alert.id);
    let with_its_own = |alert: PastAlert| {
        let deliveries = deliveries.remove(&Some(alert.id)).unwrap_or_default();
        Alert { alert, deliveries }
    };
    Ok(Alerts { alerts: alerts.into_iter().map(with_its_own).collect(), next })
}

/// List messages
#[utoipa::path(get, path = "/api/v1/deliveries", tag = "History", security(("bearer" = ["read"])),
    params(
        ("state" = String, Query, description = "`waiting`, `delivered` or `dead`"),
        ("before" = Option<i64>, Query, description = "`next` of the page before"),
        ("limit" = Option<i64>, Query, description = "1 to 200; 50 if it is absent"),
    ),
    responses((status = 200, description = "a page", body = Deliveries)))]
pub(crate) async fn deliveries(app_state: Data<AppState>, caller: Caller, request: HttpRequest) -> Answer {
    let asked = ReadQuery::of(&request, &["state", "before", "limit"])?;
    let state = asked.text("state").map(|text| word::parse("state", text)).transpose()?.ok_or_else(|| {
        let problem = format!("is missing; give {}", word::one_of::<DeliveryState>());
        Invalid::new("state", problem)
    })?;
    let (before, limit) = (asked.before()?, asked.limit()?);
    let deliveries =
        ask(&app_state, &caller, move |store, _| Ok(store.deliveries(state, before, limit)?)).await?;
    Ok(HttpResponse::Ok()
        .json(Deliveries { next: next(&deliveries, limit, |delivery| delivery.id), deliveries }))
}

/// Try a message again
///
/// A message that was given up waits again; a waiting one is tried now. A message older than the retry limit gets one
/// more attempt.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/retry", tag = "History", security(("bearer" = ["manage"])),
    params(("id" = i64, Path, description = "the message's number")),
    responses(
        (status = 204, description = "it is tried now"),
        (status = 409, description = "it was delivered, or there is no alerter of its name any more"),
    ))]
pub(crate) async fn retry(app_state: Data<AppState>, caller: Caller, id: Path<i64>) -> Answer {
    let id = id.into_inner();
    match ask(&app_state, &caller, move |store, now| Ok(store.retry_delivery(id, now)?)).await? {
        Retried::Done => Ok(HttpResponse::NoContent().finish()),
        Retried::Unknown => Err(ApiError::NotFound(format!("there is no message {id}"))),
        Retried::Delivered => Err(ApiError::Conflict(format!("the message {id} was delivered"))),
        Retried::NoAlerter(alerter) => Err(no_alerter(id, &alerter)),
    }
}

/// The error for a message whose alerter no longer exists.
pub(crate) fn no_alerter(id: i64, alerter: &str) -> ApiError {
    ApiError::Conflict(format!(
        "there is no alerter {alerter} any more, so that the message {id} cannot go out; once one of that name is configured again, it \
         can be tried again. To have alerts go another way, change `notify` of the reservation"
    ))
}
