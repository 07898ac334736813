//! Settings: alerters and their test, tokens, users, what is shown outside, and who changed what.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use innkeeper_core::access::{Rights, Scope, UserRole, account_name};
use innkeeper_core::names::{AppName, one_line};
use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_core::recipient::MailAddress;
use innkeeper_core::{Invalid, Time, duration};
use innkeeper_node::http::{ApiError, Caller};
use innkeeper_node::{invitation, keys};
use innkeeper_store::{AuditEntry, NewToken, Share, Token, User};
use serde::Deserialize;

use super::form::Form;
use super::frame::Frame;
use super::view::When;
use super::{ask, page, see_other};
use crate::Desk;

/// Entries of the audit log on a page.
const ENTRIES: i64 = 100;

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage<'a> {
    frame: Frame<'a>,
    is_open: bool,
    alerters: Vec<(String, &'static str)>,
    tokens: Vec<TokenRow>,
    users: Vec<UserRow>,
    shares: Vec<ShareRow>,
    apps: Vec<String>,
    /// What was just done, and what is shown this once.
    said: Said,
}

/// What was just done.
#[derive(Default)]
struct Said {
    text: String,
    /// A secret, shown once.
    secret: String,
    is_problem: bool,
}

struct TokenRow {
    id: i64,
    name: String,
    scopes: String,
    apps: String,
    created_by: String,
    used: Option<When>,
    expires: Option<When>,
}

struct UserRow {
    id: i64,
    name: String,
    role: &'static str,
    has_password: bool,
    is_self: bool,
}

struct ShareRow {
    key: String,
    what: String,
    title: String,
    path: String,
}

/// The page.
pub async fn settings(desk: Data<Desk>, caller: Caller) -> Result<HttpResponse, ApiError> {
    show(&desk, &caller, Said::default()).await
}

async fn show(desk: &Data<Desk>, caller: &Caller, said: Said) -> Result<HttpResponse, ApiError> {
    let frame = Frame::of(desk, caller, "/settings");
    let (may_administer, may_manage) = (frame.may_administer, frame.may_manage);
    let (tokens, users, shares, apps, now) = ask(desk, move |desk, now| {
        let tokens = if may_manage { desk.store.tokens()? } else { Vec::new() };
        let users = if may_administer { desk.store.users()? } else { Vec::new() };
        Ok((tokens, users, desk.store.shares()?, desk.store.apps(500)?, now))
    })
    .await?;
    let own = caller.user().map(|user| user.id);
    page(&SettingsPage {
        frame,
        is_open: desk.is_open,
        alerters: desk.alerter_kinds(),
        tokens: tokens.iter().map(|token| token_row(token, now)).collect(),
        users: users.iter().map(|user| user_row(user, own)).collect(),
        shares: shares.iter().map(share_row).collect(),
        apps,
        said,
    })
}

fn token_row(token: &Token, now: Time) -> TokenRow {
    let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    let apps: Vec<&str> = token.apps.iter().map(AppName::as_str).collect();
    TokenRow {
        id: token.id,
        name: token.name.clone(),
        scopes: scopes.join(", "),
        apps: if apps.is_empty() { "every app".to_owned() } else { apps.join(", ") },
        created_by: token.created_by.clone(),
        used: token.used_at.map(|at| When::new(at, chrono_tz::UTC, now)),
        expires: token.expires_at.map(|at| When::new(at, chrono_tz::UTC, now)),
    }
}

fn user_row(user: &User, own: Option<i64>) -> UserRow {
    UserRow {
        id: user.id,
        name: user.name.clone(),
        role: user.role.as_str(),
        has_password: user.has_password,
        is_self: own == Some(user.id),
    }
}

fn share_row(share: &Share) -> ShareRow {
    let path = match share.shape.as_str() {
        "page" => format!("/public/{}", share.key),
        _ => format!("/badge/{}.svg", share.key),
    };
    let what = match share.kind.as_str() {
        "reservation" => format!("{} of a reservation", share.shape),
        kind => format!("{} of the {kind} {}", share.shape, share.subject),
    };
    ShareRow { key: share.key.clone(), what, title: share.title.clone(), path }
}

/// What could not be taken, above the page that it was sent from.
async fn refuse(desk: &Data<Desk>, caller: &Caller, problem: String) -> Result<HttpResponse, ApiError> {
    let mut answer =
        show(desk, caller, Said { text: problem, is_problem: true, secret: String::new() }).await?;
    *answer.status_mut() = actix_web::http::StatusCode::BAD_REQUEST;
    Ok(answer)
}

/// What was done, with what is shown this once.
async fn tell(
    desk: &Data<Desk>,
    caller: &Caller,
    text: String,
    secret: String,
) -> Result<HttpResponse, ApiError> {
    show(desk, caller, Said { text, secret, is_problem: false }).await
}

