//! The `Retry-After` header, by which a server says how long to wait (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime};

use crate::Time;

/// How long to wait from `now` on. The text is a number of seconds, or a date in any of the three forms of HTTP. A
/// past date and a negative number mean no wait. `None` for any other text.
pub fn wait(text: &str, now: Time) -> Option<Duration> {
    let text = text.trim();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if text.strip_prefix('-').is_some_and(is_number) {
        return Some(Duration::ZERO);
    }
    if is_number(text) {
        // A number that overflows is longer than anybody waits.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(SystemTime::from(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_all_three_forms_of_a_date() {
        // Sunday, 6 November 1994, 08:48:37.
        let now = Time::from_timestamp(784_111_717, 0).unwrap();
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(60)),
            ("Sun Nov  6 08:49:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("", None),
            ("-5", Some(0)),
            ("-", None),
            ("1.5", None),
        ] {
            assert_eq!(wait(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
