//! The writers of queued check-ins.
//!
//! Over Postgres there are two. The first writes what it can by hints ([`CheckInWriter::record_known`]), and never waits
//! long for a locked row (a sweep locks rows while it writes its conclusions and messages). It passes locked check-ins,
//! and those that hints do not settle, to the second. That one does not wait long either: it halves a batch with a
//! locked row until the check-ins of one reservation are alone, and retries those between the others. SQLite allows one
//! writer, which does both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use innkeeper_core::Clock;
use innkeeper_core::backoff::Backoff;
use innkeeper_logging::{Numbers, within};
use innkeeper_node::heartbeat::progress::{PROBE, Progress};
use innkeeper_node::{Heartbeat, Metrics, Seldom, Shutdown, SupervisedThread, Wake};
use innkeeper_store::{Arrival, CheckInWriter, DatabaseKind, FastPath, Recorded, Store, StoreError};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::mpsc;

use crate::locked::Locked;
use crate::queue::{Batch, Queued, Unwritable};
use crate::refused::RefusalTracker;

/// The pause before a batch is retried while the database is unreachable: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How often the need for a probe is checked.
const LOOK: Duration = Duration::from_millis(500);
/// How long the first writer waits for a row lock.
const LOCK_PATIENCE: Duration = Duration::from_millis(5);
/// How long the second writer waits for a row lock. It finds one locked check-in among a thousand in ten steps, during
/// which the others wait.
const GENERAL_LOCK_PATIENCE: Duration = Duration::from_millis(250);
/// The name of the worker that retries locked check-ins.
const LOCKED: &str = "writer of what is locked";

/// Starts the writers, which write at most `most` check-ins per batch. They run until the queue is closed and empty.
pub(crate) fn start(
    mut waiting: mpsc::Receiver<Queued>,
    store: &Store,
    most: usize,
    wake: Option<Wake>,
    heartbeat: &Heartbeat,
    shutdown: &Shutdown,
) -> std::io::Result<Vec<SupervisedThread>> {
    let progress = heartbeat.progresses().ingest.clone();
    let operator = heartbeat.operator();
    let (outage, refusals) = (Arc::new(Outage::default()), Arc::new(Seldom::new()));
    let batch_writer = |name, writer, general| BatchWriter {
        name,
        progress: progress.clone(),
        writer,
        general,
        locked: Locked::new(most),
        is_lock_failure: false,
        wake: wake.clone(),
        outage: Arc::clone(&outage),
        refusals: Arc::clone(&refusals),
        refused: RefusalTracker::new(operator),
        delays: Seldom::new(),
        metrics: heartbeat.metrics().clone(),
        shutdown: shutdown.clone(),
    };
    let mut parts = Vec::new();
    let mut first = match store.backend() {
        DatabaseKind::Sqlite => batch_writer("writer", store.writer(), None),
        DatabaseKind::Postgres => {
            let (general, mut rest) = mpsc::channel(most);
            let writer = store.writer().that_waits_for_locks_at_most(GENERAL_LOCK_PATIENCE);
            let mut second = batch_writer("general writer", writer, None);
            parts.push(SupervisedThread::spawn("general check-in writer", shutdown, move || {
                second.write_all_generally(&mut rest, most);
                Ok(())
            })?);
            batch_writer("writer", store.writer().that_waits_for_locks_at_most(LOCK_PATIENCE), Some(general))
        }
    };
    let (probing, stop) = (store.writer(), shutdown.clone());
    let clock = heartbeat.clock();
    parts.push(SupervisedThread::spawn("check-in probe", shutdown, move || {
        probe(probing, &progress, clock.as_ref(), &stop);
        Ok(())
    })?);
    parts.push(SupervisedThread::spawn("check-in writer", shutdown, move || {
        while let Some(batch) = Batch::next(&mut waiting, most) {
            let _batch = within("batch", BATCHES.next());
            first.write(batch);
        }
        Ok(())
    })?);
    Ok(parts)
}

/// Probes whether a check-in could be written, if none has arrived for a while or the answer is unknown, until the
/// process stops.
fn probe(mut writer: CheckInWriter, progress: &Progress, clock: &dyn Clock, shutdown: &Shutdown) {
    loop {
        if progress.needs_probe() {
            let attempt = progress.begin(PROBE);
            match writer.probe(clock.now()) {
                Ok(()) => attempt.succeeded(),
                Err(error) => {
                    log::debug!("a check-in cannot be written: {error}");
                    attempt.failed(&error);
                }
            }
        }
        if shutdown.wait_timeout(LOOK) {
            return;
        }
    }
}

