//! A declared set over real HTTP: applied whole or not at all, and exported so that applying it changes nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::{Inn, Shape};
use innkeeper_testing::client::Response;
use serde_json::{Value, json};

const OPS: &str = "[alerter.ops]\nkind = \"command\"\ncommand = [\"/bin/true\"]\n";

fn apply(inn: &Inn, query: &str, body: &Value) -> Response {
    inn.send("PUT", &format!("/api/v1/apply{query}"), &[], body.to_string().as_bytes())
}

fn export(inn: &Inn, accept: &str) -> Response {
    inn.send("GET", "/api/v1/export", &[("accept", accept)], b"")
}

fn daily(component: &str) -> Value {
    json!({ "app": "shop", "component": component, "frequency": 1, "time_units": "days" })
}

fn names(answer: &Response, list: &str) -> Vec<String> {
    let named = answer.json()[list].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone();
    named.iter().map(|one| format!("{}/{}", one["app"], one["component"]).replace('"', "")).collect()
}

#[test]
fn a_set_is_made_true() {
    let inn = Inn::open(Shape::Standalone);
    let first = json!({ "reservations": [daily("kept"), daily("changed"), daily("gone")] });
    assert_eq!(names(&apply(&inn, "", &first), "created").len(), 3);
    let mut changed = daily("changed");
    changed["grace"] = json!("10m");
    let second = json!({ "reservations": [daily("kept"), changed, daily("new")] });
    let before = inn.everything();
    let dry = apply(&inn, "?dry_run=true&prune=true", &second);
    assert_eq!(inn.everything(), before, "a dry run writes nothing");
    let wet = apply(&inn, "?prune=true", &second);
    for (answer, dry_run) in [(&dry, true), (&wet, false)] {
        assert_eq!((answer.status, &answer.json()["dry_run"]), (200, &json!(dry_run)), "{answer:?}");
        assert_eq!(names(answer, "created"), ["shop/new"]);
        assert_eq!(names(answer, "changed"), ["shop/changed"]);
        assert_eq!(answer.json()["changed"][0]["difference"], json!(["grace: 0s -> 10m"]));
        assert_eq!(names(answer, "removed"), ["shop/gone"]);
        assert_eq!(answer.json()["unchanged"], 1);
    }
    assert_eq!(inn.jobs().len(), 3);
    // The document is the whole truth: what it does not say has its default.
    let third = json!({ "reservations": [daily("changed")] });
    let applied = apply(&inn, "", &third);
    assert_eq!(applied.json()["changed"][0]["difference"], json!(["grace: 10m -> 0s"]));
    assert_eq!((names(&applied, "removed").len(), inn.jobs().len()), (0, 3), "nothing is pruned unasked");
}

