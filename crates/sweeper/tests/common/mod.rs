//! An instance under watch: a database, an ingest and a sweeper as real processes, and sinks for what they send.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod parts;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use askama::Template;
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::recipient::Recipients;
use innkeeper_core::reservation::Patch;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::{Clock, SystemClock};
use innkeeper_store::DatabaseKind;
use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::{HttpSink, Received};
use innkeeper_testing::process::{PATIENCE, Server};
use serde_json::{Value, json};

pub const HOUR: Duration = Duration::from_secs(3600);

/// A message to the operator.
#[derive(Template)]
#[template(source = "Subject: {{ self.0 }}\n\nIt is so.", ext = "txt")]
pub struct Word(pub String);

/// The configuration of every process of an instance; `more` are sections, the alerters above all.
pub fn config(database: &TestDatabase, more: &str) -> String {
    format!(
        "operator = [\"log\"]\n[database]\nurl = \"{}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n{more}\n",
        database.url()
    )
}

/// A table of the configuration that sends to `sink`.
pub fn webhook(name: &str, sink: &HttpSink, more: &str) -> String {
    format!("[alerter.{name}]\nkind = \"webhook\"\nurl = \"{}\"\n{more}\n", sink.url("/hook"))
}

/// Jobs check in at the ingest; the sweeper watches.
pub struct Instance {
    pub database: TestDatabase,
    pub ingest: Server,
    pub sweeper: Server,
    client: Client,
}

impl Instance {
    pub fn open(database: TestDatabase, more: &str) -> Self {
        Self::open_as(database, "", more)
    }

    /// The same with keys above the sections.
    pub fn open_as(database: TestDatabase, top: &str, more: &str) -> Self {
        let config = format!("{top}\n{}", config(&database, more));
        let ingest = Server::start("ingest", &config, &[]);
        let sweeper = Server::start("sweeper", &config, &[]);
        sweeper.wait_for_log("watching over");
        Self { database, ingest, sweeper, client: Client::default() }
    }

    /// Ends the sweeper, unless it is dead, and starts it with another configuration.
    pub fn restart_sweeper(&mut self, more: &str) {
        if !self.sweeper.has_ended() {
            assert!(self.sweeper.terminate(PATIENCE).success());
        }
        self.sweeper = Server::start("sweeper", &config(&self.database, more), &[]);
    }

    /// Reserves for shop/`component`, each hour unless `fields` say otherwise.
    pub fn reserve(&self, component: &str, notify: &str, fields: Value) {
        let mut body = json!({
            "app": "shop", "component": component, "owner": "test", "notify": notify,
            "frequency": 1, "time_units": "hours",
        });
        for (field, value) in fields.as_object().expect("an object") {
            body[field] = value.clone();
        }
        self.post("/reservation", &body);
    }

    pub fn check_in(&self, component: &str) {
        self.post("/checkin", &json!({ "app": "shop", "component": component, "notes": "done" }));
    }

    pub fn check_out(&self, component: &str) {
        self.post("/checkout", &json!({ "app": "shop", "component": component }));
    }

    pub fn snooze(&self, component: &str, hours: i64) {
        self.post(
            "/snooze",
            &json!({ "app": "shop", "component": component, "duration": hours, "time_units": "hours" }),
        );
    }

