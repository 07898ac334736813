//! Monitoring of the monitors: real processes die, and the others report it.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::Duration;

use common::parts::{Parts, done};
use common::*;
use innkeeper_alerter::Alerters;
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::reservation::Patch;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::{Clock as _, SystemClock};
use innkeeper_node::heartbeat::Singleton;
use innkeeper_node::{Config, Role};
use innkeeper_sweeper::messages::MessageComposer;
use innkeeper_sweeper::summary;
use innkeeper_sweeper::summary_loop::Summaries;
use innkeeper_testing::client::Client;
use innkeeper_testing::cluster::Cluster;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::process::{PATIENCE, Server};
use serde_json::Value;

/// An installation whose operator is the webhook `hook`.
fn operated(database: &TestDatabase, sink: &HttpSink) -> String {
    config(database, &webhook("hook", sink, "")).replace("operator = [\"log\"]", "operator = [\"hook\"]")
}

/// What the operator was told so far.
fn subjects(sink: &HttpSink) -> Vec<String> {
    let subject = |request: &innkeeper_testing::http_sink::Received| {
        request.json()["subject"].as_str().unwrap().to_owned()
    };
    sink.requests().iter().map(subject).collect()
}

fn told(sink: &HttpSink, what: &str) -> usize {
    subjects(sink).iter().filter(|subject| subject.contains(what)).count()
}

