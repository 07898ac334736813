//! Many jobs that become overdue at once, reported to webhooks.

use std::time::Duration;

use anyhow::Result;

use crate::http::Ask;
use crate::load::{Background, LoadPlan};
use crate::table::{Row, commas, median};
use crate::world::World;
use crate::world::database::{WITH_HOOK, sleep_until};
use crate::world::roles::Roles;
use crate::world::sink::{Sink, delays};

/// What is known to limit the speed.
const HELD_BY: &str = "commits wait for the disk: samples show them in WALSync and WALWrite while a storm writes 200 MB of log (4 KB an alert, told \
    to a webhook and the log) and as much of tables, and both processors are full. A tenth of the time was won by fewer indexes \
    (nineteen entries an alert became fourteen) and by claims that begin where the last one ended. See docs/PERFORMANCE.md.";

/// A thousand jobs at once: the times of the first and the last receipt.
pub fn a_thousand_at_one_instant(world: &mut World) -> Result<Vec<Row>> {
    let silent = 1000.min(world.conditions.reservations / 2);
    let (lead, patience) = (lead(world), patience(world));
    let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
    for _ in 0..world.conditions.rounds() {
        let sink = Sink::start()?;
        let hook = sink.alerter()?;
        let database = world.many()?;
        database.begin(86_400_000)?;
        let roles = Roles::start(database, &hook)?;
        let instant = database.silence(silent, "hook", lead, 0)?;
        sleep_until(instant)?;
        let receipts = sink.wait_for(silent as usize, patience)?;
        let delays = roles.explain(delays(&receipts, silent, |_| instant))?;
        database.has_alerted(silent)?;
        firsts.extend(delays.first());
        lasts.extend(delays.last());
    }
    let rounds = firsts.len();
    let (first, last) = (median(firsts), median(lasts));
    Ok(vec![
        Row::new(
            &format!(
                "{} overdue at one instant, one webhook each: first, last receipt",
                commas(silent as f64)
            ),
            format!("{first:.0} ms, {last:.0} ms"),
        )
        .at_most(first, 100.0, " ms")
        .at_most(last, 500.0, " ms")
        .under(format!(
            "{} reservations, nothing else at work, median of {rounds}",
            commas(world.conditions.reservations as f64)
        ))
        .with("first_ms", first)
        .with("last_ms", last),
    ])
}

/// Longest wait for the receipts.
fn patience(world: &World) -> Duration {
    Duration::from_secs(world.conditions.pick(60, 60, 20))
}

/// Time from the preparations to the common deadline.
fn lead(world: &World) -> Duration {
    Duration::from_secs(world.conditions.pick(20, 20, 5))
}

/// Fifty thousand jobs at once, while the others check in.
pub fn fifty_thousand_at_one_instant(world: &mut World) -> Result<Vec<Row>> {
    let sink = Sink::start()?;
    let hook = sink.alerter()?;
    let (lead, patience) = (lead(world), patience(world));
    let rate = world.conditions.rate_on_time(world.conditions.reservations);
    let database = world.many()?;
    let (jobs, silent) = (database.reservations(), WITH_HOOK.min(database.reservations() / 2));
    database.begin(0)?;
    let roles = Roles::start(database, &hook)?;
    let instant = database.silence(silent, "hook", lead, 0)?;
    let address = roles.ingest.address()?;
    let load = |from| {
        let rate = Some(rate);
        Background::start(LoadPlan {
            address,
            connections: 32,
            rate,
            most: None,
            lasts: None,
            jobs: from..jobs,
            ask: Ask::CheckIn,
        })
    };
    let warm_up = load(silent);
    sleep_until(instant - 500)?;
    let begun = warm_up.finish()?;
    begun.all_acknowledged()?;
    let meanwhile = load(silent + begun.offered);
    let receipts = sink.wait_for(silent as usize, patience)?;
    let outcome = meanwhile.finish()?;
    outcome.all_acknowledged()?;
    let usage = roles.sweeper.usage()?;
    let delays = roles.explain(delays(&receipts, silent, |_| instant))?;
    database.has_alerted(silent)?;
    let seconds = |place: Option<&f64>| place.copied().unwrap_or_default() / 1000.0;
    let (first, last) = (seconds(delays.first()), seconds(delays.last()));
    let p99 = outcome.latency.quantile_ms(0.99);
    let how = format!(
        "{} reservations, the others check in at {}/s; first receipt after {first:.2} s",
        commas(jobs as f64),
        commas(rate)
    );
    Ok(vec![
        Row::new(
            &format!("{} overdue at one instant to webhooks: last receipt", commas(silent as f64)),
            format!("{last:.1} s"),
        )
        .at_most(last, 15.0, " s")
        .under(how)
        .with("first_s", first),
        Row::new("sweeper RSS meanwhile, its peak", format!("{:.0} MB", usage.peak_rss_mb)).at_most(
            usage.peak_rss_mb,
            100.0,
            " MB",
        ),
        Row::new("check-in p99 meanwhile", format!("{p99:.1} ms"))
            .at_most(p99, 20.0, " ms")
            .held_by(HELD_BY)
            .under(format!("p99 before: {:.1} ms", begun.latency.quantile_ms(0.99))),
    ])
}
