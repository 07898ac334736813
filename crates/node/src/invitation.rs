//! Single-use links by which a person chooses a password.

use std::net::SocketAddr;

use chrono::TimeDelta;
use innkeeper_core::Time;
use innkeeper_core::access::{UserRole, account_name, new_user_name};
use innkeeper_store::{Actor, NodeState, Removed, Store, TokensLeft, Unconfirmed};

use crate::config::{Auth, Config, url_of};
use crate::heartbeat::gone_after;
use crate::{Role, keys};

/// How long a link is valid.
pub const USED_WITHIN: TimeDelta = TimeDelta::days(1);

/// Why no user with this name is created.
pub fn taken(name: &str) -> String {
    format!("there is a user {name} already, or one whose name looks the same")
}

/// The address of the link with this secret, on the pages at `pages_url`.
pub fn link(pages_url: &str, secret: &str) -> String {
    format!("{pages_url}/setup/{secret}")
}

/// The secret of a link that creates the first admin, if no user can manage users yet; called after unconfirmed users
/// are known. If it cannot be made, that is logged, and the process goes on watching jobs.
pub fn first_admin(store: &Store, config: &Config, now: Time) -> Option<String> {
    if config.auth == Auth::Open {
        return None;
    }
    if let Err(error) = store.doubt_the_open_past() {
        log::error!("it is not known which users, tokens and shares come from unknown people: {error}");
    }
    if config.web.sign_on_header.is_some() {
        return None;
    }
    invite_first_admin(store, now).unwrap_or_else(|error| {
        log::error!(
            "no link for the first admin ({error:#}); `innkeeper invite NAME --role admin` makes one"
        );
        None
    })
}

/// The message that tells where to create the first admin: with this secret, on the pages of this process, which
/// listens at `listening`.
pub fn announcement(config: &Config, listening: SocketAddr, secret: &str) -> String {
    let (public, own) = (link(&config.pages_url, secret), link(&url_of(listening), secret));
    match config.is_public_url_given {
        false => format!("Make the first admin, within a day: {own}\n"),
        // Cookies set for an HTTPS address are not sent to any other.
        true if config.pages_url.starts_with("https:") => {
            format!("Make the first admin, within a day: {public}\n")
        }
        true => {
            format!("Make the first admin, within a day: {public}\n(where that does not lead here: {own})\n")
        }
    }
}

/// The address of the pages: the public address, or that of the process that serves them now or is configured to.
fn pages_url(store: &Store, config: &Config, now: Time) -> anyhow::Result<String> {
    if config.is_public_url_given {
        return Ok(config.pages_url.clone());
    }
    let alive =
        store.nodes()?.into_iter().filter(|known| known.state(gone_after(store), now) == NodeState::Alive);
    let listening = alive
        .filter(|known| matches!(Role::named(&known.node.role), Some(Role::Web | Role::Standalone)))
        .max_by_key(|known| known.beat_at)
        .and_then(|known| known.node.address.parse().ok());
    Ok(listening.map_or_else(|| config.pages_url.clone(), url_of))
}

fn invite_first_admin(store: &Store, now: Time) -> anyhow::Result<Option<String>> {
    let secret = keys::draw()?;
    let invited = store.invite_first_admin(&keys::hash(secret.reveal()), now + USED_WITHIN)?;
    Ok(invited.then(|| secret.reveal().to_owned()))
}

/// Logs what was made while the instance was open and has not been confirmed. It has no effect
/// until it is confirmed, as long as callers must authenticate.
pub fn tell_unconfirmed(store: &Store, config: &Config) {
    if config.auth == Auth::Open {
        return;
    }
    tell_left_behind(store);
    match store.unconfirmed() {
        Ok(unconfirmed) if unconfirmed == Unconfirmed::default() => {}
        Ok(Unconfirmed { users, tokens, shares }) => log::warn!(
            "{users} users, {tokens} tokens and {shares} shared pages and badges were made or changed while \
             everybody could (auth = \"open\"); they do not work until an admin confirms them in the settings"
        ),
        Err(error) => log::error!("it is not known what an admin has yet to confirm: {error}"),
    }
}

