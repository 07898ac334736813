//! Runs the programs that a probe starts, within a time limit, and captures their output and exit status.
//!
//! A program runs in a process group of its own. At the limit the group gets TERM, and KILL two seconds later.
//! Background processes that a program leaves behind when it ends by itself are not killed.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};

use super::aside::aside;
use super::attempt::{ProbeAttempt, plain_error};
use super::network::wait_for;
use super::outcome::Failure;

/// Time between TERM and KILL.
const KILL_AFTER: Duration = Duration::from_secs(2);
/// Longest time that a run may last beyond its limit.
pub(crate) const OVERTIME: Duration = Duration::from_secs(3);
/// Longest time for which output is read after the program has ended.
const REST: Duration = Duration::from_millis(500);
/// After the program has ended, reading stops if there was no output for this long, because a background process may
/// still hold the pipe.
const QUIET: Duration = Duration::from_millis(200);
/// Polling interval for the end of the program on systems that cannot report it.
const LOOK: Duration = Duration::from_millis(20);
/// Default PATH for the programs, if the agent has none, for example when cron's `@reboot` started it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgramEnd {
    /// It exited with this status.
    Exit(i32),
    /// This signal ended it.
    Signal(i32),
    /// The agent ended it at its limit.
    TimedOut,
    /// Even KILL has not ended it yet, because it waits in a system call.
    Stuck,
}

/// Captured output, up to a limit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Captured {
    pub bytes: Vec<u8>,
    /// Total length of the output in bytes, including what was not kept.
    pub length: usize,
}

impl Captured {
    fn push(&mut self, bytes: &[u8], most: usize) {
        self.length += bytes.len();
        let room = most.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..room]);
    }

    /// The output as text, with a note if it was cut.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).replace('\0', "\u{fffd}");
        if self.length > self.bytes.len() {
            // The cut may have split a character.
            let whole = text.trim_end_matches('\u{fffd}').len();
            text.truncate(whole);
            text.push_str(&format!("\n[... {} bytes left out ...]\n", self.length - self.bytes.len()));
        }
        text
    }
}

/// The result of a program.
#[derive(Debug)]
pub(crate) struct FinishedProgram {
    pub ended: ProgramEnd,
    pub stdout: Captured,
    pub stderr: Captured,
}

/// Runs `command`, called `name`, until it ends or the attempt's limit has passed. Keeps `most` bytes of each output
/// stream.
///
/// The program gets no input and none of the agent's variables (`INNKEEPER_…`), which may contain tokens.
pub(crate) fn run(
    mut command: Command,
    name: &str,
    most: usize,
    attempt: &ProbeAttempt,
) -> Result<FinishedProgram, Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command.env("LC_ALL", "C");
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"INNKEEPER_") {
            command.env_remove(name);
        }
    }
    if std::env::var_os("PATH").is_none() {
        command.env("PATH", PATH);
    }
    let (name, limit) = (name.to_owned(), attempt.whole().at);
    // Starting may block, too, if the program or its directory lies on a file system that does not answer.
    aside(&attempt.key, &attempt.whole().later(OVERTIME), move || {
        let child = command
            .spawn()
            .map_err(|error| Failure::unknown(format!("cannot run {name}: {}", plain_error(&error))))?;
        Ok(Running::new(child, most).finish(limit))
    })
}

struct Running {
    child: Child,
    group: Option<Pid>,
    /// A descriptor that reports the end of the process; none if the system does not support that.
    ended: Option<OwnedFd>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    finished: FinishedProgram,
    most: usize,
}

