//! A conversation that failed: how far it got, why, and what follows from that.

use std::fmt;
use std::io::{self, ErrorKind};

use crate::http::ALLOW;
use crate::{guard, tls};

/// How far a conversation got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Connecting, encrypting, logging in.
    Opening,
    /// Naming the sender.
    Sender,
    /// Naming the recipient.
    Recipient,
    /// Asking to send the message.
    Data,
    /// The message itself, up to the reply to its end.
    Message,
}

/// A conversation that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) stage: Stage,
    pub(super) cause: Cause,
}

/// Why.
#[derive(Debug)]
pub(super) enum Cause {
    /// The server refuses.
    Refused {
        /// 400 to 599.
        code: u16,
        /// Its reason.
        text: String,
    },
    /// The connection broke, or nothing came over it in time.
    Broken(io::Error),
    /// What the server says is no answer to what it was asked; for people.
    Garbled(String),
    /// The host's name leads nowhere, or where nobody is connected to.
    Lookup(io::Error),
    /// The whole of it took too long.
    Late,
    /// The address is not one that this server takes.
    Unfit,
}

impl Failure {
    /// What went wrong at this stage.
    pub(super) fn at(stage: Stage) -> impl Fn(Cause) -> Self {
        move |cause| Self { stage, cause }
    }

    /// The server's code, where it answered.
    pub(super) fn code(&self) -> Option<u16> {
        match &self.cause {
            Cause::Refused { code, .. } => Some(*code),
            Cause::Broken(_) | Cause::Garbled(_) | Cause::Lookup(_) | Cause::Late | Cause::Unfit => None,
        }
    }

    /// Whether the server refuses this mail for good, so that sending it again would fail again.
    ///
    /// Up to the sender's name nothing is known of the mail: a refusal there (the greeting, the log-in, the sender) is about how the two
    /// servers are set up, which an operator will mend, and so is one of the recipient for want of rights (5.7.x: relaying). From `DATA` on
    /// the mail itself is refused, but by the codes that say that the conversation went wrong or that a log-in is missing.
    pub(super) fn is_permanent(&self) -> bool {
        if matches!(&self.cause, Cause::Unfit)
            || matches!(&self.cause, Cause::Lookup(error) if guard::is_forbidden(error))
        {
            return true;
        }
        match (self.stage, self.code()) {
            (Stage::Recipient, Some(501 | 510 | 511 | 521 | 525 | 541 | 550..=554 | 556)) => {
                !self.is_for_want_of_rights()
            }
            (Stage::Data | Stage::Message, Some(530 | 534 | 535 | 538)) => false,
            (Stage::Data | Stage::Message, Some(510..=559)) => true,
            _ => false,
        }
    }

    /// Whether the enhanced status code (RFC 3463), with which the reply's text begins, is 5.7.x.
    fn is_for_want_of_rights(&self) -> bool {
        matches!(&self.cause, Cause::Refused { text, .. } if text.trim_start().starts_with("5.7."))
    }

    /// Whether the connection was dead or dying, rather than the mail refused.
    pub(super) fn is_of_the_connection(&self) -> bool {
        matches!(self.cause, Cause::Refused { code: 421, .. } | Cause::Broken(_) | Cause::Garbled(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.stage {
            Stage::Opening => "could not be used: ",
            Stage::Sender => "did not take the sender: ",
            Stage::Recipient => "did not take the recipient: ",
            Stage::Data => "did not take the message: ",
            Stage::Message => "did not confirm the message: ",
        })?;
        match &self.cause {
            Cause::Refused { code, text } => write!(f, "{code} {text}"),
            Cause::Broken(error) if is_timeout(error) => f.write_str("no answer in time"),
            Cause::Broken(error) => {
                write!(f, "{error}")?;
                tls::advice(error).map_or(Ok(()), |advice| write!(f, "; {advice}"))
            }
            Cause::Garbled(problem) => f.write_str(problem),
            Cause::Lookup(error) if guard::is_forbidden(error) => write!(f, "it {error}; {ALLOW}"),
            Cause::Lookup(error) => write!(f, "{error}"),
            Cause::Late => f.write_str("it took too long"),
            Cause::Unfit => f.write_str("the server does not take addresses beyond ASCII (SMTPUTF8)"),
        }
    }
}

/// A timeout on a socket is told as "would block", which says nothing to people.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}
