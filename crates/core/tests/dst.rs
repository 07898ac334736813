//! Schedules on the wall clock, through its changes.
//!
//! Every expected instant is derived by hand from the zone's rule, in UTC:
//!
//! | zone | forward | back |
//! |---|---|---|
//! | Europe/Berlin | 2026-03-29 01:00Z: 02:00 CET (+1) → 03:00 CEST (+2) | 2026-10-25 01:00Z: 03:00 CEST → 02:00 CET |
//! | America/New_York | 2026-03-08 07:00Z: 02:00 EST (−5) → 03:00 EDT (−4) | 2026-11-01 06:00Z: 02:00 EDT → 01:00 EST |
//! | Australia/Lord_Howe | 2026-10-03 15:30Z: 02:00 (+10:30) → 02:30 (+11) | 2026-04-04 15:00Z: 02:00 (+11) → 01:30 (+10:30) |
//! | America/Santiago | 2026-09-06 04:00Z: 00:00 (−4) → 01:00 (−3) | 2026-04-05 03:00Z: 00:00 (−3) → 23:00 the day before (−4) |
//! | Africa/Cairo | 2026-04-23 22:00Z: Friday 00:00 (+2) → 01:00 (+3) | 2026-10-29 21:00Z: Friday 00:00 (+3) → Thursday 23:00 (+2) |
//! | America/Nuuk | 2026-03-29 01:00Z: Saturday 23:00 (−2) → Sunday 00:00 (−1) | 2026-10-25 01:00Z: 00:00 (−1) → 23:00 (−2) |

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{NaiveDateTime, TimeDelta, Timelike};
use chrono_tz::Tz;
use common::{Job, span, utc};
use innkeeper_core::Time;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::sla::DueChange;
use proptest::prelude::*;

/// The first `n` expected instants after `from`.
fn instants(zone: &str, cron: &str, from: Time, n: usize) -> Vec<Time> {
    let schedule = Schedule::cron(cron, zone).unwrap_or_else(|error| panic!("{error}"));
    std::iter::successors(schedule.following(from), |at| schedule.following(*at)).take(n).collect()
}

