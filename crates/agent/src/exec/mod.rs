//! `exec`: runs a job and reports it, without changing how the job behaves.
//!
//! Three parts work in parallel: [`supervise`] watches the job, [`streams`] copies its output, and [`reporter`]
//! reports to the server. Only the end of a run waits for the reporter, and only for a limited time.

mod command;
pub mod drain;
mod gathered;
mod held;
mod lock;
mod nesting;
pub mod options;
mod phase;
mod redact;
mod reporter;
pub mod runs;
mod setup;
pub(crate) mod signals;
mod streams;
mod supervise;
mod tail;
pub(crate) mod terms;
mod timer;
mod tree;
mod writer;

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use innkeeper_core::figures::Figures;
use rustix::process::Pid;

use crate::clock::{self, Stamp};
use crate::config::Overrides;
use crate::logbook;
use crate::report::{ReportKind, SpooledReport};
use crate::state::StateDirectory;
use gathered::GatheredOutput;
use held::HeldOutput;
use lock::Lock;
use options::ExecPlan;
use reporter::{Reporter, RunFacts};
use signals::Signals;
use streams::{Pumps, Shared};
use supervise::{JobEnd, JobStatus, Limit, Supervisor};
use tail::Tail;
use writer::{Stream, StreamWriter};

/// Exit status if the run was skipped because another run has the lock.
pub const SKIPPED: u8 = 75;
/// Exit status if `--kill` ended the run and the job itself returned 0.
const ENDED: u8 = 124;
/// Most bytes of output that are reported.
const LONGEST_OUTPUT: usize = 64 * 1024;
/// If the system lacks resources, the job is started again this often, without the descriptors that the agent uses.
const TRIES_WITHOUT: usize = 10;

/// Runs a job as `plan` says and returns the exit status of the agent, which is that of the job.
pub fn run(plan: ExecPlan, overrides: Overrides) -> u8 {
    // A panic in a thread of the agent is logged; nothing must be written to the job's output.
    std::panic::set_hook(Box::new(|panic| logbook::note(format_args!("the agent has a bug: {panic}"))));
    signals::survive_limits();
    let within = std::env::var(nesting::RUN).ok();
    if nesting::is_within(within.as_deref(), &plan.what) {
        logbook::open(StateDirectory::open(None).ok().as_ref());
        logbook::note(format_args!(
            "a run of {} within another run of it is not reported separately",
            plan.what
        ));
        return Run { plan, reporter: None, notes: Vec::new() }.go(within.and_then(|run| run.parse().ok()));
    }
    let mut notes = Vec::new();
    let lock = plan.lock.map(|patience| lock::take(&plan.what, patience));
    let is_run = !matches!(lock, Some(Lock::Held));
    let facts = RunFacts {
        run: nesting::new_run(&plan.what),
        names: plan.names.clone(),
        destination: plan.destination.clone(),
        terms: plan.terms.clone(),
        began: Stamp::now(),
    };
    let run = facts.run;
    let reporter = Reporter::begin(facts, overrides, is_run);
    let _held: Option<File> = match lock {
        None => None,
        Some(Lock::Taken(file)) => Some(file),
        Some(Lock::Held) => return skip(&plan, reporter),
        Some(Lock::Impossible(problem)) => {
            notes.push(format!("it ran without its lock, which could not be taken: {problem}"));
            None
        }
    };
    Run { plan, reporter, notes }.go(Some(run))
}

/// Reports that the run was skipped because another run is still active.
fn skip(plan: &ExecPlan, reporter: Option<Reporter>) -> u8 {
    let kind = if plan.lock_fail { ReportKind::Fail } else { ReportKind::Log };
    let mut report = SpooledReport::new(plan.names.clone(), kind, Stamp::now());
    report.output =
        Some("innkeeper-agent: this run was skipped because another one is still active".to_owned());
    if plan.lock_fail {
        report.exit_status = Some(SKIPPED);
    }
    if let Some(reporter) = reporter {
        reporter.finish(report);
    }
    SKIPPED
}

/// One run of the job.
struct Run {
    plan: ExecPlan,
    reporter: Option<Reporter>,
    notes: Vec<String>,
}

