//! Runs work that may never return. For example, a system call on a file system whose server is away blocks and
//! cannot be cancelled. The work runs in a thread of its own, which is abandoned at the time limit. The same work is
//! not started again before the abandoned thread has returned.

use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use super::attempt::Bound;
use super::outcome::Failure;

static AT_WORK: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn at_work() -> MutexGuard<'static, BTreeSet<String>> {
    AT_WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the work from the list when it is dropped, even after a panic.
struct Listed(String);

impl Drop for Listed {
    fn drop(&mut self) {
        at_work().remove(&self.0);
    }
}

/// Runs `work` for the target `key` and waits for it until `bound`.
pub(crate) fn aside<T: Send + 'static>(
    key: &str,
    bound: &Bound,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let left = bound.left().map_err(|_| bound.timeout())?;
    if !at_work().insert(key.to_owned()) {
        return Err(Failure::critical("the system has not answered an earlier run yet"));
    }
    let listed = Listed(key.to_owned());
    let (sender, receiver) = sync_channel(1);
    thread::Builder::new()
        .name("aside".to_owned())
        .spawn(move || {
            let done = work();
            drop(listed);
            // The receiver is gone if the time limit has passed.
            let _ = sender.send(done);
        })
        .map_err(|error| Failure::unknown(format!("cannot start a thread: {error}")))?;
    receiver.recv_timeout(left).map_err(|error| match error {
        RecvTimeoutError::Timeout => bound.timeout(),
        RecvTimeoutError::Disconnected => {
            Failure::unknown("the check itself failed: a bug in innkeeper-agent")
        }
    })?
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use chrono::DateTime;

    use super::*;
    use crate::probe::attempt::ProbeAttempt;

    #[test]
    fn what_never_comes_back_holds_nobody_up_and_is_not_begun_twice() {
        let bound = |limit| {
            ProbeAttempt::new(String::new(), DateTime::UNIX_EPOCH, Duration::from_millis(limit)).whole()
        };
        let (release, held) = channel::<()>();
        let hangs = move || {
            let _ = held.recv();
            Ok(1)
        };
        let said = aside("/hangs", &bound(100), hangs).unwrap_err().what;
        assert_eq!(said, "timed out after 100ms");
        let said = aside("/hangs", &bound(60_000), || Ok(2)).unwrap_err().what;
        assert_eq!(said, "the system has not answered an earlier run yet");
        assert_eq!(aside("/other", &bound(60_000), || Ok(3)), Ok(3));
        drop(release);
        while at_work().contains("/hangs") {
            thread::yield_now();
        }
        assert_eq!(aside("/hangs", &bound(60_000), || Ok(4)), Ok(4));
    }

    #[test]
    fn what_panics_is_known_no_longer() {
        let bound = ProbeAttempt::new(String::new(), DateTime::UNIX_EPOCH, Duration::from_secs(60)).whole();
        let failed = aside("/panics", &bound, || -> Result<(), Failure> { panic!("in a test") });
        assert!(failed.unwrap_err().what.contains("the check itself failed"));
        assert!(!at_work().contains("/panics"));
    }
}
