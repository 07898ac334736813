//! Messages sent to the operator directly through the alerters: one that hangs does not delay the others, and a stop
//! sends those that wait.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]
#![allow(dead_code, reason = "it uses a part of what the tests share")]

mod common;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use common::{Word, config, webhook};
use innkeeper_core::SystemClock;
use innkeeper_node::heartbeat::Operator;
use innkeeper_node::{Config, Role, Shutdown, SupervisedThread};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::{HttpSink, SinkResponse};
use innkeeper_testing::process::PATIENCE;

fn start(alerters: &str, operator: &str, shutdown: &Shutdown) -> (Operator, SupervisedThread) {
    let text = config(&TestDatabase::sqlite(), alerters)
        .replace("operator = [\"log\"]", &format!("operator = [{operator}]"));
    let config = Config::from_toml(Role::Sweeper, &text).unwrap();
    Operator::start(&config, Role::Sweeper, Arc::new(SystemClock), shutdown).unwrap()
}

#[test]
fn an_alerter_that_hangs_holds_up_no_other_at_work_or_at_a_stop() {
    // Connections are taken by the system, and nobody reads from them.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let (sink, shutdown) = (HttpSink::start(), Shutdown::new());
    let url = format!("http://{}/", hanging.local_addr().unwrap());
    let dead = format!("[alerter.adead]\nkind = \"webhook\"\nurl = \"{url}\"\ntimeout = \"60s\"\n");
    let both = format!("{dead}{}", webhook("hook", &sink, ""));
    let (operator, part) = start(&both, "\"adead\", \"hook\"", &shutdown);
    // More than may wait.
    for n in 0..140 {
        operator.tell(Word(format!("word {n}")));
        if n % 20 == 19 {
            sink.wait_for(n + 1, PATIENCE);
        }
    }
    operator.tell(Word("the last word".to_owned()));
    shutdown.request();
    let said = || sink.requests().iter().any(|one| one.json()["subject"] == "the last word");
    common::wait_until("it is sent at the stop", said);
    part.join_within(Duration::from_millis(100)).unwrap();
}

#[test]
fn a_stop_tries_each_message_that_waits_once() {
    let (sink, shutdown) = (HttpSink::start(), Shutdown::new());
    let (operator, part) = start(&webhook("hook", &sink, ""), "\"hook\"", &shutdown);
    sink.otherwise(SinkResponse::status(503));
    for n in 0..3 {
        operator.tell(Word(format!("waits {n}")));
    }
    sink.wait_for(3, PATIENCE);
    sink.otherwise(SinkResponse::status(200));
    for n in 0..5 {
        operator.tell(Word(format!("comes {n}")));
    }
    shutdown.request();
    part.join_within(PATIENCE).unwrap();
    let subjects: Vec<String> = sink
        .requests()
        .iter()
        .skip(3)
        .map(|one| one.json()["subject"].as_str().unwrap().to_owned())
        .collect();
    for n in 0..3 {
        assert!(subjects.contains(&format!("waits {n}")), "{subjects:?}");
    }
    for n in 0..5 {
        let subject = format!("comes {n}");
        assert_eq!(subjects.iter().filter(|one| **one == subject).count(), 1, "{subjects:?}");
    }
}
