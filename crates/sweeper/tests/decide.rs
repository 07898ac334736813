//! The decisions of a sweep without a database: facts go in, decisions come out.

#![allow(clippy::unwrap_used)]

use chrono::TimeDelta;
use innkeeper_core::Time;
use innkeeper_core::alert::{Cause, OutputOf};
use innkeeper_core::facts::Facts;
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::reservation::{AlertStatus, Conclusions, Patch, Reservation, Window};
use innkeeper_core::schedule::Schedule;
use innkeeper_core::sites::Site;
use innkeeper_store::{AlertChange, Blindness, Decision, DueBatch, DueReservation, NewCheckins, PastAlerts};
use innkeeper_sweeper::decide::decide;
use uuid::Uuid;

fn at(seconds: i64) -> Time {
    Time::from_timestamp(1_767_571_200 + seconds, 0).unwrap()
}

/// A job of each minute that was made at 0. A remark of it came from a known address; no success has come.
fn each_minute(id: i64, component: &str) -> Reservation {
    let every = Schedule::every(TimeDelta::seconds(60)).unwrap();
    let patch = Patch { schedule: Some((every, None)), ..Patch::default() };
    let (app, component) = (AppName::parse("shop").unwrap(), ComponentName::parse(component).unwrap());
    Reservation {
        id,
        key: Uuid::from_u128(7),
        spec: patch.into_spec(app, component).unwrap(),
        created_at: at(0),
        facts: Facts { last_source: "192.0.2.7".to_owned(), ..Facts::default() },
        conclusions: Conclusions::fresh(at(60)),
    }
}

/// The job alone, due at `now`.
fn batch(blindness: Blindness, now: Time) -> DueBatch {
    let due = DueReservation {
        reservation: each_minute(1, "backup"),
        alert: None,
        runs: Vec::new(),
        checkins: NewCheckins::default(),
        baseline: None,
        past_alerts: PastAlerts::default(),
        refused: None,
    };
    DueBatch { now, due: vec![due], sites: Vec::new(), blindness }
}

fn one(batch: &DueBatch) -> Decision<'_> {
    let mut decisions = decide(batch);
    assert_eq!(decisions.len(), 1);
    decisions.remove(0)
}

#[test]
fn a_missed_deadline_opens_an_alert() {
    let batch = batch(Blindness::default(), at(61));
    let decision = one(&batch);
    let Some(AlertChange::Open(reason)) = &decision.alert else { panic!("{decision:?}") };
    assert_eq!((reason.cause(), decision.output_of), (Cause::Missed, OutputOf::Latest));
    assert_eq!((decision.conclusions.status, decision.is_in_doubt), (AlertStatus::Down, false));
}

#[test]
fn nobody_is_blamed_while_a_check_in_may_be_under_way() {
    let unknown = Some(Window { from: at(55), until: at(61) });
    let batch = batch(Blindness { unknown, ..Blindness::default() }, at(61));
    let decision = one(&batch);
    assert_eq!((&decision.alert, decision.is_in_doubt), (&None, true));
    assert_eq!(decision.conclusions.wake_at, at(62), "it is looked at again soon");
}

#[test]
fn a_silent_site_holds_the_jobs_behind_it() {
    let site = each_minute(2, "gateway");
    let has_open_alert = |has_open_alert| {
        let mut batch = batch(Blindness::default(), at(61));
        batch.sites = vec![Site { reservation: site.clone(), has_open_alert, silences: Vec::new() }];
        one(&batch).alert.is_some()
    };
    assert!(!has_open_alert(true));
    // Silent by its own deadline, though nobody has said so yet.
    assert!(!has_open_alert(false));
    let mut elsewhere = batch(Blindness::default(), at(61));
    let mut reservation = site.clone();
    reservation.facts.last_source = "192.0.2.8".to_owned();
    elsewhere.sites = vec![Site { reservation, has_open_alert: true, silences: Vec::new() }];
    assert!(one(&elsewhere).alert.is_some(), "it is not behind that one");
}