/// Logs the number of tokens that belong to no user.
fn tell_left_behind(store: &Store) {
    match store.tokens_left_behind() {
        Ok(0) => {}
        Ok(left) => log::warn!(
            "{left} tokens have no owner: the user who made them was removed, or is a viewer now. They still work, because jobs \
             may use them; review them in the settings"
        ),
        Err(error) => log::error!("it is not known whether tokens have no owner: {error}"),
    }
}

/// Makes a link for the user of this name, who is created if missing. `role`, if given, becomes the user's role.
///
/// # Errors
/// No role for an unconfirmed user, an invalid name or role, a database error, or no randomness.
pub fn invite(
    store: &Store,
    config: &Config,
    name: &str,
    role: Option<&str>,
    now: Time,
) -> anyhow::Result<String> {
    let name = account_name("name", name)?;
    let role = role.map(|role| UserRole::parse("role", role)).transpose()?;
    let store = store.acting_as(Actor::command_line());
    let secret = keys::draw()?;
    let (hash, expires_at) = (keys::hash(secret.reveal()), now + USED_WITHIN);
    match store.user_named(&name)? {
        Some((user, _)) => {
            anyhow::ensure!(
                user.confirmed || role.is_some(),
                "{name} got the role {} from an unknown person (auth was \"open\"): give the role that the user should have with --role",
                user.role.as_str()
            );
            if let Some(role) = role.filter(|role| *role != user.role) {
                store.change_role(user.id, role, now)?;
            }
            // Access to the machine is authority enough to confirm the user. The new link replaces whatever credentials
            // others may know.
            store.confirm_user(user.id, now)?;
            store.invite_again(user.id, &hash, expires_at, now)?;
        }
        None => {
            let (name, role) = (new_user_name("name", &name)?, role.unwrap_or(UserRole::Viewer));
            let made = store.add_user(&name, role, &hash, expires_at, now)?;
            anyhow::ensure!(made.is_some(), "{}", taken(&name));
        }
    }
    Ok(link(&pages_url(&store, config, now)?, secret.reveal()))
}

/// Removes the second factor of the user of this name and ends their sessions. Returns the message for the caller.
///
/// # Errors
/// There is no such user, or a database error.
pub fn reset_second_factor(store: &Store, name: &str, now: Time) -> anyhow::Result<String> {
    let store = store.acting_as(Actor::command_line());
    let Some((user, _)) = store.user_named(name)? else { anyhow::bail!("there is no user {name}") };
    Ok(match store.remove_second_factor(user.id, None, now)? {
        true => format!("The second factor of {name} is removed, and their sessions have ended.\n"),
        false => format!("{name} had no second factor.\n"),
    })
}

/// Removes the user of this name together with their tokens, or hands these over to `heir`. Returns the message for
/// the caller.
///
/// # Errors
/// There is no such user, an heir who cannot have tokens, or a database error.
pub fn remove(store: &Store, name: &str, heir: Option<&str>, now: Time) -> anyhow::Result<String> {
    let store = store.acting_as(Actor::command_line());
    let id_of = |name: &str| -> anyhow::Result<i64> {
        let found = store.user_named(name)?;
        let (user, _) = found.ok_or_else(|| anyhow::anyhow!("there is no user {name}"))?;
        Ok(user.id)
    };
    let left = heir.map(id_of).transpose()?.map_or(TokensLeft::End, TokensLeft::GoTo);
    match store.remove_user(id_of(name)?, left, now)? {
        Removed::Unknown => anyhow::bail!("there is no user {name}"),
        Removed::NoHeir => anyhow::bail!(
            "{} cannot have tokens: give another user than {name}, who is confirmed, and is no viewer",
            heir.unwrap_or_default()
        ),
        Removed::Done { tokens: 0 } => Ok(format!("The user {name} is removed, and had no tokens.\n")),
        Removed::Done { tokens } => {
            let fate = heir.map_or("ended".to_owned(), |heir| format!("now of {heir}"));
            Ok(format!("The user {name} is removed; tokens that are {fate}: {tokens}.\n"))
        }
    }
}
