//! Check-ins compared with updates of one row per commit on the same cluster, the design of a simple implementation.

use anyhow::{Context, Result};

use crate::http::Ask;
use crate::table::{Row, commas, median};
use crate::world::World;
use crate::world::cluster::finish;
use crate::world::roles::Roles;
use crate::wrk::{self, Run};

/// Innkeeper over 128 connections and pgbench with 32 clients and prepared statements, alternating.
pub fn checkins_beside_one_row_per_commit(world: &mut World) -> Result<Vec<Row>> {
    let (rounds, seconds) = (world.conditions.rounds(), world.conditions.run_seconds());
    let database = world.many()?;
    database.begin_quietly()?;
    let (jobs, url) = (database.reservations(), database.url().to_owned());
    let roles = Roles::start(database, "")?;
    let address = roles.ingest.address()?;
    let ours = |seconds| wrk::run(world.scratch(), address, Ask::CheckIn, jobs, 128, seconds);
    ours(seconds.div_ceil(2))?;
    let (mut rates, mut commits) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        commits.push(commits_per_second(world, &url, jobs, seconds)?);
        rates.push(ours(seconds)?);
    }
    commits.push(commits_per_second(world, &url, jobs, seconds)?);
    let (rate, commits) = (median(rates.iter().map(Run::rate)), median(commits));
    let times = rate / commits;
    let words = format!("{times:.2} × ({} of {}/s)", commas(rate), commas(commits));
    Ok(vec![
        Row::new("check-ins/s, beside one-row-per-commit updates by pgbench", words)
            .at_least(times, 1.7, " ×")
            .under(format!(
                "pgbench: 32 clients, 2 threads, prepared; wrk: 128 connections; {rounds} × {seconds} s in turns"
            ))
            .with("per_second", rate)
            .with("pgbench_per_second", commits),
    ])
}

fn commits_per_second(world: &World, url: &str, jobs: u64, seconds: u64) -> Result<f64> {
    let script = world.scratch().join("one-row-per-commit.sql");
    std::fs::write(
        &script,
        format!(
            "\\set id random(1, {jobs})
             UPDATE states
             SET last_checkin_at = last_checkin_at + 1, last_seen_at = last_seen_at + 1, checkins = checkins + 1
             WHERE reservation_id = :id;\n"
        ),
    )?;
    let mut pgbench = world.running_cluster()?.client("pgbench");
    pgbench.args(["-n", "-M", "prepared", "-c", "32", "-j", "2", "-T", &seconds.to_string(), "-f"]);
    let said = finish(pgbench.arg(script).arg(url))?;
    let (_, rest) = said.split_once("tps = ").with_context(|| format!("pgbench said no rate: {said}"))?;
    Ok(rest.split_whitespace().next().unwrap_or_default().parse()?)
}
