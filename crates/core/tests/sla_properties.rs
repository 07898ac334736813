//! What holds of every job, whatever it and its watch do.

// Clippy knows tests by their attribute, and the strategies have none.
#![allow(clippy::unwrap_used)]

mod common;

use chrono::TimeDelta;
use common::{Job, at, reported, run};
use innkeeper_core::alert::{OpenAlert, Reason};
use innkeeper_core::checkin::{CheckIn, CheckInKind};
use innkeeper_core::facts::{Event, Facts, Run};
use innkeeper_core::reminders::Reminders;
use innkeeper_core::reservation::{AlertStatus, Conclusions, Window};
use innkeeper_core::schedule::Schedule;
use innkeeper_core::sla::DueChange;
use innkeeper_core::snooze::{Snooze, SnoozeMode, Snoozes};
use innkeeper_core::{Time, duration};
use proptest::prelude::*;

const KINDS: [CheckInKind; 4] =
    [CheckInKind::Success, CheckInKind::Fail, CheckInKind::Start, CheckInKind::Log];

fn seconds(n: i64) -> TimeDelta {
    TimeDelta::seconds(n)
}

/// `n` seconds after midnight.
fn after(n: i64) -> Time {
    at("00:00") + seconds(n)
}

/// A bare job: every so often, or by cron; with some grace.
fn a_job() -> impl Strategy<Value = Job> {
    let schedule = prop_oneof![
        (30i64..300).prop_map(|s| Job::every(&format!("{s}s"))),
        Just(Job::cron("* * * * *", "UTC")),
        Just(Job::cron("*/3 * * * *", "Europe/Berlin")),
        Just(Job::cron("12,14 * * * *", "Australia/Lord_Howe")),
    ];
    (schedule, 0i64..90).prop_map(|(job, grace)| job.with(|spec| spec.grace = seconds(grace)))
}

/// Any number of different moments of the first hour, in order.
fn moments(n: std::ops::Range<usize>) -> impl Strategy<Value = Vec<i64>> {
    prop::collection::btree_set(0i64..3600, n).prop_map(|moments| moments.into_iter().collect())
}

/// Any job with a past of a few minutes that somebody has looked at at `at("00:10")`.
fn a_job_with_a_past() -> impl Strategy<Value = Job> {
    let figures = prop::bool::weighted(0.3);
    let spec = (1i64..4, prop::option::of(30i64..200), common::reminders(30..200), any::<bool>(), figures);
    let checkins = prop::collection::vec((0u8..5, 0i64..600), 0..6);
    let snooze = prop::option::of((300i64..600, 1i64..600, any::<bool>()));
    let blind = prop::collection::vec((400i64..900, 1i64..100), 0..2);
    (a_job(), spec, checkins, snooze, blind, any::<bool>()).prop_map(
        |(job, (alert_after, max_run, remind, short, odd_figures), checkins, snooze, blind, held)| {
            let job = if odd_figures { job.with_odd_figures() } else { job };
            let mut job = job.alert_after(alert_after).with(|spec| {
                spec.max_run = max_run.map(seconds);
                spec.min_run = short.then(|| seconds(20));
                spec.remind_every = remind;
            });
            let mut checkins = checkins;
            checkins.sort_by_key(|(_, s)| *s);
            job.sleep_until(at("00:00"));
            for (kind, s) in checkins {
                let when = after(s);
                job.sleep_until(when);
                match kind {
                    0 | 1 => job.success_at(when),
                    2 => job.fail_at(when),
                    3 => job.start_at(when),
                    _ => job.start_of(run(s as u128), when),
                }
            }
            if let Some((from, length, quiet)) = snooze {
                let mode = if quiet { SnoozeMode::Quiet } else { SnoozeMode::Skip };
                job.snooze(mode, after(from), after(from + length));
            }
            for (from, length) in blind {
                job.blind(after(from), after(from + length));
            }
            job.behind_silent_site = held;
            job.look_at(at("00:10"));
            job
        },
    )
}

/// Any instant at all.
fn any_time() -> impl Strategy<Value = Time> {
    let (first, last) = (Time::MIN_UTC.timestamp_millis(), Time::MAX_UTC.timestamp_millis());
    prop_oneof![
        4 => 0i64..4_000_000_000_000,
        2 => first..=last,
        1 => first..=first + 100_000_000,
        1 => last - 100_000_000..=last,
        // The last year that cron is asked for, and the one after.
        1 => 95_520_000_000_000i64..95_650_000_000_000,
    ]
    .prop_map(|ms| Time::from_timestamp_millis(ms).unwrap())
}

