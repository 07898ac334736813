//! The health that an instance reports to its peers: it depends on the sweeps, the writing of check-ins, and the mail.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::Duration;

use chrono::TimeDelta;
use common::*;
use innkeeper_core::duty::{Duty, DutyPart};
use innkeeper_core::peer::PeerHealth;
use innkeeper_core::{Clock, SystemClock};
use innkeeper_node::health::health;
use innkeeper_store::{Node, NodeHeartbeat, Work};
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::Server;

#[test]
fn peers_hear_of_jobs_that_are_not_watched_and_of_mail_that_does_not_go_out() {
    for database in TestDatabase::both() {
        let store = database.store();
        let now = SystemClock.now();
        let node = Node {
            id: "a".to_owned(),
            role: "standalone".to_owned(),
            host: "here".to_owned(),
            address: String::new(),
            version: String::new(),
            started_at: now,
            offset: TimeDelta::zero(),
        };
        let beat = |failing: Option<Duty>, at| {
            let work = [Duty::Ingest, Duty::Sweeper].map(|duty| match failing == Some(duty) {
                false => Work::done(duty, at),
                true => Work {
                    done_until: at - TimeDelta::seconds(89),
                    problem: Some("it fails".to_owned()),
                    ..Work::done(duty, at)
                },
            });
            let first = at == now;
            let heartbeat = NodeHeartbeat {
                node: &node,
                work: &work,
                first,
                written_until: None,
                stopping_since: None,
                now: at,
            };
            store.record_heartbeat(&heartbeat, &|_| Vec::new()).unwrap();
        };
        let later = |seconds| now + TimeDelta::seconds(seconds);
        beat(None, now);
        assert_eq!(health(&store, later(1)).unwrap(), PeerHealth::Ok);
        for (duty, at) in [(Duty::Ingest, 90), (Duty::Sweeper, 290)] {
            beat(None, later(at - 89));
            beat(Some(duty), later(at));
            assert_eq!(
                health(&store, later(at + 1)).unwrap(),
                PeerHealth::JobsProblem,
                "{duty}: the node lives"
            );
            beat(None, later(at + 2));
            assert_eq!(health(&store, later(at + 3)).unwrap(), PeerHealth::Ok);
        }
        let put = |key: &str, state: &str, recipient: &str, created: i64, finished: Option<i64>| {
            let ms = |seconds: i64| later(seconds).timestamp_millis();
            let finished = finished.map_or("NULL".to_owned(), |at| ms(at).to_string());
            database.execute(&format!(
                "INSERT INTO deliveries (event, alerter, recipient, notice, key, state, next_at, created_at, attempts, finished_at)
                 VALUES ('opened', 'post', '{recipient}', '{{}}', '{key}', '{state}', {0}, {0}, 3, {finished})",
                ms(created)
            ));
        };
        put("a", "waiting", "a@example.org", -200, None);
        assert_eq!(health(&store, later(293)).unwrap(), PeerHealth::Ok, "not ten minutes yet");
        put("b", "waiting", "b@example.org", -700, None);
        assert_eq!(health(&store, later(93)).unwrap(), PeerHealth::MailProblem);
        put("c", "delivered", "c@example.org", 0, Some(1));
        assert_eq!(health(&store, later(93)).unwrap(), PeerHealth::Ok, "others go out");
        database.execute("DELETE FROM deliveries");
        for (n, recipient) in ["d@example.org", "e@example.org", "f@example.org"].iter().enumerate() {
            assert_eq!(health(&store, later(93)).unwrap(), PeerHealth::Ok, "{n} wrong addresses");
            put(recipient, "dead", recipient, 0, Some(1));
        }
        assert_eq!(health(&store, later(93)).unwrap(), PeerHealth::MailProblem, "nobody is reached");
    }
}

