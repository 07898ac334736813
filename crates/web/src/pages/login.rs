//! Logging in and out.

use actix_web::http::header;
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use chrono::TimeDelta;
use innkeeper_core::Time;
use innkeeper_core::access::{LONGEST_PASSWORD, UserRole, account_name, wait_after};
use innkeeper_node::http::{ApiError, Caller};
use innkeeper_node::keys::{self, password};
use innkeeper_store::{Actor, User};
use serde::Deserialize;

use super::form::Form;
use super::frame::Frame;
use super::{ask, page, see_other};
use crate::Desk;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    frame: Frame<'a>,
    name: String,
    next: String,
    problem: String,
    /// Whether there is nobody yet who could.
    is_first: bool,
}

#[derive(Deserialize)]
pub struct LoginQuery {
    #[serde(default)]
    next: String,
}

/// The page.
pub async fn login(
    desk: Data<Desk>,
    caller: Caller,
    query: Query<LoginQuery>,
) -> Result<HttpResponse, ApiError> {
    if desk.is_open || caller.user().is_some() {
        return Ok(see_other(local(&query.next)));
    }
    show(&desk, &caller, "", &query.next, "").await
}

async fn show(
    desk: &Data<Desk>,
    caller: &Caller,
    name: &str,
    next: &str,
    problem: &str,
) -> Result<HttpResponse, ApiError> {
    page(&LoginPage {
        frame: Frame::of(desk, caller, "/login"),
        name: name.to_owned(),
        next: local(next).to_owned(),
        problem: problem.to_owned(),
        is_first: !desk.signs_on && !ask(desk, |desk, _| desk.store.has_admin()).await?,
    })
}

/// A name and a password against a session.
pub async fn log_in(
    desk: Data<Desk>,
    caller: Caller,
    request: HttpRequest,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let (name, given) = (form.text("name").to_owned(), form.raw("password").to_owned());
    let next = local(form.text("next")).to_owned();
    let (source, asked) = (caller.source.clone(), name.clone());
    let found = ask(&desk, move |desk, now| check(desk, &asked, &given, &source, now)).await?;
    let user = match found {
        Checked::Right(user) => user,
        Checked::Wrong => {
            log::warn!("a wrong name or password, from {}", caller.source);
            let mut answer = show(&desk, &caller, &name, &next, "The name or the password is wrong.").await?;
            *answer.status_mut() = actix_web::http::StatusCode::UNAUTHORIZED;
            return Ok(answer);
        }
        Checked::TooSoon(wait) => {
            let retry_after_s = u32::try_from(wait.num_seconds().max(1)).unwrap_or(u32::MAX);
            return Err(ApiError::TooMany { retry_after_s });
        }
    };
    begin(&desk, &request, &caller, user, &next).await
}

/// Begins a session of this user, and goes on to `next`.
pub async fn begin(
    desk: &Data<Desk>,
    request: &HttpRequest,
    caller: &Caller,
    user: User,
    next: &str,
) -> Result<HttpResponse, ApiError> {
    let (secret, csrf) =
        (keys::draw().map_err(ApiError::internal)?, keys::draw().map_err(ApiError::internal)?);
    let (hash, before) = (keys::hash(secret.reveal()), desk.gate.session_of(request));
    let source = caller.source.clone();
    ask(desk, move |desk, now| {
        let store = desk.store.on_behalf_of(Actor { who: format!("user {}", user.name), source });
        // One browser has one session.
        if let Some(before) = before {
            store.end_session(&keys::hash(&before), now)?;
        }
        store.begin_session(&user, &hash, csrf.reveal(), now)
    })
    .await?;
    let mut answer = see_other(next);
    answer.add_cookie(&desk.gate.session_cookie(secret.reveal())).map_err(ApiError::internal)?;
    Ok(answer)
}

/// Ends the session.
pub async fn log_out(
    desk: Data<Desk>,
    caller: Caller,
    request: HttpRequest,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    if let Some(session) = desk.gate.session_of(&request) {
        ask(&desk, move |desk, now| {
            desk.store.on_behalf_of(caller.actor()).end_session(&keys::hash(&session), now)
        })
        .await?;
    }
    let mut answer = see_other("/login");
    let mut cookie = desk.gate.session_cookie("");
    cookie.make_removal();
    answer.add_cookie(&cookie).map_err(ApiError::internal)?;
    Ok(answer)
}

/// What a name and a password turned out to be.
enum Checked {
    Right(User),
    Wrong,
    TooSoon(TimeDelta),
}