fn get(server: &Server, path: &str) -> Value {
    let answer = Client::default().get(&server.url(path));
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn who_dies_is_missed_once_by_those_who_live_and_who_says_goodbye_is_not() {
    let sink = HttpSink::start();
    let database = TestDatabase::postgres();
    database.store();
    let config = operated(&database, &sink);
    let mut ingests = [Server::start("ingest", &config, &[]), Server::start("ingest", &config, &[])];
    let sweepers = [Server::start("sweeper", &config, &[]), Server::start("sweeper", &config, &[])];
    let web = Server::start("web", &format!("{config}\n[web]\nlisten = \"127.0.0.1:0\""), &[]);
    wait_until("all have beaten", || database.count("nodes") == 5);
    web.address();
    ingests[0].address();

    // One of each kind stops in order, one dies.
    let [mut first, mut second] = sweepers;
    assert!(first.terminate(PATIENCE).success());
    wait_until("it said goodbye", || database.count("nodes WHERE goodbye_at IS NOT NULL") == 1);
    second.kill();
    ingests[1].kill();
    wait_until("the operator hears of the dead", || {
        told(&sink, "A node is gone: sweeper") == 1 && told(&sink, "A node is gone: ingest") == 1
    });
    wait_until("nobody watches any more", || told(&sink, "There is no sweeper") == 1);
    assert_eq!(told(&sink, "There is no ingest"), 0, "one is left");

    let again = Server::start("sweeper", &config, &[]);
    wait_until("somebody does", || told(&sink, "There is a sweeper again") == 1);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(subjects(&sink).len(), 4, "{:?}", subjects(&sink));
    let shown = get(&web, "/nodes");
    let states: Vec<(&str, &str)> = shown["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (node["role"].as_str().unwrap(), node["state"].as_str().unwrap()))
        .collect();
    let count = |role, state| states.iter().filter(|known| **known == (role, state)).count();
    assert_eq!((count("ingest", "alive"), count("ingest", "silent")), (1, 1), "{shown}");
    assert_eq!(
        (count("sweeper", "alive"), count("sweeper", "silent"), count("sweeper", "stopped")),
        (1, 1, 1)
    );
    assert_eq!(count("web", "alive"), 1);
    drop(again);
}

#[test]
fn a_process_that_was_restarted_tells_that_the_database_answers_of_which_the_last_told_that_it_does_not() {
    let sink = HttpSink::start();
    let cluster = Cluster::start();
    let database = TestDatabase::postgres_in(&cluster.url());
    database.store();
    let config = operated(&database, &sink);
    let mut sweeper = Server::start("sweeper", &config, &[]);
    std::fs::create_dir(sweeper.directory().join("innkeeper-data")).unwrap();
    wait_until("it has beaten", || database.count("nodes") == 1);
    cluster.stop();
    wait_until("it tells", || told(&sink, "The database is out of reach") == 1);
    sweeper.kill();
    cluster.resume();
    let mut again = Server::start_in(sweeper.into_directory(), "sweeper", &config, &[]);
    wait_until("the next tells the end", || told(&sink, "The database answers again") == 1);
    again.terminate(PATIENCE);
    let last = Server::start_in(again.into_directory(), "sweeper", &config, &[]);
    last.wait_for_log("watching over");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(told(&sink, "The database"), 2, "once: {:?}", subjects(&sink));
}

#[test]
fn each_node_tells_once_that_the_database_is_out_of_reach_and_that_it_answers_again() {
    let sink = HttpSink::start();
    let cluster = Cluster::start();
    let database = TestDatabase::postgres_in(&cluster.url());
    database.store();
    let config = operated(&database, &sink);
    let nodes = [Server::start("ingest", &config, &[]), Server::start("sweeper", &config, &[])];
    wait_until("both have beaten", || database.count("nodes") == 2);
    cluster.stop();
    let stopped = std::time::Instant::now();
    // One more that finds no database when it starts.
    let late = Server::start("web", &format!("{config}\n[web]\nlisten = \"127.0.0.1:0\""), &[]);
    wait_until("all three tell", || told(&sink, "The database is out of reach") == 3);
    assert!(stopped.elapsed() < Duration::from_secs(30), "{:?}", stopped.elapsed());
    cluster.resume();
    wait_until("all three tell again", || told(&sink, "The database answers again") == 3);
    late.wait_for_log("listening on");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(told(&sink, "The database"), 6, "{:?}", subjects(&sink));
    assert_eq!(told(&sink, "There is no") + told(&sink, "A node is gone"), 0, "all were away together");
    drop(nodes);
}

#[test]
fn the_heartbeat_goes_out_while_all_is_well() {
    let (database, sink, outside) = (TestDatabase::postgres(), HttpSink::start(), HttpSink::start());
    let heartbeat = format!("[heartbeat]\nurl = \"{}\"\nevery = \"1s\"\n", outside.url("/ping/secret"));
    let sweeper = Server::start("sweeper", &format!("{}\n{heartbeat}", operated(&database, &sink)), &[]);
    wait_until("it goes out", || outside.requests().len() >= 3);
    database.execute("INSERT INTO checks VALUES ('mail', 'lost', 'gone', 0, 0)");
    sweeper.wait_for_log("no heartbeat goes out: mail problem");
    let so_far = outside.requests().len();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(outside.requests().len(), so_far);
    database.execute("UPDATE checks SET state = 'ok'");
    wait_until("it goes out again", || outside.requests().len() > so_far);
    assert!(!sweeper.log().contains("secret"));
}

#[test]
fn the_lease_moves_when_its_holder_dies_and_at_once_when_it_stops() {
    let database = TestDatabase::postgres();
    let config = config(&database, "");
    let start = || Server::start("innkeeper", &config, &[]);
    let holds = |server: &Server| get(server, "/is-coordinator") == Value::Bool(true);
    let mut first = start();
    wait_until("it takes the lease", || holds(&first));
    let mut second = start();
    second.wait_for_log("listening on");
    assert!(!holds(&second));
    assert!(
        get(&second, "/nodes")["nodes"].as_array().unwrap().iter().any(|node| node["coordinator"] == true)
    );
    first.kill();
    let died = std::time::Instant::now();
    wait_until("the other takes it", || holds(&second));
    assert!(died.elapsed() < Duration::from_secs(10), "{:?}", died.elapsed());
    let third = start();
    third.wait_for_log("listening on");
    assert!(second.terminate(PATIENCE).success());
    let stopped = std::time::Instant::now();
    wait_until("the third need not wait", || holds(&third));
    assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
}

#[test]
fn after_a_power_cut_nobody_is_told_about_a_healthy_job_and_late_of_a_silent_one() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        let config = operated(&database, &sink);
        let mut inn = Server::start("innkeeper", &config, &[]);
        let client = Client::default();
        let post = |inn: &Server, path: &str, body: Value| {
            assert_eq!(client.post(&inn.url(path), &body).status, 200);
        };
        for job in ["healthy", "silent"] {
            let body = serde_json::json!({
                "app": "shop", "component": job, "owner": "me", "notify": "hook", "frequency": 1, "time_units": "minutes",
                "grace": "30s",
            });
            post(&inn, "/reservation", body);
            post(&inn, "/checkin", serde_json::json!({ "app": "shop", "component": job }));
        }
        wait_until("it has beaten", || database.count("duties") == 3);
        inn.kill();
        database.age_asleep(Duration::from_secs(3 * 3600));
        let inn = Server::start("innkeeper", &config, &[]);
        inn.wait_for_log("No check-in could be recorded");
        wait_until("the operator hears of it", || told(&sink, "Innkeeper was blind") == 1);
        database.age(Duration::from_secs(45));
        post(&inn, "/checkin", serde_json::json!({ "app": "shop", "component": "healthy" }));
        settle(&database);
        assert_eq!(database.count("alerts"), 0, "each has another minute, and its grace");
        database.age(Duration::from_secs(46));
        wait_until("the silent one is told", || told(&sink, "shop/silent") == 1);
        let alert = &sink.requests().into_iter().find(|request| request.json()["alert"].is_object()).unwrap();
        let reason = alert.json()["alert"]["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains("may have been lost"), "{reason}");
        assert_eq!(told(&sink, "shop/healthy"), 0);
    }
}

#[test]
fn the_summary_goes_out_at_its_time_once_and_not_at_the_first_look() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        let parts = Parts::new(&database, "hook", &webhook("hook", &sink, "summary = true"));
        let config =
            Config::from_toml(Role::Sweeper, &config(&database, &webhook("hook", &sink, "summary = true")))
                .unwrap();
        let alerters = Alerters::build(&config.alerters, parts.clock.clone()).unwrap();
        let summaries = Summaries {
            store: (*parts.store).clone(),
            clock: parts.clock.clone(),
            singleton: Singleton::new((*parts.store).clone(), "me", parts.clock.clone()),
            composer: MessageComposer::new(&config, &innkeeper_node::KnownWays::of(&config)),
            ways: summary::ways(&alerters, &config.operator),
            schedule: Schedule::cron("0 * * * *", "UTC").unwrap(),
        };
        assert!(!summaries.send_if_due().unwrap());
        parts.advance(3600);
        assert!(summaries.send_if_due().unwrap());
        assert!(!summaries.send_if_due().unwrap(), "once");
        assert_eq!(parts.dispatch(), done(1, 1));
        let requests = sink.requests();
        assert_eq!(requests.len(), 1);
        assert!(requests[0].json()["subject"].as_str().unwrap().starts_with("Summary: "));
        parts.advance(3600);
        assert!(summaries.send_if_due().unwrap(), "and each time again");
    }
}

