//! A running program of this build: one of Innkeeper's or of the benchmark's.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::usage::Usage;

/// Longest wait for something that the program should do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program in a directory of its own. Killed when dropped.
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

    /// The address on which it listens. Waits until it does.
    pub fn address(&self) -> Result<SocketAddr> {
        self.wait_for("listening on http://", |log| {
            let (_, rest) = log.split_once("listening on http://")?;
            rest.split_once('\n')?.0.trim().parse().ok()
        })
    }

    /// Waits until its log contains `text`.
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

    /// The resources that it has used so far.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.child.id())
    }

    /// A summary of the warnings and errors in its log, except reports of overdue jobs.
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

/// The complaints of programs that have ended, until they are taken.
static COMPLAINTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The complaints of programs that have ended since the last call.
pub fn take_complaints() -> Vec<String> {
    COMPLAINTS.lock().map(|mut all| std::mem::take(&mut *all)).unwrap_or_default()
}

/// The path of a program of this build.
pub fn path_of(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.with_file_name(name);
    ensure!(path.exists(), "{} is not built; run scripts/bench", path.display());
    Ok(path)
}

/// The configuration of a program with this database and free ports. `more` is TOML that is appended.
pub fn config(database_url: &str, more: &str) -> String {
    format!(
        "operator = [\"log\"]\n\n[database]\nurl = \"{database_url}\"\n\n[ingest]\nlisten = \"127.0.0.1:0\"\n\n{more}"
    )
}