/// Makes a token, and shows its secret this once.
pub async fn add_token(desk: Data<Desk>, caller: Caller, form: Form) -> Result<HttpResponse, ApiError> {
    let secret = format!("ik_{}", keys::draw().map_err(ApiError::internal)?.reveal());
    let new = match new_token(&form, &secret, desk.clock.now()) {
        Ok(new) => new,
        Err(invalid) => return refuse(&desk, &caller, invalid.to_string()).await,
    };
    if !caller.rights.include(&Rights::of_token(new.scopes.clone(), new.apps.clone())) {
        return Err(ApiError::Forbidden("nobody gives away more than they have".to_owned()));
    }
    let (name, actor) = (new.name.clone(), caller.actor());
    match ask(&desk, move |desk, now| desk.store.on_behalf_of(actor).add_token(&new, now)).await? {
        Some(_) => {
            let text = format!("This is the token {name}. It is shown only now:");
            tell(&desk, &caller, text, secret).await
        }
        None => refuse(&desk, &caller, format!("name: there is a token {name} already")).await,
    }
}

fn new_token(form: &Form, secret: &str, now: Time) -> Result<NewToken, Invalid> {
    let apps = form.text("apps").split(',').map(str::trim).filter(|app| !app.is_empty());
    let apps =
        apps.map(AppName::parse).collect::<Result<Vec<_>, _>>().map_err(|error| error.called("apps"))?;
    if apps.len() > innkeeper_core::access::MOST_APPS {
        return Err(Invalid::new("apps", "has too many; at most 50"));
    }
    let expires_at = match form.text("expires_in") {
        "" => None,
        text => Some(now + duration::parse("expires_in", text)?),
    };
    Ok(NewToken {
        name: account_name("name", form.text("name"))?,
        hash: keys::hash(secret),
        scopes: Scope::parse_list(form.all("scope"))?,
        apps,
        expires_at,
    })
}

/// Removes a token.
pub async fn remove_token(
    desk: Data<Desk>,
    caller: Caller,
    id: Path<i64>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    let (id, actor) = (id.into_inner(), caller.actor());
    ask(&desk, move |desk, now| desk.store.on_behalf_of(actor).remove_token(id, now)).await?;
    Ok(see_other("/settings#tokens"))
}

/// Makes a user, and shows the link by which they choose a password.
pub async fn add_user(desk: Data<Desk>, caller: Caller, form: Form) -> Result<HttpResponse, ApiError> {
    let parsed = account_name("name", form.text("name"))
        .and_then(|name| UserRole::parse("role", form.text("role")).map(|role| (name, role)));
    let (name, role) = match parsed {
        Ok(parsed) => parsed,
        Err(invalid) => return refuse(&desk, &caller, invalid.to_string()).await,
    };
    let secret = keys::draw().map_err(ApiError::internal)?;
    let (hash, actor, wanted) = (keys::hash(secret.reveal()), caller.actor(), name.clone());
    let made = ask(&desk, move |desk, now| {
        let store = desk.store.on_behalf_of(actor);
        store.add_user(&wanted, role, &hash, now + invitation::USED_WITHIN, now)
    })
    .await?;
    match made {
        Some(_) => {
            let text = format!("Send this link to {name}. It works once, within a day:");
            tell(&desk, &caller, text, invitation::link(&desk.public_url, secret.reveal())).await
        }
        None => refuse(&desk, &caller, format!("name: there is a user {name} already")).await,
    }
}

/// Makes another link for a user.
pub async fn link_user(
    desk: Data<Desk>,
    caller: Caller,
    id: Path<i64>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    let secret = keys::draw().map_err(ApiError::internal)?;
    let (id, hash, actor) = (id.into_inner(), keys::hash(secret.reveal()), caller.actor());
    let found = ask(&desk, move |desk, now| {
        desk.store.on_behalf_of(actor).invite_again(id, &hash, now + invitation::USED_WITHIN, now)
    })
    .await?;
    if !found {
        return Err(no_such_user());
    }
    let text = "With this link a new password is chosen. It works once, within a day:".to_owned();
    tell(&desk, &caller, text, invitation::link(&desk.public_url, secret.reveal())).await
}

/// Gives a user another role.
pub async fn change_user(
    desk: Data<Desk>,
    caller: Caller,
    id: Path<i64>,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let (id, actor) = (id.into_inner(), caller.actor());
    not_oneself(&caller, id)?;
    let role = UserRole::parse("role", form.text("role"))?;
    match ask(&desk, move |desk, now| desk.store.on_behalf_of(actor).change_role(id, role, now)).await? {
        true => Ok(see_other("/settings#users")),
        false => Err(no_such_user()),
    }
}

/// Removes a user.
pub async fn remove_user(
    desk: Data<Desk>,
    caller: Caller,
    id: Path<i64>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    let (id, actor) = (id.into_inner(), caller.actor());
    not_oneself(&caller, id)?;
    match ask(&desk, move |desk, now| desk.store.on_behalf_of(actor).remove_user(id, now)).await? {
        true => Ok(see_other("/settings#users")),
        false => Err(no_such_user()),
    }
}

