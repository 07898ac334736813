//! Logging in and out.

pub(super) mod entry;
pub(super) mod first;
pub(super) mod openid;
pub(super) mod second;

use actix_web::http::header;
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use chrono::TimeDelta;
use innkeeper_core::access::{UserRole, new_user_name};
use innkeeper_core::password as new_password;
use innkeeper_http::keys;
use innkeeper_http::keys::password::{self, Waiting};
use innkeeper_http::{ApiError, Caller, unconfirmed};
use innkeeper_store::{Actor, User};
use serde::Deserialize;

use self::entry::password_was_right;
pub(super) use self::first::local;
use self::first::show;
use super::form::Form;
use super::frame::Frame;
use super::{ask, page, see_other};
use crate::AppState;
use crate::logins::{self, LoginVerdict, refused};
use crate::refused_logins::RefusalReason;

/// A line that is full is shorter by then.
pub(super) const CROWDS_LAST_S: u32 = 2;

#[derive(Deserialize)]
pub struct LoginQuery {
    #[serde(default)]
    pub next: String,
}

/// The page.
pub async fn login(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    query: Query<LoginQuery>,
) -> Result<HttpResponse, ApiError> {
    if app_state.is_open || caller.user().is_some() {
        return Ok(see_other(local(&query.next)));
    }
    // Whoever logs out has no cookie any more.
    let problem = match app_state.authenticator.session_of(&request) {
        Some(_) => "You were logged out: nothing was done here for a while, or the session was ended.",
        None => "",
    };
    show(&app_state, &caller, "", &query.next, problem).await
}

/// A name and a password against a session.
pub async fn log_in(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let (name, given) = (form.text("name").to_owned(), form.raw("password").to_owned());
    let next = local(form.text("next")).to_owned();
    match logins::check(&app_state, &request, &caller.source, &name, given).await? {
        LoginVerdict::Right { user, hash } => {
            password_was_right(&app_state, &request, &caller, user, hash, &next).await
        }
        LoginVerdict::Wrong => {
            let mut answer =
                show(&app_state, &caller, &name, &next, "The name or the password is wrong.").await?;
            *answer.status_mut() = actix_web::http::StatusCode::UNAUTHORIZED;
            Ok(answer)
        }
        LoginVerdict::Unconfirmed => Err(ApiError::Forbidden(unconfirmed(&format!("the user {name}")))),
        LoginVerdict::TooSoon(time) => Err(wait(time)),
        LoginVerdict::Crowded => Err(ApiError::Crowded { retry_after_s: CROWDS_LAST_S }),
    }
}

/// Says how long whoever had too many wrong ones has to wait.
pub(super) fn wait(time: TimeDelta) -> ApiError {
    ApiError::TooMany { retry_after_s: in_seconds(time) }
}

/// The same of codes and passkeys, which other ways lead around.
pub(super) fn wait_for_codes(time: TimeDelta) -> ApiError {
    ApiError::TooManyCodes { retry_after_s: in_seconds(time) }
}

fn in_seconds(time: TimeDelta) -> u32 {
    u32::try_from(time.num_seconds().max(1)).unwrap_or(u32::MAX)
}

/// Ends the session.
pub async fn log_out(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    if let Some(session) = app_state.authenticator.session_of(&request) {
        ask(&app_state, move |app_state, now| {
            app_state.store.acting_as(caller.actor()).end_session(&keys::hash(&session), now)
        })
        .await?;
    }
    let mut answer = see_other("/login");
    let mut cookie = app_state.authenticator.session_cookie("");
    cookie.make_removal();
    answer.add_cookie(&cookie).map_err(ApiError::internal)?;
    Ok(answer)
}

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage<'a> {
    frame: Frame<'a>,
    /// The user who chooses a password; empty for the first admin, who also chooses a name.
    user: String,
    role: &'static str,
    name: String,
    problem: String,
    shortest: usize,
}

