//! What browsers send of passkeys: they are added to the user's own account, changed and removed there, and shown at the
//! second step of a login.
//!
//! A ceremony has two requests. The first asks for a challenge: the page's script sends the form, and is answered in JSON.
//! The second is the form itself, with what the authenticator made of the challenge in `credential`.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};
use innkeeper_core::access::{Permission, account_name};
use innkeeper_http::keys::{self, recovery};
use innkeeper_http::{ApiError, Caller, Routes};
use innkeeper_store::{CeremonyKind, MOST_PASSKEYS, NewPasskey, PasskeyAdded, User};

use super::factor::{hashes, knowing, refuse_set_up, show_codes};
use super::{own, own_session, proven_as_a_login_is, refuse};
use crate::AppState;
use crate::pages::form::Form;
use crate::pages::login::entry::{By, begin};
use crate::pages::login::{first, second};
use crate::pages::login::{local, wait_for_codes};
use crate::pages::{ask, asset, change, see_other};
use crate::passkeys::Challenge;
use crate::second_factor::{self, FactorCheck};

/// What a form carries where there was no script to fill it.
const NEEDS_SCRIPT: &str = "Passkeys need JavaScript, which is off or was blocked.";
/// What a ceremony is answered that has ended.
const TOO_LATE: &str = "This took longer than five minutes, or was done already. Begin again.";

/// Registers the routes.
pub(in crate::pages) fn mount(routes: &mut Routes<'_>) {
    routes
        .form("/account/passkeys/begin", Permission::SetUp, begin_adding)
        .form("/account/passkeys/finish", Permission::SetUp, finish_adding)
        .form("/account/passkeys/ask", Permission::Account, begin_proving)
        .form("/account/passkeys/{id}/name", Permission::Account, rename)
        .form("/account/passkeys/{id}/remove", Permission::Account, remove)
        .form("/login/second/passkey/begin", Permission::Nothing, begin_login)
        .form("/login/second/passkey/finish", Permission::Nothing, finish_login)
        .get("/assets/passkeys.js", Permission::Nothing, script);
}

async fn script() -> HttpResponse {
    asset("text/javascript; charset=utf-8", include_str!("../../../assets/passkeys.js"))
}

/// The answer to the page's script, which reads no pages: an error is JSON, too.
fn to_script(answer: Result<HttpResponse, ApiError>) -> HttpResponse {
    answer.unwrap_or_else(|error| error.error_response())
}

/// Begins a ceremony of the session or login with this hash, and answers with its challenge.
async fn challenge(
    app_state: &Data<AppState>,
    holder: String,
    kind: CeremonyKind,
    user: &User,
    challenge: Challenge,
) -> Result<HttpResponse, ApiError> {
    let Challenge { options, state } = challenge;
    let id = user.id;
    ask(app_state, move |app_state, now| app_state.store.begin_ceremony(&holder, kind, id, &state, now))
        .await?;
    Ok(HttpResponse::Ok()
        .insert_header(("cache-control", "no-store"))
        .content_type("application/json")
        .body(options))
}

/// Begins to add a passkey, for whoever shows what a login asks for.
async fn begin_adding(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    form: Result<Form, ApiError>,
) -> HttpResponse {
    to_script(challenge_to_add(&app_state, &caller, &request, form).await)
}

async fn challenge_to_add(
    app_state: &Data<AppState>,
    caller: &Caller,
    request: &HttpRequest,
    form: Result<Form, ApiError>,
) -> Result<HttpResponse, ApiError> {
    let (form, party, user) = (form?, app_state.relying_party()?, own(caller)?);
    account_name("name", form.text("name"))?;
    if let Err(problem) = proven_as_a_login_is(app_state, caller, request, &form).await? {
        return Err(ApiError::Conflict(problem));
    }
    let id = user.id;
    let passkeys = ask(app_state, move |app_state, _| app_state.store.passkeys_of(id)).await?;
    let begun = party.begin_adding(&user, &passkeys).map_err(ApiError::Internal)?;
    challenge(app_state, session_of(app_state, request)?, CeremonyKind::Register, &user, begun).await
}

