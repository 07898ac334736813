//! The time from the start of a process to its first check-in.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::http;
use crate::table::{Row, commas, median};
use crate::world::World;
use crate::world::program::{Program, config};
use crate::world::roles::Roles;

/// From the start of ingest's process to the first check-in that is acknowledged.
pub fn from_start_to_first_checkin(world: &mut World) -> Result<Vec<Row>> {
    let rounds = world.conditions.pick(9, 3, 1);
    let database = world.many()?;
    database.begin_quietly()?;
    // The other roles keep running; only the ingest node is restarted.
    let Roles { ingest, sweeper: _sweeper, web: _web } = Roles::start(database, "")?;
    drop(ingest);
    let mut took = Vec::new();
    for round in 0..rounds {
        // A port that was free a moment ago, so that its number is known before the program starts.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let begun = Instant::now();
        let ingest =
            Program::start("ingest", &config(database.url(), ""), &["--listen", &address.to_string()])?;
        while !http::check_in(address, round).is_ok_and(|status| status == 200) {
            ensure!(begun.elapsed() < Duration::from_secs(30), "no check-in was taken: {}", ingest.log());
            std::thread::sleep(Duration::from_millis(1));
        }
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    let longest = took.iter().copied().fold(0.0, f64::max);
    let middle = median(took);
    Ok(vec![
        Row::new("cold start to the first accepted check-in", format!("{middle:.0} ms"))
            .at_most(middle, 300.0, " ms")
            .under(format!(
                "{} reservations, ingest over Postgres, median of {rounds}, longest {longest:.0} ms",
                commas(database.reservations() as f64)
            ))
            .with("longest_ms", longest),
    ])
}
