//! The pages as a browser gets them: what they show, that nothing in them is taken for markup, and what they may load.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::time::{Duration, Instant};

use innkeeper_testing::client::{Answer, Client};
use innkeeper_testing::process::{PATIENCE, Server};
use serde_json::{Value, json};

const CONFIG: &str = "operator = [\"log\"]\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n[alerter.gone]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/x\"\n";

struct Inn {
    server: Server,
    client: Client,
}

impl Inn {
    fn open() -> Self {
        Self { server: Server::start("innkeeper", CONFIG, &[]), client: Client::default() }
    }

    fn reserve(&self, app: &str, component: &str, fields: Value) {
        let mut body = json!({ "app": app, "component": component, "notify": "", "frequency": 1, "time_units": "hours" });
        fields.as_object().unwrap().iter().for_each(|(field, value)| body[field] = value.clone());
        assert_eq!(self.client.post(&self.server.url("/reservation"), &body).status, 200);
    }

    fn check_in(&self, app: &str, component: &str, notes: &str) {
        let body = json!({ "app": app, "component": component, "notes": notes });
        assert_eq!(self.client.post(&self.server.url("/checkin"), &body).status, 200);
    }

    fn jobs(&self) -> Vec<Value> {
        self.client.get(&self.server.url("/reservation")).json()["result"].as_array().unwrap().clone()
    }

    fn ask(&self, path: &str) -> Answer {
        self.client.send("GET", &self.server.url(path), &[("accept", "text/html,*/*;q=0.8")], b"").unwrap()
    }

    /// The page at `path`.
    fn page(&self, path: &str) -> String {
        let answer = self.ask(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        for inline in ["<style", " style=", " onclick=", "javascript:", "http-equiv"] {
            assert!(!answer.body.contains(inline), "{path} has {inline}");
        }
        assert_eq!(answer.body.matches("<script").count(), 1, "{path}: its own script and no other");
        answer.body
    }

    /// The page at `path` once it has `text`.
    fn page_with(&self, path: &str, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let page = self.page(path);
            if page.contains(text) {
                return page;
            }
            assert!(Instant::now() < end, "{path} does not come to have {text:?}: {page}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn an_empty_inn_says_what_to_do_first() {
    let inn = Inn::open();
    let page = inn.page("/");
    assert!(page.contains("There are no reservations yet") && page.contains("/reservation -d"), "{page}");
    for (path, said) in [
        ("/alerts", "Nothing is down."),
        ("/deliveries", "Nothing waits"),
        ("/badguests", "Nobody has misbehaved."),
        ("/nodes", "alive"),
    ] {
        assert!(inn.page(path).contains(said), "{path}");
    }
    assert_eq!(inn.ask("/status/1").status, 404);
    assert_eq!(inn.ask("/status/x").status, 400);
    for asset in ["/assets/style.css", "/assets/live.js"] {
        assert_eq!(inn.ask(asset).status, 200);
    }
}

#[test]
fn programs_get_json_where_browsers_get_a_page() {
    let inn = Inn::open();
    for (path, field) in [("/", "message"), ("/nodes", "nodes")] {
        assert!(inn.page(path).contains("<h1>"), "{path}");
        let answer = inn.client.get(&inn.server.url(path));
        assert!(answer.json()[field] != Value::Null, "{path}: {answer:?}");
    }
    assert_eq!(inn.client.send("HEAD", &inn.server.url("/status"), &[], b"").unwrap().status, 200);
}

#[test]
fn names_and_notes_full_of_markup_stay_text() {
    let inn = Inn::open();
    let evil = "<script>alert('\"&')</script>";
    inn.reserve(evil, "<b>bold</b>", json!({ "owner": evil, "description": evil, "tags": ["<i>tag</i>"] }));
    inn.check_in(evil, "<b>bold</b>", &format!("{evil}\u{202e}x 🛎 <img src=x onerror=1>"));
    inn.reserve("shop", "canary", json!({ "frequency": 1, "time_units": "seconds", "alert_msg": evil }));
    inn.server.wait_for_log("Job Failed to checkin: shop/canary");
    let id = inn.jobs().iter().find(|job| job["app"] == evil).unwrap()["job_id"].to_string();
    let canary = inn.jobs().iter().find(|job| job["app"] == "shop").unwrap()["job_id"].to_string();
    let pages = ["/status", "/alerts", "/badguests", "/deliveries", "/nodes"].map(str::to_owned);
    let ours =
        [format!("/status/{id}"), format!("/status/{canary}"), "/status?q=%3Cb%3E&tag=%22%3E%3Cx".to_owned()];
    for path in pages.iter().chain(&ours) {
        let page = inn.page(path);
        for markup in ["<script>alert", "<b>bold", "<i>tag", "<img", "\"><x"] {
            assert!(!page.contains(markup), "{path} has {markup}: {page}");
        }
    }
    let page = inn.page(&format!("/status/{id}"));
    assert!(page.contains("&#60;b&#62;bold") && page.contains('🛎') && page.contains("All is well"), "{page}");
    // Its line stands in the log before it is written down that it does.
    let page = inn.page_with(&format!("/status/{canary}"), "delivered");
    assert!(page.contains("Down for") && page.contains("still open"), "{page}");
    assert!(inn.page("/alerts").contains("shop/canary"));
    assert!(inn.page("/badguests").contains("shop/canary"));
}

#[test]
fn many_are_paged_and_found_the_worst_first() {
    let inn = Inn::open();
    for n in 0..120 {
        inn.reserve(
            "shop",
            &format!("job-{n:03}"),
            json!({ "owner": if n < 5 { "ada" } else { "bob" }, "tags": ["all"] }),
        );
    }
    inn.reserve("zoo", "canary", json!({ "frequency": 1, "time_units": "seconds", "notify": "gone" }));
    inn.server.wait_for_log("Job Failed to checkin: zoo/canary");
    let (mut path, mut seen) = ("/status?tag=all".to_owned(), Vec::new());
    loop {
        let page = inn.page(&path);
        seen.extend(page.match_indices("shop/job-").map(|(at, _)| page[at..at + 12].to_owned()));
        match page.split_once("\" rel=\"next\"") {
            Some((before, _)) => path = before.rsplit_once("href=\"").unwrap().1.replace("&#38;", "&"),
            None => break,
        }
    }
    assert_eq!((seen.len(), seen.is_sorted()), (120, true));
    let first = inn.page("/status");
    assert!(
        first.find("zoo/canary").unwrap() < first.find("shop/job-000").unwrap(),
        "what is down stands first"
    );
    assert!(first.contains("<b>121</b>"), "{first}");
    assert_eq!(inn.page("/status?owner=ada").matches("shop/job-").count(), 5);
    assert_eq!(inn.page("/status?q=JOB-11").matches("shop/job-").count(), 10);
    assert!(inn.page("/status?q=nothing").contains("No reservation fits"));
    assert!(inn.page("/deliveries").contains("gone"), "the message that nobody takes waits");
}
