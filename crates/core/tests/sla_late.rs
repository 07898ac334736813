//! What was reported late: named cases, and lives with late reports compared with an oracle.
//!
//! Unless a test says otherwise a job was made at midnight and has no grace.

// Clippy knows tests by their attribute, and the strategies have none.
#![allow(clippy::unwrap_used)]

mod common;

use chrono::TimeDelta;
use common::{Job, at, reason, reported, run};
use innkeeper_core::Time;
use innkeeper_core::alert::{Cause, Reason};
use innkeeper_core::checkin::{CheckIn, CheckInKind};
use innkeeper_core::schedule::Schedule;
use innkeeper_core::sla::{Correction, DueChange, State};
use proptest::prelude::*;

use CheckInKind::{Fail, Start, Success};

/// A job at two each night, overdue at 02:05, that ran the night before.
fn nightly() -> Job {
    let mut job = Job::cron("0 2 * * *", "UTC").grace("5m");
    job.success_at(at("02:00"));
    job.look_at(at("02:00"));
    job
}

fn next_day(clock: &str) -> Time {
    at(clock) + TimeDelta::days(1)
}

/// The same, whose alert is open since the night after.
fn nightly_that_is_missed() -> Job {
    let mut job = nightly();
    assert!(matches!(job.look_at(next_day("02:05")), DueChange::Open(Reason::Missed { .. })));
    job
}

#[test]
fn a_success_in_time_answers_the_missed_alert() {
    let mut job = nightly_that_is_missed();
    job.report(Success, next_day("02:04:59"), next_day("08:00"));
    assert_eq!(job.reservation.conclusions.wake_at, next_day("08:00"), "somebody looks at once");
    assert_eq!(job.look_at(next_day("08:00")), DueChange::Answer(Correction::HadRun(next_day("02:04:59"))));
    assert_eq!(job.seen_at(next_day("08:00")).state, State::Up);
}

#[test]
fn one_at_the_deadline_does_too_and_one_after_it_recovers() {
    let mut job = nightly_that_is_missed();
    job.report(Success, next_day("02:05"), next_day("08:00"));
    assert_eq!(job.look_at(next_day("08:00")), DueChange::Answer(Correction::HadRun(next_day("02:05"))));
    let mut job = nightly_that_is_missed();
    job.report(Success, next_day("02:05:00.001"), next_day("08:00"));
    assert_eq!(job.look_at(next_day("08:00")), DueChange::Recover);
}

#[test]
fn a_success_before_a_newer_missed_deadline_closes_nothing() {
    let mut job = nightly_that_is_missed();
    let two_days = at("03:00") + TimeDelta::days(2);
    job.report(Success, next_day("02:01"), two_days);
    assert_eq!(job.look_at(two_days), DueChange::None);
    assert_eq!(job.seen_at(two_days).state, State::Down);
    // The other night had been well, too.
    job.report(Success, at("02:02") + TimeDelta::days(2), two_days + TimeDelta::minutes(1));
    assert_eq!(
        job.look_at(two_days + TimeDelta::minutes(1)),
        DueChange::Answer(Correction::HadRun(next_day("02:01")))
    );
}

#[test]
fn a_night_that_was_missed_between_reports_was_missed() {
    let mut job = nightly_that_is_missed();
    let two_days = at("03:00") + TimeDelta::days(2);
    job.report(Success, at("02:02") + TimeDelta::days(2), two_days);
    assert_eq!(job.look_at(two_days), DueChange::Recover, "of the first nobody knows");
    // Too late, and seen; then in time.
    let mut job = nightly_that_is_missed();
    job.report(Success, next_day("05:00"), two_days);
    assert_eq!(job.look_at(two_days), DueChange::None);
    job.report(Success, at("02:02") + TimeDelta::days(2), two_days);
    assert_eq!(job.look_at(two_days), DueChange::Recover);
}

#[test]
fn a_success_before_a_newer_failure_closes_nothing() {
    let mut job = nightly();
    job.fail_at(next_day("02:03"));
    assert_eq!(reason(&job.look_at(next_day("02:03"))).cause(), Cause::Failed);
    job.report(Success, next_day("02:02"), next_day("02:10"));
    assert_eq!(job.look_at(next_day("02:10")), DueChange::None);
    assert_eq!(job.seen_at(next_day("02:10")).state, State::Down);
}

