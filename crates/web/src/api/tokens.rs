//! Tokens: the credentials of programs.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use chrono::{DateTime, SecondsFormat, Utc};
use innkeeper_core::access::{MOST_APPS, Rights, Scope, account_name};
use innkeeper_core::names::AppName;
use innkeeper_core::{Invalid, Time};
use innkeeper_http::keys;
use innkeeper_http::{ApiError, Body, Caller};
use innkeeper_store::{ActingStore, NewToken, TokenAdded, TokenConfirmed};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ask, reading};
use crate::AppState;

type Answer = Result<HttpResponse, ApiError>;

/// A token, without its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct Token {
    /// Its number.
    id: i64,
    /// Its name.
    name: String,
    /// Its scopes: `checkin`, `read`, `manage`. It has no more rights than its owner.
    scopes: Vec<&'static str>,
    /// The apps that it is limited to; empty for all apps.
    apps: Vec<String>,
    /// Who made it.
    created_by: String,
    /// The user who owns it. When the user is removed, the token is removed too, or handed over. Null for a token from
    /// the command line.
    owner: Option<String>,
    /// Whether it can be used. A token that anybody made while the instance was open must be confirmed by an admin
    /// first.
    confirmed: bool,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it expires; null for never.
    expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the hour.
    used_at: Option<DateTime<Utc>>,
}

/// All tokens.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tokens {
    /// The tokens, by name.
    tokens: Vec<Token>,
}

/// A new token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenDocument {
    /// Its name: 1 to 100 characters, unique.
    name: String,
    /// Its scopes: `checkin`, `read`, `manage`; at least one.
    scopes: Vec<String>,
    /// The apps that it is limited to, at most 50; absent or empty for all apps.
    apps: Option<Vec<String>>,
    /// When it expires, as RFC 3339; absent for never.
    expires_at: Option<String>,
}

/// A token that was just made.
#[derive(Serialize, ToSchema)]
pub(crate) struct MadeToken {
    /// The value for `Authorization: Bearer`. It is shown only in this answer; Innkeeper keeps only its hash.
    secret: String,
    #[serde(flatten)]
    token: Token,
}

impl From<innkeeper_store::Token> for Token {
    fn from(token: innkeeper_store::Token) -> Self {
        Self {
            id: token.id,
            name: token.name,
            scopes: token.scopes.iter().map(|scope| scope.as_str()).collect(),
            apps: token.apps.iter().map(ToString::to_string).collect(),
            created_by: token.created_by,
            owner: token.owner,
            confirmed: token.confirmed,
            created_at: token.created_at,
            expires_at: token.expires_at,
            used_at: token.used_at,
        }
    }
}

/// List tokens
#[utoipa::path(get, path = "/api/v1/tokens", tag = "Tokens", security(("bearer" = ["manage"])),
    responses((status = 200, description = "all of them, without their secrets", body = Tokens)))]
pub(crate) async fn list(app_state: Data<AppState>, caller: Caller) -> Answer {
    let tokens = ask(&app_state, &caller, |store, _| Ok(store.tokens()?)).await?;
    Ok(HttpResponse::Ok().json(Tokens { tokens: tokens.into_iter().map(Into::into).collect() }))
}

/// Make a token
///
/// The token has no more rights than its maker, and belongs to the user who makes it, or who owns the token that makes
/// it. When that user is removed, the token is removed too, or handed over. The answer contains its secret, which is
/// not shown again. An open instance refuses this request.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "Tokens", security(("bearer" = ["manage"])),
    request_body(content = TokenDocument, example = json!({"name": "shop jobs", "scopes": ["checkin"], "apps": ["shop"]})),
    responses(
        (status = 201, description = "it is made", body = MadeToken),
        (status = 403, description = "it could do more than the caller, or would last longer than the caller's token, or the instance is open"),
        (status = 409, description = "a token with this name exists"),
    ))]
