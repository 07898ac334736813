//! When a target is due: its own place within the interval, the same after each start, so that many targets
//! do not run at once.

use chrono::{DateTime, TimeDelta};
use innkeeper_core::Time;
use innkeeper_core::fnv::fnv1a_64;
use innkeeper_core::schedule::Schedule;

/// Targets of cron and calendar schedules are spread over at most this long after the instant; less where
/// instants are near one another.
const SPREAD: TimeDelta = TimeDelta::seconds(30);
/// After a start each target of an interval runs once within this long, or within its interval where that is
/// shorter.
const FIRST_RUNS: TimeDelta = TimeDelta::seconds(60);

/// How many runs there may be at once. A run holds its place until it is over, at the latest until its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// In all.
    pub parallel: usize,
    /// Against one host.
    pub per_host: usize,
}

impl Default for Slots {
    fn default() -> Self {
        Self { parallel: 32, per_host: 4 }
    }
}

/// A number that is the same for the same key in each program and version: FNV-1a, its bits mixed.
pub(crate) fn hash(key: &str) -> u64 {
    let folded = fnv1a_64(key.bytes());
    let mixed = (folded ^ (folded >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

/// The place of `key` within `interval`.
fn offset(key: &str, interval: TimeDelta) -> TimeDelta {
    let ms = u64::try_from(interval.num_milliseconds()).unwrap_or_default().max(1);
    TimeDelta::milliseconds(i64::try_from(hash(key) % ms).unwrap_or_default())
}

/// The first instant after `now` at which the target `key` is due. None where there is none any more.
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
            // An instant that has come may have this target's place still before it.
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

/// When a target runs for the first time after a start at `now`: one of an interval soon, whatever its place
/// is, so that one a day is not silent for a day; one of cron or calendar at its next instant.
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
        // Written down: another number would move every probe of everybody.
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
            // Just after the instant its place is still to come, and none is left out.
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
