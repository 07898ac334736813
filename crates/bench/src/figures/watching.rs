//! The cost of monitoring while all jobs are up.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::http::Ask;
use crate::load::{Background, LoadPlan};
use crate::table::{Row, commas};
use crate::world::World;
use crate::world::roles::Roles;

/// The sweeper's processor time while every job checks in once per period.
pub fn sweeper_with_nothing_overdue(world: &mut World) -> Result<Vec<Row>> {
    let (warm_up, lasts) = world.conditions.pick((30, 120), (5, 20), (1, 3));
    let conditions = world.conditions.clone();
    let database = world.many()?;
    database.begin(0)?;
    let jobs = database.reservations();
    let rate = conditions.rate_on_time(jobs);
    let roles = Roles::start(database, "")?;
    let Roles { ingest, sweeper, .. } = &roles;
    let load = Background::start(LoadPlan {
        address: ingest.address()?,
        connections: 32,
        rate: Some(rate),
        most: None,
        lasts: None,
        jobs: 0..jobs,
        ask: Ask::CheckIn,
    });
    std::thread::sleep(Duration::from_secs(warm_up));
    let (before, ingest_before) = (sweeper.usage()?, ingest.usage()?);
    std::thread::sleep(Duration::from_secs(lasts));
    let (after, ingest_after) = (sweeper.usage()?, ingest.usage()?);
    let outcome = load.finish()?;
    outcome.all_acknowledged()?;
    database.has_alerted(0).context("everything checked in")?;
    let percent = after.cpu_percent_since(&before);
    Ok(vec![
        Row::new("sweeper CPU with nothing overdue", format!("{percent:.1} % of a core"))
            .at_most(percent, 10.0, " %")
            .under(format!(
                "{} reservations of 5 min, {}/s on time, over {lasts} s; ingest meanwhile {:.1} %; sweeper RSS {:.0} MB; check-in p99 {:.1} ms",
                commas(jobs as f64),
                commas(rate),
                ingest_after.cpu_percent_since(&ingest_before),
                after.peak_rss_mb,
                outcome.latency.quantile_ms(0.99)
            ))
            .with("ingest_cpu_percent", ingest_after.cpu_percent_since(&ingest_before))
            .with("sweeper_rss_mb", after.peak_rss_mb),
    ])
}