#[test]
fn a_failure_older_than_the_latest_success_is_no_news() {
    let mut job = nightly();
    for clock in ["01:00", "02:00"] {
        job.report(Fail, at(clock), at("03:00"));
        assert_eq!(job.look_at(at("03:00")), DueChange::None);
    }
    let seen = job.seen_at(at("03:00"));
    assert_eq!((seen.state, seen.in_a_row), (State::Up, 0));
    // One that stands in a row with others all the same.
    let mut job = nightly().alert_after(2);
    job.report(Fail, at("01:00"), at("03:00"));
    job.fail_at(at("03:01"));
    assert_eq!(job.look_at(at("03:01")), DueChange::None);
    assert_eq!(job.seen_at(at("03:01")).in_a_row, 1);
}

#[test]
fn nor_is_one_whose_success_comes_with_it() {
    let mut job = nightly();
    job.report(Fail, next_day("02:01"), next_day("02:04"));
    job.report(Success, next_day("02:02"), next_day("02:04"));
    assert_eq!(job.look_at(next_day("02:04")), DueChange::None);
    // A live one that was swallowed is told.
    let mut job = nightly();
    job.fail_at(next_day("02:01"));
    job.success_at(next_day("02:02"));
    assert!(matches!(job.look_at(next_day("02:02")), DueChange::OpenAndRecover(_)));
}

#[test]
fn a_failure_newer_than_the_latest_success_is_one_like_any_other() {
    let mut job = nightly();
    job.report(Fail, at("02:30"), at("03:00"));
    let change = job.look_at(at("03:00"));
    assert_eq!(change, DueChange::Open(Reason::Failed { at: at("02:30"), exit_code: None, in_a_row: 1 }));
    job.success_at(at("04:00"));
    assert_eq!(job.look_at(at("04:00")), DueChange::Recover);
}

#[test]
fn a_late_success_shortens_the_row_and_a_late_failure_makes_it_longer() {
    let failed_twice = || {
        let mut job = Job::every("1h").alert_after(3);
        job.success_at(at("00:10"));
        for clock in ["00:20", "00:30"] {
            job.fail_at(at(clock));
            job.look_at(at(clock));
        }
        job
    };
    for (clock, row) in [("00:15", 2), ("00:25", 1), ("00:05", 2)] {
        let mut job = failed_twice();
        job.report(Success, at(clock), at("00:40"));
        job.look_at(at("00:40"));
        assert_eq!(job.reservation.conclusions.fail_streak, row, "{clock}");
    }
    let mut job = failed_twice();
    job.report(Fail, at("00:05"), at("00:40"));
    assert_eq!(job.look_at(at("00:40")), DueChange::None);
    job.report(Fail, at("00:25"), at("00:41"));
    let change = job.look_at(at("00:41"));
    assert_eq!(change, DueChange::Open(Reason::Failed { at: at("00:30"), exit_code: Some(3), in_a_row: 3 }));
}

/// Has failed at 01:00 and 02:00 (03:00, where three in a row are asked for) by reports that came at 04:00.
fn failed_in_a_row(alert_after: i64) -> Job {
    let mut job = Job::every("12h").alert_after(alert_after);
    job.success_at(at("00:30"));
    job.look_at(at("00:30"));
    for (clock, _) in ["01:00", "02:00", "03:00"].iter().zip(0..alert_after) {
        job.report(Fail, at(clock), at("04:00"));
    }
    assert_eq!(reason(&job.look_at(at("04:00"))).cause(), Cause::Failed);
    job
}

#[test]
fn a_late_success_within_the_row_of_failures_answers_their_alert() {
    let mut job = failed_in_a_row(2);
    job.report(Success, at("01:30"), at("04:10"));
    assert_eq!(job.look_at(at("04:10")), DueChange::Answer(Correction::HadRun(at("01:30"))));
    let seen = job.seen_at(at("04:10"));
    assert_eq!((seen.state, seen.in_a_row), (State::Up, 1));
    // The next failure is the second in a row.
    job.fail_at(at("04:20"));
    assert!(matches!(job.look_at(at("04:20")), DueChange::Open(Reason::Failed { in_a_row: 2, .. })));
    // Also where the failures were heard at once.
    let mut job = Job::every("12h").alert_after(2);
    for clock in ["01:00", "02:00"] {
        job.fail_at(at(clock));
        job.look_at(at(clock));
    }
    job.report(Success, at("01:30"), at("02:10"));
    assert_eq!(job.look_at(at("02:10")), DueChange::Answer(Correction::HadRun(at("01:30"))));
    // Of several the latest; and after them a row that is shorter than asked for.
    let mut job = failed_in_a_row(3);
    job.report(Success, at("01:10"), at("04:10"));
    job.report(Success, at("01:30"), at("04:10"));
    assert_eq!(job.look_at(at("04:10")), DueChange::Answer(Correction::HadRun(at("01:30"))));
    assert_eq!(job.seen_at(at("04:10")).in_a_row, 2);
}

