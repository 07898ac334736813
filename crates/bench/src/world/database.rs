//! A Postgres database full of reservations, and the states that a figure begins with.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use innkeeper_store::{Store, StoreConfig};

use super::cluster::{BenchCluster, finish};
use super::{loader, sample};

pub use super::loader::{GRACE_MS, PERIOD_MS, WITH_HOOK};

/// The tables that grow while Innkeeper works.
const GROWING: &str = "states, runs, checkins, alerts, deliveries";
/// Tables about processes, and what was concluded from them. Between two figures no ingest node runs. Without
/// clearing these tables, this time would be a blind window that excuses missed check-ins in the next figure.
const OF_PROCESSES: &str = "nodes, duties, leases, checks, blind_windows";
/// A time in the future that no figure reaches.
const A_DAY_MS: i64 = 86_400_000;

/// A loaded database.
pub struct Database {
    name: String,
    url: String,
    psql: std::path::PathBuf,
    reservations: u64,
    /// Whether nothing is due for a day and only check-ins were written since.
    quiet: bool,
}

impl Database {
    /// Makes the database `name` and loads it.
    pub fn load(cluster: &BenchCluster, name: &str, reservations: u64) -> Result<Self> {
        eprintln!("loading {reservations} reservations into Postgres");
        let psql = cluster.client("psql").get_program().into();
        let server = Self {
            name: "postgres".to_owned(),
            url: cluster.url("postgres"),
            psql,
            reservations,
            quiet: false,
        };
        server.execute(&format!("CREATE DATABASE {name}"))?;
        let mut database = Self { name: name.to_owned(), url: cluster.url(name), ..server };
        let store = Store::connect(&StoreConfig { url: database.url.clone(), pool_size: 2 })?;
        store.migrate()?;
        database.execute(&loader::postgres_reservations(reservations, now_ms()))?;
        database.execute("VACUUM ANALYZE reservations")?;
        for statement in loader::postgres_lookup_keys() {
            database.execute(&statement)?;
        }
        database.execute("VACUUM ANALYZE lookup_keys")?;
        database.begin_quietly()?;
        let tables = database.text(
            "SELECT table_name FROM information_schema.columns
             WHERE column_name = 'reservation_id' AND table_schema = 'public'",
        )?;
        let tables: Vec<String> = tables.lines().map(str::to_owned).collect();
        sample::resembles(&store, &tables, |sql| database.number(sql))?;
        Ok(database)
    }

    /// Copies the database to `name`. It must not have any connections.
    pub fn copy(&self, cluster: &BenchCluster, name: &str) -> Result<Self> {
        let database = |name: &str| Self {
            name: name.to_owned(),
            url: cluster.url(name),
            psql: self.psql.clone(),
            ..*self
        };
        database("postgres").execute(&format!("CREATE DATABASE {name} TEMPLATE {}", self.name))?;
        Ok(database(name))
    }

    /// Drops the database.
    pub fn remove(self, cluster: &BenchCluster) -> Result<()> {
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        Self { url: cluster.url("postgres"), ..self }.execute(&sql)
    }

    /// Another handle to the same database, for another thread.
    pub fn again(&self) -> Self {
        Self { name: self.name.clone(), url: self.url.clone(), psql: self.psql.clone(), ..*self }
    }

    /// Makes every reservation like `job-NUMBER` in everything but its names and its key.
    pub fn resemble(&self, number: u64) -> Result<()> {
        let columns = self.text(
            "SELECT string_agg(column_name::text, ', ') FROM information_schema.columns
             WHERE table_name = 'reservations' AND table_schema = 'public'
                 AND column_name NOT IN ('id', 'key', 'app', 'component', 'slug', 'created_at')",
        )?;
        self.execute(&format!(
            "UPDATE reservations SET ({columns}) =
                 (SELECT {columns} FROM reservations WHERE app = 'bench' AND component = 'job-{number}')"
        ))?;
        self.execute("VACUUM ANALYZE reservations")?;
        self.execute("CHECKPOINT")
    }

    /// Makes the reservations whose states match the condition such as have sent a start and its end before: the
    /// sweeper looks at each first start, which is no everyday work.
    pub fn have_run(&self, condition: &str) -> Result<()> {
        self.execute(&format!("UPDATE states SET last_start_at = last_checkin_at - 1000 WHERE {condition}"))?;
        self.execute(&format!(
            "INSERT INTO runs (reservation_id, run_id, started_at, ended_at)
             SELECT reservation_id, '', last_start_at, last_checkin_at FROM states WHERE {condition}"
        ))?;
        self.execute("VACUUM ANALYZE states")?;
        self.execute("VACUUM ANALYZE runs")?;
        self.execute("CHECKPOINT")
    }

