//! A Postgres server of the test's own, for tests that stop it, kill it, or start again.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::certificates::Authority;
use crate::process::stat;

/// How a server is set up and run.
pub struct Setup {
    /// Where Postgres's programs are.
    pub programs: PathBuf,
    /// The command within which its programs run (`ip netns exec …`); empty for none.
    pub within: Vec<String>,
    /// Variables of its environment.
    pub variables: Vec<(&'static str, String)>,
    /// What its configuration says besides where it listens.
    pub settings: String,
    /// Whether a commit outlives the machine. Without that what a dead process had written is still the system's, so that it survives,
    /// and recovery takes no seconds.
    pub is_durable: bool,
}

impl Setup {
    /// By these programs, and nothing else out of the ordinary.
    pub fn by(programs: PathBuf) -> Self {
        let (within, variables) = (Vec::new(), Vec::new());
        Self { programs, within, variables, settings: String::new(), is_durable: false }
    }
}

/// A private server on a Unix socket, run by an unprivileged user where the test is root. Stopped when dropped.
pub struct Cluster {
    directory: TempDir,
    setup: Setup,
}

impl Cluster {
    /// Makes a cluster and starts it.
    pub fn start() -> Self {
        Self::start_with(Vec::new())
    }

    /// The same with these variables in the server's environment.
    pub fn start_with(variables: Vec<(&'static str, String)>) -> Self {
        Self::start_as(Setup { variables, ..Setup::by(programs()) })
    }

    /// The same of this setup.
    pub fn start_as(setup: Setup) -> Self {
        let cluster = Self::make(setup);
        cluster.resume();
        cluster
    }

    /// The same; its messages are in this language (`de`), by the translations that it brings along.
    pub fn start_speaking(language: &str) -> Self {
        let variables = vec![("LC_ALL", "C.UTF-8".to_owned()), ("LANGUAGE", language.to_owned())];
        let settings = "lc_messages = 'C.UTF-8'\n".to_owned();
        Self::start_as(Setup { variables, settings, ..Setup::by(programs()) })
    }

    /// What it has written into its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The same, to be reached over TCP as well, at 127.0.0.1 and this port, with TLS for whoever wants it, by a certificate of `authority`
    /// for these names.
    pub fn start_encrypted(authority: &Authority, names: &[&str], port: u16) -> Self {
        let settings = format!("listen_addresses = '127.0.0.1'\nport = {port}\nssl = on\n");
        let cluster = Self::make(Setup { settings, ..Setup::by(programs()) });
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

    /// Makes one that does not run yet.
    pub fn make(setup: Setup) -> Self {
        let cluster = Self::empty(setup);
        let sync: &[&str] = if cluster.setup.is_durable { &[] } else { &["--no-sync"] };
        let made = ["-U", "innkeeper", "--auth=trust", "-E", "UTF8", "--locale=C"];
        cluster.postgres("initdb", &[&made, sync].concat());
        cluster.configure();
        cluster
    }

    /// A place for one, whose directory of data is yet to be filled; then [`configure`](Self::configure) it.
    pub fn empty(setup: Setup) -> Self {
        let directory = TempDir::with_prefix("ik").expect("a temporary directory");
        if is_root() {
            run(Command::new("chown").arg("nobody").arg(directory.path()));
        }
        Self { directory, setup }
    }

    /// Says in its configuration where it listens, and what its setup says.
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

    /// Adds to a file of its data, as `postgresql.conf`, where what was said before counts no longer.
    pub fn append(&self, file: &str, text: &str) {
        let path = self.data().join(file);
        let known = std::fs::read_to_string(&path).expect("initdb wrote it");
        std::fs::write(&path, known + text).expect("it can be written");
    }

    /// The address of its database `postgres`.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The address of its database `name`.
    pub fn url_of(&self, name: &str) -> String {
        let socket = self.directory.path().display().to_string().replace('/', "%2F");
        format!("postgres://innkeeper@{socket}/{name}")
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

    /// Its directory of data.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Runs a program of the server's on its data.
    pub fn postgres(&self, program: &str, arguments: &[&str]) {
        run(self.command(program).arg("-D").arg(self.data()).args(arguments));
    }

    /// A program of Postgres, run where the server runs, as a user that Postgres agrees to run as.
    pub fn command(&self, program: &str) -> Command {
        let mut words = self.setup.within.clone();
        if is_root() {
            words.extend(
                ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"].map(str::to_owned),
            );
        }
        // After that, so that what the variables bring along is that user's, too.
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

/// Runs a command to its end. A server that it leaves behind would keep a pipe open.
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

/// The processes that `parent` has started and that still run.
fn children_of(parent: &str) -> Vec<String> {
    let parent = parent.parse::<i32>().ok();
    let is_child = |pid: &u32| stat(*pid).is_some_and(|stat| Some(stat.parent) == parent);
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(is_child).map(|pid| pid.to_string()).collect()
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
