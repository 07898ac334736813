//! Settings: the page, alerters and their test, tokens. Users, and what is shown outside, have files of their own.

use std::collections::HashMap;

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use chrono_tz::Tz;
use innkeeper_core::access::{Rights, Scope, UserRole, account_name};
use innkeeper_core::names::AppName;
use innkeeper_core::notice::{EventKind, Notice, SubjectForm};
use innkeeper_core::recipient::MailAddress;
use innkeeper_core::{Invalid, Time, duration};
use innkeeper_http::keys;
use innkeeper_http::{ApiError, Caller};
use innkeeper_store::{NewToken, Share, Token, User};

use super::form::Form;
use super::frame::Frame;
use super::view::When;
use super::{ask, change, page, see_other};
use crate::api::{self, added, confirm_one, remove_within, within};
use crate::{AppState, KnownAlerter};

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage<'a> {
    frame: Frame<'a>,
    is_open: bool,
    alerters: Vec<KnownAlerter>,
    tokens: Vec<TokenRow>,
    has_unconfirmed_tokens: bool,
    users: Vec<UserRow>,
    has_unconfirmed_users: bool,
    shares: Vec<ShareRow>,
    has_unconfirmed_shares: bool,
    apps: Vec<String>,
    /// What was just done, and what is shown this once.
    said: SettingsNotice,
}

/// What was just done.
#[derive(Default)]
struct SettingsNotice {
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
    owner: Option<String>,
    confirmed: bool,
    used: Option<When>,
    expires: Option<When>,
}

struct UserRow {
    id: i64,
    name: String,
    role: &'static str,
    has_password: bool,
    factor: &'static str,
    has_factor: bool,
    factor_required: bool,
    /// Whether they log in at a provider.
    is_by_openid: bool,
    is_self: bool,
    confirmed: bool,
    /// How many tokens are theirs.
    tokens: usize,
    /// To whom these can be handed over.
    heirs: Vec<(i64, String)>,
}

struct ShareRow {
    key: String,
    what: String,
    title: String,
    path: String,
    confirmed: bool,
}

/// The page.
pub async fn settings(app_state: Data<AppState>, caller: Caller) -> Result<HttpResponse, ApiError> {
    show(&app_state, &caller, SettingsNotice::default()).await
}

async fn show(
    app_state: &Data<AppState>,
    caller: &Caller,
    said: SettingsNotice,
) -> Result<HttpResponse, ApiError> {
    let frame = Frame::of(app_state, caller, "/settings");
    let (may_administer, may_manage) = (frame.may_administer, frame.may_manage);
    let (tokens, users, factors, by_openid, shares, apps, now) = ask(app_state, move |app_state, now| {
        let tokens = if may_manage { app_state.store.tokens()? } else { Vec::new() };
        let users = if may_administer { app_state.store.users()? } else { Vec::new() };
        let factors = if may_administer { app_state.store.factors_of_all()? } else { HashMap::new() };
        let by_openid = if may_administer { app_state.store.users_by_openid()? } else { Vec::new() };
        Ok((tokens, users, factors, by_openid, app_state.store.shares()?, app_state.store.apps(500)?, now))
    })
    .await?;
    let zone = caller.zone_or(chrono_tz::UTC);
    let own = caller.user().map(|user| user.id);
    page(&SettingsPage {
        frame,
        is_open: app_state.is_open,
        alerters: app_state.alerters(),
        has_unconfirmed_tokens: tokens.iter().any(|token| !token.confirmed),
        has_unconfirmed_users: users.iter().any(|user| !user.confirmed),
        tokens: tokens.iter().map(|token| token_row(token, zone, now)).collect(),
        users: users
            .iter()
            .map(|user| UserRow {
                has_factor: factors.contains_key(&user.id),
                factor: match by_openid.contains(&user.id) && !user.has_password {
                    true => "at the provider",
                    false => factor_words(app_state, user, factors.contains_key(&user.id)),
                },
                is_by_openid: by_openid.contains(&user.id),
                ..user_row(user, own, &users, &tokens)
            })
            .collect(),
        has_unconfirmed_shares: shares.iter().any(|share| !share.confirmed),
        shares: shares.iter().map(share_row).collect(),
        apps,
        said,
    })
}

fn token_row(token: &Token, zone: Tz, now: Time) -> TokenRow {
    let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    let apps: Vec<&str> = token.apps.iter().map(AppName::as_str).collect();
    TokenRow {
        id: token.id,
        name: token.name.clone(),
        scopes: scopes.join(", "),
        apps: if apps.is_empty() { "every app".to_owned() } else { apps.join(", ") },
        created_by: token.created_by.clone(),
        owner: token.owner.clone().filter(|owner| token.created_by != format!("user {owner}")),
        confirmed: token.confirmed,
        used: token.used_at.map(|at| When::new(at, zone, now)),
        expires: token.expires_at.map(|at| When::new(at, zone, now)),
    }
}

