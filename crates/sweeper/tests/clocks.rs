//! Clocks that jump under real processes: no false alert opens, no job is forgotten, nothing is lost, and the operator
//! is told.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]
#![allow(dead_code, reason = "it uses a part of what the tests share")]

mod common;

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use common::{config, wait_until, webhook};
use innkeeper_core::access::UserRole;
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::recipient::Recipients;
use innkeeper_core::reservation::Patch;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::{Clock as _, SystemClock};
use innkeeper_testing::client::Client;
use innkeeper_testing::cluster::Cluster;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::faketime::FakeClock;
use innkeeper_testing::http_sink::{HttpSink, SinkResponse};
use innkeeper_testing::process::{PATIENCE, Server};
use serde_json::Value;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// An installation whose processes live by a clock that the test sets.
struct Instance {
    database: TestDatabase,
    sink: HttpSink,
    servers: Vec<Server>,
    client: Client,
    clock: FakeClock,
}

impl Instance {
    /// Two jobs expected every three seconds, with as much grace; then the processes.
    fn open(database: TestDatabase, programs: &[&str], clock: FakeClock, under_it: bool) -> Self {
        let mut instance =
            Self { database, sink: HttpSink::start(), clock, servers: Vec::new(), client: Client::default() };
        instance.start(programs, under_it);
        for job in ["healthy", "silent"] {
            instance.reserve(job);
        }
        instance
    }

    /// As of the clock that the processes live by: to one that is a day ahead, what was made by the true time is long overdue.
    fn reserve(&self, job: &str) {
        let patch = Patch {
            notify: Some(Recipients::parse("notify", "hook").unwrap()),
            schedule: Some((Schedule::every(TimeDelta::seconds(3)).unwrap(), None)),
            grace: Some(TimeDelta::seconds(3)),
            ..Patch::default()
        };
        let (app, component) = (AppName::parse("shop").unwrap(), ComponentName::parse(job).unwrap());
        self.database.store().reserve(&app, &component, &patch, self.clock.now()).unwrap();
    }

    fn start(&mut self, programs: &[&str], under_it: bool) {
        let hook = webhook("hook", &self.sink, "");
        let config = config(&self.database, &hook).replace("operator = [\"log\"]", "operator = [\"hook\"]");
        let variables = if under_it { self.clock.variables() } else { Vec::new() };
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for program in programs {
            self.servers.push(Server::start_with(&variables, program, &config, &[]));
            if *program == "sweeper" {
                self.servers.last().unwrap().wait_for_log("watching over");
            }
        }
        self.servers[0].address();
    }

