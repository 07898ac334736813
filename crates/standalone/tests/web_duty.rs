//! The duty `web` counts as done if pages can read their data, not merely if a process lives.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::time::{Duration, Instant};

use innkeeper_store::DatabaseKind;
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::{PATIENCE, Server};

fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < end, "this does not come: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn pages_that_cannot_be_made_are_a_duty_that_is_not_done() {
    for database in TestDatabase::both() {
        database.store();
        let (web, others) = match database.kind() {
            DatabaseKind::Sqlite => ("innkeeper", None),
            // Who shows the nodes while a page shows nothing.
            DatabaseKind::Postgres => ("web", Some("ingest")),
        };
        let config = format!(
            "operator = [\"log\"]\n[database]\nurl = \"{}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n[web]\nlisten = \"127.0.0.1:0\"\n",
            database.url()
        );
        let web = Server::start(web, &config, &[]);
        let other = others.map(|role| Server::start(role, &config, &[]));
        let ready = || Client::default().get(&web.url("/readyz"));
        let nodes = || Client::default().get(&other.as_ref().unwrap_or(&web).url("/nodes")).json();
        let is_done = || {
            let duties = nodes()["duties"].clone();
            let web = duties.as_array().unwrap().iter().find(|duty| duty["name"] == "web").cloned();
            web.is_some_and(|web| web["done"] == true)
        };
        let is_unable = || nodes()["nodes"].to_string().contains("what pages show cannot be read");
        wait_until("all is well", || ready().status == 200 && is_done() && !is_unable());

        // Nothing that heartbeats or check-ins take.
        database.execute("ALTER TABLE alerts RENAME COLUMN sentence TO said");
        assert_eq!(Client::default().get(&web.url("/api/v1/alerts")).status, 500);
        wait_until("it says that it is not ready, and why", || {
            let answer = ready();
            answer.status == 503 && answer.body.contains("cannot be read")
        });
        wait_until("the nodes page says it", is_unable);
        web.wait_for_log("Pages cannot be shown");
        wait_until("nobody does it", || !is_done());

        database.execute("ALTER TABLE alerts RENAME COLUMN said TO sentence");
        wait_until("it is ready again", || ready().status == 200);
        wait_until("and does its duty", || is_done() && !is_unable());
        web.wait_for_log("Pages can be shown again");
    }
}
