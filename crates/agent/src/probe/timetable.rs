//! Which target runs when. Pure: times come in, what is to be done goes out; who runs it is another matter.
//!
//! A target never runs twice at once. Different ones run in parallel, as many as [`Slots`] allow; who waits
//! longest is next. A run that failed is repeated before it is reported. Instants that pass while a target
//! runs or waits are left out, and counted: they are never made up for.

use std::collections::HashMap;
use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::{Time, duration};

use super::config::Probes;
use super::timing::{Slots, first_due, next_due};

/// What is to be run again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// What it is known by: the same after a reload.
    pub key: String,
    /// Whose turn it takes of [`Slots::per_host`]; empty for nobody's.
    pub host: String,
    /// When it is due.
    pub schedule: Schedule,
    /// How often a run that failed is repeated.
    pub retries: u32,
    /// The pause before a repeat.
    pub retry_after: Duration,
}

/// A run that is to begin now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Which task: its place in the list that was given.
    pub task: usize,
    /// Which try of it: 1 for the first.
    pub attempt: u32,
    /// When it was due.
    pub due: Time,
    /// How many instants were left out since its last run, because it ran or waited too long.
    pub missed: u32,
}

/// What to do with the outcome of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It counts: report it.
    Report,
    /// It does not count yet: the run is repeated, not before that time.
    Retry(Time),
    /// The task is gone from the configuration: nobody wants to hear it.
    Drop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Due at that time; none where no instant is left.
    Waits(Option<Time>),
    /// To be repeated.
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

/// Which target runs when.
#[derive(Debug, Clone)]
pub struct Timetable {
    entries: Vec<ScheduledProbe>,
    slots: Slots,
    /// Runs of tasks that have gone from the configuration, by key, with their hosts: they hold their places
    /// until they are over.
    gone: HashMap<String, String>,
    /// Each task runs once and no more.
    is_once: bool,
}

impl Timetable {
    /// A timetable that starts at `now`.
    pub fn new(tasks: Vec<Task>, slots: Slots, now: Time) -> Self {
        let mut table = Self { entries: Vec::new(), slots, gone: HashMap::new(), is_once: false };
        table.replace(tasks, slots, now);
        table
    }

    /// A timetable of which all is due at `now`, and nothing afterwards.
    pub fn once(tasks: Vec<Task>, slots: Slots, now: Time) -> Self {
        let due = |task| ScheduledProbe { task, state: State::Waits(Some(now)) };
        let entries = tasks.into_iter().map(due).collect();
        Self { entries, slots, gone: HashMap::new(), is_once: true }
    }

    /// Nothing is started any more; what runs now runs to its end, and counts as it is.
    pub fn stop(&mut self) {
        self.is_once = true;
        for entry in &mut self.entries {
            entry.task.retries = 0;
            if !matches!(entry.state, State::Runs { .. }) {
                entry.state = State::Waits(None);
            }
        }
    }

    /// Whether nothing runs and nothing is due any more.
    pub fn is_done(&self) -> bool {
        self.gone.is_empty() && self.entries.iter().all(|entry| entry.state == State::Waits(None))
    }

    /// Takes other tasks, after a reload. Those that were there go on as they are, also where they run now; a
    /// changed schedule counts from now on.
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

    /// The tasks.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.entries.iter().map(|entry| &entry.task)
    }

    /// When there may be something to start: the earliest time at which one that waits is due. None where
    /// none waits. One that is due and has no place yet waits for [`Self::finished`], not for a time.
    pub fn next_wake(&self, now: Time) -> Option<Time> {
        self.entries.iter().filter_map(|entry| due_at(entry.state)).filter(|due| *due > now).min()
    }

    /// The runs that begin at `now`, those that have waited longest first. Each holds its place until
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

    /// Notes that the run of the task `key` is over; `failed` says whether it counts as a failure.
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
        // Counted from when it was due, so that instants that have passed meanwhile are seen to be left out.
        let next = if self.is_once { None } else { next_due(&task.schedule, &task.key, due) };
        entry.state = State::Waits(next);
        After::Report
    }

    /// The wall clock was set: what is due later than its next instant (the clock went back) is due at that
    /// again.
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

    /// How many run now.
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
    /// Begins its run at `now`.
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

    /// The latest instant from `due` to `now`, and how many are left out before it.
    fn latest(&self, due: Time, now: Time) -> (Time, u32) {
        let Task { schedule, key, .. } = &self.task;
        if let Schedule::Every(period) = schedule {
            // Computed: after a long sleep there may be millions.
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

/// The tasks of a configuration, each with the place of its probe and of its target there.
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
