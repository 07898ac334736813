//! Who writes the check-ins that wait.
//!
//! On Postgres there are two: while one waits for its commit the other has the next batch written. SQLite has room for one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use innkeeper_node::{Part, Shutdown, Wake};
use innkeeper_store::{Arrival, DatabaseKind, Shortcut, Store, StoreError, Writer};

use crate::queue::{Batch, Unwritable, Waiting};

/// How soon a batch is tried again while the database is away: the first time, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Starts the writers. Each works until the queue is closed and empty.
pub(crate) fn start(
    waiting: &Arc<Waiting>,
    store: &Store,
    wake: Option<&Wake>,
    shutdown: &Shutdown,
) -> std::io::Result<Vec<Part>> {
    let outage = Arc::new(Outage::default());
    let names: &[&str] = match store.backend() {
        DatabaseKind::Postgres => &["check-in writer 1", "check-in writer 2"],
        DatabaseKind::Sqlite => &["check-in writer"],
    };
    let start = |name: &&'static str| {
        let (waiting, outage, writer) = (Arc::clone(waiting), Arc::clone(&outage), store.writer());
        let (wake, stop) = (wake.cloned(), shutdown.clone());
        Part::spawn(name, shutdown, move || {
            let mut scribe = Scribe { writer, outage: &outage, shutdown: &stop };
            while let Some(batch) = waiting.next_batch() {
                let count = batch.arrivals.len();
                let wakes = scribe.write(batch);
                waiting.written(count);
                if wakes && let Some(wake) = &wake {
                    wake.wake();
                }
            }
            Ok(())
        })
    };
    names.iter().map(start).collect()
}

/// Who writes the batches.
struct Scribe<'a> {
    writer: Writer,
    outage: &'a Outage,
    shutdown: &'a Shutdown,
}

/// Since when the database has been away for the writers, over as many batches as that takes.
#[derive(Default)]
pub(crate) struct Outage(Mutex<Option<Instant>>);

impl Outage {
    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn began(&self, error: &StoreError) {
        self.since().get_or_insert_with(|| {
            log::warn!("check-ins wait: {error}");
            Instant::now()
        });
    }

    fn is_on(&self) -> bool {
        self.since().is_some()
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
    Written(Shortcut),
    /// The database refused it for good.
    Refused(StoreError),
    /// The process stops, the database is away, and nobody waits any more.
    GivenUp,
}

impl Scribe<'_> {
    /// Writes the batch and answers, however long the database is away. Returns whether a sweeper should look.
    ///
    /// What can go the short way does; the rest, or a batch that was refused there, goes the general way.
    fn write(&mut self, mut batch: Batch) -> bool {
        let mut wake = false;
        match self.attempt(&batch, |writer, arrivals| writer.record_plain(arrivals)) {
            Attempt::Written(shortcut) => {
                wake = shortcut.wake;
                batch = batch.answer(shortcut.recorded);
            }
            Attempt::Refused(error) => log::debug!("a batch goes the general way: {error}"),
            Attempt::GivenUp => return false,
        }
        self.write_generally(batch) || wake
    }

    /// A batch that the database refuses is halved until the check-in that it refuses stands alone, so that one cannot
    /// keep the others from being written.
    fn write_generally(&mut self, batch: Batch) -> bool {
        if batch.arrivals.is_empty() {
            return false;
        }
        let record = |writer: &mut Writer, arrivals: &[Arrival]| {
            let written = writer.record(arrivals)?;
            Ok(Shortcut { recorded: written.recorded.into_iter().map(Some).collect(), wake: written.wake })
        };
        match self.attempt(&batch, record) {
            Attempt::Written(shortcut) => {
                batch.answer(shortcut.recorded);
                shortcut.wake
            }
            Attempt::Refused(_) if batch.arrivals.len() > 1 => {
                let (first, second) = batch.split();
                let wake = self.write_generally(first);
                self.write_generally(second) || wake
            }
            Attempt::Refused(error) => {
                for (arrival, answer) in batch.arrivals.iter().zip(batch.answers) {
                    log::error!("a check-in for {:?} cannot be written: {error}", arrival.target);
                    let _ = answer.send(Err(Unwritable));
                }
                false
            }
            Attempt::GivenUp => false,
        }
    }

    /// Tries `record` on the batch until the database answers.
    fn attempt(
        &mut self,
        batch: &Batch,
        record: impl Fn(&mut Writer, &[Arrival]) -> Result<Shortcut, StoreError>,
    ) -> Attempt {
        let mut pause = FIRST_PAUSE;
        loop {
            // A stop waits for the database only as long as somebody waits for an answer.
            if self.outage.is_on() && self.shutdown.is_requested() && batch.nobody_waits() {
                return Attempt::GivenUp;
            }
            match record(&mut self.writer, &batch.arrivals) {
                Ok(written) => {
                    self.outage.is_over();
                    return Attempt::Written(written);
                }
                Err(error) if error.is_unavailable() => {
                    self.outage.began(&error);
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return Attempt::Refused(error),
            }
        }
    }
}
