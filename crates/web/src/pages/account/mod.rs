//! My account: the password, the sessions, colours and zone. The second factor has a file of its own.

pub(super) mod factor;
#[cfg(feature = "passkeys")]
pub(super) mod passkeys;
mod passkeys_shown;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use chrono_tz::{TZ_VARIANTS, Tz};
use innkeeper_core::password as new_password;
use innkeeper_core::schedule::zone;
use innkeeper_http::keys::password::{self, Waiting};
use innkeeper_http::keys::{self, device};
use innkeeper_http::{ApiError, Caller, Theme};
use innkeeper_store::{Factors, KnownSession, StoreError, User};

use self::passkeys_shown::PasskeysShown;
use super::form::Form;
use super::frame::Frame;
use super::login::{CROWDS_LAST_S, wait, wait_for_codes};
use super::view::When;
use super::{ask, change, page, see_other};
use crate::AppState;
use crate::logins::{self, LoginVerdict};
use crate::second_factor::{self, FactorCheck};

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    frame: Frame<'a>,
    /// None where nobody logs in, or a token looks.
    account: Option<Account>,
    zones: &'static [Tz],
    said: PageNotice,
}

struct Account {
    role: &'static str,
    has_password: bool,
    shortest: usize,
    sessions: Vec<SessionRow>,
    factors: Factors,
    passkeys: PasskeysShown,
    must_have_factor: bool,
}

struct SessionRow {
    hash: String,
    is_this: bool,
    begun: When,
    used: When,
    source: String,
    browser: String,
    method: &'static str,
}

/// What was just done, or could not be.
#[derive(Default)]
pub(super) struct PageNotice {
    pub text: String,
    pub is_problem: bool,
}

/// The page.
pub async fn account(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    show(&app_state, &caller, &request, PageNotice::default()).await
}

pub(super) async fn show(
    app_state: &Data<AppState>,
    caller: &Caller,
    request: &HttpRequest,
    said: PageNotice,
) -> Result<HttpResponse, ApiError> {
    let account = match caller.user() {
        Some(user) => Some(account_of(app_state, caller, request, user).await?),
        None => {
            // What stands around it.
            ask(app_state, |_, _| Ok(())).await?;
            None
        }
    };
    page(&AccountPage { frame: Frame::of(app_state, caller, "/account"), account, zones: &TZ_VARIANTS, said })
}

async fn account_of(
    app_state: &Data<AppState>,
    caller: &Caller,
    request: &HttpRequest,
    user: &User,
) -> Result<Account, ApiError> {
    let (id, idle) = (user.id, app_state.live.get().web.session);
    let (sessions, factors, passkeys, now) = ask(app_state, move |app_state, now| {
        let store = &app_state.store;
        Ok((store.sessions_of(id, idle, now)?, store.factors(id)?, store.passkeys_of(id)?, now))
    })
    .await?;
    let (own, zone) = (own_session(app_state, request), caller.zone_or(chrono_tz::UTC));
    let row = |session: KnownSession| SessionRow {
        is_this: session.hash == own,
        begun: When::new(session.created_at, zone, now),
        used: When::new(session.seen_at, zone, now),
        source: session.source,
        browser: session.browser,
        method: session.method.words(),
        hash: session.hash,
    };
    Ok(Account {
        role: user.role.as_str(),
        has_password: user.has_password,
        shortest: new_password::SHORTEST,
        sessions: sessions.into_iter().map(row).collect(),
        factors,
        passkeys: PasskeysShown::of(app_state, passkeys, zone, now),
        must_have_factor: app_state.authenticator.requires_second_factor(user),
    })
}

/// What the session is known by from which this was sent; nothing where there is none.
pub(super) fn own_session(app_state: &AppState, request: &HttpRequest) -> String {
    app_state.authenticator.session_of(request).map(|secret| keys::hash(&secret)).unwrap_or_default()
}

/// The user whose account it is; the authenticator lets nobody else through.
pub(super) fn own(caller: &Caller) -> Result<User, ApiError> {
    caller.user().cloned().ok_or_else(|| ApiError::Forbidden("no user is logged in here".to_owned()))
}

/// The page with what could not be done.
pub(super) async fn refuse(
    app_state: &Data<AppState>,
    caller: &Caller,
    request: &HttpRequest,
    problem: impl Into<String>,
) -> Result<HttpResponse, ApiError> {
    let said = PageNotice { text: problem.into(), is_problem: true };
    let mut answer = show(app_state, caller, request, said).await?;
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    Ok(answer)
}

/// The hash of the user's password, where this is it; else what is wrong. Wrong ones are counted as
/// those of a login.
pub(super) async fn proven(
    app_state: &Data<AppState>,
    caller: &Caller,
    request: &HttpRequest,
    given: String,
) -> Result<Result<String, String>, ApiError> {
    let user = own(caller)?;
    if !user.has_password {
        return Ok(Err("You have no password here.".to_owned()));
    }
    match logins::check(app_state, request, &caller.source, &user.name, given).await? {
        LoginVerdict::Right { hash, .. } => Ok(Ok(hash)),
        LoginVerdict::Wrong | LoginVerdict::Unconfirmed => Ok(Err("The password is wrong.".to_owned())),
        LoginVerdict::TooSoon(time) => Err(wait(time)),
        LoginVerdict::Crowded => Err(ApiError::Crowded { retry_after_s: CROWDS_LAST_S }),
    }
}

