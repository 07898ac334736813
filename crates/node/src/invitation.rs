//! Links by which a person chooses a password, once.

use chrono::TimeDelta;
use innkeeper_core::Time;
use innkeeper_core::access::{UserRole, account_name};
use innkeeper_store::{Actor, Store};

use crate::config::{Auth, Config};
use crate::keys;

/// How long a link can be used.
pub const USED_WITHIN: TimeDelta = TimeDelta::days(1);

/// The address of the link with this secret.
pub fn link(public_url: &str, secret: &str) -> String {
    format!("{public_url}/setup/{secret}")
}

/// A link by which the first admin is made, where nobody can decide yet who may come in. That it cannot be made is logged, and no reason not to
/// watch over jobs.
pub fn first_admin(store: &Store, config: &Config, now: Time) -> Option<String> {
    if config.auth == Auth::Open || config.web.sign_on_header.is_some() {
        return None;
    }
    invite_first_admin(store, config, now).unwrap_or_else(|error| {
        log::error!(
            "no link for the first admin ({error:#}); `innkeeper invite NAME --role admin` makes one"
        );
        None
    })
}

fn invite_first_admin(store: &Store, config: &Config, now: Time) -> anyhow::Result<Option<String>> {
    let secret = keys::draw()?;
    let invited = store.invite_first_admin(&keys::hash(secret.reveal()), now + USED_WITHIN)?;
    Ok(invited.then(|| link(&config.public_url, secret.reveal())))
}

/// A link for the user of this name, who is made where there is none; with `role`, that is theirs from now on.
///
/// # Errors
/// A name or role that cannot be taken, the database's, or no randomness.
pub fn invite(
    store: &Store,
    config: &Config,
    name: &str,
    role: Option<&str>,
    now: Time,
) -> anyhow::Result<String> {
    let name = account_name("name", name)?;
    let role = role.map(|role| UserRole::parse("role", role)).transpose()?;
    let store =
        store.on_behalf_of(Actor { who: "command line".to_owned(), source: "this machine".to_owned() });
    let secret = keys::draw()?;
    let (hash, expires_at) = (keys::hash(secret.reveal()), now + USED_WITHIN);
    match store.user_named(&name)? {
        Some((user, _)) => {
            if let Some(role) = role.filter(|role| *role != user.role) {
                store.change_role(user.id, role, now)?;
            }
            store.invite_again(user.id, &hash, expires_at, now)?;
        }
        None => {
            store.add_user(&name, role.unwrap_or(UserRole::Viewer), &hash, expires_at, now)?;
        }
    }
    Ok(link(&config.public_url, secret.reveal()))
}
