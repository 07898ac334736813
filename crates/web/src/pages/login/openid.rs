//! Logging in at an OpenID provider: there, and back.

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use innkeeper_core::Time;
use innkeeper_core::guesses::network_of;
use innkeeper_http::keys;
use innkeeper_http::{ApiError, Caller, unconfirmed};
use innkeeper_logging::Seldom;
use innkeeper_store::{Arrived, Newcomer};
use serde::Deserialize;
use url::Url;

use super::entry::{By, begin as begin_session, with_next};
use super::{local, show};
use crate::AppState;
use crate::openid::{Beginning, OpenId, OpenIdTrouble, Person, Provider, Returned, is_secret};
use crate::pages::{ask, see_other};
use crate::refused_logins::{RefusalReason, RefusedAccount};

/// A path that is longer leads to the first page.
const LONGEST_NEXT: usize = 2000;
/// Where a login begins.
pub const BEGINNING: &str = "/login/openid";

#[derive(Deserialize)]
pub struct Beginner {
    #[serde(default)]
    next: String,
    /// Says that the browser was sent here from another address already.
    #[serde(default)]
    moved: String,
}

/// Sends a browser to the provider.
pub async fn begin(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    query: Query<Beginner>,
) -> Result<HttpResponse, ApiError> {
    there_is_one(&app_state)?;
    let next = if query.next.len() > LONGEST_NEXT { local("") } else { local(&query.next) }.to_owned();
    if caller.user().is_some() {
        return Ok(see_other(&next));
    }
    // The provider sends people back to the public address, where alone they have a cookie of it then. Once: behind a
    // proxy that gives another name, it looks as if nobody ever came by the right one.
    if query.moved.is_empty() && !is_at(&app_state.public_url, request.connection_info().host()) {
        let path = with_next(BEGINNING, &next);
        return Ok(see_other(&format!("{}{path}&moved=1", app_state.public_url)));
    }
    let browser = match app_state.authenticator.openid_of(&request).filter(|secret| is_secret(secret)) {
        Some(secret) => secret,
        None => keys::draw().map_err(ApiError::internal)?.reveal().to_owned(),
    };
    let state = keys::draw().map_err(ApiError::internal)?;
    let login = Beginning::of(&browser, state.reveal())
        .ok_or_else(|| ApiError::internal("a secret that was generated is invalid"))?;
    let begun = login.clone();
    let to = match asked(&app_state, &caller, move |provider, _| provider.begin(&begun)).await? {
        Ok(to) => to,
        Err(trouble) => return refuse(&app_state, &caller, RefusedAccount::Somebody, &next, trouble).await,
    };
    let (network, hash) = (network_of(&caller.source), login.hash());
    ask(&app_state, move |app_state, now| app_state.store.begin_openid_login(&hash, &network, &next, now))
        .await?;
    let mut answer = see_other(&to);
    answer.add_cookie(&app_state.authenticator.openid_cookie(&browser)).map_err(ApiError::internal)?;
    Ok(answer)
}

/// Whether the `host` that a request names is the one of this address. One that cannot be told is.
fn is_at(public_url: &str, host: &str) -> bool {
    let Ok(public) = Url::parse(public_url) else { return true };
    let named = Url::parse(&format!("{}://{host}", public.scheme()));
    let place = |url: &Url| {
        let name = url.host_str().map(|name| name.trim_end_matches('.').to_owned());
        (name, url.port_or_known_default())
    };
    named.map_or(true, |named| place(&named) == place(&public))
}