#[test]
fn a_slug_is_declared_patched_and_typed() {
    let inn = Inn::open(Shape::Standalone);
    let slugs = || {
        let mut slugs: Vec<_> =
            inn.jobs().iter().map(|job| job["slug"].as_str().unwrap().to_owned()).collect();
        slugs.sort();
        slugs
    };
    let with = |component: &str, slug: &str| {
        let mut document = daily(component);
        document["slug"] = json!(slug);
        document
    };
    let set = |list: &[Value]| json!({ "reservations": list });
    let first = apply(&inn, "", &set(&[with("a", "db--1"), daily("Büro (v2)")])).json();
    let buro =
        first["created"].as_array().unwrap().iter().find(|made| made["component"] == "Büro (v2)").unwrap();
    assert_eq!(slugs(), ["buro-v2", "db--1"]);
    // What is not said stays.
    let again = apply(&inn, "", &set(&[daily("a"), daily("Büro (v2)")])).json();
    assert_eq!((&again["unchanged"], slugs()), (&json!(2), vec!["buro-v2".to_owned(), "db--1".to_owned()]));
    let changed = apply(&inn, "", &set(&[with("a", "db-2")])).json();
    assert_eq!(changed["changed"][0]["difference"], json!(["slug: db--1 -> db-2"]));
    for (list, problem) in [
        (vec![with("b", "db-2")], "\"db-2\" cannot be that of shop/b: it is an address of shop/a"),
        (vec![with("b", "x"), with("c", "x")], "\"x\" cannot be that of shop/c: it is an address of shop/b"),
        (vec![with("b", "X")], "\"X\" is no slug"),
    ] {
        for query in ["?dry_run=true", ""] {
            let answer = apply(&inn, query, &set(&list));
            assert!(
                answer.status == 400 && answer.json()["detail"].as_str().unwrap().starts_with(problem),
                "{answer:?}"
            );
        }
    }
    let made = inn.send("POST", "/api/v1/reservations", &[], with("made", "own").to_string().as_bytes());
    assert_eq!((made.status, &made.json()["slug"]), (201, &json!("own")));
    let path = made.header("location").unwrap().to_owned();
    let patch = |body: Value| inn.send("PATCH", &path, &[("if-match", "*")], body.to_string().as_bytes());
    assert_eq!(patch(json!({ "slug": "other" })).json()["slug"], "other");
    assert_eq!(patch(json!({ "slug": null, "grace": "5m" })).json()["slug"], "other");
    let refused = patch(json!({ "slug": "db-2" }));
    assert_eq!((refused.status, &refused.json()["field"]), (400, &json!("slug")), "{refused:?}");
    assert_eq!(slugs(), ["buro-v2", "db-2", "other"]);
    // The form has it, too.
    let csrf = "0123456789012345678901234567890123456789012";
    let headers = [("accept", "text/html".to_owned()), ("cookie", format!("innkeeper-form={csrf}"))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let typed = |slug: &str| {
        let fields = format!(
            "csrf={csrf}&app=shop&component=typed&slug={slug}&kind=every&frequency=1&time_units=hours&alert_after=1"
        );
        inn.client.send("POST", &inn.at_web("/new"), &headers, fields.as_bytes()).unwrap()
    };
    for (slug, problem) in [("T%20T", "is no slug"), ("db-2", "it is an address of shop/a")] {
        let answer = typed(slug);
        assert!(answer.status == 400 && answer.body.contains(problem), "{answer:?}");
    }
    let made = typed("t--t");
    assert_eq!(made.status, 303, "{made:?}");
    assert_eq!(slugs(), ["buro-v2", "db-2", "other", "t--t"]);
    let page =
        inn.client.send("GET", &inn.at_web(&format!("/status/{}", buro["id"])), &headers, b"").unwrap().body;
    assert!(page.contains("<dt>Slug</dt><dd>buro-v2 ") && page.contains("/buro-v2</span>"), "{page}");
}

#[test]
fn one_wrong_entry_refuses_all() {
    let inn = Inn::open(Shape::Standalone);
    apply(&inn, "", &json!({ "reservations": [daily("kept")] }));
    let before = inn.everything();
    let with = |entry: Value| json!({ "reservations": [daily("one"), daily("two"), entry, daily("three")] });
    let mut unknown = daily("x");
    unknown["graze"] = json!("5m");
    for (body, field) in [
        (with(json!({ "app": "shop", "component": "x", "cron": "61 * * * *" })), "reservations[2].cron"),
        (with(json!({ "app": "shop", "component": "x" })), "reservations[2].frequency"),
        (with(json!({ "app": "shop" })), "reservations[2].component"),
        (with(daily("a\u{0}b")), "reservations[2].component"),
        (with(daily("one")), "reservations[2].component"),
        (with(unknown), "reservations[2].graze"),
        (json!({}), "reservations"),
        (json!({ "reservations": [], "x": 1 }), "x"),
    ] {
        for query in ["", "?dry_run=true", "?prune=true"] {
            let answer = apply(&inn, query, &body);
            assert_eq!((answer.status, &answer.json()["field"]), (400, &json!(field)), "{answer:?}");
        }
    }
    let nothing = json!({ "reservations": [] });
    assert_eq!(
        apply(&inn, "?prune=true", &nothing).json()["field"],
        "reservations",
        "an empty file removes nothing"
    );
    let other = apply(&inn, "?app=zoo", &json!({ "reservations": [daily("one")] }));
    assert_eq!(other.json()["field"], "reservations[0].app");
    assert_eq!(inn.everything(), before, "nothing is half-written");
    assert_eq!(names(&apply(&inn, "?prune=true&app=shop", &nothing), "removed"), ["shop/kept"]);
}

/// Reservations of all kinds, each field at values that might get lost.
fn kinds() -> Vec<Value> {
    let mut all = Vec::new();
    let schedules = [
        json!({ "frequency": 300, "time_units": "seconds" }),
        json!({ "frequency": 5, "time_units": "minutes" }),
        json!({ "frequency": 3650, "time_units": "days" }),
        json!({ "cron": "30 2 * * 1-5", "time_zone": "Europe/Berlin" }),
        json!({ "cron": "*/10 * * * * *" }),
        json!({ "cron": "@hourly", "time_zone": "UTC" }),
        json!({ "calendar": "*-*~3 06:00; quarterly", "time_zone": "America/New_York" }),
    ];
    let others = [
        json!({}),
        json!({ "grace": "0s", "remind_every": "0s", "notify_recovery": false, "is_site": true }),
        json!({ "grace": "250ms", "remind_every": "1h30m1s", "max_run": "1d", "min_run": "1s500ms", "alert_after": 50 }),
        json!({ "notify": ["a@example.org", "ops"], "alerters": ["ops", "log"], "tags": ["db", "ä \"q\""], "owner": "日本 'x'" }),
        json!({ "alert_msg": "a\r\n\t\"\"\"\\ {app} ''' \u{202e}", "description": "# [[x]]\n= 1\u{a0}" }),
        json!({ "alert_subject": "{state} \"{app}\" # x", "recovery_msg": "back\n\t\"\"\" '", "runbook": "https://wiki.example.org/a?b=c#d" }),
        json!({ "owner": "", "tags": [], "notify": [], "max_run": "0s", "remind_every": "each", "description": "\n" }),
    ];
    for (n, schedule) in schedules.iter().enumerate() {
        for (m, other) in others.iter().enumerate() {
            let mut body = json!({ "app": "[[a]] = \"b\" # ü", "component": format!("{n}\\{m}") });
            for (field, value) in schedule.as_object().unwrap().iter().chain(other.as_object().unwrap()) {
                body[field] = value.clone();
            }
            all.push(body);
        }
    }
    all
}

#[test]
fn what_is_exported_changes_nothing_when_it_is_applied() {
    let inn = Inn::with(Shape::Standalone, OPS);
    let made = apply(&inn, "", &json!({ "reservations": kinds() }));
    assert_eq!(names(&made, "created").len(), 49, "{made:?}");
    // Made by the protocols, too: what a ping made has no frequency as it was written.
    inn.reserve("shop", "gotel", json!({ "notify": "ops", "remind_every": "0s", "alert_msg": "{app}" }));
    let key = inn.job("shop", "gotel")["ping_key"].as_str().unwrap().to_owned();
    assert_eq!(inn.call(&format!("/ping/{key}/pinged?create=1")).status, 201);
    let query = "/?cronname=cron&account=shop&email=ops@example.org&frequency=300&site=1";
    assert_eq!(inn.call(query).status, 201);
    let before = inn.everything();
    for (kind, length) in [("application/json", 52), ("application/toml", 52)] {
        let exported = export(&inn, kind);
        assert!(exported.header("content-type").unwrap().starts_with(kind), "{exported:?}");
        let headers = [("content-type", kind)];
        let answer = inn.send("POST", "/api/v1/apply?prune=true", &headers, exported.body.as_bytes());
        let none = Vec::<Value>::new();
        let mut applied = answer.json();
        // No alerter here sends mail.
        assert!(applied["warnings"].take().to_string().contains("a@example.org"), "{}", exported.body);
        assert_eq!(
            applied,
            json!({ "dry_run": false, "created": none, "changed": none, "removed": none, "unchanged": length, "warnings": null }),
            "{}",
            exported.body
        );
    }
    assert_eq!(inn.everything(), before);
    // And it makes the same elsewhere.
    let other = Inn::with(Shape::Standalone, OPS);
    let exported = export(&inn, "application/toml").body;
    let headers = [("content-type", "application/toml")];
    assert_eq!(other.send("PUT", "/api/v1/apply", &headers, exported.as_bytes()).status, 200);
    assert_eq!(export(&other, "application/toml").body, exported);
}
