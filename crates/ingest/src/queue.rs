//! A check-in between its request and its commit.
//!
//! Requests put check-ins into a bounded queue; one writer takes whatever waits, writes it in one transaction, and only
//! then answers. While one batch commits the next gathers: no timers, no added delay.

use std::time::{Duration, Instant};

use innkeeper_node::http::ApiError;
use innkeeper_node::{Shutdown, Wake};
use innkeeper_store::{Arrival, Recorded, Shortcut, StoreError, Writer};
use tokio::sync::{mpsc, oneshot};

/// How soon a batch is tried again while the database is away: the first time, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// What a client is told to wait before it tries again, seconds.
const RETRY_AFTER_S: u32 = 5;

type Answer = Result<Recorded, Unwritable>;

/// A check-in that the database refuses for good. The cause is in the log.
#[derive(Debug)]
pub(crate) struct Unwritable;

/// The requests' side of the queue.
#[derive(Clone)]
pub struct Queue {
    sender: mpsc::Sender<Entry>,
    commit_timeout: Duration,
}

/// A check-in that waits to be written, and who waits for its answer.
pub(crate) struct Entry {
    arrival: Arrival,
    answer: oneshot::Sender<Answer>,
}

impl Queue {
    pub(crate) fn new(length: usize, commit_timeout: Duration) -> (Self, mpsc::Receiver<Entry>) {
        let (sender, receiver) = mpsc::channel(length);
        (Self { sender, commit_timeout }, receiver)
    }

    /// Has the check-in written; returns after its commit.
    ///
    /// # Errors
    /// 503 when that took longer than the commit timeout. The check-in may still be written later, which is true
    /// and harmless: it did arrive.
    pub async fn submit(&self, arrival: Arrival) -> Result<Recorded, ApiError> {
        let (answer, answered) = oneshot::channel();
        let written = async {
            self.sender.send(Entry { arrival, answer }).await.ok()?;
            answered.await.ok()
        };
        match tokio::time::timeout(self.commit_timeout, written).await {
            Ok(Some(Ok(recorded))) => Ok(recorded),
            Ok(Some(Err(Unwritable))) => Err(ApiError::internal("the database refused the check-in")),
            Ok(None) | Err(_) => Err(ApiError::Unavailable { retry_after_s: RETRY_AFTER_S }),
        }
    }
}

/// The writer's loop: until every request's side of the queue is gone.
pub(crate) fn write_all(
    mut waiting: mpsc::Receiver<Entry>,
    writer: Writer,
    most: usize,
    wake: Option<&Wake>,
    shutdown: &Shutdown,
) {
    let mut scribe = Scribe { writer, shutdown, away_since: None };
    while let Some(first) = waiting.blocking_recv() {
        let mut batch = Batch::default();
        batch.push(first);
        while batch.arrivals.len() < most {
            match waiting.try_recv() {
                Ok(entry) => batch.push(entry),
                Err(_) => break,
            }
        }
        if scribe.write(batch)
            && let Some(wake) = wake
        {
            wake.wake();
        }
    }
}

#[derive(Default)]
struct Batch {
    arrivals: Vec<Arrival>,
    answers: Vec<oneshot::Sender<Answer>>,
}

impl Batch {
    fn push(&mut self, entry: Entry) {
        self.arrivals.push(entry.arrival);
        self.answers.push(entry.answer);
    }

    fn split(mut self) -> (Self, Self) {
        let middle = self.arrivals.len() / 2;
        let second =
            Self { arrivals: self.arrivals.split_off(middle), answers: self.answers.split_off(middle) };
        (self, second)
    }

    /// Answers each check-in that was recorded; returns the others.
    fn answer(self, recorded: Vec<Option<Recorded>>) -> Self {
        let mut rest = Self::default();
        for ((arrival, answer), recorded) in self.arrivals.into_iter().zip(self.answers).zip(recorded) {
            match recorded {
                // A requester that gave up meanwhile has been told 503.
                Some(recorded) => drop(answer.send(Ok(recorded))),
                None => rest.push(Entry { arrival, answer }),
            }
        }
        rest
    }

    fn nobody_waits(&self) -> bool {
        self.answers.iter().all(oneshot::Sender::is_closed)
    }
}

/// Who writes the batches.
struct Scribe<'a> {
    writer: Writer,
    shutdown: &'a Shutdown,
    /// Since when the database has been away, over as many batches as that takes.
    away_since: Option<Instant>,
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
            if self.away_since.is_some() && self.shutdown.is_requested() && batch.nobody_waits() {
                return Attempt::GivenUp;
            }
            match record(&mut self.writer, &batch.arrivals) {
                Ok(written) => {
                    if let Some(since) = self.away_since.take() {
                        let waited = since.elapsed().as_secs_f32();
                        log::info!("the database answers again; check-ins waited {waited:.1} s");
                    }
                    return Attempt::Written(written);
                }
                Err(error) if error.is_unavailable() => {
                    if self.away_since.is_none() {
                        log::warn!("check-ins wait: {error}");
                        self.away_since = Some(Instant::now());
                    }
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return Attempt::Refused(error),
            }
        }
    }
}
