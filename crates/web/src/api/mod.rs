//! The management API under `/api/v1`: for programs that make, change and look at what people see on the pages.
//!
//! Each subject is a file: `reservations.rs` (one by one), `declared.rs` (a whole set), `rest.rs` (snoozes, undone check-outs), `history.rs`
//! (check-ins, alerts, messages), `tokens.rs`, `house.rs` (summary, audit log), `duties.rs` (snoozes of Innkeeper's own). `document.rs` is a reservation as a person writes it; `reading.rs`
//! reads bodies and queries. `openapi.rs` and `protocols.rs` describe all routes, `page.rs` shows that description.
//!
//! Errors are `application/problem+json` (RFC 9457); the routes see to that.

pub(crate) mod declared;
mod document;
mod duties;
mod history;
mod house;
mod openapi;
mod page;
mod protocols;
pub(crate) mod reading;
pub(crate) mod reservations;
mod rest;
mod shown;
mod tokens;

use actix_web::http::Method;
use actix_web::web::{self, Data};
use innkeeper_core::Time;
use innkeeper_core::access::Need;
use innkeeper_core::names::AppName;
use innkeeper_node::http::{ApiError, Caller, Routes, nodes};
use innkeeper_store::{Listed, Store, StoreError};

pub(crate) use document::etag;
pub(crate) use history::no_alerter;
pub(crate) use tokens::{added, confirm_one, remove_within, within};

use crate::Desk;

pub(crate) fn mount(routes: &mut Routes<'_>) {
    const ONE: &str = "/api/v1/reservations/{id}";
    let of = |part: &str| format!("{ONE}{part}");
    routes
        .api(Method::GET, "/api/v1/openapi.json", Need::Nothing, openapi::openapi)
        .api(Method::GET, "/api/v1/me", Need::Known, house::me)
        .api(Method::GET, "/api/v1/reservations", Need::Read, reservations::list)
        .api(Method::POST, "/api/v1/reservations", Need::Manage, reservations::create)
        .api(Method::GET, ONE, Need::Read, reservations::look)
        .api(Method::PATCH, ONE, Need::Manage, reservations::change)
        .api(Method::DELETE, ONE, Need::Manage, reservations::check_out)
        .api(Method::POST, &of("/undo-checkout"), Need::Manage, rest::undo_checkout)
        .api(Method::POST, &of("/snooze"), Need::Manage, rest::snooze)
        .api(Method::POST, &of("/resume"), Need::Manage, rest::resume)
        .api(Method::GET, &of("/check-ins"), Need::Read, history::checkins)
        .api(Method::GET, &of("/alerts"), Need::Read, history::alerts_of)
        .api(Method::GET, "/api/v1/alerts", Need::Read, history::alerts)
        .api(Method::GET, "/api/v1/deliveries", Need::ReadAll, history::deliveries)
        .api(Method::POST, "/api/v1/deliveries/{id}/retry", Need::ManageAll, history::retry)
        .api(Method::PUT, "/api/v1/apply", Need::Manage, declared::apply)
        .api(Method::POST, "/api/v1/apply", Need::Manage, declared::apply)
        .api(Method::GET, "/api/v1/export", Need::Read, declared::export)
        .api(Method::GET, "/api/v1/tokens", Need::ManageAll, tokens::list)
        .api(Method::POST, "/api/v1/tokens", Need::ManageAll, tokens::create)
        .api(Method::DELETE, "/api/v1/tokens/{id}", Need::ManageAll, tokens::remove)
        .api(Method::POST, "/api/v1/tokens/{id}/confirm", Need::Administer, tokens::confirm)
        .api(Method::GET, "/api/v1/nodes", Need::ReadAll, nodes::nodes)
        .api(Method::POST, "/api/v1/duties/{name}/snooze", Need::ManageAll, duties::snooze)
        .api(Method::POST, "/api/v1/duties/{name}/resume", Need::ManageAll, duties::resume)
        .api(Method::GET, "/api/v1/summary", Need::ReadAll, house::summary)
        .api(Method::GET, "/api/v1/audit", Need::Administer, house::audit)
        .page("/api", Need::Nothing, page::page);
}

/// Asks the store, on the caller's behalf, on a thread that may block.
pub(crate) async fn ask<T: Send + 'static>(
    desk: &Data<Desk>,
    caller: &Caller,
    question: impl FnOnce(&Store, Time) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let (store, now, shared) = (desk.store.on_behalf_of(caller.actor()), desk.clock.now(), desk.clone());
    web::block(move || {
        // Answers warn by them.
        shared.known_ways.look(&shared.store);
        question(&store, now)
    })
    .await
    .map_err(ApiError::internal)?
    .inspect_err(|error| desk.failed(error))
}

/// The reservation of this number. One of an app that the caller does not have is answered as one that is not there: its name is none of theirs.
fn visible(store: &Store, caller: &Caller, id: i64, now: Time) -> Result<Listed, ApiError> {
    match store.listed(id, now) {
        Err(StoreError::Unreadable(one)) if caller.covers_named(&one.app).is_err() => Err(no_reservation(id)),
        listed => listed?
            .filter(|listed| caller.covers(&listed.reservation.terms.app).is_ok())
            .ok_or_else(|| no_reservation(id)),
    }
}

fn no_reservation(id: i64) -> ApiError {
    ApiError::NotFound(format!("there is no reservation {id}"))
}

/// An app that the caller names: it must be one of theirs.
fn named_app(caller: &Caller, app: Option<&str>) -> Result<Option<AppName>, ApiError> {
    let app = app.map(AppName::parse).transpose()?;
    app.as_ref().map_or(Ok(()), |app| caller.covers(app))?;
    Ok(app)
}
