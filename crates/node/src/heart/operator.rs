//! Telling the operator about Innkeeper itself, straight through the alerters: the outbox needs a database and a sweeper, and either
//! may be what is missing.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use innkeeper_alerter::{Message, Sent};
use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_core::recipient::{MailAddress, Recipient};
use innkeeper_core::{Clock, Time};
use innkeeper_store::NewDelivery;
use uuid::Uuid;

use crate::config::Live;
use crate::{Config, Part, Shutdown, Ways};

/// The first pause before a message is tried again; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How long a message is tried.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// How often the sender looks whether it should stop.
const TICK: Duration = Duration::from_millis(500);

/// Who the operator is, and how to write to them.
#[derive(Clone)]
pub struct Operator {
    live: Live,
    ways: Ways,
    clock: Arc<dyn Clock>,
    queue: Sender<Letter>,
}

/// One message to one recipient.
struct Letter {
    alerter: String,
    recipient: Option<MailAddress>,
    notice: Notice,
    key: String,
}

impl Operator {
    /// Starts the thread that sends.
    ///
    /// # Errors
    /// An alerter that cannot be built, or no thread to be had.
    pub fn start(
        config: &Config,
        clock: Arc<dyn Clock>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<(Self, Part)> {
        let ways = Ways::new(config, Arc::clone(&clock))?;
        let (queue, letters) = channel();
        let stop = shutdown.clone();
        let sending = ways.clone();
        let part = Part::spawn("operator", shutdown, move || {
            send_all(&sending, &letters, &stop);
            Ok(())
        })?;
        Ok((Self { live: config.live(), ways, clock, queue }, part))
    }

    /// Tells every operator, and the log. Does not wait for it; what cannot be sent is tried again for a day.
    pub fn tell(&self, subject: &str, text: &str) {
        log::warn!("{subject}: {}", text.trim_end().replace('\n', " "));
        let notice = self.notice(subject, text, self.clock.now());
        for (alerter, recipient) in self.ways_out(&self.live.get().operator) {
            let key = Uuid::new_v4().to_string();
            let letter = Letter { alerter, recipient, notice: notice.clone(), key };
            if self.queue.send(letter).is_err() {
                log::error!("{subject}: nobody sends it any more");
            }
        }
    }

    /// The same as messages for the outbox, for what must be told together with a change of state.
    pub fn deliveries(&self, subject: &str, text: &str, now: Time) -> Vec<NewDelivery> {
        self.deliveries_to(&self.live.get().operator, subject, text, now)
    }

    /// The same to others.
    pub fn deliveries_to(
        &self,
        recipients: &[Recipient],
        subject: &str,
        text: &str,
        now: Time,
    ) -> Vec<NewDelivery> {
        let notice = self.notice(subject, text, now);
        self.ways_out(recipients)
            .into_iter()
            .map(|(alerter, recipient)| NewDelivery {
                alerter,
                recipient: recipient.map(|address| address.as_str().to_owned()).unwrap_or_default(),
                notice: notice.clone(),
            })
            .collect()
    }

    fn notice(&self, subject: &str, text: &str, at: Time) -> Notice {
        let config = self.live.get();
        Notice {
            event: EventKind::Operator,
            instance: config.instance.clone(),
            subject: subject.to_owned(),
            text: format!("{}\n", text.trim_end()),
            at,
            url: Some(format!("{}/nodes", config.public_url)),
            alert: None,
        }
    }

    fn ways_out(&self, recipients: &[Recipient]) -> Vec<(String, Option<MailAddress>)> {
        let mail = self.ways.now().smtp().map(ToString::to_string);
        recipients
            .iter()
            .filter_map(|recipient| match recipient {
                Recipient::Alerter(name) => Some((name.to_string(), None)),
                Recipient::Mail(address) => Some((mail.clone()?, Some(address.clone()))),
            })
            .collect()
    }
}

/// Sends what comes, and again what could not be sent, until the process stops; then each once more.
fn send_all(ways: &Ways, letters: &Receiver<Letter>, shutdown: &Shutdown) {
    struct Waiting {
        letter: Letter,
        begun: Instant,
        pause: Duration,
        next: Instant,
    }
    let mut waiting: Vec<Waiting> = Vec::new();
    loop {
        let stopping = shutdown.is_requested();
        match letters.recv_timeout(if stopping { Duration::ZERO } else { TICK }) {
            Ok(letter) => {
                let now = Instant::now();
                waiting.push(Waiting { letter, begun: now, pause: FIRST_PAUSE, next: now });
            }
            Err(RecvTimeoutError::Disconnected) if waiting.is_empty() => return,
            Err(_) => {}
        }
        let alerters = ways.now();
        waiting.retain_mut(|one| {
            if !stopping && Instant::now() < one.next {
                return true;
            }
            let Letter { alerter, recipient, notice, key } = &one.letter;
            let Some(way) = alerters.get(alerter) else { return false };
            let message =
                Message { notices: std::slice::from_ref(notice), recipient: recipient.as_ref(), key };
            let problem = match way.send(&message) {
                Sent::Delivered => return false,
                Sent::Permanent { problem } => {
                    log::error!("the operator cannot be told through {alerter}: {problem}");
                    return false;
                }
                Sent::Retryable { problem, .. } => problem,
            };
            if one.begun.elapsed() > PATIENCE {
                log::error!("the operator could not be told through {alerter}: {problem}");
                return false;
            }
            log::warn!(
                "the operator is told through {alerter} again in {} s: {problem}",
                one.pause.as_secs()
            );
            one.next = Instant::now() + one.pause;
            one.pause = (one.pause * 2).min(LONGEST_PAUSE);
            true
        });
        if stopping {
            return;
        }
    }
}