fn no_such_user() -> ApiError {
    ApiError::NotFound("there is no such user".to_owned())
}

/// So that there is always an admin left.
fn not_oneself(caller: &Caller, id: i64) -> Result<(), ApiError> {
    match caller.user() {
        Some(user) if user.id == id => {
            Err(ApiError::Conflict("another admin has to do that to you".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Sends a message through an alerter, now, and shows what the provider answers.
pub async fn test_alerter(
    desk: Data<Desk>,
    caller: Caller,
    name: Path<String>,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let name = name.into_inner();
    let recipient = match form.text("recipient") {
        "" => None,
        address => match MailAddress::parse("recipient", address) {
            Ok(address) => Some(address),
            Err(invalid) => return refuse(&desk, &caller, invalid.to_string()).await,
        },
    };
    if !desk.alerter_kinds().iter().any(|(known, _)| *known == name) {
        return Err(ApiError::NotFound(format!("there is no alerter {name}")));
    }
    let by = caller.actor();
    let now = desk.clock.now();
    let notice = Notice {
        event: EventKind::Operator,
        instance: desk.instance.clone(),
        subject: "Test message".to_owned(),
        text: format!("This is a test of the alerter {name}, sent by {}. Nothing is wrong.\n", by.who),
        at: now,
        url: Some(format!("{}/settings", desk.public_url)),
        alert: None,
    };
    let wanted = name.clone();
    let sent = ask(&desk, move |desk, now| {
        // Sent outside of any transaction; what became of it is written down after.
        let sent = desk.send_now(&wanted, recipient.as_ref(), &notice);
        let outcome = sent.as_ref().map_or_else(Clone::clone, |()| "delivered".to_owned());
        desk.store.on_behalf_of(by).note_action("test alerter", &wanted, &outcome, now)?;
        Ok(sent)
    })
    .await?;
    match sent {
        Ok(()) => {
            tell(&desk, &caller, format!("The provider of {name} has taken the test message."), String::new())
                .await
        }
        Err(problem) => refuse(&desk, &caller, format!("{name}: {problem}")).await,
    }
}

/// Shows an app or a tag to whoever has the link.
pub async fn add_share(desk: Data<Desk>, caller: Caller, form: Form) -> Result<HttpResponse, ApiError> {
    let parsed = shared(&form);
    let (shape, kind, subject, title) = match parsed {
        Ok(parsed) => parsed,
        Err(invalid) => return refuse(&desk, &caller, invalid.to_string()).await,
    };
    let key = keys::draw().map_err(ApiError::internal)?.reveal().to_owned();
    let (actor, back) = (caller.actor(), super::login::local(form.text("back")).to_owned());
    ask(&desk, move |desk, now| {
        desk.store.on_behalf_of(actor).add_share(&Share { key, shape, kind, subject, title, created_at: now })
    })
    .await?;
    Ok(see_other(if back == "/status" { "/settings#shares" } else { &back }))
}

fn shared(form: &Form) -> Result<(String, String, String, String), Invalid> {
    let one_of = |field: &'static str, allowed: &[&str]| match form.text(field) {
        text if allowed.contains(&text) => Ok(text.to_owned()),
        text => Err(Invalid::new(field, format!("{text:?}; allowed: {}", allowed.join(", ")))),
    };
    let shape = one_of("shape", &["page", "badge"])?;
    let kind =
        one_of("kind", if shape == "page" { &["app", "tag"] } else { &["app", "tag", "reservation"] })?;
    let subject = form.required("subject")?;
    one_line("subject", subject, 150)?;
    let title = form.text("title");
    one_line("title", title, 100)?;
    let title = if title.is_empty() { subject } else { title };
    Ok((shape, kind, subject.to_owned(), title.to_owned()))
}

/// Shows it no more.
pub async fn remove_share(
    desk: Data<Desk>,
    caller: Caller,
    key: Path<String>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    let (key, actor) = (key.into_inner(), caller.actor());
    ask(&desk, move |desk, now| desk.store.on_behalf_of(actor).remove_share(&key, now)).await?;
    Ok(see_other("/settings#shares"))
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage<'a> {
    frame: Frame<'a>,
    entries: Vec<(When, AuditEntry)>,
    next: Option<String>,
}

#[derive(Deserialize)]
pub struct Before {
    before: Option<i64>,
}

/// Who changed what.
pub async fn audit(desk: Data<Desk>, caller: Caller, query: Query<Before>) -> Result<HttpResponse, ApiError> {
    let before = query.before;
    let (entries, now) =
        ask(&desk, move |desk, now| Ok((desk.store.audit_log(before, ENTRIES)?, now))).await?;
    let next = (entries.len() as i64 == ENTRIES)
        .then(|| entries.last().map(|entry| format!("/settings/audit?before={}", entry.id)))
        .flatten();
    let entries =
        entries.into_iter().map(|entry| (When::new(entry.at, chrono_tz::UTC, now), entry)).collect();
    page(&AuditPage { frame: Frame::of(&desk, &caller, "/settings"), entries, next })
}
