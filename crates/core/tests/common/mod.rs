//! A job under watch, played through time: it checks in, the clock moves, somebody looks.
//!
//! It applies a conclusion in the way the sweeper does, in memory.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code, clippy::unwrap_used)]

use chrono::{NaiveDateTime, TimeDelta};
use innkeeper_core::Time;
use innkeeper_core::alert::{OpenAlert, Reason};
use innkeeper_core::checkin::{CheckIn, CheckInKind, Report};
use innkeeper_core::duration;
use innkeeper_core::expect::Expect;
use innkeeper_core::facts::{Event, Facts, Run};
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::reminders::Reminders;
use innkeeper_core::reservation::{Conclusions, Patch, Reservation, Spec, Window};
use innkeeper_core::schedule::Schedule;
use innkeeper_core::sla::{DueChange, Evaluation, RefusedSpan, View, evaluate};
use innkeeper_core::snooze::{Snooze, SnoozeMode};
use proptest::prelude::*;
use uuid::Uuid;

/// An instant in UTC: `2026-03-29 01:00`, seconds if need be.
pub fn utc(text: &str) -> Time {
    let whole = if text.matches(':').count() == 1 { format!("{text}:00") } else { text.to_owned() };
    NaiveDateTime::parse_from_str(&whole, "%Y-%m-%d %H:%M:%S%.f").expect(text).and_utc()
}

/// An instant of the day on which most tests play, a Monday: `10:05`, `10:05:30`.
pub fn at(clock: &str) -> Time {
    utc(&format!("2026-01-05 {clock}"))
}

/// A span as people write it: `5m`.
pub fn span(text: &str) -> TimeDelta {
    duration::parse("span", text).unwrap()
}