    /// A check-in, which must be taken.
    fn ping(&self, job: &str) {
        let key =
            self.database.text(&format!("SELECT key FROM reservations WHERE component = '{job}'")).unwrap();
        let answer = self.client.get(&self.servers[0].url(&format!("/ping/{key}")));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Goes on for so many seconds; these jobs check in.
    fn live(&self, seconds: u64, jobs: &[&str]) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            jobs.iter().for_each(|job| self.ping(job));
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// The same until `done`.
    fn live_until(&self, what: &str, jobs: &[&str], done: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < end, "this does not come: {what}; told: {:?}", self.subjects());
            self.live(0, jobs);
            jobs.iter().for_each(|job| self.ping(job));
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// What was told so far.
    fn subjects(&self) -> Vec<String> {
        self.sink.requests().iter().map(|one| one.json()["subject"].as_str().unwrap().to_owned()).collect()
    }

    fn told(&self, what: &str) -> usize {
        self.subjects().iter().filter(|subject| subject.contains(what)).count()
    }

    /// How many alerts this job has had.
    fn alerts(&self, job: &str) -> i64 {
        self.database.count(&format!("alerts WHERE component = '{job}'"))
    }

    fn nodes(&self) -> Value {
        let answer = self.client.get(&self.servers[0].url("/nodes"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// The steps that are kept, latest first: the clock, by how many seconds, and what came of it.
    fn steps(&self) -> Vec<(String, i64, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let steps = self.nodes()["clock_steps"].as_array().unwrap().clone();
        steps
            .iter()
            .map(|step| {
                let seconds = (step["by_ms"].as_f64().unwrap() / 1000.0).round() as i64;
                (text(&step["clock"]), seconds, text(&step["outcome"]))
            })
            .collect()
    }

    fn last_step(&self, by: i64, outcome: &str) -> bool {
        self.steps().first().is_some_and(|(_, seconds, what)| (seconds - by).abs() <= 30 && what == outcome)
    }

    /// Seconds by which the newest recorded time is ahead of the true time.
    fn ahead(&self) -> i64 {
        (self.database.store().newest_time().unwrap().unwrap() - SystemClock.now()).num_seconds()
    }

    /// The job that falls silent now is told about within its period and grace, and a doubt's time; the other is not.
    fn the_silent_is_told_about_and_the_healthy_is_not(&self) {
        let before = self.alerts("silent");
        self.live_until("the silent job's alert", &["healthy"], || self.alerts("silent") > before);
        assert_eq!(self.alerts("healthy"), 0, "{:?}", self.subjects());
        wait_until("it is sent", || self.told("silent") > 0);
    }
}

fn sqlite(offset: i64) -> Instance {
    Instance::open(TestDatabase::sqlite(), &["innkeeper"], FakeClock::ahead(offset), true)
}

#[test]
fn a_day_ahead_for_four_seconds_changes_nothing_and_is_told() {
    let instance = sqlite(0);
    instance.live(3, &["healthy", "silent"]);
    instance.clock.set(DAY);
    instance.live(4, &["healthy"]);
    instance.clock.set(0);
    instance.live_until("both are told", &["healthy"], || {
        instance.told("jumped 1 day ahead") == 1 && instance.told("is back") == 1
    });
    assert!(instance.last_step(DAY, "returned"), "{:?}", instance.steps());
    instance.reserve("new");
    instance.the_silent_is_told_about_and_the_healthy_is_not();
    wait_until("a new job is watched, too", || instance.alerts("new") == 1);
    assert!(instance.ahead() < 30, "nothing was stamped by it");
}

#[test]
fn sixty_days_ahead_and_back_loses_no_history_and_no_message_and_mutes_nobody() {
    let instance = sqlite(0);
    // Instancekeeping comes half a minute after the start: while the clock is ahead.
    let begun = Instant::now();
    let store = instance.database.store();
    instance.live(2, &["healthy", "silent"]);
    let kept = instance.database.count("checkins");
    let month = 29 * DAY * 1000;
    instance.database.execute(&format!("UPDATE checkins SET at = at - {month}"));
    instance.sink.otherwise(SinkResponse::status(503));
    let waiting = innkeeper_core::notice::Notice {
        event: innkeeper_core::notice::EventKind::Operator,
        instance: "inn".to_owned(),
        subject: "it waits".to_owned(),
        subject_form: Default::default(),
        text: String::new(),
        at: SystemClock.now(),
        url: None,
        alert: None,
        summary: None,
    };
    let delivery = innkeeper_store::NewDelivery {
        alerter: "hook".to_owned(),
        recipient: String::new(),
        notice: waiting,
    };
    store.put_notices(&[delivery], SystemClock.now()).unwrap();
    instance.clock.set(60 * DAY);
    instance
        .live_until("it is followed", &["healthy", "silent"], || instance.last_step(60 * DAY, "followed"));
    wait_until("its stamps are ahead", || instance.ahead() > DAY);
    instance.live(36_u64.saturating_sub(begun.elapsed().as_secs()), &["healthy", "silent"]);
    assert_eq!(instance.database.count("deliveries WHERE state = 'dead'"), 0);
    instance.clock.set(0);
    instance.live_until("it is followed back", &["healthy", "silent"], || {
        instance.last_step(-60 * DAY, "followed")
    });
    instance.sink.otherwise(SinkResponse::status(200));
    wait_until("what was stamped ahead is moved back", || instance.ahead() < 30);
    instance.the_silent_is_told_about_and_the_healthy_is_not();
    assert!(instance.database.count("checkins") >= kept);
    let month_ago = (SystemClock.now() - TimeDelta::days(20)).timestamp_millis();
    assert_eq!(
        instance.database.count(&format!("checkins WHERE at < {month_ago}")),
        kept,
        "no history was pruned"
    );
    wait_until("what waited is sent", || {
        instance.database.count("deliveries WHERE alert_id IS NULL AND state = 'delivered' AND attempts > 1")
            > 0
    });
    let now = (SystemClock.now() + TimeDelta::seconds(30)).timestamp_millis();
    assert_eq!(instance.database.count(&format!("blind_windows WHERE until_at > {now}")), 0);
}

#[test]
fn an_hour_back_leaves_nobody_unwatched() {
    let instance = sqlite(0);
    instance.live(3, &["healthy", "silent"]);
    instance.clock.set(-HOUR);
    instance.live_until("it is told", &["healthy", "silent"], || instance.told("jumped 1 hour back") == 1);
    instance.live_until("it is followed", &["healthy", "silent"], || instance.last_step(-HOUR, "followed"));
    instance.the_silent_is_told_about_and_the_healthy_is_not();
    assert!(instance.ahead() < -HOUR + 30, "its time is the clock's");
}

/// Kills the processes and starts them with the clock `by` seconds off: behind what was recorded.
fn a_start_behind_judges_nothing_until_the_clock_is_set(
    mut instance: Instance,
    programs: &[&str],
    under_it: bool,
    by: i64,
) {
    instance.live(3, &["healthy", "silent"]);
    instance.servers.clear();
    instance.clock.set(by);
    instance.start(programs, under_it);
    wait_until("it is told", || instance.told("is behind what was recorded") == 1);
    instance.live(12, &["healthy"]);
    assert_eq!(instance.alerts("silent"), 0, "nothing is judged");
    assert_eq!(instance.nodes()["clock_steps"][0]["outcome"], "held");
    assert!(instance.ahead().abs() < 60, "check-ins are counted from where the last one was");
    instance.clock.set(0);
    instance.live_until("it is believed", &["healthy"], || {
        instance.last_step(by, "released") || instance.last_step(by, "followed")
    });
    wait_until("that is told", || instance.told("is trusted again") == 1);
    instance.the_silent_is_told_about_and_the_healthy_is_not();
    assert_eq!(instance.told("is behind what was recorded"), 1, "once, however many nodes there are");
}

#[test]
fn a_start_in_1970_judges_nothing_until_the_clock_is_set() {
    let to_1970 = 100 - SystemClock.now().timestamp();
    a_start_behind_judges_nothing_until_the_clock_is_set(sqlite(0), &["innkeeper"], true, to_1970);
}

#[test]
fn a_start_with_the_databases_clock_an_hour_behind_judges_nothing_until_it_is_set() {
    let clock = FakeClock::ahead(0);
    let cluster = Cluster::start_with(clock.variables());
    let programs = ["ingest", "sweeper"];
    let instance = Instance::open(TestDatabase::postgres_in(&cluster.url()), &programs, clock, false);
    a_start_behind_judges_nothing_until_the_clock_is_set(instance, &programs, false, -HOUR);
}

#[test]
fn a_start_weeks_ahead_heals_when_the_clock_is_set() {
    let mut instance = sqlite(0);
    instance.live(2, &["healthy", "silent"]);
    drop(instance.servers.remove(0).into_directory());
    instance.clock.set(21 * DAY);
    instance.start(&["innkeeper"], true);
    instance.live(5, &["healthy", "silent"]);
    assert!(instance.ahead() > DAY);
    instance.clock.set(0);
    instance
        .live_until("it is followed", &["healthy", "silent"], || instance.last_step(-21 * DAY, "followed"));
    wait_until("what was stamped ahead is moved back", || instance.ahead() < 30);
    instance.the_silent_is_told_about_and_the_healthy_is_not();
}

#[test]
fn a_way_back_that_was_cut_off_is_gone_on_with_at_the_next_start() {
    let mut instance = sqlite(DAY);
    // As if it had always been ahead.
    instance.live(3, &["healthy", "silent"]);
    drop(instance.servers.remove(0).into_directory());
    instance.database.execute(
        "INSERT INTO clock_steps (at, clock, host, by_ms, outcome) VALUES (1, 'machine', 'here', -86400000, 'following')",
    );
    instance.clock.set(0);
    instance.start(&["innkeeper"], true);
    wait_until("what was stamped ahead is moved back", || instance.ahead() < 30);
    assert_eq!(instance.told("is behind what was recorded"), 0, "it need not be waited for");
    instance.the_silent_is_told_about_and_the_healthy_is_not();
}

#[test]
fn a_way_back_that_does_not_get_on_is_told_and_no_sweep_counts_as_made_meanwhile() {
    let mut instance = sqlite(DAY);
    instance.live(3, &["healthy", "silent"]);
    drop(instance.servers.remove(0).into_directory());
    let ahead = SystemClock.now() + TimeDelta::days(1);
    instance.database.store().add_user("ada", UserRole::Admin, "link", ahead, ahead).unwrap().unwrap();
    instance.database.execute(
        "INSERT INTO clock_steps (at, clock, host, by_ms, outcome) VALUES (1, 'machine', 'here', -86400000, 'following');
         CREATE TRIGGER refuse BEFORE UPDATE OF created_at ON users BEGIN SELECT RAISE(ABORT, 'nobody may'); END;",
    );
    instance.clock.set(0);
    instance.start(&["innkeeper"], true);
    instance.live_until("it is told", &["healthy"], || instance.told("cannot be moved back") == 1);
    let text = instance.sink.requests().last().unwrap().json()["text"].to_string();
    assert!(text.contains("nobody may"), "{text}");
    instance.live_until("the sweeper's work counts as not done", &["healthy"], || {
        instance
            .database
            .count("nodes WHERE unable = 'sweeper' AND problem LIKE 'nothing has been judged since %'")
            == 1
    });
    assert_eq!(instance.alerts("silent"), 0, "nothing is judged");
    instance.database.execute("DROP TRIGGER refuse");
    instance.live_until("that is told", &["healthy"], || instance.told("are moved back again") == 1);
    instance.the_silent_is_told_about_and_the_healthy_is_not();
    instance.live(14, &["healthy"]);
    assert_eq!(instance.told("There is no"), 0, "{:?}", instance.subjects());
    assert_eq!(instance.told("cannot be moved back"), 1, "{:?}", instance.subjects());
}

#[test]
fn a_node_whose_own_clock_jumps_follows_the_database_and_says_so() {
    let instance =
        Instance::open(TestDatabase::postgres(), &["ingest", "sweeper"], FakeClock::ahead(0), true);
    instance.live(3, &["healthy", "silent"]);
    instance.clock.set(DAY);
    instance.live_until("it is told, once for the machine", &["healthy"], || {
        instance.told("jumped 1 day ahead") == 1
    });
    instance.the_silent_is_told_about_and_the_healthy_is_not();
    assert!(instance.last_step(DAY, "ignored"), "{:?}", instance.steps());
    assert!(instance.ahead() < 30);
    assert_eq!(instance.told("jumped"), 1);
}

#[test]
fn the_databases_clock_a_day_ahead_and_back_moves_all_nodes_and_accuses_nobody() {
    let clock = FakeClock::ahead(0);
    let cluster = Cluster::start_with(clock.variables());
    let instance =
        Instance::open(TestDatabase::postgres_in(&cluster.url()), &["ingest", "sweeper"], clock, false);
    let both = ["healthy", "silent"];
    instance.live(3, &both);
    instance.clock.set(DAY);
    instance.live(4, &both);
    instance.clock.set(0);
    instance.live_until("nothing was moved", &both, || instance.last_step(DAY, "returned"));
    assert!(instance.ahead() < 30);
    instance.clock.set(DAY);
    instance.live_until("it is followed", &both, || instance.last_step(DAY, "followed"));
    instance.live(4, &both);
    assert!(instance.ahead() > DAY / 2);
    instance.clock.set(0);
    instance.live_until("it is followed back", &both, || instance.last_step(-DAY, "followed"));
    wait_until("what was stamped ahead is moved back", || instance.ahead() < 30);
    assert_eq!(instance.alerts("silent"), 0, "{:?}", instance.subjects());
    instance.the_silent_is_told_about_and_the_healthy_is_not();
    assert_eq!(
        instance.told("The database's clock jumped"),
        3,
        "once for both nodes: {:?}",
        instance.subjects()
    );
}