/// Compares, unless there were too many wrong ones lately: of this account or from this address. A wrong name takes as long as a wrong
/// password.
fn check(
    desk: &Desk,
    name: &str,
    given: &str,
    source: &str,
    now: Time,
) -> Result<Checked, innkeeper_store::StoreError> {
    let may_be = account_name("name", name).is_ok() && given.len() <= LONGEST_PASSWORD;
    let account = if may_be { name } else { "" };
    let who = [format!("account {account}"), format!("source {source}")];
    let failures = desk.store.login_failures(&who, now)?;
    let wait = failures
        .iter()
        .map(|(who, failures, last_at)| *last_at + wait_after(*failures, who.starts_with("source ")) - now)
        .max();
    if let Some(wait) = wait.filter(|wait| *wait > TimeDelta::zero()) {
        return Ok(Checked::TooSoon(wait));
    }
    let known = if may_be { desk.store.user_named(name)? } else { None };
    let (user, hash) = known.map_or((None, None), |(user, hash)| (Some(user), hash));
    let is_right = match password::verify(given, hash.as_deref()) {
        Ok(is_right) => is_right,
        Err(error) if error.is::<password::Crowded>() => return Ok(Checked::TooSoon(TimeDelta::seconds(1))),
        Err(error) => {
            log::error!("the password of {name:?} cannot be checked: {error}");
            false
        }
    };
    match user.filter(|_| is_right) {
        Some(user) => {
            desk.store.forget_login_failures(&who[..1])?;
            Ok(Checked::Right(user))
        }
        None => {
            desk.store.count_login_failure(&who, now)?;
            Ok(Checked::Wrong)
        }
    }
}

/// `next` if it is a path of ours, else the first page.
pub fn local(next: &str) -> &str {
    let is_path = next.starts_with('/')
        && !next.starts_with("//")
        && !next.chars().any(|c| c == '\\' || c.is_control() || c.is_whitespace());
    if is_path { next } else { "/status" }
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
}

/// The page on which a link is used: a password is chosen.
pub async fn setup(
    desk: Data<Desk>,
    caller: Caller,
    secret: actix_web::web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let invited = invited(&desk, &secret).await?;
    show_setup(&desk, &caller, invited.as_ref(), "", "")
}

fn show_setup(
    desk: &Desk,
    caller: &Caller,
    invited: Option<&User>,
    name: &str,
    problem: &str,
) -> Result<HttpResponse, ApiError> {
    let mut answer = page(&SetupPage {
        frame: Frame::of(desk, caller, "/setup"),
        user: invited.map(|user| user.name.clone()).unwrap_or_default(),
        role: invited.map_or(UserRole::Admin, |user| user.role).as_str(),
        name: name.to_owned(),
        problem: problem.to_owned(),
    })?;
    // The address is a secret until it is used.
    answer.headers_mut().insert(header::REFERRER_POLICY, header::HeaderValue::from_static("no-referrer"));
    Ok(answer)
}

/// For whom the link is.
async fn invited(desk: &Data<Desk>, secret: &str) -> Result<Option<User>, ApiError> {
    let hash = keys::hash(secret);
    ask(desk, move |desk, now| desk.store.invited(&hash, now)).await?.ok_or_else(|| {
        ApiError::NotFound(
            "this link was used, or is too old; an admin can make another, or `innkeeper invite NAME` on the machine"
                .to_owned(),
        )
    })
}

/// Takes the password that was chosen, and logs in.
pub async fn set_up(
    desk: Data<Desk>,
    caller: Caller,
    request: HttpRequest,
    secret: actix_web::web::Path<String>,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let invited = invited(&desk, &secret).await?;
    let (name, chosen) = (form.text("name").to_owned(), form.raw("password").to_owned());
    let checked = match &invited {
        Some(_) => Ok(()),
        None => account_name("name", &name).map(drop),
    }
    .and_then(|()| innkeeper_core::access::new_password("password", &chosen))
    .and_then(|()| match form.raw("again") == chosen {
        true => Ok(()),
        false => Err(innkeeper_core::Invalid::new("password", "was not typed the same both times")),
    });
    if let Err(invalid) = checked {
        let problem = invalid.to_string();
        let mut answer = show_setup(&desk, &caller, invited.as_ref(), &name, &problem)?;
        *answer.status_mut() = actix_web::http::StatusCode::BAD_REQUEST;
        return Ok(answer);
    }
    let hashed = actix_web::web::block(move || password::hash(&chosen))
        .await
        .map_err(ApiError::internal)?
        .map_err(ApiError::internal)?;
    let (link, source) = (keys::hash(&secret), caller.source.clone());
    let who = format!("user {}", invited.as_ref().map_or(&name, |user| &user.name));
    let user = ask(&desk, move |desk, now| {
        desk.store.on_behalf_of(Actor { who, source }).accept_invitation(&link, &name, &hashed, now)
    })
    .await?
    .ok_or_else(|| ApiError::Conflict("this link was just used, or the name is taken".to_owned()))?;
    begin(&desk, &request, &caller, user, "/status").await
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
