//! The texts of messages about the ways out themselves.

use askama::Template;

use crate::letter::rendered;

/// What Innkeeper mails to itself.
#[derive(Debug, Template)]
#[template(path = "mail_loop.txt")]
struct MailLoop;

#[derive(Debug, Template)]
#[template(path = "test.txt")]
struct Test<'a> {
    alerter: &'a str,
    by: &'a str,
}

/// The text of the mail that Innkeeper sends to itself.
pub fn mail_loop() -> String {
    rendered(&MailLoop)
}

/// The text of a message by which somebody tries out an alerter.
pub fn test(alerter: &str, by: &str) -> String {
    rendered(&Test { alerter, by })
}
