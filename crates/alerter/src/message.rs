//! The message that an alerter sends, and the outcome.

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
    /// The notices. There are several only if the alerter [takes digests](Alerter::takes_digests).
    pub notices: &'a [Notice],
    /// The mail address; only for `smtp`.
    pub recipient: Option<&'a MailAddress>,
    /// The idempotency key: the same at every repeat of this sending, so that a receiver can recognise the repeat.
    pub key: &'a str,
}

/// The outcome of a sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The provider has accepted it.
    Delivered,
    /// A later attempt may succeed.
    Retryable {
        /// The wait that the provider requested, at most one day.
        after: Option<Duration>,
        /// Whether the provider may have accepted it all the same. False only if it is known that it did not.
        maybe_sent: bool,
        /// What went wrong, for people; without secrets.
        problem: String,
    },
    /// Another attempt with the same content would fail again.
    Permanent {
        /// Whether the provider refuses the content, for its size or its text. A part of it may then be accepted.
        is_of_content: bool,
        /// What went wrong, for people; without secrets.
        problem: String,
    },
}

impl Sent {
    /// A failure that may pass; nothing was delivered.
    pub(crate) fn not_yet(problem: impl Into<String>) -> Self {
        Self::Retryable { after: None, maybe_sent: false, problem: problem.into() }
    }

    /// A failure after which it is unknown whether the message was delivered.
    pub(crate) fn unknown(problem: impl Into<String>) -> Self {
        Self::Retryable { after: None, maybe_sent: true, problem: problem.into() }
    }

    /// A permanent failure.
    pub(crate) fn never(problem: impl Into<String>) -> Self {
        Self::Permanent { is_of_content: false, problem: problem.into() }
    }

    /// The same failure after an earlier part of the sending was delivered.
    pub(crate) fn after_a_part(self) -> Self {
        match self {
            Self::Retryable { after, problem, .. } => Self::Retryable { after, maybe_sent: true, problem },
            other => other,
        }
    }
}

/// A service through which messages are sent.
pub trait Alerter: Send + Sync {
    /// Sends the message and waits for the answer, at most as long as [`longest`](Self::longest).
    fn send(&self, message: &Message<'_>) -> Sent;

    /// Whether one message may contain several notices.
    fn takes_digests(&self) -> bool;

    /// How many of these notices, from the first on, one message can hold. At least one, if there are any.
    fn holds(&self, notices: &[Notice]) -> usize {
        notices.len()
    }

    /// Whether a digest is shorter than its single messages, so that it is worth gathering messages for one. It is not
    /// if each notice takes a line of its own in any case.
    fn sums_up(&self) -> bool {
        self.takes_digests()
    }

    /// The `kind` of its configuration.
    fn kind(&self) -> AlerterKind;

    /// Whether messages need an address as well as the alerter's name.
    fn needs_address(&self) -> bool {
        self.kind().is_mail()
    }

    /// Whether the service keeps an incident open until it is resolved.
    fn keeps_incidents(&self) -> bool {
        self.kind().keeps_incidents()
    }

    /// An upper bound of the time that one [`send`](Self::send) takes. A lease must last longer.
    fn longest(&self) -> Duration;
}

/// A notice in JSON for programs: its fields, and the idempotency key.
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

/// Sends the notices one by one until one fails. If there are several, each has a key of its own.
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
