//! Where the figures are measured: a private Postgres with a million reservations, and Innkeeper's own programs.
//!
//! Each part is made when the first figure asks for it, and goes with the [`World`].

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

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Enough to compare.
    Full,
    /// Shorter runs, fewer of them.
    Quick,
    /// As little as shows that every figure measures something.
    Tiny,
}

/// What the command line says.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// How much is measured.
    pub extent: Extent,
    /// How many reservations are many.
    pub reservations: u64,
    /// How many are few.
    pub few: u64,
    /// Postgres counts what each statement costs, which costs something itself.
    pub statements: bool,
    /// Where Postgres's programs are.
    pub postgres: PathBuf,
}

impl Conditions {
    /// What is meant for the extent of this run.
    pub fn pick<T>(&self, full: T, quick: T, tiny: T) -> T {
        match self.extent {
            Extent::Full => full,
            Extent::Quick => quick,
            Extent::Tiny => tiny,
        }
    }

    /// Seconds of one run of a load generator.
    pub fn run_seconds(&self) -> u64 {
        self.pick(10, 4, 1)
    }

    /// How often each side of a comparison runs.
    pub fn rounds(&self) -> usize {
        self.pick(3, 1, 1)
    }

    /// Check-ins a second of so many jobs when each is on time. In a tiny run they are more eager, so that no connection idles.
    pub fn rate_on_time(&self, jobs: u64) -> f64 {
        let on_time = jobs as f64 * 1000.0 / database::PERIOD_MS as f64;
        self.pick(on_time, on_time, on_time.max(200.0))
    }
}

/// See the module.
pub struct World {
    /// What the command line says.
    pub conditions: Conditions,
    bare: Option<Program>,
    many: Option<Database>,
    few: Option<Database>,
    cluster: Option<BenchCluster>,
    // Last, so that it is removed when nothing works in it any more.
    scratch: TempDir,
}

impl World {
    /// A world in which there is nothing yet.
    pub fn new(conditions: Conditions) -> Result<Self> {
        let scratch = TempDir::with_prefix("innkeeper-bench-").context("no temporary directory")?;
        Ok(Self { conditions, bare: None, many: None, few: None, cluster: None, scratch })
    }

    /// A directory for what goes with the world.
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

    /// The Postgres server, where it is known to run.
    pub fn running_cluster(&self) -> Result<&BenchCluster> {
        self.cluster.as_ref().context("Postgres has not been started")
    }

    /// What Postgres is set to; a word where no figure needed it.
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

    /// A copy of the database with many reservations, as it is now, for a figure that changes more than what it begins with.
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
