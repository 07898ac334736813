//! Stopping a process, and sleeping in a way that a stop interrupts.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use innkeeper_core::process_stat::ignored_signals;
use innkeeper_logging as logging;
use parking_lot::{Condvar, Mutex, MutexGuard};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

/// The longest duration of a stop. Service managers kill after 30 s (Kubernetes) or later.
pub const STOP_WITHIN: Duration = Duration::from_secs(25);
/// How long an immediate end waits for the log to be written.
const LAST_WORDS: Duration = Duration::from_millis(100);

type Callback = Box<dyn FnOnce() + Send>;

/// The stop request: made once, by a signal or by a thread that died, and seen by all clones.
#[derive(Clone, Default)]
pub struct Shutdown(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requested: bool,
    /// SIGHUP was received and is not handled yet.
    reload: bool,
    callbacks: Vec<Callback>,
}

impl Shutdown {
    /// A stop request without signal handlers; see [`Shutdown::on_signals`].
    pub fn new() -> Self {
        Self::default()
    }

    /// A stop request that is made by SIGTERM, SIGINT, and SIGHUP (sent when a terminal closes) unless that is ignored
    /// (`nohup`). Even if a disk, a database or a provider hangs, the process then ends within [`STOP_WITHIN`]. A
    /// second signal ends the process at once, with exit code 128 plus its number.
    ///
    /// # Errors
    /// When the signals cannot be caught.
    pub fn on_signals() -> io::Result<Self> {
        let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
        Self::catching(&[SIGTERM, SIGINT].into_iter().chain(hangup).collect::<Vec<_>>(), None)
    }

    /// Like [`Self::on_signals`], for a process that SIGHUP does not end: see [`Shutdown::on_reload`].
    ///
    /// # Errors
    /// When the signals cannot be caught.
    pub fn on_signals_of_a_service() -> io::Result<Self> {
        Self::catching(&[SIGTERM, SIGINT, SIGHUP], Some(SIGHUP))
    }

    fn catching(wanted: &[i32], reload: Option<i32>) -> io::Result<Self> {
        let shutdown = Self::new();
        let mut signals = Signals::new(wanted)?;
        let requested = shutdown.clone();
        let stopping = shutdown.clone();
        // The thread is started now, because it might not be possible at the stop.
        thread::Builder::new().name("stop".to_owned()).spawn(move || {
            stopping.wait();
            end_at_the_bound();
        })?;
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                if Some(signal) == reload {
                    requested.state().reload = true;
                    requested.0.changed.notify_all();
                    continue;
                }
                let name = low_level::signal_name(signal).unwrap_or("a signal");
                if requested.is_requested() {
                    log::warn!("{name} again: ending at once");
                    logging::flush(LAST_WORDS);
                    low_level::exit(128 + signal);
                }
                log::info!("{name}: stopping");
                requested.request();
            }
        })?;
        Ok(shutdown)
    }

    /// Requests the stop. The first call runs the callbacks of [`Shutdown::on_request`]; further calls do nothing.
    pub fn request(&self) {
        let callbacks = {
            let mut state = self.state();
            state.requested = true;
            std::mem::take(&mut state.callbacks)
        };
        self.0.changed.notify_all();
        for callback in callbacks {
            callback();
        }
    }

    /// Runs `reload` on its own thread after each SIGHUP, including one received before this call.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn on_reload(&self, reload: impl Fn() + Send + 'static) -> io::Result<()> {
        let shutdown = self.clone();
        let work = move || {
            loop {
                let mut state = shutdown.state();
                shutdown.0.changed.wait_while(&mut state, |state| !state.reload && !state.requested);
                if state.requested {
                    return;
                }
                state.reload = false;
                drop(state);
                reload();
            }
        };
        thread::Builder::new().name("reload".to_owned()).spawn(work).map(drop)
    }

    /// Whether the stop has been requested.
    pub fn is_requested(&self) -> bool {
        self.state().requested
    }

    /// Blocks until the stop is requested.
    pub fn wait(&self) {
        self.0.changed.wait_while(&mut self.state(), |state| !state.requested);
    }

    /// Blocks until the stop is requested (true) or `timeout` has passed (false).
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let mut state = self.state();
        self.0.changed.wait_while_for(&mut state, |state| !state.requested, timeout);
        state.requested
    }

    /// Runs `callback` when the stop is requested, on the requesting thread; at once if it has been requested already.
    pub fn on_request(&self, callback: impl FnOnce() + Send + 'static) {
        {
            let mut state = self.state();
            if !state.requested {
                state.callbacks.push(Box::new(callback));
                return;
            }
        }
        callback();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }
}

