//! The management API under `/api/v1`, for programs that do what people do on the pages.
//!
//! Each subject has a file: `reservations.rs` (single reservations), `declared.rs` (a whole set), `rest.rs` (snoozes,
//! undone check-outs), `history.rs` (check-ins, alerts, messages), `tokens.rs`, `instance.rs` (summary, audit log),
//! `duties.rs` (snoozes of Innkeeper's own duties). `document.rs` turns a reservation's document into its spec;
//! `reading.rs` parses bodies and queries. `openapi.rs` describes all routes, with `described.rs` for those of the
//! protocols; `pages/api.rs` shows that description.
//!
//! Errors are `application/problem+json` (RFC 9457), which the routes make of an `ApiError`.

pub(crate) mod declared;
mod described;
mod document;
mod duties;
mod figures;
mod history;
mod instance;
pub(crate) mod openapi;
pub(crate) mod reading;
pub(crate) mod reservations;
mod rest;
mod shown;
mod tokens;

use actix_web::http::Method;
use actix_web::web::Data;
use innkeeper_core::Time;
use innkeeper_core::access::Permission;
use innkeeper_core::assessed::Assessed;
use innkeeper_core::names::AppName;
use innkeeper_http::description::Description;
use innkeeper_http::{ApiError, Caller, Routes, blocking, nodes};
use innkeeper_store::{ActingStore, Store, StoreError};

pub(crate) use document::etag;
pub(crate) use figures::{not_accepted, says};
pub(crate) use history::no_alerter;
pub(crate) use tokens::{added, confirm_one, remove_within, within};

use crate::AppState;

/// `GET /nodes`, which is below this API although its handler is in another crate.
const NODES: Description = Description {
    // The failure is a problem (RFC 9457), as everywhere below `/api/`.
    failure: "",
    ..Description::get(
        "/api/v1/nodes",
        Permission::ReadAll,
        "Instance",
        "List the processes of this installation",
    )
};

pub(crate) fn mount(routes: &mut Routes<'_>) {
    const ONE: &str = "/api/v1/reservations/{id}";
    let of = |part: &str| format!("{ONE}{part}");
    routes
        .api(Method::GET, "/api/v1/openapi.json", Permission::Nothing, openapi::openapi)
        .api(Method::GET, "/api/v1/me", Permission::Known, instance::me)
        .api(Method::GET, "/api/v1/reservations", Permission::Read, reservations::list)
        .api(Method::POST, "/api/v1/reservations", Permission::Manage, reservations::create)
        .api(Method::GET, ONE, Permission::Read, reservations::look)
        .api(Method::PATCH, ONE, Permission::Manage, reservations::change)
        .api(Method::DELETE, ONE, Permission::Manage, reservations::check_out)
        .api(Method::POST, &of("/undo-checkout"), Permission::Manage, rest::undo_checkout)
        .api(Method::POST, &of("/snooze"), Permission::Manage, rest::snooze)
        .api(Method::POST, &of("/resume"), Permission::Manage, rest::resume)
        .api(Method::GET, &of("/figures"), Permission::Read, figures::figures)
        .api(Method::POST, &of("/accept-figures"), Permission::Manage, figures::accept)
        .api(Method::GET, &of("/check-ins"), Permission::Read, history::checkins)
        .api(Method::GET, &of("/alerts"), Permission::Read, history::alerts_of)
        .api(Method::GET, "/api/v1/alerts", Permission::Read, history::alerts)
        .api(Method::GET, "/api/v1/deliveries", Permission::ReadAll, history::deliveries)
        .api(Method::POST, "/api/v1/deliveries/{id}/retry", Permission::ManageAll, history::retry)
        .api(Method::PUT, "/api/v1/apply", Permission::Manage, declared::apply)
        .api(Method::POST, "/api/v1/apply", Permission::Manage, declared::apply)
        .api(Method::GET, "/api/v1/export", Permission::Read, declared::export)
        .api(Method::GET, "/api/v1/tokens", Permission::ManageAll, tokens::list)
        .api(Method::POST, "/api/v1/tokens", Permission::ManageAll, tokens::create)
        .api(Method::DELETE, "/api/v1/tokens/{id}", Permission::ManageAll, tokens::remove)
        .api(Method::POST, "/api/v1/tokens/{id}/confirm", Permission::Administer, tokens::confirm)
        .api(Method::GET, NODES.path, NODES.permission, nodes::nodes)
        .api(Method::POST, "/api/v1/duties/{name}/snooze", Permission::ManageAll, duties::snooze)
        .api(Method::POST, "/api/v1/duties/{name}/resume", Permission::ManageAll, duties::resume)
        .api(Method::GET, "/api/v1/summary", Permission::ReadAll, instance::summary)
        .api(Method::GET, "/api/v1/audit", Permission::Administer, instance::audit);
}

/// Runs `question` with the store on behalf of the caller, on a thread that may block.
pub(crate) async fn ask<T: Send + 'static>(
    app_state: &Data<AppState>,
    caller: &Caller,
    question: impl FnOnce(&ActingStore, Time) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let (store, now, shared) =
        (app_state.store.acting_as(caller.actor()), app_state.clock.now(), app_state.clone());
    blocking(move || {
        // The warnings in answers depend on the known alerters.
        shared.known_ways.look(&shared.store);
        question(&store, now)
    })
    .await
    .map_err(ApiError::internal)?
    .inspect_err(|error| app_state.failed(error))
}

/// The reservation of this number. If the caller may not see its app, the error is the same as for an unknown number,
/// so that its name is not revealed.
fn visible(store: &Store, caller: &Caller, id: i64, now: Time) -> Result<Assessed, ApiError> {
    match store.listed(id, now) {
        Err(StoreError::Unreadable(one)) if caller.covers_named(&one.app).is_err() => Err(no_reservation(id)),
        listed => listed?
            .filter(|listed| caller.covers(&listed.reservation.spec.app).is_ok())
            .ok_or_else(|| no_reservation(id)),
    }
}

fn no_reservation(id: i64) -> ApiError {
    ApiError::NotFound(format!("there is no reservation {id}"))
}

/// The app that the caller names. It must be one that they may see.
fn named_app(caller: &Caller, app: Option<&str>) -> Result<Option<AppName>, ApiError> {
    let app = app.map(AppName::parse).transpose()?;
    app.as_ref().map_or(Ok(()), |app| caller.covers(app))?;
    Ok(app)
}
