//! Secrets that are drawn at random, and the hashes by which they are known.
//!
//! They have 256 bits, so a plain SHA-256 is as good as a slow hash: nobody guesses them. What a person chooses is another matter
//! ([`password`]).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use innkeeper_core::secret::Secret;
use sha2::{Digest as _, Sha256};

/// Draws a secret: 43 letters, digits, `-` and `_`.
///
/// # Errors
/// When the system has no randomness to give.
pub fn draw() -> Result<Secret, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

/// What a secret is known by: its SHA-256 in hexadecimal.
pub fn hash(secret: &str) -> String {
    Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Passwords, hashed with argon2id and the parameters that OWASP recommends (19 MiB, two passes): the defaults of the crate.
pub mod password {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, PoisonError};

    use argon2::Argon2;
    use argon2::password_hash::{self, PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};

    /// One at a time: each takes 19 MiB and a core, and a crowd at the door must not take the house down.
    static TURN: Mutex<()> = Mutex::new(());
    /// How many have a turn or wait for one.
    static CROWD: AtomicUsize = AtomicUsize::new(0);
    /// The most that wait; each holds a thread.
    const MOST: usize = 16;

    /// More want in than can be looked at.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
    #[error("too many passwords at once")]
    pub struct Crowded;

    /// A place in the crowd.
    struct Place;

    impl Place {
        fn take() -> Result<Self, Crowded> {
            let place = Self;
            if CROWD.fetch_add(1, Ordering::SeqCst) >= MOST { Err(Crowded) } else { Ok(place) }
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            CROWD.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Hashes a new password, with its salt and parameters in the result.
    ///
    /// # Errors
    /// When the system has no randomness to give, and [`Crowded`].
    pub fn hash(password: &str) -> anyhow::Result<String> {
        let _place = Place::take()?;
        let mut salt = [0; 16];
        getrandom::fill(&mut salt)?;
        let salt = SaltString::encode_b64(&salt).map_err(unusable)?;
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Argon2::default().hash_password(password.as_bytes(), &salt).map_err(unusable)?.to_string())
    }

    /// Whether it is the password. Without a hash to compare with it takes as long, and says no.
    ///
    /// # Errors
    /// A hash that is none, and [`Crowded`].
    pub fn verify(password: &str, known: Option<&str>) -> anyhow::Result<bool> {
        let Some(known) = known else {
            hash(password)?;
            return Ok(false);
        };
        let known = PasswordHash::new(known).map_err(unusable)?;
        let _place = Place::take()?;
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        match Argon2::default().verify_password(password.as_bytes(), &known) {
            Ok(()) => Ok(true),
            Err(password_hash::Error::Password) => Ok(false),
            Err(error) => Err(unusable(error)),
        }
    }

    fn unusable(error: password_hash::Error) -> anyhow::Error {
        anyhow::anyhow!("argon2: {error}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_secret_is_another_and_known_by_its_hash() {
        let (one, other) = (draw().unwrap(), draw().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.reveal().len(), 43);
        assert_eq!(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_password_is_recognised_and_a_crowd_turned_away() {
        let known = password::hash("correct horse").unwrap();
        assert!(known.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{known}");
        assert!(password::verify("correct horse", Some(&known)).unwrap());
        assert!(!password::verify("correct horses", Some(&known)).unwrap());
        assert!(!password::verify("correct horse", None).unwrap());
        assert!(password::verify("x", Some("plain")).is_err());
        // And a crowd is turned away. Here, since the crowd is everybody's.
        let results: Vec<_> = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..40).map(|_| scope.spawn(|| password::hash("correct horse"))).collect();
            tries.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let crowded = results
            .iter()
            .filter(|result| result.as_ref().is_err_and(|error| error.is::<password::Crowded>()));
        assert!(crowded.count() > 0 && results.iter().any(Result::is_ok));
    }
}