#[test]
fn one_that_leaves_the_row_long_enough_answers_nothing() {
    // Before the row.
    let mut job = failed_in_a_row(2);
    job.report(Success, at("00:50"), at("04:10"));
    assert_eq!(job.look_at(at("04:10")), DueChange::None);
    // Two have failed since.
    let mut job = failed_in_a_row(2);
    job.fail_at(at("04:05"));
    job.look_at(at("04:05"));
    job.report(Success, at("01:30"), at("04:10"));
    assert_eq!(job.look_at(at("04:10")), DueChange::None);
    // The alert was right, and another failure has followed its end.
    let mut job = failed_in_a_row(2);
    job.fail_at(at("04:05"));
    job.look_at(at("04:05"));
    job.report(Success, at("02:30"), at("04:10"));
    assert_eq!(job.look_at(at("04:10")), DueChange::None);
    // One failure is enough.
    let mut job = failed_in_a_row(1);
    job.report(Success, at("00:40"), at("04:10"));
    assert_eq!(job.look_at(at("04:10")), DueChange::None);
    // A success that is a failure.
    let mut job = failed_in_a_row(2).min_run("10m");
    job.check_in(reported(CheckIn { run_id: Some(run(1)), ..CheckIn::new(Start, at("01:29")) }, at("04:10")));
    job.check_in(reported(
        CheckIn { run_id: Some(run(1)), ..CheckIn::new(Success, at("01:30")) },
        at("04:10"),
    ));
    assert_eq!(job.look_at(at("04:10")), DueChange::None);
}

#[test]
fn one_within_a_row_of_failures_and_misses_answers_their_alert() {
    let mut job = Job::cron("0 * * * *", "UTC").grace("5m").alert_after(3);
    for clock in ["01:01", "02:01"] {
        job.fail_at(at(clock));
        assert_eq!(job.look_at(at(clock)), DueChange::None);
    }
    assert_eq!(reason(&job.look_at(at("03:05"))).cause(), Cause::Missed);
    job.report(Success, at("01:30"), at("03:10"));
    assert_eq!(job.look_at(at("03:10")), DueChange::Answer(Correction::HadRun(at("01:30"))));
    job.sleep_until(at("04:04"));
    assert_eq!(job.openings(), [at("03:05")]);
    job.sleep_until(at("04:06"));
    assert_eq!(job.openings(), [at("03:05"), at("04:05")], "the third in a row");
}

#[test]
fn a_late_start_after_the_end_of_its_run_reopens_nothing() {
    for named in [false, true] {
        let of_run = |kind, clock| CheckIn { run_id: named.then(|| run(1)), ..CheckIn::new(kind, at(clock)) };
        let mut job = Job::every("12h").max_run("10m");
        job.check_in(of_run(Success, "01:00"));
        job.look_at(at("01:00"));
        job.check_in(reported(of_run(Start, "00:30"), at("02:00")));
        assert_eq!(job.look_at(at("02:00")), DueChange::None, "{named}");
        assert_eq!(job.seen_at(at("02:00")).state, State::Up);
        job.sleep_until(at("05:00"));
        assert_eq!(job.told, []);
    }
}

#[test]
fn the_end_of_a_run_has_a_minute_to_follow_its_late_start() {
    let begun = || {
        let mut job = Job::every("12h").max_run("10m");
        job.success_at(at("00:01"));
        job.look_at(at("00:01"));
        job.check_in(reported(
            CheckIn { run_id: Some(run(1)), ..CheckIn::new(Start, at("01:00")) },
            at("03:00"),
        ));
        assert_eq!(job.look_at(at("03:00")), DueChange::None);
        job
    };
    let mut job = begun();
    let end = CheckIn { run_id: Some(run(1)), ..CheckIn::new(Success, at("01:05")) };
    job.check_in(reported(end, at("03:00:01")));
    job.sleep_until(at("05:00"));
    assert_eq!(job.told, []);
    let mut job = begun();
    job.sleep_until(at("05:00"));
    assert_eq!(job.openings(), [at("03:01")]);
}

