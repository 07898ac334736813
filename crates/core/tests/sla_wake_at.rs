//! `wake_at` is never late: who looks only when woken tells the same things at the same times as who looks each second, and what
//! the pages show is what the sweeper has told.
//!
//! A random history is lived through second by second, as the store records it: check-ins (in time, recorded late, and reported late), runs that
//! overlap, failures, snoozes, changes of the spec, and spans in which nothing could be recorded, which are seen while they go
//! on and are remembered when they end. Each seed plays some of them; `INNKEEPER_TEST_SEED` plays another. Without the eagerness of
//! reservations under a respite (`Conclusions::eager`) seed 11 fails.

// Clippy knows tests by their attribute, and the strategies have none.
#![allow(clippy::unwrap_used)]

mod common;

use chrono::TimeDelta;
use common::{Job, at, reported, run};
use innkeeper_core::Time;
use innkeeper_core::checkin::{CheckIn, CheckInKind};
use innkeeper_core::reminders::Reminders;
use innkeeper_core::reservation::Window;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::sla::{DueChange, State};
use innkeeper_core::snooze::SnoozeMode;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

/// So many seconds are lived through.
const LENGTH: i64 = 1200;
/// Without a heartbeat for so long, it is in doubt whether anything can be recorded; as in the store.
const SILENT: i64 = 3;
/// The doubt ends after so long without one.
const BLIND: i64 = 5;

/// What happens at one second.
#[derive(Debug, Clone)]
enum Step {
    /// A check-in is recorded, so many seconds after it came; where it is a report, so many after it happened.
    CheckIn { kind: CheckInKind, run: Option<u8>, late: i64, report: bool },
    /// Nothing can be recorded for so long, and with `all_away` nobody looks either. A short span is remembered only where a
    /// process starts at its end.
    Blind { seconds: i64, start: bool, all_away: bool },
    /// Nothing is told for so long; zero ends a snooze.
    Snooze(SnoozeMode, i64),
    /// The spec is changed.
    Change(Edit),
}

#[derive(Debug, Clone)]
enum Edit {
    Grace(i64),
    AlertAfter(i64),
    MaxRun(Option<i64>),
    RemindEvery(Reminders),
    Schedule(Schedule),
}

fn seconds(n: i64) -> TimeDelta {
    TimeDelta::seconds(n)
}

/// `n` seconds after midnight.
fn after(n: i64) -> Time {
    at("00:00") + seconds(n)
}

fn a_schedule() -> impl Strategy<Value = Schedule> {
    prop_oneof![
        (20i64..300).prop_map(|s| Schedule::every(seconds(s)).unwrap()),
        Just(Schedule::cron("* * * * *", "UTC").unwrap()),
        Just(Schedule::cron("*/2 * * * *", "Europe/Berlin").unwrap()),
        Just(Schedule::cron("1-59/3 * * * *", "UTC").unwrap()),
        Just(Schedule::cron("2,5,7,14,15 * * * *", "UTC").unwrap()),
    ]
}

fn a_job() -> impl Strategy<Value = Job> {
    let limit = || prop::option::weighted(0.2, 30i64..200);
    (
        a_schedule(),
        0i64..90,
        prop_oneof![2 => Just(1i64), 1 => 2i64..4],
        (limit(), common::reminders(30..200), prop::bool::weighted(0.3)),
    )
        .prop_map(|(schedule, grace, alert_after, (max_run, remind, odd_figures))| {
            let job = Job::with_schedule(schedule);
            let job = if odd_figures { job.with_odd_figures() } else { job };
            job.with(|spec| {
                spec.grace = seconds(grace);
                spec.alert_after = alert_after;
                spec.max_run = max_run.map(seconds);
                spec.remind_every = remind;
            })
        })
}

