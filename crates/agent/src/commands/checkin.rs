//! `checkin`: one check-in from a script.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use structopt::StructOpt;
use uuid::Uuid;

use super::{CommandContext, Failure, PATIENCE, exit, say};
use crate::api::{Api, ApiTrouble};
use crate::clock::Stamp;
use crate::config::{self, LoadedConfig, Overrides};
use crate::figures;
use crate::logbook;
use crate::report::{Names, ReportKind, SpooledReport};
use crate::sender::{ReportSender, SendResult, deliver};
use crate::spool::{Destination, Spool, SpoolEntry};
use crate::state::StateDirectory;

/// Longest notes that are read from standard input, in bytes. The server keeps fewer.
const LARGEST: u64 = 64 * 1024;
/// Shortest time that the server gets to answer, even if `exec.max_delay` is shorter.
const LEAST: Duration = Duration::from_secs(2);

// See `exec::options::Options`.
#[allow(missing_docs)]
#[derive(Debug, StructOpt)]
pub struct Options {
    /// The reservation: APP/COMPONENT
    #[structopt(value_name = "APP/COMPONENT")]
    name: String,

    /// A run has begun
    #[structopt(long, conflicts_with_all = &["fail", "log", "exit-status", "signal"])]
    start: bool,

    /// The run has failed
    #[structopt(long, conflicts_with_all = &["log", "exit-status"])]
    fail: bool,

    /// Only leave a note, which does not change the job's state
    #[structopt(long, conflicts_with_all = &["exit-status", "signal"])]
    log: bool,

    /// The exit status of the run: 0 is a success, any other a failure
    #[structopt(long, value_name = "STATUS")]
    exit_status: Option<u8>,

    /// The signal that ended the run, such as SIGKILL: a failure
    #[structopt(long, value_name = "NAME", conflicts_with = "exit-status")]
    signal: Option<String>,

    /// The id of the run, by which its start and its end belong together
    #[structopt(long, value_name = "UUID")]
    run: Option<Uuid>,

    /// A text to keep with the check-in; - reads it from standard input
    #[structopt(long, value_name = "TEXT")]
    notes: Option<String>,

    /// A figure of the check-in; can be given several times. Lines ::figure NAME=VALUE in the notes are figures, too
    #[structopt(long = "figure", value_name = "NAME=VALUE", number_of_values = 1)]
    figures: Vec<String>,

    /// Keep the check-in on disk until the server has it, and write problems only to the agent's log: for systemd
    /// units, where nobody would repeat the command
    #[structopt(long)]
    keep: bool,
}

impl Options {
    /// Whether the command runs from a unit, where nobody would repeat it (`--keep`).
    pub fn is_unattended(&self) -> bool {
        self.keep
    }

    /// Checks in now, or later as soon as the server accepts it. Problems in the configuration are only logged.
    pub fn check_in_unattended(self, overrides: &Overrides) -> u8 {
        let done = self.report().and_then(|report| {
            let entry =
                SpoolEntry { destination: Destination::Server(None), reports: vec![report], terms: None };
            unattended(entry, config::load(overrides)).map_err(Failure::Wrong)
        });
        match done {
            Ok(status) => status,
            Err(failure) => {
                let _ = writeln!(std::io::stderr(), "innkeeper-agent: {failure}");
                failure.status()
            }
        }
    }

    fn report(&self) -> Result<SpooledReport, Failure> {
        let names = Names::parse(&self.name)?;
        let kind = match (self.start, self.fail, self.log, self.exit_status) {
            (true, ..) => ReportKind::Start,
            (_, true, ..) => ReportKind::Fail,
            _ if self.signal.is_some() => ReportKind::Fail,
            (_, _, true, _) => ReportKind::Log,
            (.., Some(1..)) => ReportKind::Fail,
            _ => ReportKind::Success,
        };
        let mut report = SpooledReport::new(Some(names), kind, Stamp::now());
        report.exit_status = self.exit_status;
        report.signal.clone_from(&self.signal);
        report.run = self.run;
        report.figures = figures::given("--figure", &self.figures)?;
        report.output = match self.notes.as_deref() {
            Some("-") => Some(standard_input()?),
            notes => notes.map(str::to_owned),
        };
        Ok(report)
    }
}