#[test]
fn a_run_that_had_ended_in_time_was_well() {
    let started = || {
        let mut job = Job::every("12h").max_run("10m");
        job.start_of(run(1), at("01:00"));
        job.success_of(run(2), at("01:09"));
        assert!(matches!(job.look_at(at("01:10")), DueChange::Open(Reason::Overran { .. })));
        job
    };
    let end = |clock| CheckIn { run_id: Some(run(1)), ..CheckIn::new(Success, at(clock)) };
    let mut job = started();
    job.check_in(reported(end("01:08"), at("02:00")));
    assert_eq!(job.look_at(at("02:00")), DueChange::Answer(Correction::HadEnded(at("01:08"))));
    let mut job = started();
    job.check_in(reported(end("01:20"), at("02:00")));
    assert_eq!(job.look_at(at("02:00")), DueChange::Recover);
}

#[test]
fn a_report_from_a_blind_window_shows_a_healthy_job() {
    let mut job = Job::every("1h").grace("5m");
    job.success_at(at("01:00"));
    job.look_at(at("01:00"));
    job.blind(at("01:30"), at("03:00"));
    job.look_at(at("03:00"));
    assert_eq!(job.seen_at(at("03:00")).state, State::Unobserved);
    job.report(Success, at("02:00"), at("03:01"));
    job.report(Success, at("02:55"), at("03:01"));
    assert_eq!(job.look_at(at("03:01")), DueChange::None);
    assert_eq!(job.seen_at(at("03:01")).state, State::Up);
    // A deadline that the window moved is one, too.
    let mut job = Job::every("1h").grace("5m");
    job.success_at(at("01:00"));
    job.blind(at("01:30"), at("03:00"));
    assert!(matches!(job.look_at(at("04:05")), DueChange::Open(_)));
    job.report(Success, at("03:50"), at("04:10"));
    assert_eq!(job.look_at(at("04:10")), DueChange::Answer(Correction::HadRun(at("03:50"))));
}

#[test]
fn who_was_told_reads_when_it_had_run() {
    let words = Correction::HadRun(at("02:00")).words(next_day("08:00"), chrono_tz::Europe::Berlin);
    assert_eq!(words, "it had run at 03:00 on Mon 5 Jan (Europe/Berlin)");
}

/// So many seconds are lived through.
const LENGTH: i64 = 1500;

fn seconds(n: i64) -> TimeDelta {
    TimeDelta::seconds(n)
}

/// `n` seconds after midnight.
fn after(n: i64) -> Time {
    at("00:00") + seconds(n)
}

/// The end of a run: when it happened, whether well, and when it was reported.
#[derive(Debug, Clone, Copy)]
struct End {
    when: i64,
    well: bool,
    told: i64,
}

/// A job whose reports come in time or late.
#[derive(Debug, Clone)]
struct Life {
    schedule: Schedule,
    grace: i64,
    alert_after: i64,
    /// In the order in which they happened, each at its own second.
    ends: Vec<End>,
}

impl Life {
    /// Misses and failures in a row at `at`, by what was known at `now`, said in the plainest way.
    fn row(&self, at: i64, now: i64) -> i64 {
        let known: Vec<&End> = self.ends.iter().filter(|end| end.when <= at && end.told <= now).collect();
        let begin = known.iter().rposition(|end| end.well);
        let (mut anchor, mut heard) = (after(0), false);
        if let Some(success) = begin {
            (anchor, heard) = (after(known[success].when), true);
        }
        let missed = |anchor, heard, until: Time| {
            let mut next = match heard {
                true => self.schedule.expected_after_checkin(anchor),
                false => self.schedule.following(anchor),
            };
            let mut deadlines = Vec::new();
            while let Some(expected) = next.filter(|expected| *expected <= until) {
                deadlines.push(expected + seconds(self.grace) <= until);
                next = self.schedule.following(expected);
            }
            (deadlines.iter().filter(|missed| **missed).count() as i64, deadlines.last() == Some(&true))
        };
        let mut row = 0;
        for end in known.iter().skip(begin.map_or(0, |success| success + 1)) {
            let failed = after(end.when);
            let (count, is_last) = missed(anchor, heard, failed);
            let is_early = self.schedule.expected_after_checkin(failed) != self.schedule.following(failed);
            row += count + i64::from(!is_last || is_early);
            (anchor, heard) = (failed, true);
        }
        row + missed(anchor, heard, after(at)).0
    }

