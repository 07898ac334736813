//! The load that the agent's probes put on the machine on which they run.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::table::{Row, commas};
use crate::world::World;
use crate::world::program::path_of;
use crate::world::roles::start_standalone;
use crate::world::sqlite::Sqlite;
use crate::world::usage::Usage;

/// Time limit until all targets have a reservation.
const PATIENCE: Duration = Duration::from_secs(180);

/// A process that is killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// 1,000 targets, each with a TCP probe once a minute and a reservation of its own.
pub fn a_thousand_probes(world: &mut World) -> Result<Vec<Row>> {
    let targets = world.conditions.pick(1000, 1000, 20);
    let seconds = world.conditions.pick(120, 60, 2);
    let sqlite = Sqlite::load(world.conditions.pick(2000, 2000, 100))?;
    let innkeeper = start_standalone(sqlite.url(), "")?;
    let target = TcpListener::bind("127.0.0.1:0")?;
    let port = target.local_addr()?.port();
    std::thread::spawn(move || target.incoming().for_each(drop));
    let home = world.scratch().join("probes");
    std::fs::create_dir_all(&home)?;
    let config = home.join("agent.toml");
    let listed: String = (0..targets).map(|n| format!("t{n} = \"127.0.0.1:{port}\"\n")).collect();
    std::fs::write(
        &config,
        format!(
            "server = \"http://{}\"\n[probe.tcp]\nkind = \"tcp\"\nevery = \"1m\"\napp = \"probed\"\n\
             component = \"{{target}}\"\n[probe.tcp.targets]\n{listed}",
            innkeeper.address()?
        ),
    )?;
    let child = Command::new(path_of("innkeeper-agent")?)
        .arg("--config")
        .arg(&config)
        .arg("probe")
        .env_clear()
        .env("XDG_STATE_HOME", &home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("the agent does not start")?;
    let agent = Running(child);
    let begun = Instant::now();
    let heard = || sqlite.checkins_in("probed");
    while sqlite.reservations_of("probed")? < targets {
        ensure!(begun.elapsed() < PATIENCE, "its reservations are not made");
        std::thread::sleep(Duration::from_millis(200));
    }
    // The first minute, in which each target is probed for the first time.
    std::thread::sleep(Duration::from_secs(world.conditions.pick(60, 60, 0)));
    let (before, heard_before) = (Usage::of(agent.0.id())?, heard()?);
    std::thread::sleep(Duration::from_secs(seconds));
    let usage = Usage::of(agent.0.id())?;
    let checks = heard()? - heard_before;
    let per_minute = checks as f64 * 60.0 / seconds as f64;
    // In the shortest run only few targets are probed.
    let least = targets as f64 * world.conditions.pick(0.9, 0.9, 0.0);
    ensure!(per_minute >= least, "only {per_minute:.0} of {targets} checks a minute were recorded");
    let share = usage.cpu_percent_since(&before);
    Ok(vec![
        Row::new(
            &format!("{} TCP probes a minute, of one core", commas(targets as f64)),
            format!("{share:.1} %"),
        )
        .at_most(share, 5.0, " %")
        .under(format!(
            "over {seconds} s, each reported and committed (SQLite); RSS {:.1} MB, {} checks",
            usage.rss_mb,
            commas(checks as f64)
        ))
        .with("rss_mb", usage.rss_mb)
        .with("checks", checks),
    ])
}
