//! The sending of messages to the operator: each alerter has a thread and a queue of its own, so that one that hangs
//! does not delay the others.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use innkeeper_alerter::{Message, Sent};
use innkeeper_core::backoff::Backoff;
use innkeeper_core::notice::Notice;
use innkeeper_core::ways::{Way, parked_words};

use crate::{Shutdown, SupervisedThread, Ways};

/// The pause before the first retry; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How long a message is retried.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// How often a sender checks whether it should stop.
const TICK: Duration = Duration::from_millis(500);
/// The most messages of one alerter that wait for a retry, and the most that wait for their first attempt.
const MOST: usize = 100;

/// One message to one recipient.
pub(super) struct Letter {
    pub way: Way,
    pub notice: Notice,
    pub key: String,
}

/// The sender of one alerter.
struct Sender {
    queue: SyncSender<Letter>,
    part: SupervisedThread,
}

/// Passes each message to the sender of its alerter until the process stops or the queue is closed; then waits for the
/// senders.
pub(super) fn hand_out(ways: &Ways, letters: &Receiver<Letter>, shutdown: &Shutdown) -> anyhow::Result<()> {
    let mut senders: HashMap<String, Sender> = HashMap::new();
    // Messages for senders whose thread could not be started. They are sent by this thread, where one that hangs
    // delays the others.
    let mut unsent: Vec<Waiting> = Vec::new();
    loop {
        let stopping = shutdown.is_requested();
        match letters.recv_timeout(if stopping { Duration::ZERO } else { TICK }) {
            Ok(letter) => {
                let without_sender = hand_to(&mut senders, letter, ways, shutdown);
                unsent.extend(without_sender.filter(|_| unsent.len() < MOST).map(Waiting::new));
            }
            Err(RecvTimeoutError::Timeout) if !stopping => {}
            Err(_) => break,
        }
        unsent.retain_mut(|one| one.next > Instant::now() || one.try_again(ways));
    }
    unsent.retain_mut(|one| one.try_again(ways));
    let parts: Vec<SupervisedThread> = senders.into_values().map(|sender| sender.part).collect();
    // The queues of the senders are closed now: each makes a last attempt at what waits, and ends.
    parts.into_iter().try_for_each(SupervisedThread::join)
}

/// Returns the message if the thread of its sender cannot be started.
fn hand_to(
    senders: &mut HashMap<String, Sender>,
    letter: Letter,
    ways: &Ways,
    shutdown: &Shutdown,
) -> Option<Letter> {
    let name = letter.way.alerter.clone();
    let sender = match senders.get(&name) {
        Some(sender) => sender,
        None => match start(ways.clone(), shutdown) {
            Ok(sender) => senders.entry(name.clone()).or_insert(sender),
            Err(error) => {
                log::error!("{error}, through {name}");
                return Some(letter);
            }
        },
    };
    match sender.queue.try_send(letter) {
        Ok(()) => {}
        Err(TrySendError::Full(letter)) => {
            log::error!(
                "the operator is not told through {name}, for which too many messages wait: {}",
                letter.notice.subject
            );
        }
        Err(TrySendError::Disconnected(letter)) => {
            log::error!(
                "the operator is not told through {name}, whose sender is gone: {}",
                letter.notice.subject
            );
        }
    }
    None
}

fn start(ways: Ways, shutdown: &Shutdown) -> std::io::Result<Sender> {
    let (queue, letters) = sync_channel(MOST);
    let stop = shutdown.clone();
    let part = SupervisedThread::spawn("operator's sender", shutdown, move || {
        send_all(&ways, &letters, &stop);
        Ok(())
    })?;
    Ok(Sender { queue, part })
}

/// A message in the queue of its sender.
struct Waiting {
    letter: Letter,
    begun: Instant,
    backoff: Backoff,
    next: Instant,
}

/// Sends messages and retries failed ones until the process stops; then makes a last attempt at each.
fn send_all(ways: &Ways, letters: &Receiver<Letter>, shutdown: &Shutdown) {
    let mut waiting: Vec<Waiting> = Vec::new();
    let mut closed = false;
    loop {
        let stopping = shutdown.is_requested();
        let is_due = |waiting: &[Waiting]| waiting.iter().any(|one| one.next <= Instant::now());
        while !closed && (stopping || waiting.len() < MOST) {
            // Due messages are sent before the next is waited for. During a stop the queue is emptied first.
            let wait = if is_due(&waiting) && !stopping { Duration::ZERO } else { TICK };
            match letters.recv_timeout(wait) {
                Ok(letter) => waiting.push(Waiting::new(letter)),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => closed = true,
            }
        }
        if stopping && !closed {
            continue;
        }
        waiting.retain_mut(|one| (!stopping && one.next > Instant::now()) || one.try_again(ways));
        if closed && (stopping || waiting.is_empty()) {
            return;
        }
        if (closed || waiting.len() >= MOST) && !is_due(&waiting) {
            shutdown.wait_timeout(TICK);
        }
    }
}

impl Waiting {
    fn new(letter: Letter) -> Self {
        let now = Instant::now();
        Self { letter, begun: now, backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE), next: now }
    }

    /// Attempts to send it. Returns whether it must wait for a retry.
    fn try_again(&mut self, ways: &Ways) -> bool {
        let Letter { way: Way { alerter, address }, notice, key } = &self.letter;
        let alerters = ways.now();
        let Some(way) = alerters.get(alerter) else {
            let is_parked = alerters.is_parked(alerter);
            if is_parked && self.begun.elapsed() <= PATIENCE {
                if self.backoff.is_fresh() {
                    log::warn!(
                        "a message to the operator waits, {}: {}",
                        notice.subject,
                        parked_words(alerter)
                    );
                    self.backoff.next_pause();
                }
                // A parked alerter is checked at short intervals, so that the message is sent soon after it is enabled
                // again.
                self.next = Instant::now() + FIRST_PAUSE;
                return true;
            }
            let why = if is_parked { "is parked" } else { "is there no more" };
            log::error!("the operator is not told through {alerter}, which {why}: {}", notice.subject);
            return false;
        };
        let message = Message { notices: std::slice::from_ref(notice), recipient: address.as_ref(), key };
        let problem = match way.send(&message) {
            Sent::Delivered => return false,
            Sent::Permanent { problem, .. } => {
                log::error!("the operator cannot be told through {alerter}: {problem}");
                return false;
            }
            Sent::Retryable { problem, .. } => problem,
        };
        if self.begun.elapsed() > PATIENCE {
            log::error!("the operator could not be told through {alerter}: {problem}");
            return false;
        }
        let pause = self.backoff.next_pause();
        log::warn!("the operator is told through {alerter} again in {} s: {problem}", pause.as_secs());
        self.next = Instant::now() + pause;
        true
    }
}
