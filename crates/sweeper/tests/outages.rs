//! Innkeeper's own outages: who is notified of what, and when. The clock is moved from event to event; heartbeats of
//! ingest, check-ins and sweeps happen on it as they would each second.
//!
//! In each story two jobs check in each period, on the second. The outage begins half a minute before a check-in. One
//! job continues during it (its check-ins are lost); the other stops with it. Both have half a minute of grace.
//!
//! Then the same with restarts of two seconds, again and again.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use chrono::{Datelike as _, TimeDelta, TimeZone as _, Utc};
use common::parts::Parts;
use innkeeper_core::duty::Duty;
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::reservation::Patch;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::{Clock, Time};
use innkeeper_store::Node;
use innkeeper_testing::database::TestDatabase;

const GRACE: TimeDelta = TimeDelta::seconds(30);
/// A job's check-in comes so long after the outage has begun.
const LEAD: TimeDelta = TimeDelta::seconds(30);

/// Which processes are away.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Away {
    Ingest,
    Everything,
}

#[derive(Debug, Clone)]
struct Story {
    period: TimeDelta,
    cron: Option<&'static str>,
    outage: TimeDelta,
    away: Away,
}

/// What was told: component, event, how long after the beginning, and the reason.
type Told = (String, String, TimeDelta, String);

struct Instance {
    parts: Parts,
    node: Node,
    begin: Time,
}

impl Instance {
    fn open(database: &TestDatabase) -> Self {
        let parts = Parts::new(database, "log", "");
        let now = parts.clock.now();
        // A midnight, so that cron and interval mean the same instants.
        let midnight = Utc.with_ymd_and_hms(now.year() + 1, 3, 1, 0, 0, 0).unwrap();
        parts.clock.advance(midnight - now);
        let node = Node {
            id: "one".to_owned(),
            role: "ingest".to_owned(),
            host: "here".to_owned(),
            address: String::new(),
            version: "1".to_owned(),
            started_at: midnight,
            offset: TimeDelta::zero(),
        };
        Self { parts, node, begin: midnight }
    }

    fn now(&self) -> Time {
        self.parts.clock.now()
    }

    /// Ingest beats, having done so each second since the last time.
    fn alive(&self, database: &TestDatabase) {
        let before = (self.now() - TimeDelta::seconds(1)).timestamp_millis();
        database
            .execute(&format!("UPDATE duties SET beat_at = {before}; UPDATE nodes SET beat_at = {before};"));
        self.parts.store.beat(&self.node, &[Duty::Ingest], false, self.now(), &|_| Vec::new()).unwrap();
    }

    fn reserve(&self, component: &str, story: &Story) {
        let schedule = match story.cron {
            Some(cron) => Schedule::cron(cron, "UTC").unwrap(),
            None => Schedule::every(story.period).unwrap(),
        };
        let patch = Patch { schedule: Some((schedule, None)), grace: Some(GRACE), ..Patch::default() };
        let (app, component) = (AppName::parse("shop").unwrap(), ComponentName::parse(component).unwrap());
        self.parts.store.reserve(&app, &component, &patch, self.now()).unwrap();
    }

    fn sweep(&self) {
        while self.parts.sweep().looked > 0 {}
    }
}

/// Lives through the story and returns what was told.
fn live_through(database: &TestDatabase, story: &Story) -> Vec<Told> {
    let instance = Instance::open(database);
    instance.alive(database);
    instance.reserve("healthy", story);
    instance.reserve("silent", story);
    let clock = &instance.parts.clock;
    let (from, until) =
        (instance.begin + story.period - LEAD, instance.begin + story.period - LEAD + story.outage);
    let end = until + story.period.min(TimeDelta::hours(1)) + GRACE + story.period * 2;
    let mut next_checkin = instance.begin;
    let mut ended = false;
    loop {
        let now = instance.now();
        let away = (from..until).contains(&now);
        if now == from {
            // The last heartbeat.
            instance.alive(database);
        }
        if now == next_checkin {
            if !away {
                instance.parts.check_in("healthy");
                if now < from {
                    instance.parts.check_in("silent");
                }
            }
            next_checkin += story.period;
        }
        if !away {
            if now >= until && !ended {
                // A new process, as after a restart; nobody else is there.
                ended = true;
                instance
                    .parts
                    .store
                    .beat(&instance.node, &[Duty::Ingest], true, now, &|_| Vec::new())
                    .unwrap();
            }
            instance.alive(database);
        }
        if !away || story.away == Away::Ingest {
            instance.sweep();
        }
        if now >= end {
            break;
        }
        let wake = instance.parts.store.next_wake_at().unwrap().unwrap().max(now + TimeDelta::seconds(1));
        let edge = [from, until].into_iter().filter(|edge| *edge > now).min().unwrap_or(end);
        let next = match away && story.away == Away::Everything {
            true => until.min(next_checkin),
            false => wake.min(next_checkin).min(edge),
        };
        clock.advance(next.min(end) - now);
    }
    what_was_told(database, instance.begin)
}

