//! The rules of snoozes and of `alert_after`, said a second time in the plainest way, and compared over random lives.
//!
//! The oracle goes through a life second by second and at each counts everything anew from all that has happened. It shares nothing
//! with the rules but the schedules' instants, which have tests of their own.

// Clippy knows tests by their attribute, and the strategies have none.
#![allow(clippy::unwrap_used)]

mod common;

use chrono::TimeDelta;
use common::{Job, at};
use innkeeper_core::Time;
use innkeeper_core::reservation::Window;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::sla::Change;
use innkeeper_core::snooze::{Snooze, SnoozeMode};
use proptest::prelude::*;

/// So many seconds are lived through.
const LENGTH: i64 = 1500;

fn seconds(n: i64) -> TimeDelta {
    TimeDelta::seconds(n)
}

/// `n` seconds after midnight.
fn after(n: i64) -> Time {
    at("00:00") + seconds(n)
}

/// What happens to a job, all of it known beforehand.
#[derive(Debug, Clone)]
struct Life {
    schedule: Schedule,
    grace: i64,
    alert_after: i64,
    /// Successes and failures, in order, each at its own second.
    ends: Vec<(i64, bool)>,
    /// In order, no two at once.
    snoozes: Vec<Snooze>,
    blind: Vec<Window>,
}

impl Life {
    /// The instants that count from the anchor, by their expected times, with the deadline of each and whether a blind window
    /// touches it, up to `now`.
    fn instants(&self, anchor: Time, heard: bool, now: Time) -> Vec<(Time, Time, bool)> {
        let mut instants: Vec<(Time, Time, bool)> = Vec::new();
        let mut next = self.schedule.expected_after(anchor, heard);
        while let Some(expected) = next.filter(|expected| *expected <= now) {
            let snooze = self.snoozes.iter().find(|one| one.from <= expected && expected < one.until);
            if let Some(skip) = snooze.filter(|one| one.mode == SnoozeMode::Skip) {
                next = match &self.schedule {
                    Schedule::Every(period) => Some(skip.until + *period),
                    _ => self.schedule.following(expected),
                };
                continue;
            }
            let mut deadline = expected + seconds(self.grace);
            if let Some(quiet) = snooze {
                let period = self.schedule.following(expected).unwrap() - expected;
                deadline = deadline.max(quiet.until + period.min(seconds(3600)) + seconds(self.grace));
            }
            if let (Schedule::Every(_), Some((_, before, _))) = (&self.schedule, instants.last()) {
                deadline = deadline.max(*before);
            }
            let touches = |window: &Window| {
                window.from <= deadline && window.until >= expected - seconds(60) && window.until > anchor
            };
            instants.push((expected, deadline, self.blind.iter().any(touches)));
            next = self.schedule.following(expected);
        }
        instants
    }

    /// Misses and failures in a row at `now`.
    fn row(&self, now: i64) -> i64 {
        let past: Vec<&(i64, bool)> = self.ends.iter().filter(|(when, _)| *when <= now).collect();
        let begin = past.iter().rposition(|(_, well)| *well);
        let (mut anchor, mut heard) = (after(0), false);
        if let Some(success) = begin {
            (anchor, heard) = (after(past[success].0), true);
        }
        let mut row = 0;
        for (when, _) in past.iter().skip(begin.map_or(0, |success| success + 1)) {
            let failed = after(*when);
            let instants = self.instants(anchor, heard, failed);
            // A snooze gave them time to be heard, and they were not.
            let missed = |(expected, _, blind): &(Time, Time, bool)| {
                *expected + seconds(self.grace) <= failed && !blind
            };
            let answers_early =
                self.schedule.expected_after(failed, true) != self.schedule.expected_after(failed, false);
            let is_counted = instants.last().is_some_and(missed) && !answers_early;
            row += instants.iter().filter(|instant| missed(instant)).count() as i64 + i64::from(!is_counted);
            (anchor, heard) = (failed, true);
        }
        let instants = self.instants(anchor, heard, after(now));
        row + instants.iter().filter(|(_, deadline, blind)| *deadline <= after(now) && !blind).count() as i64
    }

