//! Durable check-ins a second over SQLite, in one process with all roles.

use anyhow::Result;

use super::beside_bare::{beside_the_bare_handler, how};
use crate::http::Ask;
use crate::table::Row;
use crate::world::World;
use crate::world::roles::start_standalone;
use crate::world::sqlite::Sqlite;

/// What is known to limit the rate.
const HELD_BY: &str = "SQLite has one writer, and its core is full; half of its time the kernel writes a whole page of 4 KiB to the log for \
    each state. Tried: pages of 1 KiB (a quarter more, for new files only), mmap (5 %, and a disk error would be a SIGBUS). See \
    docs/PERFORMANCE.md.";

/// JSON over 128 connections to the standalone program.
pub fn checkins_over_sqlite(world: &mut World) -> Result<Vec<Row>> {
    let jobs = world.conditions.reservations;
    let sqlite = Sqlite::load(jobs)?;
    let innkeeper = start_standalone(sqlite.url(), "")?;
    let beside = beside_the_bare_handler(world, innkeeper.address()?, Ask::CheckIn, jobs, 128)?;
    Ok(vec![
        Row::new("check-ins/s over SQLite, of the bare handler, 128 connections", beside.words())
            .at_least(beside.share(), 0.35, "")
            .under(format!(
                "{}; WAL, synchronous=FULL; the standalone program; p99 {:.1} ms",
                how(world, jobs, 128),
                beside.p99_ms
            ))
            .held_by(HELD_BY)
            .with("per_second", beside.rate)
            .with("bare_per_second", beside.bare)
            .with("p99_ms", beside.p99_ms),
    ])
}