/// The session (as its hash) from which this was sent.
fn session_of(app_state: &AppState, request: &HttpRequest) -> Result<String, ApiError> {
    let session = own_session(app_state, request);
    match session.is_empty() {
        true => Err(ApiError::Forbidden("this is for whoever has logged in with a password".to_owned())),
        false => Ok(session),
    }
}

/// Adds the passkey that a browser made. With the first second factor come recovery codes, which are shown this once.
async fn finish_adding(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let (party, user, session) =
        (app_state.relying_party()?, own(&caller)?, session_of(&app_state, &request)?);
    let (next, answer) = (form.text("next").to_owned(), form.raw("credential"));
    let name = match account_name("name", form.text("name")) {
        Ok(name) => name,
        Err(invalid) => return cannot_add(&app_state, &caller, &request, &next, &invalid.to_string()).await,
    };
    if answer.is_empty() {
        return cannot_add(&app_state, &caller, &request, &next, NEEDS_SCRIPT).await;
    }
    let (holder, id) = (session.clone(), user.id);
    let state = ask(&app_state, move |app_state, now| {
        app_state.store.take_ceremony(&holder, CeremonyKind::Register, id, now)
    })
    .await?;
    let Some(state) = state else { return cannot_add(&app_state, &caller, &request, &next, TOO_LATE).await };
    let made = match party.finish_adding(&state, answer).map_err(ApiError::Internal)? {
        Ok(made) => made,
        Err(refusal) => {
            let (why, whom) = (refusal.to_string(), format!("user {}", user.name));
            change(&app_state, &caller, move |store, now| {
                store.note_action("refuse passkey", &whom, &why, now)
            })
            .await?;
            let problem = format!("The passkey is refused: {refusal}.");
            return cannot_add(&app_state, &caller, &request, &next, &problem).await;
        }
    };
    let codes = recovery::draw().map_err(ApiError::internal)?;
    let recovery_codes = hashes(&codes);
    let added = change(&app_state, &caller, move |store, now| {
        let new = NewPasskey {
            credential_id: &made.credential_id,
            credential: &made.credential,
            name: &name,
            session: &session,
            recovery_codes: &recovery_codes,
        };
        store.add_passkey(&user, new, now)
    })
    .await?;
    match added {
        PasskeyAdded::First => {
            knowing(&app_state, own(&caller)?, show_codes(&app_state, &caller, &codes, true, &next)?).await
        }
        PasskeyAdded::Another => Ok(see_other("/account#passkeys")),
        PasskeyAdded::Taken => {
            let problem = "This passkey belongs to a user already.";
            cannot_add(&app_state, &caller, &request, &next, problem).await
        }
        PasskeyAdded::TooMany => {
            let problem = format!("You have {MOST_PASSKEYS} passkeys, which are the most. Remove one first.");
            cannot_add(&app_state, &caller, &request, &next, &problem).await
        }
    }
}

/// The page from which it was tried, with what could not be done.
async fn cannot_add(
    app_state: &Data<AppState>,
    caller: &Caller,
    request: &HttpRequest,
    next: &str,
    problem: &str,
) -> Result<HttpResponse, ApiError> {
    match caller.lacks_second_factor {
        true => refuse_set_up(app_state, caller, request, next, problem).await,
        false => refuse(app_state, caller, request, problem).await,
    }
}

/// Begins to ask the user for one of their passkeys, in place of a code.
async fn begin_proving(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    form: Result<Form, ApiError>,
) -> HttpResponse {
    let answer = async {
        form?;
        challenge_to_show(&app_state, session_of(&app_state, &request)?, &own(&caller)?).await
    };
    to_script(answer.await)
}