    /// A ping of shop/`component` by its key: `""`, `"/start"`, `"/fail"`, `"/3?rid=…"`.
    pub fn ping(&self, component: &str, action: &str) {
        let key = self
            .database
            .text(&format!("SELECT key FROM reservations WHERE component = '{component}'"))
            .expect("its reservation");
        let answer = self.client.get(&self.ingest.url(&format!("/ping/{key}{action}")));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// The same with a body.
    pub fn ping_with(&self, component: &str, action: &str, body: &str) {
        let key = self
            .database
            .text(&format!("SELECT key FROM reservations WHERE component = '{component}'"))
            .expect("its reservation");
        let url = self.ingest.url(&format!("/ping/{key}{action}"));
        let answer = self.client.send("POST", &url, &[], body.as_bytes()).expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    fn post(&self, path: &str, body: &Value) -> Response {
        let answer = self.client.post(&self.ingest.url(path), body);
        assert_eq!(answer.status, 200, "{path} {body}: {answer:?}");
        answer
    }

    /// Lets time go by, and the sweeper do what follows.
    pub fn pass(&self, by: Duration) {
        self.database.age(by);
        self.settle();
    }

    /// Waits until nothing is due, and nothing waits that could be sent.
    pub fn settle(&self) {
        settle(&self.database);
    }

    /// The events told of shop/`component` through `alerter`, in their order.
    pub fn told(&self, alerter: &str, component: &str) -> Vec<String> {
        self.database.texts(&format!(
            "SELECT d.event
             FROM deliveries d
             JOIN alerts a ON a.id = d.alert_id
             WHERE d.alerter = '{alerter}' AND a.component = '{component}'
             ORDER BY d.id"
        ))
    }
}

/// See [`Instance::settle`].
pub fn settle(database: &TestDatabase) {
    wait_until("nothing is due any more", || {
        // The processes' clocks may be some milliseconds ahead of this one, and what is due there is due.
        let now = SystemClock.now().timestamp_millis() + 250;
        database.count(&format!("states WHERE wake_at <= {now}")) == 0
            && database.count(&format!("deliveries WHERE state = 'waiting' AND next_at <= {now}")) == 0
    });
}

/// The same; what gathers for people who are told in digests goes out, too.
pub fn settle_gathered(database: &TestDatabase) {
    let end = Instant::now() + PATIENCE;
    loop {
        settle(database);
        if database.count("deliveries WHERE state = 'waiting'") == 0 {
            return;
        }
        assert!(Instant::now() < end, "something gathers for ever");
        database.age(Duration::from_secs(10));
    }
}

pub fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < end, "this does not come: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Puts `count` hourly reservations of `app` into the database, named `job-000` and on, as old as they must be to be overdue.
pub fn overdue(database: &TestDatabase, app: &str, count: usize, notify: &str) {
    let store = database.store();
    let patch = Patch {
        notify: Some(Recipients::parse("notify", notify).expect("recipients")),
        schedule: Some((Schedule::every(chrono::TimeDelta::hours(1)).expect("an hour"), None)),
        ..Patch::default()
    };
    let made_at = SystemClock.now() - chrono::TimeDelta::hours(2);
    for n in 0..count {
        let (app, component) =
            (AppName::parse(app).expect("a name"), ComponentName::parse(job(n)).expect("a name"));
        store.reserve(&app, &component, &patch, made_at).expect("a reservation");
    }
}

/// The name of the n-th job.
pub fn job(n: usize) -> String {
    format!("job-{n:03}")
}

/// Has the database refuse to change any row of the table; `what` is `UPDATE`, or `UPDATE OF` a column.
pub fn refuse(database: &TestDatabase, what: &str, table: &str) {
    database.execute(&match database.kind() {
        DatabaseKind::Postgres => format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$;
             CREATE TRIGGER refuse BEFORE {what} ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()"
        ),
        DatabaseKind::Sqlite => format!(
            "CREATE TRIGGER refuse BEFORE {what} ON {table} BEGIN SELECT RAISE(ABORT, 'not today'); END"
        ),
    });
}

/// And no longer.
pub fn allow(database: &TestDatabase, table: &str) {
    database.execute(&match database.kind() {
        DatabaseKind::Postgres => format!("DROP TRIGGER refuse ON {table}; DROP FUNCTION refuse()"),
        DatabaseKind::Sqlite => "DROP TRIGGER refuse".to_owned(),
    });
}

/// Messages that were claimed by one who died can be claimed again, as if their lease had run out.
pub fn end_leases(database: &TestDatabase) {
    database
        .execute("UPDATE deliveries SET lease_until = 1 WHERE state = 'waiting' AND lease_until IS NOT NULL");
}

/// What waits for its next try is tried now.
pub fn try_again(database: &TestDatabase) {
    database.execute("UPDATE deliveries SET next_at = 1 WHERE state = 'waiting'");
}

/// The keys under which each job's messages came to a webhook.
pub fn keys_by_job(requests: &[Received]) -> BTreeMap<String, BTreeSet<String>> {
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for request in requests {
        let component = request.json()["alert"]["component"].as_str().expect("a component").to_owned();
        let key = request.header("idempotency-key").expect("a key").to_owned();
        keys.entry(component).or_default().insert(key);
    }
    keys
}

/// The component and event of each webhook request.
pub fn events(requests: &[Received]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    requests
        .iter()
        .map(|request| {
            let body = request.json();
            (text(&body["alert"]["component"]), text(&body["event"]))
        })
        .collect()
}