fn a_step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        6 => Just(CheckInKind::Success),
        1 => Just(CheckInKind::Fail),
        2 => Just(CheckInKind::Start),
        1 => Just(CheckInKind::Log),
    ];
    let run = prop_oneof![2 => Just(None), 1 => (0u8..3).prop_map(Some)];
    let late = prop_oneof![3 => Just(0i64), 1 => 0i64..90];
    let edit = prop_oneof![
        (0i64..90).prop_map(Edit::Grace),
        (1i64..4).prop_map(Edit::AlertAfter),
        prop::option::of(30i64..200).prop_map(Edit::MaxRun),
        common::reminders(30..200).prop_map(Edit::RemindEvery),
        a_schedule().prop_map(Edit::Schedule),
    ];
    prop_oneof![
        3 => (kind, run, late, any::<bool>())
            .prop_map(|(kind, run, late, report)| Step::CheckIn { kind, run, late, report }),
        4 => (prop_oneof![1i64..8, 8i64..200], any::<bool>(), any::<bool>())
            .prop_map(|(seconds, start, all_away)| Step::Blind { seconds, start, all_away }),
        2 => (prop_oneof![Just(SnoozeMode::Quiet), Just(SnoozeMode::Skip)], prop_oneof![Just(0i64), 1i64..300])
            .prop_map(|(mode, length)| Step::Snooze(mode, length)),
        1 => edit.prop_map(Step::Change),
    ]
}

/// A job that checks in about as it promised, and now and then does not, while this and that happens.
fn a_job_and_its_history() -> impl Strategy<Value = Story> {
    let going_on = prop::collection::vec((-20i64..60, prop::bool::weighted(0.7)), 75);
    let steps = prop::collection::vec((0..LENGTH, a_step()), 0..9);
    (a_job(), going_on, steps).prop_map(|(job, checkins, mut steps)| {
        let period = job.reservation.spec.schedule.period_at(after(0)).num_seconds();
        let success = Step::CheckIn { kind: CheckInKind::Success, run: None, late: 0, report: false };
        let places = (1..).map(|n| n * period);
        let checkins = places.zip(checkins).filter(|(_, (_, comes))| *comes);
        steps.extend(checkins.map(|(place, (off, _))| ((place + off).max(1), success.clone())));
        steps.retain(|(at, _)| *at < LENGTH);
        steps.sort_by_key(|(at, _)| *at);
        Story { job, steps }
    })
}

/// What is lived through.
struct Story {
    job: Job,
    steps: Vec<(i64, Step)>,
}

impl std::fmt::Debug for Story {
    /// What a person needs of it; a cron expression as it is kept takes pages.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:?}\n{:?}", self.job.reservation.spec.written(), self.steps)
    }
}

impl Edit {
    /// Changes the spec.
    fn apply(&self, job: &mut Job, now: Time) {
        job.change_at(now, |spec| match self {
            Self::Grace(grace) => spec.grace = seconds(*grace),
            Self::AlertAfter(n) => spec.alert_after = *n,
            Self::MaxRun(most) => spec.max_run = most.map(seconds),
            Self::RemindEvery(reminders) => spec.remind_every = *reminders,
            Self::Schedule(schedule) => spec.schedule = schedule.clone(),
        });
    }
}

/// Blindness as the store sees it.
#[derive(Debug, Default)]
struct Blindness {
    remembered: Vec<Window>,
    /// Since when, until when, and whether it is remembered.
    going_on: Option<(i64, i64, bool)>,
    all_away: bool,
}

impl Blindness {
    fn begin(&mut self, now: i64, length: i64, start: bool, all_away: bool) {
        if self.going_on.is_none() {
            self.all_away = all_away;
            self.going_on = Some((now, now + length, start || length > BLIND));
        }
    }

    fn end(&mut self, now: i64) {
        if let Some((from, until, remembered)) = self.going_on
            && until <= now
        {
            self.remembered.extend(remembered.then(|| Window { from: after(from), until: after(until) }));
            self.going_on = None;
        }
    }