impl Running {
    fn new(mut child: Child, most: usize) -> Self {
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or_default());
        let ended = group.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let finished = FinishedProgram {
            ended: ProgramEnd::Stuck,
            stdout: Captured::default(),
            stderr: Captured::default(),
        };
        Self { child, group, ended, stdout, stderr, finished, most }
    }

    fn finish(mut self, limit: Instant) -> FinishedProgram {
        let in_time = self.read_until_end(limit);
        if !in_time {
            self.signal(Signal::TERM);
            self.read_until_end(Instant::now() + KILL_AFTER);
            // KILL also ends the rest of the group, even if its first process obeyed TERM.
            self.signal(Signal::KILL);
            self.read_until_end(Instant::now() + QUIET);
        }
        self.read_the_rest();
        self.finished.ended = match (in_time, self.has_ended()) {
            (_, false) => ProgramEnd::Stuck,
            (false, true) => ProgramEnd::TimedOut,
            (true, true) => ProgramEnd::Exit(0),
        };
        self.reap(in_time);
        self.finished
    }

    /// Reaps the process. If it is stuck, a thread waits for it.
    fn reap(&mut self, in_time: bool) {
        use std::os::unix::process::ExitStatusExt as _;
        if self.finished.ended == ProgramEnd::Stuck {
            let pid = self.group;
            std::thread::spawn(move || pid.map(|pid| waitid(WaitId::Pid(pid), WaitIdOptions::EXITED)));
            return;
        }
        if let (Ok(status), true) = (self.child.wait(), in_time) {
            let signal = status.signal().map_or(ProgramEnd::Stuck, ProgramEnd::Signal);
            self.finished.ended = status.code().map_or(signal, ProgramEnd::Exit);
        }
    }

    fn signal(&self, signal: Signal) {
        // The process is not reaped yet, so its group id cannot be reused.
        if let Some(group) = self.group {
            let _ = kill_process_group(group, signal);
        }
    }

    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.group.is_none_or(|pid| !matches!(waitid(WaitId::Pid(pid), options), Ok(None)))
    }

    /// Reads output until the process has ended or `limit` has passed. Returns whether it has ended.
    fn read_until_end(&mut self, limit: Instant) -> bool {
        loop {
            if self.has_ended() {
                return true;
            }
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.read_for(if self.ended.is_some() { left } else { left.min(LOOK) }, true);
        }
    }

    /// Reads the remaining output, until there is none for some time or the last writer has closed the pipe.
    fn read_the_rest(&mut self) {
        let until = Instant::now() + REST;
        while (self.stdout.is_some() || self.stderr.is_some()) && Instant::now() < until {
            if !self.read_for(QUIET, false) {
                return;
            }
        }
    }

    /// Waits for output or for the end, and reads the output. Returns whether there was any.
    fn read_for(&mut self, wait: Duration, until_end: bool) -> bool {
        let mut fds = Vec::new();
        let outputs = [self.stdout.as_ref().map(AsFd::as_fd), self.stderr.as_ref().map(AsFd::as_fd)];
        let end = self.ended.as_ref().filter(|_| until_end).map(AsFd::as_fd);
        let readable = PollFlags::IN;
        fds.extend(
            outputs.into_iter().chain([end]).flatten().map(|fd| PollFd::from_borrowed_fd(fd, readable)),
        );
        if wait_for(&mut fds, wait).is_err() {
            return false;
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>().into_iter();
        let from_stdout = self.stdout.is_some() && ready.next().unwrap_or_default();
        let from_stderr = self.stderr.is_some() && ready.next().unwrap_or_default();
        if from_stdout {
            read_some(&mut self.stdout, &mut self.finished.stdout, self.most);
        }
        if from_stderr {
            read_some(&mut self.stderr, &mut self.finished.stderr, self.most);
        }
        from_stdout || from_stderr
    }
}

fn read_some(from: &mut Option<impl Read>, into: &mut Captured, most: usize) {
    let mut buffer = [0; 16 * 1024];
    let read = from.as_mut().map(|pipe| pipe.read(&mut buffer));
    match read {
        Some(Ok(length @ 1..)) => into.push(&buffer[..length], most),
        Some(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => {}
        _ => *from = None,
    }
}
