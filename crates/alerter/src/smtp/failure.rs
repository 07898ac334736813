//! A failed conversation: its stage, its cause, and whether the failure is permanent.

use std::fmt;
use std::io::{self, ErrorKind};

use crate::http::ALLOW;
use crate::{guard, tls};

/// The stage that a conversation reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Connecting, encrypting, or logging in.
    Opening,
    /// The sender (`MAIL FROM`).
    Sender,
    /// The recipient (`RCPT TO`).
    Recipient,
    /// The request to send the message (`DATA`).
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

/// The cause of a failure.
#[derive(Debug)]
pub(super) enum Cause {
    /// The server refused.
    Refused {
        /// The code, 400 to 599.
        code: u16,
        /// The server's reason.
        text: String,
    },
    /// The connection broke, or a read or write timed out.
    Broken(io::Error),
    /// The server's answer does not fit the command; a text for people.
    Garbled(String),
    /// The host's name cannot be resolved, or resolves to an address that is forbidden.
    Lookup(io::Error),
    /// The whole conversation took too long.
    Late,
    /// The server does not support this address.
    Unfit,
}

impl Failure {
    /// Turns a cause into a failure at this stage.
    pub(super) fn at(stage: Stage) -> impl Fn(Cause) -> Self {
        move |cause| Self { stage, cause }
    }

    /// The server's code, if it answered.
    pub(super) fn code(&self) -> Option<u16> {
        match &self.cause {
            Cause::Refused { code, .. } => Some(*code),
            Cause::Broken(_) | Cause::Garbled(_) | Cause::Lookup(_) | Cause::Late | Cause::Unfit => None,
        }
    }

    /// Whether the server refuses this mail for good, so that another attempt would fail again.
    ///
    /// Up to the sender, the server knows nothing of the mail. A refusal there (of the greeting, the login, the sender)
    /// is about the setup of the two servers, which an operator will correct; so is a refusal of the recipient for lack
    /// of permission (5.7.x: relaying). From `DATA` on, the mail itself is refused, except by the codes for an error of
    /// the protocol or a missing login.
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

    /// Whether the text of the reply begins with the enhanced status code 5.7.x (RFC 3463).
    fn is_for_want_of_rights(&self) -> bool {
        matches!(&self.cause, Cause::Refused { text, .. } if text.trim_start().starts_with("5.7."))
    }

    /// Whether the connection failed, rather than the mail being refused.
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

/// Whether this is a timeout. The system reports a socket's timeout as "would block", which people do not understand.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}
