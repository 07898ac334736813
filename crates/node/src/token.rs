//! Tokens that the command line makes.

use innkeeper_core::access::{MOST_APPS, Scope, account_name};
use innkeeper_core::names::AppName;
use innkeeper_core::{Invalid, Time, duration};
use innkeeper_store::{Actor, NewToken, Store, TokenAdded};

use crate::keys;

/// What a token is to be, as the command line says it.
pub struct Wanted<'a> {
    /// What it is called.
    pub name: &'a str,
    /// What it may do; empty for everything that a token may.
    pub scopes: &'a [String],
    /// For which apps; empty for every one.
    pub apps: &'a [String],
    /// How long it can be used, as in `90d`; none for ever.
    pub expires_in: Option<&'a str>,
}

/// Makes a token and returns its secret, which is kept nowhere.
///
/// # Errors
/// What cannot be taken, a name that there is already, the database's, or no randomness.
pub fn make(store: &Store, wanted: &Wanted<'_>, now: Time) -> anyhow::Result<String> {
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