/// Numbers of batches, which connect the log lines of one batch.
static BATCHES: Numbers = Numbers::new();

/// A writer of batches.
struct BatchWriter {
    /// Its name among the workers of its duty.
    name: &'static str,
    progress: Progress,
    writer: CheckInWriter,
    /// The queue of the second writer, for check-ins that the first leaves over; `None` in the second writer
    /// itself.
    general: Option<mpsc::Sender<Queued>>,
    /// Check-ins that wait for a locked row.
    locked: Locked,
    /// Whether an attempt counts as failed if retried check-ins are still locked.
    is_lock_failure: bool,
    wake: Option<Wake>,
    outage: Arc<Outage>,
    /// Limits the log lines about single refusals of the database.
    refusals: Arc<Seldom>,
    /// Reservations whose check-ins alone are refused.
    refused: RefusalTracker,
    /// Limits the log lines about locked rows.
    delays: Seldom,
    metrics: Metrics,
    shutdown: Shutdown,
}

/// Since when the database has been unreachable, across batches.
#[derive(Default)]
struct Outage(Mutex<Option<Instant>>);

impl Outage {
    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock()
    }

    fn is_on(&self) -> bool {
        self.since().is_some()
    }

    fn goes_on(&self, error: &StoreError) {
        self.since().get_or_insert_with(|| {
            log::warn!("check-ins wait: {error}");
            Instant::now()
        });
    }

    fn is_over(&self) {
        if let Some(since) = self.since().take() {
            log::info!("the database answers again; check-ins waited {:.1} s", since.elapsed().as_secs_f32());
        }
    }
}

/// The result of one attempt at a batch.
enum Attempt {
    /// The batch was written.
    Written(FastPath),
    /// A row that it needs is locked.
    Locked(StoreError),
    /// The database refused it permanently.
    Refused(StoreError),
    /// The process stops, the database is unreachable, and nobody waits for an answer any more.
    GivenUp,
}

fn record(writer: &mut CheckInWriter, arrivals: &[Arrival]) -> Result<FastPath, StoreError> {
    let written = writer.record(arrivals)?;
    Ok(FastPath { recorded: written.recorded.into_iter().map(Some).collect(), wake: written.wake })
}

impl BatchWriter {
    /// Writes what hints settle and answers it; passes the rest to the second writer, or writes it itself.
    /// Retries for as long as the database is unreachable.
    fn write(&mut self, mut batch: Batch) {
        match self.attempt(self.name, &batch, |writer, arrivals| writer.record_known(arrivals)) {
            Attempt::Written(fast_path) => {
                self.wake_if(fast_path.wake);
                batch = batch.answer(fast_path.recorded);
            }
            Attempt::Locked(error) | Attempt::Refused(error) => {
                log::debug!("a batch is passed on to the general writer: {error}")
            }
            Attempt::GivenUp => return,
        }
        match &self.general {
            Some(general) => batch.pass_on(general),
            None => self.write_generally(batch),
        }
    }

    fn count(&self, written: &FastPath, begun: Instant) {
        let all = || written.recorded.iter().flatten();
        let total = all().count();
        if total == 0 {
            return;
        }
        self.metrics.commit.observe(begun.elapsed().as_secs_f64());
        self.metrics.batch.observe(total as f64);
        let done = all().filter(|recorded| matches!(recorded, Recorded::Done { .. })).count();
        let unknown = all().filter(|recorded| matches!(recorded, Recorded::Unknown)).count();
        let known = all().filter(|recorded| matches!(recorded, Recorded::Known)).count();
        let refused = total - done - unknown - known;
        for (result, count) in
            [("recorded", done), ("unknown", unknown), ("known", known), ("refused", refused)]
        {
            if count > 0 {
                self.metrics.checkins.with_label_values(&[result]).inc_by(count as u64);
            }
        }
    }

    fn wake_if(&self, wake: bool) {
        if let Some(sweeper) = self.wake.as_ref().filter(|_| wake) {
            sweeper.wake();
        }
    }

    /// Writes what the first writer leaves over until the queue is closed and empty.
    fn write_all_generally(&mut self, waiting: &mut mpsc::Receiver<Queued>, most: usize) {
        loop {
            let batch = if self.locked.is_empty() {
                match Batch::next(waiting, most) {
                    Some(batch) => batch,
                    None => return,
                }
            } else if self.locked.is_full() {
                Batch::default()
            } else {
                Batch::at_hand(waiting, most)
            };
            let batch = self.locked.take_from(batch);
            let _batch = within("batch", BATCHES.next());
            self.write_generally(batch);
            self.write_locked();
        }
    }

