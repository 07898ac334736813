//! Sending: a sender claims messages with a lease, sends them and records the outcome. Each alerter has its own
//! senders, so that an alerter whose provider hangs delays no other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use innkeeper_alerter::{Alerter, Alerters, Message, Sent};
use innkeeper_core::names::AlerterName;
use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_core::recipient::MailAddress;
use innkeeper_core::ways::AlerterKind;
use innkeeper_core::{Clock, Time, lived};
use innkeeper_logging::within;
use innkeeper_node::heartbeat::progress::Progress;
use innkeeper_node::{Metrics, Seldom, Shutdown, Wake};
use innkeeper_store::{Delivery, FinishedDeliveries, Place, SendOutcome, Sending, Store, StoreError};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::backoff;
use crate::leases::Leases;
use crate::parts;
use crate::scan_cursor::ScanCursor;

/// The messages in the first claim of a sender, where each message is sent alone. The number is small, so that a slow
/// provider's messages are shared among the senders of the worker pool.
const SINGLES: usize = 8;
/// The upper limit of a claim. The size doubles with each quick claim up to this limit.
const MOST_SINGLES: usize = 256;
/// A claim whose messages are all sent within this time counts as quick.
const QUICK: Duration = Duration::from_millis(200);
/// When one message takes longer than this, the sender gives back most of its claim.
const SLOW: Duration = Duration::from_secs(1);
/// The most messages in one digest. All of them are in memory while it is composed, about 4 kB each.
const DIGEST: i64 = 10_000;
/// The most messages in one claim where a digest is a plain list of them.
const LIST: i64 = 1000;
/// After this many messages of a digest have been refused one by one in a row, the rest of the digest waits.
const REFUSED: usize = 10;
/// Outcomes are recorded at least this often while more messages are being sent.
const RECORD_EVERY: Duration = Duration::from_millis(100);
/// How often the first sender of an alerter polls the outbox, and how often the other senders do. The others are
/// normally woken; they poll in case the first is held up by a provider that hangs.
const LEAD_SLEEP: Duration = Duration::from_secs(1);
const HELPER_SLEEP: Duration = Duration::from_secs(5);
/// The database operations of a sender, as named in its progress.
const CLAIM: &str = "claim";
const RECORD: &str = "record";
/// The pause before recording is retried while the database is unavailable.
const RECORD_AGAIN: Duration = Duration::from_millis(200);

/// The senders of one alerter, with a way to wake each.
pub struct WorkerPool {
    /// The alerter's name.
    pub name: AlerterName,
    pub(crate) wakes: Vec<Wake>,
    /// Held by the sender that claims a digest; only one does at a time.
    pub(crate) claiming: Arc<Mutex<()>>,
    pub(crate) cursor: Arc<Mutex<ScanCursor<Place>>>,
    /// The alerter's kind.
    pub(crate) kind: AlerterKind,
    /// When the alerter was enabled again after it had been parked; none if this process has not seen it parked.
    pub(crate) enabled_at: Option<Time>,
    /// Whether its worker pool is to end.
    pub(crate) retired: Arc<AtomicBool>,
    pub(crate) complaints: Arc<Complaints>,
}

impl WorkerPool {
    pub(crate) fn new(
        name: &AlerterName,
        alerter: &dyn Alerter,
        senders: usize,
        shutdown: &Shutdown,
    ) -> Self {
        Self {
            name: name.clone(),
            wakes: (0..senders.max(1)).map(|_| Wake::new(shutdown)).collect(),
            claiming: Arc::default(),
            cursor: Arc::default(),
            kind: alerter.kind(),
            enabled_at: None,
            retired: Arc::default(),
            complaints: Arc::default(),
        }
    }

    /// Makes the senders end after the messages that they are sending.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.wakes.iter().for_each(Wake::wake);
    }

    /// Wakes the senders, if the sweep has put messages into the outbox for them.
    pub(crate) fn call(&self, put_in: bool) {
        if put_in {
            // Wakes all of them, since it is not known which ones are idle and which ones wait for a provider that
            // hangs.
            self.wakes.iter().for_each(Wake::wake);
        }
    }
}