/// Puts the entry into the spool and sends what waits there. If the spool cannot be used, sends the entry directly.
fn unattended(entry: SpoolEntry, loaded: LoadedConfig) -> Result<u8, String> {
    let LoadedConfig { config, problems, .. } = loaded;
    let state = StateDirectory::open(config.state.as_deref());
    logbook::open(state.as_ref().ok());
    problems.iter().for_each(logbook::note);
    let api = Api::new(&config);
    let patience = config.max_delay.to_std().unwrap_or_default().max(LEAST);
    let kept = state.and_then(|state| {
        let spool = Spool::open(&state, config.spool)?;
        let name = spool.add(Uuid::new_v4(), &entry).map_err(|error| error.to_string())?;
        Ok((state, spool, name))
    });
    match (kept, api) {
        (Ok((state, spool, name)), Ok(api)) => {
            let (until, sender) =
                (Instant::now() + patience, ReportSender { spool: &spool, api: &api, state: &state });
            let is_gone = || spool.list().is_ok_and(|names| !names.contains(&name));
            if let Some(_turn) = sender.turn(until, is_gone) {
                sender.pass_of(&entry.destination, until);
            }
            Ok(0)
        }
        (Ok(_), Err(problem)) => {
            logbook::note(problem);
            Ok(0)
        }
        (Err(_), Ok(api)) => {
            let reports: Vec<&SpooledReport> = entry.reports.iter().collect();
            let delivered = deliver(&api, &entry.destination, &reports, PATIENCE);
            let delivered = delivered.map_err(|trouble| trouble.to_string())?;
            match delivered.outcomes.iter().find_map(SendResult::problem) {
                Some(problem) => Err(problem.to_owned()),
                None => Ok(0),
            }
        }
        (Err(disk), Err(problem)) => Err(format!("{problem}; and it cannot be kept: {disk}")),
    }
}

pub(super) fn run(desk: &CommandContext, options: Options) -> Result<u8, Failure> {
    let names = Names::parse(&options.name)?;
    let report = options.report()?;
    let destination = Destination::Server(None);
    match deliver(&desk.api, &destination, &[&report], PATIENCE) {
        Ok(delivered) => match delivered.outcomes.into_iter().next() {
            Some(SendResult::Done) => {
                let what = match report.kind {
                    ReportKind::Success => "has checked in",
                    ReportKind::Fail => "has failed: it is recorded",
                    ReportKind::Start => "has begun: it is recorded",
                    ReportKind::Log => "has a new note",
                };
                say(&format!("{names} {what}"));
                Ok(0)
            }
            Some(SendResult::GivenUp(problem) | SendResult::Refused(problem)) => Err(Failure::Wrong(problem)),
            Some(SendResult::Unknown) | None => Err(Failure::Unknown(names)),
        },
        Err(
            trouble
            @ (ApiTrouble::Unreachable { .. } | ApiTrouble::TimedOut { .. } | ApiTrouble::Busy { .. }),
        ) => keep(desk, SpoolEntry { destination, reports: vec![report], terms: None }, &trouble),
        Err(trouble) => Err(trouble.into()),
    }
}

fn standard_input() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().take(LARGEST).read_to_end(&mut bytes);
    read.map_err(|error| Failure::Wrong(format!("standard input: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes).replace('\0', "\u{FFFD}"))
}

/// Puts the check-in into the spool. It is sent later and keeps the time at which it happened.
fn keep(desk: &CommandContext, entry: SpoolEntry, trouble: &ApiTrouble) -> Result<u8, Failure> {
    let kept = StateDirectory::open(desk.config.state.as_deref()).and_then(|state| {
        let spool = Spool::open(&state, desk.config.spool)?;
        spool.add(Uuid::new_v4(), &entry).map_err(|error| error.to_string())
    });
    match kept {
        Ok(_) => {
            say(&format!("{trouble}; the check-in is kept, and is sent by the next flush or exec"));
            Ok(exit::LATER)
        }
        Err(problem) => Err(Failure::Wrong(format!("{trouble}; and it cannot be kept: {problem}"))),
    }
}
