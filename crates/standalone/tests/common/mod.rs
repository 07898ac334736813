//! Innkeeper's programs over real HTTP, in both of their shapes: what a test says of one must hold of the other.

#![allow(dead_code, reason = "each test uses its part")]

pub mod instance;
#[cfg(feature = "openid")]
pub mod openid;
#[cfg(feature = "openid")]
pub mod openid_instance;
pub mod programs;
pub mod raw;
pub mod refusal;
pub mod visitor;
pub mod ways;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::{HttpSink, Received};
use innkeeper_testing::process::{PATIENCE, Server};
use serde_json::{Value, json};

/// What runs, and over which database.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// `innkeeper` over SQLite.
    Standalone,
    /// `ingest`, `sweeper` and `web` over Postgres.
    Split,
}

/// Makes two tests of each function: `standalone::name` and `split::name`.
#[macro_export]
macro_rules! in_both_shapes {
    ($($test:ident),* $(,)?) => {
        mod standalone {
            $(#[test] fn $test() { super::$test($crate::common::Shape::Standalone); })*
        }
        mod split {
            $(#[test] fn $test() { super::$test($crate::common::Shape::Split); })*
        }
    };
}

/// A running Innkeeper.
pub struct Inn {
    /// Ingest (or all), and then the others. They end before their database does.
    servers: Vec<Server>,
    /// Where jobs call.
    pub ingest: SocketAddr,
    /// Where people ask.
    pub web: SocketAddr,
    pub client: Client,
    pub database: TestDatabase,
}

impl Inn {
    /// Innkeeper with nothing configured.
    pub fn open(shape: Shape) -> Self {
        Self::with(shape, "")
    }

    /// Innkeeper with `config`, which says nothing of addresses and databases.
    pub fn with(shape: Shape, config: &str) -> Self {
        match shape {
            Shape::Standalone => Self::over(TestDatabase::sqlite(), shape, config),
            Shape::Split => Self::over(TestDatabase::postgres(), shape, config),
        }
    }

    /// The same over `database`.
    pub fn over(database: TestDatabase, shape: Shape, config: &str) -> Self {
        let database_url = ["--database-url", database.url()];
        let listen = ["--listen", "127.0.0.1:0"];
        let start = |name: &str, listens: bool| {
            let arguments = [database_url, listen].concat();
            Server::start(name, config, if listens { &arguments } else { &arguments[..2] })
        };
        let servers = match shape {
            Shape::Standalone => vec![start("innkeeper", true)],
            Shape::Split => vec![start("ingest", true), start("web", true), start("sweeper", false)],
        };
        let ingest = servers[0].address();
        let web = servers.get(1).map_or(ingest, Server::address);
        if let Some(sweeper) = servers.get(2) {
            sweeper.wait_for_log("watching over");
        }
        Self { servers, ingest, web, client: Client::default(), database }
    }

    /// Has every process read `config` in place of what it has.
    pub fn reload(&self, config: &str) {
        let count = |server: &Server| server.log().matches("the configuration is read").count();
        for server in &self.servers {
            let before = count(server);
            std::fs::write(server.directory().join("innkeeper.toml"), config).expect("it works");
            server.signal("HUP");
            eventually("the configuration is read", || (count(server) > before).then_some(()));
        }
    }

    /// Has every process stop.
    pub fn terminate(&mut self) {
        for server in &mut self.servers {
            assert!(server.terminate(PATIENCE).success());
        }
    }

    /// The URL of `path` where jobs call.
    pub fn at_ingest(&self, path: &str) -> String {
        format!("http://{}{path}", self.ingest)
    }

    /// The URL of `path` where people ask.
    pub fn at_web(&self, path: &str) -> String {
        format!("http://{}{path}", self.web)
    }

    /// GET from where people ask.
    pub fn read(&self, path: &str) -> Response {
        self.client.get(&self.at_web(path))
    }

    /// POST of JSON to where jobs call.
    pub fn post(&self, path: &str, body: &Value) -> Response {
        self.client.post(&self.at_ingest(path), body)
    }

    /// GET from where jobs call.
    pub fn call(&self, path: &str) -> Response {
        self.client.get(&self.at_ingest(path))
    }

    /// Any request to where jobs call.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.client
            .send(method, &self.at_ingest(path), headers, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Reserves `app`/`component` every minute, with more or other fields in `more`.
    pub fn reserve(&self, app: &str, component: &str, more: Value) {
        let mut body = json!({ "app": app, "component": component });
        if more.get("cron").or(more.get("calendar")).is_none() {
            body["frequency"] = json!(1);
            body["time_units"] = json!("minutes");
        }
        for (field, value) in more.as_object().expect("fields") {
            body[field] = value.clone();
        }
        let answer = self.post("/reservation", &body);
        assert_eq!((answer.status, answer.body.as_str()), (200, "\"OK\""), "{body}");
    }

    /// Checks in by GoTel's call.
    pub fn check_in(&self, app: &str, component: &str) {
        let answer = self.post("/checkin", &json!({ "app": app, "component": component }));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// All reservations as GoTel shows them.
    pub fn jobs(&self) -> Vec<Value> {
        let shown = self.read("/reservation").json();
        assert_eq!(shown["success"], true, "{shown}");
        shown["result"].as_array().expect("a list").clone()
    }

    /// A reservation as GoTel shows it.
    pub fn job(&self, app: &str, component: &str) -> Value {
        let jobs = self.jobs();
        let found = jobs.iter().find(|job| job["app"] == app && job["component"] == component);
        found.unwrap_or_else(|| panic!("{app}/{component} in {jobs:?}")).clone()
    }

    /// The path of a reservation's ping address: `/ping/<uuid>`.
    pub fn ping_path(&self, app: &str, component: &str) -> String {
        let job = self.job(app, component);
        let url = job["ping_url"].as_str().expect("a URL");
        let at = url.find("/ping/").expect("a ping address");
        assert!(url.starts_with("http://127.0.0.1:"), "{url}");
        url[at..].to_owned()
    }

    /// Moves the past instead of waiting.
    pub fn age(&self, by: Duration) {
        self.database.age(by);
    }

    /// Everything that requests can change, as text: equal before and after means that nothing was written.
    pub fn everything(&self) -> Vec<String> {
        let tables = ["reservations", "states", "runs", "checkins", "alerts", "deliveries", "ping_keys"];
        let counts: String =
            tables.map(|table| format!(" UNION ALL SELECT '{table}: ' || COUNT(*) FROM {table}")).concat();
        let mut all = self.database.texts(&format!(
            "SELECT r.id || '|' || r.app || '|' || r.component || '|' || r.notify || '|' || r.owner || '|' || r.alert_msg
                 || '|' || r.updated_at || '|' || s.checkins || '|' || s.fails || '|' || s.last_source
                 || '|' || COALESCE(s.last_seen_at, 0) || '|' || COALESCE(s.snoozed_until, 0)
             FROM reservations r JOIN states s ON s.reservation_id = r.id{counts}"
        ));
        all.sort();
        all
    }

    /// What the processes have printed.
    pub fn logs(&self) -> String {
        self.servers.iter().map(Server::log).collect()
    }
}

/// Asks until `found` finds something; panics when it does not come.
pub fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < end, "{what}: it did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A webhook in a sink: the configuration of the alerter `name` that posts there.
pub fn webhook(name: &str, sink: &HttpSink) -> String {
    format!("[alerter.{name}]\nkind = \"webhook\"\nurl = \"{}\"\n", sink.url("/hook"))
}

/// What a sink has been told: event and reservation of each notice, in the order they came.
pub fn events(sink: &HttpSink) -> Vec<String> {
    sink.requests().iter().map(|request| event(&request.json())).collect()
}

/// Event and reservation of a notice: `opened shop/backup`.
pub fn event(notice: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let alert = &notice["alert"];
    format!("{} {}/{}", text(&notice["event"]), text(&alert["app"]), text(&alert["component"]))
}

/// Waits until the sink has been told `count` times; the notices.
pub fn notices(sink: &HttpSink, count: usize) -> Vec<Value> {
    sink.wait_for(count, PATIENCE).iter().map(Received::json).collect()
}