/// The rate-limited log lines of all senders of one alerter about messages that were not delivered: while a provider is
/// unavailable they write one line a minute. The outcome of each message is in the outbox and on its page.
#[derive(Debug, Default)]
pub struct Complaints {
    refused: Seldom,
    given_up: Seldom,
    tried_again: Seldom,
    database: Seldom,
}

/// One sender of one alerter.
pub struct DeliverySender {
    /// The database with the outbox.
    pub store: Store,
    /// All alerters.
    pub alerters: Arc<Alerters>,
    /// The alerter that this sender sends through.
    pub name: AlerterName,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// How long a claim is valid without being renewed.
    pub lease: TimeDelta,
    /// The claims of this process, which are renewed while messages are being sent.
    pub leases: Leases,
    /// Held by the sender of this worker pool that claims a digest.
    pub claiming: Arc<Mutex<()>>,
    /// Where this worker pool's scans of the outbox for single messages begin.
    pub cursor: Arc<Mutex<ScanCursor<Place>>>,
    /// How long a message is retried before it is given up.
    pub retry_for: TimeDelta,
    /// When the alerter was enabled again; its messages could not be tried before that.
    pub enabled_at: Option<Time>,
    /// The counters of what was sent.
    pub metrics: Metrics,
    /// The rate-limited log of the worker pool.
    pub complaints: Arc<Complaints>,
    /// The progress of the claims and records, for the health status.
    pub progress: Progress,
}

/// The outcome of one step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dispatched {
    /// Messages that were claimed.
    pub claimed: usize,
    /// Messages that were delivered.
    pub delivered: usize,
}

impl DeliverySender {
    /// Claims the messages that are ready, sends them and records the outcome.
    ///
    /// # Errors
    /// A database error. A message that was claimed and not recorded is sent again, under the same key, after its
    /// lease has expired.
    pub fn dispatch_once(&self, shutdown: &Shutdown) -> Result<Dispatched, StoreError> {
        self.dispatch(SINGLES, shutdown)
    }

    /// Like [`dispatch_once`](Self::dispatch_once), but claims up to `most` messages where each is sent alone.
    ///
    /// # Errors
    /// The same as for [`dispatch_once`](Self::dispatch_once).
    pub fn dispatch(&self, most: usize, shutdown: &Shutdown) -> Result<Dispatched, StoreError> {
        let Some(alerter) = self.alerters.get(self.name.as_str()) else { return Ok(Dispatched::default()) };
        let token = Uuid::new_v4().to_string();
        if !alerter.takes_digests() {
            let sendings = self.try_to(CLAIM, || self.claim_singles(&token, most))?;
            return self.work_off(alerter, &token, sendings, shutdown);
        }
        let Some(sending) = self.try_to(CLAIM, || self.claim_digest(alerter, &token))? else {
            return Ok(Dispatched::default());
        };
        self.work_off(alerter, &token, vec![sending], shutdown)
    }

    /// Performs one of the database operations and notes in the progress whether it succeeded.
    fn try_to<T>(&self, what: &str, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let attempt = self.progress.begin(self.worker(what));
        let done = work();
        match &done {
            Ok(_) => attempt.succeeded(),
            Err(error) => attempt.failed_for_now(error),
        }
        done
    }

    /// The name under which the progress knows this operation of this alerter.
    fn worker(&self, what: &str) -> String {
        format!("{what} {}", self.name)
    }

    /// Notes that no message waits to be sent through this alerter.
    fn has_nothing_to_do(&self) {
        for what in [CLAIM, RECORD] {
            self.progress.has_nothing_to_do(&self.worker(what));
        }
    }

