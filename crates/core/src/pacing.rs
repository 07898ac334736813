//! The pace of messages to a recipient who gets many events in one message. The first message is
//! sent at once, the events of the following ten seconds in one digest, and then one digest a
//! minute while the storm lasts.

use chrono::TimeDelta;

use crate::Time;

/// How long messages are collected after the first.
pub const FIRST: TimeDelta = TimeDelta::seconds(10);
/// How long messages are collected after each later one.
pub const THEN: TimeDelta = TimeDelta::minutes(1);
/// A storm is over when nothing was sent for this long. It exceeds [`THEN`], because a digest may be sent a little
/// late.
pub const OVER: TimeDelta = TimeDelta::seconds(70);

/// Until when messages are collected after one that is sent at `now`; `last` is when the one before was sent.
/// `is_full` says that there may be more events than this one holds.
pub fn gather_until(last: Option<Time>, is_full: bool, now: Time) -> Time {
    // The absolute difference, because the clock may have moved back.
    let goes_on = last.is_some_and(|last| (now - last).abs() <= OVER);
    now + if goes_on && !is_full { THEN } else { FIRST }
}

/// Until when messages are collected after one could not be sent at `now` and is retried at `again`. They are sent
/// together with it, but wait no longer than in a storm: the next attempt may succeed.
pub fn gather_after_failure(again: Time, now: Time) -> Time {
    again.min(now + THEN)
}

/// Whether messages are being collected at `now`, given the stored `until`. A time further ahead than any that is ever
/// set comes from a clock that was ahead, and is ignored.
pub fn is_gathering(until: Time, now: Time) -> bool {
    now < until && until <= now + OVER
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time::from_timestamp(1_000_000 + second, 0).unwrap()
    }

    /// The seconds at which messages are sent that become ready at these seconds.
    fn sent(ready: &[i64]) -> Vec<i64> {
        let (mut last, mut until, mut sent) = (None, at(0), Vec::new());
        let mut waiting = false;
        for second in 0..=ready.iter().max().unwrap() + 61 {
            waiting |= ready.contains(&second);
            if waiting && !is_gathering(until, at(second)) {
                (until, last, waiting) = (gather_until(last, false, at(second)), Some(at(second)), false);
                sent.push(second);
            }
        }
        sent
    }

    #[test]
    fn a_storm_is_the_first_at_once_then_a_digest_then_one_a_minute() {
        assert_eq!(sent(&[0, 1, 2]), [0, 10]);
        assert_eq!(sent(&(0..=60).collect::<Vec<_>>()), [0, 10, 70]);
        assert_eq!(sent(&(0..=200).collect::<Vec<_>>()), [0, 10, 70, 130, 190, 250]);
    }

    #[test]
    fn what_comes_alone_goes_out_at_once() {
        assert_eq!(sent(&[0, 71, 142]), [0, 71, 142]);
        assert_eq!(sent(&[0, 5, 120, 121]), [0, 10, 120, 130], "and the next storm begins anew");
    }

    #[test]
    fn what_is_more_than_a_message_holds_follows_soon() {
        assert_eq!(gather_until(Some(at(-10)), true, at(0)), at(10));
    }

    #[test]
    fn a_trickle_is_one_a_minute() {
        assert_eq!(sent(&[0, 15]), [0, 15], "nothing gathered");
        assert_eq!(sent(&[0, 15, 30, 45, 60, 75, 90]), [0, 15, 75, 135]);
    }

    #[test]
    fn nobody_waits_for_longer_than_a_minute_whatever_the_clock_does() {
        let now = at(0);
        for last in [None, Some(at(-5)), Some(at(5)), Some(at(1_000_000)), Some(at(-1_000_000))] {
            let until = gather_until(last, false, now);
            assert!(until == now + FIRST || until == now + THEN, "{last:?}");
        }
        assert!(!is_gathering(at(71), now), "the clock has returned from the future");
        assert!(is_gathering(at(60), now) && is_gathering(at(1), now) && !is_gathering(now, now));
        assert_eq!(gather_after_failure(at(5), now), at(5));
        assert_eq!(gather_after_failure(at(3600), now), at(60), "others are tried sooner");
    }
}
