//! Helpers of the tests: an app called `shop`, times in seconds since a fixed instant, and short
//! names for calls of the store.

use chrono::{DateTime, TimeDelta};
use innkeeper_core::Time;
use innkeeper_core::alert::OpenAlert;
use innkeeper_core::checkin::{CheckIn, CheckInKind, Report};
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::notice::{AlertNotice, EventKind, Notice};
use innkeeper_core::reservation::{Patch, Reservation};
use innkeeper_core::schedule::Schedule;
use innkeeper_core::second_factor::LoginMethod;
use innkeeper_store::{
    ActingStore, AlertEvent, Arrival, BatchOutcome, CheckInWriter, Definition, NewDelivery, NewSession,
    Recorded, Reserved, StoreError, SweepOutcome, Target,
};
use uuid::Uuid;

/// The sweeper's own decisions, which depend only on the store and the rules.
#[path = "../../../sweeper/src/decide.rs"]
mod decide;

pub use decide::Rules;

/// The app of nearly every test.
pub const SHOP: &str = "shop";

/// The time this many seconds after 2026-01-05 00:00 UTC.
pub fn at(seconds: i64) -> Time {
    DateTime::from_timestamp(1_767_571_200 + seconds, 0).unwrap()
}

/// A session by password with this `hash`.
pub fn new_session(hash: &str) -> NewSession<'_> {
    NewSession {
        hash,
        csrf: "csrf",
        method: LoginMethod::Password,
        source: "10.0.0.5",
        browser: "Firefox on Linux",
        password: None,
        pending: None,
    }
}

pub fn seconds(n: i64) -> TimeDelta {
    TimeDelta::seconds(n)
}

pub fn app(name: &str) -> AppName {
    AppName::parse(name).unwrap()
}

pub fn component(name: &str) -> ComponentName {
    ComponentName::parse(name).unwrap()
}

/// Expected every `period` seconds, with no grace.
pub fn every(period: i64) -> Patch {
    Patch { schedule: Some((Schedule::every(seconds(period)).unwrap(), None)), ..Patch::default() }
}

pub fn success(at: Time) -> CheckIn {
    CheckIn::new(CheckInKind::Success, at)
}

pub fn start(at: Time) -> CheckIn {
    CheckIn::new(CheckInKind::Start, at)
}

pub fn log(at: Time) -> CheckIn {
    CheckIn::new(CheckInKind::Log, at)
}

pub fn fail(at: Time, exit_code: i32) -> CheckIn {
    CheckIn { exit_code: Some(exit_code), ..CheckIn::new(CheckInKind::Fail, at) }
}

/// The check-in of run number `run`.
pub fn of_run(run: u128, checkin: CheckIn) -> CheckIn {
    CheckIn { run_id: Some(Uuid::from_u128(run)), ..checkin }
}

pub fn from(source: &str, checkin: CheckIn) -> CheckIn {
    CheckIn { source: source.to_owned(), ..checkin }
}

/// This check-in, reported at `arrived_at`.
pub fn reported(checkin: CheckIn, arrived_at: Time) -> CheckIn {
    let report = Report { key: None, arrived_at, took: None, signal: None, peak_memory_bytes: None };
    CheckIn { report: Some(Box::new(report)), ..checkin }
}

/// This check-in, reported at `arrived_at` with the key of this number.
pub fn keyed(key: u128, checkin: CheckIn, arrived_at: Time) -> CheckIn {
    let mut checkin = reported(checkin, arrived_at);
    checkin.report.as_mut().unwrap().key = Some(Uuid::from_u128(key));
    checkin
}

/// The component of [`SHOP`] as a target.
pub fn named(name: &str) -> Target {
    Target::Names(app(SHOP), component(name))
}

/// A check-in without a definition of its reservation.
pub fn arrival(name: &str, checkin: CheckIn) -> Arrival {
    Arrival { target: named(name), checkin, definition: Definition::None }
}

/// Calls of the store on [`SHOP`].
pub trait Shop {
    /// Reserves at `at(0)`; returns the id.
    fn book(&self, name: &str, patch: &Patch) -> i64;
    /// Records check-ins of one component in one batch.
    fn check_in(&self, name: &str, checkins: &[CheckIn]) -> BatchOutcome;
    /// Records a batch.
    fn record(&self, batch: &[Arrival]) -> BatchOutcome;
    /// The reservation of the component.
    fn look(&self, name: &str) -> Reservation;
    /// The open alert of the component.
    fn alert(&self, name: &str) -> Option<OpenAlert>;
    /// One pass over the due reservations, with messages to the alerter `log`.
    fn pass(&self, now: Time) -> SweepOutcome;
}

impl Shop for ActingStore {
    fn book(&self, name: &str, patch: &Patch) -> i64 {
        match self.reserve(&app(SHOP), &component(name), patch, at(0)).unwrap() {
            Reserved::Created(id) | Reserved::Changed(id) | Reserved::Unchanged(id) => id,
            Reserved::Incomplete(problem) => panic!("{problem}"),
        }
    }