    fn claim_singles(&self, token: &str, most: usize) -> Result<Vec<Sending>, StoreError> {
        let now = self.clock.now();
        let claim = |from| {
            self.store.claim_singles_after(from, self.name.as_str(), now, self.lease, token, most as i64)
        };
        let last = |sendings: &[Sending]| {
            sendings.iter().flat_map(|one| &one.deliveries).map(|one| (one.next_at, one.id)).max()
        };
        let cursor = || self.cursor.lock();
        let from = cursor().of_look(now);
        if from.is_some() {
            let sendings = claim(from)?;
            if let Some(place) = last(&sendings) {
                cursor().further(place);
                return Ok(sendings);
            }
        }
        let sendings = claim(None)?;
        cursor().whole(now, last(&sendings));
        Ok(sendings)
    }

    fn claim_digest(&self, alerter: &dyn Alerter, token: &str) -> Result<Option<Sending>, StoreError> {
        let limit = if alerter.sums_up() { DIGEST } else { LIST };
        // The database would serialise these claims in any case, and each would occupy a connection meanwhile.
        let _claiming = self.claiming.lock();
        let now = self.clock.now();
        self.store.claim_digest(self.name.as_str(), now, self.lease, token, limit, alerter.sums_up())
    }

    /// Sends what was claimed under `token`, and records the outcome.
    fn work_off(
        &self,
        alerter: &dyn Alerter,
        token: &str,
        sendings: Vec<Sending>,
        shutdown: &Shutdown,
    ) -> Result<Dispatched, StoreError> {
        let _held = self.leases.hold(token, &sendings);
        let mut done = Dispatched::default();
        let mut results = Vec::new();
        let mut recorded_at = Instant::now();
        let mut sendings: VecDeque<Sending> = match alerter.takes_digests() {
            true => sendings.into_iter().flat_map(|sending| parts::of(alerter, sending)).collect(),
            false => sendings.into(),
        };
        let mut refused = 0;
        // Why the remaining parts of a digest wait.
        let mut waits = None;
        while let Some(sending) = sendings.pop_front() {
            let begun = Instant::now();
            let sent = match (&waits, shutdown.is_requested()) {
                (Some(sent), _) => Some(Sent::clone(sent)),
                (None, true) => None,
                (None, false) => Some(self.send(alerter, &sending)),
            };
            if let Some(Sent::Permanent { is_of_content: true, problem }) = &sent
                && alerter.takes_digests()
            {
                if sending.deliveries.len() > 1 {
                    // Nothing of it was delivered. The sending is split, so that one bad message, or the size, does not
                    // hold back the other messages.
                    log::debug!(
                        "{}: {} messages go out in halves: {problem}",
                        self.name,
                        sending.deliveries.len()
                    );
                    let (first, second) = parts::halves(sending);
                    sendings.push_front(second);
                    sendings.push_front(first);
                    continue;
                }
                refused += 1;
                if refused >= REFUSED {
                    waits =
                        Some(Sent::Retryable { after: None, maybe_sent: false, problem: problem.clone() });
                }
            }
            match &sent {
                Some(Sent::Delivered) => refused = 0,
                Some(Sent::Retryable { after, problem, .. }) if alerter.takes_digests() => {
                    // The remaining messages wait to keep the order: the end of an incident must not be delivered
                    // before its beginning.
                    let (after, problem) = (*after, problem.clone());
                    waits = Some(Sent::Retryable { after, maybe_sent: false, problem });
                }
                _ => {}
            }
            let outcome =
                sent.map_or(SendOutcome::Untried, |sent| self.judge(sent, &sending, self.clock.now()));
            self.count(&sending, &outcome);
            done.claimed += sending.deliveries.len();
            done.delivered += if outcome == SendOutcome::Delivered { sending.deliveries.len() } else { 0 };
            results.push(finished(&sending, outcome));
            if begun.elapsed() >= SLOW && sendings.len() > SINGLES {
                let given_back = sendings.split_off(SINGLES);
                results.extend(given_back.iter().map(|sending| finished(sending, SendOutcome::Untried)));
            }
            if recorded_at.elapsed() >= RECORD_EVERY {
                self.record(token, &mut results, shutdown)?;
                recorded_at = Instant::now();
            }
        }
        self.record(token, &mut results, shutdown)?;
        Ok(done)
    }