impl Run {
    fn go(mut self, run: Option<uuid::Uuid>) -> u8 {
        let run = run.unwrap_or_default();
        // Orphans of the job become children of the agent, which reaps them.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        let strangers = tree::children();
        // Signals are caught before the job starts, so that none is lost.
        let signals = Signals::catch();
        if let Err(error) = &signals {
            self.notes.push(format!("signals are not passed on: {error}"));
        }
        let own_group = !has_terminal();
        let shared = self.pipes();
        let pumps = shared.as_ref().and_then(|shared| Pumps::start(shared).ok());
        let (pumps, ends) = pumps.unzip();
        let begun_ms = clock::boot_ms();
        let mut output = (shared, pumps);
        let mut signals = signals.ok();
        let mut started = command::start(&self.plan.job, run, own_group, ends);
        for _ in 0..TRIES_WITHOUT {
            if !started.as_ref().is_err_and(|problem| problem.is_for_lack) {
                break;
            }
            // The job has priority over reporting: the agent frees its pipes and waits for its other threads to free
            // theirs.
            output = (None, None);
            signals = None;
            std::thread::sleep(Duration::from_millis(20));
            started = command::start(&self.plan.job, run, own_group, None);
        }
        let (shared, pumps) = output;
        let mut child = match started {
            Ok(child) => child,
            Err(problem) => return self.not_started(&problem),
        };
        let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
            return child
                .wait()
                .ok()
                .and_then(|status| status.code())
                .and_then(|code| code.try_into().ok())
                .unwrap_or(255);
        };
        let limit = self.plan.max_run.map(|after| Limit { after, kill_after: self.plan.kill_after });
        let supervisor = Supervisor { pid, own_group, strangers, begun_ms, limit, signals };
        let ended = supervisor.run(|| self.overran());
        let left = pumps.map(Pumps::finish).unwrap_or_default();
        self.ended(&ended, shared.as_ref(), left)
    }

    /// The pipes for the job's output; none if the job writes directly to the agent's streams.
    fn pipes(&mut self) -> Option<Arc<Shared>> {
        if self.plan.no_output || (self.reporter.is_none() && !self.plan.quiet_unless_fail) {
            return None;
        }
        let writer = StreamWriter::new().ok()?;
        let held = self.plan.quiet_unless_fail.then(|| HeldOutput::new(directories()));
        let figures = GatheredOutput::new(self.plan.figures.clone(), Arc::clone(&self.plan.redactor));
        Some(Arc::new(Shared::new(writer, Tail::new(LONGEST_OUTPUT), figures, held)))
    }

    fn not_started(self, problem: &command::NotStarted) -> u8 {
        // This message is for people; a shell would print the same.
        let _ = writeln!(std::io::stderr(), "innkeeper-agent: {}", problem.problem);
        if let Some(reporter) = self.reporter {
            let mut report = SpooledReport::new(self.plan.names.clone(), ReportKind::Fail, Stamp::now());
            report.exit_status = Some(problem.status);
            report.output = Some(format!("innkeeper-agent: {}", problem.problem));
            report.duration_ms = Some(0);
            report.figures = self.plan.figures;
            reporter.finish(report);
        }
        problem.status
    }

    /// Reports that the run takes longer than `--max-run`.
    fn overran(&self) {
        let Some(reporter) = self.reporter.as_ref().filter(|_| self.plan.kill_after.is_none()) else {
            return;
        };
        let mut report = SpooledReport::new(self.plan.names.clone(), ReportKind::Log, Stamp::now());
        report.output = Some(format!("innkeeper-agent: this run takes longer than {}", self.longest()));
        reporter.beside(report);
    }

    fn longest(&self) -> String {
        let longest = chrono::TimeDelta::from_std(self.plan.max_run.unwrap_or(Duration::ZERO));
        innkeeper_core::duration::short(longest.unwrap_or(chrono::TimeDelta::MAX))
    }

    fn ended(
        mut self,
        ended: &JobEnd,
        shared: Option<&Arc<Shared>>,
        left: Vec<(Stream, std::io::PipeReader)>,
    ) -> u8 {
        let code = match ended.status.code() {
            0 if ended.was_ended => ENDED,
            code => code,
        };
        let is_success = code == 0 || (!ended.was_ended && self.plan.ok.contains(&code));
        if ended.was_ended {
            self.notes.push(format!("it was ended after {} (--max-run)", self.longest()));
        }
        if let Some(shared) = shared {
            let is_shown = !self.plan.quiet_unless_fail || !is_success;
            if is_shown {
                shared.release();
            }
            left.into_iter()
                .for_each(|(stream, source)| drain::hand_over(source, stream, &shared.writer, is_shown));
        }
        self.notes.extend(ended.notes.iter().cloned());
        let Some(reporter) = self.reporter.take() else { return code };
        let kind = if is_success { ReportKind::Success } else { ReportKind::Fail };
        let mut report = SpooledReport::new(self.plan.names.clone(), kind, Stamp::now());
        match ended.status {
            JobStatus::Exited(status) => report.exit_status = Some(status),
            JobStatus::Signalled(signal) => report.signal = Some(signals::name(signal).into_owned()),
        }
        report.duration_ms = Some(ended.duration_ms);
        report.peak_memory_bytes = ended.peak_memory_bytes;
        report.figures = self.figures(shared);
        report.output = self.output(shared, reporter.output_bytes());
        reporter.finish(report);
        code
    }

    /// The figures of the run. What was left out becomes a note.
    fn figures(&mut self, shared: Option<&Arc<Shared>>) -> Figures {
        let Some(shared) = shared else { return self.plan.figures.clone() };
        let gathered = shared.figures();
        let notes = gathered.notes();
        notes.iter().for_each(logbook::note);
        self.notes.extend(notes);
        gathered.figures().clone()
    }

    /// The end of the output, below the agent's notes about the run.
    fn output(&self, shared: Option<&Arc<Shared>>, limit: usize) -> Option<String> {
        let mut text: String = self.notes.iter().map(|note| format!("innkeeper-agent: {note}\n")).collect();
        if let Some(shared) = shared.filter(|_| !self.plan.figures_only) {
            text.push_str(&shared.tail().text(&self.plan.redactor, limit.saturating_sub(text.len())));
        }
        (!text.is_empty()).then_some(text)
    }
}

/// Whether the process has a controlling terminal. A terminal sends its signals to its whole foreground process
/// group. Therefore the job stays in the agent's group: it can read from the terminal, and gets Ctrl-C and Ctrl-Z
/// exactly once.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Directories for output that is too large for memory.
fn directories() -> Vec<PathBuf> {
    let state = StateDirectory::open(None).ok().map(|state| state.file(""));
    [Some(std::env::temp_dir()), state].into_iter().flatten().collect()
}
