//! One clock for all nodes: the database's, as far as a node can know it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::{Clock, SystemClock, Time};

/// What a measurement may be off by whatever the network does: below it a clock is not worth correcting.
const NOISE: TimeDelta = TimeDelta::milliseconds(20);
/// A clock that is further off than this deserves a warning.
const FAR_OFF: TimeDelta = TimeDelta::seconds(5);
/// An answer that took longer says nothing about the time.
const SLOW: Duration = Duration::from_millis(500);

/// The machine's clock, corrected by its offset from the database's.
#[derive(Debug, Default)]
pub struct NodeClock {
    offset_ms: AtomicI64,
}

impl NodeClock {
    /// What is added to the machine's clock.
    pub fn offset(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.offset_ms.load(Ordering::Relaxed))
    }

    /// The database showed `there` when the machine showed between `asked` and `took` later. Small differences are left alone, so that
    /// the clock does not waver. Returns the offset when it is new and worth a warning.
    pub(crate) fn measure(&self, asked: Time, took: Duration, there: Time) -> Option<TimeDelta> {
        if took > SLOW {
            return None;
        }
        let half = TimeDelta::from_std(took / 2).unwrap_or_default();
        let offset = there - (asked + half);
        let known = self.offset();
        if (offset - known).abs() <= NOISE + half {
            return None;
        }
        self.offset_ms.store(offset.num_milliseconds(), Ordering::Relaxed);
        (offset.abs() > FAR_OFF).then_some(offset)
    }
}

impl Clock for NodeClock {
    fn now(&self) -> Time {
        SystemClock.now() + self.offset()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_corrected_and_one_that_is_not_is_left_alone() {
        let clock = NodeClock::default();
        let at = SystemClock.now();
        let ms = Duration::from_millis;
        assert_eq!(clock.measure(at, ms(10), at + TimeDelta::milliseconds(15)), None);
        assert_eq!(clock.offset(), TimeDelta::zero(), "the network may account for that");
        assert_eq!(clock.measure(at, ms(10), at + TimeDelta::milliseconds(3005)), None);
        assert_eq!(clock.offset(), TimeDelta::seconds(3));
        assert_eq!(clock.measure(at, ms(900), at), None, "who knows when it was read");
        assert_eq!(clock.offset(), TimeDelta::seconds(3));
        assert_eq!(clock.measure(at, ms(0), at - TimeDelta::seconds(9)), Some(TimeDelta::seconds(-9)));
        assert_eq!(clock.measure(at, ms(0), at - TimeDelta::seconds(9)), None, "said once");
        assert!((SystemClock.now() - clock.now() - TimeDelta::seconds(9)).abs() < TimeDelta::seconds(1));
    }
}
