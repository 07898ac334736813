//! The first step of a login: its page, also as it is shown once more.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use askama::Template;
use innkeeper_http::{ApiError, Caller};

use crate::AppState;
use crate::pages::frame::Frame;
use crate::pages::{ask, page};

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    frame: Frame<'a>,
    name: String,
    next: String,
    problem: String,
    /// Whether there is nobody yet who could.
    is_first: bool,
    /// What the button says that leads to a provider; none where there is none.
    provider: Option<&'a str>,
}

/// The page with what was wrong, which stands above its form.
pub(in crate::pages) async fn show(
    app_state: &Data<AppState>,
    caller: &Caller,
    name: &str,
    next: &str,
    problem: &str,
) -> Result<HttpResponse, ApiError> {
    let makes_admins = app_state.openid.as_ref().is_some_and(|openid| openid.makes_admins);
    page(&LoginPage {
        frame: Frame::of(app_state, caller, "/login"),
        name: name.to_owned(),
        next: local(next).to_owned(),
        problem: problem.to_owned(),
        is_first: !app_state.signs_on
            && !makes_admins
            && !ask(app_state, |app_state, _| app_state.store.has_admin()).await?,
        provider: app_state.openid.as_ref().map(|openid| openid.label.as_str()),
    })
}

/// `next` if it is a path of ours, else the first page.
pub fn local(next: &str) -> &str {
    let is_path = next.starts_with('/')
        && !next.starts_with("//")
        && !next.chars().any(|c| c == '\\' || c.is_control() || c.is_whitespace());
    if is_path { next } else { "/status" }
}

/// What a login is answered that waited too long.
pub(in crate::pages) const TOO_LATE: &str = "This login took too long, too many codes or passkeys were wrong, or the account was changed meanwhile. Begin again.";

/// The first step once more: the second took too long, or was wrong too often.
pub(in crate::pages) async fn begin_again(
    app_state: &Data<AppState>,
    caller: &Caller,
    next: &str,
) -> Result<HttpResponse, ApiError> {
    let mut answer = show(app_state, caller, "", next, TOO_LATE).await?;
    *answer.status_mut() = StatusCode::UNAUTHORIZED;
    Ok(answer)
}
