//! The pages: rendered on the server, readable without JavaScript, with nothing from elsewhere.
//!
//! Each page is a file here, with its query, its template's fields and a short handler; `frame.rs` is what stands around them all, `view.rs` turns
//! what the store knows into what several of them show. What a reservation is shown as comes from [`innkeeper_core::sla`].

mod alerts;
mod badguests;
mod checkins;
mod deliveries;
pub(crate) mod frame;
mod nodes;
mod reservation;
mod snippets;
mod status;
mod view;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{self, Data};
use askama::Template;
use innkeeper_core::Time;
use innkeeper_core::access::Need;
use innkeeper_node::http::{ApiError, Routes};
use innkeeper_store::StoreError;

use crate::Desk;

/// Check-ins and alerts on a page.
const ENTRIES: i64 = 50;
/// What a page may load: its own style and script.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Registers the pages. `/` and `/nodes` are pages for browsers alone: register them before what answers programs there.
pub(crate) fn mount(routes: &mut Routes<'_>) {
    routes
        .page_for_browsers("/", Need::ReadAll, status::status)
        .page_for_browsers("/nodes", Need::ReadAll, nodes::nodes)
        .page("/status", Need::ReadAll, status::status)
        .page("/status/{id}", Need::ReadAll, reservation::reservation)
        .page("/alerts", Need::ReadAll, alerts::alerts)
        .page("/deliveries", Need::ReadAll, deliveries::deliveries)
        .page("/badguests", Need::ReadAll, badguests::bad_guests)
        .get("/assets/style.css", Need::Nothing, style)
        .get("/assets/live.js", Need::Nothing, script);
}

async fn style() -> HttpResponse {
    asset("text/css; charset=utf-8", include_str!("../../assets/style.css"))
}

async fn script() -> HttpResponse {
    asset("text/javascript; charset=utf-8", include_str!("../../assets/live.js"))
}

fn asset(kind: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(kind)
        .insert_header((header::CACHE_CONTROL, "public, max-age=300"))
        .body(text)
}

/// Asks the store on a thread that may block.
async fn ask<T: Send + 'static>(
    desk: &Data<Desk>,
    question: impl FnOnce(&Desk, Time) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let desk = desk.clone();
    let answer = web::block(move || question(&desk, desk.clock.now())).await.map_err(ApiError::internal)?;
    Ok(answer?)
}

pub(crate) fn page(template: &impl Template) -> Result<HttpResponse, ApiError> {
    let text = template.render().map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .insert_header((header::VARY, "Accept"))
        .body(text))
}
