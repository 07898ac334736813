//! Users, in the settings.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use innkeeper_core::Invalid;
use innkeeper_core::access::{UserRole, new_user_name};
use innkeeper_http::{ApiError, Caller, keys};
use innkeeper_node::invitation;
use innkeeper_store::{Removed, TokensLeft};

use super::account::own_session;
use super::form::Form;
use super::settings::{refuse, tell};
use super::{change, see_other};
use crate::AppState;

/// Makes a user, and shows the link by which they choose a password.
pub async fn add_user(
    app_state: Data<AppState>,
    caller: Caller,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    app_state.knows_who_asks()?;
    let parsed = new_user_name("name", form.text("name"))
        .and_then(|name| UserRole::parse("role", form.text("role")).map(|role| (name, role)));
    let (name, role) = match parsed {
        Ok(parsed) => parsed,
        Err(invalid) => return refuse(&app_state, &caller, invalid.to_string()).await,
    };
    let secret = keys::draw().map_err(ApiError::internal)?;
    let (hash, wanted) = (keys::hash(secret.reveal()), name.clone());
    let made = change(&app_state, &caller, move |store, now| {
        store.add_user(&wanted, role, &hash, now + invitation::USED_WITHIN, now)
    })
    .await?;
    match made {
        Some(_) => {
            let text = format!("Send this link to {name}. It works once, within a day:");
            tell(&app_state, &caller, text, invitation::link(&app_state.pages_url, secret.reveal())).await
        }
        None => refuse(&app_state, &caller, format!("name: {}", invitation::taken(&name))).await,
    }
}

/// Makes another link for a user.
pub async fn link_user(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    app_state.knows_who_asks()?;
    let secret = keys::draw().map_err(ApiError::internal)?;
    let (id, hash) = (id.into_inner(), keys::hash(secret.reveal()));
    let found = change(&app_state, &caller, move |store, now| {
        store.invite_again(id, &hash, now + invitation::USED_WITHIN, now)
    })
    .await?;
    if !found {
        return Err(no_such_user());
    }
    let text = "With this link a new password is chosen. It works once, within a day:".to_owned();
    tell(&app_state, &caller, text, invitation::link(&app_state.pages_url, secret.reveal())).await
}

/// Gives a user another role.
pub async fn change_user(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    app_state.knows_who_asks()?;
    let id = id.into_inner();
    not_oneself(&caller, id)?;
    let role = UserRole::parse("role", form.text("role"))?;
    match change(&app_state, &caller, move |store, now| store.change_role(id, role, now)).await? {
        true => Ok(see_other("/settings#users")),
        false => Err(no_such_user()),
    }
}

/// Lets a user in whom anybody made or changed while the instance was open, as what they are now, and shows the link by which
/// they choose a password: the one before may be anybody's.
pub async fn confirm_user(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    app_state.knows_who_asks()?;
    let secret = keys::draw().map_err(ApiError::internal)?;
    let (id, hash, shared) = (id.into_inner(), keys::hash(secret.reveal()), app_state.clone());
    let confirmed = change(&app_state, &caller, move |store, now| {
        let Some(user) = store.confirm_user(id, now)? else { return Ok(None) };
        // Who signs on needs none, and who was confirmed meanwhile keeps the password.
        if !shared.signs_on && !user.has_password {
            store.invite_again(id, &hash, now + invitation::USED_WITHIN, now)?;
        }
        Ok(Some(user))
    })
    .await?;
    match confirmed {
        Some(user) if !app_state.signs_on && !user.has_password => {
            let text = format!(
                "{} is confirmed as {}. With this link they choose a password; a previous one no longer works. \
                 It works once, within a day:",
                user.name,
                user.role.as_str()
            );
            tell(&app_state, &caller, text, invitation::link(&app_state.pages_url, secret.reveal())).await
        }
        Some(_) => Ok(see_other("/settings#users")),
        None => Err(no_such_user()),
    }
}

/// Removes a user. Their tokens end, or are those of the user from then on whom `tokens` names by number.
pub async fn remove_user(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let id = id.into_inner();
    not_oneself(&caller, id)?;
    let tokens = match form.text("tokens") {
        "" | "end" => TokensLeft::End,
        heir => {
            app_state.knows_who_asks()?;
            let heir =
                heir.parse().map_err(|_| Invalid::new("tokens", "give end, or the number of a user"))?;
            TokensLeft::GoTo(heir)
        }
    };
    let removed = change(&app_state, &caller, move |store, now| store.remove_user(id, tokens, now)).await?;
    match removed {
        Removed::Done { .. } => Ok(see_other("/settings#users")),
        Removed::Unknown => Err(no_such_user()),
        Removed::NoHeir => Err(ApiError::Conflict(
            "the tokens cannot be handed over to that user: give one who is there, is confirmed, and is no viewer"
                .to_owned(),
        )),
    }
}

/// Says whether a user must have a second factor.
pub async fn require_factor(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    app_state.knows_who_asks()?;
    let (id, required) = (id.into_inner(), form.is_ticked("required"));
    let found =
        change(&app_state, &caller, move |store, now| store.require_second_factor(id, required, now)).await?;
    if found { Ok(see_other("/settings#users")) } else { Err(no_such_user()) }
}

/// Removes the second factor of a user who has lost it, and ends their sessions.
pub async fn remove_factor(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    app_state.knows_who_asks()?;
    let id = id.into_inner();
    // Their own they remove with the password and a code.
    not_oneself(&caller, id)?;
    let removed =
        change(&app_state, &caller, move |store, now| store.remove_second_factor(id, None, now)).await?;
    match removed {
        true => Ok(see_other("/settings#users")),
        false => Err(ApiError::NotFound("there is no such user, or they have no second factor".to_owned())),
    }
}

/// Ends every session of a user; of the admin's own, all but this.
pub async fn end_sessions(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    id: Path<i64>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    let id = id.into_inner();
    let is_self = caller.user().is_some_and(|user| user.id == id);
    let session = is_self.then(|| own_session(&app_state, &request));
    let ended =
        change(&app_state, &caller, move |store, now| store.end_sessions(id, session.as_deref(), now))
            .await?;
    if ended.is_some() { Ok(see_other("/settings#users")) } else { Err(no_such_user()) }
}

fn no_such_user() -> ApiError {
    ApiError::NotFound("there is no such user".to_owned())
}

/// So that there is always an admin left.
fn not_oneself(caller: &Caller, id: i64) -> Result<(), ApiError> {
    match caller.user() {
        Some(user) if user.id == id => {
            Err(ApiError::Conflict("only another admin can do that to you".to_owned()))
        }
        _ => Ok(()),
    }
}
