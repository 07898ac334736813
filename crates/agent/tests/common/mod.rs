//! Runs the agent as a real process, with a home directory of its own.
#![allow(dead_code, reason = "each test takes what it needs")]

pub mod inn;
pub mod instance;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Time limit on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A home directory in which agents run.
pub struct Home {
    directory: TempDir,
}

impl Home {
    pub fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn state(&self) -> PathBuf {
        self.path().join("state/innkeeper-agent")
    }

    pub fn spooled(&self) -> usize {
        let Ok(found) = std::fs::read_dir(self.state().join("spool")) else { return 0 };
        found.flatten().filter(|file| file.path().extension().is_some_and(|ending| ending == "json")).count()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.state().join("agent.log")).unwrap_or_default()
    }

    /// A command for the agent, without Innkeeper's environment variables and without a server.
    pub fn agent(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_innkeeper-agent"));
        command.args(arguments).current_dir(self.path());
        self.clean(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Gives a command the same environment as [`Home::agent`].
    pub fn clean(&self, command: &mut Command) {
        for (variable, _) in std::env::vars().filter(|(name, _)| name.starts_with("INNKEEPER_")) {
            command.env_remove(variable);
        }
        command
            .env("HOME", self.path())
            .env("XDG_STATE_HOME", self.path().join("state"))
            .env("XDG_CONFIG_HOME", self.path().join("config"))
            .env_remove("TZ");
    }

    /// A command for the agent, with this server.
    pub fn exec(&self, server: &str, arguments: &[&str]) -> Command {
        let mut command = self.agent(&["exec"]);
        command.args(arguments).env("INNKEEPER_SERVER", server);
        command
    }

    /// Writes a file.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// Runs a command until it ends. Returns its status, standard output and standard error.
pub fn ran(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

/// An address on which a server may be started later.
pub fn nobody_yet() -> String {
    format!("http://127.0.0.1:{}", innkeeper_testing::ports::free_port())
}

/// An address on which nobody listens.
pub fn nobody() -> String {
    format!("http://127.0.0.1:{}", innkeeper_testing::ports::closed_port())
}

/// Waits until `is_so` returns true.
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a signal by its name to a process, or to a group if the id is negative.
pub fn kill(signal: &str, pid: i32) {
    let status = Command::new("kill").args(["-s", signal, "--", &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -s {signal} {pid}");
}
