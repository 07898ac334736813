//! Messages to the operator about Innkeeper itself. They are sent directly through the alerters: the outbox needs a
//! database and a sweeper, and either may be what is missing.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use askama::Template;
use innkeeper_alerter::rendered;
use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_core::recipient::Recipient;
use innkeeper_core::reservation::Spec;
use innkeeper_core::ways::{self, Way, WaysOut};
use innkeeper_core::{Clock, Time};
use innkeeper_store::NewDelivery;
use uuid::Uuid;

use super::operator_queue::{self, Letter};
use crate::config::Live;
use crate::{Config, KnownWays, Role, Shutdown, SupervisedThread, Ways};

/// A message to the operator. It is made from a template: a line `Subject: …`, an empty line, and the text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperatorMessage {
    /// The subject, one line.
    pub subject: String,
    /// The text, without a line break at its end.
    pub text: String,
}

impl<T: Template> From<T> for OperatorMessage {
    fn from(template: T) -> Self {
        let message = rendered(&template);
        let (subject, text) = message.split_once("\n\n").unwrap_or((&message, ""));
        let subject = subject.strip_prefix("Subject: ").unwrap_or(subject);
        Self { subject: subject.to_owned(), text: text.trim_end().to_owned() }
    }
}

/// The operator's addresses, and the channel to them.
#[derive(Clone)]
pub struct Operator {
    live: Live,
    /// The known alerters.
    ways: KnownWays,
    clock: Arc<dyn Clock>,
    queue: Sender<Letter>,
}

impl Operator {
    /// Starts the sending thread in a process of this role.
    ///
    /// # Errors
    /// An alerter cannot be built, or a thread cannot be started.
    pub fn start(
        config: &Config,
        role: Role,
        clock: Arc<dyn Clock>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<(Self, SupervisedThread)> {
        let alerters = Ways::new(config, Arc::clone(&clock))?;
        let (queue, letters) = channel();
        let stop = shutdown.clone();
        let part = SupervisedThread::spawn("operator", shutdown, move || {
            operator_queue::hand_out(&alerters, &letters, &stop)
        })?;
        Ok((Self { live: config.live(), ways: KnownWays::new(config, role), clock, queue }, part))
    }

    /// The known alerters.
    pub fn ways(&self) -> &KnownWays {
        &self.ways
    }

    /// Logs the message and sends it to every operator, without waiting. A failed delivery is retried for a day.
    pub fn tell(&self, message: impl Into<OperatorMessage>) {
        let message = message.into();
        log::warn!("{}: {}", message.subject, message.text.replace('\n', " "));
        let notice = self.notice(message, self.clock.now());
        // Only this process's own alerters are used, because no other process may be there to send.
        for way in self.reached(&self.ways.own(), &self.live.get().operator) {
            let letter = Letter { way, notice: notice.clone(), key: Uuid::new_v4().to_string() };
            if self.queue.send(letter).is_err() {
                log::error!("{}: nobody sends it any more", notice.subject);
            }
        }
    }

    /// The same as deliveries for the outbox, for messages that must be stored together with a change of state.
    pub fn deliveries(&self, message: impl Into<OperatorMessage>, now: Time) -> Vec<NewDelivery> {
        self.deliveries_to(&self.live.get().operator, message, now)
    }

    /// The same, to other recipients.
    pub fn deliveries_to(
        &self,
        recipients: &[Recipient],
        message: impl Into<OperatorMessage>,
        now: Time,
    ) -> Vec<NewDelivery> {
        let ways = self.reached(&self.ways.get(), recipients);
        self.through(&ways, self.notice(message.into(), now))
    }

    /// The same, to the recipients of a reservation's alerts.
    pub fn deliveries_as_of(
        &self,
        spec: &Spec,
        message: impl Into<OperatorMessage>,
        now: Time,
    ) -> Vec<NewDelivery> {
        self.through(&self.ways.get().of_terms(spec).ways, self.notice(message.into(), now))
    }

    /// The same to the operator, without the alerters `failing` and the recipients `refused`, each given with its
    /// alerter. Mail goes through another server, if there is one. If no way is left, the message goes to any
    /// recipient of another alerter.
    pub fn deliveries_around(
        &self,
        failing: &[&str],
        refused: &[(&str, &str)],
        message: impl Into<OperatorMessage>,
        now: Time,
    ) -> Vec<NewDelivery> {
        let ways = self.ways.get();
        let works = |name: &str| !failing.contains(&name) && !ways.is_parked(name);
        let working = ways.only(&works);
        let mut around = working.route("operator", &self.live.get().operator, &[]).ways;
        around.retain(|way| !refused.contains(&(&way.alerter, way.recipient())));
        if around.iter().all(|way| way.alerter == ways::LOG) {
            let others = working.names().filter(|name| !working.needs_address(name));
            around = others.map(|name| Way { alerter: name.to_owned(), address: None }).collect();
        }
        self.through(&around, self.notice(message.into(), now))
    }

    /// The operators who cannot be reached, as sentences; one sentence if no operator is configured.
    pub fn unreached(config: &Config) -> Vec<String> {
        if config.operator.is_empty() {
            return vec![
                "operator: is empty, so Innkeeper's own problems are only written to the log".to_owned(),
            ];
        }
        let ways = config.ways_out();
        let route = ways.route("operator", &config.operator, &[]);
        let parked = route.parked(&ways).map(|name| format!("operator: {}", ways::parked_words(name)));
        route.dead_ends.iter().map(ToString::to_string).chain(parked).collect()
    }

    fn reached(&self, ways: &WaysOut, recipients: &[Recipient]) -> Vec<Way> {
        let route = ways.route("operator", recipients, &[]);
        for dead_end in &route.dead_ends {
            log::error!("the operator is not told: {dead_end}");
        }
        route.ways
    }

    fn through(&self, ways: &[Way], notice: Notice) -> Vec<NewDelivery> {
        ways.iter().map(|way| NewDelivery::through(way, notice.clone())).collect()
    }

    fn notice(&self, OperatorMessage { subject, text }: OperatorMessage, at: Time) -> Notice {
        let config = self.live.get();
        Notice {
            event: EventKind::Operator,
            instance: config.instance.clone(),
            subject,
            subject_form: config.subjects.form(),
            text: text + "\n",
            at,
            url: Some(format!("{}/nodes", config.pages_url)),
            alert: None,
            summary: None,
        }
    }
}
