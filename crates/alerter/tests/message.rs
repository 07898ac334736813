//! What one message says, in which order, to whom it may be sent.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use chrono::TimeDelta;
use common::*;
use innkeeper_core::alert::Reason;
use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_testing::http_sink::HttpSink;

/// The text that programs get with a notice: the same as mail's.
fn text(notice: &Notice) -> String {
    let sink = HttpSink::start();
    let alerter = build(&format!("kind = 'webhook'\nurl = '{}'", sink.url("/")));
    send(alerter.as_ref(), std::slice::from_ref(notice), "k");
    sink.requests()[0].json()["text"].as_str().unwrap().to_owned()
}

#[test]
fn a_message_says_all_in_the_order_in_which_it_is_needed() {
    let expected = "\
Call Ada.

shop/backup failed on Fri 20 Nov at 03:05 (Europe/Berlin), exit status 1.
Expected each day at 03:00, with 1 hour of grace.

    botocore.exceptions.ClientError: An error occurred (AccessDenied) when calling
    the PutObject operation: User … is not authorized to perform: s3:PutObject
    exit status 1

Exit status: 1
Host: 10.1.1.11
Run: 1 hour 23 minutes; usually 41 minutes
Last success: Thu 19 Nov at 04:05 (Europe/Berlin), 23 hours ago
Owner: ops
About: Copies the shop. See <https://wiki.example.org/backup>.
Tags: db
Runbook: https://wiki.example.org/runbooks/backup
Open: http://127.0.0.1:8080/status/3?a=1&b=6
Also told: oncall (PagerDuty)
Also down now: 2 of 61 jobs
";
    assert_eq!(text(&with_own(failed("backup"), "Call Ada.")).trim_end(), expected.trim_end());
}

/// The sentences before the output of a job that is down, or was, for this reason.
fn said(event: EventKind, why: Reason) -> String {
    let mut notice = notice(event, "backup");
    let alert = notice.alert.as_mut().unwrap();
    alert.since = why.since();
    alert.details.why = Some(why);
    text(&notice).split("\n\n").next().unwrap().replace("Fri 20 Nov at ", "").replace(" (Europe/Berlin)", "")
}

#[test]
fn every_kind_of_trouble_has_its_words() {
    let ago = |minutes| now() - TimeDelta::minutes(minutes);
    let missed = Reason::Missed {
        expected_at: now() - TimeDelta::days(400),
        deadline: ago(5),
        in_a_row: 3,
        unobserved: None,
    };
    let overran = Reason::Overran { started_at: ago(90), max_run_ms: 3_600_000, unobserved: None };
    let failed = Reason::Failed { at: ago(5), exit_code: None, in_a_row: 2 };
    let short = Reason::TooShort { at: ago(5), took_ms: 2000, min_run_ms: 600_000 };
    let every = "Expected every 5 minutes, with 5 minutes of grace";
    for (event, why, expected) in [
        (
            EventKind::Opened,
            missed.clone(),
            format!(
                "shop/backup has not checked in. It is overdue since 03:00, 3 times in a row.\n{every}; due on Thu 16 Oct 2025 at 04:05."
            ),
        ),
        (
            EventKind::Opened,
            overran.clone(),
            format!("shop/backup is still running since 01:35, longer than its limit of 1 hour.\n{every}."),
        ),
        (EventKind::Opened, failed.clone(), format!("shop/backup failed on 03:00, 2 times in a row.\n{every}.")),
        (
            EventKind::Reminder,
            short.clone(),
            format!(
                "shop/backup ended on 03:00 after only 2 seconds; an honest run takes at least 10 minutes.\n\
                 It is not back yet, after 5 minutes.\n{every}."
            ),
        ),
        (
            EventKind::Recovered,
            missed,
            "shop/backup is back online since 03:05, after 5 minutes.\nIt was overdue since 03:00.".to_owned(),
        ),
        (
            EventKind::Recovered,
            overran,
            "shop/backup is back online since 03:05, after 30 minutes.\n\
             It had run since 01:35, longer than its limit of 1 hour."
                .to_owned(),
        ),
        (
            EventKind::OpenedAndRecovered,
            failed,
            "shop/backup is back online since 03:05, after a failure in between.\nIt had failed on 03:00.".to_owned(),
        ),
        (
            EventKind::Recovered,
            short,
            "shop/backup is back online since 03:05, after 5 minutes.\nIt had ended on 03:00 after only 2 seconds."
                .to_owned(),
        ),
    ] {
        assert_eq!(said(event, why), expected);
    }
}

#[test]
fn a_checkout_a_site_and_the_operator_are_told_what_they_need() {
    let out = notice(EventKind::Opened, "backup").checked_out(now());
    assert_eq!(out.headline(), "CHECKED OUT shop/backup · innkeeper");
    let said = text(&out);
    assert!(said.contains(" was checked out on ") && said.contains("\nIt was overdue since "), "{said}");
    assert!(!said.contains("three"), "the output is no news: {said}");

    let mut site = notice(EventKind::Opened, "gateway");
    site.alert.as_mut().unwrap().details.behind = 4;
    assert!(
        text(&site).contains("\nThe alerts of 4 reservations behind this site are held until it is back.\n")
    );
    site.event = EventKind::Recovered;
    assert!(text(&site).contains("behind this site are no longer held.\n"));

    let mut lost = failed("backup");
    lost.alert.as_mut().unwrap().details.undelivered = vec!["notify: nobody is called opps".to_owned()];
    let said = text(&lost);
    assert!(
        said.trim_end()
            .ends_with("because it does not reach all its recipients:\n- notify: nobody is called opps"),
        "{said}"
    );

    let operator = bare(EventKind::Operator, "No sweeper is alive", "None since 02:00.\n");
    assert_eq!(text(&operator), "None since 02:00.\n");
}

#[test]
fn what_was_reported_late_is_told_as_the_recovery_that_it_is() {
    let ending = "it had run at 02:00 on Fri 20 Nov (Europe/Berlin)";
    assert_eq!(answered("backup").headline(), format!("BACK shop/backup: {ending} · innkeeper"));
    let said = text(&with_own(answered("backup"), "Well done."));
    let expected = format!(
        "Well done.\n\nshop/backup was well: {ending}, which was reported late, on Fri 20 Nov at 03:05 (Europe/Berlin).\n\
         Its alert is closed and does not count as downtime.\n"
    );
    assert!(said.starts_with(&expected), "{said}");
}

#[test]
fn nothing_is_said_of_what_is_not_known() {
    let mut plain = notice(EventKind::Opened, "backup");
    let alert = plain.alert.as_mut().unwrap();
    (alert.owner, alert.description, alert.tags, alert.notes) = Default::default();
    alert.details.source = String::new();
    alert.details.runbook = String::new();
    alert.details.also_told = Vec::new();
    alert.details.others_down = 0;
    let said = text(&plain);
    let (_, facts) = said.split_once("\n\n").unwrap();
    assert_eq!(
        facts.trim_end(),
        "Last success: never\nOpen: http://127.0.0.1:8080/status/3?a=1&b=6\nAlso down now: no other job"
    );
}
