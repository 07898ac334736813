//! Who writes the check-ins that wait.
//!
//! On Postgres there are two. The first writes what can go the short way, and never waits long for a row that somebody else
//! has locked (a sweep does, for as long as it takes to write its conclusions and messages): such check-ins, and what cannot
//! go the short way, are the second's. It does not wait long either: what it finds locked it halves until the check-ins of one reservation
//! stand alone, and those it tries again between the others. SQLite has room for one writer, who does both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use innkeeper_core::Clock;
use innkeeper_core::backoff::Backoff;
use innkeeper_logging::{Numbers, within};
use innkeeper_node::heartbeat::progress::{PROBE, Progress};
use innkeeper_node::{Heartbeat, Metrics, Seldom, Shutdown, SupervisedThread, Wake};
use innkeeper_store::{Arrival, DatabaseKind, FastPath, Recorded, Store, StoreError, Writer};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::mpsc;

use crate::locked::Locked;
use crate::queue::{Batch, Entry, Unwritable};
use crate::refused::Refused;

/// How soon a batch is tried again while the database is away: the first time, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How often it is asked whether a probe is needed.
const LOOK: Duration = Duration::from_millis(500);
/// How long the first waits for a row.
const LOCK_PATIENCE: Duration = Duration::from_millis(5);
/// How long the second waits for one. Of a thousand check-ins it finds the one that is locked in ten steps, for which the others wait.
const GENERAL_LOCK_PATIENCE: Duration = Duration::from_millis(250);
/// The worker that tries again what is locked.
const LOCKED: &str = "writer of what is locked";

/// Starts the writers, who write `most` check-ins at once. They work until nobody can send any more and all is written.
pub(crate) fn start(
    mut waiting: mpsc::Receiver<Entry>,
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
        refused: Refused::new(operator),
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

/// Tries whether a check-in could be written, when none has come for a while or it is not known whether one could, until the process
/// stops.
fn probe(mut writer: Writer, progress: &Progress, clock: &dyn Clock, shutdown: &Shutdown) {
    loop {
        if progress.needs_probe() {
            let attempt = progress.begin(PROBE);
            match writer.probe(clock.now()) {
                Ok(()) => attempt.succeeded(),
                Err(error) => {
                    log::debug!("a check-in could not be written: {error}");
                    attempt.failed(&error);
                }
            }
        }
        if shutdown.wait_timeout(LOOK) {
            return;
        }
    }
}

/// By which the lines of one batch are found in the log.
static BATCHES: Numbers = Numbers::new();

/// Who writes batches.
struct BatchWriter {
    /// Its name among the workers of its duty.
    name: &'static str,
    progress: Progress,
    writer: Writer,
    /// Who writes what cannot go the short way; none for this one.
    general: Option<mpsc::Sender<Entry>>,
    /// What waits for a row that somebody else has locked.
    locked: Locked,
    /// Whether it fails when what is tried again is locked still.
    is_lock_failure: bool,
    wake: Option<Wake>,
    outage: Arc<Outage>,
    /// Of the database, one by one.
    refusals: Arc<Seldom>,
    /// Of these reservations alone.
    refused: Refused,
    /// What is locked.
    delays: Seldom,
    metrics: Metrics,
    shutdown: Shutdown,
}

/// Since when the database has been away, over as many batches as that takes.
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

/// How an attempt at a batch ended.
enum Attempt {
    /// What is in it was written.
    Written(FastPath),
    /// Somebody else has locked something of it.
    Locked(StoreError),
    /// The database refused it for good.
    Refused(StoreError),
    /// The process stops, the database is away, and nobody waits any more.
    GivenUp,
}

fn record(writer: &mut Writer, arrivals: &[Arrival]) -> Result<FastPath, StoreError> {
    let written = writer.record(arrivals)?;
    Ok(FastPath { recorded: written.recorded.into_iter().map(Some).collect(), wake: written.wake })
}

impl BatchWriter {
    /// Writes what can go the short way, answers, and passes the rest on, or writes it itself; however long the database is away.
    fn write(&mut self, mut batch: Batch) {
        match self.attempt(self.name, &batch, |writer, arrivals| writer.record_plain(arrivals)) {
            Attempt::Written(fast_path) => {
                self.wake_if(fast_path.wake);
                batch = batch.answer(fast_path.recorded);
            }
            Attempt::Locked(error) | Attempt::Refused(error) => {
                log::debug!("a batch goes the general way: {error}")
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

    /// Writes what comes the general way until nobody can send any more and all is written.
    fn write_all_generally(&mut self, waiting: &mut mpsc::Receiver<Entry>, most: usize) {
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

    /// Tries again what was locked: check-ins of one reservation, so that the others wait as short as possible.
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

    /// A batch that the database refuses is halved until the check-in that it refuses stands alone, so that one cannot
    /// keep the others from being written; one of which something is locked, until the check-ins of what is locked do.
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
                        self.refusals.error(format_args!("nor can it be noted that it is refused: {error}"));
                    }
                    self.metrics.checkins.with_label_values(&["refused"]).inc();
                    asker.tell(Err(Unwritable));
                }
            }
            Attempt::GivenUp => {}
        }
    }

    /// Tries `record` on the batch until the database answers.
    fn attempt(
        &mut self,
        name: &'static str,
        batch: &Batch,
        record: impl Fn(&mut Writer, &[Arrival]) -> Result<FastPath, StoreError>,
    ) -> Attempt {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            // A stop waits for the database only as long as somebody waits for an answer.
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
                    // One reservation may well be locked, and a probe tells whether that is all; several are a failure.
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
                    // Of this check-in alone, or of all: a probe tells.
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
