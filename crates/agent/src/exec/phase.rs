//! How far the agent has gone in ending a run that takes too long.

/// The phase of such a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The run is within its limit.
    Running,
    /// The limit has passed. It was reported, and the run continues.
    Told,
    /// TERM was sent. KILL follows at this time of the boot clock, in milliseconds.
    Terminating(u64),
    /// KILL was sent. The agent waits for the remaining processes until this time of the boot clock, in milliseconds.
    Killed(u64),
}

impl Phase {
    /// When the phase must be checked again, by the boot clock; `over` is when the limit passes.
    pub fn next(self, over: Option<u64>, now: u64) -> Option<u64> {
        match self {
            Self::Running => over,
            Self::Terminating(at) => Some(at),
            // A process that KILL cannot end, for example while its disk does not answer, causes SIGCHLD when it
            // ends.
            Self::Killed(at) => Some(at).filter(|at| *at > now),
            Self::Told => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_a_job_that_cannot_be_killed_no_timer_runs() {
        assert_eq!(Phase::Running.next(Some(5), 9), Some(5));
        assert_eq!(Phase::Terminating(5).next(Some(1), 9), Some(5));
        assert_eq!(Phase::Killed(10).next(Some(1), 9), Some(10));
        assert_eq!(Phase::Killed(10).next(Some(1), 10), None);
        assert_eq!(Phase::Told.next(Some(1), 9), None);
    }
}
