//! The clock discipline: how a process's time follows a reference clock that may jump, decided from samples alone.
//!
//! The process's time is its boot clock (which never jumps, and also counts while the machine sleeps) plus an anchor.
//! A small difference from the reference is followed at once. A larger one is a *step*. It is followed once it has
//! lasted for [`STEPOUT`]; a reference that returns earlier has moved nothing. If the reference is behind the newest
//! recorded time when the process starts, the process *holds*: its time continues from that newest time until the
//! reference has passed it, or for [`LONGEST_HOLD`].

use std::time::Duration;

use chrono::TimeDelta;

use crate::Time;

/// A difference greater than this is a step.
pub const STEP: TimeDelta = TimeDelta::seconds(5);
/// How long a step must have lasted before it is followed.
pub const STEPOUT: Duration = Duration::from_secs(10);
/// A reference that steps again and again is followed after this time.
pub const RESTLESS: Duration = Duration::from_secs(60);
/// The longest duration of a hold.
pub const LONGEST_HOLD: Duration = Duration::from_secs(3600);
/// The assumed error of any sample; a smaller difference is not followed.
const NOISE: TimeDelta = TimeDelta::milliseconds(20);

/// The meaning of one sample of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockVerdict {
    /// Nothing to report. A small difference may have been followed.
    Agrees,
    /// The reference has stepped by this much. The process's time does not follow yet.
    Stepped(TimeDelta),
    /// A step or a hold continues.
    Waits,
    /// The reference returned after a step that was not followed.
    Returned {
        /// How large the step was.
        by: TimeDelta,
        /// The remaining difference, which was followed at once.
        left: TimeDelta,
    },
    /// The process's time must move by this much: call [`Discipline::step`] once everything is ready for it.
    Follow(TimeDelta),
    /// The reference has reached the held time; the hold is over.
    Released,
}

/// The state of a process's time. All boot times passed to it are from the same clock.
#[derive(Debug, Clone)]
pub struct Discipline {
    /// What is added to the boot clock, in milliseconds.
    anchor_ms: i64,
    pending: Option<Pending>,
    hold: Option<Hold>,
}

/// A step that is not followed yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    by: TimeDelta,
    /// When the reference began to differ.
    since: Duration,
    /// When the difference took its present value.
    steady_since: Duration,
}

/// A hold, as described at the head of this module.
#[derive(Debug, Clone, Copy)]
struct Hold {
    newest: Time,
    begun: Duration,
    /// Whether the hold ends at the next sample, even if the reference has not caught up.
    released: bool,
}

impl Discipline {
    /// The state at the start of a process, when the boot clock shows `boot` and the reference shows `reference`.
    /// `newest` is the newest time ever recorded; the process holds if that is too far ahead of the reference.
    pub fn start(boot: Duration, reference: Time, newest: Option<Time>) -> Self {
        let hold = newest.filter(|newest| *newest - reference > STEP).map(|newest| Hold {
            newest,
            begun: boot,
            released: false,
        });
        let from = hold.map_or(reference, |hold| hold.newest);
        Self { anchor_ms: from.timestamp_millis() - millis(boot), pending: None, hold }
    }

    /// The process's time.
    pub fn now(&self, boot: Duration) -> Time {
        Time::from_timestamp_millis(millis(boot).saturating_add(self.anchor_ms)).unwrap_or(Time::MAX_UTC)
    }

    /// What is added to the boot clock, in milliseconds.
    pub fn anchor_ms(&self) -> i64 {
        self.anchor_ms
    }

    /// The newest recorded time, while the process holds at it.
    pub fn held_at(&self) -> Option<Time> {
        self.hold.map(|hold| hold.newest)
    }

    /// Whether the time is reliable: no step waits to be followed, and there is no hold.
    pub fn is_steady(&self) -> bool {
        self.pending.is_none() && self.hold.is_none()
    }

    /// Whether the process's time is known to be ahead of the reference.
    pub fn is_ahead(&self) -> bool {
        self.hold.is_some() || self.pending.is_some_and(|pending| pending.by < TimeDelta::zero())
    }

