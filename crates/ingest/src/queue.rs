//! A check-in between its request and its commit.
//!
//! Requests put check-ins into a bounded queue; one writer takes whatever waits, writes it in one transaction, and only
//! then answers. While one batch commits the next gathers: no timers, no added delay.

use std::time::{Duration, Instant};

use innkeeper_node::http::ApiError;
use innkeeper_node::{Shutdown, Wake};
use innkeeper_store::{Arrival, Recorded, StoreError, Writer};
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

impl Scribe<'_> {
    /// Writes the batch and answers, however long the database is away. Returns whether a sweeper should look.
    ///
    /// A batch that the database refuses is halved until the check-in that it refuses stands alone, so that one cannot
    /// keep the others from being written.
    fn write(&mut self, batch: Batch) -> bool {
        let mut pause = FIRST_PAUSE;
        loop {
            // A stop waits for the database only as long as somebody waits for an answer.
            if self.away_since.is_some() && self.shutdown.is_requested() && batch.nobody_waits() {
                return false;
            }
            match self.writer.record(&batch.arrivals) {
                Ok(written) => {
                    if let Some(since) = self.away_since.take() {
                        log::info!(
                            "the database answers again; check-ins waited {:.1} s",
                            since.elapsed().as_secs_f32()
                        );
                    }
                    for (answer, recorded) in batch.answers.into_iter().zip(written.recorded) {
                        // A requester that gave up meanwhile has been told 503.
                        let _ = answer.send(Ok(recorded));
                    }
                    return written.wake;
                }
                Err(error) if error.is_unavailable() => {
                    if self.away_since.is_none() {
                        log::warn!("check-ins wait: {error}");
                        self.away_since = Some(Instant::now());
                    }
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return self.refuse(batch, &error),
            }
        }
    }

    fn refuse(&mut self, batch: Batch, error: &StoreError) -> bool {
        if batch.arrivals.len() > 1 {
            let (first, second) = batch.split();
            let wake = self.write(first);
            return self.write(second) || wake;
        }
        for (arrival, answer) in batch.arrivals.iter().zip(batch.answers) {
            log::error!("a check-in for {:?} cannot be written: {error}", arrival.target);
            let _ = answer.send(Err(Unwritable));
        }
        false
    }
}
