//! A check-in between its request and its commit.
//!
//! Requests put check-ins into a bounded queue; a writer (`batch_writer.rs`) takes all that wait, writes them in one
//! transaction, and only then answers. While one batch commits, the next collects: no timers, no added delay.

use std::time::{Duration, Instant};

use innkeeper_http::ApiError;
use innkeeper_node::Metrics;
use innkeeper_node::heartbeat::pending::Pending;
use innkeeper_node::heartbeat::progress::Progress;
use innkeeper_store::{Arrival, Recorded, Target};
use tokio::sync::{mpsc, oneshot};

/// The `Retry-After` of 503 answers, in seconds.
const RETRY_AFTER_S: u32 = 5;

pub(crate) type CommitResult = Result<Recorded, Unwritable>;

/// A check-in that the database refuses permanently. The log has the cause.
#[derive(Debug)]
pub(crate) struct Unwritable;

/// The sending side of the queue.
#[derive(Clone)]
pub struct Queue {
    sender: mpsc::Sender<Queued>,
    commit_timeout: Duration,
    metrics: Metrics,
    progress: Progress,
}

/// A check-in that waits to be written, and the request that waits for its answer.
pub(crate) struct Queued {
    arrival: Arrival,
    asker: Requester,
}

/// The request that waits for an answer.
pub(crate) struct Requester {
    answer: oneshot::Sender<CommitResult>,
    /// Marks the check-in as not written, as long as this exists.
    pending: Option<Pending>,
}

impl Queue {
    pub(crate) fn new(
        length: usize,
        commit_timeout: Duration,
        metrics: Metrics,
        progress: Progress,
    ) -> (Self, mpsc::Receiver<Queued>) {
        let (sender, receiver) = mpsc::channel(length);
        (Self { sender, commit_timeout, metrics, progress }, receiver)
    }

    /// Returns the number of queued check-ins when called; it does not keep the queue open.
    pub(crate) fn depth(&self) -> impl Fn() -> usize + Send + Sync + 'static {
        let sender = self.sender.downgrade();
        move || sender.upgrade().map_or(0, |sender| sender.max_capacity() - sender.capacity())
    }

    /// Queues the check-in and returns after its commit.
    ///
    /// # Errors
    /// 503 if that took longer than the commit timeout. The check-in may still be written later, which is harmless: it
    /// did arrive.
    pub async fn submit(&self, arrival: Arrival) -> Result<Recorded, ApiError> {
        let (entry, answered) = self.entry(arrival);
        let written = async {
            self.sender.send(entry).await.ok()?;
            answered.await.ok()
        };
        match tokio::time::timeout(self.commit_timeout, written).await {
            Ok(Some(Ok(recorded))) => Ok(recorded),
            Ok(Some(Err(Unwritable))) => Err(ApiError::internal("the database refused the check-in")),
            Ok(None) | Err(_) => Err(self.too_late(1)),
        }
    }

    /// Queues the check-ins in order and returns after all of them are committed.
    ///
    /// # Errors
    /// 503 if that took longer than the commit timeout. Any of them may be written already, or later.
    pub(crate) async fn submit_all(&self, arrivals: Vec<Arrival>) -> Result<Vec<CommitResult>, ApiError> {
        let count = arrivals.len();
        let written = async {
            let mut waiting = Vec::with_capacity(count);
            for arrival in arrivals {
                let (entry, answered) = self.entry(arrival);
                self.sender.send(entry).await.ok()?;
                waiting.push(answered);
            }
            let mut answers = Vec::with_capacity(count);
            for answered in waiting {
                answers.push(answered.await.ok()?);
            }
            Some(answers)
        };
        match tokio::time::timeout(self.commit_timeout, written).await {
            Ok(Some(answers)) => Ok(answers),
            Ok(None) | Err(_) => Err(self.too_late(count)),
        }
    }

    fn entry(&self, arrival: Arrival) -> (Queued, oneshot::Receiver<CommitResult>) {
        let (answer, answered) = oneshot::channel();
        (Queued { arrival, asker: Requester { answer, pending: Some(self.progress.come()) } }, answered)
    }

    fn too_late(&self, count: usize) -> ApiError {
        self.metrics.checkins.with_label_values(&["late"]).inc_by(count as u64);
        ApiError::Unavailable { retry_after_s: RETRY_AFTER_S }
    }
}

