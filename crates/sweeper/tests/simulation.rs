//! A seeded simulation: random jobs and check-ins, nodes whose clocks differ by up to three seconds each way, outages,
//! and crashes at every commit. The results are compared with what really happened.
//!
//! To repeat a failed run, pass its seed: `INNKEEPER_TEST_SEED=17 cargo test -p innkeeper-sweeper --test simulation`.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use chrono::{DateTime, TimeDelta};
use common::parts::Parts;
use fastrand::Rng;
use innkeeper_core::Time;
use innkeeper_core::checkin::{CheckIn, CheckInKind};
use innkeeper_core::duty::Duty;
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::notice::EventKind;
use innkeeper_core::recipient::Recipients;
use innkeeper_core::reservation::Patch;
use innkeeper_core::schedule::Schedule;
use innkeeper_store::{
    ActingStore, AlertEvent, Arrival, Definition, FinishedDeliveries, NewDelivery, Node, Recorded,
    SendOutcome, Target,
};
use innkeeper_sweeper::decide::Rules;
use innkeeper_testing::database::TestDatabase;

/// Clocks differ from the true time by up to this, each way.
const OFFSET_MS: i64 = 3000;
/// What two clocks, and the sweeps' rhythm, may make of an instant.
const TOLERANCE: TimeDelta = TimeDelta::seconds(8);
const JOBS: usize = 40;
const STEPS: usize = 700;

/// What a job promised, and what it really did.
struct Job {
    period: TimeDelta,
    grace: TimeDelta,
    /// Since when it is silent for good; none while it goes on.
    silent_from: Option<Time>,
    next_at: Time,
    /// The true times of its acknowledged ends (success or failure), the creation first.
    heard: Vec<Time>,
    fails: Vec<Time>,
    successes: Vec<Time>,
    acknowledged: i64,
}

/// A span in which no ingest took check-ins.
type Outage = (Time, Time);

struct World {
    rng: Rng,
    now: Time,
    store: ActingStore,
    parts: Parts,
    jobs: Vec<Job>,
    /// What each ingest's and each sweeper's clock is off by.
    ingests: [TimeDelta; 2],
    sweepers: [TimeDelta; 2],
    outages: Vec<Outage>,
    shut_until: Option<Time>,
    /// When the process started that takes check-ins now.
    opened_at: Time,
    /// What the receiver got: by key, so that a repeat counts once.
    received: BTreeMap<String, (usize, EventKind, Time)>,
    crashes: usize,
    /// The last sweep.
    watched_until: Time,
}

impl World {
    fn new(database: &TestDatabase, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let offset = |rng: &mut Rng| TimeDelta::milliseconds(rng.i64(-OFFSET_MS..=OFFSET_MS));
        let (ingests, sweepers) =
            ([offset(&mut rng), offset(&mut rng)], [offset(&mut rng), offset(&mut rng)]);
        let parts = Parts::new(database, "log", "");
        let mut world = Self {
            now: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            store: database.store(),
            parts,
            jobs: Vec::new(),
            ingests,
            sweepers,
            outages: Vec::new(),
            shut_until: None,
            opened_at: DateTime::UNIX_EPOCH,
            received: BTreeMap::new(),
            crashes: 0,
            watched_until: DateTime::UNIX_EPOCH,
            rng,
        };
        world.beat(true);
        for n in 0..JOBS {
            world.make_job(n);
        }
        world
    }

    fn make_job(&mut self, n: usize) {
        let period = TimeDelta::seconds(self.rng.i64(20..=900));
        let grace = TimeDelta::seconds(self.rng.i64(10..=60));
        let patch = Patch {
            schedule: Some((Schedule::every(period).unwrap(), None)),
            grace: Some(grace),
            notify: Some(Recipients::parse("notify", "hook").unwrap()),
            ..Patch::default()
        };
        self.store.reserve(&app(), &name(n), &patch, self.now).unwrap();
        let silent_from =
            (self.rng.u8(0..4) == 0).then(|| self.now + TimeDelta::seconds(self.rng.i64(0..=1800)));
        self.jobs.push(Job {
            period,
            grace,
            silent_from,
            next_at: self.now + TimeDelta::seconds(self.rng.i64(0..period.num_seconds())),
            heard: vec![self.now],
            fails: Vec::new(),
            successes: Vec::new(),
            acknowledged: 0,
        });
    }

    /// Ingest beats, having done so each second since the last step.
    fn beat(&mut self, first: bool) {
        if first {
            self.opened_at = self.now;
        }
        let duties = self.store.duties().unwrap();
        if let Some(duty) = duties.first()
            && !first
            && self.now - duty.beat_at > TimeDelta::seconds(2)
        {
            let node = node(self.opened_at);
            // As the heartbeats in between have done: they are too many to be simulated each.
            self.heartbeats_since(duty.beat_at);
            self.store
                .beat(&node, &[Duty::Ingest], false, self.now - TimeDelta::seconds(1), &|_| Vec::new())
                .unwrap();
        }
        self.store.beat(&node(self.opened_at), &[Duty::Ingest], first, self.now, &|_| Vec::new()).unwrap();
    }

