//! Durable check-ins a second over Postgres, with history.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;

use anyhow::{Result, ensure};

use super::beside_bare::{Beside, beside_the_bare_handler, how};
use crate::http::Ask;
use crate::load::{self, LoadPlan};
use crate::table::{Row, commas};
use crate::world::World;
use crate::world::roles::Roles;

/// What is known to limit the rate.
const HELD_BY: &str = "of a check-in's 40 µs on two cores wrk takes 9, ingest 15 (8.5 of them are the bare handler's), Postgres 15.5: 5.6 to find \
    the state (index and row, out of the processor's caches), 3 to update it, 2 to add the history, the rest the statement and its commit. A \
    fifth of the two cores idles while a commit waits for the disk. Tried without gain: two writers at once, other allocators, huge pages, a \
    queue of our own; fat link-time optimization gives 3 to 8 % of ingest for twice the build. See docs/PERFORMANCE.md.";

/// JSON over 128 connections: the rate, and the 99th percentile of the latency.
pub fn over_128_connections(world: &mut World) -> Result<Vec<Row>> {
    let (beside, how) = measure(world, Ask::CheckIn, 128)?;
    let rate = row("check-ins/s over Postgres, of the bare handler, 128 connections", &beside, &how, 0.50);
    let p99 = Row::new("the same, p99", format!("{:.1} ms", beside.p99_ms))
        .at_most(beside.p99_ms, 8.0, " ms")
        .under(format!("bare handler: {:.1} ms", beside.bare_p99_ms))
        .held_by(
            "every batch waits for its fsync, so the disk's slowest hundredth is the check-ins': 5.8 ms in a quiet hour. See docs/PERFORMANCE.md.",
        );
    Ok(vec![rate, p99])
}

/// JSON over 32 connections: smaller batches.
pub fn over_32_connections(world: &mut World) -> Result<Vec<Row>> {
    let (beside, how) = measure(world, Ask::CheckIn, 32)?;
    Ok(vec![row("the same, 32 connections", &beside, &how, 0.25)])
}

/// The least share of the plain check-in's rate that each other kind has to reach.
const OF_THE_PLAIN: f64 = 0.8;

/// Every other kind of check-in beside the plain one, each over the same reservations.
pub fn of_every_kind(world: &mut World) -> Result<Vec<Row>> {
    let kinds = [
        (Ask::StartAndEnd, "start, then success"),
        (Ask::ExitStatus, "exit status with 1 kB of output"),
        (Ask::RunWithId, "start and success of a run with an id"),
        (Ask::Figures, "three figures"),
        (Ask::Mix, "a mix: 60 % plain, 25 % start and end, 10 % exit status with output, 5 % failures"),
    ];
    let (plain, _) = measure(world, Ask::CheckIn, 128)?;
    let mut rows = Vec::new();
    for (ask, name) in kinds {
        let (beside, how) = measure_on_a_copy(world, ask)?;
        rows.push(of_the_plain(name, &beside, &plain, &how));
    }
    let (beside, how) = measure_gocron(world)?;
    rows.push(of_the_plain("gocron's GET, nothing changed", &beside, &plain, &how));
    Ok(rows)
}

/// Measures check-ins that leave more behind than a state, so that no other figure pays for them.
fn measure_on_a_copy(world: &mut World, ask: Ask) -> Result<(Beside, String)> {
    world.many()?.begin_quietly()?;
    let database = world.copy_of_many("of_one_kind")?;
    let jobs = database.reservations();
    let beside = {
        let roles = Roles::start(&database, "")?;
        let address = roles.ingest.address()?;
        beside_the_bare_handler(world, address, ask, jobs, 128)?
    };
    database.remove(world.running_cluster()?)?;
    Ok((beside, how(world, jobs, 128)))
}

/// gocron's check-ins of reservations that it made, and that are as its check-ins say.
fn measure_gocron(world: &mut World) -> Result<(Beside, String)> {
    world.many()?.begin_quietly()?;
    let database = world.copy_of_many("by_gocron")?;
    let jobs = database.reservations();
    let beside = {
        let roles = Roles::start(&database, "")?;
        let address = roles.ingest.address()?;
        make_by_gocron(address, jobs)?;
        database.resemble(jobs)?;
        beside_the_bare_handler(world, address, Ask::Gocron, jobs, 128)?
    };
    database.remove(world.running_cluster()?)?;
    Ok((beside, how(world, jobs, 128)))
}

/// Has gocron's `job-NUMBER` check in for the first time.
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

/// New reservations, each made by gocron's first check-in.
pub fn that_make_reservations(world: &mut World) -> Result<Vec<Row>> {
    let database = world.copy_of_many("new_ones")?;
    let (first, new) = (database.reservations(), world.conditions.pick(20_000, 20_000, 200));
    let outcome = {
        let roles = Roles::start(&database, "")?;
        let plan = LoadPlan {
            address: roles.ingest.address()?,
            connections: 128,
            rate: None,
            most: Some(new),
            lasts: None,
            jobs: first..first + new,
            ask: Ask::Gocron,
        };
        load::run(&plan, &AtomicBool::new(false))?
    };
    outcome.all_acknowledged()?;
    let made = database.number("SELECT COUNT(*) FROM reservations")? - first as f64;
    ensure!(made == new as f64, "of {new} new reservations {made} were made");
    database.remove(world.running_cluster()?)?;
    let p99_ms = outcome.latency.quantile_ms(0.99);
    Ok(vec![
        Row::new("new reservations/s by gocron's first check-in", commas(outcome.rate()))
            .at_least(outcome.rate(), 5000.0, "/s")
            .under(format!("{} of them, 128 connections; p99 {p99_ms:.0} ms", commas(new as f64)))
            .with("per_second", outcome.rate())
            .with("p99_ms", p99_ms),
    ])
}

fn of_the_plain(name: &str, beside: &Beside, plain: &Beside, how: &str) -> Row {
    let share = beside.rate / plain.rate;
    Row::new(
        &format!("{name}, of the plain check-in's rate"),
        format!("{share:.2} ({}/s); of the bare handler {:.2}", commas(beside.rate), beside.share()),
    )
    .at_least(share, OF_THE_PLAIN, "")
    .under(format!("{how}; p99 {:.1} ms, the bare handler's {:.1} ms", beside.p99_ms, beside.bare_p99_ms))
    .with("per_second", beside.rate)
    .with("bare_per_second", beside.bare)
    .with("p99_ms", beside.p99_ms)
}

/// `GET /ping/<uuid>`.
pub fn pings(world: &mut World) -> Result<Vec<Row>> {
    let (beside, how) = measure(world, Ask::Ping, 128)?;
    Ok(vec![row("the same for GET /ping/<uuid>, 128 connections", &beside, &how, 0.50)])
}

fn measure(world: &mut World, ask: Ask, connections: usize) -> Result<(Beside, String)> {
    let database = world.many()?;
    database.begin_quietly()?;
    let jobs = database.reservations();
    let roles = Roles::start(database, "")?;
    let beside = beside_the_bare_handler(world, roles.ingest.address()?, ask, jobs, connections)?;
    Ok((beside, how(world, jobs, connections)))
}

fn row(figure: &str, beside: &Beside, how: &str, bound: f64) -> Row {
    Row::new(figure, beside.words())
        .at_least(beside.share(), bound, "")
        .under(format!("{how}; p99 {:.1} ms", beside.p99_ms))
        .held_by(HELD_BY)
        .with("per_second", beside.rate)
        .with("bare_per_second", beside.bare)
        .with("p99_ms", beside.p99_ms)
}
