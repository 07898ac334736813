//! A code, or what else is shown, against a user's second factor. As with passwords, each is counted before it is looked at, and a known device
//! waits for its own wrong codes alone.

use std::collections::HashMap;

use actix_web::HttpRequest;
use actix_web::web::Data;
use chrono::TimeDelta;
use innkeeper_core::Time;
use innkeeper_core::guesses::{GuessCount, network_of};
use innkeeper_core::second_factor::Factor;
use innkeeper_http::ApiError;
use innkeeper_http::keys::{device, recovery, totp};
#[cfg(feature = "passkeys")]
use innkeeper_store::CeremonyKind;
use innkeeper_store::{ActingStore, Actor, StoreError, User};

use crate::AppState;
use crate::logins::{on_thread, refused};
#[cfg(feature = "passkeys")]
use crate::passkeys::PasskeyRefusal;
use crate::refused_logins::RefusalReason;

/// What a code turned out to be.
pub(crate) enum FactorCheck {
    /// The user's, and it is used now.
    Right(Factor),
    /// Not the user's, or it was used before: what to tell them.
    Wrong(String),
    /// There were too many wrong ones.
    TooSoon(TimeDelta),
}

/// Looks at a code of an app, or a recovery code, and uses it up.
///
/// # Errors
/// The database's.
pub(crate) async fn check(
    app_state: &Data<AppState>,
    request: &HttpRequest,
    source: &str,
    user: &User,
    given: &str,
) -> Result<FactorCheck, ApiError> {
    let (asked, given) = (user.clone(), given.to_owned());
    let look = move |app_state: &AppState, store: &ActingStore, now| {
        let wrong = || "The code is wrong, or was used before. Wait for the next one.".to_owned();
        Ok(used(app_state, store, &asked, &given, now)?.ok_or_else(wrong))
    };
    counted(app_state, request, source, user, RefusalReason::WrongCode, look).await
}

/// Looks at what a passkey signed in a ceremony of this session or login (as its hash), and keeps that it was used.
///
/// # Errors
/// The database's, and that there are no passkeys here.
#[cfg(feature = "passkeys")]
pub(crate) async fn check_passkey(
    app_state: &Data<AppState>,
    request: &HttpRequest,
    source: &str,
    user: &User,
    holder: String,
    credential: String,
) -> Result<FactorCheck, ApiError> {
    // Whoever has an address without passkeys is told so, and nothing is counted.
    app_state.relying_party()?;
    let asked = user.clone();
    let look = move |app_state: &AppState, store: &ActingStore, now| {
        let signed = signed(app_state, store, &asked, &holder, &credential, now)?;
        if let Err(why) = &signed {
            store.note_action("refuse passkey", &format!("user {}", asked.name), why, now)?;
        }
        Ok(signed.map(|()| Factor::Passkey).map_err(|why| {
            format!("The passkey is refused: {why}. Try it again, or give a code or a recovery code instead.")
        }))
    };
    counted(app_state, request, source, user, RefusalReason::WrongPasskey, look).await
}

/// Whether a passkey of this user has signed, or why that is not believed.
#[cfg(feature = "passkeys")]
fn signed(
    app_state: &AppState,
    store: &innkeeper_store::Store,
    user: &User,
    holder: &str,
    credential: &str,
    now: Time,
) -> Result<Result<(), String>, StoreError> {
    let Ok(party) = app_state.relying_party() else {
        return Ok(Err("there are no passkeys here".to_owned()));
    };
    let Some(state) = store.take_ceremony(holder, CeremonyKind::Authenticate, user.id, now)? else {
        return Ok(Err("there was no such request, or it was answered before, or too late".to_owned()));
    };
    let passkeys = store.passkeys_of(user.id)?;
    let corrupt = |problem: String| StoreError::Corrupt { table: "passkeys", id: user.id, problem };
    match party.finish_asking(&state, credential, &passkeys).map_err(|fault| corrupt(fault.to_string()))? {
        Err(refusal) => Ok(Err(refusal.to_string())),
        Ok(signed) => {
            match store.use_passkey(user.id, signed.passkey, &signed.credential, signed.sign_count, now)? {
                true => Ok(Ok(())),
                false => Ok(Err(PasskeyRefusal::Copied(signed.passkey.name.clone()).to_string())),
            }
        }
    }
}

/// Counts what is shown as a wrong one, has `look` say which factor it is of or what is wrong, and takes the count back where
/// nothing is.
///
/// # Errors
/// The database's.
pub(crate) async fn counted(
    app_state: &Data<AppState>,
    request: &HttpRequest,
    source: &str,
    user: &User,
    wrong: RefusalReason,
    look: impl FnOnce(&AppState, &ActingStore, Time) -> Result<Result<Factor, String>, StoreError>
    + Send
    + 'static,
) -> Result<FactorCheck, ApiError> {
    let (devices, from, asked) =
        (app_state.authenticator.devices_of(request), source.to_owned(), user.clone());
    let shown = on_thread(app_state, move |app_state, now| {
        let hash = app_state.store.user_named(&asked.name)?.and_then(|(_, hash)| hash);
        // Whoever had the password before there was a factor may have had many browsers known.
        let device = hash.and_then(|hash| factor_device(&devices, asked.id, &hash, now));
        let counts = match device {
            Some(device) => GuessCount::of_devices_codes(&device),
            None => GuessCount::of_strangers_codes(asked.id, &network_of(&from)),
        };
        if let Some(wait) = app_state.store.count_guess(&counts, now)? {
            return Ok(FactorCheck::TooSoon(wait));
        }
        let actor = Actor::user(&asked.name, &from);
        let factor = match look(app_state, &app_state.store.acting_as(actor), now)? {
            Ok(factor) => factor,
            Err(problem) => return Ok(FactorCheck::Wrong(problem)),
        };
        app_state.store.forget_guesses(&counts)?;
        Ok(FactorCheck::Right(factor))
    })
    .await?;
    match shown {
        FactorCheck::Right(_) => {}
        FactorCheck::Wrong(_) => refused(app_state, source, Some(user.name.clone()), wrong).await,
        FactorCheck::TooSoon(_) => {
            refused(app_state, source, Some(user.name.clone()), RefusalReason::TooSoon).await
        }
    }
    Ok(shown)
}

/// The known device of this user among those that a request shows, where a second factor was shown there: their number
/// and its name.
fn factor_device(devices: &HashMap<i64, String>, user: i64, hash: &str, now: Time) -> Option<String> {
    let device = device::known(devices.get(&user)?, user, hash, now)?;
    device.has_shown_factor.then(|| format!("{user} {}", device.name))
}

/// Which factor it is of, if it is one and is used for the first time.
fn used(
    app_state: &AppState,
    store: &ActingStore,
    user: &User,
    given: &str,
    now: Time,
) -> Result<Option<Factor>, StoreError> {
    if totp::digits(given).is_some() {
        let Some(secret) = store.app_secret(user.id)? else { return Ok(None) };
        let Some(began) = totp::step_began(&secret, given, app_state.clock.uncorrected()) else {
            return Ok(None);
        };
        return Ok(store.take_step(user.id, &secret, began)?.then_some(Factor::Code));
    }
    let Some(code) = recovery::known_by(given) else { return Ok(None) };
    Ok(store.use_recovery_code(user, &code, now)?.then_some(Factor::RecoveryCode))
}
