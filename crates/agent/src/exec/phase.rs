//! The phases of a run that may take too long.

/// How far the ending of a job that runs for too long has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is not too long yet.
    Running,
    /// It is too long, and only told.
    Told,
    /// TERM was sent; KILL follows at this time of the boot clock.
    Terminating(u64),
    /// KILL was sent; nobody is waited for beyond this.
    Killed(u64),
}

impl Phase {
    /// When it is to be looked at again, whatever happens; `over` is when the job will have run for too long.
    pub fn next(self, over: Option<u64>, now: u64) -> Option<u64> {
        match self {
            Self::Running => over,
            Self::Terminating(at) => Some(at),
            // What cannot be killed, as while its disk does not answer, ends when it ends, and that is a signal.
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
