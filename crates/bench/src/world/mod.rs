//! The environment of the measurements: a private Postgres with a million reservations, and Innkeeper's own programs.
//!
//! Each part is created when a figure first needs it, and is removed with the [`World`].

pub mod cluster;
pub mod database;
mod loader;
pub mod program;
pub mod roles;
mod sample;
pub mod sink;
pub mod sqlite;
pub mod tls;
pub mod usage;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use cluster::BenchCluster;
use database::Database;
use program::Program;

/// The extent of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Long enough to compare results.
    Full,
    /// Shorter and fewer measurements.
    Quick,
    /// As short as possible, to check that every figure measures something.
    Tiny,
}

/// The options of the command line.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// The extent of the run.
    pub extent: Extent,
    /// Number of reservations in the large database.
    pub reservations: u64,
    /// Number of reservations in the small database.
    pub few: u64,
    /// Whether Postgres counts the cost of each statement, which slows it down.
    pub statements: bool,
    /// The directory of Postgres's programs.
    pub postgres: PathBuf,
}

impl Conditions {
    /// Selects the value for the extent of this run.
    pub fn pick<T>(&self, full: T, quick: T, tiny: T) -> T {
        match self.extent {
            Extent::Full => full,
            Extent::Quick => quick,
            Extent::Tiny => tiny,
        }
    }

    /// Duration of one run of a load generator, in seconds.
    pub fn run_seconds(&self) -> u64 {
        self.pick(10, 4, 1)
    }

    /// Number of runs of each side of a comparison.
    pub fn rounds(&self) -> usize {
        self.pick(3, 1, 1)
    }

    /// Check-ins a second of this many jobs if each is on time. Higher in a tiny run, so that no connection idles.
    pub fn rate_on_time(&self, jobs: u64) -> f64 {
        let on_time = jobs as f64 * 1000.0 / database::PERIOD_MS as f64;
        self.pick(on_time, on_time, on_time.max(200.0))
    }
}

/// The environment of the measurements.
pub struct World {
    /// The options of the command line.
    pub conditions: Conditions,
    bare: Option<Program>,
    many: Option<Database>,
    few: Option<Database>,
    cluster: Option<BenchCluster>,
    // Dropped last, when no process uses it any more.
    scratch: TempDir,
}

impl World {
    /// An empty environment.
    pub fn new(conditions: Conditions) -> Result<Self> {
        let scratch = TempDir::with_prefix("innkeeper-bench-").context("no temporary directory")?;
        Ok(Self { conditions, bare: None, many: None, few: None, cluster: None, scratch })
    }

    /// A directory that is removed with the environment.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The Postgres server.
    pub fn cluster(&mut self) -> Result<&BenchCluster> {
        if self.cluster.is_none() {
            self.cluster = Some(BenchCluster::start(&self.conditions));
        }
        self.cluster.as_ref().context("just made")
    }

    /// The Postgres server; fails if it was not started.
    pub fn running_cluster(&self) -> Result<&BenchCluster> {
        self.cluster.as_ref().context("Postgres has not been started")
    }

    /// The settings of Postgres, or a note if no figure has started it.
    pub fn settings_if_started(&self) -> Result<String> {
        self.cluster.as_ref().map_or_else(|| Ok("no Postgres".to_owned()), BenchCluster::settings)
    }

    /// The database with many reservations.
    pub fn many(&mut self) -> Result<&mut Database> {
        if self.many.is_none() {
            let reservations = self.conditions.reservations;
            self.many = Some(Database::load(self.cluster()?, "many", reservations)?);
        }
        self.many.as_mut().context("just made")
    }

    /// A copy of the large database in its current state, for a figure whose changes cannot be reset.
    pub fn copy_of_many(&mut self, name: &str) -> Result<Database> {
        self.many()?;
        self.many.as_ref().context("just made")?.copy(self.running_cluster()?, name)
    }

    /// The database with few reservations.
    pub fn few(&mut self) -> Result<&mut Database> {
        if self.few.is_none() {
            let reservations = self.conditions.few;
            self.few = Some(Database::load(self.cluster()?, "few", reservations)?);
        }
        self.few.as_mut().context("just made")
    }

    /// The bare handler: it parses and answers as ingest does, and has no database.
    pub fn bare(&mut self) -> Result<&Program> {
        if self.bare.is_none() {
            self.bare = Some(Program::start("bench-bare", "", &[])?);
        }
        self.bare.as_ref().context("just made")
    }
}
