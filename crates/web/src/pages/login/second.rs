//! The second step of a login: the password was right, and a second factor is asked for.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use innkeeper_http::keys;
use innkeeper_http::{ApiError, Caller};
use innkeeper_store::{Factors, User};

use super::entry::{By, begin, with_next};
use super::{LoginQuery, local, show as show_login, wait_for_codes};
use crate::AppState;
use crate::pages::form::Form;
use crate::pages::frame::Frame;
use crate::pages::{ask, page, see_other};
use crate::second_factor::{self, FactorCheck};

#[derive(Template)]
#[template(path = "login_second.html")]
struct SecondPage<'a> {
    frame: Frame<'a>,
    user: String,
    factors: Factors,
    /// Where passkeys can be used; empty where they cannot.
    origin: String,
    /// Why they cannot.
    why_not: String,
    next: String,
    problem: String,
}

/// What a login is answered that waited too long.
pub(in crate::pages) const TOO_LATE: &str = "This login took too long, too many codes or passkeys were wrong, or the account was changed meanwhile. Begin again.";

/// The page.
pub async fn second(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    query: Query<LoginQuery>,
) -> Result<HttpResponse, ApiError> {
    let Some(login) = app_state.authenticator.pending_of(&request) else {
        return Ok(see_other(&with_next("/login", local(&query.next))));
    };
    let hash = keys::hash(&login);
    match ask(&app_state, move |app_state, now| app_state.store.pending_login(&hash, now)).await? {
        Some(user) => show(&app_state, &caller, &user, &query.next, String::new()).await,
        None => Ok(see_other(&with_next("/login", local(&query.next)))),
    }
}

async fn show(
    app_state: &Data<AppState>,
    caller: &Caller,
    user: &User,
    next: &str,
    problem: String,
) -> Result<HttpResponse, ApiError> {
    let (id, passkeys) = (user.id, app_state.passkeys_at());
    page(&SecondPage {
        frame: Frame::of(app_state, caller, "/login"),
        user: user.name.clone(),
        factors: ask(app_state, move |app_state, _| app_state.store.factors(id)).await?,
        origin: passkeys.unwrap_or_default().to_owned(),
        why_not: passkeys.err().unwrap_or_default().to_owned(),
        next: local(next).to_owned(),
        problem,
    })
}

/// The page with what is wrong.
pub(in crate::pages) async fn refuse(
    app_state: &Data<AppState>,
    caller: &Caller,
    user: &User,
    next: &str,
    problem: String,
) -> Result<HttpResponse, ApiError> {
    let mut answer = show(app_state, caller, user, next, problem).await?;
    *answer.status_mut() = StatusCode::UNAUTHORIZED;
    Ok(answer)
}

/// The first step once more: the second took too long, or was wrong too often.
pub(in crate::pages) async fn begin_again(
    app_state: &Data<AppState>,
    caller: &Caller,
    next: &str,
) -> Result<HttpResponse, ApiError> {
    let mut answer = show_login(app_state, caller, "", next, TOO_LATE).await?;
    *answer.status_mut() = StatusCode::UNAUTHORIZED;
    Ok(answer)
}

/// A code against a session.
pub async fn show_code(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let next = local(form.text("next")).to_owned();
    let login =
        app_state.authenticator.pending_of(&request).map(|login| keys::hash(&login)).unwrap_or_default();
    let hash = login.clone();
    let Some(user) =
        ask(&app_state, move |app_state, now| app_state.store.try_pending_login(&hash, now)).await?
    else {
        return begin_again(&app_state, &caller, &next).await;
    };
    match second_factor::check(&app_state, &request, &caller.source, &user, form.text("code")).await? {
        FactorCheck::Right(factor) => {
            begin(&app_state, &request, &caller, user, By::Second(factor, login), &next).await
        }
        FactorCheck::Wrong(problem) => refuse(&app_state, &caller, &user, &next, problem).await,
        FactorCheck::TooSoon(time) => Err(wait_for_codes(time)),
    }
}
