//! When a target is due: at an offset within the interval that depends on its key and stays the same after a restart,
//! so that many targets do not run at the same time.

use chrono::{DateTime, TimeDelta};
use innkeeper_core::Time;
use innkeeper_core::fnv::fnv1a_64;
use innkeeper_core::schedule::Schedule;

/// Longest offset after an instant of a cron or calendar schedule; shorter if instants are close together.
const SPREAD: TimeDelta = TimeDelta::seconds(30);
/// After a start, each target with an interval first runs within this time, or within its interval if that is
/// shorter.
const FIRST_RUNS: TimeDelta = TimeDelta::seconds(60);

/// Limits of parallel runs. A run occupies its slot until it ends, at the latest at its time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// Most runs in total.
    pub parallel: usize,
    /// Most runs against one host.
    pub per_host: usize,
}

impl Default for Slots {
    fn default() -> Self {
        Self { parallel: 32, per_host: 4 }
    }
}

/// A hash that is the same in every process and version: FNV-1a with its bits mixed.
pub(crate) fn hash(key: &str) -> u64 {
    let folded = fnv1a_64(key.bytes());
    let mixed = (folded ^ (folded >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

/// The offset of `key` within `interval`.
fn offset(key: &str, interval: TimeDelta) -> TimeDelta {
    let ms = u64::try_from(interval.num_milliseconds()).unwrap_or_default().max(1);
    TimeDelta::milliseconds(i64::try_from(hash(key) % ms).unwrap_or_default())
}

/// The first instant after `now` at which the target `key` is due; none if there is no further one.
pub(crate) fn next_due(schedule: &Schedule, key: &str, now: Time) -> Option<Time> {
    match schedule {
        Schedule::Every(period) => {
            let period_ms = period.num_milliseconds().max(1);
            let first = offset(key, *period).num_milliseconds();
            let passed = (now - DateTime::UNIX_EPOCH).num_milliseconds() - first;
            let next =
                passed.div_euclid(period_ms).checked_add(1)?.checked_mul(period_ms)?.checked_add(first)?;
            DateTime::UNIX_EPOCH.checked_add_signed(TimeDelta::try_milliseconds(next)?)
        }
        _ => {
            // The target's offset after an instant that has passed may still lie ahead.
            let mut instant = schedule.following(now - SPREAD)?;
            loop {
                let spread = SPREAD.min(schedule.period_at(instant) / 4);
                let due = instant.checked_add_signed(offset(key, spread))?;
                if due > now {
                    return Some(due);
                }
                instant = schedule.following(instant)?;
            }
        }
    }
}

/// When a target first runs after a start at `now`. With an interval this is soon, whatever its offset, so that a
/// daily check does not wait for a day. With cron or calendar it is the next instant.
pub(crate) fn first_due(schedule: &Schedule, key: &str, now: Time) -> Option<Time> {
    let next = next_due(schedule, key, now)?;
    match schedule {
        Schedule::Every(period) => Some(next.min(now + offset(key, FIRST_RUNS.min(*period)))),
        _ => Some(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(1_700_000_000 + seconds)
    }

    #[test]
    fn a_place_is_the_same_at_each_start_and_in_each_version() {
        assert_eq!(hash("probe web"), hash("probe web"));
        assert_ne!(hash("a"), hash("b"));
        // A fixed value: another hash would move the offset of every existing probe.
        assert_eq!(hash("web\nhome"), 12_011_557_807_440_048_083);
        let every = Schedule::every(TimeDelta::minutes(5)).unwrap();
        let first = next_due(&every, "a", at(0)).unwrap();
        assert!(first > at(0) && first <= at(300));
        for now in [0, 1, 17, 100] {
            let due = next_due(&every, "a", at(now)).unwrap();
            assert_eq!((due - first).num_milliseconds().rem_euclid(300_000), 0);
        }
        assert_eq!(next_due(&every, "a", first).unwrap() - first, TimeDelta::minutes(5));
    }

    #[test]
    fn many_targets_fill_the_interval_evenly() {
        let every = Schedule::every(TimeDelta::minutes(1)).unwrap();
        let mut tenths = [0; 10];
        for n in 0..1000 {
            let due = next_due(&every, &format!("host-{n}.example.org:443"), at(0)).unwrap();
            tenths[usize::try_from((due - at(0)).num_milliseconds() / 6000).unwrap().min(9)] += 1;
        }
        assert!(tenths.iter().all(|count| (60..=140).contains(count)), "{tenths:?}");
    }

    #[test]
    fn instants_of_the_clock_are_spread_a_little() {
        let daily = Schedule::cron("0 2 * * *", "Europe/Berlin").unwrap();
        let minutely = Schedule::cron("* * * * *", "UTC").unwrap();
        for n in 0..200 {
            let key = format!("k{n}");
            let due = next_due(&daily, &key, at(0)).unwrap();
            let instant = daily.following(at(0)).unwrap();
            assert!(due >= instant && due - instant < SPREAD);
            // Just after the instant the offset still lies ahead, and no instant is skipped.
            let mut last = at(0);
            for _ in 0..5 {
                let due = next_due(&minutely, &key, last).unwrap();
                assert!(due - last <= TimeDelta::seconds(75) && due > last);
                last = due;
            }
            assert_eq!(next_due(&minutely, &key, last).unwrap() - last, TimeDelta::seconds(60));
        }
    }

    #[test]
    fn after_a_start_a_daily_probe_is_not_silent_for_a_day() {
        let daily = Schedule::every(TimeDelta::days(1)).unwrap();
        let seconds = Schedule::every(TimeDelta::seconds(10)).unwrap();
        for n in 0..100 {
            let key = format!("k{n}");
            assert!(first_due(&daily, &key, at(0)).unwrap() <= at(60));
            assert!(first_due(&seconds, &key, at(0)).unwrap() <= at(10));
        }
        let never = Schedule::calendar("2020-01-01", None).unwrap();
        assert_eq!(first_due(&never, "a", at(0)), None);
    }
}
