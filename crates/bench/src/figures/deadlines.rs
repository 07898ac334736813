//! How soon an overdue job is reported while other jobs check in.

use std::time::Duration;

use anyhow::Result;

use crate::http::Ask;
use crate::load::{Background, LoadPlan};
use crate::table::{Row, commas};
use crate::world::World;
use crate::world::database::sleep_until;
use crate::world::roles::Roles;
use crate::world::sink::{Sink, delays, quantile};

/// A hundred jobs go silent, one after the other. Measures the time from each deadline to the webhook's receipt.
pub fn from_deadline_to_webhook(world: &mut World) -> Result<Vec<Row>> {
    // The step does not divide a second, so that deadlines fall anywhere within it.
    let (silent, step_ms) = world.conditions.pick((100, 497), (100, 97), (20, 97));
    // Check-ins a second of all other jobs.
    let rate = world.conditions.pick(10_000.0, 10_000.0, 500.0);
    // From the preparations to the first deadline, so that the others check in for a few seconds.
    let lead = Duration::from_secs(world.conditions.pick(20, 20, 5));
    // Longest wait for receipts after the last deadline.
    let patience = Duration::from_secs(world.conditions.pick(30, 30, 20));
    let sink = Sink::start()?;
    let hook = sink.alerter()?;
    let database = world.many()?;
    database.begin(0)?;
    let roles = Roles::start(database, &hook)?;
    let first = database.silence(silent, "hook", lead, step_ms)?;
    let deadline = |number: u64| first + number as i64 * step_ms;
    let load = Background::start(LoadPlan {
        address: roles.ingest.address()?,
        connections: 64,
        rate: Some(rate),
        most: None,
        lasts: None,
        jobs: silent..database.reservations(),
        ask: Ask::CheckIn,
    });
    sleep_until(deadline(silent))?;
    let receipts = sink.wait_for(silent as usize, patience)?;
    let outcome = load.finish()?;
    outcome.all_acknowledged()?;
    let delays = roles.explain(delays(&receipts, silent, deadline))?;
    database.has_alerted(silent)?;
    let (p50, p99) = (quantile(&delays, 0.5), quantile(&delays, 0.99));
    Ok(vec![
        Row::new("from deadline to the webhook's receipt, p50, p99", format!("{p50:.0} ms, {p99:.0} ms"))
            .at_most(p50, 60.0, " ms")
            .at_most(p99, 300.0, " ms")
            .under(format!(
                "{} reservations, {}/s check-ins at work (p99 {:.1} ms), {silent} jobs silent, one each {step_ms} ms; longest {:.0} ms",
                commas(database.reservations() as f64),
                commas(outcome.rate()),
                outcome.latency.quantile_ms(0.99),
                delays.last().copied().unwrap_or_default()
            ))
            .with("p50_ms", p50)
            .with("p99_ms", p99),
    ])
}
