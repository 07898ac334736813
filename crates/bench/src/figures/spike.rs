//! The top of the hour: no load, then all check-ins at once.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Result;

use crate::http::Ask;
use crate::load::{self, LoadPlan};
use crate::table::{Row, commas};
use crate::world::World;
use crate::world::roles::Roles;

const WITHIN_S: f64 = 2.0;

/// The number of check-ins that are not acknowledged, and the time until the last one is.
pub fn the_top_of_the_hour(world: &mut World) -> Result<Vec<Row>> {
    let quiet = Duration::from_secs(world.conditions.pick(20, 3, 1));
    let (checkins, connections) = world.conditions.pick((60_000, 2000), (60_000, 2000), (1000, 100));
    let database = world.many()?;
    database.begin_quietly()?;
    let roles = Roles::start(database, "")?;
    let address = roles.ingest.address()?;
    std::thread::sleep(quiet);
    let plan = LoadPlan {
        address,
        connections,
        rate: Some(checkins as f64 / WITHIN_S),
        most: Some(checkins),
        lasts: None,
        jobs: 0..database.reservations(),
        ask: Ask::CheckIn,
    };
    let outcome = load::run(&plan, &AtomicBool::new(false))?;
    let lost = checkins - outcome.acknowledged;
    let last = outcome.last_answer.as_secs_f64();
    let usage = roles.ingest.usage()?;
    Ok(vec![
        Row::new(
            &format!("the top of the hour: {} check-ins in {WITHIN_S} s: refused, last acknowledged", commas(checkins as f64)),
            format!("{lost}, {last:.2} s"),
        )
        .at_most(lost as f64, 0.0, "")
        .at_most(last, 3.0, " s")
        .under(format!(
            "{} connections, after {} s of quiet; from due to answered p50 {:.0} ms, p99 {:.0} ms, longest {:.0} ms; ingest RSS {:.0} MB",
            commas(connections as f64),
            quiet.as_secs(),
            outcome.latency.quantile_ms(0.5),
            outcome.latency.quantile_ms(0.99),
            outcome.latency.most_ms(),
            usage.peak_rss_mb
        ))
        .with("last_s", last)
        .with("p99_ms", outcome.latency.quantile_ms(0.99)),
    ])
}