impl std::fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shutdown").field("requested", &self.is_requested()).finish()
    }
}

/// Whether the process was started with this signal ignored. False if the system does not tell.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored_signals(&status).unwrap_or(0) >> (signal - 1) & 1 == 1
}

/// Waits for [`STOP_WITHIN`] and ends the process, because a thread that is still running then hangs. No thread is
/// joined and no exit handler runs, because these could hang too.
fn end_at_the_bound() {
    thread::sleep(STOP_WITHIN);
    log::error!(
        "the stop has taken {} s, so something hangs: ending without it. Messages that were being sent are sent again under the same key",
        STOP_WITHIN.as_secs()
    );
    logging::flush(LAST_WORDS);
    low_level::exit(1);
}

/// The sleep of a loop between two passes: it ends early when there is work or the process stops.
#[derive(Clone)]
pub struct Wake(Arc<Sleeper>);

struct Sleeper {
    rung: Mutex<bool>,
    changed: Condvar,
    shutdown: Shutdown,
}

impl Wake {
    /// A wake that the stop of `shutdown` triggers too.
    pub fn new(shutdown: &Shutdown) -> Self {
        let wake = Self(Arc::new(Sleeper {
            rung: Mutex::new(false),
            changed: Condvar::new(),
            shutdown: shutdown.clone(),
        }));
        let at_stop = Arc::downgrade(&wake.0);
        shutdown.on_request(move || {
            if let Some(sleeper) = at_stop.upgrade() {
                Self(sleeper).wake();
            }
        });
        wake
    }

    /// Wakes one sleeper, or ends the next sleep at once if nobody sleeps: no call is lost.
    pub fn wake(&self) {
        *self.0.rung.lock() = true;
        self.0.changed.notify_all();
    }

    /// Sleeps until woken, until `timeout` has passed, or until the process stops (then it returns at once each time).
    /// Returns false when the process stops.
    pub fn sleep(&self, timeout: Duration) -> bool {
        let end = Instant::now().checked_add(timeout);
        let mut rung = self.0.rung.lock();
        while !*rung && !self.0.shutdown.is_requested() {
            let left =
                end.map_or(Duration::from_secs(3600), |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            self.0.changed.wait_for(&mut rung, left);
        }
        *rung = false;
        drop(rung);
        !self.0.shutdown.is_requested()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_request_is_seen_by_every_clone_and_runs_callbacks_once() {
        let shutdown = Shutdown::new();
        let calls = Arc::new(AtomicUsize::new(0));
        let count = |calls: &Arc<AtomicUsize>| {
            let calls = calls.clone();
            move || {
                calls.fetch_add(1, Ordering::SeqCst);
            }
        };
        shutdown.on_request(count(&calls));
        assert!(!shutdown.wait_timeout(Duration::ZERO));
        let waiter = thread::spawn({
            let shutdown = shutdown.clone();
            move || shutdown.wait_timeout(LONG)
        });
        shutdown.clone().request();
        shutdown.request();
        assert!(waiter.join().unwrap());
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        shutdown.on_request(count(&calls));
        assert_eq!(calls.load(Ordering::SeqCst), 2, "after the request it runs at once");
        shutdown.wait();
    }

    #[test]
    fn a_sleeper_hears_the_bell_even_if_it_rang_before() {
        let shutdown = Shutdown::new();
        let wake = Wake::new(&shutdown);
        wake.wake();
        assert!(wake.sleep(LONG));
        let sleeper = thread::spawn({
            let wake = wake.clone();
            move || wake.sleep(LONG)
        });
        wake.wake();
        assert!(sleeper.join().unwrap());
        assert!(wake.sleep(Duration::from_millis(1)), "the time passed, and there is work to look for");
    }

    #[test]
    fn a_stop_ends_every_sleep() {
        let shutdown = Shutdown::new();
        let wake = Wake::new(&shutdown);
        let sleepers: Vec<_> = (0..3)
            .map(|_| {
                let wake = wake.clone();
                thread::spawn(move || wake.sleep(LONG))
            })
            .collect();
        shutdown.request();
        for sleeper in sleepers {
            assert!(!sleeper.join().unwrap());
        }
        assert!(!wake.sleep(LONG));
    }
}