    fn count(&self, sending: &Sending, outcome: &SendOutcome) {
        let result = match outcome {
            SendOutcome::Delivered => "delivered",
            SendOutcome::Retry { .. } => "retry",
            SendOutcome::Dead { .. } | SendOutcome::Exhausted { .. } => "dead",
            SendOutcome::Untried => return,
        };
        let count = sending.deliveries.len() as u64;
        self.metrics.deliveries.with_label_values(&[self.name.as_str(), result]).inc_by(count);
        if *outcome == SendOutcome::Delivered {
            let now = self.clock.now();
            let seconds_since = |at: Time| (now - at).as_seconds_f64().max(0.0);
            let alert_lag = self.metrics.alert_lag.with_label_values(&[self.name.as_str()]);
            for Delivery { notice, created_at, .. } in &sending.deliveries {
                self.metrics.lag.observe(seconds_since(*created_at));
                if let (EventKind::Opened, Some(alert)) = (notice.event, &notice.alert) {
                    alert_lag.observe(seconds_since(alert.since));
                }
            }
        }
    }

    /// Sends one sending. No transaction is open meanwhile.
    fn send(&self, alerter: &dyn Alerter, sending: &Sending) -> Sent {
        let first = sending.deliveries.first().and_then(|delivery| u64::try_from(delivery.id).ok());
        let _delivery = first.map(|id| within("delivery", id));
        let recipient = match sending.recipient.as_str() {
            "" => None,
            text => match MailAddress::parse("recipient", text) {
                Ok(address) => Some(address),
                Err(error) => {
                    return Sent::Permanent { is_of_content: false, problem: error.to_string() };
                }
            },
        };
        let notices: Vec<Notice> =
            sending.deliveries.iter().map(|delivery| delivery.notice.clone()).collect();
        let message = Message { notices: &notices, recipient: recipient.as_ref(), key: &sending.key };
        alerter.send(&message)
    }

    /// Whether a message that was put into the outbox at `oldest` has been retried for long enough. Only the time in
    /// which Innkeeper was running counts.
    fn is_given_up(&self, oldest: Time, now: Time) -> bool {
        if now - oldest < self.retry_for || !self.clock.is_steady() {
            return false;
        }
        match self.store.blind_windows(now) {
            Ok(windows) => oldest <= lived::ago(&windows, self.retry_for, now),
            Err(error) => {
                log::debug!("{}: how old a message is: {error}", self.name);
                false
            }
        }
    }

    /// The outcome for the deliveries of a sending that ended with `sent`.
    fn judge(&self, sent: Sent, sending: &Sending, now: Time) -> SendOutcome {
        let whom = if sending.recipient.is_empty() { "" } else { " to " };
        let way = format!("{}{whom}{}", self.name, sending.recipient);
        match sent {
            Sent::Delivered => SendOutcome::Delivered,
            Sent::Permanent { problem, .. } => {
                let refused = format_args!("a message through {way} cannot be delivered: {problem}");
                self.complaints.refused.error(refused);
                SendOutcome::Dead { problem }
            }
            Sent::Retryable { after, maybe_sent, problem } => {
                let oldest =
                    sending.deliveries.iter().map(|delivery| delivery.created_at).min().unwrap_or(now);
                // The time in which the alerter was parked does not count, since the message could not be tried then.
                let oldest = self.enabled_at.map_or(oldest, |enabled_at| oldest.max(enabled_at));
                if self.is_given_up(oldest, now) {
                    let given_up = format_args!("a message through {way} is given up: {problem}");
                    self.complaints.given_up.error(given_up);
                    return SendOutcome::Exhausted { problem };
                }
                let attempts = sending.deliveries.iter().map(|delivery| delivery.attempts).min().unwrap_or(0);
                let asked =
                    after.and_then(|after| TimeDelta::from_std(after).ok()).unwrap_or(TimeDelta::zero());
                let at = now + backoff::pause(attempts, &sending.key).max(asked);
                self.complaints.tried_again.warn(format_args!(
                    "a message through {way} is tried again at {}: {problem}",
                    at.format("%H:%M:%S")
                ));
                SendOutcome::Retry { at, maybe_sent, problem }
            }
        }
    }

