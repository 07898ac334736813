//! A single pass over the probes: for a crontab (`--once`), or to test a configuration (`--try`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use innkeeper_core::{Clock as _, SystemClock};

use super::plan::{load, names_of};
use super::round::report_of;
use super::teller::Teller;
use super::{WRONG, say};
use crate::commands::table;
use crate::config::Overrides;
use crate::probe::once::Occasion;
use crate::probe::runner::Runner;
use crate::probe::{self, Probe, ProbeOutcome, ProbeTarget};
use crate::report::SpooledReport;
use crate::state::{StateDirectory, try_lock};

/// Time limit for delivering the reports.
const PATIENCE: Duration = Duration::from_secs(20);
/// Polling interval until all probes have finished.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Runs the probes that are due on this occasion and reports them. Two passes of the same occasion do not overlap.
pub(super) fn run(overrides: &Overrides, occasion: Occasion) -> u8 {
    let mut plan = load(overrides);
    plan.problems.iter().for_each(say);
    // The agent's own reservation needs a known interval, which a crontab does not give. Problems are printed, and
    // cron mails them.
    plan.own = None;
    let state = StateDirectory::open(plan.config.state.as_deref()).ok();
    let lock = state.map(|state| try_lock(&state.file(&format!("probe-{occasion:?}.lock").to_lowercase())));
    if let Some(Ok(None)) = lock {
        say("the previous run is still active; this one is skipped");
        return WRONG;
    }
    let mut runner = Runner::once(plan.probes.clone(), occasion, SystemClock.now());
    let mut reports: Vec<SpooledReport> = Vec::new();
    while !runner.is_done() {
        reports.extend(runner.step(SystemClock.now()).iter().map(report_of));
        runner.wait(LOOK_AGAIN);
    }
    let is_told = Teller::new(&plan).tell(reports, PATIENCE);
    if is_told && plan.problems.is_empty() { 0 } else { WRONG }
}

/// Runs every probe once and prints the results.
pub(super) fn try_all(overrides: &Overrides) -> u8 {
    let plan = load(overrides);
    plan.problems.iter().for_each(say);
    let mut all: Vec<(&Probe, &ProbeTarget)> = plan.targets().collect();
    all.sort_by_key(|(_, target)| names_of(target));
    let outcomes = checked(&all, plan.probes.slots.parallel);
    let row = |(one, outcome): (&(&Probe, &ProbeTarget), &ProbeOutcome)| {
        vec![names_of(one.1).to_string(), outcome.status.as_str().to_owned(), outcome.summary.clone()]
    };
    let rows: Vec<Vec<String>> = all.iter().zip(&outcomes).map(row).collect();
    crate::commands::say(&table::of(&["RESERVATION", "STATUS", "RESULT"], &rows));
    let failed = all.iter().zip(&outcomes).any(|((probe, _), one)| probe.is_failure(one.status));
    if failed || !plan.problems.is_empty() { WRONG } else { 0 }
}

/// Runs the checks, at most `parallel` of them at once.
fn checked(all: &[(&Probe, &ProbeTarget)], parallel: usize) -> Vec<ProbeOutcome> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, ProbeOutcome)>> = Mutex::new(Vec::with_capacity(all.len()));
    thread::scope(|scope| {
        for _ in 0..parallel.min(all.len()) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some((probe, target)) = all.get(n) else { return };
                    let outcome = probe::run(probe, target, SystemClock.now());
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((n, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}
