//! A conversation that failed: how far it got, why, and what follows from that.

use std::error::Error as _;
use std::fmt;
use std::io::ErrorKind;

use lettre::transport::smtp::Error;

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
    /// What lettre says of it: a refusal by the server, or a broken connection.
    Smtp(Error),
    /// The host's name leads nowhere.
    Lookup(std::io::Error),
    /// The whole of it took too long.
    Late,
    /// The address is not one that this server takes.
    Unfit,
}

impl Failure {
    /// What lettre tells at this stage.
    pub(super) fn at(stage: Stage) -> impl Fn(Error) -> Self {
        move |error| Self { stage, cause: Cause::Smtp(error) }
    }

    /// The server's code, where it answered.
    pub(super) fn code(&self) -> Option<u16> {
        match &self.cause {
            Cause::Smtp(error) => error.status().map(u16::from),
            Cause::Lookup(_) | Cause::Late | Cause::Unfit => None,
        }
    }

    /// Whether the server refuses this mail for good, so that sending it again would fail again.
    ///
    /// Up to the sender's name nothing is known of the mail: a refusal there (the greeting, the log-in, the sender) is about how the two
    /// servers are set up, which an operator will mend, and so is one of the recipient for want of rights (5.7.x: relaying). From `DATA` on
    /// the mail itself is refused, but by the codes that say that the conversation went wrong or that a log-in is missing.
    pub(super) fn is_permanent(&self) -> bool {
        let Cause::Smtp(_) = &self.cause else { return matches!(self.cause, Cause::Unfit) };
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
        let Cause::Smtp(error) = &self.cause else { return false };
        error.source().is_some_and(|text| text.to_string().trim_start().starts_with("5.7."))
    }

    /// Whether the connection was dead or dying, rather than the mail refused.
    pub(super) fn is_of_the_connection(&self) -> bool {
        matches!(self.cause, Cause::Smtp(_)) && matches!(self.code(), None | Some(421))
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
            Cause::Smtp(error) => match (error.status(), error.source()) {
                (Some(code), Some(text)) => write!(f, "{code} {text}"),
                _ if is_timeout(error) => f.write_str("no answer in time"),
                _ => write!(f, "{error}"),
            },
            Cause::Lookup(error) => write!(f, "{error}"),
            Cause::Late => f.write_str("it took too long"),
            Cause::Unfit => f.write_str("the server does not take addresses beyond ASCII (SMTPUTF8)"),
        }
    }
}

/// A timeout on a socket is told as "would block", which says nothing to people.
fn is_timeout(error: &Error) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| matches!(io.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}
