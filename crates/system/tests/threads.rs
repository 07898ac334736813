//! Tests Innkeeper under a user with a low limit of threads: whichever thread cannot be started, the process either works
//! or ends with a reason. It never keeps running without working.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::time::{Duration, Instant};

use innkeeper_system::mount::run;
use innkeeper_testing::client::Client;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::process::{PATIENCE, Server};
use serde_json::json;

/// A user id that nobody else uses, so that other processes do not count.
const USER: u32 = 61_907;
/// More threads than the standalone program needs.
const MOST: usize = 120;

/// Whether it accepts a check-in, is ready, and reports a silent job. A missing or unexpected answer counts as no.
fn works(server: &Server) -> Option<bool> {
    let client = Client::new(Duration::from_secs(5));
    let address = server.log().split_once("listening on http://")?.1.lines().next()?.trim().to_owned();
    let post = |path: &str, body: serde_json::Value| {
        let headers = [("content-type", "application/json")];
        let url = format!("http://{address}{path}");
        client
            .send("POST", &url, &headers, body.to_string().as_bytes())
            .is_ok_and(|answer| answer.status == 200)
    };
    let job = json!({
        "app": "shop", "component": "silent", "notify": "log", "frequency": 1, "time_units": "seconds",
    });
    let ready = client.send("GET", &format!("http://{address}/readyz"), &[], b"");
    let taken =
        post("/reservation", job) && post("/checkin", json!({ "app": "shop", "component": "silent" }));
    if !taken || ready.map_or(0, |answer| answer.status) != 200 {
        return Some(false);
    }
    let end = Instant::now() + Duration::from_secs(15);
    while Instant::now() < end {
        if server.log().contains("shop/silent") {
            return Some(true);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(false)
}

/// Whether it ends within the time limit of a stop.
fn ends(server: &mut Server) -> bool {
    let end = Instant::now() + Duration::from_secs(30);
    while !server.has_ended() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    server.has_ended()
}

#[test]
fn with_however_few_threads_it_works_or_ends_and_says_why() {
    let config = "operator = [\"log\"]\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n";
    let mut working = 0;
    for most in 1..=MOST {
        let mut server = Server::start_with_threads(USER, most, "innkeeper", config, &[]);
        let end = Instant::now() + PATIENCE;
        let outcome = loop {
            if server.has_ended() {
                break None;
            }
            match works(&server) {
                None => assert!(Instant::now() < end, "{most}: neither\n{}", server.log()),
                // The process may be ending at this moment.
                Some(false) if ends(&mut server) => break None,
                works => break works,
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        println!("{most}: {outcome:?} {}", server.log().lines().last().unwrap_or_default());
        match outcome {
            Some(works) => {
                assert!(works, "{most}: it lives and does not work\n{}", server.log());
                working += 1;
            }
            None => {
                let status = server.wait_for_end(PATIENCE);
                assert!(!status.success(), "{most}: {status}");
                assert!(
                    server.log().contains("temporarily unavailable"),
                    "{most}: no reason\n{}",
                    server.log()
                );
                working = 0;
            }
        }
        if working == 3 {
            println!("it works from {} threads on", most - 2);
            return;
        }
    }
    panic!("it does not work with {MOST}");
}

/// Sets how many threads the process may have from now on; existing threads stay.
fn allow(server: &Server, most: usize) {
    let user = format!("--reuid={USER}");
    let (pid, limit) = (server.pid().to_string(), format!("--nproc={most}:{MOST}"));
    run("setpriv", &[&user, "--regid=nogroup", "--clear-groups", "prlimit", "--pid", &pid, &limit]);
}

#[test]
fn senders_that_cannot_be_started_are_told_and_started_when_they_can_be() {
    let sink = HttpSink::start();
    let config = "operator = [\"log\"]\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n";
    let hook = format!("[alerter.hook]\nkind = \"webhook\"\nurl = \"{}\"\n", sink.url("/hook"));
    let server = Server::start_with_threads(USER, MOST, "innkeeper", config, &[]);
    server.address();
    assert_eq!(works(&server), Some(true), "{}", server.log());
    allow(&server, 1);
    let text = format!("{config}{hook}").replace("[\"log\"]", "[\"log\", \"hook\"]");
    std::fs::write(server.directory().join("innkeeper.toml"), text).unwrap();
    server.signal("HUP");
    let told = |what: &str| {
        sink.requests().iter().filter(|one| one.json()["subject"].to_string().contains(what)).count()
    };
    let wait_for = |what: &str| {
        let end = Instant::now() + PATIENCE;
        while told(what) == 0 {
            assert!(Instant::now() < end, "this does not come: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    // Messages to the operator reach the log first, which needs no thread.
    server.wait_for_log("operator: Not every alerter has its senders");
    let client = Client::default();
    let job = |path: &str, notify: &str| {
        let body = json!({
            "app": "shop", "component": "waits", "notify": notify, "frequency": 1, "time_units": "seconds",
        });
        client.post(&server.url(path), &body)
    };
    // The requests of the pages share the existing threads.
    assert_eq!(job("/reservation", "hook").status, 200);
    assert_eq!(client.get(&server.url("/readyz")).status, 200);
    let end = Instant::now() + PATIENCE;
    while !server.log().contains("shop/waits") {
        assert!(Instant::now() < end, "{}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(sink.requests().len(), 0, "nobody can send it");
    std::thread::sleep(Duration::from_secs(11));
    assert_eq!(client.get(&server.url("/readyz")).status, 200, "threads that rest do not all end");

    allow(&server, MOST);
    wait_for("Every alerter has its senders again");
    wait_for("waits");
    wait_for("Not every alerter has its senders");
    assert_eq!(told("Not every alerter has its senders"), 1);
}
