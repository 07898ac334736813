//! Throughput compared with the bare handler. Runs alternate (bare, Innkeeper, bare, Innkeeper, bare), so that other
//! load on the machine affects both.

use std::net::SocketAddr;

use anyhow::Result;

use crate::http::Ask;
use crate::load;
use crate::table::{commas, median};
use crate::world::World;
use crate::wrk::{self, Run};

/// The results of both.
pub struct Beside {
    /// Requests a second of the bare handler, median of its runs.
    pub bare: f64,
    /// Requests a second of Innkeeper.
    pub rate: f64,
    /// Innkeeper's 99th percentile in ms, median of its runs.
    pub p99_ms: f64,
    /// The bare handler's 99th percentile in ms, median of its runs.
    pub bare_p99_ms: f64,
}

impl Beside {
    /// Innkeeper's rate as a share of the bare handler's.
    pub fn share(&self) -> f64 {
        self.rate / self.bare
    }

    /// Both rates as text.
    pub fn words(&self) -> String {
        format!("{:.2} ({} of {}/s)", self.share(), commas(self.rate), commas(self.bare))
    }
}

/// Measures the server at `address` and the bare handler.
pub fn beside_the_bare_handler(
    world: &mut World,
    address: SocketAddr,
    ask: Ask,
    jobs: u64,
    connections: usize,
) -> Result<Beside> {
    let bare = world.bare()?.address()?;
    let (rounds, seconds) = (world.conditions.rounds(), world.conditions.run_seconds());
    let run = |address, seconds| wrk::run(world.scratch(), address, ask, jobs, connections, seconds);
    load::warm_up(address, ask, jobs)?;
    let (mut bares, mut ours): (Vec<Run>, Vec<Run>) = (vec![run(bare, seconds)?], Vec::new());
    for _ in 0..rounds {
        ours.push(run(address, seconds)?);
        bares.push(run(bare, seconds)?);
    }
    let beside = Beside {
        bare: median(bares.iter().map(Run::rate)),
        rate: median(ours.iter().map(Run::rate)),
        p99_ms: median(ours.iter().map(Run::p99_ms)),
        bare_p99_ms: median(bares.iter().map(Run::p99_ms)),
    };
    Ok(beside)
}

/// The conditions of the measurement, as text.
pub fn how(world: &World, jobs: u64, connections: usize) -> String {
    format!(
        "{} reservations, random jobs, history, wrk with {connections} connections, median of {} × {} s",
        commas(jobs as f64),
        world.conditions.rounds(),
        world.conditions.run_seconds()
    )
}
