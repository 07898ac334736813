//! Runs probes according to their timetable, each in a thread of its own, and returns the results. Reporting them is
//! the caller's task.
//!
//! ```text
//! let mut runner = Runner::new(probes, clock.now());
//! loop {
//!     for report in runner.step(clock.now()) { … }
//!     runner.wait(a second);
//! }
//! ```

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use innkeeper_core::Time;
use innkeeper_core::figures::Figures;

use super::config::{Probe, Probes};
use super::figures;
use super::once::Occasion;
use super::outcome::{ProbeOutcome, ProbeStatus};
use super::run::run;
use super::targets::ProbeTarget;
use super::timetable::{After, Start, Timetable, tasks};

/// The result of a target, after any repeats.
#[derive(Debug, Clone)]
pub struct ProbeReport {
    /// The name of the probe.
    pub probe: String,
    /// The target, with the names of its reservation.
    pub target: ProbeTarget,
    /// The outcome of the last run.
    pub outcome: ProbeOutcome,
    /// The figures to report.
    pub figures: Figures,
    /// Number of figures that do not fit into a report.
    pub figures_beyond: usize,
    /// Whether the outcome counts as a failure of the reservation.
    pub is_failure: bool,
    /// Number of runs, including repeats; 1 without a repeat.
    pub runs: u32,
    /// When the check was due.
    pub due: Time,
    /// When the last run began, by the clock passed to [`Runner::step`].
    pub started: Time,
    /// Number of due instants that were skipped before, because the target was running or waiting.
    pub missed: u32,
}

/// A run that has ended.
struct Ended {
    probe: Arc<Probe>,
    target: ProbeTarget,
    outcome: ProbeOutcome,
    start: Start,
    started: Time,
}

/// Runs probes.
pub struct Runner {
    probes: Vec<Arc<Probe>>,
    /// For each task, the index of its probe and of its target there.
    places: Vec<(usize, usize)>,
    table: Timetable,
    sender: Sender<Ended>,
    receiver: Receiver<Ended>,
    ended: VecDeque<Ended>,
    /// For each task, the number of instants that were skipped before its first run of several.
    missed: HashMap<String, u32>,
}

impl Runner {
    /// Runs these probes repeatedly, from `now` on.
    pub fn new(probes: Probes, now: Time) -> Self {
        Self::over(probes, |_, _| true, |tasks, slots| Timetable::new(tasks, slots, now))
    }

    /// Runs once all targets that belong to this run of cron, at `now`.
    pub fn once(probes: Probes, occasion: Occasion, now: Time) -> Self {
        let selects = |probe: &Probe, target: &ProbeTarget| {
            occasion.selects(&probe.promise.schedule, &target.key(), now)
        };
        Self::over(probes, selects, |tasks, slots| Timetable::once(tasks, slots, now))
    }

    fn over(
        probes: Probes,
        selects: impl Fn(&Probe, &ProbeTarget) -> bool,
        table: impl FnOnce(Vec<super::timetable::Task>, super::timing::Slots) -> Timetable,
    ) -> Self {
        let (sender, receiver) = channel();
        let all = tasks(&probes).into_iter();
        let chosen = all.filter(|(_, of_probe, of_target)| {
            let probe = &probes.probes[*of_probe];
            selects(probe, &probe.targets[*of_target])
        });
        let (tasks, places): (Vec<_>, Vec<_>) =
            chosen.map(|(task, of_probe, of_target)| (task, (of_probe, of_target))).unzip();
        Self {
            table: table(tasks, probes.slots),
            places,
            probes: probes.probes.into_iter().map(Arc::new).collect(),
            sender,
            receiver,
            ended: VecDeque::new(),
            missed: HashMap::new(),
        }
    }