    /// Records results, and retries while the database is unavailable, so that a message that was sent is not sent
    /// twice: another sender needs the same database to claim it.
    fn record(
        &self,
        token: &str,
        results: &mut Vec<FinishedDeliveries>,
        shutdown: &Shutdown,
    ) -> Result<(), StoreError> {
        if results.is_empty() {
            return Ok(());
        }
        loop {
            match self.try_to(RECORD, || self.store.finish(token, results, self.clock.now())) {
                Err(error) if error.is_unavailable() && !shutdown.wait_timeout(RECORD_AGAIN) => {}
                done => {
                    results.clear();
                    return done;
                }
            }
        }
    }

    /// How long to sleep: until the next message is ready, at most `longest`.
    fn until_next(&self, longest: Duration) -> Result<Duration, StoreError> {
        let next = self.store.next_delivery_at(self.name.as_str())?;
        if next.is_none() {
            self.has_nothing_to_do();
        }
        let span = next.map_or(longest, |next| (next - self.clock.now()).to_std().unwrap_or_default());
        Ok(span.min(longest))
    }
}

/// One outcome for all messages of a sending.
fn finished(sending: &Sending, outcome: SendOutcome) -> FinishedDeliveries {
    FinishedDeliveries { ids: sending.deliveries.iter().map(|delivery| delivery.id).collect(), outcome }
}

/// The loop of one sender. It ends when the process stops, or when `refresh`, which updates the sender, says so. The
/// lead sender polls the outbox and wakes `helpers` when there is much to send.
pub(crate) fn run(
    sender: &mut DeliverySender,
    refresh: impl Fn(&mut DeliverySender) -> bool,
    lead: bool,
    wake: &Wake,
    helpers: &[Wake],
    shutdown: &Shutdown,
) {
    let mut pace = Pace { most: SINGLES, longest: if lead { LEAD_SLEEP } else { HELPER_SLEEP } };
    let mut called = false;
    while refresh(sender) {
        let pause = match pace.step(sender, called, helpers, shutdown) {
            Ok(pause) => pause,
            Err(error) => complain(sender, &error),
        };
        let since = Instant::now();
        if shutdown.is_requested() || (pause > Duration::ZERO && !wake.sleep(pause)) {
            return;
        }
        called = since.elapsed() < pause || pause.is_zero();
    }
    sender.has_nothing_to_do();
}

/// The pace of one sender.
struct Pace {
    /// The size of the next claim of single messages.
    most: usize,
    /// The longest sleep.
    longest: Duration,
}

impl Pace {
    /// One step. Returns how long to sleep before the next one. A sender that was woken, or that has just found work,
    /// claims without first asking whether there is something: under high load that query costs as much as the claim.
    fn step(
        &mut self,
        sender: &DeliverySender,
        called: bool,
        helpers: &[Wake],
        shutdown: &Shutdown,
    ) -> Result<Duration, StoreError> {
        if !called {
            let wait = sender.until_next(self.longest)?;
            if wait > Duration::ZERO {
                return Ok(wait);
            }
        }
        let begun = Instant::now();
        let done = sender.dispatch(self.most, shutdown)?;
        if done.claimed >= SINGLES {
            helpers.iter().for_each(Wake::wake);
        }
        if begun.elapsed() > QUICK || done.delivered < done.claimed {
            self.most = SINGLES.max(self.most / 2);
        } else if done.claimed >= self.most {
            self.most = MOST_SINGLES.min(self.most * 2);
        }
        // When nothing was claimed, the messages that are ready belong to another sender, gather for a digest, or wait
        // for an earlier message of their incident. Only the lead looks for them again each second.
        Ok(if done.claimed > 0 { Duration::ZERO } else { self.longest })
    }
}

fn complain(sender: &DeliverySender, error: &StoreError) -> Duration {
    if error.is_unavailable() {
        log::debug!("{}: {error}", sender.name);
    } else {
        sender.complaints.database.error(format_args!("sending through {}: {error}", sender.name));
    }
    LEAD_SLEEP
}
