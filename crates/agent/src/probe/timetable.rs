//! Decides when each target runs. Pure: it is given times and returns what to start; the caller starts it.
//!
//! A target never runs twice at the same time. Different targets run in parallel, within the limits of [`Slots`]; the
//! target that has waited longest is next. A failed run is repeated before it is reported. Due instants that pass
//! while a target runs or waits are skipped and counted, and are not caught up on.

use std::collections::HashMap;
use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::{Time, duration};

use super::config::Probes;
use super::timing::{Slots, first_due, next_due};

/// A check that is run repeatedly.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The key, which stays the same after a reload.
    pub key: String,
    /// The host that counts for [`Slots::per_host`]; empty if none does.
    pub host: String,
    /// When the check is due.
    pub schedule: Schedule,
    /// How often a failed run is repeated.
    pub retries: u32,
    /// Pause before a repeat.
    pub retry_after: Duration,
}

/// A run to start now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Index of the task in the list that was given.
    pub task: usize,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// When the check was due.
    pub due: Time,
    /// Number of due instants that were skipped since its last run, because it was running or waiting.
    pub missed: u32,
}

/// What to do with the outcome of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Report it.
    Report,
    /// Do not report it yet: the run is repeated, not before this time.
    Retry(Time),
    /// Ignore it: the task was removed from the configuration.
    Drop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waits until this time; none if the schedule has no further instant.
    Waits(Option<Time>),
    /// Waits for a repeat.
    WaitsToRetry {
        at: Time,
        attempt: u32,
        due: Time,
    },
    Runs {
        attempt: u32,
        due: Time,
    },
}

#[derive(Debug, Clone)]
struct ScheduledProbe {
    task: Task,
    state: State,
}

/// The timetable of all tasks.
#[derive(Debug, Clone)]
pub struct Timetable {
    entries: Vec<ScheduledProbe>,
    slots: Slots,
    /// Active runs of tasks that were removed from the configuration, with their hosts by key. They occupy their
    /// slots until they end.
    gone: HashMap<String, String>,
    /// Whether each task runs only once.
    is_once: bool,
}

impl Timetable {
    /// A timetable that starts at `now`.
    pub fn new(tasks: Vec<Task>, slots: Slots, now: Time) -> Self {
        let mut table = Self { entries: Vec::new(), slots, gone: HashMap::new(), is_once: false };
        table.replace(tasks, slots, now);
        table
    }

    /// A timetable in which every task is due once, at `now`.
    pub fn once(tasks: Vec<Task>, slots: Slots, now: Time) -> Self {
        let due = |task| ScheduledProbe { task, state: State::Waits(Some(now)) };
        let entries = tasks.into_iter().map(due).collect();
        Self { entries, slots, gone: HashMap::new(), is_once: true }
    }

    /// Starts no further runs. Active runs continue, and their outcome counts without a repeat.
    pub fn stop(&mut self) {
        self.is_once = true;
        for entry in &mut self.entries {
            entry.task.retries = 0;
            if !matches!(entry.state, State::Runs { .. }) {
                entry.state = State::Waits(None);
            }
        }
    }

    /// Whether no run is active and no task is due any more.
    pub fn is_done(&self) -> bool {
        self.gone.is_empty() && self.entries.iter().all(|entry| entry.state == State::Waits(None))
    }

    /// Replaces the tasks after a reload. Tasks that existed before keep their state, including active runs. A
    /// changed schedule applies from now on.
    pub fn replace(&mut self, tasks: Vec<Task>, slots: Slots, now: Time) {
        self.slots = slots;
        let mut before: HashMap<String, ScheduledProbe> =
            self.entries.drain(..).map(|entry| (entry.task.key.clone(), entry)).collect();
        for task in tasks {
            let state = match before.remove(&task.key) {
                Some(entry) if entry.task.schedule == task.schedule => entry.state,
                Some(entry) if matches!(entry.state, State::Runs { .. }) => entry.state,
                _ if self.gone.remove(&task.key).is_some() => State::Runs { attempt: 1, due: now },
                _ => State::Waits(first_due(&task.schedule, &task.key, now)),
            };
            self.entries.push(ScheduledProbe { task, state });
        }
        let running = before.into_iter().filter(|(_, entry)| matches!(entry.state, State::Runs { .. }));
        self.gone.extend(running.map(|(key, entry)| (key, entry.task.host)));
    }

