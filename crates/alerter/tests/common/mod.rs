//! Notices and alerters for the tests.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::sync::Arc;
use std::time::Duration;

use innkeeper_alerter::{Alerter, AlerterConfig, ConfigError, Message, Sent};
use innkeeper_core::alert::Cause;
use innkeeper_core::names::AlerterName;
use innkeeper_core::notice::{AlertNotice, EventKind, Notice};
use innkeeper_core::recipient::MailAddress;
use innkeeper_core::{Clock, ManualClock, Time};
use innkeeper_testing::smtp_sink::SmtpSink;

/// 2026-11-20 02:05:00 UTC, on which the tests' clocks stand.
pub fn now() -> Time {
    "2026-11-20T02:05:00Z".parse().unwrap()
}

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(now()))
}

/// Reads a table of the configuration, `kind` included.
pub fn config(toml: &str) -> AlerterConfig {
    let table: toml::Table = toml.parse().unwrap();
    let kind = table["kind"].as_str().unwrap().to_owned();
    AlerterConfig::deserialize(&kind, toml::Value::Table(table)).unwrap()
}

pub fn try_build(toml: &str) -> Result<Box<dyn Alerter>, ConfigError> {
    config(toml).build(&AlerterName::parse("alerter", "ops").unwrap(), clock())
}

pub fn build(toml: &str) -> Box<dyn Alerter> {
    try_build(toml).unwrap_or_else(|error| panic!("{error}"))
}

/// An alerter to an unencrypted `sink`.
pub fn plain_smtp(sink: &SmtpSink) -> Box<dyn Alerter> {
    plain_smtp_within(sink, "10s")
}

pub fn plain_smtp_within(sink: &SmtpSink, timeout: &str) -> Box<dyn Alerter> {
    build(&format!(
        "kind = 'smtp'\nhost = '127.0.0.1'\nport = '{}'\ntls = 'none'\nfrom = 'innkeeper@example.org'\ntimeout = '{timeout}'",
        sink.port()
    ))
}

/// The error of a table that can be read but not built.
pub fn build_error(toml: &str) -> String {
    match try_build(toml) {
        Ok(_) => panic!("this should not have been built: {toml}"),
        Err(error) => error.to_string(),
    }
}

/// The error of a table that cannot be read.
pub fn read_error(toml: &str) -> String {
    let table: toml::Table = toml.parse().unwrap();
    let kind = table["kind"].as_str().unwrap().to_owned();
    AlerterConfig::deserialize(&kind, toml::Value::Table(table)).unwrap_err().to_string()
}

/// A notice of the job `shop/NAME`.
pub fn notice(event: EventKind, component: &str) -> Notice {
    let over = matches!(event, EventKind::Recovered | EventKind::OpenedAndRecovered);
    let subject = if over {
        format!("Job is back: shop/{component}")
    } else {
        format!("Job Failed to checkin: shop/{component}")
    };
    Notice {
        event,
        instance: "innkeeper".to_owned(),
        subject,
        text: format!("shop/{component} <b>&</b>\n\nLine \u{e9}\u{202e} two\nLine three"),
        at: now(),
        url: Some(format!("http://127.0.0.1:8080/r/1?a=1&b={}", component.len())),
        alert: Some(AlertNotice {
            id: 7,
            dedup_key: format!("innkeeper-alert-{component}"),
            cause: Cause::Missed,
            reason: "Overdue since 02:05: expected at 02:00, grace 5 minutes.".to_owned(),
            exit_code: None,
            opened_at: now(),
            closed_at: over.then(now),
            since: now(),
            reservation_id: 3,
            app: "shop".to_owned(),
            component: component.to_owned(),
            owner: "ops".to_owned(),
            description: String::new(),
            tags: vec!["db".to_owned()],
            notify: "ops@example.org".to_owned(),
            schedule: "every 5 minutes".to_owned(),
            last_checkin_at: None,
            checkins: 0,
            notes: String::new(),
        }),
    }
}

/// A notice about no reservation.
pub fn bare(event: EventKind, subject: &str, text: &str) -> Notice {
    Notice {
        event,
        instance: "innkeeper".to_owned(),
        subject: subject.to_owned(),
        text: text.to_owned(),
        at: now(),
        url: None,
        alert: None,
    }
}

pub fn send(alerter: &dyn Alerter, notices: &[Notice], key: &str) -> Sent {
    alerter.send(&Message { notices, recipient: None, key })
}

pub fn send_opened(alerter: &dyn Alerter) -> Sent {
    send(alerter, &[notice(EventKind::Opened, "backup")], "delivery-1")
}

pub fn mail_to(alerter: &dyn Alerter, address: &str, notices: &[Notice], key: &str) -> Sent {
    let recipient = MailAddress::parse("notify", address).unwrap();
    alerter.send(&Message { notices, recipient: Some(&recipient), key })
}

/// A failure that may pass: what the provider asked to wait, and whether it may have taken the message.
pub fn retryable(sent: Sent) -> (Option<Duration>, bool, String) {
    match sent {
        Sent::Retryable { after, maybe_sent, problem } => (after, maybe_sent, problem),
        other => panic!("not retryable: {other:?}"),
    }
}

pub fn permanent(sent: Sent) -> String {
    match sent {
        Sent::Permanent { problem } => problem,
        other => panic!("not permanent: {other:?}"),
    }
}

/// An address on this machine where nothing listens.
pub fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}