    /// Retries locked check-ins of one reservation at a time, so that the others wait as briefly as possible.
    fn write_locked(&mut self) {
        self.is_lock_failure = self.locked.is_failure();
        let Some(mut group) = self.locked.next() else { return };
        if self.shutdown.is_requested() && group.batch.nobody_waits() {
            return;
        }
        match self.attempt(LOCKED, &group.batch, record) {
            Attempt::Written(fast_path) => {
                group.batch.answer(fast_path.recorded);
                self.wake_if(fast_path.wake);
            }
            Attempt::Locked(error) => {
                self.delays.warn(format_args!("check-ins for {:?} wait: {error}", group.batch.target()));
                if self.locked.is_empty() {
                    self.progress.want_probe();
                    group.hold_up_nobody_if(self.progress.standing().proved);
                }
                self.locked.again(group);
                std::thread::sleep(FIRST_PAUSE);
            }
            Attempt::Refused(_) => self.write_generally(group.batch),
            Attempt::GivenUp => {}
        }
    }

    /// Halves a batch that the database refuses until the refused check-in is alone, so that it does not prevent the
    /// others from being written; halves a batch with a locked row until the check-ins of that row are alone.
    fn write_generally(&mut self, batch: Batch) {
        if batch.arrivals.is_empty() {
            return;
        }
        match self.attempt(self.name, &batch, record) {
            Attempt::Written(fast_path) => {
                batch.answer(fast_path.recorded);
                self.wake_if(fast_path.wake);
            }
            Attempt::Locked(_) if batch.target().is_some() => self.locked.push(batch),
            Attempt::Locked(_) | Attempt::Refused(_) if batch.arrivals.len() > 1 => {
                let (first, second) = batch.split();
                self.write_generally(first);
                self.write_generally(second);
            }
            Attempt::Locked(error) | Attempt::Refused(error) => {
                for (arrival, asker) in batch.arrivals.iter().zip(batch.askers) {
                    self.refusals.error(format_args!(
                        "a check-in for {:?} cannot be written: {error}",
                        arrival.target
                    ));
                    let proved = self.progress.standing().proved;
                    if let Some(window) = self.refused.note(arrival, &error, proved)
                        && let Err(error) = self.writer.note_refusal(arrival, window)
                    {
                        self.refusals.error(format_args!("nor can it be stored that it is refused: {error}"));
                    }
                    self.metrics.checkins.with_label_values(&["refused"]).inc();
                    asker.tell(Err(Unwritable));
                }
            }
            Attempt::GivenUp => {}
        }
    }

    /// Attempts `record` on the batch until the database answers.
    fn attempt(
        &mut self,
        name: &'static str,
        batch: &Batch,
        record: impl Fn(&mut CheckInWriter, &[Arrival]) -> Result<FastPath, StoreError>,
    ) -> Attempt {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            // During a stop the writer waits for the database only while somebody waits for an answer.
            if self.outage.is_on() && self.shutdown.is_requested() && batch.nobody_waits() {
                return Attempt::GivenUp;
            }
            let begun = Instant::now();
            let attempt = self.progress.begin_with(name, batch.oldest());
            match record(&mut self.writer, &batch.arrivals) {
                Ok(written) => {
                    attempt.succeeded();
                    self.outage.is_over();
                    self.count(&written, begun);
                    return Attempt::Written(written);
                }
                Err(error) if error.is_locked() => {
                    // A single locked reservation is normal, and a probe finds out whether others can be written;
                    // several are a failure.
                    match name == LOCKED && self.is_lock_failure {
                        true => attempt.failed_for_now(&error),
                        false => attempt.says_nothing(),
                    }
                    self.outage.is_over();
                    return Attempt::Locked(error);
                }
                Err(error) if error.is_unavailable() => {
                    attempt.failed_for_now(&error);
                    self.outage.goes_on(&error);
                    std::thread::sleep(backoff.next_pause());
                }
                Err(error) if batch.arrivals.len() == 1 && self.general.is_none() => {
                    // A probe finds out whether only this check-in is refused, or all are.
                    match batch.target().is_some_and(|target| self.refused.is_known(target)) {
                        true => attempt.says_nothing(),
                        false => attempt.failed(&error),
                    }
                    self.progress.want_probe();
                    return Attempt::Refused(error);
                }
                Err(error) => {
                    attempt.says_nothing();
                    return Attempt::Refused(error);
                }
            }
        }
    }
}
