//! A Postgres server of the benchmark's own, as durable as Postgres is when nobody touches its settings.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::Conditions;

/// What is set besides where it listens. Nothing of it makes a commit less durable.
const SETTINGS: &str = "
listen_addresses = ''
max_connections = 100
shared_buffers = '512MB'
max_wal_size = '2GB'
";

/// For a tiny run, which compares nothing: it is to be done soon, also on a busy disk.
const CARELESS: &str = "
fsync = off
";

/// For `--statements`.
const COUNTING: &str = "
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.track = all
pg_stat_statements.track_planning = on
track_io_timing = on
";

/// A running server, reached over a Unix socket alone. Stopped and removed when dropped.
pub struct Cluster {
    directory: TempDir,
    programs: PathBuf,
}

impl Cluster {
    /// Makes a cluster and starts it. Root lends it to `nobody`, since Postgres refuses to run as root.
    pub fn start(conditions: &Conditions) -> Result<Self> {
        let directory = TempDir::with_prefix("pg")?;
        let cluster = Self { directory, programs: conditions.postgres.clone() };
        if is_root() {
            let path = cluster.directory.path().display().to_string();
            finish(Command::new("chown").args(["nobody", &path]))?;
        }
        cluster.server(
            "initdb",
            &["-U", "innkeeper", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-instructions"],
        )?;
        let file = cluster.data().join("postgresql.conf");
        let known = std::fs::read_to_string(&file)?;
        let socket = cluster.directory.path().display();
        let counting = if conditions.statements { COUNTING } else { "" };
        let careless = conditions.pick("", "", CARELESS);
        std::fs::write(
            &file,
            format!("{known}{SETTINGS}{counting}{careless}unix_socket_directories = '{socket}'\n"),
        )?;
        let log = cluster.log();
        cluster.server("pg_ctl", &["start", "-w", "-s", "-l", &log.display().to_string()])?;
        Ok(cluster)
    }

    /// The address of its database `name`.
    pub fn url(&self, name: &str) -> String {
        let socket = self.directory.path().display().to_string().replace('/', "%2F");
        format!("postgres://innkeeper@{socket}/{name}")
    }

    /// A client program of Postgres (`psql`, `pgbench`).
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.stdin(Stdio::null()).current_dir("/");
        command
    }

    /// The settings that a figure depends on: `fsync = on, …`, and the version.
    pub fn settings(&self) -> Result<String> {
        let names = "'fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'max_wal_size',
            'checkpoint_timeout', 'wal_sync_method', 'autovacuum'";
        let sql = format!(
            "SELECT 'Postgres ' || current_setting('server_version') || ': ' ||
                 string_agg(name || ' = ' || current_setting(name), ', ' ORDER BY name)
             FROM pg_settings WHERE name IN ({names})"
        );
        let mut psql = self.client("psql");
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", &sql, &self.url("postgres")]);
        finish(&mut psql)
    }

    /// What the statements of Innkeeper have cost since this was asked last, the costliest first.
    pub fn take_statements(&self) -> Result<String> {
        const COSTLIEST: &str = "
            SELECT to_char(calls, '999999999') AS calls, round(mean_exec_time::numeric, 3) AS mean_ms, round((total_plan_time / calls)::numeric, 3) AS plan_ms,
                   round((total_exec_time + total_plan_time)::numeric) AS total_ms, round(rows::numeric / calls, 1) AS rows,
                   round((shared_blks_hit + shared_blks_read)::numeric / calls) AS pages,
                   round(wal_bytes / calls) AS wal_bytes,
                   left(regexp_replace(query, '\\s+', ' ', 'g'), 120) AS statement
            FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid
            WHERE datname <> 'postgres'
            ORDER BY total_exec_time + total_plan_time DESC
            LIMIT 12";
        let mut psql = self.client("psql");
        psql.args([
            "-Xq",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            "CREATE EXTENSION IF NOT EXISTS pg_stat_statements",
        ]);
        psql.args([
            "-c",
            COSTLIEST,
            "-c",
            "\\o /dev/null",
            "-c",
            "SELECT pg_stat_statements_reset()",
            &self.url("postgres"),
        ]);
        psql.env("PGOPTIONS", "-c client_min_messages=warning");
        finish(&mut psql)
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Runs a server program on the data, as a user that Postgres agrees to run as.
    fn server(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let path = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.arg("-D").arg(self.data()).args(arguments).current_dir("/").stdin(Stdio::null());
        // A server that stays would keep a pipe open.
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        ensure!(status.success(), "{program}: {status} {log}");
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // What is not written is thrown away next.
        if let Err(error) = self.server("pg_ctl", &["stop", "-m", "immediate", "-w", "-s"]) {
            eprintln!("Postgres was not stopped: {error}");
        }
    }
}

/// Runs a command to its end and returns what it printed; an error with its words when it fails.
pub fn finish(command: &mut Command) -> Result<String> {
    let name = format!("{:?}", command.get_program());
    let done = command.output().with_context(|| format!("{name} does not start"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{name}: {} {said}", done.status);
    Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_owned())
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
