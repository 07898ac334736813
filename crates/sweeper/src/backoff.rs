//! The back-off between the attempts to send a message.

use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::backoff::Backoff;
use innkeeper_core::fnv::fnv1a_64;

const BACKOFF: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(3600));

/// The pause before the next attempt. `attempts` is the number of failed attempts before the last one: with 0 the pause
/// is 5 s; it doubles with each up to one hour. Then up to a fifth is added or subtracted, so that messages that failed
/// together are not retried together. The same `seed` and `attempts` always give the same pause.
pub(crate) fn pause(attempts: i64, seed: &str) -> TimeDelta {
    let failures = u32::try_from(attempts.max(0)).unwrap_or(u32::MAX);
    let hash = fnv1a_64(seed.bytes().chain(attempts.to_le_bytes()));
    let random = (hash >> 32) as f64 / f64::from(u32::MAX);
    let pause = BACKOFF.after(failures).spread_pause(0.2, random);
    TimeDelta::milliseconds(pause.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_an_hour_and_are_spread() {
        let of = |attempts| pause(attempts, "key").num_seconds();
        assert!((4..=6).contains(&of(0)), "{}", of(0));
        assert!((32..=48).contains(&of(3)), "{}", of(3));
        assert!((2880..=4320).contains(&of(40)), "{}", of(40));
        let spread: std::collections::HashSet<i64> =
            (0..50).map(|n| pause(5, &n.to_string()).num_milliseconds()).collect();
        assert!(spread.len() > 40);
        assert_eq!(pause(3, "key"), pause(3, "key"));
    }
}
