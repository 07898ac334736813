//! Runs Innkeeper's own programs as real processes, which a test can stop and kill.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use innkeeper_core::process_stat::ProcessStat;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tempfile::TempDir;

/// Time limit for a process to do what the test asks, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait for the last output of a process that has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A running program of Innkeeper in a directory of its own. Killed when dropped.
pub struct Server {
    child: Child,
    log: Arc<Log>,
    /// The threads that copy its two output streams into the log.
    readers: [JoinHandle<()>; 2],
    directory: TempDir,
}

#[derive(Default)]
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

impl Log {
    fn text(&self) -> MutexGuard<'_, String> {
        self.text.lock()
    }
}

/// The content of `/proc/PID/stat`; none if the process is gone.
pub fn stat(pid: u32) -> Option<ProcessStat> {
    ProcessStat::parse(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The path of a program of this build: `innkeeper`, `ingest`, `sweeper`, `web`.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test knows its own path");
    let path =
        test.parent().and_then(|deps| deps.parent()).expect("tests lie in target/<profile>/deps").join(name);
    assert!(
        path.exists(),
        "{} is not built; run `cargo build --workspace --bins` or scripts/test",
        path.display()
    );
    path
}

/// A command that runs a program of this build in `directory`, without any of Innkeeper's environment variables.
pub fn command(name: &str, directory: &std::path::Path) -> Command {
    let mut command = Command::new(program(name));
    command.current_dir(directory).stdin(Stdio::null());
    for (variable, _) in std::env::vars().filter(|(variable, _)| variable.starts_with("INNKEEPER_")) {
        command.env_remove(variable);
    }
    command
}

impl Server {
    /// Starts `name` with this configuration (the text of an `innkeeper.toml`) and these arguments.
    pub fn start(name: &str, config: &str, arguments: &[&str]) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        Self::start_in(directory, name, config, arguments)
    }

    /// Like [`Self::start`], with these environment variables.
    pub fn start_with(variables: &[(&str, &str)], name: &str, config: &str, arguments: &[&str]) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let mut command = command(name, directory.path());
        command.envs(variables.iter().copied());
        Self::spawn(directory, command, config, arguments)
    }

    /// Like [`Self::start`], within a network namespace (`ip netns`). Requires root.
    pub fn start_within(namespace: &str, name: &str, config: &str, arguments: &[&str]) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", namespace])
            .arg(program(name))
            .current_dir(directory.path())
            .stdin(Stdio::null());
        Self::spawn(directory, command, config, arguments)
    }

    /// Like [`Self::start`], as the user id `user` with a limit of `most` threads. Requires root.
    pub fn start_with_threads(user: u32, most: usize, name: &str, config: &str, arguments: &[&str]) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        std::os::unix::fs::chown(directory.path(), Some(user), None).expect("it takes root");
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={user}"))
            .args(["--regid=nogroup", "--clear-groups", "prlimit", &format!("--nproc={most}")])
            .arg(program(name))
            .current_dir(directory.path())
            .stdin(Stdio::null());
        Self::spawn(directory, command, config, arguments)
    }

    /// Like [`Self::start`], in an existing directory, as after a restart (see [`Server::into_directory`]).
    pub fn start_in(directory: TempDir, name: &str, config: &str, arguments: &[&str]) -> Self {
        let command = command(name, directory.path());
        Self::spawn(directory, command, config, arguments)
    }

    fn spawn(directory: TempDir, mut command: Command, config: &str, arguments: &[&str]) -> Self {
        std::fs::write(directory.path().join("innkeeper.toml"), config)
            .expect("the configuration is written");
        let mut child = command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = Arc::new(Log::default());
        let readers = [
            follow(child.stdout.take().expect("piped"), Arc::clone(&log)),
            follow(child.stderr.take().expect("piped"), Arc::clone(&log)),
        ];
        Self { child, log, readers, directory }
    }

    /// Waits until the log contains `text`. Panics with the whole log if it does not appear.
    pub fn wait_for_log(&self, text: &str) {
        self.wait_for(text, |log| log.contains(text).then_some(()));
    }

    /// Everything it has printed so far, on both streams.
    pub fn log(&self) -> String {
        self.log.text().clone()
    }

    /// The address on which it listens. Waits until it does (configure port 0).
    pub fn address(&self) -> SocketAddr {
        self.wait_for("listening on http://", |log| {
            let (_, rest) = log.split_once("listening on http://")?;
            rest.split_once('\n')?.0.trim().parse().ok()
        })
    }

    /// The URL of `path` on this server.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    fn wait_for<T>(&self, what: &str, found: impl Fn(&str) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        let mut text = self.log.text();
        loop {
            if let Some(value) = found(&text) {
                return value;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what:?} did not come; the log:\n{text}");
            self.log.grown.wait_for(&mut text, left);
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name: `TERM`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().expect("kill runs");
        assert!(status.success(), "signal {name}");
    }

    /// Kills the process (SIGKILL) and waits for its end.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Terminates the process (SIGTERM) and waits for its end, at most `bound`.
    pub fn terminate(&mut self, bound: Duration) -> ExitStatus {
        self.signal("TERM");
        self.wait_for_end(bound)
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.child.try_wait().expect("its state is known").is_some();
        if ended {
            self.wait_for_whole_log();
        }
        ended
    }

    /// Waits until the log contains the last output of a process that has ended. Does not wait for a child that was
    /// left behind and holds the streams open.
    fn wait_for_whole_log(&self) {
        let end = Instant::now() + LAST_WORDS;
        while !self.readers.iter().all(JoinHandle::is_finished) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end of the process, at most `bound`.
    pub fn wait_for_end(&mut self, bound: Duration) -> ExitStatus {
        let end = Instant::now() + bound;
        loop {
            if let Some(status) = self.child.try_wait().expect("its state is known") {
                self.wait_for_whole_log();
                return status;
            }
            assert!(Instant::now() < end, "it has not ended within {bound:?}; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills the process and returns its directory for a restart.
    pub fn into_directory(mut self) -> TempDir {
        let _ = self.child.kill();
        let _ = self.child.wait();
        std::mem::replace(&mut self.directory, TempDir::new().expect("a temporary directory"))
    }

    /// The directory in which it runs.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of process {} ---\n{}", self.pid(), self.log());
        }
    }
}

fn follow(stream: impl std::io::Read + Send + 'static, log: Arc<Log>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            log.text().push_str(&String::from_utf8_lossy(&line));
            log.grown.notify_all();
            line.clear();
        }
    })
}