    /// The windows at `now`, and whether the latest may yet turn out to be none.
    fn at(&self, now: i64) -> (Vec<Window>, bool) {
        let mut windows = self.remembered.clone();
        let Some((from, ..)) = self.going_on.filter(|(from, ..)| now - from > SILENT) else {
            return (windows, false);
        };
        windows.push(Window { from: after(from), until: after(now) });
        (windows, now - from <= BLIND)
    }
}

/// Looks as the sweeper does, which looks again soon where it is in doubt.
fn look(job: &mut Job, now: i64, doubtful: bool) {
    job.look_at(after(now));
    if doubtful {
        let conclusions = &mut job.reservation.conclusions;
        conclusions.wake_at = conclusions.wake_at.min(after(now + 1));
    }
}

fn live_through(job: Job, history: &[(i64, Step)]) -> Result<(), TestCaseError> {
    let (mut sleeper, mut watcher) = (job.clone(), job);
    let mut blindness = Blindness::default();
    let mut coming = history.iter().peekable();
    for now in 0..LENGTH {
        blindness.end(now);
        while let Some((_, step)) = coming.next_if(|(at, _)| *at <= now) {
            if let Step::Blind { seconds, start, all_away } = step {
                blindness.begin(now, *seconds, *start, *all_away);
                continue;
            }
            if blindness.going_on.is_some() {
                continue;
            }
            for job in [&mut sleeper, &mut watcher] {
                match step {
                    Step::CheckIn { kind, run: named, late, report } => {
                        let checkin = CheckIn {
                            run_id: named.map(|n| run(n.into())),
                            exit_code: (*kind == CheckInKind::Fail).then_some(1),
                            ..CheckIn::new(*kind, after((now - late).max(0)))
                        };
                        job.check_in(if *report { reported(checkin, after(now)) } else { checkin });
                    }
                    Step::Snooze(mode, length) => job.snooze(*mode, after(now), after(now + length)),
                    Step::Change(edit) => edit.apply(job, after(now)),
                    Step::Blind { .. } => {}
                }
            }
        }
        if blindness.going_on.is_some() && blindness.all_away {
            continue;
        }
        let (windows, doubtful) = blindness.at(now);
        sleeper.blind.clone_from(&windows);
        watcher.blind = windows;
        look(&mut watcher, now, doubtful);
        if sleeper.reservation.conclusions.wake_at <= after(now) {
            look(&mut sleeper, now, doubtful);
        }
        let shown = sleeper.seen_at(after(now));
        let wake_at = sleeper.reservation.conclusions.wake_at;
        prop_assert_eq!(&shown.change, &DueChange::None, "at {}, asleep until {}", after(now), wake_at);
        prop_assert_eq!(shown.state == State::Down, sleeper.alert.is_some() && shown.state != State::Snoozed);
        prop_assert!(wake_at > after(now), "awake again at once, at {}", after(now));
        prop_assert_eq!(&sleeper.told, &watcher.told, "at {}", after(now));
    }
    Ok(())
}

fn play(seed: u64, cases: u32) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    if let Err(failure) = runner.run(&a_job_and_its_history(), |story| live_through(story.job, &story.steps))
    {
        panic!("INNKEEPER_TEST_SEED={seed}: {failure}");
    }
}

#[test]
fn who_looks_only_when_woken_tells_what_who_looks_each_second_tells() {
    match std::env::var("INNKEEPER_TEST_SEED") {
        Ok(seed) => play(seed.parse().unwrap(), 200),
        Err(_) => (8..16).for_each(|seed| play(seed, 12)),
    }
}

#[test]
fn a_success_after_a_blind_window_brings_the_deadline_of_a_cron_job_nearer() {
    let job = Job::cron("*/5 * * * *", "UTC").grace("30s");
    let success = || Step::CheckIn { kind: CheckInKind::Success, run: None, late: 0, report: false };
    let blind = Step::Blind { seconds: 130, start: true, all_away: true };
    live_through(job, &[(120, success()), (290, blind), (480, success())]).unwrap();
}
