//! The main loop of the service: runs the probes that are due, until a signal ends it.

use std::sync::mpsc::{self, Sender as Channel};
use std::thread;
use std::time::Duration;

use innkeeper_core::figures::MOST_FIGURES;
use innkeeper_core::{Clock as _, SystemClock, Time};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::plan::{ServicePlan, load, names_of};
use super::say;
use super::teller::{Message, Teller};
use crate::clock::{Stamp, boot_ms, wall_ms};
use crate::config::Overrides;
use crate::probe;
use crate::probe::runner::Runner;
use crate::report::{Names, ReportKind, SpooledReport};

/// Longest sleep. It bounds the delay until a signal or a change of the wall clock is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// Difference between wall clock and boot clock, in milliseconds, above which the wall clock counts as set.
const CLOCK_SET_MS: i64 = 1500;
/// Interval of the check-ins of the agent's own reservation, in milliseconds.
const OWN_EVERY_MS: u64 = 300_000;
/// Time limit for delivering the last reports at the end.
const FAREWELL: Duration = Duration::from_secs(3);

/// Runs probes until a signal ends the service.
pub(super) fn serve(overrides: &Overrides) -> u8 {
    // Signals are caught first, because a service manager may stop the agent at once.
    let mut signals = match Signals::new([SIGHUP, SIGINT, SIGTERM]) {
        Ok(signals) => signals,
        Err(error) => {
            say(format_args!("signals cannot be caught: {error}"));
            return super::WRONG;
        }
    };
    let plan = load(overrides);
    say(format_args!("{} targets are probed", plan.targets().count()));
    plan.problems.iter().for_each(say);
    let (report, inbox) = mpsc::channel();
    let teller = Teller::new(&plan);
    let teller = thread::spawn(move || teller.run(&inbox));
    let mut round = Round::new(plan, overrides.clone(), report.clone());
    'round: loop {
        for signal in signals.pending() {
            match signal {
                SIGHUP => round.reload(),
                _ => break 'round,
            }
        }
        round.step();
    }
    if report.send(Message::Stop(FAREWELL)).is_ok() {
        let _ = teller.join();
    }
    0
}

struct Round {
    plan: ServicePlan,
    overrides: Overrides,
    runner: Runner,
    report: Channel<Message>,
    /// How far the wall clock is ahead of the boot clock, in milliseconds.
    ahead_ms: i64,
    /// Time of the next check-in of the agent's own reservation, by the boot clock.
    own_at_ms: u64,
}

impl Round {
    fn new(plan: ServicePlan, overrides: Overrides, report: Channel<Message>) -> Self {
        let runner = Runner::new(plan.probes.clone(), SystemClock.now());
        Self { plan, overrides, runner, report, ahead_ms: ahead_ms(), own_at_ms: 0 }
    }

    /// Starts the probes that are due, reports those that have finished, and sleeps a little.
    fn step(&mut self) {
        let now = SystemClock.now();
        self.look_at_clock(now);
        self.tell_own();
        for done in self.runner.step(now) {
            self.tell(report_of(&done));
        }
        let next = self.runner.next_wake(now).and_then(|at| (at - now).to_std().ok());
        self.runner.wait(next.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP));
    }

    fn look_at_clock(&mut self, now: Time) {
        let ahead = ahead_ms();
        if (ahead - self.ahead_ms).abs() > CLOCK_SET_MS {
            self.runner.clock_set(now);
        }
        self.ahead_ms = ahead;
    }

    fn reload(&mut self) {
        let mut plan = load(&self.overrides);
        self.own_at_ms = 0;
        if plan.is_file_lost {
            say("the configuration cannot be read, so the old one stays in use");
            plan.problems.iter().for_each(say);
            self.plan.problems = plan.problems;
            return;
        }
        plan.keep_broken_of(&self.plan);
        say(format_args!("the configuration was reloaded: {} targets are probed", plan.targets().count()));
        plan.problems.iter().for_each(say);
        self.runner.reload(plan.probes.clone(), SystemClock.now());
        self.plan = plan;
        // Sent before any report that follows. The receiving thread outlives this one.
        let _ = self.report.send(Message::Plan(Box::new(self.plan.clone())));
    }

    fn tell_own(&mut self) {
        let now = boot_ms();
        if now < self.own_at_ms {
            return;
        }
        self.own_at_ms = now + OWN_EVERY_MS;
        if let Some(names) = self.plan.own.clone() {
            self.tell(own_report(names, &self.plan.problems));
        }
    }

    fn tell(&self, report: SpooledReport) {
        // The receiving thread outlives this one.
        let _ = self.report.send(Message::Report(Box::new(report)));
    }
}

fn ahead_ms() -> i64 {
    wall_ms() - i64::try_from(boot_ms()).unwrap_or(i64::MAX)
}

/// The check-in of the agent's own reservation: a failure if a probe could not be loaded.
fn own_report(names: Names, problems: &[String]) -> SpooledReport {
    let kind = if problems.is_empty() { ReportKind::Success } else { ReportKind::Fail };
    let mut report = SpooledReport::new(Some(names), kind, Stamp::now());
    if !problems.is_empty() {
        report.output = Some(problems.join("\n"));
    }
    report
}

/// The report of a finished probe.
pub(super) fn report_of(done: &probe::runner::ProbeReport) -> SpooledReport {
    let kind = if done.is_failure { ReportKind::Fail } else { ReportKind::Success };
    let mut report = SpooledReport::new(Some(names_of(&done.target)), kind, Stamp::now());
    report.exit_status = done.is_failure.then(|| done.outcome.status.exit_status());
    report.duration_ms = u64::try_from(done.outcome.took.as_millis()).ok();
    let mut text = done.outcome.text();
    if done.runs > 1 {
        text.push_str(&format!("It was run {} times for this.\n", done.runs));
    }
    if done.missed > 0 {
        text.push_str(&format!(
            "{} runs before it were skipped, because the target was still being probed or waited for its turn.\n",
            done.missed
        ));
    }
    if done.figures_beyond > 0 {
        let (beyond, most) = (done.figures_beyond, MOST_FIGURES);
        text.push_str(&format!("{beyond} of its figures are left out: a check-in can have {most}.\n"));
    }
    report.figures = done.figures.clone();
    report.output = Some(text);
    report
}
