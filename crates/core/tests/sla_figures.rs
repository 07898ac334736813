//! The rules of figures: a success that breaks what is expected of them is a failure.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Job, at};
use innkeeper_core::alert::{Cause, Reason};
use innkeeper_core::checkin::{CheckIn, CheckInKind};
use innkeeper_core::expect::Expect;
use innkeeper_core::sla::{ACCEPTED, DueChange, State};

const ZERO: &str = "rows was 0; expected: rows > 0";

fn unexpected(clock: &str) -> Reason {
    Reason::Unexpected { at: at(clock), figures: ZERO.to_owned() }
}

#[test]
fn it_is_told_at_once_and_the_next_good_success_ends_it() {
    let mut job = Job::every("1h").expect(&["rows > 0"]);
    job.unexpected_at(at("00:10"), ZERO);
    assert_eq!(job.reservation.conclusions.wake_at, at("00:00"), "it is looked at at once");
    assert_eq!(job.look_at(at("00:10")), DueChange::Open(unexpected("00:10")));
    assert_eq!(job.seen_at(at("00:10")).state, State::Down);
    job.unexpected_at(at("00:20"), ZERO);
    assert_eq!(job.look_at(at("00:20")), DueChange::None, "another one is no recovery, and no news");
    job.success_at(at("00:30"));
    assert_eq!(job.look_at(at("00:30")), DueChange::Recover);
}

#[test]
fn one_between_two_looks_is_told_though_a_good_one_followed() {
    let mut job = Job::every("1h").expect(&["rows > 0"]);
    job.unexpected_at(at("00:10"), ZERO);
    job.success_at(at("00:11"));
    assert_eq!(job.look_at(at("00:12")), DueChange::OpenAndRecover(unexpected("00:10")));
}

#[test]
fn it_counts_in_the_row_as_a_failure_does() {
    let mut job = Job::every("1h").alert_after(3).expect(&["rows > 0"]);
    job.fail_at(at("00:10"));
    assert_eq!(job.look_at(at("00:10")), DueChange::None);
    job.unexpected_at(at("00:20"), ZERO);
    assert_eq!(job.look_at(at("00:20")), DueChange::None);
    assert_eq!(job.seen_at(at("00:20")).in_a_row, 2);
    job.unexpected_at(at("00:30"), ZERO);
    assert_eq!(job.look_at(at("00:30")), DueChange::Open(unexpected("00:30")));
}

#[test]
fn it_is_heard_as_a_check_in_and_misses_nothing() {
    let mut job = Job::every("1h").alert_after(2).expect(&["rows > 0"]);
    job.unexpected_at(at("00:50"), ZERO);
    job.look_at(at("00:50"));
    assert_eq!(job.seen_at(at("01:49")).deadline, at("01:50"));
    let change = job.look_at(at("01:50"));
    assert!(matches!(change, DueChange::Open(Reason::Missed { in_a_row: 2, .. })), "{change:?}");
}

#[test]
fn other_clauses_or_a_person_who_accepts_it_close_its_alert() {
    let mut job = Job::every("1h").expect(&["rows > 0"]);
    job.unexpected_at(at("00:10"), ZERO);
    job.look_at(at("00:10"));
    let mut accepted = job.clone();

    // The store judges the latest success by the new clauses.
    job.change_at(at("00:20"), |spec| spec.expect = Expect::parse(&["rows >= 0"]).unwrap());
    job.reservation.conclusions.unexpected = None;
    assert_eq!(
        job.look_at(at("00:20")),
        DueChange::Withdraw("expect changed: no alert is due by it".to_owned())
    );

    let conclusions = &mut accepted.reservation.conclusions;
    (conclusions.unexpected, conclusions.changed) = (None, Some(ACCEPTED.to_owned()));
    let ending = "its figures were accepted as right from now on".to_owned();
    assert_eq!(accepted.look_at(at("00:20")), DueChange::Withdraw(ending));
}

#[test]
fn clauses_that_still_are_broken_close_nothing() {
    let mut job = Job::every("1h").expect(&["rows > 0"]);
    job.unexpected_at(at("00:10"), ZERO);
    job.look_at(at("00:10"));
    job.change_at(at("00:20"), |spec| spec.expect = Expect::parse(&["rows > 1"]).unwrap());
    assert_eq!(job.look_at(at("00:20")), DueChange::None);
    job.change_at(at("00:30"), |spec| spec.expect = Expect::default());
    assert!(matches!(job.look_at(at("00:30")), DueChange::Withdraw(_)), "nothing is expected any more");
}

#[test]
fn an_alert_for_silence_stays_open() {
    let mut job = Job::every("1h").expect(&["rows > 0"]);
    job.look_at(at("01:00"));
    assert_eq!(job.alert.as_ref().unwrap().reason.cause(), Cause::Missed);
    job.unexpected_at(at("01:10"), ZERO);
    assert_eq!(job.look_at(at("01:10")), DueChange::None, "it is not well yet");
    job.success_at(at("01:20"));
    assert_eq!(job.look_at(at("01:20")), DueChange::Recover);
}

#[test]
fn a_snooze_holds_it_until_its_end() {
    let mut job = Job::every("1h").expect(&["rows > 0"]);
    job.quiet("00:05", "00:45");
    job.unexpected_at(at("00:10"), ZERO);
    assert_eq!(job.look_at(at("00:10")), DueChange::None);
    assert_eq!(job.look_at(at("00:45")), DueChange::Open(unexpected("00:10")));
}

/// A report of this instant, of a success or of one whose figures are other than expected.
fn late(job: &mut Job, happened: &str, arrived: &str, is_good: bool) {
    job.check_in(common::reported(CheckIn::new(CheckInKind::Success, at(happened)), at(arrived)));
    job.unseen.last_mut().unwrap().unexpected = (!is_good).then(|| ZERO.to_owned());
}

#[test]
fn what_is_reported_late_counts_as_failures_do() {
    let mut job = Job::every("1h").alert_after(2).expect(&["rows > 0"]);
    job.success_at(at("00:05"));
    job.look_at(at("00:05"));
    // Both had happened while nothing could be reported.
    late(&mut job, "00:10", "00:30", false);
    late(&mut job, "00:20", "00:30", false);
    assert_eq!(job.look_at(at("00:30")), DueChange::Open(unexpected("00:20")));
    // A failure before a success that was none but in name is news, too.
    let mut job = Job::every("1h").alert_after(2).expect(&["rows > 0"]);
    job.success_at(at("00:05"));
    job.look_at(at("00:05"));
    let fail = CheckIn { exit_code: Some(3), ..CheckIn::new(CheckInKind::Fail, at("00:10")) };
    job.check_in(common::reported(fail, at("00:30")));
    late(&mut job, "00:20", "00:30", false);
    assert_eq!(job.look_at(at("00:30")), DueChange::Open(unexpected("00:20")));
}

#[test]
fn a_late_good_one_within_the_row_shortens_it_and_a_bad_one_does_not() {
    let mut job = Job::every("1h").alert_after(3).expect(&["rows > 0"]);
    for clock in ["00:10", "00:20", "00:30"] {
        job.unexpected_at(at(clock), ZERO);
        job.look_at(at(clock));
    }
    assert!(job.alert.is_some());
    let mut other = job.clone();
    late(&mut job, "00:25", "00:40", true);
    assert!(matches!(job.look_at(at("00:40")), DueChange::Answer(_)), "it never stood in a row of three");
    late(&mut other, "00:25", "00:40", false);
    assert_eq!(other.look_at(at("00:40")), DueChange::None);
    assert_eq!(other.seen_at(at("00:40")).in_a_row, 3);
}
