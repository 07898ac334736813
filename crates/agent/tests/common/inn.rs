//! A real Innkeeper over SQLite.

use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::Server;
use serde_json::Value;

use super::{PATIENCE, wait_for};

/// A running Innkeeper.
pub struct Inn {
    pub server: Server,
    pub database: TestDatabase,
    pub client: Client,
}

impl Inn {
    pub fn open(config: &str) -> Self {
        Self::at("127.0.0.1:0", config)
    }

    /// Starts Innkeeper at this address.
    pub fn at(address: &str, config: &str) -> Self {
        let database = TestDatabase::sqlite();
        let arguments = ["--listen", address, "--database-url", database.url()];
        let server = Server::start("innkeeper", config, &arguments);
        Self { server, client: Client::new(PATIENCE), database }
    }

    pub fn url(&self) -> String {
        self.server.url("")
    }

    pub fn ask(&self, path: &str) -> Value {
        let answer = self.client.get(&self.server.url(path));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// The id of the reservation. Waits, because lists may lag behind by a moment.
    pub fn id(&self, component: &str) -> Value {
        let mut found = None;
        wait_for("the reservation", || {
            let all = self.ask("/api/v1/reservations");
            let listed = all["reservations"].as_array().unwrap();
            found = listed.iter().find(|one| one["component"] == component).map(|one| one["id"].clone());
            found.is_some()
        });
        found.unwrap()
    }

    pub fn reservation(&self, component: &str) -> Value {
        self.ask(&format!("/api/v1/reservations/{}", self.id(component)))
    }

    /// Newest first.
    pub fn history(&self, component: &str) -> Vec<Value> {
        let id = self.id(component);
        let answer = self.ask(&format!("/api/v1/reservations/{id}/check-ins?limit=200"));
        answer["checkins"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
    }

    pub fn kinds(&self, component: &str) -> Vec<String> {
        let newest_first = self.history(component);
        newest_first.iter().rev().map(|one| one["kind"].as_str().unwrap().to_owned()).collect()
    }
}
