//! The second factor of the user's own account: setting up an authenticator app, removing it, recovery codes.

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use innkeeper_core::secret::Secret;
use innkeeper_http::keys::{device, recovery, totp};
use innkeeper_http::{ApiError, Caller};
use innkeeper_store::{AppAdded, Factors, StoreError, User};
use qrcode::QrCode;
use qrcode::render::svg;

use super::passkeys_shown::PasskeysShown;
use super::{own, own_session, proven_as_a_login_is, proven_twice, refuse};
use crate::AppState;
use crate::pages::form::Form;
use crate::pages::frame::Frame;
use crate::pages::login::{LoginQuery, local};
use crate::pages::{ask, change, page, see_other};

/// The width of the picture, in pixels at least.
const PICTURE: u32 = 220;

#[derive(Template)]
#[template(path = "second_factor.html")]
struct SetUpPage<'a> {
    frame: Frame<'a>,
    /// Whether they come in by a password at all.
    has_password: bool,
    /// None until the password was shown.
    app: Option<AppShown>,
    factors: Factors,
    /// Whether nothing else can be done before.
    must_set_up: bool,
    passkeys: PasskeysShown,
    next: String,
    problem: String,
}

/// A secret, as it is taken over into an app.
struct AppShown {
    picture: String,
    text: String,
    address: String,
}

#[derive(Template)]
#[template(path = "recovery_codes.html")]
struct CodesPage<'a> {
    frame: Frame<'a>,
    codes: Vec<String>,
    /// Whether the second factor was just set up.
    is_new: bool,
    next: String,
}

/// The page on which an app is set up.
pub async fn set_up_page(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    query: Query<LoginQuery>,
) -> Result<HttpResponse, ApiError> {
    show(&app_state, &caller, &request, &query.next, "").await
}

async fn show(
    app_state: &Data<AppState>,
    caller: &Caller,
    request: &HttpRequest,
    next: &str,
    problem: &str,
) -> Result<HttpResponse, ApiError> {
    let (user, session) = (own(caller)?, own_session(app_state, request));
    let id = user.id;
    let (secret, factors, now) = ask(app_state, move |app_state, now| {
        Ok((app_state.store.app_setup(id, &session, now)?, app_state.store.factors(id)?, now))
    })
    .await?;
    let shown = match secret {
        Some(secret) if !factors.app => Some(shown(&secret, &app_state.instance, &user.name)?),
        _ => None,
    };
    let mut answer = page(&SetUpPage {
        frame: Frame::of(app_state, caller, "/account/second-factor"),
        has_password: user.has_password,
        app: shown,
        factors,
        must_set_up: caller.lacks_second_factor,
        passkeys: PasskeysShown::of(app_state, Vec::new(), chrono_tz::UTC, now),
        next: local(next).to_owned(),
        problem: problem.to_owned(),
    })?;
    keep_nowhere(&mut answer);
    if !problem.is_empty() {
        *answer.status_mut() = StatusCode::BAD_REQUEST;
    }
    Ok(answer)
}

/// The page with what could not be done.
#[cfg(feature = "passkeys")]
pub(in crate::pages) async fn refuse_set_up(
    app_state: &Data<AppState>,
    caller: &Caller,
    request: &HttpRequest,
    next: &str,
    problem: &str,
) -> Result<HttpResponse, ApiError> {
    show(app_state, caller, request, next, problem).await
}

fn shown(secret: &str, instance: &str, user: &str) -> Result<AppShown, ApiError> {
    let address = totp::address(secret, instance, user);
    let code = QrCode::new(&address).map_err(ApiError::internal)?;
    let drawn = code.render::<svg::Color<'_>>().min_dimensions(PICTURE, PICTURE).build();
    let picture = format!("data:image/svg+xml;base64,{}", STANDARD.encode(drawn));
    let letters: Vec<char> = secret.chars().collect();
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    Ok(AppShown { picture, text: groups.join(" "), address })
}

/// What shows a secret is in no cache.
fn keep_nowhere(answer: &mut HttpResponse) {
    answer.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
}

/// Begins to set up an app, for whoever shows what a login asks for: draws a secret.
pub async fn begin(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let (user, next) = (own(&caller)?, form.text("next").to_owned());
    if let Err(problem) = proven_as_a_login_is(&app_state, &caller, &request, &form).await? {
        return show(&app_state, &caller, &request, &next, &problem).await;
    }
    let secret = totp::draw().map_err(ApiError::internal)?;
    let session = own_session(&app_state, &request);
    ask(&app_state, move |app_state, now| {
        app_state.store.begin_app_setup(user.id, &session, secret.reveal(), now)
    })
    .await?;
    Ok(see_other(&crate::pages::login::entry::with_next("/account/second-factor", local(&next))))
}

