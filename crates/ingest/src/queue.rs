//! A check-in between its request and its commit.
//!
//! Requests put check-ins into a bounded queue; a writer (`batch_writer.rs`) takes whatever waits, writes it in one transaction, and
//! only then answers. While one batch commits the next gathers: no timers, no added delay.

use std::time::{Duration, Instant};

use innkeeper_http::ApiError;
use innkeeper_node::Metrics;
use innkeeper_node::heartbeat::pending::Pending;
use innkeeper_node::heartbeat::progress::Progress;
use innkeeper_store::{Arrival, Recorded, Target};
use tokio::sync::{mpsc, oneshot};

/// What a client is told to wait before it tries again, seconds.
const RETRY_AFTER_S: u32 = 5;

pub(crate) type Answer = Result<Recorded, Unwritable>;

/// A check-in that the database refuses for good. The cause is in the log.
#[derive(Debug)]
pub(crate) struct Unwritable;

/// The requests' side of the queue.
#[derive(Clone)]
pub struct Queue {
    sender: mpsc::Sender<Entry>,
    commit_timeout: Duration,
    metrics: Metrics,
    progress: Progress,
}

/// A check-in that waits to be written, and who waits for its answer.
pub(crate) struct Entry {
    arrival: Arrival,
    asker: Asker,
}

/// Who waits for an answer.
pub(crate) struct Asker {
    answer: oneshot::Sender<Answer>,
    /// As long as it is here, nobody takes the check-in for written.
    pending: Option<Pending>,
}

impl Queue {
    pub(crate) fn new(
        length: usize,
        commit_timeout: Duration,
        metrics: Metrics,
        progress: Progress,
    ) -> (Self, mpsc::Receiver<Entry>) {
        let (sender, receiver) = mpsc::channel(length);
        (Self { sender, commit_timeout, metrics, progress }, receiver)
    }

    /// What tells how many check-ins wait; it does not keep the queue open.
    pub(crate) fn depth(&self) -> impl Fn() -> usize + Send + Sync + 'static {
        let sender = self.sender.downgrade();
        move || sender.upgrade().map_or(0, |sender| sender.max_capacity() - sender.capacity())
    }

    /// Has the check-in written; returns after its commit.
    ///
    /// # Errors
    /// 503 when that took longer than the commit timeout. The check-in may still be written later, which is true
    /// and harmless: it did arrive.
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

    /// Has the check-ins written, in their order; returns after the commit of all of them.
    ///
    /// # Errors
    /// 503 when that took longer than the commit timeout. Any of them may have been written, or may still be.
    pub(crate) async fn submit_all(&self, arrivals: Vec<Arrival>) -> Result<Vec<Answer>, ApiError> {
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

    fn entry(&self, arrival: Arrival) -> (Entry, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        (Entry { arrival, asker: Asker { answer, pending: Some(self.progress.come()) } }, answered)
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
    pub askers: Vec<Asker>,
}

impl Batch {
    /// Waits for a check-in and takes with it whatever else waits, `most` at most; none when nobody can send any more.
    pub fn next(waiting: &mut mpsc::Receiver<Entry>, most: usize) -> Option<Self> {
        let mut batch = Self::default();
        batch.push(waiting.blocking_recv()?);
        batch.fill(waiting, most);
        Some(batch)
    }

    /// The same without waiting: empty where nothing waits.
    pub fn at_hand(waiting: &mut mpsc::Receiver<Entry>, most: usize) -> Self {
        let mut batch = Self::default();
        batch.fill(waiting, most);
        batch
    }

    fn fill(&mut self, waiting: &mut mpsc::Receiver<Entry>, most: usize) {
        while self.arrivals.len() < most
            && let Ok(entry) = waiting.try_recv()
        {
            self.push(entry);
        }
    }

    /// Passes its check-ins on. Those that wait for an answer are told 503 when nobody takes them.
    pub fn pass_on(self, to: &mpsc::Sender<Entry>) {
        for entry in self.into_entries() {
            drop(to.blocking_send(entry));
        }
    }

    pub fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.arrivals.into_iter().zip(self.askers).map(|(arrival, asker)| Entry { arrival, asker })
    }

    /// Whom all of them are for, where that is one.
    pub fn target(&self) -> Option<&Target> {
        let first = &self.arrivals.first()?.target;
        self.arrivals.iter().all(|arrival| arrival.target == *first).then_some(first)
    }

    /// Nobody has to wait until these are written.
    pub fn count_no_more(&mut self) {
        self.askers.iter_mut().for_each(|asker| asker.pending = None);
    }

    /// Drops those for which nobody waits.
    pub fn forget_unasked(&mut self) {
        for entry in std::mem::take(self).into_entries() {
            if !entry.asker.answer.is_closed() {
                self.push(entry);
            }
        }
    }

    pub fn push(&mut self, entry: Entry) {
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
                None => rest.push(Entry { arrival, asker }),
            }
        }
        rest
    }

    pub fn nobody_waits(&self) -> bool {
        self.askers.iter().all(|asker| asker.answer.is_closed())
    }

    /// When the oldest of them came.
    pub fn oldest(&self) -> Option<Instant> {
        self.askers.iter().filter_map(|asker| asker.pending.as_ref()).map(Pending::since).min()
    }
}

impl Entry {
    /// Whom it is for.
    pub fn target(&self) -> &Target {
        &self.arrival.target
    }
}

impl From<Entry> for Batch {
    fn from(entry: Entry) -> Self {
        Self { arrivals: vec![entry.arrival], askers: vec![entry.asker] }
    }
}

impl Asker {
    /// Answers. One who gave up meanwhile has been told 503.
    pub fn tell(self, answer: Answer) {
        drop(self.answer.send(answer));
    }
}
