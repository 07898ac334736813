//! Moving recorded times back, after a clock that was ahead has returned.
//!
//! Times later than the new now were recorded by the clock that was ahead. They move back by the size of the step. The
//! order of the times of one reservation is kept, because it carries meaning: a failure after a success must stay
//! after it.
//!
//! Times later by no more than [`STEP`] stay: nodes that have followed the step already record by the new time, and
//! the clock of one node may be a little ahead of another's.

use chrono::TimeDelta;

use crate::Time;
use crate::discipline::STEP;

/// One move of recorded times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewind {
    /// The new now: no time that moves stays later than it.
    pub now: Time,
    /// How far the clock moved back; greater than zero.
    pub by: TimeDelta,
}

/// How the times of one reservation move.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    /// Times up to this stay as they are.
    stays_ms: i64,
    /// No time moves to a value later than this.
    limit_ms: i64,
    by_ms: i64,
    /// Where the earliest and the latest of the moving times come from and go to, if moving all by the same amount
    /// would change their order.
    squeezed: Option<Squeezed>,
}

#[derive(Debug, Clone, Copy)]
struct Squeezed {
    from: (i64, i64),
    to: (i64, i64),
}

impl Rewind {
    /// Times up to this stay as they are, in milliseconds since 1970.
    pub fn stays_ms(&self) -> i64 {
        self.now.timestamp_millis().saturating_add(STEP.num_milliseconds())
    }

    /// The new value of a time whose order among others does not matter.
    pub fn alone(&self, at_ms: i64) -> i64 {
        self.course(self.now.timestamp_millis(), None).of(at_ms)
    }

    /// How these times of one reservation move together; `None` if none of them moves.
    pub fn together(&self, times_ms: impl IntoIterator<Item = i64>) -> Option<Course> {
        let by_ms = self.by.num_milliseconds();
        let (mut stays, mut first, mut last) = (i64::MIN, i64::MAX, i64::MIN);
        for at in times_ms {
            if at <= self.stays_ms() {
                stays = stays.max(at);
            } else {
                (first, last) = (first.min(at), last.max(at));
            }
        }
        if last == i64::MIN {
            return None;
        }
        // A time that stays may be a little later than now.
        let limit = self.now.timestamp_millis().max(stays);
        let moved = (first.saturating_sub(by_ms), last.saturating_sub(by_ms));
        let ordered = moved.0 > stays && moved.1 <= limit;
        let squeezed = (!ordered).then(|| {
            let to = (moved.0.max(stays.saturating_add(1)).min(limit), moved.1.clamp(stays, limit));
            Squeezed { from: (first, last), to: (to.0, to.1.max(to.0)) }
        });
        Some(self.course(limit, squeezed))
    }

    fn course(&self, limit_ms: i64, squeezed: Option<Squeezed>) -> Course {
        Course { stays_ms: self.stays_ms(), limit_ms, by_ms: self.by.num_milliseconds(), squeezed }
    }
}

impl Course {
    /// The new value of a time.
    pub fn of(&self, at_ms: i64) -> i64 {
        if at_ms <= self.stays_ms {
            return at_ms;
        }
        let Some(Squeezed { from, to }) = self.squeezed else {
            return at_ms.saturating_sub(self.by_ms).min(self.limit_ms);
        };
        let (long, room) = (i128::from(from.1 - from.0).max(1), i128::from(to.1 - to.0));
        let along = (i128::from(at_ms) - i128::from(from.0)).clamp(0, long);
        to.0 + i64::try_from(along * room / long).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;
    const HOUR: i64 = 3_600_000;

    fn rewind(by_ms: i64) -> Rewind {
        Rewind { now: Time::from_timestamp_millis(NOW).unwrap(), by: TimeDelta::milliseconds(by_ms) }
    }

    #[test]
    fn what_is_ahead_comes_back_by_the_step_and_never_stays_beyond_now() {
        let rewind = rewind(24 * HOUR);
        assert_eq!(rewind.alone(NOW + 23 * HOUR), NOW - HOUR);
        assert_eq!(rewind.alone(NOW + 25 * HOUR), NOW);
        assert_eq!(rewind.alone(NOW), NOW);
        assert_eq!(rewind.alone(NOW - HOUR), NOW - HOUR);
    }

    #[test]
    fn what_another_node_has_just_stamped_by_the_new_time_stays() {
        let rewind = rewind(HOUR);
        assert_eq!(rewind.alone(NOW + 3), NOW + 3);
        assert!(rewind.together([NOW - HOUR, NOW + 3, NOW + 5000]).is_none());
        let course = rewind.together([NOW + 3, NOW + HOUR]).unwrap();
        assert_eq!(course.of(NOW + 3), NOW + 3);
        assert!(
            (NOW + 3..NOW + 5).contains(&course.of(NOW + HOUR)),
            "it was stamped after a time that stays"
        );
    }

    #[test]
    fn times_in_company_move_alike_where_their_order_allows_it() {
        let rewind = rewind(24 * HOUR);
        let course = rewind.together([NOW - 3 * HOUR, NOW + 22 * HOUR, NOW + 23 * HOUR]).unwrap();
        assert_eq!(course.of(NOW + 22 * HOUR), NOW - 2 * HOUR);
        assert_eq!(course.of(NOW + 23 * HOUR), NOW - HOUR);
        assert_eq!(course.of(NOW - 3 * HOUR), NOW - 3 * HOUR);
        assert!(rewind.together([NOW - HOUR, NOW]).is_none() && rewind.together([]).is_none());
    }

    #[test]
    fn their_order_is_kept_where_it_does_not() {
        // A success an hour and a half ago, a failure 50 min ago, then the clock goes back by an hour.
        let (success, fail) = (NOW - HOUR / 2, NOW + HOUR / 6);
        let course = rewind(HOUR).together([success, fail]).unwrap();
        assert!(course.of(fail) > course.of(success) && course.of(fail) <= NOW);
    }

    #[test]
    fn any_times_keep_their_order_and_a_second_pass_changes_nothing() {
        let mut seed: u64 = 0x1221;
        let mut next = |most: i64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as i64 % most
        };
        for _ in 0..2000 {
            let by = 5001 + next(40 * HOUR);
            let count = 1 + next(6);
            // Multiples of 7 ms, so that rounding by a millisecond does not matter.
            let times: Vec<i64> = (0..count).map(|_| NOW - 50 * HOUR + next(100 * HOUR) / 7 * 7).collect();
            let Some(course) = rewind(by).together(times.iter().copied()) else { continue };
            for a in &times {
                assert!(course.of(*a) <= (*a).min(NOW + 5000), "{times:?}");
                assert_eq!(course.of(course.of(*a)), course.of(*a));
                for b in times.iter().filter(|b| *b > a) {
                    assert!(course.of(*b) >= course.of(*a), "{times:?} by {by}");
                }
            }
            assert!(rewind(by).together(times.iter().map(|at| course.of(*at))).is_none());
        }
    }
}