pub(crate) async fn create(app_state: Data<AppState>, caller: Caller, Body(body): Body) -> Answer {
    let wanted: TokenDocument = reading::json(&body)?;
    let name = account_name("name", &wanted.name)?;
    let scopes = Scope::parse_list(wanted.scopes.iter().map(String::as_str))?;
    let apps = wanted.apps.unwrap_or_default();
    if apps.len() > MOST_APPS {
        return Err(Invalid::new("apps", format!("has {} apps; at most {MOST_APPS}", apps.len())).into());
    }
    let apps = apps
        .into_iter()
        .map(|app| AppName::parse(app).map_err(|error| error.called("apps")))
        .collect::<Result<Vec<_>, _>>()?;
    let expires_at = wanted.expires_at.map(|text| reading::instant("expires_at", &text)).transpose()?;
    app_state.knows_who_asks()?;
    within(&caller, &Rights::of_token(scopes.clone(), apps.clone()))?;
    let secret = format!("ik_{}", keys::draw().map_err(ApiError::internal)?.reveal());
    let new = NewToken { name, hash: keys::hash(&secret), scopes, apps, expires_at };
    let made = ask(&app_state, &caller, move |store, now| {
        if new.expires_at.is_some_and(|expires_at| expires_at <= now) {
            return Err(Invalid::new("expires_at", "is past").into());
        }
        added(store, &new, now)
    })
    .await?;
    Ok(HttpResponse::Created().json(MadeToken { secret, token: made.into() }))
}

/// Makes a token with no more rights than its maker.
pub(crate) fn added(
    store: &ActingStore,
    new: &NewToken,
    now: Time,
) -> Result<innkeeper_store::Token, ApiError> {
    match store.add_token(new, now)? {
        TokenAdded::Made(token) => Ok(token),
        TokenAdded::Taken => Err(ApiError::Conflict(format!("there is a token {:?} already", new.name))),
        TokenAdded::MakerGone => {
            Err(ApiError::Unauthorized("the user who makes this token was removed meanwhile".to_owned()))
        }
        TokenAdded::Outlives(end) => Err(ApiError::Forbidden(format!(
            "the token would last longer than the one that makes it, which ends at {}: give it an expires_at until then",
            end.to_rfc3339_opts(SecondsFormat::Secs, true)
        ))),
    }
}

/// Remove a token
///
/// It becomes unusable within five seconds. Tokens that it made remain; their `created_by` names it.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "Tokens", security(("bearer" = ["manage"])),
    params(("id" = i64, Path, description = "its number")),
    responses(
        (status = 204, description = "it is removed"),
        (status = 403, description = "it could do more than the caller"),
    ))]
pub(crate) async fn remove(app_state: Data<AppState>, caller: Caller, id: Path<i64>) -> Answer {
    let (asker, id) = (caller.clone(), id.into_inner());
    ask(&app_state, &caller, move |store, now| remove_within(store, &asker, id, now)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Confirm a token
///
/// A token that anybody made while the instance was open cannot be used until an admin confirms it. This needs an
/// admin's session; no token can do it.
#[utoipa::path(post, path = "/api/v1/tokens/{id}/confirm", tag = "Tokens", security(("bearer" = ["admin"])),
    params(("id" = i64, Path, description = "its number")),
    responses(
        (status = 204, description = "it can be used"),
        (status = 404, description = "there is no token with this number"),
        (status = 409, description = "it belongs to a user who has to be confirmed first"),
    ))]
pub(crate) async fn confirm(app_state: Data<AppState>, caller: Caller, id: Path<i64>) -> Answer {
    app_state.knows_who_asks()?;
    let id = id.into_inner();
    ask(&app_state, &caller, move |store, now| confirm_one(store, id, now)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Confirms a token that anybody made while the instance was open.
pub(crate) fn confirm_one(store: &ActingStore, id: i64, now: Time) -> Result<(), ApiError> {
    match store.confirm_token(id, now)? {
        TokenConfirmed::Done => Ok(()),
        TokenConfirmed::Unknown => Err(ApiError::NotFound(format!("there is no token {id}"))),
        TokenConfirmed::OwnerFirst(user) => Err(ApiError::Conflict(format!(
            "this token is of the user {user}, who has yet to be confirmed: confirm the user first"
        ))),
    }
}

/// Removes a token that has no more rights than the caller.
pub(crate) fn remove_within(
    store: &ActingStore,
    caller: &Caller,
    id: i64,
    now: Time,
) -> Result<(), ApiError> {
    let unknown = || ApiError::NotFound(format!("there is no token {id}"));
    let token = store.tokens()?.into_iter().find(|token| token.id == id).ok_or_else(unknown)?;
    within(caller, &token.rights())?;
    if store.remove_token(id, now)? { Ok(()) } else { Err(unknown()) }
}

/// Checks that the caller has all of these rights, since nobody may give or take more than they have.
pub(crate) fn within(caller: &Caller, rights: &Rights) -> Result<(), ApiError> {
    if caller.rights.include(rights) {
        return Ok(());
    }
    Err(ApiError::Forbidden(
        "you may not do this: the token could do more than you may; nobody can give or remove more than they have"
            .to_owned(),
    ))
}
