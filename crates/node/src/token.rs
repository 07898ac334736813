//! Tokens created on the command line.

use innkeeper_core::access::{MOST_APPS, Scope, account_name};
use innkeeper_core::names::AppName;
use innkeeper_core::{Invalid, Time, duration};
use innkeeper_store::{Actor, NewToken, Store, TokenAdded};

use crate::keys;

/// The properties of the new token, as given on the command line.
pub struct NewTokenRequest<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its scopes; empty for all scopes.
    pub scopes: &'a [String],
    /// The apps it is bound to; empty for every app.
    pub apps: &'a [String],
    /// How long it is valid, as in `90d`; `None` for ever.
    pub expires_in: Option<&'a str>,
}

/// Creates a token and returns its secret, which is not stored.
///
/// # Errors
/// An invalid value, a name in use, a database error, or no randomness.
pub fn make(store: &Store, wanted: &NewTokenRequest<'_>, now: Time) -> anyhow::Result<String> {
    let secret = format!("ik_{}", keys::draw()?.reveal());
    let name = account_name("name", wanted.name)?;
    let scopes = match wanted.scopes {
        [] => Scope::ALL.to_vec(),
        scopes => Scope::parse_list(scopes.iter().flat_map(|text| text.split(',')))?,
    };
    let apps: Vec<AppName> = wanted.apps.iter().map(AppName::parse).collect::<Result<_, _>>()?;
    if apps.len() > MOST_APPS {
        return Err(Invalid::new("app", format!("is given too often; at most {MOST_APPS} times")).into());
    }
    let expires_at = match wanted.expires_in {
        None => None,
        Some(text) => {
            let span = duration::parse("expires-in", text)?;
            let end = now.checked_add_signed(span);
            Some(end.ok_or_else(|| Invalid::new("expires-in", "is too long"))?)
        }
    };
    let new = NewToken { name, hash: keys::hash(&secret), scopes, apps, expires_at };
    let store = store.acting_as(Actor::command_line());
    anyhow::ensure!(
        matches!(store.add_token(&new, now)?, TokenAdded::Made(_)),
        "there is a token {} already; choose another name, or remove it in the settings",
        new.name
    );
    Ok(secret)
}
