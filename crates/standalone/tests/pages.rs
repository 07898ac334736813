//! The pages as a browser gets them: what they show, that nothing in them is taken for markup, and what they may load.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::{Duration, Instant};

use innkeeper_testing::client::{Client, Response};
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

    fn ask(&self, path: &str) -> Response {
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
        ("/badguests", "No reservation has had an alert."),
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
fn title_and_icon_have_the_number_of_jobs_that_are_down() {
    let inn = Inn::open();
    assert!(inn.page("/status").contains("<title>Reservations"));
    let link = "<link rel=\"icon\" type=\"image/svg+xml\" href=\"/assets/favicon.svg\">";
    for path in ["/status", "/status/99"] {
        assert!(inn.ask(path).body.contains(link), "{path}");
    }
    let (style, drawn) = (inn.ask("/assets/style.css"), include_str!("../../web/assets/favicon.svg"));
    for path in ["/assets/favicon.svg", "/favicon.ico"] {
        let icon = inn.ask(path);
        assert_eq!((icon.status, icon.body.as_str()), (200, drawn), "{path}");
        assert_eq!(icon.header("content-type"), Some("image/svg+xml"), "{path}");
        assert_eq!(icon.header("cache-control"), style.header("cache-control"), "{path}");
    }
    for name in ["one", "two"] {
        inn.reserve("shop", name, json!({ "frequency": 1, "time_units": "seconds" }));
    }
    for path in ["/", "/alerts", "/deliveries", "/badguests", "/nodes", "/settings"] {
        let page = inn.page_with(path, "<title>(2 down) ");
        assert!(page.contains("rel=\"icon\" type=\"image/svg+xml\" href=\"data:image/svg+xml,"), "{page}");
        assert!(page.contains("%3E2%3C%2Ftext%3E"), "{page}");
    }
    assert!(inn.ask("/status/99").body.contains("<title>(2 down) Nothing here"));
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
    inn.server.wait_for_log("DOWN shop/canary");
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
    inn.server.wait_for_log("DOWN zoo/canary");
    let through = |path: &str| {
        let (mut path, mut seen) = (path.to_owned(), Vec::new());
        loop {
            let page = inn.page(&path);
            let names = page.match_indices("shop/job-").map(|(at, name)| at + name.len());
            seen.extend(names.map(|at| page[at..at + 3].parse::<u32>().unwrap()));
            match page.split_once("\" rel=\"next\"") {
                Some((before, _)) => path = before.rsplit_once("href=\"").unwrap().1.replace("&#38;", "&"),
                None => return seen,
            }
        }
    };
    assert_eq!(through("/status?tag=all"), (0..120).collect::<Vec<_>>());
    assert_eq!(through("/status?sort=name&q=job"), (0..120).collect::<Vec<_>>());
    assert_eq!(through("/status?sort=newest&tag=all"), (0..120).rev().collect::<Vec<_>>());
    assert_eq!(through("/status?state=new"), (0..120).collect::<Vec<_>>());
    inn.check_in("shop", "job-007", "");
    inn.check_in("shop", "job-003", "");
    let silent = through("/status?sort=silent&app=shop");
    assert_eq!(
        (silent.len(), &silent[118..]),
        (120, &[7, 3][..]),
        "those never heard, then the longest silent"
    );
    assert_eq!(through("/status?state=up"), [3, 7]);
    assert_eq!(through("/status?state=up&sort=newest"), [7, 3]);
    assert_eq!(through("/status?state=down&sort=silent").len(), 0);
    for (path, field) in [("/status?state=sleepy", "state"), ("/status?sort=best", "sort")] {
        let answer = inn.ask(path);
        let said = format!("<p class=\"lead\">{field}: ");
        assert!(answer.status == 400 && answer.body.contains(&said), "{answer:?}");
    }
    let first = inn.page("/status");
    assert!(
        first.find("zoo/canary").unwrap() < first.find("shop/job-000").unwrap(),
        "what is down stands first"
    );
    // The counts may be five seconds old.
    common::eventually("the counts", || {
        let page = inn.page("/status");
        let counted = |count: u32, state: &str| {
            page.contains(&format!(
                "<a href=\"/status?state={state}\"><b>{count}</b> <span class=\"state state-{state}\">{state}</span></a>"
            ))
        };
        let all =
            page.contains("<b>121</b>") && counted(1, "down") && counted(118, "new") && counted(2, "up");
        all.then_some(())
    });
    assert!(inn.page("/status?state=down").contains("<option selected>down</option>"));
    assert_eq!(inn.page("/status?owner=ada").matches("shop/job-").count(), 5);
    assert_eq!(inn.page("/status?q=JOB-11").matches("shop/job-").count(), 10);
    assert!(inn.page("/status?q=nothing").contains("No reservation matches"));
    assert!(inn.page("/deliveries").contains("gone"), "the message that nobody takes waits");
}

#[test]
fn a_reservation_shows_how_it_has_done() {
    let inn = Inn::open();
    inn.reserve("shop", "export", json!({ "max_run": "1h", "owner": "ada", "tags": ["night"] }));
    inn.reserve("shop", "canary", json!({ "frequency": 1, "time_units": "seconds" }));
    inn.reserve(
        "shop",
        "nightly",
        json!({ "cron": "30 2 * * 1", "time_zone": "Europe/Berlin", "frequency": null, "time_units": null }),
    );
    let job = |name: &str| inn.jobs().into_iter().find(|job| job["component"] == name).unwrap();
    let ping = job("export")["ping_url"].as_str().unwrap().rsplit_once("/ping/").unwrap().1.to_owned();
    for (run, end) in [(1, "0"), (2, "3"), (3, "0")] {
        for (part, body) in [("start", ""), (end, "</pre><b>bold</b>")] {
            let path = format!("/ping/{ping}/{part}?rid=00000000-0000-4000-8000-00000000000{run}");
            assert_eq!(
                inn.client.send("POST", &inn.server.url(&path), &[], body.as_bytes()).unwrap().status,
                200
            );
        }
    }
    inn.server.wait_for_log("DOWN shop/canary");
    let page_of = |name: &str| inn.page(&format!("/status/{}", job(name)["job_id"]));

    let page = page_of("export");
    assert_eq!(page.matches("<svg class=\"plot ").count(), 2, "one for desks and one for telephones");
    for said in [
        "3 timed runs",
        "1 failed; the line is the limit of 1 hour",
        "<path class=\"limit\" ",
        "with exit code 3",
        "&#60;b&#62;bold",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    assert!(!page.contains("</pre><b>"), "{page}");
    let order = ["state-success", "state-start", "state-fail", "state-start", "state-success", "state-start"];
    let timeline = page.split_once("<ol class=\"timeline\">").unwrap().1;
    let mut from = 0;
    for entry in order {
        from +=
            timeline[from..].find(entry).unwrap_or_else(|| panic!("{entry} after {from}: {timeline}")) + 1;
    }

    let page = page_of("canary");
    assert!(
        page.contains("still open") && page.contains("in the ") && page.contains("since it was made"),
        "{page}"
    );
    assert!(!page.contains("<svg class=\"plot "), "it has no timed runs");
    assert!(page.contains("30 periods: 0 well, "), "{page}");

    let page = page_of("nightly");
    assert!(page.contains("at 02:30 on Mondays, Europe/Berlin, 5 minutes grace"), "{page}");
    assert!(page.contains("30 2 * * 1  /usr/local/bin/job"), "the crontab has its own time");
    assert!(page.contains("100 %") && page.contains("never down"), "{page}");
    assert_eq!(
        page.split_once("<ol class=\"coming\">")
            .unwrap()
            .1
            .split_once("</ol>")
            .unwrap()
            .0
            .matches("<li>")
            .count(),
        5
    );
    let list = inn.page("/status");
    assert_eq!(list.matches("<svg class=\"strip\"").count(), 3);
    assert!(list.contains("role=\"img\" aria-label=\"30 periods: 0 well, "), "{list}");
}

#[test]
fn what_happened_is_paged_through() {
    let inn = Inn::open();
    inn.reserve("shop", "busy", json!({}));
    for n in 0..60 {
        inn.check_in("shop", "busy", &format!("note {n:02}."));
    }
    let id = inn.jobs()[0]["job_id"].to_string();
    let first = inn.page(&format!("/status/{id}"));
    assert!(
        first.contains("note 59.") && first.contains("note 10.") && !first.contains("note 09."),
        "{first}"
    );
    let older = first.split_once("\" rel=\"next\"").unwrap().0.rsplit_once("href=\"").unwrap().1;
    let second = inn.page(older);
    assert!(
        second.contains("note 09.") && second.contains("note 00.") && !second.contains("note 10."),
        "{second}"
    );
    assert!(!second.contains("rel=\"next\""));
    assert!(inn.page(&format!("/status/{id}?checkin=1&alert=1")).contains("Nothing older is kept"));
}

#[test]
fn what_is_late_stands_before_what_is_well() {
    let inn = Inn::open();
    for name in ["fine-1", "fine-2"] {
        inn.reserve("inn", name, json!({}));
        inn.check_in("inn", name, "");
    }
    inn.reserve("zoo", "slow", json!({ "frequency": 1, "time_units": "seconds", "grace": "1h" }));
    inn.check_in("zoo", "slow", "");
    let page = common::eventually("a late job", || {
        let page = inn.page("/status");
        (page.contains("state-late") && page.find("zoo/slow") < page.find("inn/fine-1")).then_some(page)
    });
    assert!(page.find("inn/fine-1") < page.find("inn/fine-2"));
    let by_name = inn.page("/status?sort=name");
    assert!(by_name.find("inn/fine-2") < by_name.find("zoo/slow"));
}

#[test]
fn the_last_word_of_any_kind_is_told_with_the_last_success_beside_it() {
    let inn = Inn::open();
    for name in ["silent", "well", "failing", "logging"] {
        inn.reserve("shop", name, json!({}));
    }
    inn.check_in("shop", "well", "");
    let ping = |name: &str, action: &str| {
        let job = inn.jobs().into_iter().find(|job| job["component"] == name).unwrap();
        let (_, path) = job["ping_url"].as_str().unwrap().rsplit_once("/ping/").unwrap();
        assert_eq!(inn.client.get(&inn.server.url(&format!("/ping/{path}{action}"))).status, 200);
    };
    for action in ["", "/start", "/2"] {
        ping("failing", action);
    }
    ping("logging", "/log");
    let job = |name: &str| inn.jobs().into_iter().find(|job| job["component"] == name).unwrap();
    let last = |name: &str| {
        let list = inn.page("/status");
        let row = list.split("<tr>").find(|row| row.contains(&format!("shop/{name}<"))).unwrap();
        let cell = row.split_once("data-label=\"Last check-in\">").unwrap().1.split_once("</td>").unwrap().0;
        let page = inn.page(&format!("/status/{}", job(name)["job_id"]));
        let of = |label: &str| {
            let (_, rest) = page.split_once(&format!("<dt>{label}</dt><dd>")).unwrap();
            rest.split_once("</dd>").unwrap().0.to_owned()
        };
        (cell.to_owned(), of("Last check-in"), of("Last success"))
    };
    assert_eq!(last("silent"), ("never".to_owned(), "never".to_owned(), "never".to_owned()));
    let (cell, word, success) = last("well");
    assert!(cell.contains("<time") && !cell.contains("last success"), "{cell}");
    assert!(word.contains("state-success") && success.contains("<time"), "{word} {success}");
    let (cell, word, success) = last("failing");
    assert!(cell.contains("state-fail") && cell.contains("last success</span> <time"), "{cell}");
    assert!(word.contains("state-fail") && success.contains("<time"), "{word} {success}");
    let (cell, word, success) = last("logging");
    assert!(cell.contains("state-log") && cell.contains("last success</span> never"), "{cell}");
    assert!(word.contains("state-log") && success == "never", "{word} {success}");
    // What programs read keeps its meaning: the last success.
    assert_eq!(
        (job("logging")["last_checkin"].as_i64(), job("silent")["last_checkin"].as_i64()),
        (Some(0), Some(0))
    );
    assert!(job("failing")["last_checkin"].as_i64() > Some(0));
}

#[test]
fn what_was_checked_out_is_told_for_as_long_as_it_is_known() {
    let database = innkeeper_testing::database::TestDatabase::sqlite();
    let server = Server::start("innkeeper", CONFIG, &["--database-url", database.url()]);
    let inn = Inn { server, client: Client::default() };
    inn.reserve("shop", "backup", json!({}));
    let id = inn.jobs()[0]["job_id"].to_string();
    let path = format!("/status/{id}");
    let body = json!({ "app": "shop", "component": "backup" });
    assert_eq!(inn.client.post(&inn.server.url("/checkout"), &body).status, 200);
    let answer = inn.ask(&path);
    assert_eq!(answer.status, 404);
    for said in [
        "It was checked out <time",
        " UTC</span>, by an unknown person",
        "/undo\" method=\"post\"",
        "can be done until 20",
    ] {
        assert!(answer.body.contains(said), "{said}: {}", answer.body);
    }
    assert_eq!(inn.ask(&format!("{path}/edit")).status, 303, "the way to its page");
    // A day later.
    database.execute("DELETE FROM checkouts");
    let answer = inn.ask(&path);
    assert!(answer.status == 404 && answer.body.contains("which has passed"), "{answer:?}");
    assert!(answer.body.contains("It was checked out <time") && !answer.body.contains("/undo"), "{answer:?}");
    // What never was.
    let answer = inn.ask("/status/999");
    assert!(answer.status == 404 && answer.body.contains("there is no such reservation"), "{answer:?}");
}