/// The id of the `n`th run.
pub fn run(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// A reservation, what the store keeps beside it, and what was done about it.
#[derive(Debug, Clone)]
pub struct Job {
    pub reservation: Reservation,
    pub alert: Option<OpenAlert>,
    pub runs: Vec<Run>,
    /// The check-ins since the last look.
    pub unseen: Vec<Event>,
    /// Those before it.
    pub past: Vec<Event>,
    pub blind: Vec<Window>,
    /// The first and the last of its own successes that were refused.
    pub refused: Option<Window>,
    pub behind_silent_site: bool,
    /// Whether figures are expected, and each success whose second can be divided by 5 brings others.
    pub odd_figures: bool,
    /// Every change so far, and when it was made.
    pub told: Vec<(Time, DueChange)>,
}

impl Job {
    /// A job that is expected so often, made at midnight, with no grace.
    pub fn every(period: &str) -> Self {
        Self::with_schedule(Schedule::every(span(period)).unwrap())
    }

    /// A job on a cron schedule, made at midnight, with no grace.
    pub fn cron(expression: &str, zone: &str) -> Self {
        Self::with_schedule(Schedule::cron(expression, zone).unwrap())
    }

    pub fn with_schedule(schedule: Schedule) -> Self {
        let patch =
            Patch { schedule: Some((schedule, None)), grace: Some(TimeDelta::zero()), ..Patch::default() };
        let names = (AppName::parse("app").unwrap(), ComponentName::parse("component").unwrap());
        let created_at = at("00:00");
        let reservation = Reservation {
            id: 1,
            key: Uuid::nil(),
            spec: patch.into_spec(names.0, names.1).unwrap(),
            created_at,
            facts: Facts::default(),
            conclusions: Conclusions::fresh(created_at),
        };
        Self {
            reservation,
            alert: None,
            runs: Vec::new(),
            unseen: Vec::new(),
            past: Vec::new(),
            blind: Vec::new(),
            refused: None,
            behind_silent_site: false,
            odd_figures: false,
            told: Vec::new(),
        }
    }

    /// The same job, made at `created_at`.
    pub fn made_at(mut self, created_at: Time) -> Self {
        self.reservation.created_at = created_at;
        self.reservation.conclusions.wake_at = created_at;
        self
    }

    /// The same job on another spec.
    pub fn with(mut self, change: impl FnOnce(&mut Spec)) -> Self {
        change(&mut self.reservation.spec);
        self.reservation.conclusions.eager = self.reservation.spec.judges_successes();
        self
    }

    pub fn grace(self, grace: &str) -> Self {
        self.with(|spec| spec.grace = span(grace))
    }

    pub fn alert_after(self, n: i64) -> Self {
        self.with(|spec| spec.alert_after = n)
    }

    pub fn max_run(self, limit: &str) -> Self {
        self.with(|spec| spec.max_run = Some(span(limit)))
    }

    pub fn min_run(self, least: &str) -> Self {
        self.with(|spec| spec.min_run = Some(span(least)))
    }

    pub fn expect(self, clauses: &[&str]) -> Self {
        self.with(|spec| spec.expect = Expect::parse(clauses).unwrap())
    }

    /// The same job, of whose successes some bring figures that are other than expected.
    pub fn with_odd_figures(self) -> Self {
        Self { odd_figures: true, ..self.expect(&["rows > 0"]) }
    }

    fn figures_of(&self, checkin: &CheckIn) -> Option<String> {
        let is_odd =
            self.odd_figures && checkin.kind == CheckInKind::Success && checkin.at.timestamp() % 5 == 0;
        is_odd.then(|| "rows was 0; expected: rows > 0".to_owned())
    }

    pub fn remind_every(self, every: &str) -> Self {
        self.with(|spec| spec.remind_every = Reminders::parse("remind_every", every).unwrap())
    }

    pub fn success_at(&mut self, at: Time) {
        self.check_in(CheckIn::new(CheckInKind::Success, at));
    }

    pub fn start_at(&mut self, at: Time) {
        self.check_in(CheckIn::new(CheckInKind::Start, at));
    }

    pub fn fail_at(&mut self, at: Time) {
        self.check_in(CheckIn { exit_code: Some(3), ..CheckIn::new(CheckInKind::Fail, at) });
    }

    /// A success whose figures are other than expected.
    pub fn unexpected_at(&mut self, at: Time, figures: &str) {
        self.check_in(CheckIn::new(CheckInKind::Success, at));
        self.unseen.last_mut().unwrap().unexpected = Some(figures.to_owned());
    }

    pub fn log_at(&mut self, at: Time) {
        self.check_in(CheckIn::new(CheckInKind::Log, at));
    }

    pub fn start_of(&mut self, id: Uuid, at: Time) {
        self.check_in(CheckIn { run_id: Some(id), ..CheckIn::new(CheckInKind::Start, at) });
    }

    pub fn success_of(&mut self, id: Uuid, at: Time) {
        self.check_in(CheckIn { run_id: Some(id), ..CheckIn::new(CheckInKind::Success, at) });
    }

    /// What happened at `at` is reported at `arrived_at`.
    pub fn report(&mut self, kind: CheckInKind, at: Time, arrived_at: Time) {
        self.check_in(reported(CheckIn::new(kind, at), arrived_at));
    }

    /// Records a check-in as ingest does: facts, history, runs, and a wake-up where a conclusion may change.
    pub fn check_in(&mut self, checkin: CheckIn) {
        let wakes = self.reservation.conclusions.wakes(&checkin, &self.reservation.facts);
        self.reservation.facts.record(&checkin);
        let ends = matches!(checkin.kind, CheckInKind::Success | CheckInKind::Fail);
        let mut duration = None;
        if ends || checkin.kind == CheckInKind::Start {
            let known = self.runs.iter().position(|run| run.run_id == checkin.run_id);
            let place = known.unwrap_or_else(|| {
                self.runs.push(Run {
                    run_id: checkin.run_id,
                    started_at: None,
                    ended_at: None,
                    told_at: None,
                    start_arrived_at: None,
                });
                self.runs.len() - 1
            });
            let run = &mut self.runs[place];
            if ends {
                let started = run.started_at.filter(|started| run.ended_at.is_none_or(|end| end < *started));
                duration = started.map(|started| checkin.at - started);
                run.ended_at = run.ended_at.max(Some(checkin.at));
            } else {
                if run.started_at < Some(checkin.at) {
                    run.start_arrived_at = checkin.reported_late_at();
                }
                run.started_at = run.started_at.max(Some(checkin.at));
            }
        }
        let conclusions = &mut self.reservation.conclusions;
        if wakes {
            conclusions.wake_at = conclusions.wake_at.min(checkin.arrived_at());
        }
        conclusions.reported_late |= checkin.reported_late_at().is_some();
        self.unseen.push(Event {
            id: 0,
            at: checkin.at,
            kind: checkin.kind,
            exit_code: checkin.exit_code,
            duration,
            unexpected: self.figures_of(&checkin),
            late: checkin.reported_late_at().is_some(),
            seen: false,
        });
    }

    /// Nothing is told from `from` until `until`.
    pub fn snooze(&mut self, mode: SnoozeMode, from: Time, until: Time) {
        let conclusions = &mut self.reservation.conclusions;
        conclusions.snoozes.begin(Snooze { from, until, mode });
        conclusions.wake_at = conclusions.wake_at.min(from);
    }

    pub fn quiet(&mut self, from: &str, until: &str) {
        self.snooze(SnoozeMode::Quiet, at(from), at(until));
    }

    pub fn skip(&mut self, from: &str, until: &str) {
        self.snooze(SnoozeMode::Skip, at(from), at(until));
    }

    /// Changes the spec as the store does, which has the sweeper look at once.
    pub fn change_at(&mut self, now: Time, change: impl FnOnce(&mut Spec)) {
        let before = self.reservation.spec.clone();
        change(&mut self.reservation.spec);
        let conclusions = &mut self.reservation.conclusions;
        conclusions.changed = before.judged_otherwise(&self.reservation.spec).or(conclusions.changed.take());
        conclusions.eager = self.reservation.spec.judges_successes();
        conclusions.wake_at = now;
    }

    /// No check-in could be recorded in this span.
    pub fn blind(&mut self, from: Time, until: Time) {
        self.blind.push(Window { from, until });
    }

    /// The conclusion at `now`, without acting on it.
    pub fn seen_at(&self, now: Time) -> Evaluation {
        let conclusions = &self.reservation.conclusions;
        let is_older = |event: &Event| {
            matches!(event.kind, CheckInKind::Success | CheckInKind::Fail)
                && Some(event.at) <= conclusions.heard_at
        };
        let is_mended = conclusions.reported_late
            && conclusions.fail_streak > 0
            && self.unseen.iter().any(|event| event.late && is_older(event));
        let past: &[Event] = if is_mended { &self.past } else { &[] };
        let unseen = [&self.unseen[..], past].concat();
        let view = View {
            runs: &self.runs,
            unseen: &unseen,
            is_mended,
            behind_silent_site: self.behind_silent_site,
            blind: &self.blind,
            refused: self
                .refused
                .map(|window| RefusedSpan::new(window, &self.reservation.spec.schedule, now)),
            ..View::of(&self.reservation, self.alert.as_ref())
        };
        evaluate(&view, now)
    }

    /// Looks as the sweeper does: draws the conclusion, writes it down, opens or closes the alert.
    pub fn look_at(&mut self, now: Time) -> DueChange {
        let seen = self.seen_at(now);
        self.past.extend(self.unseen.drain(..).map(|event| Event { seen: true, ..event }));
        if let (Some(alert), Some(success)) = (&mut self.alert, seen.answered_until) {
            alert.answered_until = Some(success);
        }
        self.reservation.conclusions = seen.conclusions;
        for run in self.runs.iter_mut().filter(|run| seen.told_runs.contains(&run.run_id)) {
            run.told_at = Some(now);
        }
        match &seen.change {
            DueChange::None => return DueChange::None,
            DueChange::Open(reason) => {
                assert!(self.alert.is_none(), "one was open");
                self.alert = Some(OpenAlert {
                    id: 1,
                    opened_at: now,
                    reason: reason.clone(),
                    told_at: now,
                    success_before: self.reservation.facts.last_checkin_at,
                    answered_until: None,
                });
            }
            DueChange::Remind(_) => self.alert.as_mut().expect("nothing is open").told_at = now,
            DueChange::Recover | DueChange::Answer(_) => {
                assert!(self.alert.take().is_some(), "nothing was open")
            }
            DueChange::Withdraw(_) => {
                let alert = self.alert.take().expect("nothing was open");
                for run in &mut self.runs {
                    run.told_at = run.told_at.filter(|told| *told < alert.opened_at);
                }
            }
            DueChange::OpenAndRecover(_) => assert!(self.alert.is_none(), "one was open"),
        }
        self.told.push((now, seen.change.clone()));
        seen.change
    }

    /// Looks whenever the conclusions ask for it, up to `until`, and at no other time.
    pub fn sleep_until(&mut self, until: Time) {
        while self.reservation.conclusions.wake_at <= until {
            let now = self.reservation.conclusions.wake_at;
            self.look_at(now);
            let next = self.reservation.conclusions.wake_at;
            assert!(next > now, "awake again at {next}, and it is {now}");
        }
    }

    /// When alerts opened.
    pub fn openings(&self) -> Vec<Time> {
        let opens = |change: &DueChange| matches!(change, DueChange::Open(_) | DueChange::OpenAndRecover(_));
        self.told.iter().filter(|(_, change)| opens(change)).map(|(at, _)| *at).collect()
    }
}

/// Some reminders, or none.
pub fn reminders(seconds: std::ops::Range<i64>) -> impl Strategy<Value = Reminders> {
    prop_oneof![
        3 => Just(Reminders::Never),
        2 => seconds.prop_map(|s| Reminders::Every(TimeDelta::seconds(s))),
        2 => Just(Reminders::Each),
    ]
}

/// So many random lives; with `PROPTEST_CASES` set, as many as that says.
pub fn lives(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

/// This check-in, reported at `arrived_at`.
pub fn reported(checkin: CheckIn, arrived_at: Time) -> CheckIn {
    let report = Report { key: None, arrived_at, took: None, signal: None, peak_memory_bytes: None };
    CheckIn { report: Some(Box::new(report)), ..checkin }
}

/// The reason of a change that opens an alert.
pub fn reason(change: &DueChange) -> &Reason {
    match change {
        DueChange::Open(reason) | DueChange::OpenAndRecover(reason) => reason,
        other => panic!("{other:?} opens nothing"),
    }
}
