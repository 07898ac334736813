//! The back-off between the attempts to send a message.

use chrono::TimeDelta;

const FIRST: TimeDelta = TimeDelta::seconds(5);
const LONGEST: TimeDelta = TimeDelta::hours(1);

/// The pause before the next attempt. `attempts` is the number of failed attempts before the last one: with 0 the pause
/// is 5 s; it doubles with each up to one hour. Then up to a fifth is added or subtracted, so that messages that failed
/// together are not retried together. The same `seed` and `attempts` always give the same pause.
pub(crate) fn pause(attempts: i64, seed: &str) -> TimeDelta {
    let doublings = attempts.clamp(0, 16) as u32;
    let plain = LONGEST.min(FIRST * 2_i32.pow(doublings));
    // The jitter comes from an FNV-1a hash; any evenly distributed hash would do.
    let hash = seed.bytes().chain(attempts.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let per_mille = 800 + (hash >> 32) as i64 % 401;
    TimeDelta::milliseconds(plain.num_milliseconds() * per_mille / 1000)
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
