//! The cost of listing everything: the memory of the process, and how long it keeps a snapshot open.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::table::{Row, commas};
use crate::world::World;
use crate::world::database::Database;
use crate::world::program::Program;
use crate::world::roles::{Roles, start_standalone};
use crate::world::sqlite::Sqlite;

/// Largest memory of the process, in MB.
const MOST_MB: f64 = 100.0;
/// Longest snapshot, in seconds.
const LONGEST_S: f64 = 30.0;
/// Fewer reservations would fit into that memory in any case.
const AT_LEAST: u64 = 10_000;
/// One of this many jobs is overdue.
const MISSED: u64 = 10;
const LISTS: [&str; 5] = ["/reservation", "/cron", "/cron/missed", "/api/v1/summary", "/api/v1/export"];
/// Timeout of a list.
const PATIENCE: Duration = Duration::from_secs(120);

/// From a web process over Postgres.
pub fn over_postgres(world: &mut World) -> Result<Vec<Row>> {
    let wanted = world.conditions.reservations.max(AT_LEAST);
    let lists = lists(world);
    if wanted > world.conditions.reservations {
        let mut database = Database::load(world.cluster()?, "lists", wanted)?;
        let rows = of_database(&mut database, lists);
        database.remove(world.running_cluster()?)?;
        return rows;
    }
    of_database(world.many()?, lists)
}

/// From the standalone program over SQLite.
pub fn over_sqlite(world: &mut World) -> Result<Vec<Row>> {
    let jobs = world.conditions.reservations.max(AT_LEAST);
    let sqlite = Sqlite::load(jobs)?;
    sqlite.execute(&missed());
    sqlite.execute("ANALYZE; PRAGMA wal_checkpoint(TRUNCATE);");
    let innkeeper = start_standalone(sqlite.url(), "")?;
    let (row, _) =
        measure(&innkeeper, jobs, lists(world), " (SQLite)", "the standalone program over SQLite")?;
    Ok(vec![row])
}

/// The lists that this run requests.
fn lists(world: &World) -> &'static [&'static str] {
    world.conditions.pick(&LISTS, &LISTS, &[LISTS[0], LISTS[3]])
}

fn missed() -> String {
    format!(
        "UPDATE states SET last_checkin_at = last_checkin_at - 3600000, last_seen_at = last_seen_at - 3600000
         WHERE reservation_id % {MISSED} = 0"
    )
}

fn of_database(database: &mut Database, lists: &[&str]) -> Result<Vec<Row>> {
    database.begin(86_400_000)?;
    database.execute(&missed())?;
    database.execute("VACUUM ANALYZE states")?;
    let roles = Roles::start(database, "")?;
    let watched = Watched::start(database);
    let how = "a web process over Postgres, ingest and a sweeper idle beside it";
    let (row, longest_list) = measure(&roles.web, database.reservations(), lists, "", how)?;
    let longest = watched.finish()?;
    // The watcher samples, so it may miss short snapshots; but these lists took seconds.
    ensure!(longest > 0.0 || longest_list < Duration::from_secs(2), "no snapshot was seen");
    let snapshot =
        Row::new("the longest transaction meanwhile, with a reader of 1 KB/s", format!("{longest:.1} s"))
            .at_most(longest, LONGEST_S, " s")
            .with("longest_s", longest);
    Ok(vec![row, snapshot])
}

