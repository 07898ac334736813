//! Reads what reporting needs from the configuration and the disk. This may be slow, so it happens in parallel to the
//! job.

use std::path::PathBuf;
use std::time::Duration;

use crate::api::Api;
use crate::config::{self, Overrides};
use crate::logbook;
use crate::spool::Spool;
use crate::state::StateDirectory;

/// Longest time that the job waits for the agent while no configuration has been read, and for the disk in any case.
pub const USUAL_DELAY: Duration = Duration::from_secs(2);

/// The result.
pub struct Setup {
    /// The client for the server, or why there is none.
    pub api: Result<Api, String>,
    /// The directories on disk; none if they cannot be used.
    pub disk: Option<Disk>,
    /// Longest time that the agent may delay the end of a job.
    pub delay: Duration,
    /// Most bytes of output that are reported.
    pub output_bytes: usize,
}

/// The agent's directories.
pub struct Disk {
    /// The state directory.
    pub state: StateDirectory,
    /// The spool of waiting reports.
    pub spool: Spool,
    /// The directory with the records of active runs.
    pub runs: PathBuf,
}

impl Setup {
    /// Reads the configuration and opens the directories that it names. Problems are logged.
    pub fn of(overrides: &Overrides) -> Self {
        let loaded = config::load(overrides);
        let config = loaded.config;
        let state = StateDirectory::open(config.state.as_deref());
        logbook::open(state.as_ref().ok());
        loaded.problems.iter().for_each(logbook::note);
        let disk = state.and_then(|state| {
            let (spool, runs) = (Spool::open(&state, config.spool)?, state.within("runs")?);
            Ok(Disk { state, spool, runs })
        });
        Self {
            api: Api::new(&config).inspect_err(|problem| logbook::note(problem)),
            disk: disk.map_err(logbook::note).ok(),
            delay: config.max_delay.to_std().unwrap_or(USUAL_DELAY),
            output_bytes: config.output_bytes,
        }
    }
}
