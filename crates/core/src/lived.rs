//! Lived time: time in which Innkeeper could take check-ins. Ages after which something is removed or given up count
//! only lived time, so that neither an outage nor a clock that jumped makes anything old.

use chrono::TimeDelta;

use crate::Time;
use crate::reservation::Window;

/// The instant since which `age` of lived time (time outside these blind windows) has passed.
pub fn ago(windows: &[Window], age: TimeDelta, now: Time) -> Time {
    let mut latest_first: Vec<&Window> = windows.iter().collect();
    latest_first.sort_by_key(|window| std::cmp::Reverse(window.until));
    let (mut at, mut left) = (now, age);
    for window in latest_first {
        let until = window.until.min(at);
        if until <= window.from {
            continue;
        }
        let lived = at - until;
        if lived >= left {
            break;
        }
        left -= lived;
        at = window.from;
    }
    at.checked_sub_signed(left).unwrap_or(Time::MIN_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Time {
        Time::from_timestamp(1_800_000_000 + hours * 3600, 0).unwrap()
    }

    fn window(from: i64, until: i64) -> Window {
        Window { from: at(from), until: at(until) }
    }

    #[test]
    fn blind_windows_do_not_count() {
        let hours = TimeDelta::hours;
        assert_eq!(ago(&[], hours(5), at(0)), at(-5));
        assert_eq!(ago(&[window(-3, -1)], hours(5), at(0)), at(-7));
        assert_eq!(ago(&[window(-3, -1)], hours(1), at(0)), at(-1));
        assert_eq!(ago(&[window(-1440, 0)], hours(24), at(0)), at(-1464), "sixty days ahead");
        assert_eq!(ago(&[window(-9, -8), window(-3, -1)], hours(5), at(0)), at(-7));
        assert_eq!(ago(&[window(-9, -6), window(-3, -1)], hours(5), at(0)), at(-10));
    }

    #[test]
    fn windows_that_overlap_or_lie_ahead_count_once() {
        let hours = TimeDelta::hours;
        assert_eq!(ago(&[window(-4, -2), window(-3, -1)], hours(5), at(0)), at(-8));
        assert_eq!(ago(&[window(-5, -1), window(-3, -2)], hours(5), at(0)), at(-9));
        assert_eq!(ago(&[window(-3, 9)], hours(1), at(0)), at(-4));
        assert_eq!(ago(&[window(2, 9)], hours(1), at(0)), at(-1));
    }
}