/// Requests each list while another client reads the first at 1 KB/s. Also returns the duration of the slowest list.
fn measure(program: &Program, jobs: u64, lists: &[&str], of: &str, how: &str) -> Result<(Row, Duration)> {
    let address = program.address()?;
    let before = program.usage()?;
    let slow = Slow::start(address)?;
    let (mut words, mut longest) = (Vec::new(), Duration::ZERO);
    for path in lists {
        let List { first, whole, bytes } = List::of(address, path)?;
        let least = jobs * if path.ends_with("/missed") || path.ends_with("/summary") { 10 } else { 100 };
        ensure!(bytes > least, "{path} has {bytes} bytes for {jobs} reservations");
        longest = longest.max(whole);
        words.push(format!(
            "{path} {:.0} MB, first byte {:.1} s, all {:.1} s",
            bytes as f64 / 1e6,
            first.as_secs_f64(),
            whole.as_secs_f64()
        ));
    }
    let read = slow.finish()?;
    ensure!(read > 0, "the slow reader was not answered");
    let peak = program.usage()?.peak_rss_mb;
    let row = Row::new(
        &format!("lists of {} reservations{of}: RSS, its peak", commas(jobs as f64)),
        format!("{peak:.0} MB"),
    )
    .at_most(peak, MOST_MB, " MB")
    .under(format!(
        "{how}; one of {MISSED} is missed; {}; a reader of 1 KB/s beside them; {:.0} MB before",
        words.join("; "),
        before.rss_mb
    ));
    Ok((row, longest))
}

/// A received list.
struct List {
    first: Duration,
    whole: Duration,
    bytes: u64,
}

impl List {
    fn of(address: SocketAddr, path: &str) -> Result<Self> {
        let begun = Instant::now();
        let mut stream = ask(address, path)?;
        let mut buffer = vec![0; 1 << 20];
        let mut head = Vec::new();
        let (mut first, mut read) = (None, 0_u64);
        loop {
            let count = stream.read(&mut buffer).with_context(|| format!("{path} does not come"))?;
            first.get_or_insert_with(|| begun.elapsed());
            if count == 0 {
                break;
            }
            if head.len() < 4096 {
                head.extend_from_slice(&buffer[..count.min(4096)]);
            }
            read += count as u64;
        }
        let text = String::from_utf8_lossy(&head);
        let Some((head, _)) = text.split_once("\r\n\r\n") else { bail!("{path} was answered {text:?}") };
        ensure!(head.starts_with("HTTP/1.1 200 "), "{path} was answered {head}");
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, length)| length.parse::<u64>().ok())
            .with_context(|| format!("{path} has no length: {head}"))?;
        let bytes = read - head.len() as u64 - 4;
        ensure!(bytes == length, "{path} has {bytes} bytes of {length}");
        Ok(Self { first: first.unwrap_or_default(), whole: begun.elapsed(), bytes })
    }
}

fn ask(address: SocketAddr, path: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    Ok(stream)
}

/// Work in another thread during a measurement, until its result is requested.
struct Beside<T> {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<T>>,
}

impl<T: Send + 'static> Beside<T> {
    fn start(work: impl FnOnce(&AtomicBool) -> Result<T> + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        Self { stop, thread: std::thread::spawn(move || work(&flag)) }
    }

    fn finish(self) -> Result<T> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("a thread died"))?
    }
}

/// A client that reads 1 KB/s. Its result is the number of bytes.
struct Slow;

impl Slow {
    fn start(address: SocketAddr) -> Result<Beside<usize>> {
        let mut stream = ask(address, LISTS[0])?;
        let mut buffer = [0; 1024];
        let mut read = stream.read(&mut buffer)?;
        Ok(Beside::start(move |stop| {
            loop {
                read += stream.read(&mut buffer)?;
                if stop.load(Ordering::Relaxed) {
                    return Ok(read);
                }
                std::thread::sleep(Duration::from_secs(1));
            }
        }))
    }
}

/// Repeatedly measures the longest transaction of the programs, in seconds.
struct Watched;

impl Watched {
    fn start(database: &Database) -> Beside<f64> {
        let database = database.again();
        Beside::start(move |stop| {
            let mut longest: f64 = 0.0;
            while !stop.load(Ordering::Relaxed) {
                longest = longest.max(database.number(
                    "SELECT COALESCE(MAX(EXTRACT(EPOCH FROM clock_timestamp() - xact_start)), 0) FROM pg_stat_activity
                     WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
                )?);
                std::thread::sleep(Duration::from_millis(200));
            }
            Ok(longest)
        })
    }
}
