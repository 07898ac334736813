//! The time to the first byte of a page, with many reservations.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::histogram::Histogram;
use crate::http::{self, whole_answer};
use crate::table::{Row, commas, median};
use crate::world::World;
use crate::world::roles::{Roles, start_standalone};
use crate::world::sqlite::Sqlite;

/// A search reads every row, so it is requested this many times less often.
const SELDOM: usize = 25;
/// Target for the time to the first byte, in ms.
const TARGET_MS: f64 = 20.0;
/// Number of jobs that are down, spread evenly.
const DOWN: u64 = 500;
/// Check-ins of the reservation whose page is requested.
const HISTORY: u64 = 100;
/// Reservations per app.
const OF_AN_APP: u64 = 1000;
/// Interval in seconds at which an open page refreshes itself. Anything cached for a shorter time has expired by
/// then.
const LIVE: u64 = 10;
/// Time limit for the sweeper to find the jobs that are down.
const PATIENCE: Duration = Duration::from_secs(60);

/// Over Postgres, from a web process. Ingest and a sweeper run beside it without work.
pub fn over_postgres(world: &mut World) -> Result<Vec<Row>> {
    let jobs = world.conditions.reservations;
    world.many()?.begin_quietly()?;
    let database = world.copy_of_many("pages")?;
    database.execute(&apps())?;
    database.execute(&keys_of_apps("gen_random_uuid()::text"))?;
    database.execute("VACUUM FULL ANALYZE reservations")?;
    database.execute(&silence(jobs))?;
    database.execute("VACUUM ANALYZE")?;
    database.execute("CHECKPOINT")?;
    let roles = Roles::start(&database, "")?;
    let how = "a web process over Postgres, ingest and a sweeper idle beside it";
    let rows = measure(world, jobs, roles.ingest.address()?, roles.web.address()?, "", how);
    drop(roles);
    database.remove(world.running_cluster()?)?;
    rows
}

/// Over SQLite, from the process with all roles.
pub fn over_sqlite(world: &mut World) -> Result<Vec<Row>> {
    let jobs = world.conditions.reservations;
    let sqlite = Sqlite::load(jobs)?;
    sqlite.execute(&apps());
    sqlite.execute(&keys_of_apps("lower(hex(randomblob(16)))"));
    sqlite.execute(&silence(jobs));
    sqlite.execute("VACUUM; ANALYZE; PRAGMA wal_checkpoint(TRUNCATE);");
    let innkeeper = start_standalone(sqlite.url(), "")?;
    let address = innkeeper.address()?;
    measure(world, jobs, address, address, " (SQLite)", "the standalone program over SQLite")
}

/// Spreads the reservations over the apps app-1000, app-1001, … and removes their recipients.
fn apps() -> String {
    format!("UPDATE reservations SET notify = '', app = 'app-' || (1000 + (id - 1) / {OF_AN_APP})")
}

/// Makes one of this many jobs miss its check-ins.
fn silence(jobs: u64) -> String {
    format!(
        "UPDATE states SET wake_at = last_checkin_at, last_checkin_at = last_checkin_at - 3600000, last_seen_at = last_seen_at - 3600000
         WHERE reservation_id % {} = 0",
        one_of(jobs)
    )
}

fn one_of(jobs: u64) -> u64 {
    (jobs / DOWN).max(1)
}

fn keys_of_apps(key: &str) -> String {
    format!(
        "INSERT INTO ping_keys (app, key) SELECT app, {key} FROM (SELECT DISTINCT app FROM reservations) apps"
    )
}

/// A page, and the times to its first byte.
struct Page {
    name: &'static str,
    path: String,
    took: Histogram,
}

