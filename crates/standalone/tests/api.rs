//! The management API over real HTTP: the life of a reservation, versions, tokens, messages, and invalid input.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::Duration;

use common::{Inn, Shape, eventually};
use innkeeper_http::keys;
use innkeeper_testing::client::Response;
use serde_json::{Value, json};

const API: &str = "/api/v1";

fn inn() -> Inn {
    Inn::open(Shape::Standalone)
}

fn call(inn: &Inn, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Response {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    inn.send(method, &format!("{API}{path}"), headers, body.as_bytes())
}

fn read(inn: &Inn, path: &str) -> Value {
    let answer = call(inn, "GET", path, &[], &Value::Null);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

/// What a browser without a session keeps of forms.
const FORM: &str = "0123456789012345678901234567890123456789012";

fn make(inn: &Inn, body: &Value) -> Response {
    call(inn, "POST", "/reservations", &[], body)
}

fn hourly(component: &str) -> Value {
    json!({ "app": "shop", "component": component, "frequency": 1, "time_units": "hours" })
}

/// A problem with this status that names this field.
fn assert_problem(answer: &Response, status: u16, field: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{problem}");
    assert_eq!(problem["field"].as_str().unwrap_or_default(), field, "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
}

#[test]
fn a_calendar_is_the_third_kind_of_schedule() {
    let inn = inn();
    let body = json!({ "app": "shop", "component": "backup", "notify": ["log"],
        "calendar": "Mon..Fri 02:00\nSun 04:00 Europe/Berlin" });
    let made = make(&inn, &body);
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.json()["grace"], "5m");
    let place = format!("/reservations/{}", made.json()["id"]);
    let schedule = |answer: &Response| {
        ["frequency", "time_units", "cron", "calendar", "time_zone"].map(|field| answer.json()[field].clone())
    };
    let (calendar, berlin) = (json!("Mon..Fri 02:00; Sun 04:00"), json!("Europe/Berlin"));
    let none = Value::Null;
    assert_eq!(schedule(&made), [none.clone(), none.clone(), none.clone(), calendar.clone(), berlin.clone()]);
    // The older protocols show what they show for cron.
    let job = inn.job("shop", "backup");
    assert_eq!(
        (&job["frequency"], &job["schedule"]),
        (&json!(0), &json!("at Mon..Fri 02:00; Sun 04:00, Europe/Berlin"))
    );
    let cron = inn.read("/cron/shop").body;
    assert!(cron.contains(r#""Frequency":0"#), "{cron}");

    let change = |patch: Value| {
        let now = call(&inn, "GET", &place, &[], &Value::Null);
        call(&inn, "PATCH", &place, &[("if-match", now.header("etag").unwrap())], &patch)
    };
    let cron = change(json!({ "cron": "0 2 * * *" }));
    assert_eq!(
        schedule(&cron),
        [none.clone(), none.clone(), json!("0 2 * * *"), none.clone(), berlin.clone()]
    );
    let back = change(json!({ "calendar": calendar.clone() }));
    assert_eq!(schedule(&back), schedule(&made));
    let often = change(json!({ "frequency": 5, "time_units": "minutes" }));
    assert_eq!(schedule(&often), [json!(5), json!("minutes"), none.clone(), none.clone(), none.clone()]);
    for (patch, field) in [
        (json!({ "calendar": "24:00" }), "calendar"),
        (json!({ "calendar": "daily", "cron": "0 2 * * *" }), "calendar"),
        (json!({ "calendar": "daily", "frequency": 5 }), "calendar"),
        (json!({ "calendar": "daily", "time_zone": "Mars/Base" }), "time_zone"),
        (json!({ "calendar": "2024-*-* 02:00" }), "calendar"),
    ] {
        assert_problem(&change(patch), 400, field);
    }
    // One that is over would never be expected, whoever makes it.
    let over = json!({ "app": "shop", "component": "over", "calendar": "2024-*-* 02:00" });
    assert_problem(&make(&inn, &over), 400, "calendar");
    assert_problem(
        &call(&inn, "POST", "/apply", &[], &json!({ "reservations": [over.clone()] })),
        400,
        "calendar",
    );
    let mut gotels = over.clone();
    gotels["notify"] = json!("log");
    let refused = inn.post("/reservation", &gotels);
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.body.contains("wholly in the past"), "{refused:?}");
    // By GoTel's protocol, too.
    inn.reserve("shop", "weekly", json!({ "calendar": "weekly" }));
    assert_eq!(inn.job("shop", "weekly")["schedule"], "at weekly, UTC");
}

#[test]
fn the_whole_life_of_a_reservation() {
    let inn = inn();
    let body = json!({ "app": "shop", "component": "backup", "cron": "0 2 * * *", "time_zone": "Europe/Berlin",
        "notify": ["a@example.org", "log"], "tags": ["db"], "max_run": "1h" });
    let made = make(&inn, &body);
    assert_eq!(made.status, 201, "{made:?}");
    let (id, etag) = (made.json()["id"].as_i64().unwrap(), made.header("etag").unwrap().to_owned());
    let place = format!("/reservations/{id}");
    assert_eq!(made.header("location"), Some(format!("{API}{place}").as_str()));
    for (field, value) in body.as_object().unwrap() {
        assert_eq!(&made.json()[field], value, "{field}");
    }
    assert_eq!((&made.json()["grace"], &made.json()["remind_every"]), (&json!("5m"), &json!("6h")));
    assert_eq!(make(&inn, &body).status, 409);
    let looked = call(&inn, "GET", &place, &[], &Value::Null);
    assert_eq!((looked.header("etag"), looked.json()), (Some(etag.as_str()), made.json()));

    inn.check_in("shop", "backup");
    let checkins = read(&inn, &format!("{place}/check-ins?limit=5"));
    assert_eq!(checkins["checkins"][0]["kind"], "success");

    let changed = call(
        &inn,
        "PATCH",
        &place,
        &[("if-match", &etag)],
        &json!({ "frequency": 5, "time_units": "minutes", "max_run": null }),
    );
    assert_eq!(changed.status, 200, "{changed:?}");
    let now = changed.json();
    assert_eq!((&now["frequency"], &now["cron"], &now["max_run"]), (&json!(5), &Value::Null, &Value::Null));
    assert_eq!((&now["grace"], &now["tags"]), (&json!("5m"), &json!(["db"])), "the others stay");

    let until = call(&inn, "POST", &format!("{place}/snooze"), &[], &json!({ "duration": "2h" }));
    assert_eq!((until.status, &until.json()["state"]), (200, &json!("snoozed")), "{until:?}");
    assert_eq!(until.json()["snooze_mode"], "quiet");
    let skip = json!({ "duration": "3h", "mode": "skip" });
    let skipped = call(&inn, "POST", &format!("{place}/snooze"), &[], &skip);
    assert_eq!((skipped.status, &skipped.json()["snooze_mode"]), (200, &json!("skip")), "{skipped:?}");
    let mute = json!({ "duration": "3h", "mode": "mute" });
    assert_problem(&call(&inn, "POST", &format!("{place}/snooze"), &[], &mute), 400, "mode");
    // The form of its page has the same choice.
    for (chosen, mode) in [("", "quiet"), ("&mode=quiet", "quiet"), ("&mode=skip", "skip")] {
        assert_eq!(call(&inn, "POST", &format!("{place}/resume"), &[], &Value::Null).status, 200);
        let cookie = format!("innkeeper-form={FORM}");
        let form = [("content-type", "application/x-www-form-urlencoded"), ("cookie", cookie.as_str())];
        let fields = format!("csrf={FORM}&duration=1h{chosen}");
        let done = inn.send("POST", &format!("/status/{id}/snooze"), &form, fields.as_bytes());
        assert_eq!(done.status, 303, "{done:?}");
        let kept = inn.database.texts("SELECT snoozes FROM states");
        assert!(kept[0].contains(&format!("\"{mode}\"")), "{chosen}: {kept:?}");
        assert_eq!(read(&inn, &place)["snooze_mode"], mode, "{chosen}");
    }
    assert_eq!(call(&inn, "POST", &format!("{place}/resume"), &[], &Value::Null).json()["state"], "up");
    assert_eq!(call(&inn, "POST", &format!("{place}/resume"), &[], &Value::Null).status, 409);
    let until = json!({ "until": "2099-01-01T00:00:00+01:00" });
    assert_problem(&call(&inn, "POST", &format!("{place}/snooze"), &[], &until), 400, "until");

    assert_eq!(call(&inn, "DELETE", &place, &[], &Value::Null).status, 204);
    for method in ["GET", "DELETE"] {
        assert_problem(&call(&inn, method, &place, &[], &Value::Null), 404, "");
    }
    let undo = format!("{place}/undo-checkout");
    let back = call(&inn, "POST", &undo, &[], &Value::Null);
    assert_eq!((back.status, &back.json()["ping_url"]), (200, &made.json()["ping_url"]), "{back:?}");
    assert_eq!(back.header("etag"), changed.header("etag"));
    assert_problem(&call(&inn, "POST", &undo, &[], &Value::Null), 404, "");
    call(&inn, "DELETE", &place, &[], &Value::Null);
    assert_eq!(make(&inn, &body).status, 201);
    assert_problem(&call(&inn, "POST", &undo, &[], &Value::Null), 409, "");

    let actions: Vec<String> = read(&inn, "/audit?limit=3")["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| format!("{} by {}", entry["action"].as_str().unwrap(), entry["who"].as_str().unwrap()))
        .collect();
    assert_eq!(actions, ["make reservation by anybody", "check out by anybody", "undo check-out by anybody"]);
}

#[test]
fn a_change_says_what_it_was_made_from() {
    let inn = inn();
    let made = make(&inn, &hourly("backup"));
    let place = format!("/reservations/{}", made.json()["id"]);
    let etag = made.header("etag").unwrap();
    let patch = |headers: &[(&str, &str)], grace: &str| {
        call(&inn, "PATCH", &place, headers, &json!({ "grace": grace }))
    };
    assert_problem(&patch(&[], "1m"), 428, "");
    assert_eq!(patch(&[("if-match", etag)], "1m").status, 200);
    assert_problem(&patch(&[("if-match", etag)], "2m"), 412, "");
    assert_eq!(patch(&[("if-match", "*")], "2m").status, 200);
    let now = call(&inn, "GET", &place, &[], &Value::Null);
    let list = format!("\"other\", {}", now.header("etag").unwrap());
    assert_eq!(patch(&[("if-match", &list)], "3m").status, 200);
    assert_problem(&patch(&[("if-match", &format!("W/{}", now.header("etag").unwrap()))], "4m"), 412, "");
    // What was not changed has the version that it had.
    let again = call(&inn, "GET", &place, &[], &Value::Null);
    assert_eq!(patch(&[("if-match", "*")], "3m").header("etag"), again.header("etag"));
    for (body, field) in [
        (json!({ "component": "other" }), "component"),
        (json!({ "app": null }), "app"),
        (json!({ "grace": "5 parsecs" }), "grace"),
        (json!({ "graze": "5m" }), "graze"),
        (json!({ "frequency": null, "time_units": null }), "frequency"),
        (json!({ "min_run": "2h", "max_run": "1h" }), "min_run"),
        (json!({ "cron": "0 2 * * *", "frequency": 5 }), "cron"),
        (json!([]), "body"),
    ] {
        assert_problem(&call(&inn, "PATCH", &place, &[("if-match", "*")], &body), 400, field);
    }
    let unknown = call(&inn, "PATCH", "/reservations/999", &[("if-match", "*")], &json!({}));
    assert_problem(&unknown, 404, "");
}

#[test]
fn a_long_list_is_read_page_by_page() {
    let inn = inn();
    let set: Vec<Value> = (0..120).map(|n| hourly(&format!("job-{n:03}"))).collect();
    assert_eq!(call(&inn, "PUT", "/apply", &[], &json!({ "reservations": set })).status, 200);
    let (mut seen, mut path) = (Vec::new(), "/reservations?q=JOB&limit=50".to_owned());
    let mut pages = 0;
    loop {
        let page = read(&inn, &path);
        pages += 1;
        let names = page["reservations"].as_array().unwrap().iter();
        seen.extend(names.map(|one| one["component"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => path = format!("/reservations?q=JOB&limit=50&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((pages, seen.len(), seen.is_sorted()), (3, 120, true));
    assert_eq!(read(&inn, "/reservations?q=job-11&app=shop")["reservations"].as_array().unwrap().len(), 10);
    let in_state = |state: &str| read(&inn, &format!("/reservations?state={state}"))["reservations"].clone();
    assert_eq!((in_state("new").as_array().unwrap().len(), in_state("down")), (50, json!([])));
    for (query, field) in [
        ("state=bad", "state"),
        ("limit=0", "limit"),
        ("limit=1e9", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=bnVsbA", "cursor"),
        ("app=%00", "app"),
        ("q=%FF", "q"),
        ("stat=down", "query"),
        ("q=a&q=b", "q"),
    ] {
        let answer = call(&inn, "GET", &format!("/reservations?{query}"), &[], &Value::Null);
        assert_problem(&answer, 400, field);
    }
}

/// Puts a token into the database; what to send with it.
fn token(inn: &Inn, name: &str, scopes: &str, apps: &str) -> String {
    let hash = keys::hash(name);
    inn.database.execute(&format!(
        "INSERT INTO tokens (name, hash, scopes, apps, created_by, created_at) VALUES ('{name}', '{hash}', '{scopes}', '{apps}', '', 0)"
    ));
    format!("Bearer {name}")
}

#[test]
fn a_token_does_what_it_may_and_gives_no_more() {
    let inn = Inn::with(Shape::Standalone, "auth = \"tokens\"\n");
    let all = token(&inn, "all", "checkin,read,manage", "[]");
    let deploy = token(&inn, "deploy", "manage", "[]");
    let shop = token(&inn, "shop", "read,manage", r#"["shop"]"#);
    let jobs = token(&inn, "jobs", "checkin", r#"["shop"]"#);
    let as_token = |token: &str, method: &str, path: &str, body: Value| {
        call(&inn, method, path, &[("authorization", token)], &body)
    };
    let get = |token: &str, path: &str| as_token(token, "GET", path, Value::Null);
    assert_problem(&call(&inn, "GET", "/me", &[], &Value::Null), 401, "");
    let me = get(&jobs, "/me").json();
    assert_eq!(
        me,
        json!({ "kind": "token", "name": "jobs", "scopes": ["checkin"], "admin": false, "apps": ["shop"] })
    );

    let zoo = json!({ "app": "zoo", "component": "canary", "frequency": 1, "time_units": "hours" });
    let made = as_token(&all, "POST", "/reservations", zoo.clone());
    let canary = format!("/reservations/{}", made.json()["id"]);
    assert_eq!(as_token(&shop, "POST", "/reservations", hourly("backup")).status, 201);
    // A name that they say themselves is no secret; one that they would learn is.
    assert_problem(&as_token(&shop, "POST", "/reservations", zoo.clone()), 403, "");
    assert_problem(&get(&shop, "/reservations?app=zoo"), 403, "");
    for (method, path) in
        [("GET", ""), ("DELETE", ""), ("POST", "/resume"), ("GET", "/alerts"), ("GET", "/check-ins")]
    {
        assert_problem(&as_token(&shop, method, &format!("{canary}{path}"), Value::Null), 404, "");
    }
    let listed = get(&shop, "/reservations").json();
    assert_eq!(
        (listed["reservations"].as_array().unwrap().len(), &listed["reservations"][0]["app"]),
        (1, &json!("shop"))
    );
    assert_eq!(get(&shop, "/export").json()["reservations"].as_array().unwrap().len(), 1);
    assert_eq!(get(&shop, "/alerts").json()["alerts"], json!([]));
    for path in ["/deliveries?state=dead", "/nodes", "/summary", "/tokens", "/audit"] {
        assert_problem(&get(&shop, path), 403, "");
    }
    assert_problem(&get(&all, "/audit"), 403, "");
    assert_problem(&get(&jobs, "/reservations"), 403, "");
    let set = json!({ "reservations": [hourly("backup"), zoo] });
    assert_problem(&as_token(&shop, "PUT", "/apply", set), 403, "");
    let pruned =
        as_token(&shop, "PUT", "/apply?prune=true", json!({ "reservations": [hourly("other")] })).json();
    assert_eq!(
        (pruned["created"].as_array().unwrap().len(), &pruned["removed"][0]["component"]),
        (1, &json!("backup"))
    );
    assert_eq!(get(&all, &canary).status, 200, "what belongs to others is not pruned");

    let wanted = json!({ "name": "new", "scopes": ["manage"], "apps": ["shop"] });
    let new = as_token(&deploy, "POST", "/tokens", wanted.clone());
    assert_eq!(new.status, 201, "{new:?}");
    let secret = new.json()["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("ik_"), "{secret}");
    let bearer = format!("Bearer {secret}");
    assert_eq!(get(&bearer, "/me").json()["name"], "new");
    assert_problem(&as_token(&deploy, "POST", "/tokens", wanted), 409, "");
    let more = json!({ "name": "more", "scopes": ["manage", "read"] });
    assert_problem(&as_token(&deploy, "POST", "/tokens", more), 403, "");
    assert!(!get(&deploy, "/tokens").body.contains(&secret));
    for (body, field) in [
        (json!({ "name": " x", "scopes": ["manage"] }), "name"),
        (json!({ "name": "x", "scopes": [] }), "scopes"),
        (json!({ "name": "x", "scopes": ["manage"], "apps": [""] }), "apps"),
        (json!({ "name": "x", "scopes": ["manage"], "expires_at": "1999-01-01T00:00:00Z" }), "expires_at"),
        (json!({ "name": "x", "scopes": "manage" }), "scopes"),
        (json!({ "name": "x", "scopes": ["manage"], "role": "admin" }), "role"),
    ] {
        assert_problem(&as_token(&deploy, "POST", "/tokens", body), 400, field);
    }
    let id = |name: &str| {
        let tokens = get(&deploy, "/tokens").json();
        let found = tokens["tokens"].as_array().unwrap().iter().find(|token| token["name"] == name).cloned();
        found.unwrap()["id"].as_i64().unwrap()
    };
    let remove = |name: &str| as_token(&deploy, "DELETE", &format!("/tokens/{}", id(name)), Value::Null);
    assert_problem(&remove("all"), 403, "");
    assert_eq!(remove("new").status, 204);
    eventually("the end of the token", || (get(&bearer, "/me").status == 401).then_some(()));
    assert_problem(&as_token(&deploy, "DELETE", "/tokens/999", Value::Null), 404, "");
}

#[test]
fn a_message_that_was_given_up_is_tried_again() {
    let gone = "[alerter.gone]\nkind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"exit 64\"]\n";
    let inn = Inn::with(Shape::Standalone, gone);
    inn.reserve("shop", "canary", json!({ "frequency": 1, "time_units": "hours", "notify": "gone" }));
    inn.age(Duration::from_secs(7200));
    let dead = eventually("a message that is given up", || {
        read(&inn, "/deliveries?state=dead")["deliveries"].as_array().unwrap().first().cloned()
    });
    let id = dead["id"].as_i64().unwrap();
    eventually("the log has it, too", || {
        read(&inn, "/deliveries?state=delivered")["deliveries"].as_array().unwrap().first().cloned()
    });
    let alert = read(&inn, "/alerts?open=true")["alerts"][0].clone();
    assert_eq!((&alert["app"], &alert["cause"]), (&json!("shop"), &json!("missed")));
    assert!(alert["deliveries"].as_array().unwrap().iter().any(|one| one["id"] == id), "{alert}");
    let of = read(&inn, &format!("/reservations/{}/alerts", alert["reservation_id"]));
    assert_eq!(of["alerts"][0], alert);
    assert_eq!(read(&inn, "/alerts?open=false")["alerts"], json!([]));
    assert_eq!(read(&inn, &format!("/alerts?before={}", alert["id"]))["alerts"], json!([]));
    assert_eq!(read(&inn, "/summary")["missed"][0]["component"], "canary");

    let retry = |id: i64| call(&inn, "POST", &format!("/deliveries/{id}/retry"), &[], &Value::Null);
    assert_eq!(retry(id).status, 204);
    eventually("that it is given up again", || {
        let dead = read(&inn, "/deliveries?state=dead")["deliveries"][0].clone();
        (dead["id"] == id && dead["finished_at"] != Value::Null).then_some(())
    });
    let delivered = eventually("one that is delivered", || {
        read(&inn, "/deliveries?state=delivered")["deliveries"][0]["id"].as_i64()
    });
    assert_problem(&retry(delivered), 409, "");
    assert_problem(&retry(999_999), 404, "");
    assert_problem(&call(&inn, "GET", "/deliveries", &[], &Value::Null), 400, "state");
    assert_problem(&call(&inn, "GET", "/deliveries?state=lost", &[], &Value::Null), 400, "state");
}

#[test]
fn what_cannot_be_taken_is_refused_by_its_name() {
    let inn = inn();
    make(&inn, &hourly("backup"));
    let before = inn.everything();
    let with = |field: &str, value: Value| {
        let mut body = hourly("other");
        body[field] = value;
        body
    };
    for (body, field) in [
        (with("app", json!("")), "app"),
        (with("app", json!("a\u{0}b")), "app"),
        (with("component", json!("x".repeat(151))), "component"),
        (with("component", json!("a\r\nb")), "component"),
        (with("owner", json!("a\u{0}b")), "owner"),
        (with("description", json!("a\u{1b}b")), "description"),
        (with("tags", json!(["a,b"])), "tags"),
        (with("tags", json!([1])), "tags[0]"),
        (with("notify", json!(["nobody"])), "notify"),
        (with("notify", json!("log")), "notify"),
        (with("notify", json!(["a@example.org\nBcc: x@example.org"])), "notify"),
        (with("alerters", json!(["nobody"])), "alerters"),
        (with("frequency", json!(0)), "frequency"),
        (with("frequency", json!(i64::MAX)), "frequency"),
        (with("frequency", json!(1e300)), "frequency"),
        (with("frequency", json!("1")), "frequency"),
        (with("time_units", json!("fortnights")), "time_units"),
        (with("time_zone", json!("UTC")), "cron"),
        (with("cron", json!("0 2 * * *")), "cron"),
        (with("grace", json!(5)), "grace"),
        (with("grace", json!("-5m")), "grace"),
        (with("alert_after", json!(51)), "alert_after"),
        (with("alert_after", json!(1.5)), "alert_after"),
        (with("notify_recovery", json!("yes")), "notify_recovery"),
        (with("max_run", json!("5ms")), "max_run"),
        (with("is_site", json!(1)), "is_site"),
        (with("state", json!("up")), "state"),
        (json!({ "app": "shop", "frequency": 1, "time_units": "hours" }), "component"),
        (json!({ "app": "shop", "component": "x" }), "frequency"),
        (json!({ "app": "shop", "component": "x", "cron": "61 * * * *" }), "cron"),
        (
            json!({ "app": "shop", "component": "x", "cron": "0 2 * * *", "time_zone": "Mars/Base" }),
            "time_zone",
        ),
        (json!([]), "body"),
        (json!(null), "body"),
    ] {
        assert_problem(&make(&inn, &body), 400, field);
    }
    let raw = |path: &str, body: &[u8]| inn.send("POST", &format!("{API}{path}"), &[], body);
    let deep = [b"{\"app\":".as_slice(), &b"[".repeat(30_000)].concat();
    for path in ["/reservations", "/apply", "/tokens", "/reservations/1/snooze"] {
        for body in [&b"\xff\xfe"[..], b"{", b"{}x", b"", &deep, b"{\"app\":\"a\",\"app\":\"b\"}"] {
            let answer = raw(path, body);
            assert_eq!(answer.status, 400, "{path}: {answer:?}");
        }
    }
    assert_problem(&raw("/reservations", &vec![b'{'; 70_000]), 413, "");
    assert_problem(&raw("/apply", &vec![b'{'; 17 << 20]), 413, "");
    for path in ["x", "-1", "0", "99999999999999999999", "1%00", "%FF"] {
        for method in ["GET", "DELETE"] {
            let answer = inn.send(method, &format!("{API}/reservations/{path}"), &[], b"");
            assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
        }
    }
    for body in [
        json!({}),
        json!({ "duration": "0s" }),
        json!({ "duration": "9999d" }),
        json!({ "duration": "1h", "until": "2099-01-01T00:00:00Z" }),
        json!({ "until": "1999-01-01T00:00:00Z" }),
        json!({ "until": "soon" }),
        json!({ "duration": 5 }),
    ] {
        assert_eq!(call(&inn, "POST", "/reservations/1/snooze", &[], &body).status, 400, "{body}");
    }
    assert_problem(&call(&inn, "PUT", "/reservations", &[], &Value::Null), 405, "");
    assert_problem(&call(&inn, "GET", "/nothing", &[], &Value::Null), 404, "");
    assert_eq!(inn.everything(), before, "nothing was written");
    assert!(!inn.logs().contains("answering 500"), "{}", inn.logs());
}
