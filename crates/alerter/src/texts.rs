//! The texts of messages about the alerters themselves.

use askama::Template;

use crate::letter::rendered;

/// The mail that Innkeeper sends to itself.
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

/// The text of a test message through an alerter.
pub fn test(alerter: &str, by: &str) -> String {
    rendered(&Test { alerter, by })
}