fn what_was_told(database: &TestDatabase, begin: Time) -> Vec<Told> {
    let rows = database.texts(
        "SELECT a.component || '|' || d.event || '|' || d.created_at || '|' || a.sentence
         FROM deliveries d JOIN alerts a ON a.id = d.alert_id ORDER BY d.id",
    );
    rows.iter()
        .map(|row| {
            let words: Vec<&str> = row.splitn(4, '|').collect();
            let at = Time::from_timestamp_millis(words[2].parse().unwrap()).unwrap();
            (words[0].to_owned(), words[1].to_owned(), at - begin, words[3].to_owned())
        })
        .collect()
}

/// Of each period: the cron expression of the same instants.
fn periods() -> [(TimeDelta, &'static str); 4] {
    [
        (TimeDelta::minutes(1), "* * * * *"),
        (TimeDelta::minutes(5), "*/5 * * * *"),
        (TimeDelta::hours(1), "0 * * * *"),
        (TimeDelta::days(1), "0 0 * * *"),
    ]
}

fn outages() -> [TimeDelta; 3] {
    [TimeDelta::minutes(1), TimeDelta::minutes(10), TimeDelta::hours(3)]
}

/// What has to be told in the story.
fn expected(story: &Story) -> Vec<(String, String, TimeDelta)> {
    let back = story.period - LEAD + story.outage;
    let respite = back + story.period.min(TimeDelta::hours(1)) + GRACE;
    let told = |component: &str, event: &str, at| (component.to_owned(), event.to_owned(), at);
    let mut all = vec![told("silent", "opened", respite)];
    // The first check-in of the healthy job that arrives again.
    let mut heard = story.period;
    while heard < back {
        heard += story.period;
    }
    if heard > respite {
        // Its check-in may have been lost, and the next one is too far away to wait for: people hear that, and of its return.
        all.push(told("healthy", "opened", respite));
        all.push(told("healthy", "recovered", heard));
    }
    all.sort_by_key(|(component, _, at)| (*at, component.clone()));
    all
}

fn every_story_ends_as_it_must(database: fn() -> TestDatabase) {
    for away in [Away::Ingest, Away::Everything] {
        for (period, cron) in periods() {
            for outage in outages() {
                for cron in [None, Some(cron)] {
                    let story = Story { period, cron, outage, away };
                    let told = live_through(&database(), &story);
                    let mut events: Vec<_> = told
                        .iter()
                        .map(|(component, event, at, _)| (component.clone(), event.clone(), *at))
                        .collect();
                    events.sort_by_key(|(component, _, at)| (*at, component.clone()));
                    assert_eq!(events, expected(&story), "{story:?}: {told:?}");
                    for (component, _, _, reason) in &told {
                        assert!(reason.contains("may have been lost"), "{component}: {reason}");
                    }
                }
            }
        }
    }
}

#[test]
fn of_an_outage_nobody_hears_about_jobs_that_go_on_over_sqlite() {
    every_story_ends_as_it_must(TestDatabase::sqlite);
}

#[test]
fn of_an_outage_nobody_hears_about_jobs_that_go_on_over_postgres() {
    every_story_ends_as_it_must(TestDatabase::postgres);
}

#[test]
fn only_those_of_one_day_whose_one_check_in_was_lost_are_told_of() {
    let healthy = |period, outage| {
        let story = Story { period, cron: None, outage, away: Away::Ingest };
        expected(&story).iter().any(|(component, ..)| component == "healthy")
    };
    for (period, _) in periods() {
        for outage in outages() {
            assert_eq!(healthy(period, outage), period == TimeDelta::days(1), "{period} {outage}");
        }
    }
}

/// Lives until `end` with a clean restart of two seconds at each of `restarts`; returns what was told. The healthy job checks in each
/// period, unless it is refused; the silent one did so once.
fn live_through_restarts(
    database: &TestDatabase,
    story: &Story,
    restarts: &[TimeDelta],
    end: TimeDelta,
) -> Vec<Told> {
    let instance = Instance::open(database);
    instance.alive(database);
    instance.reserve("healthy", story);
    instance.reserve("silent", story);
    instance.parts.check_in("silent");
    let (length, second) = (TimeDelta::seconds(2), TimeDelta::seconds(1));
    let mut next_checkin = instance.begin;
    let mut restarts = restarts.iter().map(|after| instance.begin + *after).peekable();
    loop {
        let now = instance.now();
        let begins = restarts.next_if(|at| *at <= now);
        if now == next_checkin {
            if begins.is_none() {
                instance.parts.check_in("healthy");
            }
            next_checkin += story.period;
        }
        if begins.is_some() {
            instance.alive(database);
            instance.parts.store.say_goodbye(&instance.node.id, now).unwrap();
            instance.parts.clock.advance(length);
            while next_checkin <= instance.now() {
                next_checkin += story.period;
            }
            instance
                .parts
                .store
                .beat(&instance.node, &[Duty::Ingest], true, instance.now(), &|_| Vec::new())
                .unwrap();
        }
        instance.alive(database);
        instance.sweep();
        let now = instance.now();
        if now >= instance.begin + end {
            return what_was_told(database, instance.begin);
        }
        let wake = instance.parts.store.next_wake_at().unwrap().unwrap().max(now + second);
        let next = wake.min(next_checkin).min(restarts.peek().copied().unwrap_or(wake)).max(now + second);
        instance.parts.clock.advance(next - now);
    }
}

fn restarts_neither_accuse_nor_silence(database: fn() -> TestDatabase) {
    let (minute, hour, day) = (TimeDelta::minutes(1), TimeDelta::hours(1), TimeDelta::days(1));
    let lead = TimeDelta::seconds(1);
    let each = |every: TimeDelta, first: TimeDelta, count: i32| {
        (0..count).map(|n| first + every * n).collect::<Vec<_>>()
    };
    // Two check-ins running are refused, each in the second of three restarts; then restarts beside them go on.
    let twice: Vec<TimeDelta> = [1, 2]
        .iter()
        .flat_map(|n| each(lead * 3, hour * *n - lead * 4, 3))
        .chain(each(hour, hour * 3 - minute / 2, 5))
        .collect();
    for (period, cron, restarts) in [
        // More often than its period, eleven times.
        (minute * 5, "*/5 * * * *", each(minute * 4, minute * 4 + minute / 2, 11)),
        (minute, "* * * * *", each(minute / 2, minute + lead * 10, 11)),
        (hour, "0 * * * *", twice),
        // Hourly, about when it is due.
        (day, "0 0 * * *", each(hour, hour - minute / 2, 40)),
    ] {
        for cron in [None, Some(cron)] {
            let story = Story { period, cron, outage: TimeDelta::zero(), away: Away::Everything };
            let respites = (period.min(hour) + GRACE) * 3;
            let latest = period + GRACE + respites + lead * 2 * i32::try_from(restarts.len()).unwrap();
            let told = live_through_restarts(&database(), &story, &restarts, latest + minute * 2);
            let [(component, event, at, reason)] = &told[..] else { panic!("{story:?}: {told:?}") };
            assert_eq!((component.as_str(), event.as_str()), ("silent", "opened"), "{story:?}: {told:?}");
            assert!(*at > period + GRACE && *at <= latest, "{story:?}: {at} and {latest}");
            assert!(reason.contains("times none could be heard"), "{reason}");
        }
    }
}

#[test]
fn restarts_neither_accuse_a_healthy_job_nor_silence_a_dead_one_over_sqlite() {
    restarts_neither_accuse_nor_silence(TestDatabase::sqlite);
}

#[test]
fn restarts_neither_accuse_a_healthy_job_nor_silence_a_dead_one_over_postgres() {
    restarts_neither_accuse_nor_silence(TestDatabase::postgres);
}