/// The same, and a code of the second factor in `code`, or what a passkey signed in `credential`. It is looked at where the
/// password is right.
pub(super) async fn proven_twice(
    app_state: &Data<AppState>,
    caller: &Caller,
    request: &HttpRequest,
    form: &Form,
) -> Result<Result<(), String>, ApiError> {
    if let Err(problem) = proven(app_state, caller, request, form.raw("password").to_owned()).await? {
        return Ok(Err(problem));
    }
    match shown(app_state, caller, request, form).await? {
        FactorCheck::Right(_) => Ok(Ok(())),
        FactorCheck::Wrong(problem) => Ok(Err(problem)),
        FactorCheck::TooSoon(time) => Err(wait_for_codes(time)),
    }
}

/// What a login asks for: the password, and a second factor where the user has one. Else a password alone would add a
/// factor, and by that remove the others.
pub(super) async fn proven_as_a_login_is(
    app_state: &Data<AppState>,
    caller: &Caller,
    request: &HttpRequest,
    form: &Form,
) -> Result<Result<(), String>, ApiError> {
    let id = own(caller)?.id;
    match ask(app_state, move |app_state, _| app_state.store.factors(id)).await?.any() {
        true => proven_twice(app_state, caller, request, form).await,
        false => Ok(proven(app_state, caller, request, form.raw("password").to_owned()).await?.map(drop)),
    }
}

async fn shown(
    app_state: &Data<AppState>,
    caller: &Caller,
    request: &HttpRequest,
    form: &Form,
) -> Result<FactorCheck, ApiError> {
    let user = own(caller)?;
    #[cfg(feature = "passkeys")]
    if !form.raw("credential").is_empty() {
        let (session, credential) = (own_session(app_state, request), form.raw("credential").to_owned());
        return second_factor::check_passkey(app_state, request, &caller.source, &user, session, credential)
            .await;
    }
    second_factor::check(app_state, request, &caller.source, &user, form.text("code")).await
}

/// Takes another password. The other sessions end, and browsers that were known are strangers, but this one.
pub async fn change_password(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let (user, chosen) = (own(&caller)?, form.raw("new").to_owned());
    let checked =
        new_password::check_new("password", &chosen, &[&user.name, &app_state.instance, "innkeeper"])
            .and_then(|()| match form.raw("again") == chosen {
                true => Ok(()),
                false => Err(innkeeper_core::Invalid::new("password", "was not typed the same both times")),
            });
    if let Err(invalid) = checked {
        return refuse(&app_state, &caller, &request, invalid.to_string()).await;
    }
    let old = match proven(&app_state, &caller, &request, form.raw("password").to_owned()).await? {
        Ok(old) => old,
        Err(problem) => return refuse(&app_state, &caller, &request, problem).await,
    };
    let mut turn = password::turn(Waiting::Known(&user.name))
        .await
        .map_err(|_| ApiError::Crowded { retry_after_s: CROWDS_LAST_S })?;
    let new = actix_web::web::block(move || turn.hash(&chosen))
        .await
        .map_err(ApiError::internal)?
        .map_err(ApiError::internal)?;
    let (id, session) = (user.id, own_session(&app_state, &request));
    let device = change(&app_state, &caller, move |store, now| {
        if !store.change_password(&user, &old, &new, &session, now)? {
            return Ok(None);
        }
        let has_shown_factor = store.factors(user.id)?.any();
        let device = device::issue(user.id, &new, has_shown_factor, now);
        device.map(Some).map_err(|error| StoreError::Unavailable(error.to_string()))
    })
    .await?
    .ok_or_else(|| ApiError::Conflict("your password was just changed by somebody else".to_owned()))?;
    let text = "The password is changed. Your other sessions have ended.".to_owned();
    let mut answer = show(&app_state, &caller, &request, PageNotice { text, is_problem: false }).await?;
    answer.add_cookie(&app_state.authenticator.device_cookie(id, device)).map_err(ApiError::internal)?;
    Ok(answer)
}

/// Ends one of the user's sessions.
pub async fn end_session(
    app_state: Data<AppState>,
    caller: Caller,
    session: Path<String>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    let (user, session) = (own(&caller)?, session.into_inner());
    let ended =
        change(&app_state, &caller, move |store, now| store.end_own_session(&user, &session, now)).await?;
    match ended {
        true => Ok(see_other("/account#sessions")),
        false => Err(ApiError::NotFound("you have no such session, or it has ended".to_owned())),
    }
}

/// Ends all of them but the one that this comes from.
pub async fn end_other_sessions(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    let (user, session) = (own(&caller)?, own_session(&app_state, &request));
    change(&app_state, &caller, move |store, now| store.end_sessions(user.id, Some(&session), now)).await?;
    Ok(see_other("/account#sessions"))
}

/// Keeps the colours and the zone that somebody chose.
pub async fn choose_display(app_state: Data<AppState>, form: Form) -> Result<HttpResponse, ApiError> {
    let theme = Theme::parse("theme", form.text("theme"))?;
    let zone = match form.text("zone") {
        "" => None,
        name => Some(zone::parse("zone", name)?),
    };
    let mut answer = see_other("/account#display");
    for cookie in [app_state.authenticator.theme_cookie(theme), app_state.authenticator.zone_cookie(zone)] {
        answer.add_cookie(&cookie).map_err(ApiError::internal)?;
    }
    Ok(answer)
}
