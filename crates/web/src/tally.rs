//! How many reservations are in each state.
//!
//! What state a reservation is in is not a column, so all of them are loaded. That is done beside the pages, by a thread that is started when
//! somebody looks and what is known is old; a page shows what is known. It reads some at a time, and holds nothing but the counts.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use innkeeper_core::Clock;
use innkeeper_core::sla::State;
use innkeeper_store::{Store, StoreError};
use parking_lot::{Condvar, Mutex, MutexGuard};

/// Reservations that are read at a time.
const STEP: i64 = 1000;
/// How long a tally holds, at least.
const HOLDS: Duration = Duration::from_secs(5);
/// And so many times as long as it took, so that counting is a small part of what a machine does.
const HOLDS_TIMES: u32 = 20;
/// How long a page waits for a tally that may be there in a moment. A tally that takes longer rests between its steps.
const MOMENT: Duration = Duration::from_millis(100);

/// The latest tally, and the thread that makes the next.
pub struct Tally {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    progress: Mutex<Progress>,
    done: Condvar,
    stop: AtomicBool,
}

#[derive(Default)]
struct Progress {
    latest: Option<Arc<Tallied>>,
    /// Since when a thread counts, while one does.
    going: Option<Instant>,
}

/// How many there were at a time.
#[derive(Debug)]
pub struct Tallied {
    /// All.
    pub total: i64,
    by_state: HashMap<State, i64>,
    begun: Instant,
    took: Duration,
}

impl Tallied {
    /// How many were in this state.
    pub fn of(&self, state: State) -> i64 {
        self.by_state.get(&state).copied().unwrap_or_default()
    }

    /// How long ago it was.
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    fn is_old(&self) -> bool {
        self.age() > HOLDS.max(self.took * HOLDS_TIMES)
    }
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock()
    }
}

impl Tally {
    /// Nothing is counted before somebody looks.
    pub fn new() -> Self {
        Self { shared: Arc::default() }
    }

    /// What is known. Where that is old or nothing, it is counted anew, and waited for as long as it may be a moment. This blocks for the moment.
    pub fn look(&self, store: &Store, clock: &Arc<dyn Clock>) -> Option<Arc<Tallied>> {
        let mut progress = self.shared.progress();
        if progress.latest.as_ref().is_none_or(|latest| latest.is_old()) && progress.going.is_none() {
            progress.going = self.start(store.clone(), Arc::clone(clock)).then(Instant::now);
        }
        let is_worth_it =
            progress.latest.as_ref().is_none_or(|latest| latest.is_old() && latest.took < MOMENT);
        let left = progress.going.and_then(|begun| MOMENT.checked_sub(begun.elapsed()));
        if let Some(left) = left.filter(|_| is_worth_it) {
            self.shared.done.wait_while_for(&mut progress, |progress| progress.going.is_some(), left);
        }
        progress.latest.clone()
    }

    /// Whether a thread counts now. It is never waited for: a process that ends takes it along.
    fn start(&self, store: Store, clock: Arc<dyn Clock>) -> bool {
        let shared = Arc::clone(&self.shared);
        let count = move || {
            // However it ends, also by a panic, the next look can count again.
            let _going = Going(&shared);
            match count(&store, &*clock, &shared.stop) {
                Ok(Some(counted)) => shared.progress().latest = Some(Arc::new(counted)),
                Ok(None) => {}
                Err(error) => log::debug!("reservations were not counted: {error}"),
            }
        };
        let started = std::thread::Builder::new().name("tally".to_owned()).spawn(count);
        if let Err(error) = &started {
            log::warn!("reservations are not counted: {error}");
        }
        started.is_ok()
    }
}

/// A thread that counts, until it is dropped.
struct Going<'s>(&'s Shared);

impl Drop for Going<'_> {
    fn drop(&mut self) {
        self.0.progress().going = None;
        self.0.done.notify_all();
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// One walk through all of them. None where it was stopped.
fn count(store: &Store, clock: &dyn Clock, stop: &AtomicBool) -> Result<Option<Tallied>, StoreError> {
    let begun = Instant::now();
    let (mut total, mut by_state, mut after) = (0, HashMap::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let step = Instant::now();
        let now = clock.now();
        let walked = store.walk(after, STEP, now)?;
        for one in &walked.listed {
            *by_state.entry(one.evaluation.state).or_default() += 1;
            total += 1;
        }
        match walked.next {
            Some(next) => after = next,
            None => return Ok(Some(Tallied { total, by_state, begun, took: begun.elapsed() })),
        }
        if begun.elapsed() > MOMENT {
            std::thread::sleep(step.elapsed());
        }
    }
    Ok(None)
}
