//! Postgres servers in network namespaces: a primary, and a standby that has every commit before it is acknowledged.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::network::Network;

/// One server. Stopped when dropped.
pub struct Postgres {
    directory: TempDir,
    namespace: String,
    address: String,
}

impl Postgres {
    /// A new primary at the address of the namespace `name`.
    pub fn primary(network: &Network, name: &str) -> Self {
        let server = Self::at(network, name);
        server.run("initdb", &["-U", "innkeeper", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        server.append(
            "pg_hba.conf",
            "host all all 10.77.0.0/16 trust\nhost replication all 10.77.0.0/16 trust\n",
        );
        server.append(
            "postgresql.conf",
            "wal_level = replica\nhot_standby = on\nmax_connections = 200\nfsync = off\n",
        );
        server.configure();
        server.start();
        server
    }

    /// A standby of `primary`, which from now on acknowledges no commit that the standby does not have.
    pub fn standby(network: &Network, name: &str, primary: &Self) -> Self {
        let server = Self::at(network, name);
        let data = server.data().display().to_string();
        server.program(
            "pg_basebackup",
            &["-h", &primary.address, "-U", "innkeeper", "-D", &data, "-R", "-X", "stream", "-c", "fast"],
        );
        server.configure();
        server.start();
        primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        primary.sql("SELECT pg_reload_conf()");
        server
    }

    /// Both as Innkeeper's address: whichever takes writes.
    pub fn url(servers: &[&Self]) -> String {
        let hosts: Vec<&str> = servers.iter().map(|server| server.address.as_str()).collect();
        format!("postgres://innkeeper@{}/postgres?target_session_attrs=read-write", hosts.join(","))
    }

    /// SIGKILL's equal: no goodbye to anybody, nothing written on the way out.
    pub fn kill(&self) {
        self.run("pg_ctl", &["stop", "-m", "immediate", "-w", "-s"]);
    }

    /// Makes a standby the primary, without a standby of its own.
    pub fn promote(&self) {
        self.run("pg_ctl", &["promote", "-w", "-s"]);
    }

    /// What SQL returns, unaligned.
    pub fn sql(&self, sql: &str) -> String {
        let mut psql = self.within("psql");
        psql.args([
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            &self.address,
            "-U",
            "innkeeper",
            "-c",
            sql,
            "postgres",
        ]);
        let done = psql.output().expect("psql runs");
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    fn at(network: &Network, name: &str) -> Self {
        let directory = TempDir::with_prefix("pg").expect("a temporary directory");
        crate::mail::run(Command::new("chown").arg("nobody").arg(directory.path()));
        Self { directory, namespace: network.namespace(name), address: network.address(name) }
    }

    fn configure(&self) {
        let at = self.directory.path().display();
        self.append(
            "postgresql.conf",
            &format!("listen_addresses = '{}'\nunix_socket_directories = '{at}'\n", self.address),
        );
    }

    fn append(&self, file: &str, text: &str) {
        let path = self.data().join(file);
        let known = std::fs::read_to_string(&path).expect("initdb wrote it");
        std::fs::write(&path, known + text).expect("it can be written");
    }

    fn start(&self) {
        let log = self.directory.path().join("log").display().to_string();
        self.run("pg_ctl", &["start", "-w", "-s", "-l", &log]);
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let data = self.data().display().to_string();
        let all: Vec<&str> = ["-D", &data].into_iter().chain(arguments.iter().copied()).collect();
        self.program(program, &all);
    }

    fn program(&self, program: &str, arguments: &[&str]) {
        let status = self
            .within(program)
            .args(arguments)
            .stdout(Stdio::null())
            .status()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(status.success(), "{program} {arguments:?}: {status}");
    }

    /// A program of Postgres, in the namespace, as a user that Postgres agrees to run as.
    fn within(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command
            .args([
                "netns",
                "exec",
                &self.namespace,
                "setpriv",
                "--reuid=nobody",
                "--regid=nogroup",
                "--clear-groups",
            ])
            .arg(programs().join(program))
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let Ok(text) = std::fs::read_to_string(self.data().join("postmaster.pid")) else { return };
        let Some(pid) = text.lines().next() else { return };
        let _ = Command::new("kill").args(["-s", "QUIT", pid]).status();
        for _ in 0..250 {
            if !self.data().join("postmaster.pid").exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// Where Postgres's programs are: where Debian puts them.
fn programs() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().expect("Postgres's programs: scripts/test-system installs them")
}
