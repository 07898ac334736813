//! The progress of a duty's work. Each worker reports when an attempt begins and how it ends; the caller learns until
//! when all work is done, which is never later than the oldest pending item (`pending.rs`). An attempt that takes too
//! long counts as failing while it hangs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use innkeeper_store::StoreError;
use parking_lot::{Mutex, MutexGuard};

use super::pending::{Pending, Slices};

/// How long there may be no work before a probe checks that work could be done.
const RESTS: Duration = Duration::from_secs(15);
/// How soon a probe retries failed work, if nobody else does.
const AGAIN: Duration = Duration::from_secs(1);
/// The name of the worker that only probes.
pub const PROBE: &str = "probe";
/// The heartbeat as a worker: its commits show whether others can succeed. It is not work of the duty.
pub const HEARTBEAT: &str = "heartbeat";

/// The progress of a duty's work. Clones share it.
#[derive(Debug, Clone)]
pub struct Progress(Arc<Shared>);

/// The source of the time.
struct Watch(Box<dyn Fn() -> Instant + Send + Sync>);

#[derive(Debug)]
struct Shared {
    watch: Watch,
    slow: Duration,
    /// The pending work, if its producers report it.
    pending: Arc<Slices>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    started: Instant,
    workers: BTreeMap<Cow<'static, str>, Worker>,
    /// When the latest attempt that succeeded began.
    proved: Option<Instant>,
    /// When an attempt last began or ended.
    touched: Option<Instant>,
    probe_wanted: bool,
}

#[derive(Debug, Default)]
struct Worker {
    /// What is done since then is under way.
    under_way: Option<UnderWay>,
    /// When the previous attempt ended.
    ended: Option<Instant>,
    failing: Option<Failing>,
    /// Whether this worker retries the same work, so that the success of others does not end its failure.
    goes_on: bool,
}

#[derive(Debug, Clone, Copy)]
struct UnderWay {
    begun: Instant,
    /// When the oldest work of this attempt arrived.
    from: Instant,
}

/// A failure of the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// When it began.
    pub since: Instant,
    /// The cause.
    pub problem: String,
    /// Whether the operator is told of the cause separately.
    pub is_told: bool,
}

/// The state of the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkState {
    /// All work that had arrived by this time is done.
    pub until: Instant,
    /// When the latest attempt that succeeded began.
    pub proved: Option<Instant>,
    /// The present failure, if there is one.
    pub failing: Option<Failing>,
}

/// An attempt in progress. Dropping it reports no result.
#[derive(Debug)]
#[must_use = "an attempt ends well or badly"]
pub struct Attempt {
    progress: Progress,
    worker: Cow<'static, str>,
    begun: Instant,
}

impl Progress {
    /// The progress of work whose attempts take less than `slow`.
    pub fn new(slow: Duration) -> Self {
        Self::by(slow, Instant::now)
    }

    /// The same, with the given source of time.
    fn by(slow: Duration, now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        let started = now();
        let state =
            State { started, workers: BTreeMap::new(), proved: None, touched: None, probe_wanted: false };
        let pending = Arc::new(Slices::new(started));
        Self(Arc::new(Shared { watch: Watch(Box::new(now)), slow, pending, state: Mutex::new(state) }))
    }

    /// Adds pending work; dropping the returned value means that it is done.
    pub fn come(&self) -> Pending {
        self.0.pending.come(self.now())
    }

    /// Begins an attempt of this worker.
    pub fn begin(&self, worker: impl Into<Cow<'static, str>>) -> Attempt {
        self.begin_with(worker, None)
    }

    /// Begins an attempt of this worker at work whose oldest part arrived at `oldest`; `None` if it arrives only now.
    pub fn begin_with(&self, worker: impl Into<Cow<'static, str>>, oldest: Option<Instant>) -> Attempt {
        let worker = worker.into();
        let begun = self.now();
        let mut state = self.state();
        if worker != HEARTBEAT {
            state.touched = Some(begun);
        }
        let known = state.workers.entry(worker.clone()).or_default();
        known.under_way = Some(UnderWay { begun, from: oldest.map_or(begun, |oldest| oldest.min(begun)) });
        Attempt { progress: self.clone(), worker, begun }
    }

    /// Reports that this worker has no work: whatever failed need not be done any more.
    pub fn has_nothing_to_do(&self, worker: &str) {
        self.state().workers.remove(worker);
    }