    fn heartbeats_since(&self, since: Time) {
        let mut at = since;
        while self.now - at > TimeDelta::seconds(6) {
            at += TimeDelta::seconds(5);
            self.store.beat(&node(self.opened_at), &[Duty::Ingest], false, at, &|_| Vec::new()).unwrap();
        }
    }

    /// Whether ingest is shut; opens or shuts it now and then.
    fn ingest_is_shut(&mut self) -> bool {
        match self.shut_until {
            Some(until) if self.now < until => return true,
            Some(_) => {
                self.open();
            }
            None => {
                self.beat(false);
                if self.rng.u16(0..250) == 0 {
                    let until = self.now + TimeDelta::seconds(self.rng.i64(6..=600));
                    self.outages.push((self.now, until));
                    self.shut_until = Some(until);
                    return true;
                }
            }
        }
        false
    }

    /// Another process takes check-ins again.
    fn open(&mut self) {
        self.shut_until = None;
        self.outages.last_mut().unwrap().1 = self.now;
        self.beat(true);
    }

    fn check_in(&mut self, n: usize, shut: bool) {
        let wobble = self.rng.i64(0..=4);
        let job = &mut self.jobs[n];
        job.next_at = self.now + job.period + TimeDelta::seconds(wobble);
        if job.silent_from.is_some_and(|from| self.now >= from) || shut {
            return;
        }
        let fails = self.rng.u8(0..12) == 0;
        let kind = if fails { CheckInKind::Fail } else { CheckInKind::Success };
        let offset = self.ingests[self.rng.usize(0..2)];
        let arrival = Arrival {
            target: Target::Names(app(), name(n)),
            checkin: CheckIn::new(kind, self.now + offset),
            definition: Definition::None,
        };
        let written = self.store.writer().record(std::slice::from_ref(&arrival)).unwrap();
        assert!(matches!(written.recorded[0], Recorded::Done { .. }));
        let job = &mut self.jobs[n];
        job.acknowledged += 1;
        job.heard.push(self.now);
        if fails { job.fails.push(self.now) } else { job.successes.push(self.now) }
    }

    /// A pass of one of the sweepers. One in ten dies before its commit.
    fn sweep(&mut self) {
        let now = self.now + self.sweepers[self.rng.usize(0..2)];
        if self.rng.u8(0..10) == 0 {
            let store = self.store.clone();
            let died = catch_unwind(AssertUnwindSafe(|| {
                // No panic, which would be printed each time.
                store.sweep(now, 7, &Rules(|_| resume_unwind(Box::new("a crash")))).map(|swept| swept.looked)
            }));
            self.crashes += usize::from(died.is_err());
            return;
        }
        self.store.sweep(now, 7, &Rules(&tell)).unwrap();
    }

    /// A sender's step. It may die after the claim, or after the sending.
    fn send(&mut self) {
        let token = self.rng.u64(..).to_string();
        let lease = TimeDelta::seconds(5);
        let sendings = self.store.claim_singles("hook", self.now, lease, &token, 5).unwrap();
        if self.rng.u8(0..10) == 0 {
            self.crashes += 1;
            return;
        }
        for sending in &sendings {
            let notice = &sending.deliveries[0].notice;
            let n = notice.subject.strip_prefix("job-").unwrap().parse().unwrap();
            self.received.entry(sending.key.clone()).or_insert((n, notice.event, notice.at));
        }
        if self.rng.u8(0..10) == 0 {
            self.crashes += 1;
            return;
        }
        let ids = sendings.iter().flat_map(|one| &one.deliveries).map(|one| one.id).collect();
        self.store
            .finish(&token, &[FinishedDeliveries { ids, outcome: SendOutcome::Delivered }], self.now)
            .unwrap();
    }

    fn live(&mut self) {
        for _ in 0..STEPS {
            let next = self.jobs.iter().map(|job| job.next_at).min().unwrap();
            let second = self.now + TimeDelta::seconds(self.rng.i64(1..=9));
            self.now = next.min(second).max(self.now + TimeDelta::milliseconds(50));
            let shut = self.ingest_is_shut();
            for n in 0..JOBS {
                if self.jobs[n].next_at <= self.now {
                    self.check_in(n, shut);
                }
            }
            for _ in 0..3 {
                self.sweep();
            }
            self.send();
        }
        // A quiet end: everything that is due is looked at, and everything that waits goes out.
        if self.shut_until.is_some() {
            self.open();
        }
        for _ in 0..60 {
            self.now += TimeDelta::seconds(1);
            self.beat(false);
            for offset in self.sweepers {
                while self.store.sweep(self.now + offset, 50, &Rules(&tell)).unwrap().looked > 0 {}
            }
            self.send();
        }
        self.watched_until = self.now;
        while self.parts.store.next_delivery_at("hook").unwrap().is_some() {
            self.now += TimeDelta::seconds(6);
            self.send();
        }
    }

