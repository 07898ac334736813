//! The rules of snoozes, of `alert_after` and of runs, said a second time in the plainest way, and compared over random lives.
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
use innkeeper_core::sla::DueChange;
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
        let mut next = match heard {
            true => self.schedule.expected_after_checkin(anchor),
            false => self.schedule.following(anchor),
        };
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
            // What was heard by `now` was not hidden by what began later.
            let touches = |window: &Window| {
                window.from <= deadline.min(now)
                    && window.until >= expected - seconds(60)
                    && window.until > anchor
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
                self.schedule.expected_after_checkin(failed) != self.schedule.following(failed);
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
    let mut job = Job::with_schedule(life.schedule.clone()).with(|spec| {
        spec.grace = seconds(life.grace);
        spec.alert_after = life.alert_after;
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
    let told = job.told.iter().map(|(when, change)| (*when, matches!(change, DueChange::Open(_))));
    (told.collect(), rows)
}

proptest! {
    #![proptest_config(common::lives(48))]

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

/// Runs that overlap, failures, and snoozes.
#[derive(Debug, Clone)]
struct Shift {
    max_run: i64,
    /// When each began, all at different seconds, and when it ended, where it did.
    runs: Vec<(i64, Option<i64>)>,
    fails: Vec<i64>,
    snoozes: Vec<(i64, i64)>,
}

/// An alert that is open: since when, and of which run it tells.
type Open = (i64, Option<usize>);

impl Shift {
    /// Whether a run that began after `started` succeeded after `since`, by `now`.
    fn later_success(&self, started: i64, since: i64, now: i64) -> bool {
        self.runs
            .iter()
            .any(|(start, end)| *start > started && end.is_some_and(|end| end > since && end <= now))
    }

    /// When alerts open and close, with the run that they tell of.
    fn told(&self) -> Vec<(i64, Option<Option<usize>>)> {
        let (mut told, mut open): (_, Option<Open>) = (Vec::new(), None);
        let mut told_at = vec![None; self.runs.len()];
        let mut was_over = vec![false; self.runs.len()];
        for now in 0..LENGTH {
            let success = self.runs.iter().filter_map(|(_, end)| *end).filter(|end| *end <= now).max();
            let failure = self.fails.iter().copied().filter(|fail| *fail <= now).max();
            let limit = |started: i64| started + self.max_run;
            for (run, (started, _)) in self.runs.iter().enumerate() {
                was_over[run] |= self.later_success(limit(*started) - 1, *started, now);
            }
            let hangs: Vec<usize> = (0..self.runs.len())
                .filter(|run| {
                    let (started, end) = self.runs[*run];
                    let is_going = started < now
                        && end.is_none_or(|end| end > now)
                        && failure.is_none_or(|at| at < started);
                    is_going && limit(started) <= now && !was_over[*run]
                })
                .filter(|run| told_at[*run].is_none_or(|at| !self.later_success(self.runs[*run].0, at, now)))
                .collect();
            let silent = self.snoozes.iter().any(|(from, until)| *from <= now && now < *until);
            if let Some((since, _)) = open {
                let succeeded = success.is_some_and(|at| at > since && Some(at) > failure);
                let before = self.runs.iter().filter_map(|(_, end)| *end).filter(|end| *end <= since).max();
                let let_go = |run: &usize| {
                    let started = self.runs[*run].0;
                    self.later_success(started, before.unwrap_or(0).max(limit(started) - 1), now)
                };
                if succeeded && hangs.iter().all(let_go) {
                    open = None;
                    told.push((now, None));
                }
                continue;
            }
            let untold = hangs
                .iter()
                .copied()
                .filter(|run| told_at[*run].is_none())
                .min_by_key(|run| self.runs[*run].0);
            let reason = if failure > success { Some(None) } else { untold.map(Some) };
            if let Some(run) = reason.filter(|_| !silent) {
                run.iter().for_each(|run| told_at[*run] = Some(now));
                open = Some((now, run));
                told.push((now, Some(run)));
            }
        }
        told
    }

    /// The same by the rules, looking at each second or only when woken.
    fn live(&self, when_woken: bool) -> Vec<(i64, Option<Option<usize>>)> {
        let mut job = Job::every("12h").with(|spec| spec.max_run = Some(seconds(self.max_run)));
        for now in 0..LENGTH {
            let of = |n: usize| common::run(n as u128 + 1);
            for (n, (start, end)) in self.runs.iter().enumerate() {
                if *start == now {
                    job.start_of(of(n), after(now));
                }
                if *end == Some(now) {
                    job.success_of(of(n), after(now));
                }
            }
            if self.fails.contains(&now) {
                job.fail_at(after(now));
            }
            if let Some((from, until)) = self.snoozes.iter().find(|(from, _)| *from == now) {
                job.snooze(SnoozeMode::Quiet, after(*from), after(*until));
            }
            if !when_woken || job.reservation.conclusions.wake_at <= after(now) {
                job.look_at(after(now));
            }
        }
        let run = |at: Time| self.runs.iter().position(|(start, _)| after(*start) == at);
        let told = job.told.iter().map(|(when, change)| {
            let opened =
                matches!(change, DueChange::Open(_)).then(|| common::reason(change).run().and_then(run));
            ((*when - after(0)).num_seconds(), opened)
        });
        told.collect()
    }
}

fn a_shift() -> impl Strategy<Value = Shift> {
    let runs = prop::collection::btree_map(1i64..LENGTH, prop::option::weighted(0.6, 1i64..400), 0..9);
    let fails = prop::collection::btree_set(1i64..LENGTH, 0..3);
    let snoozes = prop::collection::vec((1i64..400, 1i64..500), 0..3);
    (30i64..200, runs, fails, snoozes).prop_map(|(max_run, runs, fails, snoozes)| {
        // No two things happen within one second.
        let mut taken: Vec<i64> = runs.keys().copied().collect();
        let mut free = |at: i64| {
            let is_free = !taken.contains(&at);
            taken.push(at);
            is_free
        };
        let fails: Vec<i64> = fails.into_iter().filter(|at| free(*at)).collect();
        let runs = runs.into_iter().map(|(start, took)| {
            let end = took.map(|took| start + took).filter(|end| free(*end));
            // A failure ends all runs; a success that names one which is over would be another rule's matter.
            (start, end.filter(|end| !fails.iter().any(|fail| start < *fail && *fail < *end)))
        });
        let mut from = 0;
        let snoozes = snoozes.into_iter().map(|(pause, length)| {
            let begin = from + pause;
            from = begin + length;
            (begin, from)
        });
        Shift { max_run, runs: runs.collect(), snoozes: snoozes.collect(), fails }
    })
}

proptest! {
    #![proptest_config(common::lives(192))]

    #[test]
    fn each_run_over_its_limit_is_told_once_or_is_over(shift in a_shift()) {
        let told = shift.told();
        for when_woken in [false, true] {
            prop_assert_eq!(&shift.live(when_woken), &told, "when woken: {}", when_woken);
        }
    }
}

/// Compares one life with the oracle.
fn assert_as_the_oracle_says(life: &Life) {
    let (told, rows) = life.told();
    for when_woken in [false, true] {
        let (ours, our_rows) = live(life, when_woken);
        assert_eq!(ours, told, "when woken: {when_woken}");
        let differs = our_rows.iter().zip(&rows).position(|(ours, theirs)| ours != theirs);
        assert_eq!(
            differs.map(|s| (after(s as i64), our_rows[s], rows[s])),
            None,
            "when woken: {when_woken}"
        );
    }
}

fn snooze(mode: SnoozeMode, from: i64, until: i64) -> Snooze {
    Snooze { from: after(from), until: after(until), mode }
}

#[test]
fn a_skip_in_a_blind_window_moves_the_interval() {
    assert_as_the_oracle_says(&Life {
        schedule: Schedule::every(seconds(318)).unwrap(),
        grace: 60,
        alert_after: 2,
        ends: Vec::new(),
        snoozes: vec![snooze(SnoozeMode::Quiet, 229, 336), snooze(SnoozeMode::Skip, 337, 637)],
        blind: vec![Window { from: after(564), until: after(576) }],
    });
}

#[test]
fn what_a_quiet_snooze_moves_in_a_blind_window_holds_up_the_next_instant() {
    let (schedule, blind) = (
        |n| Schedule::every(seconds(n)).unwrap(),
        |from, until| Window { from: after(from), until: after(until) },
    );
    assert_as_the_oracle_says(&Life {
        schedule: schedule(489),
        grace: 0,
        alert_after: 2,
        ends: Vec::new(),
        snoozes: vec![snooze(SnoozeMode::Quiet, 67, 589), snooze(SnoozeMode::Quiet, 698, 979)],
        blind: vec![blind(915, 918)],
    });
    // One that it holds up is touched, too.
    assert_as_the_oracle_says(&Life {
        schedule: schedule(240),
        grace: 0,
        alert_after: 2,
        ends: Vec::new(),
        snoozes: vec![snooze(SnoozeMode::Quiet, 341, 927)],
        blind: vec![blind(961, 962)],
    });
}

#[test]
fn a_success_at_the_very_end_of_a_snooze_leaves_nothing_to_tell() {
    let shift =
        Shift { max_run: 30, runs: vec![(422, Some(535))], fails: vec![105], snoozes: vec![(105, 535)] };
    for when_woken in [false, true] {
        assert_eq!(shift.live(when_woken), []);
    }
    assert_eq!(shift.told(), []);
    assert_as_the_oracle_says(&Life {
        schedule: Schedule::every(seconds(900)).unwrap(),
        grace: 0,
        alert_after: 1,
        ends: vec![(105, false), (535, true)],
        snoozes: vec![snooze(SnoozeMode::Quiet, 105, 535)],
        blind: Vec::new(),
    });
}