    /// Whether a late success that comes to be known at `now` lies within the row for which the alert opened at `since`, and none
    /// is known that is newer.
    fn shortens(&self, since: i64, now: i64) -> bool {
        let begin = (0..=since).rev().find(|at| self.row(*at, since) < self.alert_after);
        let trouble = begin.map_or(0, |before| before + 1);
        let known = |until: i64| {
            self.ends.iter().filter(move |end| end.well && end.told <= until && end.when <= until)
        };
        let success_before = known(since).map(|end| end.when).max();
        let latest = known(now).map(|end| end.when).max();
        let is_news = |end: &&End| end.told == now && end.told - end.when > 5;
        known(now).filter(is_news).any(|end| Some(end.when) > success_before && end.when <= trouble)
            && latest <= Some(trouble)
    }

    /// When alerts open and close; of a close, whether the job had been well all the time, where that is to be said.
    fn told(&self) -> Vec<(i64, Option<Option<bool>>)> {
        let (mut told, mut open) = (Vec::new(), None);
        for now in 0..LENGTH {
            let row = self.row(now, now);
            match open {
                Some(since) if row > 0 && row < self.alert_after && self.shortens(since, now) => {
                    told.push((now, Some(Some(true))));
                    open = None;
                }
                Some(since) if row == 0 => {
                    let failed =
                        self.ends.iter().any(|end| !end.well && since - 600 <= end.told && end.told <= now);
                    let was_well = (since..=now).all(|at| self.row(at, now) < self.alert_after);
                    told.push((now, Some((!failed).then_some(was_well))));
                    open = None;
                }
                None if row >= self.alert_after => {
                    told.push((now, None));
                    open = Some(now);
                }
                _ => {}
            }
        }
        told
    }

    /// The same by the rules, looking at each second or only when woken.
    fn live(&self, when_woken: bool) -> Vec<(i64, Option<bool>)> {
        let mut job = Job::with_schedule(self.schedule.clone()).with(|spec| {
            spec.grace = seconds(self.grace);
            spec.alert_after = self.alert_after;
        });
        for now in 0..LENGTH {
            for end in self.ends.iter().filter(|end| end.told == now) {
                let kind = if end.well { Success } else { Fail };
                job.report(kind, after(end.when), after(now));
            }
            if !when_woken || job.reservation.conclusions.wake_at <= after(now) {
                job.look_at(after(now));
            }
        }
        let told = job.told.iter().map(|(when, change)| {
            let closed = match change {
                DueChange::Open(_) => None,
                other => Some(matches!(other, DueChange::Answer(_))),
            };
            ((*when - after(0)).num_seconds(), closed)
        });
        told.collect()
    }
}

fn a_life() -> impl Strategy<Value = Life> {
    let schedule = prop_oneof![
        (120i64..900).prop_map(|s| Schedule::every(seconds(s)).unwrap()),
        Just(Schedule::cron("*/5 * * * *", "UTC").unwrap()),
        Just(Schedule::cron("3,10,24,25,40 * * * *", "Europe/Berlin").unwrap()),
    ];
    let delay = prop_oneof![2 => Just(0i64), 1 => 6i64..100, 2 => 100i64..600];
    let ends = prop::collection::btree_map(1..LENGTH, (prop::bool::weighted(0.7), delay), 0..14);
    (schedule, 0i64..90, 1i64..4, ends).prop_map(|(schedule, grace, alert_after, ends)| {
        let end = |(when, (well, delay))| End { when, well, told: when + delay };
        Life { schedule, grace, alert_after, ends: ends.into_iter().map(end).collect() }
    })
}

proptest! {
    #![proptest_config(common::lives(192))]

    #[test]
    fn late_reports_are_told_as_the_oracle_says(life in a_life()) {
        let expected = life.told();
        for when_woken in [false, true] {
            let ours = life.live(when_woken);
            // Where failures were about, the oracle does not say what the alert was about.
            let known = expected.iter().zip(&ours).map(|((when, closed), (_, our))| {
                (*when, closed.map(|was_well| was_well.unwrap_or(our.unwrap_or_default())))
            });
            prop_assert_eq!(known.collect::<Vec<_>>(), ours.clone(), "when woken: {}", when_woken);
            prop_assert_eq!(expected.len(), ours.len(), "when woken: {}: {:?} {:?}", when_woken, expected, ours);
        }
    }
}