    /// The present state.
    pub fn standing(&self) -> WorkState {
        let now = self.now();
        let state = self.state();
        let hangs = state.workers.values().filter_map(|worker| {
            let UnderWay { begun, from } = worker.under_way?;
            let long = now - begun;
            (long >= self.0.slow).then(|| Failing {
                since: from,
                problem: format!("an attempt has been under way for {} s", long.as_secs()),
                is_told: false,
            })
        });
        let failing = state
            .workers
            .values()
            .filter_map(|worker| worker.failing.clone())
            .chain(hangs)
            .min_by_key(|failing| failing.since);
        let under_way = state.workers.values().filter_map(|worker| Some(worker.under_way?.from));
        let until = under_way
            .chain(failing.as_ref().map(|failing| failing.since))
            .fold(self.0.pending.done_until(now), Instant::min);
        WorkState { until, proved: state.proved, failing }
    }

    /// When the latest successful attempt began; before the first, when this was created.
    pub fn proved_or_started(&self) -> Instant {
        let state = self.state();
        state.proved.unwrap_or(state.started)
    }

    /// Requests a probe soon.
    pub fn want_probe(&self) {
        self.state().probe_wanted = true;
    }

    /// Whether a probe is needed now: there was no work for a while, nobody retries what failed, or a probe was
    /// requested.
    pub fn needs_probe(&self) -> bool {
        let now = self.now();
        let state = self.state();
        let rested = |at: Instant, long: Duration| now - at >= long;
        if state.workers.values().any(|worker| worker.failing.is_some()) {
            let tries = |worker: &Worker| {
                worker.under_way.is_some() || worker.ended.is_some_and(|ended| !rested(ended, AGAIN))
            };
            let probed = state.workers.get(PROBE).is_some_and(tries);
            let tried = state.workers.values().any(|worker| worker.failing.is_some() && tries(worker));
            return !probed && (!tried || state.probe_wanted);
        }
        state.probe_wanted || state.touched.is_none_or(|at| rested(at, RESTS))
    }

