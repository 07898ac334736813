//! A Postgres server for a single test, which may stop, kill or restart it.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::certificates::Authority;
use crate::process::stat;

/// The setup of a server.
pub struct ClusterSetup {
    /// The directory of Postgres's programs.
    pub programs: PathBuf,
    /// A command that runs its programs (`ip netns exec …`); empty for none.
    pub within: Vec<String>,
    /// Environment variables of the server.
    pub variables: Vec<(&'static str, String)>,
    /// Configuration settings beside those for listening.
    pub settings: String,
    /// Whether a commit survives a crash of the machine (`fsync`). Without that, commits still survive a crash of the
    /// server, and recovery is fast.
    pub is_durable: bool,
}

impl ClusterSetup {
    /// A default setup with the programs in this directory.
    pub fn by(programs: PathBuf) -> Self {
        let (within, variables) = (Vec::new(), Vec::new());
        Self { programs, within, variables, settings: String::new(), is_durable: false }
    }
}

/// A private server on a Unix socket. If the test runs as root, the server runs as an unprivileged user. Stopped when
/// dropped.
pub struct Cluster {
    directory: TempDir,
    setup: ClusterSetup,
}

impl Cluster {
    /// Creates and starts a cluster.
    pub fn start() -> Self {
        Self::start_with(Vec::new())
    }

    /// Like [`Self::start`], with these environment variables.
    pub fn start_with(variables: Vec<(&'static str, String)>) -> Self {
        Self::start_as(ClusterSetup { variables, ..ClusterSetup::by(programs()) })
    }

    /// Like [`Self::start`], with this setup.
    pub fn start_as(setup: ClusterSetup) -> Self {
        let cluster = Self::make(setup);
        cluster.resume();
        cluster
    }

    /// Like [`Self::start`], with messages in this language (`de`), if the server's translations are installed.
    pub fn start_speaking(language: &str) -> Self {
        let variables = vec![("LC_ALL", "C.UTF-8".to_owned()), ("LANGUAGE", language.to_owned())];
        let settings = "lc_messages = 'C.UTF-8'\n".to_owned();
        Self::start_as(ClusterSetup { variables, settings, ..ClusterSetup::by(programs()) })
    }

    /// The content of its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Like [`Self::start`], and also listens on TCP at 127.0.0.1 and `port`, with optional TLS. `authority` issues a
    /// certificate for `names`.
    pub fn start_encrypted(authority: &Authority, names: &[&str], port: u16) -> Self {
        let settings = format!("listen_addresses = '127.0.0.1'\nport = {port}\nssl = on\n");
        let cluster = Self::make(ClusterSetup { settings, ..ClusterSetup::by(programs()) });
        let [certificate, key] = ["server.crt", "server.key"].map(|name| cluster.data().join(name));
        authority.write_server(names, &certificate, &key);
        for file in [&certificate, &key] {
            run(Command::new("chmod").arg("600").arg(file));
            if is_root() {
                run(Command::new("chown").arg("nobody").arg(file));
            }
        }
        cluster.resume();
        cluster
    }

    /// Creates a cluster without starting it.
    pub fn make(setup: ClusterSetup) -> Self {
        let cluster = Self::empty(setup);
        let sync: &[&str] = if cluster.setup.is_durable { &[] } else { &["--no-sync"] };
        let made = ["-U", "innkeeper", "--auth=trust", "-E", "UTF8", "--locale=C"];
        cluster.postgres("initdb", &[&made, sync].concat());
        cluster.configure();
        cluster
    }

    /// Creates the directory for a cluster without its data. Fill the data directory, then call
    /// [`configure`](Self::configure).
    pub fn empty(setup: ClusterSetup) -> Self {
        let directory = TempDir::with_prefix("ik").expect("a temporary directory");
        if is_root() {
            run(Command::new("chown").arg("nobody").arg(directory.path()));
        }
        Self { directory, setup }
    }

    /// Writes its configuration: where it listens, and the settings of its setup.
    pub fn configure(&self) {
        let fsync = if self.setup.is_durable { "" } else { "fsync = off\n" };
        let at = self.directory.path().display();
        self.append(
            "postgresql.conf",
            &format!(
                "listen_addresses = ''\nunix_socket_directories = '{at}'\nmax_connections = 100\n{fsync}{}",
                self.setup.settings
            ),
        );
    }

    /// Appends to a file in its data directory, such as `postgresql.conf`, in which later settings override earlier
    /// ones.
    pub fn append(&self, file: &str, text: &str) {
        let path = self.data().join(file);
        let known = std::fs::read_to_string(&path).expect("initdb wrote it");
        std::fs::write(&path, known + text).expect("it can be written");
    }

    /// The URL of its database `postgres`.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The URL of its database `name`.
    pub fn url_of(&self, name: &str) -> String {
        let socket = self.directory.path().display().to_string().replace('/', "%2F");
        format!("postgres://innkeeper@{socket}/{name}")
    }

    /// Starts the server and waits until it accepts connections.
    pub fn resume(&self) {
        let log = self.directory.path().join("log");
        self.postgres("pg_ctl", &["start", "-w", "-s", "-l", &log.display().to_string()]);
    }

    /// Stops the server immediately, as a crash would.
    pub fn stop(&self) {
        self.postgres("pg_ctl", &["stop", "-m", "immediate", "-w", "-s"]);
    }

    /// Overwrites a part of a file, as a failing disk would. `file` is relative to the data directory. The server
    /// must be stopped.
    pub fn overwrite(&self, file: &str, at: u64, bytes: &[u8]) {
        let path = self.data().join(file);
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).expect("it is there");
        file.seek(SeekFrom::Start(at)).expect("so long a file");
        file.write_all(bytes).expect("it can be written");
    }