    /// Until when the job need not be heard again, having been heard at `heard`: its deadline, put off by every outage that touches it.
    /// Clocks differ, so an outage within `slack` of touching it may have, or (negative) may not have.
    fn deadline(&self, job: &Job, heard: Time, slack: TimeDelta) -> Time {
        let expected = heard + job.period;
        let mut deadline = expected + job.grace;
        for (from, until) in &self.outages {
            if *from <= deadline + slack && *until + TimeDelta::seconds(60) >= expected - slack {
                deadline = deadline.max(*until + job.period.min(TimeDelta::hours(1)) + job.grace);
            }
        }
        deadline
    }

    fn judge(&self, seed: u64) {
        let listed = self.store.list(None, self.now).unwrap();
        for (n, job) in self.jobs.iter().enumerate() {
            let said = format!("seed {seed}, job {n}, every {}, grace {}", job.period, job.grace);
            let stands = listed
                .iter()
                .find(|one| one.reservation.spec.component.as_str() == format!("job-{n}"))
                .unwrap();
            assert_eq!(
                stands.reservation.facts.checkins, job.acknowledged,
                "{said}: an acknowledged check-in is lost"
            );

            let mut told: Vec<(Time, EventKind)> = self
                .received
                .values()
                .filter(|(of, ..)| *of == n)
                .map(|(_, event, at)| (*at, *event))
                .collect();
            told.sort_by_key(|(at, event)| (*at, *event != EventKind::Recovered));
            for (at, event) in &told {
                if !matches!(event, EventKind::Opened | EventKind::OpenedAndRecovered) {
                    continue;
                }
                let failed = job.fails.iter().any(|fail| *fail <= *at + TOLERANCE);
                let heard = job
                    .heard
                    .iter()
                    .filter(|heard| **heard <= *at - TOLERANCE)
                    .max()
                    .unwrap_or(&job.heard[0]);
                let overdue = self.deadline(job, *heard, -TOLERANCE) <= *at + TOLERANCE;
                assert!(failed || overdue, "{said}: cried wolf at {at}, heard at {heard}: {told:?}");
            }
            let opened = told.iter().filter(|(_, event)| *event == EventKind::Opened).count();
            let recovered = told.iter().filter(|(_, event)| *event == EventKind::Recovered).count();
            assert!(opened == recovered || opened == recovered + 1, "{said}: told twice: {told:?}");
            assert_eq!(stands.open_alert.is_some(), opened == recovered + 1, "{said}: {told:?}");

            let last = *job.heard.iter().max().unwrap();
            if self.deadline(job, last, TOLERANCE) + TOLERANCE < self.watched_until {
                assert!(
                    stands.open_alert.is_some(),
                    "{said}: silent since {last}, nobody was told by {}",
                    self.watched_until
                );
            }
            // A failure is never swallowed, whatever comes after it: not more incidents than failures and silences, and one at least.
            if !job.fails.is_empty() {
                assert!(!told.is_empty(), "{said}: a failure was swallowed");
            }
        }
    }
}

fn tell(told: &AlertEvent<'_>) -> Vec<NewDelivery> {
    let subject = told.reservation.spec.component.to_string();
    let notice = innkeeper_core::notice::Notice {
        event: told.kind,
        instance: "simulation".to_owned(),
        subject,
        subject_form: Default::default(),
        text: String::new(),
        at: told.now,
        url: None,
        alert: None,
        summary: None,
    };
    vec![NewDelivery { alerter: "hook".to_owned(), recipient: String::new(), notice }]
}

fn node(started_at: Time) -> Node {
    Node {
        id: "ingest".to_owned(),
        role: "ingest".to_owned(),
        host: String::new(),
        address: String::new(),
        version: String::new(),
        started_at,
        offset: TimeDelta::zero(),
    }
}

fn app() -> AppName {
    AppName::parse("shop").unwrap()
}

fn name(n: usize) -> ComponentName {
    ComponentName::parse(format!("job-{n}")).unwrap()
}

fn worlds(database: fn() -> TestDatabase, count: u64) {
    let seeds: Vec<u64> = match std::env::var("INNKEEPER_TEST_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (0..count).collect(),
    };
    println!("seeds {seeds:?}");
    let mut told = BTreeSet::new();
    let mut crashes = 0;
    for seed in seeds {
        let database = database();
        let mut world = World::new(&database, seed);
        world.live();
        world.judge(seed);
        told.extend(world.received.values().map(|(_, event, _)| event.as_str()));
        crashes += world.crashes;
    }
    assert!(
        told.contains("opened") && told.contains("recovered") && crashes > 0,
        "nothing happened: {told:?}"
    );
}

#[test]
fn worlds_over_sqlite_end_as_they_must() {
    worlds(TestDatabase::sqlite, 40);
}

#[test]
fn worlds_over_postgres_end_as_they_must() {
    worlds(TestDatabase::postgres, 10);
}
