//! Logins at an OpenID provider: the authorization code flow with PKCE.
//!
//! A browser that begins keeps a secret in a cookie. With another, drawn for this login, which goes to the provider and
//! comes back as `state`, it is what the login is known by ([`Beginning`]): so only the browser that began it can end
//! it, and several can be under way in one browser. What the flow needs beside them is derived from both.
//!
//! [`Provider`] is what talks to the provider, in a build that can: there is none in others. `pages/openid.rs` has the
//! handlers, [`innkeeper_core::claims`] the rules, the store's `identities` who is who.

#![cfg_attr(
    not(feature = "openid"),
    allow(dead_code, reason = "where there is no provider, nobody reads what it is told")
)]

#[cfg(feature = "openid")]
mod known;
#[cfg(feature = "openid")]
mod provider;
mod seats;
#[cfg(not(feature = "openid"))]
mod without;

#[cfg(feature = "openid")]
pub(crate) use provider::Provider;
pub(crate) use seats::Seats;
#[cfg(not(feature = "openid"))]
pub(crate) use without::Provider;

use innkeeper_core::access::UserRole;
use innkeeper_http::keys;

use crate::refused_logins::RefusalReason;

/// The path to which the provider sends people back, below `public_url`.
pub(crate) const CALLBACK: &str = "/login/openid/callback";

/// The longest text of a provider's that is shown.
const LONGEST_SHOWN: usize = 300;

/// The login at a provider, as the configuration has it.
pub(crate) struct OpenId {
    pub provider: Provider,
    /// What the button says.
    pub label: String,
    /// Whether an admin can come of it.
    pub makes_admins: bool,
    /// For whom the provider is asked at once.
    pub seats: Seats,
}

/// What a login that has begun is known by: the browser's secret, and its own.
#[derive(Clone)]
pub(crate) struct Beginning {
    browser: String,
    state: String,
}

impl Beginning {
    /// The login of this browser with this `state`; none where either cannot be one.
    pub fn of(browser: &str, state: &str) -> Option<Self> {
        [browser, state]
            .iter()
            .all(|secret| is_secret(secret))
            .then(|| Self { browser: browser.to_owned(), state: state.to_owned() })
    }

    /// What the provider brings back.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// What the store knows it by.
    pub fn hash(&self) -> String {
        self.derive("login")
    }

    /// What the provider puts into the token that it makes for this login.
    pub fn nonce(&self) -> String {
        self.derive("nonce")
    }

    /// What shows the provider that whoever ends the login began it.
    pub fn verifier(&self) -> String {
        self.derive("verifier")
    }

    fn derive(&self, what: &str) -> String {
        keys::hash(&format!("innkeeper openid {what}\n{}\n{}", self.browser, self.state))
    }
}

/// Whether it is written as [`keys::draw`] writes.
pub(crate) fn is_secret(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// What the provider sent back by the browser.
#[derive(Debug, Default)]
pub(crate) struct Returned {
    pub code: String,
    /// Who says so (RFC 9207).
    pub issuer: Option<String>,
    /// Why there is no code.
    pub error: String,
    pub error_description: String,
}

/// Somebody of whom the provider says who they are.
#[derive(Debug)]
pub(crate) struct Person {
    pub issuer: String,
    pub subject: String,
    /// What they are called, or why they cannot be called so.
    pub name: Result<String, String>,
    pub role: Option<UserRole>,
    /// Why the provider said nothing of their role, for people; none where it did, or has no say in it.
    pub unsaid: Option<String>,
}

/// Why nobody came of it.
#[derive(Debug, Clone)]
pub(crate) enum OpenIdTrouble {
    /// The provider is away, or answers what cannot be used.
    Away(String),
    /// The provider does not let them in.
    Refused(String),
    /// The provider does not accept this program, or its own code.
    Unaccepted(String),
    /// What came back is not for this login, or not from the provider.
    Untrusted(String),
}

impl OpenIdTrouble {
    pub fn why(&self) -> RefusalReason {
        match self {
            Self::Away(_) => RefusalReason::ProviderAway,
            Self::Refused(_) => RefusalReason::ProviderRefused,
            Self::Unaccepted(_) => RefusalReason::Unaccepted,
            Self::Untrusted(_) => RefusalReason::Untrusted,
        }
    }

    /// What happened, for people.
    pub fn problem(&self) -> String {
        match self {
            Self::Away(what) => format!("The login at the provider does not work just now: {what}"),
            Self::Refused(what) => format!("The provider did not let you in: {what}"),
            Self::Unaccepted(what) => format!("The login at the provider failed: {what}"),
            Self::Untrusted(what) => format!("What the provider answered cannot be trusted: {what}"),
        }
    }
}

/// Words of a stranger's as a line: without what would change how the rest of it reads, and not too long.
pub(crate) fn shown(text: &str) -> String {
    let is_odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut line: String =
        text.chars().take(LONGEST_SHOWN).map(|c| if is_odd(c) { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST_SHOWN).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(letter: char) -> String {
        letter.to_string().repeat(43)
    }

    #[test]
    fn a_login_is_of_its_browser_and_its_state() {
        let login = Beginning::of(&secret('a'), &secret('b')).unwrap();
        assert_eq!(login.hash(), Beginning::of(&secret('a'), &secret('b')).unwrap().hash());
        for (browser, state) in [('b', 'a'), ('a', 'a'), ('a', 'c')] {
            let other = Beginning::of(&secret(browser), &secret(state)).unwrap();
            assert_ne!(login.hash(), other.hash());
            assert_ne!(login.verifier(), other.verifier());
        }
        let derived = [login.hash(), login.nonce(), login.verifier()];
        assert!(
            derived
                .iter()
                .all(|one| one.len() == 64 && derived.iter().filter(|other| *other == one).count() == 1)
        );
        for no in ["", "a", &secret('\n'), &secret('ä'), &format!("{}x", secret('a'))] {
            assert!(
                Beginning::of(no, &secret('b')).is_none() && Beginning::of(&secret('a'), no).is_none(),
                "{no:?}"
            );
        }
    }

    #[test]
    fn words_of_strangers_are_one_short_line() {
        assert_eq!(shown("no\r\nSet-Cookie: \u{202e}x"), "no  Set-Cookie:  x");
        assert_eq!(shown(&"é".repeat(1000)).chars().count(), LONGEST_SHOWN + 1);
    }
}
