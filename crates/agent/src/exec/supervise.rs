//! Watches the running job: passes on signals, reaps orphans, ends a run that takes too long, and waits for the end.

use std::collections::HashSet;
use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use innkeeper_core::process_stat::ProcessStat;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::wait::{Id, WaitPidFlag};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, kill_process, kill_process_group, wait, waitid,
    waitpid,
};

use super::phase::Phase;
use super::signals::{ReceivedSignal, Signals};
use super::timer::{JobTimer, ms, timespec};
use super::tree;
use crate::clock;

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatus {
    /// The job exited with this status.
    Exited(u8),
    /// This signal ended the job.
    Signalled(i32),
}

impl JobStatus {
    /// The exit status as shells report it; for a signal this is 128 plus its number.
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signalled(signal) => u8::try_from(128 + signal).unwrap_or(255),
        }
    }
}

/// The limit from `--max-run`.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Longest run time. It includes the time that the machine slept or the job was stopped.
    pub after: Duration,
    /// If set, the job is ended at the limit, with this time between TERM and KILL.
    pub kill_after: Option<Duration>,
}

/// The result of a run.
#[derive(Debug, Clone)]
pub struct JobEnd {
    /// How the job ended.
    pub status: JobStatus,
    /// Run time in milliseconds.
    pub duration_ms: u64,
    /// Peak memory of the largest of its processes, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Whether the agent ended the job because of the limit.
    pub was_ended: bool,
    /// Notes about the run for people.
    pub notes: Vec<String>,
}

/// Longest wait for the job's processes after KILL.
const AFTER_KILL: Duration = Duration::from_secs(5);
/// Polling interval for processes that are not children of the agent.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Supervises one job.
pub struct Supervisor {
    /// The job's main process.
    pub pid: Pid,
    /// Whether the job has a process group of its own. Otherwise it shares the agent's, and gets the terminal's
    /// signals directly.
    pub own_group: bool,
    /// Children of this process that existed before the job. They do not belong to it.
    pub strangers: HashSet<i32>,
    /// When the job was started, in milliseconds of the boot clock.
    pub begun_ms: u64,
    /// The limit of the run time.
    pub limit: Option<Limit>,
    /// The caught signals. Without it, signals have their default effect on the agent.
    pub signals: Option<Signals>,
}

struct State {
    phase: Phase,
    wants_stop: bool,
    is_stopped: bool,
    timer: Option<JobTimer>,
    notes: Vec<String>,
}

impl Supervisor {
    /// Waits for the end of the job. Calls `on_overrun` if the job exceeds its limit.
    pub fn run(mut self, mut on_overrun: impl FnMut()) -> JobEnd {
        let timer = JobTimer::new().ok();
        let mut state =
            State { phase: Phase::Running, wants_stop: false, is_stopped: false, timer, notes: Vec::new() };
        let mut ended: Option<(JobStatus, u64)> = None;
        loop {
            let came = self.signals.as_mut().map(Signals::take).unwrap_or_default();
            came.into_iter().for_each(|came| self.pass_on(came, &mut state));
            if ended.is_none() {
                ended = self.look().map(|status| (status, clock::boot_ms()));
            }
            if ended.is_none() {
                self.look_for_stop(&mut state);
            }
            if ended.is_none() || state.phase != Phase::Running {
                self.keep_limit(&mut state, &mut on_overrun);
            }
            if let Some((status, at)) = ended {
                let is_over = match state.phase {
                    Phase::Running | Phase::Told => true,
                    Phase::Terminating(_) => self.others().is_empty(),
                    Phase::Killed(until) => clock::boot_ms() >= until || self.others().is_empty(),
                };
                if is_over {
                    return self.end(status, at, state);
                }
            }
            self.wait(&state, ended.is_some());
        }
    }

    fn wait(&self, state: &State, has_ended: bool) {
        let over = self.limit.map(|limit| self.begun_ms + ms(limit.after));
        let next = state.phase.next(over, clock::boot_ms());
        let mut timeout = has_ended.then_some(LOOK_AGAIN);
        let mut fds = Vec::new();
        if let Some(signals) = &self.signals {
            fds.push(PollFd::new(signals.waiting(), PollFlags::IN));
        } else {
            timeout = Some(LOOK_AGAIN);
        }
        if let Some(at) = next {
            match &state.timer {
                Some(timer) if timer.set(at).is_ok() => fds.push(PollFd::new(timer, PollFlags::IN)),
                // Without a timer of the boot clock, poll: this clock stops while the machine sleeps.
                _ => {
                    let left = Duration::from_millis(at.saturating_sub(clock::boot_ms()));
                    let left = left.min(Duration::from_secs(10));
                    timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
                }
            }
        }
        let timeout = timeout.map(timespec);
        // The reason for waking does not matter, because the caller checks everything.
        let _ = poll(&mut fds, timeout.as_ref());
    }

    /// Passes a signal on, unless the terminal has sent it to the job as well.
    fn pass_on(&self, came: ReceivedSignal, state: &mut State) {
        if came.is_stop() {
            state.wants_stop = true;
        }
        if came.is_continue() {
            state.wants_stop = false;
            state.is_stopped = false;
        }
        if came.by_process || self.own_group {
            self.send(came.signal, &mut state.notes);
        }
    }

