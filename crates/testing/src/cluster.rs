//! A Postgres server of the test's own, for tests that stop it, kill it, or start again.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::certificates::Authority;
use crate::process::stat;

/// A private server on a Unix socket, run by an unprivileged user where the test is root. Stopped when dropped.
pub struct Cluster {
    directory: TempDir,
    programs: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Cluster {
    /// Makes a cluster and starts it.
    pub fn start() -> Self {
        Self::start_with(Vec::new())
    }

    /// The same with these variables in the server's environment.
    pub fn start_with(variables: Vec<(&'static str, String)>) -> Self {
        let cluster = Self::make(variables);
        cluster.resume();
        cluster
    }

    /// The same; its messages are in this language (`de`), by the translations that it brings along.
    pub fn start_speaking(language: &str) -> Self {
        let variables = vec![("LC_ALL", "C.UTF-8".to_owned()), ("LANGUAGE", language.to_owned())];
        let cluster = Self::make(variables);
        cluster.set("lc_messages = 'C.UTF-8'\n");
        cluster.resume();
        cluster
    }

    /// What it has written into its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The same, to be reached over TCP as well, at 127.0.0.1 and this port, with TLS for whoever wants it, by a certificate of `authority`
    /// for these names.
    pub fn start_encrypted(authority: &Authority, names: &[&str], port: u16) -> Self {
        let cluster = Self::make(Vec::new());
        let [certificate, key] = ["server.crt", "server.key"].map(|name| cluster.data().join(name));
        authority.write_server(names, &certificate, &key);
        for file in [&certificate, &key] {
            let file = file.display().to_string();
            run(&["chmod", "600", &file]);
            if is_root() {
                run(&["chown", "nobody", &file]);
            }
        }
        cluster.set(&format!("listen_addresses = '127.0.0.1'\nport = {port}\nssl = on\n"));
        cluster.resume();
        cluster
    }

    /// Makes one that does not run yet.
    fn make(variables: Vec<(&'static str, String)>) -> Self {
        let directory = TempDir::with_prefix("ik").expect("a temporary directory");
        let cluster = Self { directory, programs: programs(), variables };
        if is_root() {
            run(&["chown", "nobody", &display(&cluster.directory)]);
        }
        cluster.postgres(
            "initdb",
            &["-U", "innkeeper", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        );
        // What a dead process had written is the system's: without fsync it survives, and recovery takes no seconds.
        cluster.set(&format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nmax_connections = 100\nfsync = off\n",
            display(&cluster.directory)
        ));
        cluster
    }

    /// Adds to its configuration; what was said before counts no longer.
    fn set(&self, settings: &str) {
        let file = self.data().join("postgresql.conf");
        let known = std::fs::read_to_string(&file).expect("initdb wrote it");
        std::fs::write(&file, known + settings).expect("it can be written");
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

    /// Overwrites a part of one of its files, `file` being a path within its directory of data, as a disk does that fails. Stop it before.
    pub fn overwrite(&self, file: &str, at: u64, bytes: &[u8]) {
        let path = self.data().join(file);
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).expect("it is there");
        file.seek(SeekFrom::Start(at)).expect("so long a file");
        file.write_all(bytes).expect("it can be written");
    }

    /// Has all of its processes stand still (SIGSTOP) until the answer is dropped: it keeps its connections, and answers nothing.
    pub fn stand_still(&self) -> StandsStill<'_> {
        self.signal("STOP");
        StandsStill(self)
    }

    fn signal(&self, name: &str) {
        let Some(first) = self.pid() else { return };
        // Twice: the first may start another before it stands still.
        for _ in 0..2 {
            let mut pids = vec![first.clone()];
            pids.extend(children_of(&first));
            let _ = Command::new("kill").args(["-s", name]).args(&pids).stderr(Stdio::null()).status();
        }
    }

    fn pid(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        text.lines().next().map(str::to_owned)
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
        let variables: Vec<String> =
            self.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut words: Vec<&str> = Vec::new();
        if is_root() {
            words.extend(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
        }
        // After that, so that what the variables bring along is that user's, too.
        words.push("env");
        words.extend(variables.iter().map(String::as_str));
        command.for_each(|word| words.push(word));
        run(&words);
    }
}

pub(crate) fn is_root() -> bool {
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
        let Some(pid) = self.pid() else { return };
        let _ = Command::new("kill").args(["-s", "QUIT", &pid]).status();
        let end = Instant::now() + Duration::from_secs(10);
        while self.data().join("postmaster.pid").exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The processes that `parent` has started and that still run.
fn children_of(parent: &str) -> Vec<String> {
    let parent = parent.parse::<i32>().ok();
    let is_child = |pid: &u32| stat(*pid).is_some_and(|stat| Some(stat.parent) == parent);
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(is_child).map(|pid| pid.to_string()).collect()
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

/// A cluster that stands still; it goes on when this is dropped, so that a test that fails can clear up.
pub struct StandsStill<'a>(&'a Cluster);

impl Drop for StandsStill<'_> {
    fn drop(&mut self) {
        self.0.signal("CONT");
    }
}
