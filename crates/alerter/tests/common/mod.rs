//! Notices and alerters for the tests.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_alerter::{Alerter, AlerterConfig, AlerterError, Message, Sent};
use innkeeper_core::alert::Reason;
use innkeeper_core::names::AlerterName;
use innkeeper_core::notice::{AlertNotice, Details, EventKind, Notice, SubjectForm};
use innkeeper_core::recipient::MailAddress;
use innkeeper_core::wording::SubjectWords;
use innkeeper_core::{Clock, ManualClock, Time};
use innkeeper_settings::{Findings, Section};
use innkeeper_testing::smtp_sink::SmtpSink;

/// 2026-11-20 02:05:00 UTC, on which the tests' clocks stand.
pub fn now() -> Time {
    "2026-11-20T02:05:00Z".parse().unwrap()
}

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(now()))
}

/// Reads a section of the configuration, `kind` included, and what is wrong with it.
pub fn read(toml: &str) -> (Option<AlerterConfig>, Vec<String>) {
    let table = innkeeper_settings::parse("f", toml).unwrap();
    let mut findings = Findings::default();
    let config = AlerterConfig::read("ops", Section::new("alerter.ops", table, &mut findings));
    (config, findings.problems.iter().map(ToString::to_string).collect())
}

/// The same, where nothing is wrong.
pub fn config(toml: &str) -> AlerterConfig {
    let (config, problems) = read(toml);
    assert_eq!(problems, Vec::<String>::new(), "{toml}");
    config.unwrap()
}

