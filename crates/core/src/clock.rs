//! Time is read in one place, once per request or pass, and handed down.

use std::sync::Mutex;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// An instant, in UTC. Stored as milliseconds since the Unix epoch.
pub type Time = DateTime<Utc>;

/// A source of the current time.
pub trait Clock: Send + Sync {
    /// The present instant, in whole milliseconds.
    fn now(&self) -> Time;

    /// The machine's clock without correction, whether it is reliable or not. For values that others compute by their
    /// own clocks: codes of authenticator apps, tokens of a provider.
    fn uncorrected(&self) -> Time {
        self.now()
    }

    /// Whether the clock is reliable. It is not just after a jump, nor while it is behind the newest recorded time. As
    /// long as it is not, nothing is concluded from the time, and nothing is removed or given up.
    fn is_steady(&self) -> bool {
        true
    }
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        Utc::now().trunc_subsecs(3)
    }
}

/// A clock that stands still until it is moved. For tests.
#[derive(Debug)]
pub struct ManualClock(Mutex<Time>);

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: Time) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves the clock by `by` (backwards when negative) and returns the new time.
    pub fn advance(&self, by: TimeDelta) -> Time {
        let mut now = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *now += by;
        *now
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