    fn now(&self) -> Instant {
        (self.0.watch.0)()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

impl Attempt {
    /// Reports success.
    pub fn succeeded(self) {
        let mut state = self.progress.state();
        if self.worker != HEARTBEAT {
            state.proved = state.proved.max(Some(self.begun));
        }
        for (name, worker) in &mut state.workers {
            let is_shown = match self.worker.as_ref() {
                // A probe does not commit what it writes, so it proves nothing about commits.
                PROBE => *name != HEARTBEAT && worker.under_way.is_none() && !worker.goes_on,
                HEARTBEAT => false,
                _ => *name == HEARTBEAT,
            };
            if is_shown || *name == self.worker {
                worker.failing = None;
            }
        }
    }

    /// Reports a failure after which the work is given up.
    pub fn failed(self, error: &StoreError) {
        self.fails(error, false);
    }

    /// Reports a failure after which this worker retries the same work. The failure lasts until that succeeds,
    /// whatever others can do.
    pub fn failed_for_now(self, error: &StoreError) {
        self.fails(error, true);
    }

    /// Reports an end without success that says nothing about whether the duty can be done.
    pub fn says_nothing(self) {
        if let Some(worker) = self.progress.state().workers.get_mut(&self.worker) {
            worker.failing = None;
        }
    }

    fn fails(self, error: &StoreError, goes_on: bool) {
        let mut state = self.progress.state();
        let Some(worker) = state.workers.get_mut(&self.worker) else { return };
        let since = worker.under_way.map_or(self.begun, |under_way| under_way.from);
        let since = worker.failing.as_ref().map_or(since, |failing| failing.since);
        worker.goes_on = goes_on;
        worker.failing = Some(Failing { since, problem: error.to_string(), is_told: error.is_file_lost() });
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let ended = self.progress.now();
        let mut state = self.progress.state();
        if self.worker != HEARTBEAT {
            state.touched = Some(ended);
        }
        if self.worker == PROBE {
            state.probe_wanted = false;
        }
        if let Some(worker) = state.workers.get_mut(&self.worker) {
            worker.under_way = None;
            worker.ended = Some(ended);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no() -> StoreError {
        StoreError::Unavailable("no".to_owned())
    }

    const SLOW: Duration = Duration::from_secs(3);

    /// A clock that the test moves.
    #[derive(Clone)]
    struct Moved(Arc<Mutex<Instant>>);

    impl Moved {
        fn new() -> Self {
            Self(Arc::new(Mutex::new(Instant::now())))
        }

        fn now(&self) -> Instant {
            *self.0.lock()
        }

        fn pass(&self, by: Duration) {
            *self.0.lock() += by;
        }

        fn progress(&self) -> Progress {
            let time = self.clone();
            Progress::by(SLOW, move || time.now())
        }
    }

    #[test]
    fn what_is_under_way_is_not_done_and_what_takes_long_fails() {
        let time = Moved::new();
        let progress = time.progress();
        assert_eq!(progress.standing().failing, None);
        let begun = time.now();
        let attempt = progress.begin("first");
        time.pass(SLOW - Duration::from_millis(1));
        assert_eq!(progress.standing(), WorkState { until: begun, proved: None, failing: None });
        time.pass(Duration::from_millis(1));
        let standing = progress.standing();
        assert_eq!(standing.until, begun, "as of its begin");
        assert!(standing.failing.is_some_and(|failing| failing.problem.contains("under way for 3 s")));
        attempt.succeeded();
        let done = WorkState { until: time.now(), proved: Some(begun), failing: None };
        assert_eq!(progress.standing(), done);
    }

    #[test]
    fn it_fails_since_the_first_attempt_that_failed_until_one_of_the_same_worker_succeeds() {
        let time = Moved::new();
        let progress = time.progress();
        let since = time.now();
        progress.begin("second").failed(&no());
        time.pass(SLOW);
        progress.begin("second").failed(&StoreError::Unavailable("still no".to_owned()));
        progress.begin("first").succeeded();
        let failing = progress.standing().failing.unwrap();
        assert_eq!(
            (failing.since, failing.problem.as_str()),
            (since, "the database is not available: still no")
        );
        assert_eq!(progress.standing().until, since);
        progress.begin("second").succeeded();
        assert_eq!(progress.standing().failing, None);
    }

    #[test]
    fn what_waits_is_not_done_whoever_works_and_whatever_succeeds() {
        let time = Moved::new();
        let progress = time.progress();
        let before = time.now();
        let waits = progress.come();
        time.pass(SLOW * 4);
        progress.begin("first").succeeded();
        progress.begin(PROBE).succeeded();
        let attempt = progress.begin_with("second", None);
        assert_eq!(progress.standing().until, before, "as of its coming");
        attempt.succeeded();
        drop(waits);
        assert_eq!(progress.standing().until, time.now());
        progress.begin_with("second", Some(before)).failed(&no());
        assert_eq!(progress.standing().until, before, "what failed is as old as the work");
    }

    #[test]
    fn a_probe_does_not_end_the_failure_of_work_that_is_tried_again() {
        let time = Moved::new();
        let progress = time.progress();
        let since = time.now();
        progress.begin("first").failed_for_now(&no());
        time.pass(SLOW);
        progress.begin(PROBE).succeeded();
        assert_eq!(progress.standing().until, since);
        progress.begin("first").failed_for_now(&no());
        assert_eq!(progress.standing().failing.unwrap().since, since);
        progress.begin("first").says_nothing();
        assert_eq!(progress.standing().failing, None);
        progress.begin("first").failed(&no());
        progress.begin(PROBE).succeeded();
        assert_eq!(progress.standing().failing, None);
    }

    #[test]
    fn a_probe_is_needed_at_first_when_wanted_when_all_rests_and_when_nobody_tries_what_failed() {
        let time = Moved::new();
        let progress = time.progress();
        assert!(progress.needs_probe(), "nothing is known");
        progress.begin(PROBE).succeeded();
        time.pass(RESTS - Duration::from_millis(1));
        assert!(!progress.needs_probe());
        time.pass(Duration::from_millis(1));
        assert!(progress.needs_probe(), "nobody has worked for a while");
        progress.begin("first").failed(&no());
        assert!(!progress.needs_probe(), "it has just been tried");
        time.pass(AGAIN);
        assert!(progress.needs_probe());
        progress.begin(PROBE).succeeded();
        assert_eq!(progress.standing().failing, None);
        progress.want_probe();
        assert!(progress.needs_probe());
    }
}