/// What a provider sends back, by the browser.
#[derive(Deserialize)]
pub struct Callback {
    #[serde(default)]
    state: String,
    #[serde(default)]
    code: String,
    iss: Option<String>,
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

/// Takes a browser back, and lets its user in.
pub async fn end(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    query: Query<Callback>,
) -> Result<HttpResponse, ApiError> {
    there_is_one(&app_state)?;
    let Callback { state, code, iss, error, error_description } = query.into_inner();
    let login =
        app_state.authenticator.openid_of(&request).and_then(|browser| Beginning::of(&browser, &state));
    let next = match &login {
        None => None,
        Some(login) => {
            let hash = login.hash();
            ask(&app_state, move |app_state, now| app_state.store.end_openid_login(&hash, now)).await?
        }
    };
    let (Some(login), Some(next)) = (login, next) else {
        // Another tab, or the way back, of somebody who is in by now.
        if caller.user().is_some() {
            return Ok(see_other(local("")));
        }
        return not_begun(&app_state, &caller).await;
    };
    let returned = Returned { code, issuer: iss, error, error_description };
    let person = match asked(&app_state, &caller, move |provider, now| provider.end(&login, &returned, now))
        .await?
    {
        Ok(person) => person,
        Err(trouble) => return refuse(&app_state, &caller, RefusedAccount::Somebody, &next, trouble).await,
    };
    arrive(&app_state, &caller, &request, person, &next).await
}

/// Somebody of whom it is known who they are: whether they may come in.
async fn arrive(
    app_state: &Data<AppState>,
    caller: &Caller,
    request: &HttpRequest,
    person: Person,
    next: &str,
) -> Result<HttpResponse, ApiError> {
    let openid = there_is_one(app_state)?;
    let (role_follows, trust_names) = (openid.provider.role_follows(), openid.provider.trusts_names());
    let whom = person.name.clone().map_or(RefusedAccount::Somebody, RefusedAccount::User);
    let (source, role, stated) = (caller.source.clone(), person.role, person.name.clone());
    let unsaid = person.unsaid.clone().map(|why| format!("You cannot log in: {why}."));
    // Nobody loses a role by it either.
    if let (Some(problem), None) = (&unsaid, role) {
        return refused(
            app_state,
            caller,
            whom,
            RefusalReason::RoleUnsaid,
            next,
            problem,
            StatusCode::FORBIDDEN,
        )
        .await;
    }
    let arrived = ask(app_state, move |app_state, now| {
        let newcomer = Newcomer {
            issuer: &person.issuer,
            subject: &person.subject,
            name: person.name.as_deref().ok(),
            role,
            role_unsaid: person.unsaid.is_some(),
            role_follows,
            trust_names,
            source: &source,
        };
        app_state.store.arrive(&newcomer, now)
    })
    .await?;
    let (why, problem) = match arrived {
        Arrived::In(user) => {
            // The cookie stays for other tabs, and holds ten minutes.
            return begin_session(app_state, request, caller, user, By::OpenId, next).await;
        }
        Arrived::Unconfirmed(user) => {
            (RefusalReason::Unconfirmed, unconfirmed(&format!("The user {}", user.name)))
        }
        Arrived::NoRole => (
            RefusalReason::NoRole,
            format!("You are known, but may not log in: {}.", openid.provider.needed()),
        ),
        Arrived::RoleUnsaid => (RefusalReason::RoleUnsaid, unsaid.unwrap_or_default()),
        Arrived::Nameless => (
            RefusalReason::NoName,
            format!("No user can be created for you: {}.", stated.unwrap_or_else(|problem| problem)),
        ),
        Arrived::NameTaken => (
            RefusalReason::NoName,
            format!(
                "There is a user {} here already, who may be somebody else. If that is you, an admin can remove that user under \
                 Settings, so that this login creates a new one, or set web.openid.trust_names.",
                stated.unwrap_or_default()
            ),
        ),
        Arrived::AnotherSubject => (
            RefusalReason::NoName,
            format!(
                "There is a user {} here already, whom the provider knows by another subject (sub): it has created your account anew, or \
                 that is somebody else. If it is you, an admin can remove that user under Settings, so that this login creates a new one.",
                stated.unwrap_or_default()
            ),
        ),
    };
    refused(app_state, caller, whom, why, next, &problem, StatusCode::FORBIDDEN).await
}

/// The login at a provider.
fn there_is_one(app_state: &AppState) -> Result<&OpenId, ApiError> {
    app_state.openid.as_ref().ok_or_else(|| {
        ApiError::NotFound(
            "nobody logs in at a provider here: there is no [web.openid] in the configuration".to_owned(),
        )
    })
}

/// Asks the provider on a thread that may block, as soon as there is a seat.
async fn asked<T: Send + 'static>(
    app_state: &Data<AppState>,
    caller: &Caller,
    question: impl FnOnce(&Provider, Time) -> Result<T, OpenIdTrouble> + Send + 'static,
) -> Result<Result<T, OpenIdTrouble>, ApiError> {
    let away = || {
        OpenIdTrouble::Away(
            "it answers slowly, and others wait for it already; try again in some seconds".to_owned(),
        )
    };
    let Some(seat) = there_is_one(app_state)?.seats.take(&network_of(&caller.source)).await else {
        return Ok(Err(away()));
    };
    let shared = app_state.clone();
    web::block(move || {
        let _seat = seat;
        let openid = there_is_one(&shared)?;
        Ok(question(&openid.provider, shared.clock.uncorrected()))
    })
    .await
    .map_err(ApiError::internal)?
}

async fn not_begun(app_state: &Data<AppState>, caller: &Caller) -> Result<HttpResponse, ApiError> {
    let problem = "This login was not begun in this browser, or was used already, or took more than ten minutes. Begin again from here.";
    refused(
        app_state,
        caller,
        RefusedAccount::Somebody,
        RefusalReason::NotBegun,
        "",
        problem,
        StatusCode::BAD_REQUEST,
    )
    .await
}

async fn refuse(
    app_state: &Data<AppState>,
    caller: &Caller,
    whom: RefusedAccount,
    next: &str,
    trouble: OpenIdTrouble,
) -> Result<HttpResponse, ApiError> {
    let status = match &trouble {
        OpenIdTrouble::Away(_) => StatusCode::SERVICE_UNAVAILABLE,
        OpenIdTrouble::Refused(_) => StatusCode::FORBIDDEN,
        OpenIdTrouble::Unaccepted(_) | OpenIdTrouble::Untrusted(_) => StatusCode::BAD_GATEWAY,
    };
    refused(app_state, caller, whom, trouble.why(), next, &trouble.problem(), status).await
}

/// Writes down that nobody came in, and shows the login with the reason.
async fn refused(
    app_state: &Data<AppState>,
    caller: &Caller,
    whom: RefusedAccount,
    why: RefusalReason,
    next: &str,
    problem: &str,
    status: StatusCode,
) -> Result<HttpResponse, ApiError> {
    static REFUSED: Seldom = Seldom::new();
    REFUSED.warn(format_args!("a login is refused, from {}: {}: {problem}", caller.source, why.as_str()));
    app_state.refused_logins.note(&app_state.store, &caller.source, whom, why, app_state.clock.now()).await;
    let mut answer = show(app_state, caller, "", next, problem).await?;
    *answer.status_mut() = status;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_known_by_its_name_and_port() {
        for (public, host, is) in [
            ("https://inn.example", "inn.example", true),
            ("https://inn.example", "INN.example.:443", true),
            ("https://inn.example/monitor", "inn.example", true),
            ("http://inn.example:8080", "inn.example:8080", true),
            ("http://inn.example", "inn.example:8080", false),
            ("https://inn.example", "10.0.0.5:8080", false),
            ("https://inn.example", "www.inn.example", false),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("https://inn.example", "", true),
            ("https://inn.example", "a b", true),
        ] {
            assert_eq!(is_at(public, host), is, "{public}, {host}");
        }
    }
}