/// Takes a first code: the app counts from now on. Shows the recovery codes, this once.
pub async fn confirm(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let (user, next) = (own(&caller)?, form.text("next").to_owned());
    let (codes, session) = (recovery::draw().map_err(ApiError::internal)?, own_session(&app_state, &request));
    let (hashes, given, shared) = (hashes(&codes), form.text("code").to_owned(), app_state.clone());
    let done = change(&app_state, &caller, move |store, now| {
        let Some(secret) = store.app_setup(user.id, &session, now)? else {
            return Ok(Some(AppAdded::TooLate));
        };
        let Some(began) = totp::step_began(&secret, &given, shared.clock.uncorrected()) else {
            return Ok(None);
        };
        store.finish_app_setup(&user, &session, &secret, began, &hashes, now).map(Some)
    })
    .await?;
    match done {
        Some(AppAdded::First) => {
            knowing(&app_state, own(&caller)?, show_codes(&app_state, &caller, &codes, true, &next)?).await
        }
        Some(AppAdded::Another) => Ok(see_other("/account#second-factor")),
        None => {
            let problem =
                "The code is wrong. It changes every 30 seconds; the clock of the phone must be right.";
            show(&app_state, &caller, &request, &next, problem).await
        }
        Some(AppAdded::TooLate) => {
            let problem = "This took longer than a quarter of an hour, was done already, or was begun in another browser. \
                           Begin again.";
            show(&app_state, &caller, &request, &next, problem).await
        }
    }
}

/// The answer, with the cookie by which the browser is known from now on: a first factor was just shown there.
pub(in crate::pages) async fn knowing(
    app_state: &Data<AppState>,
    user: User,
    mut answer: HttpResponse,
) -> Result<HttpResponse, ApiError> {
    let id = user.id;
    let device = ask(app_state, move |app_state, now| {
        let password = app_state.store.user_named(&user.name)?.and_then(|(_, password)| password);
        let known = password.map(|password| device::issue(user.id, &password, true, now));
        known.transpose().map_err(|error| StoreError::Unavailable(error.to_string()))
    })
    .await?;
    if let Some(device) = device {
        answer.add_cookie(&app_state.authenticator.device_cookie(id, device)).map_err(ApiError::internal)?;
    }
    Ok(answer)
}

/// Removes the authenticator app, for whoever shows the password and a code.
pub async fn remove(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    if let Err(problem) = proven_twice(&app_state, &caller, &request, &form).await? {
        return refuse(&app_state, &caller, &request, problem).await;
    }
    let (user, session) = (own(&caller)?, own_session(&app_state, &request));
    change(&app_state, &caller, move |store, now| store.remove_app(&user, &session, now)).await?;
    Ok(see_other("/account#second-factor"))
}

/// Makes other recovery codes, for whoever shows the password and a code.
pub async fn renew_codes(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    if let Err(problem) = proven_twice(&app_state, &caller, &request, &form).await? {
        return refuse(&app_state, &caller, &request, problem).await;
    }
    let codes = recovery::draw().map_err(ApiError::internal)?;
    let (user, hashes) = (own(&caller)?, hashes(&codes));
    let renewed =
        change(&app_state, &caller, move |store, now| store.renew_recovery_codes(&user, &hashes, now))
            .await?;
    if !renewed {
        return refuse(&app_state, &caller, &request, "You have no second factor any more.").await;
    }
    show_codes(&app_state, &caller, &codes, false, "/account#second-factor")
}

pub(in crate::pages) fn hashes(codes: &[Secret]) -> Vec<String> {
    codes.iter().filter_map(|code| recovery::known_by(code.reveal())).collect()
}

pub(in crate::pages) fn show_codes(
    app_state: &AppState,
    caller: &Caller,
    codes: &[Secret],
    is_new: bool,
    next: &str,
) -> Result<HttpResponse, ApiError> {
    let mut answer = page(&CodesPage {
        frame: Frame::of(app_state, caller, "/account/second-factor"),
        codes: codes.iter().map(|code| code.reveal().to_owned()).collect(),
        is_new,
        next: local(next).to_owned(),
    })?;
    keep_nowhere(&mut answer);
    Ok(answer)
}
