//! Signals that come to the agent, with who sent them; and their names.

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

/// The last one.
const LAST: i32 = 64;

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Came {
    /// Its number.
    pub signal: i32,
    /// Whether a process sent it; else it is from the kernel, on behalf of a terminal.
    pub by_process: bool,
}

impl Came {
    /// Whether it asks to stop for a while.
    pub fn is_stop(self) -> bool {
        self.signal == SIGTSTP
    }

    /// Whether it asks to go on.
    pub fn is_continue(self) -> bool {
        self.signal == SIGCONT
    }
}

/// What catches them.
#[derive(Debug)]
pub struct Signals {
    delivery: SignalDelivery<UnixStream, WithOrigin>,
}

impl Signals {
    /// Catches all signals that can be caught, but for those that came ignored (as `nohup` has it for HUP): these stay
    /// ignored, here and in the job.
    ///
    /// # Errors
    /// There are no descriptors for it.
    pub fn catch() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        let delivery = SignalDelivery::with_pipe(read, write, WithOrigin::default(), [SIGCHLD])?;
        let ignored = ignored();
        let handle = delivery.handle();
        for signal in (1..=LAST).filter(|signal| is_caught(*signal) && !ignored.contains(signal)) {
            // The C library keeps some for itself.
            let _ = handle.add_signal(signal);
        }
        Ok(Self { delivery })
    }

    /// What becomes readable when one comes.
    pub fn waiting(&self) -> &UnixStream {
        self.delivery.get_read()
    }

    /// Those that came since the last time, children's ends left out.
    pub fn take(&mut self) -> Vec<Came> {
        let came = self.delivery.pending().map(|origin| {
            // Only a terminal and a limit of the system send these without a sender.
            let by_process = !matches!(origin.cause, Cause::Kernel);
            Came { signal: origin.signal, by_process }
        });
        came.filter(|came| came.signal != SIGCHLD).collect()
    }
}

/// A limit on the size of files is one of the agent's, too: writing fails then, and does not end it.
pub fn survive_limits() {
    // It fails where it cannot be caught, and then the limit is what it was.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
}

/// Whether a signal is passed on.
fn is_caught(signal: i32) -> bool {
    let faults = [SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGTRAP, SIGSYS, SIGABRT];
    let others = [SIGKILL, SIGSTOP, SIGCHLD, SIGPIPE, SIGXFSZ];
    // A process that stops by these two stops at once: caught, its access to the terminal would be tried for ever.
    let others = [others.as_slice(), &[SIGTTIN, SIGTTOU]].concat();
    // 32 and 33 are the C library's.
    !faults.contains(&signal) && !others.contains(&signal) && !matches!(signal, 32 | 33)
}

/// The signals that this process was started with as ignored.
fn ignored() -> HashSet<i32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    match ignored_signals(&status) {
        Some(mask) => (1..=LAST).filter(|signal| mask >> (signal - 1) & 1 == 1).collect(),
        // Not told: what a shell may have set is left as it is.
        None => HashSet::from([SIGHUP, SIGINT, SIGQUIT]),
    }
}

/// `SIGTERM`, `SIGRTMIN+3`.
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
