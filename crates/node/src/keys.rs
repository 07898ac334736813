//! Random secrets, and the hashes that are stored of them.
//!
//! A secret has 256 random bits and cannot be guessed, so plain SHA-256 is as safe as a slow hash.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use innkeeper_core::secret::Secret;
use sha2::{Digest as _, Sha256};

/// Draws a secret: 43 letters, digits, `-` and `_`.
///
/// # Errors
/// The system provides no randomness.
pub fn draw() -> Result<Secret, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

/// The stored hash of a secret: SHA-256 in hexadecimal.
pub fn hash(secret: &str) -> String {
    Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect()
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
}
