//! Every kind of check-in beside the plain one: each over a copy of the large database, since what it leaves behind (runs,
//! values, output) would be paid for by the figures after it.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;

use anyhow::{Result, ensure};

use super::beside_bare::{Beside, beside_the_bare_handler, how};
use crate::http::Ask;
use crate::load::{self, LoadPlan};
use crate::table::{Row, commas};
use crate::world::World;
use crate::world::database::Database;
use crate::world::roles::Roles;

/// The least share of the plain check-in's rate that each other kind has to reach.
const OF_THE_PLAIN: f64 = 0.8;
const CONNECTIONS: usize = 128;

/// A start, then a success.
pub fn starts(world: &mut World) -> Result<Vec<Row>> {
    of_a_kind(world, Ask::StartAndEnd, "start, then success")
}

/// An exit status with output, for jobs that once sent a start.
pub fn exits(world: &mut World) -> Result<Vec<Row>> {
    of_a_kind(world, Ask::ExitStatus, "exit status with 1 kB of output")
}

/// A start and a success of a run with an id.
pub fn runs(world: &mut World) -> Result<Vec<Row>> {
    of_a_kind(world, Ask::RunWithId, "start and success of a run with an id")
}

/// Figures.
pub fn figures(world: &mut World) -> Result<Vec<Row>> {
    of_a_kind(world, Ask::Figures, "three figures")
}

/// All of them by their shares in the field.
pub fn mix(world: &mut World) -> Result<Vec<Row>> {
    let name =
        "a mix: 60 % plain, 25 % start and end, 10 % exit status with output, 5 % failures with output";
    of_a_kind(world, Ask::Mix, name)
}

/// gocron's check-ins of reservations that it made, and that are as its check-ins say.
pub fn gocron(world: &mut World) -> Result<Vec<Row>> {
    on_a_copy(world, |world, database, address| {
        let jobs = database.reservations();
        make_by_gocron(address, jobs)?;
        database.resemble(jobs)?;
        let plain = beside_the_bare_handler(world, address, Ask::CheckIn, jobs, CONNECTIONS)?;
        let kind = beside_the_bare_handler(world, address, Ask::Gocron, jobs, CONNECTIONS)?;
        Ok(vec![row("gocron's GET, nothing changed", &kind, &plain, &how(world, jobs, CONNECTIONS))])
    })
}

/// New reservations, each made by gocron's first check-in.
pub fn new(world: &mut World) -> Result<Vec<Row>> {
    on_a_copy(world, |world, database, address| {
        let (first, new) = (database.reservations(), world.conditions.pick(20_000, 20_000, 200));
        let plan = LoadPlan {
            address,
            connections: CONNECTIONS,
            rate: None,
            most: Some(new),
            lasts: None,
            jobs: first..first + new,
            ask: Ask::Gocron,
        };
        let outcome = load::run(&plan, &AtomicBool::new(false))?;
        outcome.all_acknowledged()?;
        let made = database.number("SELECT COUNT(*) FROM reservations")? - first as f64;
        ensure!(made == new as f64, "of {new} new reservations {made} were made");
        let p99_ms = outcome.latency.quantile_ms(0.99);
        Ok(vec![
            Row::new("new reservations/s by gocron's first check-in", commas(outcome.rate()))
                .at_least(outcome.rate(), 5000.0, "/s")
                .under(format!(
                    "{} of them, {CONNECTIONS} connections; p99 {p99_ms:.0} ms",
                    commas(new as f64)
                ))
                .with("per_second", outcome.rate())
                .with("p99_ms", p99_ms),
        ])
    })
}

fn of_a_kind(world: &mut World, ask: Ask, name: &str) -> Result<Vec<Row>> {
    on_a_copy(world, |world, database, address| {
        let jobs = database.reservations();
        let plain = beside_the_bare_handler(world, address, Ask::CheckIn, jobs, CONNECTIONS)?;
        match ask {
            Ask::StartAndEnd | Ask::RunWithId | Ask::ExitStatus => database.have_run("TRUE")?,
            Ask::Mix => database.have_run("reservation_id IN (SELECT id FROM reservations WHERE CAST(substr(component, 5) AS INT) % 20 BETWEEN 12 AND 16)")?,
            _ => {}
        }
        let kind = beside_the_bare_handler(world, address, ask, jobs, CONNECTIONS)?;
        Ok(vec![row(name, &kind, &plain, &how(world, jobs, CONNECTIONS))])
    })
}

/// Measures over a copy of the large database, with all roles.
fn on_a_copy(
    world: &mut World,
    measure: impl FnOnce(&mut World, &Database, SocketAddr) -> Result<Vec<Row>>,
) -> Result<Vec<Row>> {
    world.many()?.begin_quietly()?;
    let database = world.copy_of_many("of_one_kind")?;
    let rows = {
        let roles = Roles::start(&database, "")?;
        measure(world, &database, roles.ingest.address()?)?
    };
    database.remove(world.running_cluster()?)?;
    Ok(rows)
}

fn row(name: &str, kind: &Beside, plain: &Beside, how: &str) -> Row {
    let share = kind.rate / plain.rate;
    Row::new(
        &format!("{name}, of the plain check-in's rate"),
        format!(
            "{share:.2} ({} of {}/s); of the bare handler {:.2}",
            commas(kind.rate),
            commas(plain.rate),
            kind.share()
        ),
    )
    .at_least(share, OF_THE_PLAIN, "")
    .under(format!("{how}; p99 {:.1} ms, the bare handler's {:.1} ms", kind.p99_ms, kind.bare_p99_ms))
    .with("per_second", kind.rate)
    .with("plain_per_second", plain.rate)
    .with("bare_per_second", kind.bare)
    .with("p99_ms", kind.p99_ms)
}

/// Makes gocron's `job-NUMBER` check in for the first time.
fn make_by_gocron(address: SocketAddr, number: u64) -> Result<()> {
    let plan = LoadPlan {
        address,
        connections: 1,
        rate: None,
        most: Some(1),
        lasts: None,
        jobs: number..number + 1,
        ask: Ask::Gocron,
    };
    load::run(&plan, &AtomicBool::new(false))?.all_acknowledged()
}
