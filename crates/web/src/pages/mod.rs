//! The pages: rendered on the server, readable without JavaScript, with nothing from elsewhere.
//!
//! Each page is a file here, with its query, its template's fields and a short handler; `frame.rs` is what stands around them all, `view.rs` turns
//! what the store knows into what several of them show. What a reservation is shown as comes from [`innkeeper_core::sla`].

mod account;
mod actions;
mod alerts;
mod api;
mod audit;
mod badguests;
mod checked_out;
mod deliveries;
mod draft;
mod editor;
mod error;
mod figures;
mod form;
pub(crate) mod frame;
mod login;
mod nodes;
mod output;
mod plot;
mod public;
mod reservation;
mod settings;
mod settings_shares;
mod settings_users;
mod snippets;
mod status;
pub(crate) mod status_query;
mod strip;
mod timeline;
pub(crate) mod view;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{self, Data};
use askama::Template;
use innkeeper_core::Time;
use innkeeper_core::access::Permission;
use innkeeper_http::{ApiError, Caller, Routes};
use innkeeper_store::{ActingStore, StoreError};

use crate::AppState;

/// Check-ins and alerts on a page.
const ENTRIES: i64 = 50;
/// What a page may load: its own style and script.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Registers the pages. `/` and `/nodes` are pages for browsers alone: register them before what answers programs there.
pub(crate) fn mount(routes: &mut Routes<'_>) {
    routes
        .error_page(error::error_page)
        .page("/login", Permission::Nothing, login::login)
        .form("/login", Permission::Nothing, login::log_in)
        .page(login::openid::BEGINNING, Permission::Nothing, login::openid::begin)
        .page(crate::openid::CALLBACK, Permission::Nothing, login::openid::end)
        .page("/login/second", Permission::Nothing, login::second::second)
        .form("/login/second", Permission::Nothing, login::second::show_code)
        .form("/logout", Permission::Nothing, login::log_out)
        .page("/setup/{secret}", Permission::Nothing, login::setup)
        .form("/setup/{secret}", Permission::Nothing, login::set_up)
        .page("/account", Permission::Known, account::account)
        .form("/account/display", Permission::Known, account::choose_display)
        .form("/account/password", Permission::Account, account::change_password)
        .form("/account/sessions/end-others", Permission::Account, account::end_other_sessions)
        .form("/account/sessions/{hash}/end", Permission::Account, account::end_session)
        .page("/account/second-factor", Permission::SetUp, account::factor::set_up_page)
        .form("/account/second-factor", Permission::SetUp, account::factor::begin)
        .form("/account/second-factor/confirm", Permission::SetUp, account::factor::confirm)
        .form("/account/second-factor/remove", Permission::Account, account::factor::remove)
        .form("/account/recovery-codes", Permission::Account, account::factor::renew_codes)
        .public_page("/public/{key}", public::status)
        .get("/badge/{key}.svg", Permission::Nothing, public::badge)
        .page("/settings", Permission::ReadAll, settings::settings)
        .form("/settings/alerters/{name}/test", Permission::ManageAll, settings::test_alerter)
        .form("/settings/shares", Permission::ManageAll, settings_shares::add_share)
        .form("/settings/shares/{key}/remove", Permission::ManageAll, settings_shares::remove_share)
        .form("/settings/shares/{key}/confirm", Permission::Administer, settings_shares::confirm_share)
        .form("/settings/tokens", Permission::ManageAll, settings::add_token)
        .form("/settings/tokens/{id}/remove", Permission::ManageAll, settings::remove_token)
        .form("/settings/tokens/{id}/confirm", Permission::Administer, settings::confirm_token)
        .form("/settings/users", Permission::Administer, settings_users::add_user)
        .form("/settings/users/{id}/confirm", Permission::Administer, settings_users::confirm_user)
        .form("/settings/users/{id}/link", Permission::Administer, settings_users::link_user)
        .form("/settings/users/{id}/role", Permission::Administer, settings_users::change_user)
        .form("/settings/users/{id}/remove", Permission::Administer, settings_users::remove_user)
        .form(
            "/settings/users/{id}/second-factor/require",
            Permission::Administer,
            settings_users::require_factor,
        )
        .form(
            "/settings/users/{id}/second-factor/remove",
            Permission::Administer,
            settings_users::remove_factor,
        )
        .form("/settings/users/{id}/sessions/end", Permission::Administer, settings_users::end_sessions)
        .page("/settings/audit", Permission::Administer, audit::audit)
        .page_for_browsers("/", Permission::ReadAll, status::status)
        .page_for_browsers("/nodes", Permission::ReadAll, nodes::nodes)
        .form("/nodes/{duty}/snooze", Permission::ManageAll, nodes::snooze)
        .form("/nodes/{duty}/resume", Permission::ManageAll, nodes::resume)
        .page("/status", Permission::ReadAll, status::status)
        .page("/new", Permission::ManageAll, editor::new)
        .form("/new", Permission::ManageAll, editor::make)
        .form("/explain", Permission::ManageAll, editor::explain)
        .page("/status/{id}/edit", Permission::ManageAll, editor::edit)
        .form("/status/{id}/edit", Permission::ManageAll, editor::change)
        .form("/status/{id}/accept-figures", Permission::ManageAll, actions::accept_figures)
        .form("/status/{id}/snooze", Permission::ManageAll, actions::snooze)
        .form("/status/{id}/resume", Permission::ManageAll, actions::resume)
        .form("/status/{id}/test-alert", Permission::ManageAll, actions::test_alert)
        .form("/status/{id}/check-out", Permission::ManageAll, actions::check_out)
        .form("/status/{id}/undo", Permission::ManageAll, actions::undo)
        .page("/status/{id}", Permission::ReadAll, reservation::reservation)
        .page("/alerts", Permission::ReadAll, alerts::alerts)
        .form("/deliveries/{id}/retry", Permission::ManageAll, actions::retry)
        .page("/deliveries", Permission::ReadAll, deliveries::deliveries)
        .page("/api", Permission::Nothing, api::page)
        .page("/badguests", Permission::ReadAll, badguests::bad_guests)
        .get("/assets/favicon.svg", Permission::Nothing, favicon)
        // Browsers ask for it without being told to.
        .get("/favicon.ico", Permission::Nothing, favicon)
        .get("/assets/style.css", Permission::Nothing, style)
        .get("/assets/editor.js", Permission::Nothing, editor_script)
        .get("/assets/live.js", Permission::Nothing, script);
    #[cfg(feature = "passkeys")]
    account::passkeys::mount(routes);
}

