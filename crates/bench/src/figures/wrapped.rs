//! The cost of the agent for a job, compared with the job alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::table::{Row, median};
use crate::world::World;
use crate::world::program::path_of;
use crate::world::roles::start_standalone;
use crate::world::sqlite::Sqlite;
use crate::world::tls::TlsFront;

/// A way to run a job.
struct Wrapper<'w> {
    agent: PathBuf,
    home: &'w Path,
    server: String,
    authorities: Option<&'w Path>,
}

impl Wrapper<'_> {
    fn command(&self, job: &[&str]) -> Command {
        let mut command = Command::new(&self.agent);
        command.args(["exec", "bench/job-1", "--"]).args(job);
        command.env_clear().env("XDG_STATE_HOME", self.home).env("PATH", "/usr/bin:/bin");
        command.env("INNKEEPER_SERVER", &self.server);
        command.envs(self.authorities.map(|path| ("SSL_CERT_FILE", path)));
        command
    }

    /// The time that the agent adds to a job, in ms: the median over pairs of runs.
    fn adds_ms(&self, rounds: usize) -> Result<f64> {
        let mut differences = Vec::new();
        for _ in 0..rounds {
            let alone = took_ms(&mut Command::new("/bin/true"))?;
            differences.push(took_ms(&mut self.command(&["/bin/true"]))? - alone);
        }
        Ok(median(differences))
    }

    /// Peak memory of the agent in MB while it runs a job of half a second, sampled until it ends.
    fn peak_mb(&self) -> Result<f64> {
        let mut child = quiet(&mut self.command(&["/bin/sleep", "0.5"])).spawn()?;
        let status = format!("/proc/{}/status", child.id());
        let mut peak: f64 = 0.0;
        while child.try_wait()?.is_none() {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            peak = peak.max(kilobytes.unwrap_or(0.0) / 1024.0);
            std::thread::sleep(Duration::from_micros(300));
        }
        ensure!(peak > 0.0, "the agent was gone before it was looked at");
        Ok(peak)
    }
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

fn took_ms(command: &mut Command) -> Result<f64> {
    let begun = Instant::now();
    let status = quiet(command).status().context("a job does not start")?;
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    ensure!(status.success(), "a job ended with {status}");
    Ok(took)
}

/// `exec` around `true`, including the commits of start and end and the sync of the spool.
pub fn a_job_that_is_wrapped(world: &mut World) -> Result<Vec<Row>> {
    let rounds = world.conditions.pick(201, 51, 5);
    let sqlite = Sqlite::load(world.conditions.pick(2000, 2000, 100))?;
    let innkeeper = start_standalone(sqlite.url(), "")?;
    let address = innkeeper.address()?;
    let home = world.scratch().join("agent");
    std::fs::create_dir_all(&home)?;
    let agent = path_of("innkeeper-agent")?;
    let plain =
        Wrapper { agent: agent.clone(), home: &home, server: format!("http://{address}"), authorities: None };
    let front = TlsFront::start(address, world.scratch())?;
    let secure = Wrapper {
        agent: agent.clone(),
        home: &home,
        server: format!("https://localhost:{}", front.address.port()),
        authorities: Some(&front.authorities),
    };

    let before = sqlite.checkins_of("job-1")?;
    let (over_http, over_https) = (plain.adds_ms(rounds)?, secure.adds_ms(rounds)?);
    let (peak, peak_https) = (plain.peak_mb()?, secure.peak_mb()?);
    let runs = 2 * i64::try_from(rounds)? + 2;
    let recorded = sqlite.checkins_of("job-1")? - before;
    ensure!(recorded == 2 * runs, "{runs} runs were wrapped, and {recorded} starts and ends were recorded");

    let mut starts = Vec::new();
    for _ in 0..rounds {
        let alone = took_ms(&mut Command::new("/bin/true"))?;
        starts.push(took_ms(Command::new(&agent).arg("--version"))? - alone);
    }
    let start = median(starts);
    let size = std::fs::metadata(&agent)?.len() as f64 / (1024.0 * 1024.0);
    let how = format!("median of {rounds} pairs; start and end committed (SQLite), the spool synced");
    Ok(vec![
        Row::new("`exec` adds to a job, over http", format!("{over_http:.1} ms"))
            .at_most(over_http, 10.0, " ms")
            .under(format!("beside `true`; {how}")),
        Row::new("`exec` adds to a job, over https", format!("{over_https:.1} ms"))
            .at_most(over_https, 10.0, " ms")
            .under("the same; a new connection each, verified by this machine's authorities".to_owned()),
        Row::new("memory of `exec`", format!("{peak:.1} MB"))
            .at_most(peak, 6.0, " MB")
            .under(format!("peak RSS over http; over https {peak_https:.1} MB"))
            .with("https_mb", peak_https),
        Row::new("start of the agent", format!("{start:.1} ms"))
            .at_most(start, 5.0, " ms")
            .under(format!("`--version` beside `true`, median of {rounds} pairs")),
        Row::new("size of the agent", format!("{size:.1} MB")).at_most(size, 8.0, " MB"),
    ])
}
