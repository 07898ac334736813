//! A job under watch, played through time: it checks in, the clock moves, somebody looks.
//!
//! It applies a conclusion in the way the sweeper does, in memory.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code, clippy::unwrap_used)]

use chrono::{NaiveDateTime, TimeDelta};
use innkeeper_core::Time;
use innkeeper_core::alert::{OpenAlert, Reason};
use innkeeper_core::checkin::{CheckIn, CheckInKind};
use innkeeper_core::duration;
use innkeeper_core::facts::{Event, Facts, Run};
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::reservation::{Conclusions, Reservation, Terms, Window, Wishes};
use innkeeper_core::schedule::Schedule;
use innkeeper_core::sla::{Change, Evaluation, Refused, View, evaluate};
use innkeeper_core::snooze::{Snooze, SnoozeMode};
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
    pub blind: Vec<Window>,
    /// The first and the last of its own successes that were refused.
    pub refused: Option<Window>,
    pub behind_silent_site: bool,
    /// Every change so far, and when it was made.
    pub told: Vec<(Time, Change)>,
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
        let wishes =
            Wishes { schedule: Some((schedule, None)), grace: Some(TimeDelta::zero()), ..Wishes::default() };
        let names = (AppName::parse("app").unwrap(), ComponentName::parse("component").unwrap());
        let created_at = at("00:00");
        let reservation = Reservation {
            id: 1,
            key: Uuid::nil(),
            terms: wishes.into_terms(names.0, names.1).unwrap(),
            created_at,
            facts: Facts::default(),
            conclusions: Conclusions::fresh(created_at),
        };
        Self {
            reservation,
            alert: None,
            runs: Vec::new(),
            unseen: Vec::new(),
            blind: Vec::new(),
            refused: None,
            behind_silent_site: false,
            told: Vec::new(),
        }
    }

    /// The same job, made at `created_at`.
    pub fn made_at(mut self, created_at: Time) -> Self {
        self.reservation.created_at = created_at;
        self.reservation.conclusions.wake_at = created_at;
        self
    }

    /// The same job on other terms.
    pub fn with(mut self, change: impl FnOnce(&mut Terms)) -> Self {
        change(&mut self.reservation.terms);
        self.reservation.conclusions.eager = self.reservation.terms.has_run_limits();
        self
    }

    pub fn grace(self, grace: &str) -> Self {
        self.with(|terms| terms.grace = span(grace))
    }

    pub fn alert_after(self, n: i64) -> Self {
        self.with(|terms| terms.alert_after = n)
    }

    pub fn max_run(self, limit: &str) -> Self {
        self.with(|terms| terms.max_run = Some(span(limit)))
    }

    pub fn min_run(self, least: &str) -> Self {
        self.with(|terms| terms.min_run = Some(span(least)))
    }

    pub fn remind_every(self, every: &str) -> Self {
        self.with(|terms| terms.remind_every = Some(span(every)))
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

    pub fn log_at(&mut self, at: Time) {
        self.check_in(CheckIn::new(CheckInKind::Log, at));
    }

    pub fn start_of(&mut self, id: Uuid, at: Time) {
        self.check_in(CheckIn { run_id: Some(id), ..CheckIn::new(CheckInKind::Start, at) });
    }

    pub fn success_of(&mut self, id: Uuid, at: Time) {
        self.check_in(CheckIn { run_id: Some(id), ..CheckIn::new(CheckInKind::Success, at) });
    }

    /// Records a check-in as ingest does: facts, history, runs, and a wake-up where a conclusion may change.
    pub fn check_in(&mut self, checkin: CheckIn) {
        let wakes = self.reservation.conclusions.wakes(checkin.kind, &self.reservation.facts);
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
                });
                self.runs.len() - 1
            });
            let run = &mut self.runs[place];
            if ends {
                let started = run.started_at.filter(|started| run.ended_at.is_none_or(|end| end < *started));
                duration = started.map(|started| checkin.at - started);
                run.ended_at = run.ended_at.max(Some(checkin.at));
            } else {
                run.started_at = run.started_at.max(Some(checkin.at));
            }
        }
        let conclusions = &mut self.reservation.conclusions;
        if wakes {
            conclusions.wake_at = conclusions.wake_at.min(checkin.at);
        }
        self.unseen.push(Event {
            at: checkin.at,
            kind: checkin.kind,
            exit_code: checkin.exit_code,
            duration,
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

    /// Changes the terms as the store does, which has the sweeper look at once.
    pub fn change_at(&mut self, now: Time, change: impl FnOnce(&mut Terms)) {
        let before = self.reservation.terms.clone();
        change(&mut self.reservation.terms);
        let conclusions = &mut self.reservation.conclusions;
        conclusions.changed = before.judged_otherwise(&self.reservation.terms).or(conclusions.changed.take());
        conclusions.eager = self.reservation.terms.has_run_limits();
        conclusions.wake_at = now;
    }

    /// No check-in could be recorded in this span.
    pub fn blind(&mut self, from: Time, until: Time) {
        self.blind.push(Window { from, until });
    }

    /// The conclusion at `now`, without acting on it.
    pub fn seen_at(&self, now: Time) -> Evaluation {
        let view = View {
            runs: &self.runs,
            unseen: &self.unseen,
            behind_silent_site: self.behind_silent_site,
            blind: &self.blind,
            refused: self.refused.map(|window| Refused::new(window, &self.reservation.terms.schedule, now)),
            ..View::of(&self.reservation, self.alert.as_ref())
        };
        evaluate(&view, now)
    }

    /// Looks as the sweeper does: draws the conclusion, writes it down, opens or closes the alert.
    pub fn look_at(&mut self, now: Time) -> Change {
        let seen = self.seen_at(now);
        self.unseen.clear();
        self.reservation.conclusions = seen.conclusions;
        for run in self.runs.iter_mut().filter(|run| seen.told_runs.contains(&run.run_id)) {
            run.told_at = Some(now);
        }
        match &seen.change {
            Change::None => return Change::None,
            Change::Open(reason) => {
                assert!(self.alert.is_none(), "one was open");
                self.alert = Some(OpenAlert {
                    id: 1,
                    opened_at: now,
                    reason: reason.clone(),
                    told_at: now,
                    success_before: self.reservation.facts.last_checkin_at,
                });
            }
            Change::Remind => self.alert.as_mut().expect("nothing is open").told_at = now,
            Change::Recover => assert!(self.alert.take().is_some(), "nothing was open"),
            Change::Withdraw(_) => {
                let alert = self.alert.take().expect("nothing was open");
                for run in &mut self.runs {
                    run.told_at = run.told_at.filter(|told| *told < alert.opened_at);
                }
            }
            Change::OpenAndRecover(_) => assert!(self.alert.is_none(), "one was open"),
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
        let opens = |change: &Change| matches!(change, Change::Open(_) | Change::OpenAndRecover(_));
        self.told.iter().filter(|(_, change)| opens(change)).map(|(at, _)| *at).collect()
    }
}

/// The reason of a change that opens an alert.
pub fn reason(change: &Change) -> &Reason {
    match change {
        Change::Open(reason) | Change::OpenAndRecover(reason) => reason,
        other => panic!("{other:?} opens nothing"),
    }
}
