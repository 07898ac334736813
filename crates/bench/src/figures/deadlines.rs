//! How soon somebody hears of a job that went silent, while everything else goes on.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::http::Ask;
use crate::load::{Background, Plan};
use crate::table::{Row, commas};
use crate::world::World;
use crate::world::database::{now_ms, sleep_until};
use crate::world::program::{Program, config};
use crate::world::sink::{Sink, delays, quantile};

const SILENT: u64 = 100;
/// Check-ins a second of all the others.
const RATE: f64 = 10_000.0;
/// From the preparations to the first deadline: the programs start, and work for a few seconds.
const LEAD: Duration = Duration::from_secs(25);

/// A hundred jobs go silent, one after the other; from each deadline to the webhook's receipt.
pub fn from_deadline_to_webhook(world: &mut World) -> Result<Vec<Row>> {
    // Not a divisor of a second, so that deadlines lie anywhere in it.
    let step_ms = if world.conditions.quick { 97 } else { 497 };
    let sink = Sink::start()?;
    let hook = sink.alerter()?;
    let database = world.many()?;
    database.begin(0)?;
    let first = database.silence(SILENT, "hook", LEAD, step_ms)?;
    let deadline = |number: u64| first + number as i64 * step_ms;
    let ingest = Program::start("ingest", &config(database.url(), &hook), &[])?;
    let _sweeper = Program::start("sweeper", &config(database.url(), &hook), &[])?;
    let load = Background::start(Plan {
        address: ingest.address()?,
        connections: 64,
        rate: Some(RATE),
        most: None,
        lasts: None,
        jobs: SILENT..database.reservations(),
        ask: Ask::CheckIn,
    });
    ensure!(now_ms() + 3000 < first, "the preparations took too long");
    sleep_until(deadline(SILENT))?;
    let receipts = sink.wait_for(SILENT as usize, Duration::from_secs(30))?;
    let outcome = load.finish()?;
    outcome.all_acknowledged()?;
    let delays = delays(&receipts, SILENT, deadline)?;
    let alerts = database.number("SELECT COUNT(*) FROM alerts")?;
    ensure!(alerts == SILENT as f64, "{alerts} alerts opened for {SILENT} silent jobs");
    let (p50, p99) = (quantile(&delays, 0.5), quantile(&delays, 0.99));
    Ok(vec![
        Row::new("from deadline to the webhook's receipt, p50, p99", format!("{p50:.0} ms, {p99:.0} ms"))
            .at_most(p50, 60.0, " ms")
            .at_most(p99, 300.0, " ms")
            .under(format!(
                "{} reservations, {}/s check-ins at work (p99 {:.1} ms), {SILENT} jobs silent, one each {step_ms} ms; longest {:.0} ms",
                commas(database.reservations() as f64),
                commas(outcome.rate()),
                outcome.latency.quantile_ms(0.99),
                delays.last().copied().unwrap_or_default()
            ))
            .with("p50_ms", p50)
            .with("p99_ms", p99),
    ])
}
