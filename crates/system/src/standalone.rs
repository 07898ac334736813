//! A real Innkeeper with all roles in one process over SQLite, and queries for a machine's reservations.

use std::time::{Duration, Instant};

use innkeeper_testing::client::Client;
use innkeeper_testing::process::{PATIENCE, Server};
use serde_json::Value;

/// A running Innkeeper as described in the module's documentation.
pub struct Standalone {
    /// The process.
    pub server: Server,
    client: Client,
}

impl Default for Standalone {
    fn default() -> Self {
        Self::start()
    }
}

impl Standalone {
    /// Starts Innkeeper on a loopback port.
    pub fn start() -> Self {
        let config = "operator = [\"log\"]\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n";
        let server = Server::start("innkeeper", config, &[]);
        server.address();
        Self { server, client: Client::new(PATIENCE) }
    }

    fn ask(&self, path: &str) -> Value {
        let answer = self.client.get(&self.server.url(path));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// All reservations.
    pub fn reservations(&self) -> Vec<Value> {
        let all = self.ask("/api/v1/reservations?limit=200");
        all["reservations"].as_array().unwrap_or_else(|| panic!("{all}")).clone()
    }

    /// The names of all reservations, sorted.
    pub fn names(&self) -> Vec<String> {
        let name = |one: &Value| {
            format!("{}/{}", one["app"].as_str().unwrap_or("?"), one["component"].as_str().unwrap_or("?"))
        };
        let mut names: Vec<String> = self.reservations().iter().map(name).collect();
        names.sort();
        names
    }

    /// The reservation with this component, if there is one.
    pub fn find(&self, component: &str) -> Option<Value> {
        self.reservations().into_iter().find(|one| one["component"] == component)
    }

    /// The reservation of this component, as soon as there is one.
    pub fn reservation(&self, component: &str) -> Value {
        wait_for(&format!("a reservation of {component}"), || self.find(component))
    }

    /// What came of it, newest first.
    pub fn history(&self, component: &str) -> Vec<Value> {
        let id = &self.reservation(component)["id"];
        let answer = self.ask(&format!("/api/v1/reservations/{id}/check-ins?limit=200"));
        answer["checkins"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
    }

    /// The newest check-in of this kind of it, as soon as there is one.
    pub fn newest(&self, component: &str, kind: &str) -> Value {
        wait_for(&format!("a {kind} of {component}"), || {
            self.history(component).into_iter().find(|one| one["kind"] == kind)
        })
    }

    /// Its open alert, as soon as there is one.
    pub fn alert(&self, component: &str) -> Value {
        wait_for(&format!("an alert of {component}"), || {
            let open = self.ask("/api/v1/alerts?open=true");
            let open = open["alerts"].as_array().unwrap_or_else(|| panic!("{open}")).clone();
            open.into_iter().find(|one| one["component"] == component)
        })
    }
}

/// Asks until there is an answer; that none comes ends the test.
pub fn wait_for<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < end, "this does not come: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
