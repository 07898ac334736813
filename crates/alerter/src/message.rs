//! What is sent, and what became of it.

use std::borrow::Cow;
use std::time::Duration;

use innkeeper_core::notice::Notice;
use innkeeper_core::recipient::MailAddress;
use innkeeper_core::ways::AlerterKind;
use serde::Serialize;

use crate::letter::Letter;

/// One sending: one or more notices to one recipient under one idempotency key.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// What to tell. Several at once only to an alerter that [takes digests](Alerter::takes_digests).
    pub notices: &'a [Notice],
    /// Whom to mail; only for `smtp`.
    pub recipient: Option<&'a MailAddress>,
    /// The same at every repeat of this sending, so that a receiver recognises it.
    pub key: &'a str,
}

/// What became of a sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The provider has taken it.
    Delivered,
    /// It may succeed later.
    Retryable {
        /// The provider asked to wait this long, at most a day.
        after: Option<Duration>,
        /// Whether the provider may have taken it nevertheless. False only where it is known that it did not.
        maybe_sent: bool,
        /// What went wrong, for people; without secrets.
        problem: String,
    },
    /// Sending the same again would fail again.
    Permanent {
        /// Whether what was sent is refused, for its size or for what stands in it: a part of it may be taken.
        is_of_content: bool,
        /// What went wrong, for people; without secrets.
        problem: String,
    },
}

impl Sent {
    /// A failure that may pass, in which nothing was taken.
    pub(crate) fn not_yet(problem: impl Into<String>) -> Self {
        Self::Retryable { after: None, maybe_sent: false, problem: problem.into() }
    }

    /// A failure after which nobody knows whether the message was taken.
    pub(crate) fn unknown(problem: impl Into<String>) -> Self {
        Self::Retryable { after: None, maybe_sent: true, problem: problem.into() }
    }

    /// A failure that will not pass.
    pub(crate) fn never(problem: impl Into<String>) -> Self {
        Self::Permanent { is_of_content: false, problem: problem.into() }
    }

    /// The same failure where an earlier part of the sending was taken already.
    pub(crate) fn after_a_part(self) -> Self {
        match self {
            Self::Retryable { after, problem, .. } => Self::Retryable { after, maybe_sent: true, problem },
            other => other,
        }
    }
}

/// A way out.
pub trait Alerter: Send + Sync {
    /// Sends the message and waits for the answer; never longer than [`longest`](Self::longest).
    fn send(&self, message: &Message<'_>) -> Sent;

    /// Whether several notices may go in one message.
    fn takes_digests(&self) -> bool;

    /// How many of these notices, from the first on, one message holds: one at least, where there are any.
    fn holds(&self, notices: &[Notice]) -> usize {
        notices.len()
    }

    /// Whether a digest tells many messages in fewer words, so that it is worth letting them gather for one. Not where each is
    /// a line of its own in any company.
    fn sums_up(&self) -> bool {
        self.takes_digests()
    }

    /// The `kind` of its configuration.
    fn kind(&self) -> AlerterKind;

    /// Whether it sends to an address, so that its name alone leads nowhere.
    fn needs_address(&self) -> bool {
        self.kind().is_mail()
    }

    /// Whether it keeps an incident open until it is resolved.
    fn keeps_incidents(&self) -> bool {
        self.kind().keeps_incidents()
    }

    /// A bound on the time that one [`send`](Self::send) takes; a lease must last longer.
    fn longest(&self) -> Duration;
}

/// A notice as programs get it: its fields, and the key by which they know a repeat.
#[derive(Serialize)]
pub(crate) struct KeyedNotice<'a> {
    idempotency_key: &'a str,
    #[serde(flatten)]
    notice: Cow<'a, Notice>,
}

impl<'a> KeyedNotice<'a> {
    /// The JSON of `notice` under `key`.
    pub(crate) fn json(notice: &'a Notice, key: &'a str) -> Result<Vec<u8>, Sent> {
        let mut notice = Cow::Borrowed(notice);
        if notice.text.is_empty() {
            notice.to_mut().text = Letter::of(&notice).text();
        }
        serde_json::to_vec(&Self { idempotency_key: key, notice })
            .map_err(|error| Sent::never(format!("the notice cannot be written as JSON: {error}")))
    }
}

/// Sends the notices one by one, each under a key of its own where there are several, until one fails.
pub(crate) fn one_by_one(message: &Message<'_>, send: impl Fn(&Notice, &str) -> Sent) -> Sent {
    if let [notice] = message.notices {
        return send(notice, message.key);
    }
    for (n, notice) in message.notices.iter().enumerate() {
        let sent = send(notice, &format!("{}-{n}", message.key));
        if sent != Sent::Delivered {
            return if n == 0 { sent } else { sent.after_a_part() };
        }
    }
    Sent::Delivered
}
