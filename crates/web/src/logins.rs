//! A name and a password against a user: who has to wait, who is looked at, and what is written down of those who are
//! refused.
//!
//! Nothing is hashed for whoever has to wait, and one password is hashed at a time ([`password`]). A browser in which
//! the user has logged in before is a known device: for it only its own guesses count, and it goes first.

use std::collections::HashMap;

use actix_web::HttpRequest;
use actix_web::web::{self, Data};
use chrono::TimeDelta;
use innkeeper_core::Time;
use innkeeper_core::guesses::{GuessCount, network_of};
use innkeeper_core::names::one_line;
use innkeeper_core::password::LONGEST;
use innkeeper_http::ApiError;
use innkeeper_http::keys::password::{self, HashingTurn, Waiting};
use innkeeper_http::keys::{self, device};
use innkeeper_logging::Seldom;
use innkeeper_store::{StoreError, User};

use crate::AppState;
use crate::refused_logins::{RefusalReason, RefusedAccount};

/// What a name and a password turned out to be.
pub(crate) enum LoginVerdict {
    /// The user's; with the hash of it.
    Right { user: User, hash: String },
    /// Not the user's, or there is none of this name.
    Wrong,
    /// The user's, whom an admin has yet to confirm.
    Unconfirmed,
    /// There were too many wrong ones.
    TooSoon(TimeDelta),
    /// More want in than can be looked at.
    Crowded,
}

/// What a request says of who wants in.
struct Question {
    name: String,
    /// Whether somebody can have this name and password.
    may_be: bool,
    network: String,
    /// Known browsers, by their users.
    devices: HashMap<i64, String>,
}

/// Whom a name means, and by what their wrong passwords are counted.
struct Asked {
    user: Option<(User, Option<String>)>,
    is_known_device: bool,
    counts: Vec<GuessCount>,
}

/// Compares, unless there were too many wrong ones lately. A wrong name takes as long as a wrong password.
///
/// # Errors
/// The database's.
pub(crate) async fn check(
    app_state: &Data<AppState>,
    request: &HttpRequest,
    source: &str,
    name: &str,
    given: String,
) -> Result<LoginVerdict, ApiError> {
    let asked = Question {
        name: name.to_owned(),
        may_be: one_line("name", name, 100).is_ok() && given.len() <= LONGEST,
        network: network_of(source),
        devices: app_state.authenticator.devices_of(request),
    };
    let network = asked.network.clone();
    let (asked, wait) = on_thread(app_state, move |app_state, now| whom(app_state, asked, now)).await?;
    let user = asked.user.as_ref().map(|(user, _)| user.name.clone());
    let (verdict, why) = match look(app_state, &network, asked, wait, given).await? {
        LoginVerdict::Wrong => (LoginVerdict::Wrong, RefusalReason::Wrong),
        LoginVerdict::TooSoon(wait) => (LoginVerdict::TooSoon(wait), RefusalReason::TooSoon),
        LoginVerdict::Crowded => (LoginVerdict::Crowded, RefusalReason::Crowded),
        LoginVerdict::Unconfirmed => (LoginVerdict::Unconfirmed, RefusalReason::Unconfirmed),
        right @ LoginVerdict::Right { .. } => return Ok(right),
    };
    refused(app_state, source, user, why).await;
    Ok(verdict)
}

/// Says in both logs that somebody was refused: `user` where there is one of the name.
pub(crate) async fn refused(app_state: &AppState, source: &str, user: Option<String>, why: RefusalReason) {
    static REFUSED: Seldom = Seldom::new();
    REFUSED.warn(format_args!("a login is refused, from {source}: {}", why.as_str()));
    let whom = user.map_or(RefusedAccount::Unknown, RefusedAccount::User);
    app_state.refused_logins.note(&app_state.store, source, whom, why, app_state.clock.now()).await;
}

/// The known device of this user among those that a request shows: their number and its name.
pub(crate) fn known_device(
    devices: &HashMap<i64, String>,
    user: i64,
    hash: &str,
    now: Time,
) -> Option<String> {
    device::known(devices.get(&user)?, user, hash, now).map(|device| format!("{user} {}", device.name))
}

/// Whom it means, and how long it has to wait.
fn whom(
    app_state: &AppState,
    question: Question,
    now: Time,
) -> Result<(Asked, Option<TimeDelta>), StoreError> {
    let Question { name, may_be, network, devices } = question;
    let user = if may_be { app_state.store.user_named(&name)? } else { None };
    let hash = user.as_ref().and_then(|(user, hash)| Some((user.id, hash.as_ref()?)));
    let device = hash.and_then(|(id, hash)| known_device(&devices, id, hash, now));
    let counts = match &device {
        Some(device) => GuessCount::of_device(device),
        // Hashed: people type their password into the wrong field.
        None => GuessCount::of_stranger(&keys::hash(&name), &network),
    };
    let wait = app_state.store.wait_for(&counts, now)?;
    Ok((Asked { user, is_known_device: device.is_some(), counts }, wait))
}

async fn look(
    app_state: &Data<AppState>,
    network: &str,
    asked: Asked,
    wait: Option<TimeDelta>,
    given: String,
) -> Result<LoginVerdict, ApiError> {
    // Who has to wait takes no place in the line.
    if let Some(wait) = wait {
        return Ok(LoginVerdict::TooSoon(wait));
    }
    let user = asked.user.as_ref().map(|(user, _)| user.name.clone()).filter(|_| asked.is_known_device);
    let waiting = user.as_deref().map_or(Waiting::Stranger(network), Waiting::Known);
    let Ok(turn) = password::turn(waiting).await else { return Ok(LoginVerdict::Crowded) };
    on_thread(app_state, move |app_state, now| compare(app_state, asked, &given, turn, now)).await
}

/// Counts first, and takes it back where the password is right: of many at once each counts before any is looked at.
fn compare(
    app_state: &AppState,
    asked: Asked,
    given: &str,
    mut turn: HashingTurn,
    now: Time,
) -> Result<LoginVerdict, StoreError> {
    if let Some(wait) = app_state.store.count_guess(&asked.counts, now)? {
        return Ok(LoginVerdict::TooSoon(wait));
    }
    let hash = asked.user.as_ref().and_then(|(_, hash)| hash.as_deref());
    let is_right = turn.verify(given, hash).unwrap_or_else(|error| {
        log::error!("a password cannot be checked: {error}");
        false
    });
    drop(turn);
    let (Some((user, Some(hash))), true) = (asked.user, is_right) else { return Ok(LoginVerdict::Wrong) };
    // It may have been changed, and the user removed, while this one waited in line.
    let Some((user, Some(now_hash))) = app_state.store.user_named(&user.name)? else {
        return Ok(LoginVerdict::Wrong);
    };
    if now_hash != hash {
        return Ok(LoginVerdict::Wrong);
    }
    app_state.store.forget_guesses(&asked.counts)?;
    if !user.confirmed {
        return Ok(LoginVerdict::Unconfirmed);
    }
    Ok(LoginVerdict::Right { user, hash })
}

/// Runs what may block on a thread for it.
pub(crate) async fn on_thread<T: Send + 'static>(
    app_state: &Data<AppState>,
    question: impl FnOnce(&AppState, Time) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let shared = app_state.clone();
    let answer = web::block(move || question(&shared, shared.clock.now())).await;
    answer.map_err(ApiError::internal)?.map_err(ApiError::from).inspect_err(|error| app_state.failed(error))
}