#[test]
fn peers_hear_that_no_sender_can_write_what_becomes_of_messages() {
    for database in TestDatabase::both() {
        let store = database.store();
        let now = SystemClock.now();
        let later = |seconds| now + TimeDelta::seconds(seconds);
        let beat = |id: &str, sends: bool, seconds| {
            let node = Node {
                id: id.to_owned(),
                role: "sweeper".to_owned(),
                host: "here".to_owned(),
                address: String::new(),
                version: String::new(),
                started_at: now,
                offset: TimeDelta::zero(),
            };
            let mut work = Work::done(Duty::Sweeper, later(seconds));
            if !sends {
                (work.problem, work.part) = (Some("it fails".to_owned()), Some(DutyPart::Sending));
            }
            let heartbeat = NodeHeartbeat {
                node: &node,
                work: &[work],
                first: seconds == 0,
                written_until: None,
                stopping_since: None,
                now: later(seconds),
            };
            store.record_heartbeat(&heartbeat, &|_| Vec::new()).unwrap();
        };
        beat("a", true, 0);
        assert_eq!(health(&store, later(1)).unwrap(), PeerHealth::Ok);
        beat("a", false, 15);
        assert_eq!(health(&store, later(16)).unwrap(), PeerHealth::MailProblem, "nothing was tried in vain");
        beat("b", true, 17);
        assert_eq!(health(&store, later(18)).unwrap(), PeerHealth::Ok, "another sends");
        store.say_goodbye("b", later(19)).unwrap();
        assert_eq!(health(&store, later(20)).unwrap(), PeerHealth::MailProblem);
        beat("a", true, 21);
        assert_eq!(health(&store, later(22)).unwrap(), PeerHealth::Ok);
    }
}

#[test]
fn sweeps_that_fail_are_told_and_make_a_sweeper_not_ready() {
    let database = TestDatabase::postgres();
    let sink = innkeeper_testing::http_sink::HttpSink::start();
    overdue(&database, "shop", 1, "log");
    let more = webhook("hook", &sink, "") + "[sweeper]\nlisten = \"127.0.0.1:0\"\n";
    let config = config(&database, &more).replace("operator = [\"log\"]", "operator = [\"hook\"]");
    let lock = database.hold("states");
    let sweeper = Server::start("sweeper", &config, &[]);
    let ready = || Client::new(Duration::from_secs(30)).get(&sweeper.url("/readyz"));
    wait_until("it is not ready", || ready().status == 503);
    assert!(ready().body.starts_with("sweeps fail"), "{}", ready().body);
    let told = |what: &str| {
        let subject = |body: serde_json::Value| body["subject"].as_str().unwrap_or_default().to_owned();
        sink.requests().iter().filter(|request| subject(request.json()).contains(what)).count()
    };
    wait_until("the operator hears of it", || told("Sweeps fail") == 1);
    drop(lock);
    wait_until("it is ready again", || ready().status == 200);
    wait_until("the operator hears of that, too", || told("Sweeps succeed again") == 1);
    wait_until("the job is told", || database.count("alerts") == 1);
    assert_eq!(told("There is no sweeper"), 0, "there is one");
}

#[test]
fn messages_that_cannot_be_claimed_are_told_and_make_a_sweeper_not_ready() {
    for database in TestDatabase::both() {
        database.store();
        let sink = innkeeper_testing::http_sink::HttpSink::start();
        let more = webhook("hook", &sink, "");
        let config = config(&database, &more).replace("operator = [\"log\"]", "operator = [\"hook\"]");
        let innkeeper = Server::start("innkeeper", &config, &[]);
        let ready = || Client::new(Duration::from_secs(30)).get(&innkeeper.url("/readyz"));
        wait_until("it is ready", || ready().status == 200);
        let told = |what: &str| {
            let subject = |body: serde_json::Value| body["subject"].as_str().unwrap_or_default().to_owned();
            sink.requests().iter().filter(|request| subject(request.json()).contains(what)).count()
        };

        refuse(&database, "UPDATE", "deliveries");
        overdue(&database, "shop", 1, "hook");
        wait_until("the alert is there", || database.count("alerts") == 1);
        wait_until("it is not ready", || ready().status == 503);
        let why = ready().body;
        assert!(why.starts_with("messages cannot be sent") && why.contains("not today"), "{why}");
        wait_until("the operator hears of it", || told("Messages cannot be sent") == 1);
        assert_eq!(told(job(0).as_str()), 0);

        allow(&database, "deliveries");
        wait_until("the alert goes out", || told(job(0).as_str()) == 1);
        wait_until("it is ready again", || ready().status == 200);
        wait_until("the operator hears of that, too", || told("Messages can be sent again") == 1);
        assert_eq!((told("Messages cannot be sent"), told("There is no sweeper")), (1, 0));
    }
}