#[test]
fn innkeepers_own_duties_are_no_reservations_and_can_be_snoozed() {
    for database in TestDatabase::both() {
        database.store();
        // As if the last web node had stopped an hour ago, and the last sweeper, of which nobody wants to hear.
        let now = SystemClock.now().timestamp_millis();
        database.execute(&format!(
            "INSERT INTO duties (name, beat_at, snoozed_until)
             VALUES ('web', {0}, NULL), ('sweeper', {0}, {1})",
            now - 3_600_000,
            now + 3_600_000
        ));
        let sink = HttpSink::start();
        let _ingest = Server::start("ingest", &operated(&database, &sink), &[]);
        sink.wait_for(1, PATIENCE);
        assert_eq!((told(&sink, "There is no web"), told(&sink, "There is no sweeper")), (1, 0));
        assert_eq!(database.count("reservations"), 0, "they stand among those of nobody");
        database.execute(&format!("UPDATE duties SET snoozed_until = {now} WHERE name = 'sweeper'"));
        sink.wait_for(2, PATIENCE);
        assert_eq!(told(&sink, "There is no sweeper"), 1, "the snooze is over, and there still is none");
    }
}

#[test]
fn reservations_that_a_node_of_an_older_version_has_made_go_before_they_alert() {
    for database in TestDatabase::both() {
        let store = database.store();
        let names =
            |component| (AppName::parse("innkeeper").unwrap(), ComponentName::parse(component).unwrap());
        let patch = |about: &str| Patch {
            schedule: Some((Schedule::every(chrono::TimeDelta::seconds(60)).unwrap(), None)),
            owner: Some("Innkeeper".to_owned()),
            description: Some(about.to_owned()),
            ..Patch::default()
        };
        let now = SystemClock.now();
        for (component, about) in [("ingest", "Whether a node does the work of ingest"), ("web", "Ours")] {
            let (app, component) = names(component);
            store.reserve(&app, &component, &patch(about), now).unwrap();
        }
        // Such a node writes no entry of it.
        database.execute("DELETE FROM audit");
        let sweeper = Server::start("sweeper", &config(&database, ""), &[]);
        sweeper.wait_for_log("innkeeper/ingest is removed");
        assert_eq!(database.texts("SELECT component FROM reservations"), ["web"], "what somebody made stays");
        assert_eq!(database.count("alerts"), 0);
    }
}