async fn favicon() -> HttpResponse {
    asset("image/svg+xml", include_str!("../../assets/favicon.svg"))
}

async fn style() -> HttpResponse {
    asset("text/css; charset=utf-8", include_str!("../../assets/style.css"))
}

async fn script() -> HttpResponse {
    asset("text/javascript; charset=utf-8", include_str!("../../assets/live.js"))
}

async fn editor_script() -> HttpResponse {
    asset("text/javascript; charset=utf-8", include_str!("../../assets/editor.js"))
}

fn asset(kind: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(kind)
        .insert_header((header::CACHE_CONTROL, "public, max-age=300"))
        .body(text)
}

/// Asks the store on a thread that may block.
async fn ask<T: Send + 'static>(
    app_state: &Data<AppState>,
    question: impl FnOnce(&AppState, Time) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let shared = app_state.clone();
    let asked = move || {
        // Pages warn by them.
        shared.known_ways.look(&shared.store);
        // Their titles have them.
        shared.counts()?;
        question(&shared, shared.clock.now())
    };
    let answer = web::block(asked).await.map_err(ApiError::internal)?;
    answer.map_err(ApiError::from).inspect_err(|error| app_state.failed(error))
}

/// Changes something on the caller's behalf, on a thread that may block.
async fn change<T: Send + 'static>(
    app_state: &Data<AppState>,
    caller: &Caller,
    change: impl FnOnce(&ActingStore, Time) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let actor = caller.actor();
    ask(app_state, move |app_state, now| change(&app_state.store.acting_as(actor), now)).await
}

/// Goes on to another page, as after a form.
fn see_other(path: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, path)).finish()
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