async fn challenge_to_show(
    app_state: &Data<AppState>,
    holder: String,
    user: &User,
) -> Result<HttpResponse, ApiError> {
    let (party, id) = (app_state.relying_party()?, user.id);
    let passkeys = ask(app_state, move |app_state, _| app_state.store.passkeys_of(id)).await?;
    if passkeys.is_empty() {
        return Err(ApiError::Conflict("This account has no passkey.".to_owned()));
    }
    let begun = party.begin_asking(&passkeys).map_err(ApiError::Internal)?;
    challenge(app_state, holder, CeremonyKind::Authenticate, user, begun).await
}

/// Gives a passkey another name.
async fn rename(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    id: Path<i64>,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let (user, id) = (own(&caller)?, id.into_inner());
    let name = match account_name("name", form.text("name")) {
        Ok(name) => name,
        Err(invalid) => return refuse(&app_state, &caller, &request, invalid.to_string()).await,
    };
    let found =
        change(&app_state, &caller, move |store, now| store.rename_passkey(&user, id, &name, now)).await?;
    if found { Ok(see_other("/account#passkeys")) } else { Err(no_such_passkey()) }
}

/// Removes a passkey, for whoever shows the password and a second factor.
async fn remove(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    id: Path<i64>,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let (user, id) = (own(&caller)?, id.into_inner());
    if let Err(problem) = proven_as_a_login_is(&app_state, &caller, &request, &form).await? {
        return refuse(&app_state, &caller, &request, problem).await;
    }
    let session = own_session(&app_state, &request);
    let found =
        change(&app_state, &caller, move |store, now| store.remove_passkey(&user, id, &session, now)).await?;
    if found { Ok(see_other("/account#passkeys")) } else { Err(no_such_passkey()) }
}

fn no_such_passkey() -> ApiError {
    ApiError::NotFound("you have no such passkey".to_owned())
}

/// Begins to ask whoever has shown the password for a passkey.
async fn begin_login(
    app_state: Data<AppState>,
    request: HttpRequest,
    form: Result<Form, ApiError>,
) -> HttpResponse {
    let answer = async {
        form?;
        let login = pending_of(&app_state, &request);
        let hash = login.clone();
        match ask(&app_state, move |app_state, now| app_state.store.pending_login(&hash, now)).await? {
            Some(user) => challenge_to_show(&app_state, login, &user).await,
            None => Err(ApiError::Conflict(first::TOO_LATE.to_owned())),
        }
    };
    to_script(answer.await)
}

/// The login (as its hash) that waits for the second factor; of nobody's where none does.
fn pending_of(app_state: &AppState, request: &HttpRequest) -> String {
    app_state.authenticator.pending_of(request).map(|login| keys::hash(&login)).unwrap_or_default()
}

/// A passkey against a session.
async fn finish_login(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let next = local(form.text("next")).to_owned();
    let login = pending_of(&app_state, &request);
    let hash = login.clone();
    if form.raw("credential").is_empty() {
        // Nothing was shown, so nothing is counted.
        return match ask(&app_state, move |app_state, now| app_state.store.pending_login(&hash, now)).await? {
            Some(user) => second::refuse(&app_state, &caller, &user, &next, NEEDS_SCRIPT.to_owned()).await,
            None => first::begin_again(&app_state, &caller, &next).await,
        };
    }
    let Some(user) =
        ask(&app_state, move |app_state, now| app_state.store.try_pending_login(&hash, now)).await?
    else {
        return first::begin_again(&app_state, &caller, &next).await;
    };
    let credential = form.raw("credential").to_owned();
    let shown =
        second_factor::check_passkey(&app_state, &request, &caller.source, &user, login.clone(), credential)
            .await?;
    match shown {
        FactorCheck::Right(factor) => {
            begin(&app_state, &request, &caller, user, By::Second(factor, login), &next).await
        }
        FactorCheck::Wrong(problem) => second::refuse(&app_state, &caller, &user, &next, problem).await,
        FactorCheck::TooSoon(time) => Err(wait_for_codes(time)),
    }
}