    fn check_in(&self, name: &str, checkins: &[CheckIn]) -> BatchOutcome {
        let batch: Vec<Arrival> = checkins.iter().map(|checkin| arrival(name, checkin.clone())).collect();
        let written = self.record(&batch);
        assert!(written.recorded.iter().all(|one| matches!(one, Recorded::Done { .. })), "{written:?}");
        written
    }

    fn record(&self, batch: &[Arrival]) -> BatchOutcome {
        record(&mut self.writer(), batch).unwrap()
    }

    fn look(&self, name: &str) -> Reservation {
        self.reservation(&app(SHOP), &component(name)).unwrap().expect(name).0
    }

    fn alert(&self, name: &str) -> Option<OpenAlert> {
        self.reservation(&app(SHOP), &component(name)).unwrap().expect(name).1
    }

    fn pass(&self, now: Time) -> SweepOutcome {
        self.sweep(now, 1000, &Rules(tell_log)).unwrap()
    }
}

/// One message, to the alerter `log`.
pub fn tell_log(told: &AlertEvent<'_>) -> Vec<NewDelivery> {
    vec![delivery("log", "", notice(told))]
}

/// Three messages: to two people by mail, and to a pager.
pub fn tell_three(told: &AlertEvent<'_>) -> Vec<NewDelivery> {
    [("mail", "a@example.org"), ("mail", "b@example.org"), ("pager", "")]
        .map(|(alerter, recipient)| delivery(alerter, recipient, notice(told)))
        .to_vec()
}

pub fn delivery(alerter: &str, recipient: &str, notice: Notice) -> NewDelivery {
    NewDelivery { alerter: alerter.to_owned(), recipient: recipient.to_owned(), notice }
}

/// The message about an event; its text is the notes.
pub fn notice(told: &AlertEvent<'_>) -> Notice {
    let spec = &told.reservation.spec;
    Notice {
        event: told.kind,
        instance: "test".to_owned(),
        subject: format!("{}/{}", spec.app, spec.component),
        subject_form: Default::default(),
        text: told.notes.to_owned(),
        at: told.now,
        url: None,
        summary: None,
        alert: Some(AlertNotice {
            id: told.alert_id,
            dedup_key: told.dedup_key.to_owned(),
            cause: told.reason.cause(),
            reason: told.reason.sentence(spec.schedule.zone()),
            exit_code: None,
            opened_at: told.opened_at,
            closed_at: None,
            since: told.reason.since(),
            reservation_id: told.reservation.id,
            app: spec.app.to_string(),
            component: spec.component.to_string(),
            owner: spec.owner.clone(),
            description: spec.description.clone(),
            tags: spec.tags.clone(),
            notify: spec.notify.to_string(),
            schedule: spec.schedule.to_string(),
            last_checkin_at: told.reservation.facts.last_checkin_at,
            checkins: told.reservation.facts.checkins,
            notes: told.notes.to_owned(),
            details: Default::default(),
        }),
    }
}

/// A message that belongs to no alert.
pub fn remark(subject: &str) -> Notice {
    Notice {
        event: EventKind::Operator,
        instance: "test".to_owned(),
        subject: subject.to_owned(),
        subject_form: Default::default(),
        text: String::new(),
        at: at(0),
        url: None,
        alert: None,
        summary: None,
    }
}

/// Repeats a call while it fails because the database is locked: when several write to one SQLite
/// file on a busy disk, one of them may not get the lock within its wait.
pub fn patiently<T>(mut call: impl FnMut() -> Result<T, StoreError>) -> T {
    for _ in 0..20 {
        match call() {
            Err(error) if error.is_unavailable() => {}
            done => return done.unwrap(),
        }
    }
    call().unwrap()
}

/// Runs `work` in `count` threads at once; returns their results.
pub fn together<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = std::sync::Barrier::new(count);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|n| {
                let (start, work) = (&start, &work);
                scope.spawn(move || {
                    start.wait();
                    work(n)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Records a batch as ingest does: first what hints settle, then what is left over.
pub fn record(writer: &mut CheckInWriter, batch: &[Arrival]) -> Result<BatchOutcome, StoreError> {
    let fast_path = writer.record_known(batch)?;
    let open = |recorded: &Option<Recorded>| recorded.is_none();
    let rest: Vec<Arrival> = batch
        .iter()
        .zip(&fast_path.recorded)
        .filter(|(_, recorded)| open(recorded))
        .map(|(arrival, _)| arrival.clone())
        .collect();
    let written = writer.record(&rest)?;
    let mut others = written.recorded.into_iter();
    let recorded = fast_path.recorded.into_iter().map(|recorded| recorded.or_else(|| others.next()).unwrap());
    Ok(BatchOutcome { recorded: recorded.collect(), wake: fast_path.wake || written.wake })
}