/// The page on which a link is used: a password is chosen.
pub async fn setup(
    app_state: Data<AppState>,
    caller: Caller,
    secret: actix_web::web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let invited = invited(&app_state, &caller, &secret).await?;
    show_setup(&app_state, &caller, invited.as_ref(), "", "")
}

fn show_setup(
    app_state: &AppState,
    caller: &Caller,
    invited: Option<&User>,
    name: &str,
    problem: &str,
) -> Result<HttpResponse, ApiError> {
    let mut answer = page(&SetupPage {
        frame: Frame::of(app_state, caller, "/setup"),
        user: invited.map(|user| user.name.clone()).unwrap_or_default(),
        role: invited.map_or(UserRole::Admin, |user| user.role).as_str(),
        name: name.to_owned(),
        problem: problem.to_owned(),
        shortest: new_password::SHORTEST,
    })?;
    // The address is a secret until it is used.
    answer.headers_mut().insert(header::REFERRER_POLICY, header::HeaderValue::from_static("no-referrer"));
    Ok(answer)
}

/// For whom the link is.
async fn invited(
    app_state: &Data<AppState>,
    caller: &Caller,
    secret: &str,
) -> Result<Option<User>, ApiError> {
    let hash = keys::hash(secret);
    if let Some(invited) = ask(app_state, move |app_state, now| app_state.store.invited(&hash, now)).await? {
        return Ok(invited);
    }
    refused(app_state, &caller.source, None, RefusalReason::Link).await;
    Err(ApiError::NotFound(
        "this link was used, or is too old; an admin can make another, or `innkeeper invite NAME` on the machine"
            .to_owned(),
    ))
}

/// Takes the password that was chosen, and logs in.
pub async fn set_up(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    secret: actix_web::web::Path<String>,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let invited = invited(&app_state, &caller, &secret).await?;
    let (name, chosen) = (form.text("name").to_owned(), form.raw("password").to_owned());
    let checked = match &invited {
        Some(_) => Ok(()),
        None => new_user_name("name", &name).map(drop),
    }
    .and_then(|()| {
        let user = invited.as_ref().map_or(&name, |user| &user.name);
        new_password::check_new("password", &chosen, &[user, &app_state.instance, "innkeeper"])
    })
    .and_then(|()| match form.raw("again") == chosen {
        true => Ok(()),
        false => Err(innkeeper_core::Invalid::new("password", "was not typed the same both times")),
    });
    if let Err(invalid) = checked {
        let problem = invalid.to_string();
        let mut answer = show_setup(&app_state, &caller, invited.as_ref(), &name, &problem)?;
        *answer.status_mut() = actix_web::http::StatusCode::BAD_REQUEST;
        return Ok(answer);
    }
    let mut turn = password::turn(Waiting::Known(invited.as_ref().map_or(&name, |user| &user.name)))
        .await
        .map_err(|_| ApiError::Crowded { retry_after_s: CROWDS_LAST_S })?;
    let hashed = actix_web::web::block(move || turn.hash(&chosen))
        .await
        .map_err(ApiError::internal)?
        .map_err(ApiError::internal)?;
    let (link, source, password) = (keys::hash(&secret), caller.source.clone(), hashed.clone());
    let who = format!("user {}", invited.as_ref().map_or(&name, |user| &user.name));
    let user = ask(&app_state, move |app_state, now| {
        app_state.store.acting_as(Actor { who, source }).accept_invitation(&link, &name, &hashed, now)
    })
    .await?
    .ok_or_else(|| {
        ApiError::Conflict(
            "this link was just used, or a user has this name, or one that looks the same".to_owned(),
        )
    })?;
    password_was_right(&app_state, &request, &caller, user, password, "/status").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for (next, goes) in [
            ("/status/7?q=a", "/status/7?q=a"),
            ("//evil.example", "/status"),
            ("/\\evil.example", "/status"),
            ("https://evil.example", "/status"),
            ("/a\r\nSet-Cookie: x", "/status"),
            ("", "/status"),
        ] {
            assert_eq!(local(next), goes, "{next}");
        }
    }
}
