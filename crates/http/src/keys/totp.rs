//! Codes of an authenticator app: TOTP (RFC 6238) with SHA-1, six digits and steps of 30 seconds, which is what every
//! app knows.

use chrono::TimeDelta;
use hmac::{Hmac, Mac as _};
use innkeeper_core::Time;
use innkeeper_core::secret::Secret;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::Sha1;

/// How long a code is shown.
pub const STEP: TimeDelta = TimeDelta::seconds(30);
/// The digits of a code.
pub const DIGITS: usize = 6;
/// The bytes of a secret, as RFC 4226 recommends.
const SECRET: usize = 20;
/// The alphabet of RFC 4648, in which apps take secrets.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Draws a secret, in base32.
///
/// # Errors
/// The system provides no randomness.
pub fn draw() -> Result<Secret, getrandom::Error> {
    let mut bytes = [0; SECRET];
    getrandom::fill(&mut bytes)?;
    Ok(Secret::new(encode(&bytes)))
}

/// The code of this secret at `now`; none where the secret is invalid.
pub fn code(secret: &str, now: Time) -> Option<String> {
    Some(code_of(&decode(secret)?, step_of(now)))
}

/// When the step of the given code began. The steps before and after that of `now` count as well,
/// since clocks differ. None if the code belongs to none of these steps.
pub fn step_began(secret: &str, given: &str, now: Time) -> Option<Time> {
    let (key, given) = (decode(secret)?, digits(given)?);
    let now = step_of(now);
    // All three are compared, so that the time this takes tells nothing.
    let fits = [now - 1, now, now + 1].map(|step| (same(&code_of(&key, step), &given), step));
    let (_, step) = fits.into_iter().rev().find(|(fits, _)| *fits)?;
    Time::from_timestamp(step * STEP.num_seconds(), 0)
}

/// The digits of a code as a person typed it, such as `123 456`. None if it is not a code of six
/// digits.
pub fn digits(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
    (text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

/// The address in the QR code for an authenticator app: the secret, and the names under which the
/// app shows its codes.
pub fn address(secret: &str, instance: &str, user: &str) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let (instance, user) = (encoded(instance), encoded(user));
    format!("otpauth://totp/{instance}:{user}?secret={secret}&issuer={instance}")
}

fn step_of(time: Time) -> i64 {
    time.timestamp().div_euclid(STEP.num_seconds())
}

fn code_of(key: &[u8], step: i64) -> String {
    // Does not fail: HMAC accepts keys of any length.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else { return String::new() };
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    // RFC 4226, 5.3: four bytes, whose place is in the last byte.
    let from = usize::from(hash[hash.len() - 1] & 0xf);
    let number = hash[from..from + 4].iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
}

fn same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |any, (a, b)| any | (a ^ b)) == 0
}

fn encode(bytes: &[u8]) -> String {
    bytes
        .chunks(5)
        .flat_map(|chunk| {
            let bits = (0..5).fold(0_u64, |bits, n| bits << 8 | u64::from(*chunk.get(n).unwrap_or(&0)));
            let letters = (chunk.len() * 8).div_ceil(5);
            (0..letters).map(move |n| char::from(BASE32[(bits >> (35 - 5 * n)) as usize & 31]))
        })
        .collect()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes() {
        let value = BASE32.iter().position(|known| *known == letter)?;
        bits = bits << 5 | u32::try_from(value).ok()?;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
            bits &= (1 << count) - 1;
        }
    }
    (bytes.len() >= SECRET).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    /// `12345678901234567890`, of RFC 6238.
    const KNOWN: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn at(seconds: i64) -> Time {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        // Appendix B shows eight digits; the code is the last six of them.
        for (seconds, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(KNOWN, at(seconds)).as_deref(), Some(expected), "{seconds}");
        }
    }

    #[test]
    fn a_code_is_good_for_its_step_and_those_beside_it() {
        let given = code(KNOWN, at(3000)).unwrap();
        for (seconds, began) in
            [(2969, None), (2970, Some(3000)), (3000, Some(3000)), (3059, Some(3000)), (3060, None)]
        {
            assert_eq!(step_began(KNOWN, &given, at(seconds)), began.map(at), "{seconds}");
        }
        let spaced = format!(" {} {} ", &given[..3], &given[3..]);
        assert_eq!(step_began(KNOWN, &spaced, at(3000)), Some(at(3000)), "{spaced}");
        for wrong in ["", "12345", "1234567", "１２３４５６", "abcdef", "000000", "-1"] {
            assert_eq!(step_began(KNOWN, wrong, at(3000)), None, "{wrong}");
        }
        for secret in ["", "GEZDGNBV", "gezdgnbvgy3tqojqgezdgnbvgy3tqojq", "0EZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"]
        {
            assert_eq!(step_began(secret, &given, at(3000)), None, "{secret:?} is no secret");
        }
    }

    #[test]
    fn secrets_have_160_bits_and_read_back() {
        assert_eq!(encode(b"12345678901234567890"), KNOWN);
        assert_eq!(decode(KNOWN).unwrap(), b"12345678901234567890");
        let (one, other) = (draw().unwrap(), draw().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.reveal().len(), 32);
        assert_eq!(encode(&decode(one.reveal()).unwrap()), one.reveal());
    }

    #[test]
    fn the_address_names_the_instance_and_the_user() {
        assert_eq!(
            address(KNOWN, "Inn: east", "ada&co"),
            format!("otpauth://totp/Inn%3A%20east:ada%26co?secret={KNOWN}&issuer=Inn%3A%20east")
        );
    }
}
