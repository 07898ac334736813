//! All roles of Innkeeper, running as in an installation. A sweeper without an ingest node draws no conclusions.
//! Therefore a figure begins only when all duties are done and check-ins can be recorded.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use innkeeper_testing::client::Client;
use serde::Deserialize;

use super::database::Database;
use super::program::{Program, config};

/// Time limit until the roles are ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// The address of web. That of ingest is in every configuration.
const WEB: &str = "[web]\nlisten = \"127.0.0.1:0\"\n";

/// An ingest node, a sweeper and a web process over one database. Killed when dropped.
pub struct Roles {
    /// Accepts check-ins.
    pub ingest: Program,
    /// Finds overdue jobs and sends messages.
    pub sweeper: Program,
    /// Serves the pages.
    pub web: Program,
}

impl Roles {
    /// Starts all roles with a database that was just [reset](Database::begin), and waits until they are ready.
    /// `more` is TOML that is appended to their configuration.
    pub fn start(database: &Database, more: &str) -> Result<Self> {
        let config = config(database.url(), &format!("{WEB}{more}"));
        let start = |role| Program::start(role, &config, &[]);
        let roles = Self { ingest: start("ingest")?, sweeper: start("sweeper")?, web: start("web")? };
        settled(roles.web.address()?)?;
        Ok(roles)
    }

    /// Adds the state of the roles to an error, because it may be the cause.
    pub fn explain<T>(&self, result: Result<T>) -> Result<T> {
        let Err(error) = result else { return result };
        let missing = Nodes::of(self.web.address()?)?.missing();
        Err(error.context(missing.unwrap_or_else(|| "every role is at work".to_owned())))
    }
}

/// Starts the standalone program, which has all roles, with this database. `more` is TOML that is appended to its
/// configuration.
pub fn start_standalone(url: &str, more: &str) -> Result<Program> {
    let innkeeper = Program::start("innkeeper", &config(url, more), &[])?;
    settled(innkeeper.address()?)?;
    Ok(innkeeper)
}

/// Waits until the process at `address` reports that every duty is done, and that check-ins can be recorded without a
/// gap.
fn settled(address: SocketAddr) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let nodes = Nodes::of(address)?;
        let Some(missing) = nodes.missing() else { return Ok(()) };
        if Instant::now() > end {
            bail!("nothing can be measured: {missing}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The response of `GET /nodes`.
#[derive(Debug, Deserialize)]
struct Nodes {
    duties: Vec<Duty>,
    blind_windows: Vec<Window>,
}

#[derive(Debug, Deserialize)]
struct Duty {
    name: String,
    done: bool,
}

#[derive(Debug, Deserialize)]
struct Window {
    from: String,
    until: String,
}

impl Nodes {
    fn of(address: SocketAddr) -> Result<Self> {
        let answer = Client::default().get(&format!("http://{address}/nodes"));
        serde_json::from_str(&answer.body).with_context(|| format!("/nodes answered {answer:?}"))
    }

    /// What is not ready yet.
    fn missing(&self) -> Option<String> {
        let done = |name: &&str| self.duties.iter().any(|duty| duty.name == *name && duty.done);
        match ["ingest", "sweeper", "web"].into_iter().find(|name| !done(name)) {
            Some(name) => Some(format!("nobody does the duty {name}")),
            None => self.blindness(),
        }
    }

    fn blindness(&self) -> Option<String> {
        let window = self.blind_windows.first()?;
        Some(format!("no check-in could be recorded from {} to {}", window.from, window.until))
    }
}
