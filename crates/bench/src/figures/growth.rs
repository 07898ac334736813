//! Compares check-ins with a million reservations to check-ins with few.

use anyhow::Result;

use crate::http::Ask;
use crate::load;
use crate::table::{Row, commas, median};
use crate::world::World;
use crate::world::database::Database;
use crate::world::roles::Roles;
use crate::wrk::{self, Run};

/// Measures check-ins with many and with few reservations, alternating.
pub fn checkins_with_many_and_with_few_reservations(world: &mut World) -> Result<Vec<Row>> {
    let (rounds, seconds) = (world.conditions.rounds(), world.conditions.run_seconds());
    let start = |database: &mut Database| {
        database.begin_quietly()?;
        let roles = Roles::start(database, "")?;
        let address = roles.ingest.address()?;
        anyhow::Ok((roles, address, database.reservations()))
    };
    let few = start(world.few()?)?;
    let many = start(world.many()?)?;
    let run = |(_, address, jobs): &(Roles, _, u64), seconds| {
        wrk::run(world.scratch(), *address, Ask::CheckIn, *jobs, 128, seconds)
    };
    for (_, address, jobs) in [&few, &many] {
        load::warm_up(*address, Ask::CheckIn, *jobs)?;
    }
    let (mut fews, mut manys) = (vec![run(&few, seconds)?], Vec::new());
    for _ in 0..rounds {
        manys.push(run(&many, seconds)?);
        fews.push(run(&few, seconds)?);
    }
    let (with_many, with_few) = (median(manys.iter().map(Run::rate)), median(fews.iter().map(Run::rate)));
    let share = with_many / with_few;
    let figure = format!(
        "check-ins/s with {} reservations, of those with {}",
        commas(many.2 as f64),
        commas(few.2 as f64)
    );
    Ok(vec![
        Row::new(&figure, format!("{share:.2} ({} of {}/s)", commas(with_many), commas(with_few)))
            .at_least(share, 0.9, "")
            .under(format!("wrk with 128 connections, {rounds} × {seconds} s in turns"))
            .held_by(
                "the rows and index pages of few stay in the processor's caches, those of many do not: 5.6 µs of a check-in go to finding \
                 its state. 0.92 in a quiet hour. See docs/PERFORMANCE.md.",
            )
            .with("many_per_second", with_many)
            .with("few_per_second", with_few),
    ])
}