    /// Ends a hold at the next sample, because the other processes that share the reference trust it.
    pub fn release(&mut self) {
        if let Some(hold) = &mut self.hold {
            hold.released = true;
        }
    }

    /// Takes one sample: the reference showed `reference` when the boot clock showed `boot`, with an uncertainty of
    /// `doubt`.
    pub fn sample(&mut self, boot: Duration, reference: Time, doubt: TimeDelta) -> ClockVerdict {
        let by = reference - self.now(boot);
        // A reference that stays about one step away, or continues from there, has not returned.
        let came_back = self.pending.is_none_or(|pending| (by - pending.by).abs() > STEP / 2);
        if by.abs() <= STEP + doubt && came_back {
            return self.agree(by, doubt);
        }
        if let Some(hold) = self.hold {
            if hold.released || boot.saturating_sub(hold.begun) >= LONGEST_HOLD {
                return ClockVerdict::Follow(by);
            }
            if reference < hold.newest {
                self.pending = None;
                return ClockVerdict::Waits;
            }
        }
        let Some(pending) = &mut self.pending else {
            self.pending = Some(Pending { by, since: boot, steady_since: boot });
            // A hold has been reported already.
            return if self.hold.is_some() { ClockVerdict::Waits } else { ClockVerdict::Stepped(by) };
        };
        if (by - pending.by).abs() > STEP + doubt {
            pending.steady_since = boot;
            pending.by = by;
            let restless = boot.saturating_sub(pending.since) >= RESTLESS;
            return if restless { ClockVerdict::Follow(by) } else { ClockVerdict::Stepped(by) };
        }
        match boot.saturating_sub(pending.steady_since) >= STEPOUT {
            true => ClockVerdict::Follow(by),
            false => ClockVerdict::Waits,
        }
    }

    fn agree(&mut self, by: TimeDelta, doubt: TimeDelta) -> ClockVerdict {
        if by.abs() > NOISE + doubt {
            self.anchor_ms += by.num_milliseconds();
        }
        let held = self.hold.take().is_some();
        match self.pending.take() {
            _ if held => ClockVerdict::Released,
            Some(pending) => ClockVerdict::Returned { by: pending.by, left: by },
            None => ClockVerdict::Agrees,
        }
    }

    /// Moves the time by `by` and clears the pending step and the hold.
    pub fn step(&mut self, by: TimeDelta) {
        self.anchor_ms += by.num_milliseconds();
        (self.pending, self.hold) = (None, None);
    }
}