pub fn try_build(toml: &str) -> Result<Box<dyn Alerter>, AlerterError> {
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

/// The error of a section that cannot be used: found when it is read, or else when it is built.
pub fn build_error(toml: &str) -> String {
    let (_, problems) = read(toml);
    if !problems.is_empty() {
        return problems.join("\n");
    }
    match try_build(toml) {
        Ok(_) => panic!("this should not have been built: {toml}"),
        Err(error) => error.to_string(),
    }
}

/// The errors of a section that cannot be read.
pub fn read_error(toml: &str) -> String {
    let (_, problems) = read(toml);
    assert!(!problems.is_empty(), "this should not have been read: {toml}");
    problems.join("\n")
}

/// A notice of the job `shop/NAME`, which is overdue, with all that a notice can say.
pub fn notice(event: EventKind, component: &str) -> Notice {
    let over = matches!(event, EventKind::Recovered | EventKind::OpenedAndRecovered);
    let why = Reason::Missed {
        expected_at: now() - TimeDelta::minutes(10),
        deadline: now() - TimeDelta::minutes(5),
        in_a_row: 1,
        unobserved: None,
    };
    let job = format!("shop/{component}");
    Notice {
        event,
        instance: "innkeeper".to_owned(),
        subject: SubjectWords::Uniform.subject(event, &why, &job, TimeDelta::minutes(5)),
        subject_form: SubjectForm::Uniform,
        text: String::new(),
        at: now(),
        url: Some(format!("http://127.0.0.1:8080/status/3?a=1&b={}", component.len())),
        summary: None,
        alert: Some(AlertNotice {
            id: 7,
            dedup_key: format!("innkeeper-alert-{component}"),
            cause: why.cause(),
            reason: why.sentence(chrono_tz::UTC),
            exit_code: None,
            opened_at: now(),
            closed_at: over.then(now),
            since: why.since(),
            reservation_id: 3,
            app: "shop".to_owned(),
            component: component.to_owned(),
            owner: "ops".to_owned(),
            description: "Copies the shop. See <https://wiki.example.org/backup>.".to_owned(),
            tags: vec!["db".to_owned()],
            notify: "ops@example.org".to_owned(),
            schedule: "every 5 minutes".to_owned(),
            last_checkin_at: None,
            checkins: 0,
            notes: "Line \u{e9}\u{202e} two\n\n<b>&</b> ``` three".to_owned(),
            details: Details {
                why: Some(why),
                time_zone: "Europe/Berlin".to_owned(),
                expected: "every 5 minutes, with 5 minutes of grace".to_owned(),
                source: "10.1.1.11".to_owned(),
                runbook: "https://wiki.example.org/runbooks/backup".to_owned(),
                also_told: vec!["oncall (PagerDuty)".to_owned()],
                others_down: 2,
                jobs: 61,
                ..Details::default()
            },
        }),
    }
}

/// The same of a job that failed.
pub fn failed(component: &str) -> Notice {
    let mut failed = notice(EventKind::Opened, component);
    let why = Reason::Failed { at: now(), exit_code: Some(1), in_a_row: 1 };
    failed.subject =
        SubjectWords::Uniform.subject(failed.event, &why, &format!("shop/{component}"), TimeDelta::zero());
    let alert = failed.alert.as_mut().unwrap();
    (alert.cause, alert.reason, alert.since) = (why.cause(), why.sentence(chrono_tz::UTC), why.since());
    alert.exit_code = Some(1);
    alert.last_checkin_at = Some(now() - TimeDelta::hours(23));
    alert.notes = "botocore.exceptions.ClientError: An error occurred (AccessDenied) when calling\n\
                   the PutObject operation: User … is not authorized to perform: s3:PutObject\nexit status 1"
        .to_owned();
    alert.details.expected = "each day at 03:00, with 1 hour of grace".to_owned();
    alert.details.took_ms = Some(83 * 60_000);
    alert.details.usual_ms = Some(41 * 60_000);
    alert.details.why = Some(why);
    failed
}

/// A recovery by a report that came late.
pub fn answered(component: &str) -> Notice {
    let mut answered = notice(EventKind::Recovered, component);
    let ending = "it had run at 02:00 on Fri 20 Nov (Europe/Berlin)";
    answered.subject = SubjectWords::Uniform.answered(&format!("shop/{component}"), ending);
    let details = &mut answered.alert.as_mut().unwrap().details;
    (details.ending, details.answered) = (ending.to_owned(), true);
    answered
}

/// The same with words of the reservation's own.
pub fn with_own(mut notice: Notice, text: &str) -> Notice {
    notice.alert.as_mut().unwrap().details.own_text = text.to_owned();
    notice
}

/// As the version before wrote it, and left it waiting.
pub fn of_the_version_before(event: &str, component: &str) -> Notice {
    serde_json::from_value(serde_json::json!({
        "event": event, "instance": "innkeeper", "subject": format!("Job Failed to checkin: shop/{component}"),
        "text": format!("shop/{component} has not checked in.\nOverdue since 02:05.\n\nOwner:         ops\n"),
        "at": "2026-11-20T02:05:00Z", "url": "http://127.0.0.1:8080/reservation",
        "alert": {
            "id": 7, "dedup_key": "k", "cause": "missed", "reason": "Overdue since 02:05.", "exit_code": null,
            "opened_at": "2026-11-20T02:05:00Z", "closed_at": null, "since": "2026-11-20T02:05:00Z",
            "reservation_id": 3, "app": "shop", "component": component, "owner": "ops", "description": "",
            "tags": [], "notify": "ops", "schedule": "every 5 minutes", "last_checkin_at": null, "checkins": 0,
            "notes": ""
        }
    }))
    .unwrap()
}

/// A notice about no reservation.
pub fn bare(event: EventKind, subject: &str, text: &str) -> Notice {
    Notice {
        event,
        instance: "innkeeper".to_owned(),
        subject: subject.to_owned(),
        subject_form: SubjectForm::Uniform,
        text: text.to_owned(),
        at: now(),
        url: None,
        alert: None,
        summary: None,
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
        Sent::Permanent { problem, .. } => problem,
        other => panic!("not permanent: {other:?}"),
    }
}

/// An address on this machine where nothing listens.
pub fn nowhere() -> String {
    format!("127.0.0.1:{}", innkeeper_testing::ports::closed_port())
}
