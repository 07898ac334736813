//! Throughput beside the bare handler: bare, ours, bare, ours, bare, so that what the machine does meanwhile meets both.

use std::net::SocketAddr;

use anyhow::Result;

use crate::http::Ask;
use crate::load;
use crate::table::{commas, median};
use crate::world::World;
use crate::wrk::{self, Run};

/// What both did.
pub struct Beside {
    /// Requests a second of the bare handler, the median.
    pub bare: f64,
    /// Ours.
    pub rate: f64,
    /// Ours: the median over the runs of the 99th percentile, ms.
    pub p99_ms: f64,
    /// The same of the bare handler.
    pub bare_p99_ms: f64,
}

impl Beside {
    /// Ours as a share of the bare handler.
    pub fn share(&self) -> f64 {
        self.rate / self.bare
    }

    /// Both in words.
    pub fn words(&self) -> String {
        format!("{:.2} ({} of {}/s)", self.share(), commas(self.rate), commas(self.bare))
    }
}

/// Measures `address` beside the bare handler.
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

/// How it was measured.
pub fn how(world: &World, jobs: u64, connections: usize) -> String {
    format!(
        "{} reservations, random jobs, history, wrk with {connections} connections, median of {} × {} s",
        commas(jobs as f64),
        world.conditions.rounds(),
        world.conditions.run_seconds()
    )
}