fn millis(boot: Duration) -> i64 {
    i64::try_from(boot.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: TimeDelta = TimeDelta::days(1);

    fn boot(seconds: u64) -> Duration {
        Duration::from_secs(1000 + seconds)
    }

    /// The true time.
    fn at(seconds: i64) -> Time {
        Time::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn started() -> Discipline {
        Discipline::start(boot(0), at(0), Some(at(-3)))
    }

    /// Samples each second from `from` to `to`, `by` off the truth; the last verdict.
    fn pass(clock: &mut Discipline, from: u64, to: u64, by: TimeDelta) -> ClockVerdict {
        (from..=to).fold(ClockVerdict::Agrees, |_, second| {
            clock.sample(boot(second), at(second as i64) + by, TimeDelta::zero())
        })
    }

    #[test]
    fn small_differences_are_followed_at_once_and_noise_is_not() {
        let mut clock = started();
        for (by, offset) in [(15, 0), (3000, 3000), (3010, 3000), (-1500, -1500), (3400, 3400)] {
            assert_eq!(pass(&mut clock, 5, 5, TimeDelta::milliseconds(by)), ClockVerdict::Agrees);
            assert_eq!(clock.now(boot(5)) - at(5), TimeDelta::milliseconds(offset), "{by}");
        }
        assert_eq!(clock.sample(boot(6), at(6), TimeDelta::seconds(4)), ClockVerdict::Agrees);
        assert_eq!(clock.now(boot(6)) - at(6), TimeDelta::milliseconds(3400), "who knows when it was read");
    }

    #[test]
    fn a_jump_that_returns_has_moved_nothing() {
        for by in [DAY, -DAY, TimeDelta::seconds(6), TimeDelta::seconds(-6), TimeDelta::days(-20_000)] {
            let mut clock = started();
            assert_eq!(pass(&mut clock, 1, 1, by), ClockVerdict::Stepped(by));
            assert_eq!(clock.is_ahead(), by < TimeDelta::zero());
            assert_eq!(pass(&mut clock, 2, 9, by), ClockVerdict::Waits);
            assert!(!clock.is_steady());
            assert_eq!(clock.now(boot(9)), at(9));
            assert_eq!(
                pass(&mut clock, 10, 10, TimeDelta::zero()),
                ClockVerdict::Returned { by, left: TimeDelta::zero() }
            );
            assert!(clock.is_steady() && !clock.is_ahead());
            assert_eq!(clock.now(boot(10)), at(10));
        }
    }

    #[test]
    fn a_clock_that_is_slewed_by_a_step_again_and_again_is_not_said_to_be_back() {
        for (step, noise) in [(5000, 1), (5000, 0), (5100, 3), (-5000, 1), (6000, 2), (4000, 1)] {
            let mut clock = started();
            let mut verdicts = Vec::new();
            for second in 1..=300_u64 {
                let jumps = TimeDelta::milliseconds(step * (second as i64 / 5));
                // The reading is off by a little noise.
                let read = TimeDelta::milliseconds(if second % 2 == 0 { noise } else { -noise });
                let verdict = clock.sample(boot(second), at(second as i64) + jumps + read, TimeDelta::zero());
                if let ClockVerdict::Follow(by) = verdict {
                    clock.step(by);
                }
                verdicts.push(verdict);
            }
            assert!(
                !verdicts.iter().any(|one| matches!(one, ClockVerdict::Returned { .. })),
                "{step}: {verdicts:?}"
            );
            let off = at(300) + TimeDelta::milliseconds(step * 60) - clock.now(boot(300));
            assert!(off.abs() <= TimeDelta::seconds(70), "{step}: it is followed all the same, {off}");
        }
    }

    #[test]
    fn a_clock_that_comes_back_in_part_says_how_far() {
        let (mut clock, left) = (started(), TimeDelta::seconds(4));
        assert_eq!(pass(&mut clock, 1, 1, DAY), ClockVerdict::Stepped(DAY));
        assert_eq!(pass(&mut clock, 2, 2, left), ClockVerdict::Returned { by: DAY, left });
        assert_eq!(clock.now(boot(2)), at(2) + left);
        // One that comes nearer and stays there is followed.
        let (six, four) = (TimeDelta::seconds(6), TimeDelta::seconds(4));
        let mut clock = started();
        assert_eq!(pass(&mut clock, 1, 1, six), ClockVerdict::Stepped(six));
        assert_eq!(pass(&mut clock, 2, 10, four), ClockVerdict::Waits);
        assert_eq!(pass(&mut clock, 11, 11, four), ClockVerdict::Follow(four));
    }

    #[test]
    fn a_step_that_lasts_is_followed_and_so_is_the_way_back() {
        let mut clock = started();
        pass(&mut clock, 1, 10, DAY);
        assert_eq!(pass(&mut clock, 11, 11, DAY), ClockVerdict::Follow(DAY));
        assert!(!clock.is_steady(), "not before it was done");
        clock.step(DAY);
        assert!(clock.is_steady());
        assert_eq!(clock.now(boot(12)), at(12) + DAY);
        assert_eq!(pass(&mut clock, 12, 12, TimeDelta::zero()), ClockVerdict::Stepped(-DAY));
        assert_eq!(pass(&mut clock, 13, 21, TimeDelta::zero()), ClockVerdict::Waits);
        assert_eq!(pass(&mut clock, 22, 22, TimeDelta::zero()), ClockVerdict::Follow(-DAY));
        clock.step(-DAY);
        assert_eq!(clock.now(boot(22)), at(22));
    }

    #[test]
    fn a_reference_that_goes_from_one_step_to_another_waits_anew_but_not_for_ever() {
        let mut clock = started();
        pass(&mut clock, 1, 8, DAY);
        assert_eq!(pass(&mut clock, 9, 9, -DAY), ClockVerdict::Stepped(-DAY));
        assert_eq!(pass(&mut clock, 10, 18, -DAY), ClockVerdict::Waits);
        assert_eq!(pass(&mut clock, 19, 19, -DAY), ClockVerdict::Follow(-DAY));
        let mut clock = started();
        let restless = (1..=70).find(|second: &u64| {
            let by = TimeDelta::hours(*second as i64);
            matches!(pass(&mut clock, *second, *second, by), ClockVerdict::Follow(_))
        });
        assert_eq!(restless, Some(61));
    }

    #[test]
    fn a_start_before_what_was_recorded_holds_until_the_clock_has_passed_it() {
        let newest = at(0) + DAY;
        let mut clock = Discipline::start(boot(0), at(0), Some(newest));
        assert_eq!(clock.held_at(), Some(newest));
        assert!(!clock.is_steady() && clock.is_ahead());
        assert_eq!(pass(&mut clock, 1, 60, TimeDelta::zero()), ClockVerdict::Waits);
        assert_eq!(clock.now(boot(60)), newest + TimeDelta::seconds(60));
        // Somebody sets the clock: to just this time, further, or not quite as far.
        let mut right = clock.clone();
        assert_eq!(pass(&mut right, 61, 61, DAY), ClockVerdict::Released);
        assert!(right.is_steady());
        let mut further = clock.clone();
        assert_eq!(pass(&mut further, 61, 70, DAY * 2), ClockVerdict::Waits);
        assert_eq!(pass(&mut further, 71, 71, DAY * 2), ClockVerdict::Follow(DAY));
        let back = DAY - TimeDelta::seconds(30);
        assert_eq!(pass(&mut clock, 61, 70, back), ClockVerdict::Waits);
        assert_eq!(pass(&mut clock, 71, 71, back), ClockVerdict::Follow(TimeDelta::seconds(-30)));
    }

    #[test]
    fn a_jump_in_a_hold_that_returns_before_the_newest_time_is_not_followed() {
        let mut clock = Discipline::start(boot(0), at(0), Some(at(0) + DAY));
        assert_eq!(pass(&mut clock, 1, 8, DAY * 2), ClockVerdict::Waits);
        assert_eq!(pass(&mut clock, 9, 60, TimeDelta::zero()), ClockVerdict::Waits);
        assert_eq!(pass(&mut clock, 61, 65, DAY * 2), ClockVerdict::Waits);
    }

    #[test]
    fn after_an_hour_of_holding_the_clock_is_believed() {
        let mut clock = Discipline::start(boot(0), at(0), Some(at(0) + DAY));
        assert_eq!(pass(&mut clock, 1, 3599, TimeDelta::zero()), ClockVerdict::Waits);
        assert_eq!(pass(&mut clock, 3600, 3600, TimeDelta::zero()), ClockVerdict::Follow(-DAY));
        clock.step(-DAY);
        assert!(clock.is_steady());
        assert_eq!(clock.now(boot(3600)), at(3600));
        let mut released = Discipline::start(boot(0), at(0), Some(at(0) + DAY));
        released.release();
        assert_eq!(pass(&mut released, 5, 5, TimeDelta::zero()), ClockVerdict::Follow(-DAY));
    }

    #[test]
    fn what_was_recorded_a_moment_ago_holds_nothing() {
        assert!(Discipline::start(boot(0), at(0), None).is_steady());
        assert!(Discipline::start(boot(0), at(0), Some(at(5))).is_steady());
        assert!(!Discipline::start(boot(0), at(0), Some(at(6))).is_steady());
    }
}