    /// When alerts open and close, by the seconds, and the row at each.
    fn told(&self) -> (Vec<(Time, bool)>, Vec<i64>) {
        let (mut told, mut rows, mut open) = (Vec::new(), Vec::new(), false);
        for now in 0..LENGTH {
            let row = self.row(now);
            let silent = self.snoozes.iter().any(|one| one.from <= after(now) && after(now) < one.until);
            if open && row == 0 {
                open = false;
                told.push((after(now), false));
            } else if !open && !silent && row >= self.alert_after {
                open = true;
                told.push((after(now), true));
            }
            rows.push(row.min(self.alert_after));
        }
        (told, rows)
    }
}

fn a_life() -> impl Strategy<Value = Life> {
    let schedule = prop_oneof![
        (240i64..900).prop_map(|s| Schedule::every(seconds(s)).unwrap()),
        Just(Schedule::cron("*/5 * * * *", "UTC").unwrap()),
        Just(Schedule::cron("3,10,24,25,40 * * * *", "Europe/Berlin").unwrap()),
    ];
    let ends = prop::collection::btree_map(1..LENGTH, prop::bool::weighted(0.4), 0..10);
    let snoozes = prop::collection::vec((1i64..400, 1i64..600, any::<bool>()), 0..4);
    let blind = prop::collection::vec((0..LENGTH, 1i64..30), 0..3);
    (schedule, 0i64..90, 1i64..5, ends, snoozes, blind).prop_map(
        |(schedule, grace, alert_after, ends, snoozes, blind)| {
            let mut from = 0;
            let snooze = |(pause, length, quiet)| {
                let mode = if quiet { SnoozeMode::Quiet } else { SnoozeMode::Skip };
                from += pause;
                let snooze = Snooze { from: after(from), until: after(from + length), mode };
                from += length;
                snooze
            };
            let snoozes: Vec<Snooze> = snoozes.into_iter().map(snooze).collect();
            // A single miss is given a respite: that is another rule. And many windows have a bound.
            let has_blind = alert_after > 1 && schedule.period_at(after(0)) >= seconds(240);
            let dense = schedule.notation().contains("24,25");
            let blind = blind
                .into_iter()
                .map(|(from, length)| Window { from: after(from), until: after(from + length) });
            let blind = blind.take(if has_blind && !dense { 2 } else { 0 }).collect();
            Life { schedule, grace, alert_after, ends: ends.into_iter().collect(), snoozes, blind }
        },
    )
}

/// Lives through it, looking at each second or only when woken.
fn live(life: &Life, when_woken: bool) -> (Vec<(Time, bool)>, Vec<i64>) {
    let mut job = Job::with_schedule(life.schedule.clone()).with(|terms| {
        terms.grace = seconds(life.grace);
        terms.alert_after = life.alert_after;
    });
    let (mut ends, mut snoozes) = (life.ends.iter().peekable(), life.snoozes.iter().peekable());
    let mut rows = Vec::new();
    for now in 0..LENGTH {
        if let Some(snooze) = snoozes.next_if(|snooze| snooze.from <= after(now)) {
            job.snooze(snooze.mode, snooze.from, snooze.until);
        }
        if let Some((_, well)) = ends.next_if(|(when, _)| *when <= now) {
            if *well { job.success_at(after(now)) } else { job.fail_at(after(now)) }
        }
        // As far as they have been.
        let known = life.blind.iter().filter(|window| window.from <= after(now));
        job.blind = known.map(|window| Window { until: window.until.min(after(now)), ..*window }).collect();
        let is_blind = life.blind.iter().any(|window| window.from <= after(now) && after(now) < window.until);
        if !when_woken || is_blind || job.reservation.conclusions.wake_at <= after(now) {
            job.look_at(after(now));
        }
        rows.push(job.seen_at(after(now)).in_a_row);
    }
    let told = job.told.iter().map(|(when, change)| (*when, matches!(change, Change::Open(_))));
    (told.collect(), rows)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_say_what_the_oracle_says(life in a_life()) {
        let (told, rows) = life.told();
        for when_woken in [false, true] {
            let (ours, our_rows) = live(&life, when_woken);
            prop_assert_eq!(&ours, &told, "when woken: {}", when_woken);
            let differs = our_rows.iter().zip(&rows).position(|(ours, theirs)| ours != theirs);
            prop_assert_eq!(differs.map(|s| (after(s as i64), our_rows[s], rows[s])), None, "when woken: {}", when_woken);
        }
    }
}
