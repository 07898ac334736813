//! Every role of Innkeeper at work, as in an installation: a sweeper without an ingest node rightly concludes nothing, so a figure
//! begins when both are seen to do what they have to, and check-ins can be recorded.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use innkeeper_testing::client::Client;
use serde::Deserialize;

use super::database::Database;
use super::program::{Program, config};

/// How long the roles may take until they work.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where web listens; ingest's address is in every configuration.
const WEB: &str = "[web]\nlisten = \"127.0.0.1:0\"\n";

/// An ingest node, a sweeper and a web process over one database. Killed when dropped.
pub struct Roles {
    /// Takes check-ins.
    pub ingest: Program,
    /// Finds what is overdue, and tells.
    pub sweeper: Program,
    /// Shows it.
    pub web: Program,
}

impl Roles {
    /// Starts all three over a database that has just [begun](Database::begin), and returns when they are at work. `more` is TOML at
    /// the end of their configuration.
    pub fn start(database: &Database, more: &str) -> Result<Self> {
        let config = config(database.url(), &format!("{WEB}{more}"));
        let start = |role| Program::start(role, &config, &[]);
        let roles = Self { ingest: start("ingest")?, sweeper: start("sweeper")?, web: start("web")? };
        settled(roles.web.address()?)?;
        Ok(roles)
    }

    /// The same result; an error says as well how the roles are, which may be its cause.
    pub fn explain<T>(&self, result: Result<T>) -> Result<T> {
        let Err(error) = result else { return result };
        let missing = Nodes::of(self.web.address()?)?.missing();
        Err(error.context(missing.unwrap_or_else(|| "every role is at work".to_owned())))
    }
}

/// The standalone program, which has every role, over this address. `more` is TOML at the end of its configuration.
pub fn start_standalone(url: &str, more: &str) -> Result<Program> {
    let innkeeper = Program::start("innkeeper", &config(url, more), &[])?;
    settled(innkeeper.address()?)?;
    Ok(innkeeper)
}

/// Waits until every duty is done, and check-ins can be recorded and could be all the time, by the word of the process at `address`.
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

/// What `GET /nodes` says.
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

    /// What is not yet as it should be.
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