fn user_row(user: &User, own: Option<i64>, users: &[User], tokens: &[Token]) -> UserRow {
    let is_heir = |other: &&User| other.id != user.id && other.confirmed && other.role != UserRole::Viewer;
    let is_of_user = |token: &&Token| token.owner.as_ref() == Some(&user.name);
    UserRow {
        id: user.id,
        name: user.name.clone(),
        role: user.role.as_str(),
        has_password: user.has_password,
        factor: "",
        has_factor: false,
        factor_required: user.second_factor_required,
        is_by_openid: false,
        is_self: own == Some(user.id),
        confirmed: user.confirmed,
        tokens: tokens.iter().filter(is_of_user).count(),
        heirs: users.iter().filter(is_heir).map(|heir| (heir.id, heir.name.clone())).collect(),
    }
}

fn factor_words(app_state: &AppState, user: &User, has_factor: bool) -> &'static str {
    match (has_factor, app_state.authenticator.requires_second_factor(user)) {
        (true, true) => "has one, as required",
        (true, false) => "has one",
        (false, true) => "has yet to set one up",
        (false, false) => "none",
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
    ShareRow { key: share.key.clone(), what, title: share.title.clone(), path, confirmed: share.confirmed }
}

/// What could not be taken, above the page that it was sent from.
pub(super) async fn refuse(
    app_state: &Data<AppState>,
    caller: &Caller,
    problem: String,
) -> Result<HttpResponse, ApiError> {
    let mut answer =
        show(app_state, caller, SettingsNotice { text: problem, is_problem: true, secret: String::new() })
            .await?;
    *answer.status_mut() = actix_web::http::StatusCode::BAD_REQUEST;
    Ok(answer)
}

/// What was done, with what is shown this once.
pub(super) async fn tell(
    app_state: &Data<AppState>,
    caller: &Caller,
    text: String,
    secret: String,
) -> Result<HttpResponse, ApiError> {
    show(app_state, caller, SettingsNotice { text, secret, is_problem: false }).await
}

/// Makes a token, and shows its secret this once.
pub async fn add_token(
    app_state: Data<AppState>,
    caller: Caller,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    app_state.knows_who_asks()?;
    let secret = format!("ik_{}", keys::draw().map_err(ApiError::internal)?.reveal());
    let new = match new_token(&form, &secret, app_state.clock.now()) {
        Ok(new) => new,
        Err(invalid) => return refuse(&app_state, &caller, invalid.to_string()).await,
    };
    within(&caller, &Rights::of_token(new.scopes.clone(), new.apps.clone()))?;
    match api::ask(&app_state, &caller, move |store, now| added(store, &new, now)).await {
        Ok(token) => {
            let text = format!("This is the token {}. It is shown only now:", token.name);
            tell(&app_state, &caller, text, secret).await
        }
        Err(ApiError::Conflict(problem)) => refuse(&app_state, &caller, format!("name: {problem}")).await,
        Err(error) => Err(error),
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
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    let id = id.into_inner();
    api::ask(&app_state, &caller.clone(), move |store, now| remove_within(store, &caller, id, now)).await?;
    Ok(see_other("/settings#tokens"))
}

/// Lets a token be used that anybody made while the instance was open.
pub async fn confirm_token(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    app_state.knows_who_asks()?;
    let id = id.into_inner();
    api::ask(&app_state, &caller, move |store, now| confirm_one(store, id, now)).await?;
    Ok(see_other("/settings#tokens"))
}

/// Sends a message through an alerter, now, and shows what the provider answers.
pub async fn test_alerter(
    app_state: Data<AppState>,
    caller: Caller,
    name: Path<String>,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let name = name.into_inner();
    let recipient = match form.text("recipient") {
        "" => None,
        address => match MailAddress::parse("recipient", address) {
            Ok(address) => Some(address),
            Err(invalid) => return refuse(&app_state, &caller, invalid.to_string()).await,
        },
    };
    if !app_state.alerters().iter().any(|known| known.name == name) {
        return Err(ApiError::NotFound(format!("there is no alerter {name}")));
    }
    let now = app_state.clock.now();
    let notice = Notice {
        event: EventKind::Operator,
        instance: app_state.instance.clone(),
        subject: "Test message".to_owned(),
        subject_form: SubjectForm::default(),
        text: innkeeper_alerter::texts::test(&name, &caller.actor().who),
        at: now,
        url: Some(format!("{}/settings", app_state.pages_url)),
        alert: None,
        summary: None,
    };
    let (wanted, shared) = (name.clone(), app_state.clone());
    let sent = change(&app_state, &caller, move |store, now| {
        // Sent outside of any transaction; what became of it is written down after.
        let sent = shared.send_now(&wanted, recipient.as_ref(), &notice);
        let outcome = sent.as_ref().map_or_else(Clone::clone, |()| "delivered".to_owned());
        store.note_action("test alerter", &wanted, &outcome, now)?;
        Ok(sent)
    })
    .await?;
    match sent {
        Ok(()) => {
            tell(
                &app_state,
                &caller,
                format!("The provider of {name} has taken the test message."),
                String::new(),
            )
            .await
        }
        Err(problem) => refuse(&app_state, &caller, format!("{name}: {problem}")).await,
    }
}