    /// All tasks.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.entries.iter().map(|entry| &entry.task)
    }

    /// The earliest future time at which a waiting task is due; none if there is no such task. Tasks that are due but
    /// lack a free slot wait for [`Self::finished`] instead.
    pub fn next_wake(&self, now: Time) -> Option<Time> {
        self.entries.iter().filter_map(|entry| due_at(entry.state)).filter(|due| *due > now).min()
    }

    /// Starts the runs that are due at `now`, those that have waited longest first. Each occupies a slot until
    /// [`Self::finished`].
    pub fn start_due(&mut self, now: Time) -> Vec<Start> {
        let mut due: Vec<(Time, usize)> = self
            .entries
            .iter()
            .enumerate()
            .filter_map(|(task, entry)| Some((due_at(entry.state).filter(|due| *due <= now)?, task)))
            .collect();
        due.sort_unstable();
        let (mut running, mut hosts) = self.running();
        let mut starts = Vec::new();
        for (_, task) in due {
            if running >= self.slots.parallel {
                break;
            }
            let Some(entry) = self.entries.get_mut(task) else { continue };
            let at_host = hosts.entry(entry.task.host.clone()).or_default();
            if *at_host >= self.slots.per_host && !entry.task.host.is_empty() {
                continue;
            }
            let start = entry.start(task, now);
            running += 1;
            *at_host += 1;
            starts.push(start);
        }
        starts
    }

    /// Records that the run of the task `key` has ended. `failed` says whether it counts as a failure.
    pub fn finished(&mut self, key: &str, failed: bool, now: Time) -> After {
        if self.gone.remove(key).is_some() {
            return After::Drop;
        }
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.task.key == key) else {
            return After::Drop;
        };
        let State::Runs { attempt, due } = entry.state else { return After::Drop };
        let task = &entry.task;
        if failed && attempt <= task.retries {
            let pause = TimeDelta::from_std(task.retry_after).unwrap_or(duration::LONGEST);
            let at = now.checked_add_signed(pause).unwrap_or(now);
            entry.state = State::WaitsToRetry { at, attempt: attempt + 1, due };
            return After::Retry(at);
        }
        // Counted from the instant at which it was due, so that instants that have passed meanwhile are counted as
        // skipped.
        let next = if self.is_once { None } else { next_due(&task.schedule, &task.key, due) };
        entry.state = State::Waits(next);
        After::Report
    }

    /// Must be called after the wall clock was set. Tasks that would be due later than their next instant (because
    /// the clock was set back) become due at that instant.
    pub fn clock_set(&mut self, now: Time) {
        for entry in &mut self.entries {
            let next = next_due(&entry.task.schedule, &entry.task.key, now);
            match entry.state {
                State::Waits(due) if due.is_none() || due > next => entry.state = State::Waits(next),
                State::WaitsToRetry { attempt, .. } => {
                    entry.state = State::WaitsToRetry { at: now, attempt, due: now };
                }
                State::Runs { attempt, due } if due > now => entry.state = State::Runs { attempt, due: now },
                _ => {}
            }
        }
    }

    /// Number of active runs.
    pub fn running_now(&self) -> usize {
        self.running().0
    }

    fn running(&self) -> (usize, HashMap<String, usize>) {
        let here = self.entries.iter().filter(|entry| matches!(entry.state, State::Runs { .. }));
        let hosts = here.map(|entry| &entry.task.host).chain(self.gone.values());
        let mut of_host: HashMap<String, usize> = HashMap::new();
        let mut running = 0;
        for host in hosts {
            running += 1;
            *of_host.entry(host.clone()).or_default() += 1;
        }
        (running, of_host)
    }
}

impl ScheduledProbe {
    /// Starts the run at `now`.
    fn start(&mut self, task: usize, now: Time) -> Start {
        let (attempt, due, missed) = match self.state {
            State::WaitsToRetry { attempt, due, .. } => (attempt, due, 0),
            State::Waits(Some(due)) | State::Runs { due, .. } => {
                let (due, missed) = self.latest(due, now);
                (1, due, missed)
            }
            State::Waits(None) => (1, now, 0),
        };
        self.state = State::Runs { attempt, due };
        Start { task, attempt, due, missed }
    }

    /// The latest instant from `due` to `now`, and the number of skipped instants before it.
    fn latest(&self, due: Time, now: Time) -> (Time, u32) {
        let Task { schedule, key, .. } = &self.task;
        if let Schedule::Every(period) = schedule {
            // Computed and not counted, because there may be millions after a long sleep.
            let passed = (now - due).num_milliseconds() / period.num_milliseconds().max(1);
            let latest = next_due(schedule, key, now - *period).unwrap_or(due);
            return (latest.max(due), u32::try_from(passed.max(0)).unwrap_or(u32::MAX));
        }
        const MOST: u32 = 10_000;
        let mut latest = due;
        for missed in 0..MOST {
            match next_due(schedule, key, latest) {
                Some(next) if next <= now => latest = next,
                _ => return (latest, missed),
            }
        }
        (now, MOST)
    }
}

fn due_at(state: State) -> Option<Time> {
    match state {
        State::Waits(due) => due,
        State::WaitsToRetry { at, .. } => Some(at),
        State::Runs { .. } => None,
    }
}

/// The tasks of a configuration, each with the index of its probe and of its target there.
pub fn tasks(probes: &Probes) -> Vec<(Task, usize, usize)> {
    let each = probes.probes.iter().enumerate();
    each.flat_map(|(of_probe, probe)| {
        probe.targets.iter().enumerate().map(move |(of_target, target)| {
            let task = Task {
                key: target.key(),
                host: target.host.clone(),
                schedule: probe.promise.schedule.clone(),
                retries: probe.retries,
                retry_after: probe.retry_after,
            };
            (task, of_probe, of_target)
        })
    })
    .collect()
}