/// Check-ins that are written together.
#[derive(Default)]
pub(crate) struct Batch {
    pub arrivals: Vec<Arrival>,
    pub askers: Vec<Requester>,
}

impl Batch {
    /// Waits for a check-in and takes it with all others that are queued, at most `most`; `None` when the queue is
    /// closed.
    pub fn next(waiting: &mut mpsc::Receiver<Queued>, most: usize) -> Option<Self> {
        let mut batch = Self::default();
        batch.push(waiting.blocking_recv()?);
        batch.fill(waiting, most);
        Some(batch)
    }

    /// Like [`Self::next`], without waiting: empty if nothing is queued.
    pub fn at_hand(waiting: &mut mpsc::Receiver<Queued>, most: usize) -> Self {
        let mut batch = Self::default();
        batch.fill(waiting, most);
        batch
    }

    fn fill(&mut self, waiting: &mut mpsc::Receiver<Queued>, most: usize) {
        while self.arrivals.len() < most
            && let Ok(entry) = waiting.try_recv()
        {
            self.push(entry);
        }
    }

    /// Passes its check-ins to another writer. If that is gone, their requests are answered 503.
    pub fn pass_on(self, to: &mpsc::Sender<Queued>) {
        for entry in self.into_entries() {
            drop(to.blocking_send(entry));
        }
    }

    pub fn into_entries(self) -> impl Iterator<Item = Queued> {
        self.arrivals.into_iter().zip(self.askers).map(|(arrival, asker)| Queued { arrival, asker })
    }

    /// The target of all check-ins in it, if they have the same.
    pub fn target(&self) -> Option<&Target> {
        let first = &self.arrivals.first()?.target;
        self.arrivals.iter().all(|arrival| arrival.target == *first).then_some(first)
    }

    /// No judgement needs to wait for these check-ins any more.
    pub fn count_no_more(&mut self) {
        self.askers.iter_mut().for_each(|asker| asker.pending = None);
    }

    /// Drops check-ins whose requests no longer wait.
    pub fn forget_unasked(&mut self) {
        for entry in std::mem::take(self).into_entries() {
            if !entry.asker.answer.is_closed() {
                self.push(entry);
            }
        }
    }

    pub fn push(&mut self, entry: Queued) {
        self.arrivals.push(entry.arrival);
        self.askers.push(entry.asker);
    }

    pub fn split(mut self) -> (Self, Self) {
        let middle = self.arrivals.len() / 2;
        let second =
            Self { arrivals: self.arrivals.split_off(middle), askers: self.askers.split_off(middle) };
        (self, second)
    }

    /// Answers each check-in that was recorded; returns the others.
    pub fn answer(self, recorded: Vec<Option<Recorded>>) -> Self {
        let mut rest = Self::default();
        for ((arrival, asker), recorded) in self.arrivals.into_iter().zip(self.askers).zip(recorded) {
            match recorded {
                Some(recorded) => asker.tell(Ok(recorded)),
                None => rest.push(Queued { arrival, asker }),
            }
        }
        rest
    }

    pub fn nobody_waits(&self) -> bool {
        self.askers.iter().all(|asker| asker.answer.is_closed())
    }

    /// The time of arrival of the oldest check-in.
    pub fn oldest(&self) -> Option<Instant> {
        self.askers.iter().filter_map(|asker| asker.pending.as_ref()).map(Pending::since).min()
    }
}

impl Queued {
    /// The target of the check-in.
    pub fn target(&self) -> &Target {
        &self.arrival.target
    }
}

impl From<Queued> for Batch {
    fn from(entry: Queued) -> Self {
        Self { arrivals: vec![entry.arrival], askers: vec![entry.asker] }
    }
}

impl Requester {
    /// Sends the answer. A request that stopped waiting was answered 503.
    pub fn tell(self, answer: CommitResult) {
        drop(self.answer.send(answer));
    }
}
