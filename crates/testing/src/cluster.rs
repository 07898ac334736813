//! A Postgres server of the test's own, for tests that stop it, kill it, or start again.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A private server on a Unix socket, run by an unprivileged user where the test is root. Stopped when dropped.
pub struct Cluster {
    directory: TempDir,
    programs: PathBuf,
}

impl Cluster {
    /// Makes a cluster and starts it.
    pub fn start() -> Self {
        let directory = TempDir::with_prefix("ik").expect("a temporary directory");
        let cluster = Self { directory, programs: programs() };
        if is_root() {
            run(&["chown", "nobody", &display(&cluster.directory)]);
        }
        cluster.postgres(
            "initdb",
            &["-U", "innkeeper", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        );
        // What a dead process had written is the system's: without fsync it survives, and recovery takes no seconds.
        let settings = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nmax_connections = 100\nfsync = off\n",
            display(&cluster.directory)
        );
        let file = cluster.data().join("postgresql.conf");
        let known = std::fs::read_to_string(&file).expect("initdb wrote it");
        std::fs::write(&file, known + &settings).expect("it can be written");
        cluster.resume();
        cluster
    }

    /// The address of its database `postgres`.
    pub fn url(&self) -> String {
        format!("postgres://innkeeper@{}/postgres", display(&self.directory).replace('/', "%2F"))
    }

    /// Starts it again; returns when it takes connections.
    pub fn resume(&self) {
        let log = self.directory.path().join("log");
        self.postgres("pg_ctl", &["start", "-w", "-s", "-l", &log.display().to_string()]);
    }

    /// Stops it as a crash would.
    pub fn stop(&self) {
        self.postgres("pg_ctl", &["stop", "-m", "immediate", "-w", "-s"]);
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn postgres(&self, program: &str, arguments: &[&str]) {
        let path = self.programs.join(program).display().to_string();
        let data = self.data().display().to_string();
        self.run([&path, "-D", &data].iter().chain(arguments).copied());
    }

    /// Runs a command as a user that Postgres agrees to run as.
    fn run<'a>(&self, command: impl Iterator<Item = &'a str>) {
        let mut words: Vec<&str> = Vec::new();
        if is_root() {
            words.extend(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
        }
        words.extend(command);
        run(&words);
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn run(words: &[&str]) {
    let status = Command::new(words[0])
        .args(&words[1..])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap_or_else(|error| panic!("{words:?}: {error}"));
    assert!(status.success(), "{words:?}: {status}");
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let Ok(text) = std::fs::read_to_string(self.data().join("postmaster.pid")) else { return };
        let Some(pid) = text.lines().next() else { return };
        let _ = Command::new("kill").args(["-s", "QUIT", pid]).status();
        let end = Instant::now() + Duration::from_secs(10);
        while self.data().join("postmaster.pid").exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn display(directory: &TempDir) -> String {
    directory.path().display().to_string()
}

/// Where Postgres's programs are: as `scripts/test` says, or where Debian puts them.
pub fn programs() -> PathBuf {
    if let Some(directory) = std::env::var_os("INNKEEPER_TEST_POSTGRES_BIN") {
        return directory.into();
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().expect("Postgres's programs; set INNKEEPER_TEST_POSTGRES_BIN, or run scripts/test")
}
