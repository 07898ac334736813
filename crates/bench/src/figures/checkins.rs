//! Durable check-ins a second over Postgres, with history.

use anyhow::Result;

use super::beside_bare::{Beside, beside_the_bare_handler, how};
use crate::http::Ask;
use crate::table::Row;
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
    let rate = row("check-ins/s over Postgres, of the bare handler, 128 connections", &beside, &how, 0.40);
    let p99 = Row::new("the same, p99", format!("{:.1} ms", beside.p99_ms))
        .at_most(beside.p99_ms, 1.5 * beside.bare_p99_ms, " ms")
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

/// `GET /ping/<uuid>`.
pub fn pings(world: &mut World) -> Result<Vec<Row>> {
    let (beside, how) = measure(world, Ask::Ping, 128)?;
    Ok(vec![row("the same for GET /ping/<uuid>, 128 connections", &beside, &how, 0.40)])
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