    /// Stops all its processes (SIGSTOP) until the result is dropped. Connections stay open but are not served.
    pub fn stand_still(&self) -> StandsStill<'_> {
        self.signal("STOP");
        StandsStill(self)
    }

    fn signal(&self, name: &str) {
        let Some(first) = self.pid() else { return };
        // Twice, because the first process may start another before it is stopped.
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

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Runs a program of Postgres on the data directory.
    pub fn postgres(&self, program: &str, arguments: &[&str]) {
        run(self.command(program).arg("-D").arg(self.data()).args(arguments));
    }

    /// A command that runs a program of Postgres in the same environment as the server, and as a user that Postgres
    /// accepts.
    pub fn command(&self, program: &str) -> Command {
        let mut words = self.setup.within.clone();
        if is_root() {
            words.extend(
                ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"].map(str::to_owned),
            );
        }
        // `env` comes last, so that the variables also apply after the change of the user.
        words.push("env".to_owned());
        words.extend(self.setup.variables.iter().map(|(name, value)| format!("{name}={value}")));
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .arg(self.setup.programs.join(program))
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }
}

pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// Runs a command until it ends. Output is discarded, because a server that it leaves behind would keep a pipe open.
fn run(command: &mut Command) {
    let status = command.stdout(Stdio::null()).status();
    assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "{command:?}: {status:?}");
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

/// The running child processes of `parent`.
fn children_of(parent: &str) -> Vec<String> {
    let parent = parent.parse::<i32>().ok();
    let is_child = |pid: &u32| stat(*pid).is_some_and(|stat| Some(stat.parent) == parent);
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(is_child).map(|pid| pid.to_string()).collect()
}

/// The directory of Postgres's programs: as `scripts/test` sets it, or Debian's default.
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

/// A stopped cluster. Dropping this continues it, so that a failing test can clean up.
pub struct StandsStill<'a>(&'a Cluster);

impl Drop for StandsStill<'_> {
    fn drop(&mut self) {
        self.0.signal("CONT");
    }
}
