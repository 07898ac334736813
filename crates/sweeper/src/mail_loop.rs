//! The mail loop: Innkeeper sends a mail to itself and checks that it arrives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use askama::Template;
use innkeeper_alerter::{Alerters, Mailbox, Message, Sent, texts};
use innkeeper_core::Clock;
use innkeeper_core::notice::{EventKind, Notice, SubjectForm};
use innkeeper_core::recipient::MailAddress;
use innkeeper_node::config::MailLoopConfig;
use innkeeper_node::health::{MAIL, OK};
use innkeeper_node::heartbeat::{Operator, Singleton};
use innkeeper_node::{Shutdown, Ways};
use innkeeper_store::{Store, StoreError};
use uuid::Uuid;

/// How often the mailbox is checked while a mail is under way.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The outcome of a round. The text is the problem, in a few words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Round {
    /// The mail arrived.
    Came,
    /// The mail could not be sent.
    NotSent(String),
    /// The mail was sent, but the mailbox cannot be read.
    Unreadable(String),
    /// The mail was sent and the mailbox can be read, but the mail did not arrive in time.
    Lost(String),
    /// The process stops, or another node has taken over.
    CutShort,
}

impl Round {
    fn state(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Came => Some((OK, "")),
            Self::NotSent(problem) => Some(("not sent", problem)),
            Self::Unreadable(problem) => Some(("mailbox unreadable", problem)),
            Self::Lost(problem) => Some(("lost", problem)),
            Self::CutShort => None,
        }
    }
}

/// The message to the operator.
#[derive(Template)]
enum MailMessage<'a> {
    #[template(path = "mail_broken.txt")]
    Broken { state: &'a str, problem: &'a str },
    #[template(path = "mail_works.txt")]
    Works,
}

/// Sends mails to a mailbox of its own and waits for them.
pub struct MailLoop {
    store: Store,
    clock: Arc<dyn Clock>,
    singleton: Singleton,
    operator: Operator,
    alerters: Arc<Alerters>,
    mailbox: Mailbox,
    to: MailAddress,
    folders: Vec<String>,
    every: Duration,
    within: Duration,
    instance: String,
}

impl MailLoop {
    /// The loop of this configuration; none if it is off.
    ///
    /// # Errors
    /// Certificates that cannot be read.
    pub fn new(
        config: &MailLoopConfig,
        instance: &str,
        store: Store,
        clock: Arc<dyn Clock>,
        singleton: Singleton,
        operator: Operator,
        alerters: Arc<Alerters>,
    ) -> anyhow::Result<Option<Self>> {
        let mailbox = config.mailbox().map_err(|invalid| anyhow::anyhow!("mail_loop.{invalid}"))?;
        let (Some(mailbox), Some(to)) = (mailbox, &config.to) else { return Ok(None) };
        Ok(Some(Self {
            store,
            clock,
            singleton,
            operator,
            alerters,
            mailbox,
            to: to.clone(),
            folders: config.folders.clone(),
            every: config.every.to_std().unwrap_or_default(),
            within: config.within.to_std().unwrap_or_default(),
            instance: instance.to_owned(),
        }))
    }

    /// Sends a mail and waits for it.
    pub fn round(&self, shutdown: &Shutdown) -> Round {
        let token = Uuid::new_v4().simple().to_string();
        if let Err(problem) = self.send(&token) {
            return Round::NotSent(problem);
        }
        let sent = Instant::now();
        loop {
            let looked = self.mailbox.take(&self.folders, &token);
            if looked == Ok(true) {
                return Round::Came;
            }
            if sent.elapsed() >= self.within {
                let within = self.within.as_secs();
                return match looked {
                    Err(problem) => Round::Unreadable(problem),
                    Ok(_) => Round::Lost(format!(
                        "The server took a mail to {} and it is not there after {within} s.",
                        self.to.as_str()
                    )),
                };
            }
            let pause = LOOK_EVERY.min(self.within / 4).max(Duration::from_millis(100));
            if shutdown.wait_timeout(pause) || !self.singleton.is_held() {
                return Round::CutShort;
            }
        }
    }

    fn send(&self, token: &str) -> Result<(), String> {
        let alerter = self.alerters.smtp().and_then(|name| self.alerters.get(name.as_str()));
        let alerter = alerter.ok_or_else(|| {
            let mut parked = self.alerters.parked().filter(|(_, kind)| kind.is_mail()).map(|(name, _)| name);
            match parked.next() {
                Some(name) => format!("{name} is parked (enabled = false)"),
                None => "there is no alerter of kind smtp".to_owned(),
            }
        })?;
        let notice = Notice {
            event: EventKind::Operator,
            instance: self.instance.clone(),
            subject: format!("Mail loop {token}"),
            subject_form: SubjectForm::default(),
            text: texts::mail_loop(),
            at: self.clock.now(),
            url: None,
            alert: None,
            summary: None,
        };
        let message =
            Message { notices: std::slice::from_ref(&notice), recipient: Some(&self.to), key: token };
        match alerter.send(&message) {
            Sent::Delivered => Ok(()),
            Sent::Retryable { problem, .. } | Sent::Permanent { problem, .. } => Err(problem),
        }
    }

    /// Records the outcome of a round, and sends the operator a message when the outcome has changed.
    ///
    /// # Errors
    /// A database error.
    pub fn record(&self, round: &Round) -> Result<(), StoreError> {
        let Some((state, problem)) = round.state() else { return Ok(()) };
        let now = self.clock.now();
        let tell = |before: Option<&str>| match (state, before) {
            (OK, None) => Vec::new(),
            (OK, Some(_)) => self.operator.deliveries(MailMessage::Works, now),
            _ => self.operator.deliveries(MailMessage::Broken { state, problem }, now),
        };
        if self.store.note_check(MAIL, state, problem, now, &tell)? && state != OK {
            log::error!("the mail loop: {state}: {problem}");
        }
        Ok(())
    }

    /// The loop, until the process stops.
    pub(crate) fn run(&mut self, ways: &Ways, shutdown: &Shutdown) {
        let mut next = Instant::now();
        while !shutdown.wait_timeout(Duration::from_secs(1)) {
            if Instant::now() < next || !self.singleton.is_held() {
                continue;
            }
            next = Instant::now() + self.every;
            self.alerters = ways.now();
            let round = self.round(shutdown);
            // With a slow server the round may have outlasted the lease. Then another node reports the state of mail.
            if !self.singleton.is_held() {
                continue;
            }
            if let Err(error) = self.record(&round) {
                log::warn!("the mail loop: {error}");
            }
        }
    }
}