/// What the case is, zone, cron, and the expected instants; they are looked for after the first of them.
type Case = (&'static str, &'static str, &'static str, &'static [&'static str]);

fn check(cases: &[Case]) {
    for (what, zone, cron, expected) in cases {
        let expected: Vec<Time> = expected.iter().map(|text| utc(text)).collect();
        let found = instants(zone, cron, expected[0], expected.len() - 1);
        assert_eq!(found, expected[1..], "{what}: {cron} in {zone}");
    }
}

#[test]
fn the_clock_goes_forward() {
    check(&[
        // 02:30 is 01:30Z in winter and 00:30Z in summer; on the 29th it moves to 03:00 CEST = 01:00Z.
        (
            "a fixed time in the gap moves to its end",
            "Europe/Berlin",
            "30 2 * * *",
            &["2026-03-27 02:00", "2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30"],
        ),
        (
            "the gap's first minute, too",
            "Europe/Berlin",
            "0 2 * * *",
            &["2026-03-28 02:00", "2026-03-29 01:00", "2026-03-30 00:00"],
        ),
        (
            "the gap's end is itself",
            "Europe/Berlin",
            "0 3 * * *",
            &["2026-03-28 03:00", "2026-03-29 01:00", "2026-03-30 01:00"],
        ),
        (
            "the last minute before the gap stays",
            "Europe/Berlin",
            "59 1 * * *",
            &["2026-03-28 03:00", "2026-03-29 00:59", "2026-03-29 23:59"],
        ),
        // 14:30 CEST = 12:30Z.
        (
            "one of several fixed times moves as well",
            "Europe/Berlin",
            "30 2,14 * * *",
            &["2026-03-29 00:00", "2026-03-29 01:00", "2026-03-29 12:30", "2026-03-30 00:30"],
        ),
        (
            "two that move to the same instant are one",
            "Europe/Berlin",
            "0,30 2,3 * * *",
            &["2026-03-29 00:00", "2026-03-29 01:00", "2026-03-29 01:30", "2026-03-30 00:00"],
        ),
        (
            "with seconds",
            "Europe/Berlin",
            "15 30 2 * * *",
            &["2026-03-28 02:00", "2026-03-29 01:00", "2026-03-30 00:30:15"],
        ),
        // 00:30 CET = 23:30Z, 01:30 CET = 00:30Z, then 03:30 CEST = 01:30Z: an hour apart as ever.
        (
            "hourly goes on each hour",
            "Europe/Berlin",
            "30 * * * *",
            &["2026-03-28 23:00", "2026-03-28 23:30", "2026-03-29 00:30", "2026-03-29 01:30"],
        ),
        (
            "every 5 minutes goes on each 5 minutes",
            "Europe/Berlin",
            "*/5 * * * *",
            &["2026-03-29 00:50", "2026-03-29 00:55", "2026-03-29 01:00", "2026-03-29 01:05"],
        ),
        (
            "every 5 minutes of the hour that is not there are not there",
            "Europe/Berlin",
            "*/5 2 * * *",
            &["2026-03-28 01:50", "2026-03-28 01:55", "2026-03-30 00:00"],
        ),
        (
            "every second hour: 02:00 is not there",
            "Europe/Berlin",
            "0 */2 * * *",
            &["2026-03-28 22:00", "2026-03-28 23:00", "2026-03-29 02:00"],
        ),
        // Midnight is 23:00Z the day before in winter, 22:00Z in summer.
        (
            "midnight",
            "Europe/Berlin",
            "0 0 * * *",
            &["2026-03-28 00:00", "2026-03-28 23:00", "2026-03-29 22:00"],
        ),
        (
            "weekly, in the gap",
            "Europe/Berlin",
            "30 2 * * SUN",
            &["2026-03-20 00:00", "2026-03-22 01:30", "2026-03-29 01:00", "2026-04-05 00:30"],
        ),
        // 02:30 is 07:30Z in winter and 06:30Z in summer; in the gap 03:00 EDT = 07:00Z.
        (
            "a fixed time in the gap moves to its end",
            "America/New_York",
            "30 2 * * *",
            &["2026-03-07 00:00", "2026-03-07 07:30", "2026-03-08 07:00", "2026-03-09 06:30"],
        ),
        (
            "hourly goes on each hour",
            "America/New_York",
            "0 * * * *",
            &["2026-03-08 05:30", "2026-03-08 06:00", "2026-03-08 07:00", "2026-03-08 08:00"],
        ),
        (
            "every 5 minutes goes on each 5 minutes",
            "America/New_York",
            "*/5 * * * *",
            &["2026-03-08 06:52", "2026-03-08 06:55", "2026-03-08 07:00"],
        ),
        // 02:15 is 15:45Z the day before at +10:30 and 15:15Z at +11; in the gap 02:30 (+11) = 15:30Z.
        (
            "half an hour is left out: a fixed time in it moves to its end",
            "Australia/Lord_Howe",
            "15 2 * * *",
            &["2026-10-02 00:00", "2026-10-02 15:45", "2026-10-03 15:30", "2026-10-04 15:15"],
        ),
        (
            "half an hour is left out: 02:30 is itself",
            "Australia/Lord_Howe",
            "30 2 * * *",
            &["2026-10-02 00:00", "2026-10-02 16:00", "2026-10-03 15:30", "2026-10-04 15:30"],
        ),
        // 01:00 (+10:30) = 14:30Z; 02:00 is not there; 03:00 (+11) = 16:00Z.
        (
            "half an hour is left out: hourly on the hour waits 90 minutes",
            "Australia/Lord_Howe",
            "0 * * * *",
            &["2026-10-03 14:00", "2026-10-03 14:30", "2026-10-03 16:00", "2026-10-03 17:00"],
        ),
        // 01:45 (+10:30) = 15:15Z; 02:45 (+11) = 15:45Z.
        (
            "half an hour is left out: hourly at :45 comes after 30 minutes",
            "Australia/Lord_Howe",
            "45 * * * *",
            &["2026-10-03 15:00", "2026-10-03 15:15", "2026-10-03 15:45", "2026-10-03 16:45"],
        ),
        // Midnight is 04:00Z at −4 and 03:00Z at −3; where it is left out, 01:00 (−3) = 04:00Z.
        (
            "midnight itself is left out",
            "America/Santiago",
            "0 0 * * *",
            &["2026-09-05 00:00", "2026-09-05 04:00", "2026-09-06 04:00", "2026-09-07 03:00"],
        ),
        (
            "midnight itself is left out: @daily",
            "America/Santiago",
            "@daily",
            &["2026-09-05 00:00", "2026-09-05 04:00", "2026-09-06 04:00", "2026-09-07 03:00"],
        ),
        (
            "midnight itself is left out: hourly",
            "America/Santiago",
            "@hourly",
            &["2026-09-06 02:30", "2026-09-06 03:00", "2026-09-06 04:00", "2026-09-06 05:00"],
        ),
        // Friday's midnight is 22:00Z on Thursday at +2 and 21:00Z at +3; left out: 01:00 (+3) = 22:00Z.
        (
            "weekly at a midnight that is left out",
            "Africa/Cairo",
            "0 0 * * FRI",
            &["2026-04-15 00:00", "2026-04-16 22:00", "2026-04-23 22:00", "2026-04-30 21:00"],
        ),
        // Saturday 23:30 is Sunday 01:30Z at −2; left out: Sunday 00:00 (−1) = 01:00Z. Then 00:30Z at −1.
        (
            "the gap's end is on the next day, which the expression does not name",
            "America/Nuuk",
            "30 23 * * SAT",
            &["2026-03-20 00:00", "2026-03-22 01:30", "2026-03-29 01:00", "2026-04-05 00:30"],
        ),
    ]);
}

#[test]
fn the_clock_goes_back() {
    check(&[
        // 02:30 comes at 00:30Z (CEST) and again at 01:30Z (CET).
        (
            "a fixed time that comes twice is expected once, the first time",
            "Europe/Berlin",
            "30 2 * * *",
            &["2026-10-24 00:00", "2026-10-24 00:30", "2026-10-25 00:30", "2026-10-26 01:30"],
        ),
        (
            "seen from between the two, it is over",
            "Europe/Berlin",
            "30 2 * * *",
            &["2026-10-25 01:10", "2026-10-26 01:30"],
        ),
        (
            "seen from just before the second, it is over",
            "Europe/Berlin",
            "30 2 * * *",
            &["2026-10-25 01:29:59", "2026-10-26 01:30"],
        ),
        (
            "the first instant that comes twice",
            "Europe/Berlin",
            "0 2 * * *",
            &["2026-10-24 12:00", "2026-10-25 00:00", "2026-10-26 01:00"],
        ),
        // 03:00 CEST is when the clock goes back, so it comes once: 03:00 CET = 02:00Z.
        (
            "the end of the overlap comes once",
            "Europe/Berlin",
            "0 3 * * *",
            &["2026-10-24 12:00", "2026-10-25 02:00", "2026-10-26 02:00"],
        ),
        (
            "hourly waits two hours",
            "Europe/Berlin",
            "30 * * * *",
            &["2026-10-24 23:00", "2026-10-24 23:30", "2026-10-25 00:30", "2026-10-25 02:30"],
        ),
        (
            "every 5 minutes rests for the second hour",
            "Europe/Berlin",
            "*/5 * * * *",
            &[
                "2026-10-25 00:48",
                "2026-10-25 00:50",
                "2026-10-25 00:55",
                "2026-10-25 02:00",
                "2026-10-25 02:05",
            ],
        ),
        (
            "every 5 minutes, seen from within the second hour",
            "Europe/Berlin",
            "*/5 * * * *",
            &["2026-10-25 01:17:30", "2026-10-25 02:00"],
        ),
        (
            "midnight",
            "Europe/Berlin",
            "0 0 * * *",
            &["2026-10-24 12:00", "2026-10-24 22:00", "2026-10-25 23:00"],
        ),
        // 25 October 2026 is the month's last Sunday. 02:15 CEST = 00:15Z; 29 November 02:15 CET = 01:15Z.
        (
            "the last Sunday of the month, in the overlap",
            "Europe/Berlin",
            "15 2 * * SUN#L",
            &["2026-10-01 00:00", "2026-10-25 00:15", "2026-11-29 01:15"],
        ),
        // 01:30 comes at 05:30Z (EDT) and again at 06:30Z (EST).
        (
            "a fixed time that comes twice is expected once, the first time",
            "America/New_York",
            "30 1 * * *",
            &["2026-10-31 00:00", "2026-10-31 05:30", "2026-11-01 05:30", "2026-11-02 06:30"],
        ),
        (
            "hourly waits two hours",
            "America/New_York",
            "0 * * * *",
            &["2026-11-01 04:30", "2026-11-01 05:00", "2026-11-01 07:00", "2026-11-01 08:00"],
        ),
        // Each month's last day at 01:30: 31 October EDT = 05:30Z, 30 November EST = 06:30Z.
        (
            "month's end on both sides of the change",
            "America/New_York",
            "30 1 L * *",
            &["2026-10-01 00:00", "2026-10-31 05:30", "2026-11-30 06:30"],
        ),
        // 01:45 comes at 14:45Z (+11) and again at 15:15Z (+10:30).
        (
            "half an hour comes twice: a fixed time in it is expected once",
            "Australia/Lord_Howe",
            "45 1 * * *",
            &["2026-04-03 00:00", "2026-04-03 14:45", "2026-04-04 14:45", "2026-04-05 15:15"],
        ),
        // 01:00 (+11) = 14:00Z, 02:00 (+10:30) = 15:30Z, for 02:00 (+11) is when the clock goes back.
        (
            "half an hour comes twice: hourly on the hour waits 90 minutes",
            "Australia/Lord_Howe",
            "0 * * * *",
            &["2026-04-04 13:30", "2026-04-04 14:00", "2026-04-04 15:30", "2026-04-04 16:30"],
        ),
        (
            "half an hour comes twice: every 10 minutes rests for it",
            "Australia/Lord_Howe",
            "*/10 * * * *",
            &["2026-04-04 14:35", "2026-04-04 14:40", "2026-04-04 14:50", "2026-04-04 15:30"],
        ),
        // 23:30 on Saturday comes at 02:30Z (−3) and again at 03:30Z (−4), both on the 5th in UTC.
        (
            "the hour before midnight comes twice",
            "America/Santiago",
            "30 23 * * *",
            &["2026-04-04 12:00", "2026-04-05 02:30", "2026-04-06 03:30"],
        ),
        (
            "midnight comes once, after the hour that came twice",
            "America/Santiago",
            "0 0 * * *",
            &["2026-04-04 12:00", "2026-04-05 04:00", "2026-04-06 04:00"],
        ),
    ]);
}

#[test]
fn utc_never_changes() {
    for zone in ["UTC", "Etc/UTC"] {
        for (from, first) in
            [("2026-03-28 12:00", "2026-03-29 02:30"), ("2026-10-24 12:00", "2026-10-25 02:30")]
        {
            let found = instants(zone, "30 2 * * *", utc(from), 10);
            let expected: Vec<Time> = (0..10).map(|day| utc(first) + TimeDelta::days(day)).collect();
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn a_whole_day_that_was_left_out() {
    // Samoa went over the date line: after 29 December 2011 (−10) came the 31st (+14), at 10:00Z on the 30th.
    check(&[
        (
            "a fixed time on it moves to its end",
            "Pacific/Apia",
            "0 9 * * *",
            &["2011-12-29 12:00", "2011-12-29 19:00", "2011-12-30 10:00", "2011-12-30 19:00"],
        ),
        (
            "an hourly one goes on",
            "Pacific/Apia",
            "0 * * * *",
            &["2011-12-30 08:30", "2011-12-30 09:00", "2011-12-30 10:00", "2011-12-30 11:00"],
        ),
    ]);
}

#[test]
fn every_so_often_is_indifferent_to_the_clock() {
    let hourly = Schedule::every(span("1h")).unwrap();
    for change in ["2026-03-29 01:00", "2026-10-25 01:00"] {
        for early in [-90, -30, 0, 30] {
            let heard = utc(change) + TimeDelta::minutes(early);
            assert_eq!(hourly.expected_after_checkin(heard), Some(heard + span("1h")));
            assert_eq!(hourly.following(heard), Some(heard + span("1h")));
        }
    }
}

#[test]
fn what_comes_twice_may_be_done_the_second_time_or_both() {
    // Schedulers disagree about the overlap. None of the three ways alerts, and the next day is due as ever.
    for checkins in [&["2026-10-25 00:31"][..], &["2026-10-25 00:31", "2026-10-25 01:31"]] {
        let mut job = Job::cron("30 2 * * *", "Europe/Berlin").grace("5m").made_at(utc("2026-10-24 12:00"));
        for checkin in checkins {
            job.success_at(utc(checkin));
        }
        job.sleep_until(utc("2026-10-26 01:34:59"));
        assert_eq!(job.told, [], "{checkins:?}");
        assert!(matches!(job.look_at(utc("2026-10-26 01:35")), DueChange::Open(_)), "{checkins:?}");
    }
}

#[test]
fn both_ways_to_treat_a_gap_are_well() {
    // 02:30 is left out on 29 March. A cron that runs at 03:00 CEST instead is in time; grace covers its run.
    let mut job = Job::cron("30 2 * * *", "Europe/Berlin").grace("5m").made_at(utc("2026-03-28 12:00"));
    job.success_at(utc("2026-03-29 01:04"));
    job.sleep_until(utc("2026-03-30 00:34:59"));
    assert_eq!(job.told, []);
    assert!(matches!(job.look_at(utc("2026-03-30 00:35")), DueChange::Open(_)));
}

#[test]
fn a_check_in_up_to_a_minute_early_counts_for_the_instant() {
    let nightly = Schedule::cron("0 2 * * *", "UTC").unwrap();
    for (heard, expected) in [
        ("2026-01-05 01:59:00", "2026-01-06 02:00"),
        ("2026-01-05 01:58:59.999", "2026-01-05 02:00"),
        ("2026-01-05 01:58:59", "2026-01-05 02:00"),
        ("2026-01-05 01:59:59.999", "2026-01-06 02:00"),
        ("2026-01-05 02:00:00", "2026-01-06 02:00"),
        ("2026-01-05 02:00:01", "2026-01-06 02:00"),
    ] {
        assert_eq!(nightly.expected_after_checkin(utc(heard)), Some(utc(expected)), "{heard}");
    }
    let creation = utc("2026-01-05 01:59:30");
    assert_eq!(nightly.following(creation), Some(utc("2026-01-05 02:00")), "only check-ins count");
    // Early for an instant that was moved out of a gap, too: 03:00 CEST = 01:00Z.
    let moved = Schedule::cron("30 2 * * *", "Europe/Berlin").unwrap();
    assert_eq!(moved.expected_after_checkin(utc("2026-03-29 00:59:30")), Some(utc("2026-03-30 00:30")));
}

#[test]
fn where_instants_are_close_a_check_in_counts_for_the_nearer() {
    for (cron, heard, expected) in [
        ("* * * * *", "2026-01-05 02:00:05", "2026-01-05 02:01:00"),
        ("* * * * *", "2026-01-05 02:00:29", "2026-01-05 02:01:00"),
        ("* * * * *", "2026-01-05 02:00:30", "2026-01-05 02:02:00"),
        ("* * * * *", "2026-01-05 02:00:59", "2026-01-05 02:02:00"),
        ("*/2 * * * *", "2026-01-05 02:00:59", "2026-01-05 02:02:00"),
        ("*/2 * * * *", "2026-01-05 02:01:00", "2026-01-05 02:04:00"),
        ("*/10 * * * * *", "2026-01-05 02:00:04", "2026-01-05 02:00:10"),
        ("*/10 * * * * *", "2026-01-05 02:00:05", "2026-01-05 02:00:20"),
        ("* * * * * *", "2026-01-05 02:00:00", "2026-01-05 02:00:01"),
        // The instant that follows is far, the one before is near: 02:01 is still expected.
        ("0,1 2 * * *", "2026-01-05 02:00:20", "2026-01-05 02:01:00"),
        ("0,1 2 * * *", "2026-01-05 02:00:40", "2026-01-06 02:00:00"),
        ("* 9-17 * * *", "2026-01-05 17:58:05", "2026-01-05 17:59:00"),
        // The one before is far, the instant that follows is near: 60 s as ever.
        ("0,1 2 * * *", "2026-01-05 01:59:05", "2026-01-05 02:01:00"),
    ] {
        let schedule = Schedule::cron(cron, "UTC").unwrap();
        assert_eq!(schedule.expected_after_checkin(utc(heard)), Some(utc(expected)), "{cron}, heard {heard}");
    }
}

#[test]
fn days_of_month_and_week_are_read_as_cron_reads_them() {
    check(&[
        // January 2026: the 1st is a Thursday.
        (
            "both named: either will do",
            "UTC",
            "0 3 6 * MON",
            &["2026-01-04 12:00", "2026-01-05 03:00", "2026-01-06 03:00", "2026-01-12 03:00"],
        ),
        (
            "one of them begins with a star: both must fit, as in Vixie cron",
            "UTC",
            "0 3 */2 * 1-5",
            &[
                "2026-01-01 12:00",
                "2026-01-05 03:00",
                "2026-01-07 03:00",
                "2026-01-09 03:00",
                "2026-01-13 03:00",
            ],
        ),
        ("7 is Sunday", "UTC", "0 3 * * 7", &["2026-01-01 00:00", "2026-01-04 03:00", "2026-01-11 03:00"]),
        (
            "the last day of the month",
            "UTC",
            "0 3 L * *",
            &["2028-01-31 12:00", "2028-02-29 03:00", "2028-03-31 03:00", "2028-04-30 03:00"],
        ),
        (
            "the 31st, where there is one",
            "UTC",
            "0 3 31 * *",
            &["2026-01-31 12:00", "2026-03-31 03:00", "2026-05-31 03:00"],
        ),
        ("leap days", "UTC", "0 0 29 2 *", &["2026-01-01 00:00", "2028-02-29 00:00", "2032-02-29 00:00"]),
        ("no leap day in 2100", "UTC", "0 0 29 2 *", &["2096-03-01 00:00", "2104-02-29 00:00"]),
        // 29 February is a Monday in 2016, 2044 and 2072.
        ("rare", "UTC", "0 0 29 2 +MON", &["2016-03-01 00:00", "2044-02-29 00:00", "2072-02-29 00:00"]),
        (
            "six fields begin with seconds",
            "UTC",
            "*/20 30 2 * * *",
            &[
                "2026-01-05 00:00",
                "2026-01-05 02:30:00",
                "2026-01-05 02:30:20",
                "2026-01-05 02:30:40",
                "2026-01-06 02:30",
            ],
        ),
        ("names", "UTC", "0 3 * jan,Jul mon", &["2026-01-26 12:00", "2026-07-06 03:00"]),
        ("@weekly", "UTC", "@weekly", &["2026-01-01 00:00", "2026-01-04 00:00", "2026-01-11 00:00"]),
    ]);
}

#[test]
fn what_is_no_schedule_is_refused_by_field() {
    for (cron, zone, field, says) in [
        ("0 0 30 2 *", "UTC", "cron", "never comes about"),
        ("0 0 31 2,4,6,9,11 *", "Europe/Berlin", "cron", "never comes about"),
        ("", "UTC", "cron", "not a cron expression"),
        ("* * * *", "UTC", "cron", "not a cron expression"),
        ("* * * * * * *", "UTC", "cron", "not a cron expression"),
        ("60 * * * *", "UTC", "cron", "not a cron expression"),
        ("*/0 * * * *", "UTC", "cron", "not a cron expression"),
        ("every day at 2", "UTC", "cron", "not a cron expression"),
        ("@reboot", "UTC", "cron", "not a cron expression"),
        ("* * * * *\n* * * * *", "UTC", "cron", "control character"),
        ("0 2 * * *\0", "UTC", "cron", "control character"),
        (", * * * *", "UTC", "cron", "a list has an empty place"),
        ("0 0 * * 1,", "UTC", "cron", "a list has an empty place"),
        ("0 2 * * *", "Europe/Bielefeld", "time_zone", "not a time zone"),
        ("0 2 * * *", "", "time_zone", "not a time zone"),
        ("0 2 * * *", "+02:00", "time_zone", "not a time zone"),
    ] {
        let error = Schedule::cron(cron, zone).expect_err(cron);
        assert_eq!(error.field, field, "{cron:?} in {zone:?}");
        assert!(error.problem.contains(says), "{cron:?} in {zone:?}: {error}");
    }
}

#[test]
fn texts_are_bounded() {
    let minutes: Vec<String> = (0..60).map(|minute| minute.to_string()).collect();
    let long = format!("{} * * * *", minutes.join(","));
    assert!(Schedule::cron(&long, "UTC").is_ok(), "{} characters", long.len());
    let longer = format!("0,{long}{}", ",0".repeat(20));
    assert!(Schedule::cron(&longer, "UTC").unwrap_err().problem.contains("at most 200"));
    let error = Schedule::cron("0 2 * * *", &"x".repeat(60_000)).unwrap_err();
    assert_eq!((error.field.as_ref(), error.problem.contains("at most 100")), ("time_zone", true));
}

#[test]
fn the_longest_search_is_short() {
    let began = Instant::now();
    for cron in
        ["0 0 29 2 +MON", "0 0 30 2 *", "59 59 23 31 12 +SUN#5", "* * * 30 2 *", "0 0 * * L", "0 0 31W 2 *"]
    {
        let _ = Schedule::cron(cron, "Australia/Lord_Howe");
    }
    let every_second = instants("Europe/Berlin", "* * * * * *", utc("2026-10-25 00:59:58"), 3);
    assert_eq!(every_second[1], utc("2026-10-25 02:00:00"), "an hour of seconds is skipped");
    // Generous: a debug build on a busy machine takes about a second.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// The expected instants of minute and hour sets from `from`, by walking UTC minute by minute: a wall-clock
/// time is expected when the clock first shows it, and a fixed one that the clock jumps over, at the jump.
fn walked(
    zone: Tz,
    minutes: &BTreeSet<u32>,
    hours: &BTreeSet<u32>,
    fixed: bool,
    from: Time,
    n: usize,
) -> Vec<Time> {
    let fits = |wall: NaiveDateTime| minutes.contains(&wall.minute()) && hours.contains(&wall.hour());
    let wall_at = |at: Time| at.with_timezone(&zone).naive_local();
    let minute = TimeDelta::minutes(1);
    let mut found = Vec::new();
    // Begin a day earlier, so that the furthest the clock has shown is known at `from`.
    let mut now = from - TimeDelta::days(1);
    let mut furthest = wall_at(now) - minute;
    while found.len() < n {
        let wall = wall_at(now);
        if wall > furthest {
            let jumped_over = std::iter::successors(Some(furthest + minute), |at| Some(*at + minute))
                .take_while(|at| *at < wall)
                .any(|at| fixed && fits(at));
            if now > from && (fits(wall) || jumped_over) {
                found.push(now);
            }
            furthest = wall;
        }
        now += minute;
    }
    found
}

fn a_set(most: u32) -> impl Strategy<Value = BTreeSet<u32>> {
    prop::collection::btree_set(0..most, 1..5)
}

fn list(set: &BTreeSet<u32>) -> String {
    set.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn schedules_agree_with_a_walk_along_the_clock(
        minutes in a_set(60),
        hours in prop_oneof![2 => a_set(4), 1 => a_set(24), 1 => Just((0..24).collect::<BTreeSet<u32>>())],
        (zone, change) in prop::sample::select(vec![
            ("Europe/Berlin", "2026-03-29 01:00"), ("Europe/Berlin", "2026-10-25 01:00"),
            ("America/New_York", "2026-03-08 07:00"), ("America/New_York", "2026-11-01 06:00"),
            ("Australia/Lord_Howe", "2026-10-03 15:30"), ("Australia/Lord_Howe", "2026-04-04 15:00"),
            ("America/Santiago", "2026-09-06 04:00"), ("America/Santiago", "2026-04-05 03:00"),
            ("Africa/Cairo", "2026-04-23 22:00"), ("Africa/Cairo", "2026-10-29 21:00"),
            ("America/Nuuk", "2026-03-29 01:00"), ("America/Nuuk", "2026-10-25 01:00"),
        ]),
        before in 0i64..300,
    ) {
        let from = utc(change) - TimeDelta::minutes(before);
        let every_hour = hours.len() == 24;
        let cron = format!("{} {} * * *", list(&minutes), if every_hour { "*".to_owned() } else { list(&hours) });
        let expected = walked(zone.parse().unwrap(), &minutes, &hours, !every_hour, from, 6);
        prop_assert_eq!(instants(zone, &cron, from, 6), expected, "{} in {} after {}", cron, zone, from);
    }

    #[test]
    fn any_text_is_read_or_refused_without_a_panic(
        text in "([0-9*/,LW#+?@a-fA-F -]{0,12} ){0,7}|\\PC{0,40}",
        zone in "\\PC{0,12}",
        heard in -100_000_000_000_000i64..100_000_000_000_000,
    ) {
        let _ = Schedule::cron("* * * * *", &zone);
        if let Ok(schedule) = Schedule::cron(&text, "Europe/Berlin") {
            let heard = Time::from_timestamp_millis(heard).unwrap();
            for next in [schedule.expected_after_checkin(heard), schedule.following(heard)] {
                prop_assert!(next.is_none_or(|next| next > heard), "{} after {} is {:?}", text, heard, next);
            }
        }
    }
}
