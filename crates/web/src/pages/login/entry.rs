//! From a right password to a session: through the second factor, where the user has one, and to setting one up, where
//! they must have one.

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use innkeeper_core::browser;
use innkeeper_core::guesses::network_of;
use innkeeper_core::second_factor::{Factor, LoginMethod};
use innkeeper_http::keys::{self, device, totp};
use innkeeper_http::{ApiError, Caller, unconfirmed};
use innkeeper_store::{Actor, NewSession, StoreError, User};

use super::first::begin_again;
use crate::AppState;
use crate::pages::{ask, see_other};

/// The path with `next` in its query.
pub(in crate::pages) fn with_next(path: &str, next: &str) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
    format!("{path}?{query}")
}

/// The password of this user, with this hash, was right: asks for the second factor, where they have one, or lets them in.
pub(in crate::pages) async fn password_was_right(
    app_state: &Data<AppState>,
    request: &HttpRequest,
    caller: &Caller,
    user: User,
    password: String,
    next: &str,
) -> Result<HttpResponse, ApiError> {
    let id = user.id;
    if !ask(app_state, move |app_state, _| app_state.store.factors(id)).await?.any() {
        return begin(app_state, request, caller, user, By::Password(password), next).await;
    }
    let secret = keys::draw().map_err(ApiError::internal)?;
    let hash = keys::hash(secret.reveal());
    let actor = Actor { who: format!("user {}", user.name), source: caller.source.clone() };
    let network = network_of(&caller.source);
    let waits = ask(app_state, move |app_state, now| {
        app_state.store.acting_as(actor).add_pending_login(&user, &password, &hash, &network, now)
    });
    if !waits.await? {
        return begin_again(app_state, caller, next).await;
    }
    let mut answer = see_other(&with_next("/login/second", next));
    answer
        .add_cookie(&app_state.authenticator.pending_cookie(secret.reveal()))
        .map_err(ApiError::internal)?;
    Ok(answer)
}

/// By what somebody comes in.
pub(in crate::pages) enum By {
    /// The password alone, with this hash.
    Password(String),
    /// A factor beside it, for which this login (as its hash) waited.
    Second(Factor, String),
    /// A provider.
    OpenId,
}

/// Begins a session of this user, from a browser that is known from now on, and goes on to `next`.
pub(in crate::pages) async fn begin(
    app_state: &Data<AppState>,
    request: &HttpRequest,
    caller: &Caller,
    user: User,
    by: By,
    next: &str,
) -> Result<HttpResponse, ApiError> {
    if !user.confirmed {
        return Err(ApiError::Forbidden(unconfirmed(&format!("the user {}", user.name))));
    }
    let id = user.id;
    let (method, password, pending) = match by {
        By::Password(hash) => (LoginMethod::Password, Some(hash), None),
        By::Second(factor, login) => (LoginMethod::PasswordAnd(factor), None, Some(login)),
        By::OpenId => (LoginMethod::OpenId, None, None),
    };
    let draw = || keys::draw().map_err(ApiError::internal);
    let (secret, csrf) = (draw()?, draw()?);
    let must_set_up =
        method == LoginMethod::Password && app_state.authenticator.requires_second_factor(&user);
    let app = if must_set_up { Some(totp::draw().map_err(ApiError::internal)?) } else { None };
    let (hash, before) = (keys::hash(secret.reveal()), app_state.authenticator.session_of(request));
    let (source, browser, was_pending) = (caller.source.clone(), browser_of(request), pending.is_some());
    let device = ask(app_state, move |app_state, now| {
        let actor = Actor { who: format!("user {}", user.name), source: source.clone() };
        let store = app_state.store.acting_as(actor);
        let new = NewSession {
            hash: &hash,
            csrf: csrf.reveal(),
            method,
            source: &source,
            browser: &browser,
            password: password.as_deref(),
            pending: pending.as_deref(),
        };
        if !store.begin_session(&user, &new, now)? {
            return Ok(None);
        }
        // One browser has one session.
        if let Some(before) = before {
            store.end_session(&keys::hash(&before), now)?;
        }
        if let Some(app) = app {
            store.begin_app_setup(user.id, &hash, app.reveal(), now)?;
        }
        let password = store.user_named(&user.name)?.and_then(|(_, password)| password);
        let known = password
            .filter(|_| method.is_by_password())
            .map(|password| device::issue(user.id, &password, method != LoginMethod::Password, now));
        known.transpose().map_err(|error| StoreError::Unavailable(error.to_string())).map(Some)
    })
    .await?;
    let Some(device) = device else { return begin_again(app_state, caller, next).await };
    let mut answer = match must_set_up {
        true => see_other(&with_next("/account/second-factor", next)),
        false => see_other(next),
    };
    let mut cookies = vec![app_state.authenticator.session_cookie(secret.reveal())];
    cookies.extend(device.map(|device| app_state.authenticator.device_cookie(id, device)));
    if was_pending {
        cookies.push(app_state.authenticator.pending_cookie(""));
    }
    for cookie in &cookies {
        answer.add_cookie(cookie).map_err(ApiError::internal)?;
    }
    Ok(answer)
}

/// The browser that sent this, in words.
fn browser_of(request: &HttpRequest) -> String {
    let given = request.headers().get(header::USER_AGENT);
    browser::in_words(given.and_then(|value| value.to_str().ok()).unwrap_or_default())
}