/// Any length that a field takes, and a few that none does.
fn any_span() -> impl Strategy<Value = TimeDelta> {
    let longest = duration::LONGEST.num_milliseconds();
    prop_oneof![
        3 => (0..=longest).prop_map(TimeDelta::milliseconds),
        1 => Just(duration::LONGEST),
        1 => Just(TimeDelta::MAX),
    ]
}

/// A job whose every number may be at its limit.
fn an_extreme_job() -> impl Strategy<Value = Job> {
    let schedule = prop_oneof![
        (1i64..=315_360_000).prop_map(|s| Schedule::every(seconds(s)).unwrap()),
        Just(Schedule::every(duration::LONGEST).unwrap()),
        Just(Schedule::cron("0 0 29 2 +MON", "Pacific/Apia").unwrap()),
        Just(Schedule::cron("* * * * * *", "America/Santiago").unwrap()),
    ];
    let limits = (
        any_span(),
        prop::option::of(any_span()),
        prop::option::of(any_span()),
        prop_oneof![4 => prop::option::of(any_span()).prop_map(Reminders::from), 1 => Just(Reminders::Each)],
    );
    let count = || prop_oneof![0i64..60, Just(i64::MAX)];
    let maybe = || prop::option::of(any_time());
    let facts = (maybe(), maybe(), maybe(), maybe(), count(), count());
    let before = (any_time(), maybe(), maybe(), count(), count());
    let alert = prop::option::of((any_time(), maybe()));
    let blind = prop::collection::vec((any_time(), any_time()), 0..3);
    (schedule, limits, (count(), any_time()), facts, before, (alert, blind, maybe(), any_span())).prop_map(
        |(schedule, limits, (alert_after, created_at), facts, before, (alert, blind, event, took))| {
            let mut job = Job::with_schedule(schedule).made_at(created_at).with(|spec| {
                (spec.grace, spec.max_run, spec.min_run, spec.remind_every) = limits;
                spec.alert_after = alert_after;
            });
            job.reservation.facts = Facts {
                last_checkin_at: facts.0,
                last_start_at: facts.1,
                last_fail_at: facts.2,
                runs_over_at: facts.3,
                checkins: facts.4,
                fails: facts.5,
                ..Facts::default()
            };
            job.reservation.conclusions = Conclusions {
                status: AlertStatus::Up,
                snoozes: before.1.map_or_else(Snoozes::default, |until| {
                    let mode = if before.3 % 2 == 0 { SnoozeMode::Quiet } else { SnoozeMode::Skip };
                    Snoozes::one(Snooze { from: before.0.min(until), until, mode })
                }),
                heard_at: facts.2,
                changed: (before.4 % 2 == 0).then(|| "schedule".to_owned()),
                short_at: before.2,
                fails_seen: before.3,
                fail_streak: before.4,
                ..Conclusions::fresh(before.0)
            };
            job.alert = alert.map(|(told_at, success_before)| OpenAlert {
                id: 1,
                opened_at: told_at,
                reason: Reason::Overran { started_at: told_at, max_run_ms: i64::MIN, unobserved: None },
                told_at,
                success_before,
                answered_until: success_before,
            });
            job.runs = vec![Run {
                run_id: None,
                started_at: facts.1,
                ended_at: None,
                told_at: facts.2,
                start_arrived_at: facts.3,
            }];
            job.blind = blind.into_iter().map(|(from, until)| Window { from, until }).collect();
            job.unseen = event
                .map(|at| Event {
                    id: 0,
                    at,
                    kind: CheckInKind::Success,
                    exit_code: None,
                    duration: Some(took),
                    unexpected: (at.timestamp() % 3 == 0).then(|| "rows is missing".to_owned()),
                    late: at.timestamp() % 2 == 0,
                    seen: false,
                })
                .into_iter()
                .collect();
            job
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_alert_opens_while_the_latest_check_in_is_inside_its_window(
        job in a_job(), checkins in moments(0..12), looks in moments(0..40),
    ) {
        let mut job = job;
        let schedule = job.reservation.spec.schedule.clone();
        let grace = job.reservation.spec.grace;
        let mut coming = checkins.into_iter().peekable();
        let mut latest = None;
        for look in looks {
            while let Some(checkin) = coming.next_if(|checkin| *checkin <= look) {
                latest = Some(after(checkin));
                job.success_at(after(checkin));
            }
            let change = job.look_at(after(look));
            let inside = latest.is_some_and(|latest| match &schedule {
                Schedule::Every(period) => after(look) < latest + *period + grace,
                Schedule::Cron(_) | Schedule::Calendar(_) => schedule.expected_after_checkin(latest).is_some_and(|at| after(look) < at + grace),
            });
            prop_assert!(!inside || !matches!(change, DueChange::Open(_)), "{:?} at {}", change, after(look));
            prop_assert!(!inside || job.alert.is_none(), "still open at {}", after(look));
        }
    }

    #[test]
    fn a_check_in_at_every_expected_instant_never_alerts(job in a_job(), late in prop::collection::vec(0.0f64..1.0, 1..20)) {
        let mut job = job;
        let spec = job.reservation.spec.clone();
        let mut expected = spec.schedule.following(job.reservation.created_at).unwrap();
        for late in late {
            let late = (spec.grace.num_milliseconds() as f64 * late) as i64;
            // Within its grace, and for cron before the next instant, which it would be early for.
            let near = spec.schedule.period_at(expected).num_milliseconds() / 2 - 1;
            let checkin = expected + TimeDelta::milliseconds(late.min(near));
            job.sleep_until(checkin - TimeDelta::milliseconds(1));
            job.success_at(checkin);
            expected = spec.schedule.expected_after_checkin(checkin).unwrap();
        }
        job.sleep_until(expected - TimeDelta::milliseconds(1));
        prop_assert_eq!(job.told, []);
    }

    #[test]
    fn an_alert_opens_at_most_once_per_incident(
        job in a_job_with_a_past(), steps in prop::collection::vec((0u8..6, 600i64..3600), 0..20),
    ) {
        let mut steps = steps;
        steps.sort_by_key(|(_, s)| *s);
        let mut job = job;
        job.told.clear();
        let mut incident = job.alert.is_some();
        let mut success_since = false;
        for (kind, s) in steps {
            match KINDS.get(usize::from(kind)) {
                Some(kind) => job.check_in(CheckIn::new(*kind, after(s))),
                None => {
                    let change = job.look_at(after(s));
                    match change {
                        DueChange::Open(_) => prop_assert!(!incident || success_since, "opened twice"),
                        DueChange::OpenAndRecover(_) | DueChange::Recover | DueChange::Answer(_) | DueChange::Withdraw(_) => {
                            prop_assert!(success_since || !incident, "closed by nothing");
                        }
                        DueChange::None | DueChange::Remind(_) => continue,
                    }
                    incident = job.alert.is_some();
                    success_since = false;
                }
            }
            success_since |= kind == 0;
        }
    }

    #[test]
    fn to_look_twice_is_to_look_once(job in a_job_with_a_past(), now in 600i64..3600) {
        let mut job = job;
        job.look_at(after(now));
        let once = job.clone();
        prop_assert_eq!(job.look_at(after(now)), DueChange::None);
        prop_assert_eq!(job.reservation, once.reservation);
        prop_assert_eq!(job.alert, once.alert);
    }

    #[test]
    fn the_order_of_recording_does_not_matter(
        job in a_job_with_a_past(), kinds in (0usize..4, 0usize..4), times in (590i64..700, 590i64..700), named in (any::<bool>(), any::<bool>()),
        wait in 0i64..300,
    ) {
        // A run's length is known only where its start was recorded first, so `min_run` is another matter.
        let job = job.with(|spec| spec.min_run = None);
        let checkin = |kind: usize, s, named: bool| CheckIn {
            run_id: named.then(|| run(9)),
            exit_code: (KINDS[kind] == CheckInKind::Fail).then_some(s as i32 % 3),
            ..CheckIn::new(KINDS[kind], after(s))
        };
        let (one, two) = (checkin(kinds.0, times.0, named.0), checkin(kinds.1, times.1, named.1));
        let now = after(times.0.max(times.1).max(600) + wait);
        let (mut forward, mut backward) = (job.clone(), job);
        forward.check_in(one.clone());
        forward.check_in(two.clone());
        backward.check_in(two.clone());
        backward.check_in(one.clone());
        let (seen, other) = (forward.seen_at(now), backward.seen_at(now));
        prop_assert_eq!(seen, other, "{:?} and {:?}", one, two);
    }

    #[test]
    fn nor_does_it_where_somebody_looks_in_between(
        job in a_job_with_a_past(), kinds in (0usize..2, 0usize..2), times in (600i64..700, 600i64..700),
        late in (any::<bool>(), any::<bool>()),
    ) {
        prop_assume!(times.0 != times.1);
        let mut job = job.alert_after(1).with(|spec| spec.min_run = None);
        // A failure during a snooze opens nothing, and keeps open what is: there it does matter.
        job.reservation.conclusions.snoozes = Snoozes::default();
        job.look_at(at("00:10"));
        let now = after(times.0.max(times.1));
        let checkin = |kind: usize, s, late: bool| {
            let checkin = CheckIn::new(KINDS[kind], after(s));
            if late { reported(checkin, now) } else { checkin }
        };
        let (one, two) = (checkin(kinds.0, times.0, late.0), checkin(kinds.1, times.1, late.1));
        let open_after = |first: &CheckIn, second: &CheckIn| {
            let mut job = job.clone();
            job.check_in(first.clone());
            job.look_at(now);
            job.check_in(second.clone());
            job.look_at(now);
            let Conclusions { status, fail_streak, .. } = job.reservation.conclusions;
            (job.alert.is_some(), status, fail_streak.min(1))
        };
        prop_assert_eq!(open_after(&one, &two), open_after(&two, &one), "{:?} and {:?}", one, two);
    }

    #[test]
    fn every_silent_job_is_alerted_at_its_deadline(
        job in a_job(), alert_after in 1i64..5, checkins in moments(0..8), ms in 0i64..1000,
    ) {
        let mut job = job.alert_after(alert_after);
        let spec = job.reservation.spec.clone();
        let mut expected = spec.schedule.following(job.reservation.created_at);
        for checkin in checkins {
            let checkin = after(checkin) + TimeDelta::milliseconds(ms);
            job.sleep_until(checkin);
            job.success_at(checkin);
            expected = spec.schedule.expected_after_checkin(checkin);
        }
        job.sleep_until(at("12:00"));
        for _ in 1..alert_after {
            expected = spec.schedule.following(expected.unwrap());
        }
        let deadline = expected.unwrap() + spec.grace;
        prop_assert_eq!(job.openings().last().copied(), Some(deadline));
        prop_assert!(job.alert.is_some());
    }

    #[test]
    fn nothing_is_swallowed(
        bursts in prop::collection::vec(1usize..5, 1..6), by_rows in any::<bool>(), keep in 0usize..4,
    ) {
        let mut clock = 0;
        let mut next = || { clock += 7; after(clock) };
        let (mut prompt, mut tardy, mut late) = (Job::every("1h"), Job::every("1h"), Job::every("1h"));
        for fails in &bursts {
            for _ in 0..*fails {
                let now = next();
                for job in [&mut prompt, &mut tardy, &mut late] { job.fail_at(now); }
                prompt.look_at(now);
            }
            let now = next();
            for job in [&mut prompt, &mut tardy, &mut late] { job.success_at(now); }
            prompt.look_at(now);
            if !by_rows {
                // The history was pruned before anybody looked.
                let lost = tardy.unseen.len().saturating_sub(keep);
                tardy.unseen.drain(..lost);
            }
            tardy.look_at(now);
        }
        prop_assert_eq!(prompt.openings().len(), bursts.len());
        prop_assert_eq!(tardy.openings().len(), bursts.len());
        let told = late.look_at(next());
        let first = matches!(told, DueChange::OpenAndRecover(Reason::Failed { at, .. }) if at == after(7));
        prop_assert!(first, "{:?}", told);
        for job in [prompt, tardy, late] {
            prop_assert!(job.alert.is_none());
        }
    }

    #[test]
    fn nothing_panics_at_the_ends_of_the_calendar(job in an_extreme_job(), now in any_time(), held in any::<bool>()) {
        let mut job = job;
        job.behind_silent_site = held;
        let seen = job.seen_at(now);
        prop_assert!(seen.conclusions.wake_at >= now);
        prop_assert!(seen.deadline >= seen.expected_at);
        if let DueChange::Open(reason) | DueChange::OpenAndRecover(reason) = &seen.change {
            for zone in ["UTC", "Pacific/Apia", "Pacific/Midway"] {
                prop_assert!(!reason.sentence(zone.parse().unwrap()).is_empty());
            }
            let _ = reason.since();
        }
        if let Some(alert) = &job.alert {
            let _ = (alert.reason.since(), alert.reason.sentence(chrono_tz::Asia::Tokyo));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_conclusion_changes_before_wake_at(job in a_job_with_a_past()) {
        let wake_at = job.reservation.conclusions.wake_at;
        prop_assert!(wake_at > at("00:10"));
        let mut now = at("00:10");
        while now < wake_at.min(at("00:40")) {
            let seen = job.seen_at(now);
            prop_assert_eq!(&seen.change, &DueChange::None, "at {}, asleep until {}", now, wake_at);
            prop_assert_eq!(seen.conclusions.status, job.reservation.conclusions.status);
            prop_assert_eq!(seen.conclusions.fail_streak, job.reservation.conclusions.fail_streak);
            now += seconds(1);
        }
    }

    #[test]
    fn to_look_only_when_asked_finds_what_looking_each_second_finds(job in a_job_with_a_past()) {
        let (mut sleeper, mut watcher) = (job.clone(), job);
        sleeper.sleep_until(at("00:30"));
        let mut now = at("00:10");
        while now <= at("00:30") {
            watcher.look_at(now);
            now += seconds(1);
        }
        prop_assert_eq!(sleeper.told, watcher.told);
    }
}
