//! What is shown outside, in the settings.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use innkeeper_core::Invalid;
use innkeeper_core::names::one_line;
use innkeeper_http::keys;
use innkeeper_http::{ApiError, Caller};
use innkeeper_store::Share;

use super::form::Form;
use super::settings::refuse;
use super::{change, see_other};
use crate::AppState;

/// Shows an app or a tag to whoever has the link.
pub async fn add_share(
    app_state: Data<AppState>,
    caller: Caller,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let parsed = shared(&form);
    let (shape, kind, subject, title) = match parsed {
        Ok(parsed) => parsed,
        Err(invalid) => return refuse(&app_state, &caller, invalid.to_string()).await,
    };
    let key = keys::draw().map_err(ApiError::internal)?.reveal().to_owned();
    let back = super::login::local(form.text("back")).to_owned();
    change(&app_state, &caller, move |store, now| {
        store.add_share(&Share { key, shape, kind, subject, title, created_at: now, confirmed: true })
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
    app_state: Data<AppState>,
    caller: Caller,
    key: Path<String>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    let key = key.into_inner();
    change(&app_state, &caller, move |store, now| store.remove_share(&key, now)).await?;
    Ok(see_other("/settings#shares"))
}

/// Lets something be seen that anybody showed while the instance was open.
pub async fn confirm_share(
    app_state: Data<AppState>,
    caller: Caller,
    key: Path<String>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    app_state.knows_who_asks()?;
    let key = key.into_inner();
    match change(&app_state, &caller, move |store, now| store.confirm_share(&key, now)).await? {
        true => Ok(see_other("/settings#shares")),
        false => Err(ApiError::NotFound("nothing is shown under this link".to_owned())),
    }
}