    fn send(&self, signal: i32, notes: &mut Vec<String>) {
        let Some(named) = Signal::from_named_raw(signal) else {
            return self.send_unnamed(signal);
        };
        let sent = match self.own_group {
            // The job's main process is not reaped before the end, so its group id cannot be reused.
            true => kill_process_group(self.pid, named).map_err(io::Error::from),
            false => self.send_each(named, |stat| stat.group == getpgrp()),
        };
        match sent {
            Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
                let note = format!("{} could not be passed on: {error}", super::signals::name(signal));
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
            // The processes have just ended.
            Ok(()) | Err(_) => {}
        }
    }

    /// Sends a real-time signal, for which the library has no name.
    fn send_unnamed(&self, signal: i32) {
        let target =
            if self.own_group { format!("-{}", self.pid.as_raw_nonzero()) } else { self.pid.to_string() };
        let script = format!("kill -{signal} {target}");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let _ = command.status();
    }

    /// Sends a signal to each of the job's processes that matches; to the main process alone if the system does not
    /// list them.
    fn send_each(&self, signal: Signal, fits: impl Fn(&ProcessStat) -> bool) -> io::Result<()> {
        let processes = tree::of_job(&self.strangers);
        if processes.is_empty() {
            return Ok(kill_process(self.pid, signal)?);
        }
        let mut result = Ok(());
        for (pid, stat) in processes.iter().filter(|(_, stat)| fits(stat)) {
            if let Err(error) = tree::send(*pid, stat, signal) {
                result = Err(error);
            }
        }
        result
    }

    /// Sends a signal to the whole job: its group, and processes that have left the group.
    fn end_all(&self, signal: Signal, notes: &mut Vec<String>) {
        let mut sent = match self.own_group {
            true => kill_process_group(self.pid, signal).map_err(io::Error::from),
            false => Ok(()),
        };
        let group = self.pid.as_raw_nonzero().get();
        let others = self.send_each(signal, |stat| !self.own_group || stat.group != group);
        if sent.is_ok() {
            sent = others;
        }
        if let Err(error) = sent
            && error.raw_os_error() == Some(Errno::PERM.raw_os_error())
        {
            notes.push(format!("some of its processes could not be ended: {error}"));
        }
    }

    fn keep_limit(&self, state: &mut State, on_overrun: &mut impl FnMut()) {
        let Some(limit) = self.limit else { return };
        let now = clock::boot_ms();
        match state.phase {
            Phase::Running if now >= self.begun_ms + ms(limit.after) => {
                on_overrun();
                state.phase = match limit.kill_after {
                    None => Phase::Told,
                    Some(kill_after) => {
                        self.end_all(Signal::TERM, &mut state.notes);
                        // A stopped process does not handle TERM until it continues.
                        self.end_all(Signal::CONT, &mut Vec::new());
                        Phase::Terminating(now + ms(kill_after))
                    }
                };
            }
            Phase::Terminating(at) if now >= at => {
                self.end_all(Signal::KILL, &mut state.notes);
                state.phase = Phase::Killed(now + ms(AFTER_KILL));
            }
            _ => {}
        }
    }

    /// Whether the job has ended. It is not reaped here, so that its process id stays reserved.
    fn look(&self) -> Option<JobStatus> {
        self.reap_orphans();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.pid), options) {
            Ok(Some(found)) => match (found.exit_status(), found.terminating_signal()) {
                (Some(code), _) => Some(JobStatus::Exited(u8::try_from(code & 0xff).unwrap_or(255))),
                (None, Some(signal)) => Some(JobStatus::Signalled(signal)),
                (None, None) => None,
            },
            Ok(None) | Err(Errno::INTR) => None,
            // Another part of the process has reaped it, so its status is unknown.
            Err(_) => Some(JobStatus::Exited(255)),
        }
    }

    /// Reaps children that were adopted from the job; never the job itself.
    fn reap_orphans(&self) {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let own = self.pid.as_raw_nonzero().get();
        loop {
            match nix::sys::wait::waitid(Id::All, flags).map(|found| found.pid()) {
                Ok(Some(pid)) if pid.as_raw() != own => {
                    if let Some(pid) = Pid::from_raw(pid.as_raw()) {
                        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
                    }
                }
                // Nothing to reap, the job itself, or a process ended by a signal without a name, which is reaped at
                // the end.
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// If the job was stopped by a signal that the agent got as well, the agent stops too, so that its parent
    /// notices.
    fn look_for_stop(&self, state: &mut State) {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        if let Ok(Some(found)) = waitid(WaitId::Pid(self.pid), options)
            && found.stopped()
        {
            state.is_stopped = true;
        }
        if state.is_stopped && (state.wants_stop || !self.own_group) {
            state.is_stopped = false;
            state.wants_stop = false;
            let _ = kill_process(getpid(), Signal::STOP);
        }
    }

    fn others(&self) -> Vec<(i32, ProcessStat)> {
        tree::of_job(&self.strangers)
    }

    fn end(self, status: JobStatus, at: u64, state: State) -> JobEnd {
        let _ = waitpid(Some(self.pid), WaitOptions::NOHANG);
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok();
        let peak = usage.and_then(|usage| u64::try_from(usage.max_rss()).ok()).map(|kib| kib * 1024);
        JobEnd {
            status,
            duration_ms: at.saturating_sub(self.begun_ms),
            peak_memory_bytes: peak,
            was_ended: matches!(state.phase, Phase::Terminating(_) | Phase::Killed(_)),
            notes: state.notes,
        }
    }
}

fn getpgrp() -> i32 {
    rustix::process::getpgrp().as_raw_nonzero().get()
}
