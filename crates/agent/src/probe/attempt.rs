//! One run of a check: its time limit, the limits of its phases, and the measured duration of each phase.

use std::io;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use innkeeper_core::{Time, duration};

use super::family::Family;
use super::outcome::{Failure, Phase, Phases};

/// Time limits of single phases. A phase without one only has the limit of the whole run.
#[derive(Debug, Clone, Copy, Default)]
pub struct PhaseLimits([Option<Duration>; 5]);

impl PhaseLimits {
    pub(crate) fn set(&mut self, phase: Phase, limit: Option<Duration>) {
        self.0[phase as usize] = limit;
    }

    fn get(&self, phase: Phase) -> Option<Duration> {
        self.0[phase as usize]
    }
}

/// A run in progress.
#[derive(Debug, Clone)]
pub struct ProbeAttempt {
    /// Wall clock time at the start of the run. Certificates are checked against it.
    pub(crate) now: Time,
    /// The key of the target.
    pub(crate) key: String,
    pub(crate) started: Instant,
    pub(crate) timeout: Duration,
    pub(crate) phases: Phases,
    /// The address family of this run, if both families are checked.
    pub(crate) family: Option<Family>,
}

impl ProbeAttempt {
    pub(crate) fn new(key: String, now: Time, timeout: Duration) -> Self {
        Self { now, key, started: Instant::now(), timeout, phases: Phases::default(), family: None }
    }

    /// The end of the whole run, for work without phases.
    pub(crate) fn whole(&self) -> Bound {
        let at = self.started + self.timeout;
        Bound { at, limit: self.timeout, doing: None }
    }

    /// The end of `phase`, which begins now.
    pub(crate) fn bound(&self, phase: Phase, limits: &PhaseLimits) -> Bound {
        let whole = Bound { doing: Some(phase.in_words()), ..self.whole() };
        match limits.get(phase) {
            Some(limit) if Instant::now() + limit < whole.at => {
                Bound { at: Instant::now() + limit, limit, doing: whole.doing }
            }
            _ => whole,
        }
    }

    /// Runs `phase` within its bound and records its duration, even if it fails.
    pub(crate) fn phase<T>(
        &mut self,
        phase: Phase,
        limits: &PhaseLimits,
        work: impl FnOnce(&Bound) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (bound, begun) = (self.bound(phase, limits), Instant::now());
        let done = work(&bound);
        self.phases.add(phase, begun.elapsed());
        done
    }
}

/// A deadline, with the text to report when it has passed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub at: Instant,
    limit: Duration,
    doing: Option<&'static str>,
}

impl Bound {
    /// The remaining time, or an error of kind `TimedOut`.
    pub(crate) fn left(&self) -> io::Result<Duration> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    /// The same bound, `by` later.
    pub(crate) fn later(self, by: Duration) -> Self {
        Self { at: self.at + by, ..self }
    }

    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.at
    }

    /// The failure to report when the deadline has passed.
    pub(crate) fn timeout(&self) -> Failure {
        let limit = duration::short(TimeDelta::from_std(self.limit).unwrap_or(duration::LONGEST));
        let doing = self.doing.map(|doing| format!(" while {doing}")).unwrap_or_default();
        Failure::critical(format!("timed out after {limit}{doing}"))
    }

    /// The failure to report for an error that may have been caused by the deadline.
    pub(crate) fn failure(&self, doing: &str, error: &io::Error) -> Failure {
        if self.is_over() || matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) {
            return self.timeout();
        }
        let what = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
            io::ErrorKind::ConnectionReset => "the server reset the connection".to_owned(),
            io::ErrorKind::BrokenPipe => "the server closed the connection".to_owned(),
            _ => plain_error(error),
        };
        if doing.is_empty() { Failure::critical(what) } else { Failure::critical(format!("{doing}: {what}")) }
    }
}

/// The text of a system error without its number, for example "Connection refused".
pub(crate) fn plain_error(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((what, _)) => what.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    #[test]
    fn the_nearer_of_two_limits_holds_and_says_which_it_was() {
        let attempt = ProbeAttempt::new(String::new(), DateTime::UNIX_EPOCH, Duration::from_secs(10));
        let mut limits = PhaseLimits::default();
        limits.set(Phase::Tls, Some(Duration::from_secs(2)));
        limits.set(Phase::Body, Some(Duration::from_secs(60)));
        let said = |phase| attempt.bound(phase, &limits).timeout().what;
        assert_eq!(said(Phase::Tls), "timed out after 2s while negotiating TLS");
        assert_eq!(said(Phase::Body), "timed out after 10s while reading the answer");
        assert_eq!(attempt.whole().timeout().what, "timed out after 10s");
    }

    #[test]
    fn nothing_is_left_after_the_end() {
        let attempt = ProbeAttempt::new(String::new(), DateTime::UNIX_EPOCH, Duration::ZERO);
        assert!(attempt.whole().is_over() && attempt.whole().left().is_err());
    }
}
