//! A Postgres server for the benchmark, with default durability.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use innkeeper_testing::cluster::{self, ClusterSetup};

use super::Conditions;

/// Settings beside those for listening. None of them makes a commit less durable.
const SETTINGS: &str = "
shared_buffers = '512MB'
max_wal_size = '2GB'
";

/// Further settings for `--statements`.
const COUNTING: &str = "
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.track = all
pg_stat_statements.track_planning = on
track_io_timing = on
";

/// A running server, reachable only over a Unix socket. Stopped and removed when dropped.
pub struct BenchCluster {
    cluster: cluster::Cluster,
    programs: PathBuf,
}

impl BenchCluster {
    /// Creates and starts a cluster. In a tiny run it is not durable, so that the run is fast even on a busy disk.
    pub fn start(conditions: &Conditions) -> Self {
        let programs = conditions.postgres.clone();
        let counting = if conditions.statements { COUNTING } else { "" };
        let cluster = cluster::Cluster::start_as(ClusterSetup {
            settings: format!("{SETTINGS}{counting}"),
            is_durable: conditions.pick(true, true, false),
            ..ClusterSetup::by(programs.clone())
        });
        Self { cluster, programs }
    }

    /// The URL of its database `name`.
    pub fn url(&self, name: &str) -> String {
        self.cluster.url_of(name)
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

    /// The costs of Innkeeper's statements since the last call, most expensive first.
    pub fn take_statements(&self) -> Result<String> {
        const COSTLIEST: &str = "
            SELECT to_char(calls, '999999999') AS calls, round(mean_exec_time::numeric, 3) AS mean_ms, round((total_plan_time / NULLIF(calls, 0))::numeric, 3) AS plan_ms,
                   round((total_exec_time + total_plan_time)::numeric) AS total_ms, round(rows::numeric / NULLIF(calls, 0), 1) AS rows,
                   round((shared_blks_hit + shared_blks_read)::numeric / NULLIF(calls, 0)) AS pages,
                   round(wal_bytes / NULLIF(calls, 0)) AS wal_bytes,
                   left(regexp_replace(query, '\\s+', ' ', 'g'), 120) AS statement
            FROM pg_stat_statements LEFT JOIN pg_database ON pg_database.oid = dbid
            WHERE datname IS DISTINCT FROM 'postgres'
            ORDER BY total_exec_time + total_plan_time DESC
            LIMIT 20";
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
}

/// Runs a command until it ends and returns its output. The error contains what the command printed.
pub fn finish(command: &mut Command) -> Result<String> {
    let name = format!("{:?}", command.get_program());
    let done = command.output().with_context(|| format!("{name} does not start"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{name}: {} {said}", done.status);
    Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_owned())
}
