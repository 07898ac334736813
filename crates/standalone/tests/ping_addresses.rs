//! Ping addresses are shown only to those who may check in, because the address alone suffices for that.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::{self, Server};
use serde_json::{Value, json};

struct Instance {
    database: TestDatabase,
    server: Server,
}

impl Instance {
    fn open() -> Self {
        let database = TestDatabase::sqlite();
        let config = format!(
            "auth = \"tokens\"\n[database]\nurl = \"{}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\n",
            database.url()
        );
        let server = Server::start("innkeeper", &config, &[]);
        Self { database, server }
    }

    /// A token with these scopes, made on the machine.
    fn token(&self, scopes: &[&str]) -> String {
        let mut command = process::command("innkeeper", self.server.directory());
        command.args(["--database-url", self.database.url(), "token", &scopes.join("-")]);
        for scope in scopes {
            command.args(["--scope", scope]);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said.split_whitespace().find(|word| word.starts_with("ik_")).unwrap().to_owned()
    }

    fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> Response {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("if-match", "*")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        Client::default().send(method, &self.server.url(path), &headers, body.as_bytes()).unwrap()
    }
}

#[test]
fn a_ping_address_is_shown_to_those_who_may_check_in() {
    let instance = Instance::open();
    let all = instance.token(&["checkin", "read", "manage"]);
    let reader = instance.token(&["read"]);
    let made = json!({ "app": "shop", "component": "backup", "frequency": 1, "time_units": "hours" });
    let made = instance.ask(&all, "POST", "/api/v1/reservations", &made);
    assert_eq!(made.status, 201, "{made:?}");
    let url = made.json()["ping_url"].as_str().unwrap().to_owned();
    let secrets =
        [url.rsplit('/').next().unwrap().to_owned(), made.json()["ping_key"].as_str().unwrap().to_owned()];
    assert_eq!(made.json()["has_ping_key"], true);
    let paths = [
        "/reservation",
        "/api/v1/reservations",
        "/api/v1/reservations/1",
        "/api/v1/export",
        "/cron",
        "/status",
        "/status/1",
        "/alerts",
        "/nodes",
        "/settings",
        "/metrics",
    ];
    let mut shown = 0;
    for path in paths {
        let answer = instance.ask(&reader, "GET", path, &Value::Null);
        assert!(matches!(answer.status, 200 | 403), "{path}: {answer:?}");
        for secret in &secrets {
            assert!(!answer.body.contains(secret.as_str()), "{path}: {answer:?}");
        }
        let whole = instance.ask(&all, "GET", path, &Value::Null).body;
        shown += usize::from(secrets.iter().all(|secret| whole.contains(secret.as_str())));
    }
    assert_eq!(shown, 4, "both lists, the reservation, and its page");
    let one = instance.ask(&reader, "GET", "/api/v1/reservations/1", &Value::Null).json();
    let is_told = (&one["ping_url"], &one["ping_key"], &one["has_ping_key"]);
    assert_eq!(is_told, (&Value::Null, &Value::Null, &json!(true)));
    let page = instance.ask(&reader, "GET", "/status/1", &Value::Null).body;
    assert!(page.contains("It has a ping address."), "{page}");
}

#[test]
fn who_may_write_and_not_read_is_told_no_more_than_what_was_written() {
    let instance = Instance::open();
    let all = instance.token(&["checkin", "read", "manage"]);
    let writer = instance.token(&["manage"]);
    let document = json!({ "app": "shop", "component": "backup", "frequency": 1, "time_units": "hours",
        "alert_msg": "the safe is open", "owner": "ada" });
    assert_eq!(instance.ask(&all, "POST", "/api/v1/reservations", &document).status, 201);
    let other = json!({ "app": "shop", "component": "other", "frequency": 1, "time_units": "hours" });
    for (method, path, body) in [
        ("POST", "/api/v1/reservations", other),
        ("PATCH", "/api/v1/reservations/1", json!({ "grace": "5m" })),
        ("POST", "/api/v1/reservations/1/snooze", json!({ "duration": "1h" })),
        ("POST", "/api/v1/reservations/1/resume", json!({})),
    ] {
        let answer = instance.ask(&writer, method, path, &body);
        assert!(matches!(answer.status, 200 | 201), "{method} {path}: {answer:?}");
        let told: Vec<String> = answer.json().as_object().unwrap().keys().cloned().collect();
        assert_eq!(told, ["app", "component", "etag", "id"], "{method} {path}");
    }
    assert_eq!(instance.ask(&writer, "DELETE", "/api/v1/reservations/1", &Value::Null).status, 204);
    let back = instance.ask(&writer, "POST", "/api/v1/reservations/1/undo-checkout", &Value::Null);
    assert_eq!((back.status, back.json().as_object().unwrap().len()), (200, 4), "{back:?}");
    let set = json!({ "reservations": [{ "app": "shop", "component": "backup", "frequency": 1, "time_units": "hours" }] });
    let apply = |token: &str, query: &str| instance.ask(token, "PUT", &format!("/api/v1/apply{query}"), &set);
    // What is written by nobody is for those who may read.
    let refused = apply(&writer, "?dry_run=true&prune=true");
    assert!(refused.status == 403 && refused.body.contains("the scope read"), "{refused:?}");
    for path in ["/status/1/edit", "/new", "/settings"] {
        assert_eq!(instance.ask(&writer, "GET", path, &Value::Null).status, 403, "{path}");
    }
    let difference = |answer: &Response| answer.json()["changed"][0]["difference"].to_string();
    let known = difference(&apply(&all, "?dry_run=true"));
    assert!(known.contains("the safe is open") && known.contains("alert_msg"), "{known}");
    let told = difference(&apply(&writer, ""));
    assert!(
        !told.contains("the safe is open") && told.contains("alert_msg") && !told.contains("ada"),
        "{told}"
    );
}
