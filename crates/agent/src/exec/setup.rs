//! What the configuration and the disk give for reporting a run. Reading them may take its time, so it happens beside
//! the job.

use std::path::PathBuf;
use std::time::Duration;

use crate::api::Api;
use crate::config::{self, Overrides};
use crate::logbook;
use crate::spool::Spool;
use crate::state::StateDirectory;

/// The most that a job waits for us, where no configuration could be read by then; and for the disk, whatever it says.
pub const USUAL_DELAY: Duration = Duration::from_secs(2);

/// All of it.
pub struct Setup {
    /// What talks to the server, or why nothing does.
    pub api: Result<Api, String>,
    /// None where there is no directory for it.
    pub disk: Option<Disk>,
    /// The most that a job waits for us.
    pub delay: Duration,
    /// The most of an output that is reported.
    pub output_bytes: usize,
}

/// Where state lies.
pub struct Disk {
    /// All of it.
    pub state: StateDirectory,
    /// Reports that wait.
    pub spool: Spool,
    /// The records of runs.
    pub runs: PathBuf,
}

impl Setup {
    /// Reads the configuration, and opens what it names. What is wrong is logged.
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
