//! `status` and `flush`: show the waiting reports, and send them by hand or from a timer.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use innkeeper_core::duration;
use structopt::StructOpt;

use crate::api::{Api, place};
use crate::config::{self, LoadedConfig, Overrides};
use crate::exec::runs;
use crate::logbook;
use crate::sender::{BACKOFF, ReportSender, jitter, next_pause};
use crate::spool::Spool;
use crate::state::StateDirectory;

/// Exit status if reports are left; a later attempt may succeed.
pub const LEFT: u8 = 75;
const WRONG: u8 = 1;
/// Number of log lines that are shown.
const LINES: usize = 10;

// See `exec::options::Options`.
#[allow(missing_docs)]
#[derive(Debug, StructOpt)]
pub struct FlushOptions {
    /// How long to keep trying while the server cannot be reached
    #[structopt(long, value_name = "DURATION", default_value = "1m")]
    wait: String,
    /// Wait for a random time up to this first, so that many machines do not send at once
    #[structopt(long, value_name = "DURATION", default_value = "0s")]
    jitter: String,
}

/// The time limits of `flush`.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    wait: Duration,
    jitter: Duration,
}

impl FlushOptions {
    /// Parses the options.
    ///
    /// # Errors
    /// Which option is invalid, and what is allowed.
    pub fn plan(&self) -> Result<Patience, String> {
        let span = |option: &'static str, text: &str| {
            let span = duration::parse(option, text).map_err(|invalid| invalid.to_string())?;
            span.to_std().map_err(|_| format!("{option}: {text:?} is out of bounds"))
        };
        Ok(Patience { wait: span("--wait", &self.wait)?, jitter: span("--jitter", &self.jitter)? })
    }
}

/// Sends the waiting reports. Returns 0 if none is left, 75 if some are, 1 if sending is impossible.
pub fn flush(overrides: &Overrides, patience: Patience) -> u8 {
    let LoadedConfig { config, problems, .. } = config::load(overrides);
    problems.iter().for_each(|problem| say(format_args!("configuration: {problem}")));
    let parts = StateDirectory::open(config.state.as_deref()).and_then(|state| {
        let spool = Spool::open(&state, config.spool)?;
        Ok((state, spool, Api::new(&config)?))
    });
    let (state, spool, api) = match parts {
        Ok(parts) => parts,
        Err(problem) => {
            say(problem);
            return WRONG;
        }
    };
    logbook::open(Some(&state));
    if let Ok(runs) = state.within("runs") {
        runs::recover(&runs, &spool);
    }
    spool.sweep();
    thread::sleep(jitter(patience.jitter));
    let until = Instant::now() + patience.wait;
    let sender = ReportSender { spool: &spool, api: &api, state: &state };
    let Some(turn) = sender.turn(until, || false) else {
        say("another process is sending");
        return LEFT;
    };
    sender.retry_kept();
    let mut backoff = BACKOFF;
    let code = loop {
        // At least one request is made, even if the time for retries is zero.
        let pass = sender.pass(until.max(Instant::now() + crate::sender::PATIENCE));
        let Some(trouble) = pass.trouble else {
            if pass.kept.is_empty() {
                break 0;
            }
            say(pass.kept);
            break LEFT;
        };
        let pause = next_pause(&mut backoff);
        let wait = pass.wait.unwrap_or(pause);
        if Instant::now() + wait >= until {
            say(trouble);
            break LEFT;
        }
        thread::sleep(wait);
    };
    drop(turn);
    code
}

/// Prints the agent's state. Returns 1 if something is wrong.
pub fn show(overrides: &Overrides) -> u8 {
    let LoadedConfig { config, problems, .. } = config::load(overrides);
    let mut lines = Vec::new();
    let server = config.server.as_ref().map_or_else(|| "none is configured".to_owned(), place);
    lines.push(format!("server         {server}"));
    lines.push(format!("token          {}", if config.token.is_some() { "set" } else { "none" }));
    let mut is_wrong = !problems.is_empty() || config.server.is_none();
    lines.extend(problems.iter().map(|problem| format!("configuration  {problem}")));
    match StateDirectory::open(config.state.as_deref()) {
        Err(problem) => {
            is_wrong = true;
            lines.push(format!("state          {problem}"));
        }
        Ok(state) => {
            lines.push(format!("state          {}", state.file("").display()));
            match Spool::open(&state, config.spool)
                .and_then(|spool| spool.list().map_err(|error| error.to_string()))
            {
                Ok(waiting) => lines
                    .push(format!("waiting        {}", duration::counted(waiting.len() as i64, "report"))),
                Err(problem) => {
                    is_wrong = true;
                    lines.push(format!("waiting        {problem}"));
                }
            }
            let log = std::fs::read_to_string(logbook::place(&state)).unwrap_or_default();
            let all: Vec<&str> = log.lines().collect();
            let latest = &all[all.len().saturating_sub(LINES)..];
            lines.extend(latest.iter().map(|line| format!("log            {line}")));
        }
    }
    let _ = writeln!(std::io::stdout(), "{}", lines.join("\n"));
    if is_wrong { WRONG } else { 0 }
}

fn say(what: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "innkeeper-agent: {what}");
}