    /// The URL, for `database.url`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many reservations it has.
    pub fn reservations(&self) -> u64 {
        self.reservations
    }

    /// Resets the states so that nothing is due for a day.
    pub fn begin_quietly(&mut self) -> Result<()> {
        if self.quiet {
            self.forget_processes()?;
            // Check-ins have only changed facts.
            self.execute("TRUNCATE checkins")?;
            return self.execute("CHECKPOINT");
        }
        self.begin(A_DAY_MS)?;
        self.quiet = true;
        Ok(())
    }

    /// Resets the states as if Innkeeper had been running for long: every job has just checked in, and wakes are
    /// spread over a period that begins in `wake_in_ms`.
    pub fn begin(&mut self, wake_in_ms: i64) -> Result<()> {
        self.quiet = false;
        self.forget_processes()?;
        self.execute(&format!("TRUNCATE {GROWING}"))?;
        let now = now_ms();
        let states = loader::postgres_states(now, now + wake_in_ms);
        // The rows were made from those that they refer to, so checking foreign keys would only take time.
        self.execute(&format!("SET session_replication_role = replica; {states}"))?;
        self.execute("VACUUM ANALYZE states")?;
        self.execute("CHECKPOINT")
    }

    /// Removes all traces of processes. A statement of a killed process that is still running is not waited for.
    fn forget_processes(&self) -> Result<()> {
        self.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
        )?;
        self.execute(&format!("TRUNCATE {OF_PROCESSES}"))
    }

    /// Makes the first `count` jobs miss their check-ins: the first deadline is in `lead`, each further one `step_ms`
    /// later. Sets their recipients to `notify`. Returns the first deadline in UTC milliseconds. The programs must be
    /// running.
    pub fn silence(&mut self, count: u64, notify: &str, lead: Duration, step_ms: i64) -> Result<i64> {
        self.quiet = false;
        self.execute(&format!(
            "UPDATE reservations SET notify = '{notify}' WHERE id <= {count} AND notify <> '{notify}'"
        ))?;
        let first = now_ms() + lead.as_millis() as i64;
        let (deadline, anchor) =
            (format!("{first} + (reservation_id - 1) * {step_ms}"), PERIOD_MS + GRACE_MS);
        self.execute(&format!(
            "UPDATE states SET wake_at = {deadline}, last_checkin_at = {deadline} - {anchor}, last_seen_at = {deadline} - {anchor}
             WHERE reservation_id <= {count}"
        ))?;
        self.execute("VACUUM ANALYZE states")?;
        self.execute("VACUUM reservations")?;
        self.execute("CHECKPOINT")?;
        ensure!(now_ms() < first, "the preparations took longer than {lead:?}");
        Ok(first)
    }

    /// Fails unless each of the first `count` jobs has exactly one alert, and no other job has any.
    pub fn has_alerted(&self, count: u64) -> Result<()> {
        let (all, expected) = (
            self.number("SELECT COUNT(*) FROM alerts WHERE app = 'bench'")?,
            self.number(&format!(
                "SELECT COUNT(DISTINCT reservation_id) FROM alerts WHERE reservation_id BETWEEN 1 AND {count}"
            ))?,
        );
        ensure!(
            all == count as f64 && expected == count as f64,
            "{all} alerts opened, {expected} of them on the {count} silent jobs"
        );
        Ok(())
    }

    /// Runs SQL and ignores its result.
    pub fn execute(&self, sql: &str) -> Result<()> {
        self.text(sql).map(drop)
    }

    /// The result of `sql`, unaligned: one line per row, with `
    /// ` between columns.
    pub fn text(&self, sql: &str) -> Result<String> {
        let mut psql = Command::new(&self.psql);
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, &self.url]).current_dir("/");
        finish(&mut psql).with_context(|| format!("in: {sql}"))
    }

    /// The single number that `sql` returns.
    pub fn number(&self, sql: &str) -> Result<f64> {
        let text = self.text(sql)?;
        text.parse().with_context(|| format!("{text:?} is no number, in: {sql}"))
    }
}

/// Sleeps until `at_ms`, in UTC milliseconds. Fails if that time has passed.
pub fn sleep_until(at_ms: i64) -> Result<()> {
    let left = u64::try_from(at_ms - now_ms()).context("the preparations took too long")?;
    std::thread::sleep(Duration::from_millis(left));
    Ok(())
}

/// The current time in UTC milliseconds.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
