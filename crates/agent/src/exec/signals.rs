//! Signals that the agent receives, with their origin and their names.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use innkeeper_core::process_stat::ignored_signals;
use signal_hook::consts::signal::{
    SIGABRT, SIGBUS, SIGCHLD, SIGCONT, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGKILL, SIGPIPE, SIGQUIT, SIGSEGV,
    SIGSTOP, SIGSYS, SIGTRAP, SIGTSTP, SIGTTIN, SIGTTOU, SIGXFSZ,
};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::siginfo::Cause;

/// The highest signal number.
const LAST: i32 = 64;

/// A received signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceivedSignal {
    /// Number of the signal.
    pub signal: i32,
    /// Whether a process sent it. Otherwise the kernel did, on behalf of a terminal.
    pub by_process: bool,
}

impl ReceivedSignal {
    /// Whether the signal asks the process to stop (Ctrl-Z).
    pub fn is_stop(self) -> bool {
        self.signal == SIGTSTP
    }

    /// Whether the signal asks a stopped process to continue.
    pub fn is_continue(self) -> bool {
        self.signal == SIGCONT
    }
}

/// The handlers of the caught signals.
#[derive(Debug)]
pub struct Signals {
    delivery: SignalDelivery<UnixStream, WithOrigin>,
}

impl Signals {
    /// Catches every signal that can be caught, except those that were ignored at the start (`nohup` ignores HUP).
    /// These stay ignored, here and in the job.
    ///
    /// # Errors
    /// There are no free descriptors.
    pub fn catch() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        let delivery = SignalDelivery::with_pipe(read, write, WithOrigin::default(), [SIGCHLD])?;
        let ignored = ignored();
        let handle = delivery.handle();
        for signal in (1..=LAST).filter(|signal| is_caught(*signal) && !ignored.contains(signal)) {
            // Some signals are reserved by the C library, and registering them fails.
            let _ = handle.add_signal(signal);
        }
        Ok(Self { delivery })
    }

    /// A socket that becomes readable when a signal arrives.
    pub fn waiting(&self) -> &UnixStream {
        self.delivery.get_read()
    }

    /// The signals since the last call, without SIGCHLD.
    pub fn take(&mut self) -> Vec<ReceivedSignal> {
        let came = self.delivery.pending().map(|origin| {
            // Only a terminal or a resource limit sends these signals without a sender.
            let by_process = !matches!(origin.cause, Cause::Kernel);
            ReceivedSignal { signal: origin.signal, by_process }
        });
        came.filter(|came| came.signal != SIGCHLD).collect()
    }
}

/// Catches SIGXFSZ, so that a limit on the size of files makes the agent's writes fail instead of ending it.
pub fn survive_limits() {
    // If the signal cannot be caught, it keeps its default effect.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
}

/// Whether a signal is caught and passed on.
fn is_caught(signal: i32) -> bool {
    let faults = [SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGTRAP, SIGSYS, SIGABRT];
    let others = [SIGKILL, SIGSTOP, SIGCHLD, SIGPIPE, SIGXFSZ];
    // A process that gets one of these two stops at once. If it caught the signal, it would retry its access to the
    // terminal for ever.
    let others = [others.as_slice(), &[SIGTTIN, SIGTTOU]].concat();
    // The C library uses 32 and 33 itself.
    !faults.contains(&signal) && !others.contains(&signal) && !matches!(signal, 32 | 33)
}

/// The signals that were ignored when this process started.
fn ignored() -> HashSet<i32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    match ignored_signals(&status) {
        Some(mask) => (1..=LAST).filter(|signal| mask >> (signal - 1) & 1 == 1).collect(),
        // The system does not tell: leave those ignored that a shell may have set so.
        None => HashSet::from([SIGHUP, SIGINT, SIGQUIT]),
    }
}

/// The name of a signal, such as `SIGTERM` or `SIGRTMIN+3`.
pub fn name(signal: i32) -> Cow<'static, str> {
    match signal_hook::low_level::signal_name(signal) {
        Some(name) => Cow::Borrowed(name),
        None if signal >= 34 => Cow::Owned(format!("SIGRTMIN+{}", signal - 34)),
        None => Cow::Owned(format!("signal {signal}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_signals() {
        assert_eq!(name(15), "SIGTERM");
        assert_eq!(name(9), "SIGKILL");
        assert_eq!(name(37), "SIGRTMIN+3");
        assert_eq!(name(11), "SIGSEGV");
    }
}
