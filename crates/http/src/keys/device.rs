//! Known browsers, in which a user has logged in before: wrong guesses from elsewhere cannot lock them out.
//!
//! Such a browser keeps a cookie with a random name, its time of creation, and a signature. The signing key is derived
//! from the hash of the user's password, whose salt is not public: so the cookie is valid for that user only, and
//! until the password changes. It also records whether a second factor was used there, because somebody who knew the
//! password before a second factor was set up must not be trusted.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use hmac::{Hmac, Mac as _};
use innkeeper_core::Time;
use sha2::Sha256;

/// How long after a login its browser is known.
pub const KNOWN_FOR: TimeDelta = TimeDelta::days(400);

/// The mark after the time if a second factor was used.
const FACTOR: char = 'f';

/// A known browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownDevice<'c> {
    /// Its name.
    pub name: &'c str,
    /// Whether a second factor was used there.
    pub has_shown_factor: bool,
}

/// Makes the cookie of a browser: `NAME.SECONDS.SIGNATURE`, with an `f` after the seconds if
/// `has_shown_factor`.
///
/// # Errors
/// The system provides no randomness.
pub fn issue(user: i64, password: &str, has_shown_factor: bool, now: Time) -> anyhow::Result<String> {
    let mut name = [0; 16];
    getrandom::fill(&mut name)?;
    let mark = if has_shown_factor { FACTOR.to_string() } else { String::new() };
    let said = format!("{}.{}{mark}", URL_SAFE_NO_PAD.encode(name), now.timestamp());
    let signature = URL_SAFE_NO_PAD.encode(signing(user, password, &said)?.finalize().into_bytes());
    Ok(format!("{said}.{signature}"))
}

/// The known browser with this cookie, if the cookie is valid for this user and the hash `password`
/// of their password.
pub fn known<'c>(cookie: &'c str, user: i64, password: &str, now: Time) -> Option<KnownDevice<'c>> {
    let (said, signature) = cookie.rsplit_once('.')?;
    let (name, since) = said.split_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    signing(user, password, said).ok()?.verify_slice(&signature).ok()?;
    let (since, has_shown_factor) = since.strip_suffix(FACTOR).map_or((since, false), |since| (since, true));
    let since: i64 = since.parse().ok()?;
    let is_fresh = now.timestamp().saturating_sub(since) < KNOWN_FOR.num_seconds();
    is_fresh.then_some(KnownDevice { name, has_shown_factor })
}

fn signing(user: i64, password: &str, said: &str) -> anyhow::Result<Hmac<Sha256>> {
    let key = format!("innkeeper device\n{user}\n{password}");
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes())?;
    mac.update(said.as_bytes());
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn at(days: i64) -> Time {
        DateTime::from_timestamp(1_800_000_000 + days * 86_400, 0).unwrap()
    }

    #[test]
    fn a_device_is_known_to_its_user_until_the_password_changes() {
        let cookie = issue(7, "hash", false, at(0)).unwrap();
        let name = cookie.split('.').next().unwrap();
        assert_eq!(known(&cookie, 7, "hash", at(399)), Some(KnownDevice { name, has_shown_factor: false }));
        let factor = issue(7, "hash", true, at(0)).unwrap();
        assert!(known(&factor, 7, "hash", at(399)).unwrap().has_shown_factor);
        assert_eq!(known(&factor.replacen("f.", ".", 1), 7, "hash", at(1)), None, "the mark is signed");
        let (said, signature) = cookie.rsplit_once('.').unwrap();
        assert_eq!(
            known(&format!("{said}f.{signature}"), 7, "hash", at(1)),
            None,
            "and so is that there is none"
        );
        assert_eq!(known(&cookie, 8, "hash", at(1)), None, "another user");
        assert_eq!(known(&cookie, 7, "another hash", at(1)), None, "another password");
        assert_eq!(known(&cookie, 7, "hash", at(400)), None, "too old");
        assert_ne!(issue(7, "hash", false, at(0)).unwrap(), cookie);
    }

    #[test]
    fn what_nobody_signed_is_no_device() {
        let cookie = issue(7, "hash", false, at(0)).unwrap();
        let (said, signature) = cookie.rsplit_once('.').unwrap();
        let (name, _) = said.split_once('.').unwrap();
        let later = format!("{name}.{}.{signature}", at(300).timestamp());
        for forged in ["", ".", "..", "a.b.c", "x", &later, said, &format!("x{cookie}"), &format!("{said}.")]
        {
            assert_eq!(known(forged, 7, "hash", at(1)), None, "{forged}");
        }
    }
}
