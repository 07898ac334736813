//! A check-in between its request and its commit.
//!
//! Requests put check-ins into a bounded queue; a writer (`scribe.rs`) takes whatever waits, writes it in one transaction, and
//! only then answers. While one batch commits the next gathers: no timers, no added delay.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use innkeeper_node::http::ApiError;
use innkeeper_store::{Arrival, Recorded};
use tokio::sync::{Semaphore, oneshot};

/// What a client is told to wait before it tries again, seconds.
const RETRY_AFTER_S: u32 = 5;

pub(crate) type Answer = Result<Recorded, Unwritable>;

/// A check-in that the database refuses for good. The cause is in the log.
#[derive(Debug)]
pub(crate) struct Unwritable;

/// The requests' side of the queue.
#[derive(Clone)]
pub struct Queue {
    waiting: Arc<Waiting>,
    commit_timeout: Duration,
}

/// A check-in that waits to be written, and who waits for its answer.
pub(crate) struct Entry {
    arrival: Arrival,
    answer: oneshot::Sender<Answer>,
}

/// What waits to be written.
pub(crate) struct Waiting {
    /// Places in the queue that are free.
    places: Semaphore,
    /// The most check-ins of a batch.
    most: usize,
    line: Mutex<Line>,
    moved: Condvar,
}

#[derive(Default)]
struct Line {
    entries: VecDeque<Entry>,
    /// How many are being written.
    in_flight: usize,
    /// Writers with nothing to do.
    idle: usize,
    closed: bool,
}

impl Line {
    /// Whether a writer should begin: at once where none is at work; beside another only with half as much as is being
    /// written, since many small batches would cost more than they gain.
    fn is_worth_a_batch(&self) -> bool {
        !self.entries.is_empty() && (self.entries.len() * 2 >= self.in_flight || self.closed)
    }
}

impl Waiting {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, entry: Entry) {
        let mut line = self.line();
        line.entries.push_back(entry);
        if line.idle > 0 && line.is_worth_a_batch() {
            self.moved.notify_one();
        }
    }

    /// Waits for the next batch; none when the queue is closed and empty.
    pub fn next_batch(&self) -> Option<Batch> {
        let mut line = self.line();
        while !line.is_worth_a_batch() {
            if line.closed {
                return None;
            }
            line.idle += 1;
            line = self.moved.wait(line).unwrap_or_else(PoisonError::into_inner);
            line.idle -= 1;
        }
        let count = line.entries.len().min(self.most);
        let mut batch = Batch::default();
        line.entries.drain(..count).for_each(|entry| batch.push(entry));
        line.in_flight += count;
        if line.idle > 0 && line.is_worth_a_batch() {
            self.moved.notify_one();
        }
        drop(line);
        self.places.add_permits(count);
        Some(batch)
    }

    /// So many are no longer being written. Whoever says so asks for the next batch himself, so nobody has to be woken.
    pub fn written(&self, count: usize) {
        self.line().in_flight -= count;
    }

    /// No more come.
    pub fn close(&self) {
        self.line().closed = true;
        self.moved.notify_all();
    }
}

impl Queue {
    pub(crate) fn new(length: usize, most: usize, commit_timeout: Duration) -> (Self, Arc<Waiting>) {
        let waiting = Arc::new(Waiting {
            places: Semaphore::new(length),
            most,
            line: Mutex::default(),
            moved: Condvar::new(),
        });
        (Self { waiting: Arc::clone(&waiting), commit_timeout }, waiting)
    }

    /// Has the check-in written; returns after its commit.
    ///
    /// # Errors
    /// 503 when that took longer than the commit timeout. The check-in may still be written later, which is true
    /// and harmless: it did arrive.
    pub async fn submit(&self, arrival: Arrival) -> Result<Recorded, ApiError> {
        let (answer, answered) = oneshot::channel();
        let written = async {
            self.waiting.places.acquire().await.ok()?.forget();
            self.waiting.push(Entry { arrival, answer });
            answered.await.ok()
        };
        match tokio::time::timeout(self.commit_timeout, written).await {
            Ok(Some(Ok(recorded))) => Ok(recorded),
            Ok(Some(Err(Unwritable))) => Err(ApiError::internal("the database refused the check-in")),
            Ok(None) | Err(_) => Err(ApiError::Unavailable { retry_after_s: RETRY_AFTER_S }),
        }
    }
}

/// Check-ins that are written together.
#[derive(Default)]
pub(crate) struct Batch {
    pub arrivals: Vec<Arrival>,
    pub answers: Vec<oneshot::Sender<Answer>>,
}

impl Batch {
    fn push(&mut self, entry: Entry) {
        self.arrivals.push(entry.arrival);
        self.answers.push(entry.answer);
    }

    pub fn split(mut self) -> (Self, Self) {
        let middle = self.arrivals.len() / 2;
        let second =
            Self { arrivals: self.arrivals.split_off(middle), answers: self.answers.split_off(middle) };
        (self, second)
    }

    /// Answers each check-in that was recorded; returns the others.
    pub fn answer(self, recorded: Vec<Option<Recorded>>) -> Self {
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

    pub fn nobody_waits(&self) -> bool {
        self.answers.iter().all(oneshot::Sender::is_closed)
    }
}
