//! Duties that a process lives and cannot do: told to the operator once, and once more when they are done again.

use std::time::{Duration, Instant};

use super::progress::{Failing, Progress};

/// How long a duty must fail before it is told. Long enough for a failover.
const TOLD_AFTER: Duration = Duration::from_secs(12);

/// One duty of this process, and what the operator was told of it.
pub(crate) struct Trouble {
    pub duty: &'static str,
    pub progress: Progress,
    told: bool,
}

/// What there is to tell.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    /// It fails.
    Fails(Failing),
    /// It is done again.
    Done,
}

impl Trouble {
    pub fn new(duty: &'static str, progress: Progress) -> Self {
        Self { duty, progress, told: false }
    }

    /// What there is to tell, where nothing that explains it has been the case since `well`: as long as the database is away, that is
    /// told, and nothing that follows from it.
    pub fn look(&mut self, well: Instant) -> Option<Tell> {
        match self.progress.standing().failing {
            Some(failing) if failing.is_told => None,
            Some(failing) => {
                let lasts = failing.since.max(well).elapsed() >= TOLD_AFTER;
                (lasts && !std::mem::replace(&mut self.told, true)).then_some(Tell::Fails(failing))
            }
            None => std::mem::take(&mut self.told).then_some(Tell::Done),
        }
    }

    /// The subjects of the two messages.
    pub fn subjects(&self) -> (&'static str, &'static str) {
        match self.duty {
            "ingest" => ("Check-ins cannot be written", "Check-ins can be written again"),
            "sweeper" => ("Sweeps fail", "Sweeps succeed again"),
            _ => ("A duty is not done", "A duty is done again"),
        }
    }

    /// What follows for the jobs.
    pub fn consequence(&self) -> &'static str {
        match self.duty {
            "ingest" => "Jobs that check in are told to come again later (503); none is blamed for that.",
            "sweeper" => "Jobs that fall silent are not noticed until this is mended.",
            _ => "",
        }
    }

    /// What fails, in the words of a line.
    pub fn words(&self) -> &'static str {
        match self.duty {
            "ingest" => "check-ins cannot be written",
            "sweeper" => "sweeps fail",
            _ => "a duty is not done",
        }
    }
}