/// Requests each page in turn, and `/healthz` of the same process, which uses no database.
fn measure(
    world: &World,
    jobs: u64,
    ingest: SocketAddr,
    web: SocketAddr,
    of: &str,
    how: &str,
) -> Result<Vec<Row>> {
    let (rounds, waits, live) = world.conditions.pick((500, 9, LIVE), (200, 3, LIVE), (25, 1, 2));
    let number = jobs * 3 / 4;
    for _ in 0..HISTORY {
        ensure!(http::check_in(ingest, number)? == 200, "no check-in was taken");
    }
    let mut connection = Connection::to(web)?;
    let down = jobs / one_of(jobs);
    connection.wait_for("innkeeper_open_alerts", down)?;
    connection.wait_for("innkeeper_waiting_deliveries", 0)?;
    let app = 1000 + jobs / OF_AN_APP / 2;
    let pages = [
        ("bare answer", "/healthz".to_owned()),
        ("first", "/status".to_owned()),
        (
            "in the middle",
            format!("/status?after_app=app-{app}&after_component=job-{}&after_down=false", jobs / 2),
        ),
        ("one app", format!("/status?app=app-{app}")),
        ("one reservation", format!("/status/{}", number + 1)),
    ];
    let mut pages = pages.map(|(name, path)| Page { name, path, took: Histogram::default() });
    for page in &pages {
        (0..10).try_for_each(|_| connection.first_byte_of(&page.path).map(drop))?;
    }
    for _ in 0..rounds {
        for page in &mut pages {
            page.took.record(connection.first_byte_of(&page.path)?);
        }
    }
    let mut search =
        Page { name: "search", path: format!("/status?q=job-{number}"), took: Histogram::default() };
    for _ in 0..rounds / SELDOM {
        search.took.record(connection.first_byte_of(&search.path)?);
    }
    let mut after_a_wait = Vec::new();
    for _ in 0..waits {
        std::thread::sleep(Duration::from_secs(live));
        // The idle connection may have been closed; a browser would open a new one, too.
        connection = Connection::to(web)?;
        after_a_wait.push(connection.first_byte_of("/status")?.as_secs_f64() * 1000.0);
    }
    let after_a_wait = median(after_a_wait);
    let [bare, first, others @ ..] = &pages;
    let (middle, slow, floor) =
        (first.took.quantile_ms(0.5), first.took.quantile_ms(0.99), bare.took.quantile_ms(0.5));
    let words = |page: &Page| {
        let (middle, slow) = (page.took.quantile_ms(0.5), page.took.quantile_ms(0.99));
        format!("{} {middle:.1}, {slow:.1} ms ({:.0} × the bare answer)", page.name, middle / floor)
    };
    let slowest = others.iter().map(|page| page.took.quantile_ms(0.99)).fold(0.0, f64::max);
    let row = Row::new(
        &format!("first byte of the reservations page{of}: p50, p99; after ten quiet seconds"),
        format!("{middle:.1}, {slow:.1} ms; {after_a_wait:.1} ms"),
    )
    .at_most(slow, TARGET_MS, " ms")
    .at_most(after_a_wait, TARGET_MS, " ms")
    .under(format!(
        "{} reservations in {} apps, {down} of them down; {how}; {rounds} requests for each page in turn over one connection, {waits} after {} s each; {} of the same process {floor:.2} ms, so {:.0} × that",
        commas(jobs as f64),
        commas((jobs / OF_AN_APP) as f64),
        live,
        bare.path,
        middle / floor
    ))
    .with("bare_ms", floor)
    .with("p50_ms", middle)
    .with("p99_ms", slow)
    .with("after_a_wait_ms", after_a_wait);
    let further = Row::new(
        &format!("first byte of other pages{of}: p50, p99"),
        others.iter().map(&words).collect::<Vec<_>>().join("; "),
    )
    .at_most(slowest, TARGET_MS, " ms")
    .under(format!("as above; the one reservation has {HISTORY} check-ins"));
    let search = Row::new(
        &format!("first byte of a search in all{of}: p50, longest"),
        format!("{:.0}, {:.0} ms", search.took.quantile_ms(0.5), search.took.most_ms()),
    )
    .under(format!("{}: a part of a name", search.path));
    Ok(vec![row, further, search])
}

/// A persistent connection, like a browser's.
struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Connection {
    fn to(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, bytes: Vec::new() })
    }

    /// Sends a request like a browser's. Returns the time to the first byte, after reading and checking the whole
    /// response.
    fn first_byte_of(&mut self, path: &str) -> Result<Duration> {
        let begun = Instant::now();
        write!(self.stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: text/html\r\n\r\n")?;
        self.bytes.clear();
        let mut began = None;
        let mut buffer = [0; 65_536];
        loop {
            let read = self.stream.read(&mut buffer)?;
            began.get_or_insert_with(|| begun.elapsed());
            ensure!(read > 0, "{path}: the connection was closed");
            self.bytes.extend_from_slice(&buffer[..read]);
            if let Some((status, _)) = whole_answer(&self.bytes) {
                ensure!(status == 200, "{path} was answered with {status}");
                return began.context("something was read");
            }
        }
    }

    /// Waits until the metric has this value.
    fn wait_for(&mut self, metric: &str, value: u64) -> Result<()> {
        let line = format!("\n{metric} {value}\n");
        let end = Instant::now() + PATIENCE;
        loop {
            self.first_byte_of("/metrics")?;
            if String::from_utf8_lossy(&self.bytes).contains(&line) {
                return Ok(());
            }
            ensure!(Instant::now() < end, "{metric} does not become {value}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
