//! A running program of this build: Innkeeper's, or one of the benchmark's.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::usage::Usage;

/// How long it may take to do what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module. It has a directory of its own and is killed when dropped.
pub struct Program {
    name: String,
    child: Child,
    directory: TempDir,
}

impl Program {
    /// Starts `name` from the directory of this build, with the text of an `innkeeper.toml` and arguments.
    pub fn start(name: &str, config: &str, arguments: &[&str]) -> Result<Self> {
        let directory = TempDir::new()?;
        std::fs::write(directory.path().join("innkeeper.toml"), config)?;
        let log = File::create(directory.path().join("log"))?;
        let mut command = Command::new(path_of(name)?);
        for (variable, _) in std::env::vars().filter(|(variable, _)| variable.starts_with("INNKEEPER_")) {
            command.env_remove(variable);
        }
        let child = command
            .args(arguments)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{name} does not start"))?;
        Ok(Self { name: name.to_owned(), child, directory })
    }

    /// Everything it has printed so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The address it listens on, once it does.
    pub fn address(&self) -> Result<SocketAddr> {
        self.wait_for("listening on http://", |log| {
            let (_, rest) = log.split_once("listening on http://")?;
            rest.split_once('\n')?.0.trim().parse().ok()
        })
    }

    /// Waits until its log has `text`.
    pub fn wait_for_log(&self, text: &str) -> Result<()> {
        self.wait_for(text, |log| log.contains(text).then_some(()))
    }

    fn wait_for<T>(&self, what: &str, found: impl Fn(&str) -> Option<T>) -> Result<T> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = found(&self.log()) {
                return Ok(value);
            }
            if Instant::now() > end {
                bail!("{}: {what:?} did not come; its log: {}", self.name, self.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it has used so far.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.child.id())
    }

    /// What its log complains of, in short; that a job is overdue is no complaint.
    fn complaint(&self) -> Option<String> {
        let log = self.log();
        let complains = |line: &&str| {
            line.contains(" ERROR ") || line.contains(" WARN ") && !line.contains(" innkeeper: opened: ")
        };
        let complaints: Vec<&str> = log.lines().filter(complains).collect();
        let first = complaints.first()?;
        Some(format!("{} complained {} times, first: {first}", self.name, complaints.len()))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let (Some(complaint), Ok(mut all)) = (self.complaint(), COMPLAINTS.lock()) {
            all.push(complaint);
        }
    }
}

/// What the programs complained of that have ended, until it is taken.
static COMPLAINTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What the programs complained of that have ended since this was asked last.
pub fn take_complaints() -> Vec<String> {
    COMPLAINTS.lock().map(|mut all| std::mem::take(&mut *all)).unwrap_or_default()
}

/// Where a program of this build lies.
pub fn path_of(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.with_file_name(name);
    ensure!(path.exists(), "{} is not built; run scripts/bench", path.display());
    Ok(path)
}

/// The configuration of a program over this database, listening on any free port of this machine. `more` is TOML at its end.
pub fn config(database_url: &str, more: &str) -> String {
    format!(
        "operator = [\"log\"]\n\n[database]\nurl = \"{database_url}\"\n\n[ingest]\nlisten = \"127.0.0.1:0\"\n\n{more}"
    )
}
