//! Pauses between attempts.

use std::time::Duration;

/// Pauses that begin with `first` and double with each attempt that fails, up to `longest`.
///
/// ```
/// use std::time::Duration;
/// use innkeeper_core::backoff::Backoff;
/// let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(3));
/// assert_eq!([(); 3].map(|()| backoff.next_pause().as_secs()), [1, 2, 3]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// A backoff of which no attempt has failed yet.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The same backoff after this many failed attempts.
    #[must_use]
    pub const fn after(self, failures: u32) -> Self {
        Self { failures, ..self }
    }

    /// The pause before the next attempt.
    pub fn pause(&self) -> Duration {
        self.first.saturating_mul(2_u32.saturating_pow(self.failures)).min(self.longest)
    }

    /// The same pause, shortened or lengthened by at most the share `by`, so that clients that
    /// failed together do not retry together. `random` is from 0 to 1.
    pub fn spread_pause(&self, by: f64, random: f64) -> Duration {
        self.pause().mul_f64(1.0 - by + 2.0 * by * random)
    }

    /// Counts a failed attempt and returns the pause before the next one.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.pause();
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// Whether no attempt has failed yet.
    pub fn is_fresh(&self) -> bool {
        self.failures == 0
    }

    /// Forgets the failed attempts, after one that succeeded.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
        let pauses = [(); 7].map(|()| backoff.next_pause().as_millis());
        assert_eq!(pauses, [20, 40, 80, 160, 320, 500, 500]);
        assert!(!backoff.is_fresh());
        backoff.reset();
        assert!(backoff.is_fresh());
        assert_eq!(backoff.pause(), Duration::from_millis(20));
        assert_eq!(backoff.after(u32::MAX).pause(), Duration::from_millis(500));
    }

    #[test]
    fn a_spread_pause_lies_around_the_pause() {
        let backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(10));
        let of = |random| backoff.spread_pause(0.2, random).as_millis();
        assert_eq!([of(0.0), of(0.5), of(1.0)], [8000, 10_000, 12_000]);
    }
}