    /// Applies a new configuration. Active runs continue, but targets that were removed are not reported any more. A
    /// probe that can no longer be loaded keeps its old configuration, so that a typing error does not end its
    /// monitoring.
    pub fn reload(&mut self, mut probes: Probes, now: Time) {
        let taken: HashSet<String> =
            probes.probes.iter().flat_map(|probe| &probe.targets).map(ProbeTarget::key).collect();
        let is_broken = |probe: &Probe| probes.broken.iter().any(|broken| broken.name == probe.name);
        let is_free = |probe: &Probe| probe.targets.iter().all(|target| !taken.contains(&target.key()));
        let kept = self.probes.iter().filter(|probe| is_broken(probe) && is_free(probe));
        let kept: Vec<Probe> = kept.map(|probe| Probe::clone(probe)).collect();
        probes.probes.extend(kept);
        let (tasks, places) =
            tasks(&probes).into_iter().map(|(task, probe, target)| (task, (probe, target))).unzip();
        self.table.replace(tasks, probes.slots, now);
        self.places = places;
        self.probes = probes.probes.into_iter().map(Arc::new).collect();
    }

    /// Collects finished runs and starts those that are due at `now`. Returns the results to report.
    pub fn step(&mut self, now: Time) -> Vec<ProbeReport> {
        self.ended.extend(self.receiver.try_iter());
        let mut reports = Vec::new();
        while let Some(ended) = self.ended.pop_front() {
            reports.extend(self.settle(ended, now));
        }
        for start in self.table.start_due(now) {
            self.start(start, now);
        }
        reports
    }

    /// Waits until a run has ended, at most for `longest`.
    pub fn wait(&mut self, longest: Duration) {
        if self.ended.is_empty()
            && let Ok(ended) = self.receiver.recv_timeout(longest)
        {
            self.ended.push_back(ended);
        }
    }

    /// The probes that are run, including those that a reload has kept.
    pub fn probes(&self) -> impl Iterator<Item = &Probe> {
        self.probes.iter().map(AsRef::as_ref)
    }

    /// When the next run must be started; none if no target waits for a time.
    pub fn next_wake(&self, now: Time) -> Option<Time> {
        self.table.next_wake(now)
    }

    /// Must be called after the wall clock was set.
    pub fn clock_set(&mut self, now: Time) {
        self.table.clock_set(now);
    }

    /// Starts no further runs. Continue to call [`Self::step`] until [`Self::is_done`].
    pub fn stop(&mut self) {
        self.table.stop();
    }

    /// Number of active runs.
    pub fn running(&self) -> usize {
        self.table.running_now()
    }

    /// Whether no run is active and none will start, as at the end of [`Self::once`].
    pub fn is_done(&self) -> bool {
        self.ended.is_empty() && self.table.is_done()
    }

    fn start(&mut self, start: Start, now: Time) {
        let Some((probe, target)) = self.places.get(start.task).and_then(|(of_probe, of_target)| {
            let probe = self.probes.get(*of_probe)?;
            Some((Arc::clone(probe), probe.targets.get(*of_target)?.clone()))
        }) else {
            return;
        };
        if start.attempt == 1 {
            self.missed.insert(target.key(), start.missed);
        }
        let sender = self.sender.clone();
        let (name, ours) =
            (format!("probe {}", probe.name), (Arc::clone(&probe), target.clone(), start.clone()));
        let running = thread::Builder::new().name(name).spawn(move || {
            let outcome = run(&probe, &target, now);
            // The receiver is gone if the program is ending.
            let _ = sender.send(Ended { probe, target, outcome, start, started: now });
        });
        if let Err(error) = running {
            let (probe, target, start) = ours;
            let outcome = ProbeOutcome::new(ProbeStatus::Unknown, format!("cannot start a thread: {error}"));
            self.ended.push_back(Ended { probe, target, outcome, start, started: now });
        }
    }

    fn settle(&mut self, ended: Ended, now: Time) -> Option<ProbeReport> {
        let Ended { probe, target, outcome, start, started } = ended;
        let is_failure = probe.is_failure(outcome.status);
        let key = target.key();
        match self.table.finished(&key, is_failure, now) {
            After::Retry(_) => None,
            After::Drop => {
                self.missed.remove(&key);
                None
            }
            After::Report => {
                let (figures, figures_beyond) = figures::of(&outcome, &probe.promise.expected_names());
                Some(ProbeReport {
                    probe: probe.name.clone(),
                    target,
                    outcome,
                    figures,
                    figures_beyond,
                    is_failure,
                    runs: start.attempt,
                    due: start.due,
                    started,
                    missed: self.missed.remove(&key).unwrap_or_default(),
                })
            }
        }
    }
}
