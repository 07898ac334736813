//! Healthchecks' pings: every form of address, and the exact answers.

mod common;

use std::time::Duration;

use common::raw::{Raw, request};
use common::ways::{Ways, latest, said};
use common::{Inn, Shape, eventually};
use serde_json::json;
use uuid::Uuid;

in_both_shapes![
    every_form_of_address_checks_in,
    each_action_is_what_it_says,
    a_trailing_slash_works_on_the_bare_form,
    answers_carry_the_protocols_headers,
    a_run_id_pairs_start_and_end,
    without_a_run_id_start_and_end_are_paired_too,
    a_failure_opens_and_a_success_closes,
    create_makes_the_check,
    what_cannot_be_a_ping_is_refused,
    what_is_not_there_is_not_found,
    a_slug_is_that_of_one_check,
    a_check_made_by_a_slug_keeps_it,
    a_check_that_is_gone_is_not_found,
];

fn every_form_of_address_checks_in(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    let mut count = 0;
    for way in ways.all() {
        for method in ["GET", "POST", "PUT", "HEAD"] {
            let answer = inn.send(method, way, &[], b"");
            let text = if method == "HEAD" { "" } else { "OK" };
            assert_eq!(said(&answer), (200, text), "{method} {way}");
            count += 1;
            assert_eq!(inn.job("shop", "Nightly Backup")["number_of_checkins"], count, "{method} {way}");
        }
        let answer = inn.send("DELETE", way, &[], b"");
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET, HEAD, OPTIONS, POST, PUT")),
            "{way}"
        );
    }
    // What the protocol does not know is passed over, broken or not.
    assert_eq!(said(&inn.call(&format!("{}?utm=%zz&%ff=1&create=1", ways.key))), (200, "OK"));
    // A UUID means the same in capitals.
    assert_eq!(said(&inn.call(&ways.key.to_uppercase().replace("/PING", "/ping"))), (200, "OK"));
}

fn each_action_is_what_it_says(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    for way in ways.all() {
        for (action, kind, exit_code) in [
            ("", "success", None),
            ("/start", "start", None),
            ("/fail", "fail", None),
            ("/log", "log", None),
            ("/0", "success", Some(0)),
            ("/1", "fail", Some(1)),
            ("/127", "fail", Some(127)),
            ("/255", "fail", Some(255)),
            ("/007", "fail", Some(7)),
        ] {
            let body = format!("said {action}");
            let answer = inn.send("POST", &format!("{way}{action}"), &[], body.as_bytes());
            assert_eq!(said(&answer), (200, "OK"), "{way}{action}");
            assert_eq!(latest(&inn, ways.id), (kind.to_owned(), exit_code, body), "{way}{action}");
        }
    }
}

fn a_trailing_slash_works_on_the_bare_form(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    for way in ways.all() {
        assert_eq!(said(&inn.call(&format!("{way}/"))), (200, "OK"), "{way}");
        assert_eq!(said(&inn.send("POST", &format!("{way}/"), &[], b"x")), (200, "OK"), "{way}");
    }
    assert_eq!(inn.job("shop", "Nightly Backup")["number_of_checkins"], 8);
}

fn answers_carry_the_protocols_headers(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    let unknown = format!("/ping/{}", Uuid::new_v4());
    for (path, status) in [
        (ways.key.clone(), 200),
        (format!("{}/256", ways.key), 400),
        (format!("{}?rid=x", ways.key), 400),
        (unknown, 404),
        ("/ping/x".to_owned(), 404),
    ] {
        let answer = inn.call(&path);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("ping-body-limit"), Some("10000"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}");
        assert!(answer.header("cache-control").is_some_and(|how| how.contains("no-store")), "{answer:?}");
        assert!(
            answer.header("content-type").is_some_and(|what| what.starts_with("text/plain")),
            "{answer:?}"
        );
    }
}

fn a_run_id_pairs_start_and_end(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    let [one, two] = [Uuid::new_v4(), Uuid::new_v4()];
    let ping = |action: &str, rid: Option<Uuid>| {
        let query = rid.map(|rid| format!("?rid={rid}")).unwrap_or_default();
        assert_eq!(said(&inn.call(&format!("{}{action}{query}", ways.key))), (200, "OK"));
    };
    ping("/start", Some(one));
    inn.age(Duration::from_secs(30));
    ping("/start", Some(two));
    inn.age(Duration::from_secs(10));
    ping("", Some(one));
    ping("/log", Some(two));
    inn.age(Duration::from_secs(10));
    ping("/3", Some(two));
    ping("", Some(Uuid::new_v4()));
    let history = inn.database.store().checkins_of(ways.id, 10).expect("the history");
    let shown: Vec<(&str, Option<i64>)> = history
        .iter()
        .rev()
        .map(|checkin| (checkin.kind.as_str(), checkin.duration.map(|took| took.num_seconds() / 10 * 10)))
        .collect();
    let expected = [
        ("start", None),
        ("start", None),
        ("success", Some(40)),
        ("log", None),
        ("fail", Some(20)),
        ("success", None),
    ];
    assert_eq!(shown, expected);
    let ids: Vec<Option<String>> = history.iter().rev().map(|checkin| checkin.run_id.clone()).collect();
    assert_eq!(ids[..3], [Some(one.to_string()), Some(two.to_string()), Some(one.to_string())]);
}

fn without_a_run_id_start_and_end_are_paired_too(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    for (action, seconds) in [("/start", 50), ("", 5), ("", 5), ("/start", 70), ("/fail", 0)] {
        assert_eq!(said(&inn.call(&format!("{}{action}", ways.slug))), (200, "OK"));
        inn.age(Duration::from_secs(seconds));
    }
    let history = inn.database.store().checkins_of(ways.id, 10).expect("the history");
    let took = history.iter().rev().map(|checkin| checkin.duration.map(|took| took.num_seconds() / 10 * 10));
    assert_eq!(took.collect::<Vec<_>>(), [None, Some(50), None, None, Some(70)]);
}

fn a_failure_opens_and_a_success_closes(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    inn.call(&format!("{}/42", ways.slug));
    eventually("the alert", || {
        let reason = inn.job("shop", "Nightly Backup")["reason"].clone();
        reason.as_str()?.contains("exit status 42").then_some(())
    });
    inn.call(&ways.root);
    eventually("its end", || (inn.job("shop", "Nightly Backup")["state"] == "up").then_some(()));
}

fn create_makes_the_check(shape: Shape) {
    let inn = Inn::with(shape, "operator = [\"log\"]\n");
    let ways = Ways::to(&inn);
    let fresh = ways.slug.replace("nightly-backup", "fresh_1");
    assert_eq!(said(&inn.call(&fresh)), (404, "not found"));
    assert_eq!(said(&inn.call(&format!("{fresh}?create=0"))), (404, "not found"));
    assert_eq!(said(&inn.call(&format!("{fresh}?create=1"))), (201, "Created"));
    assert_eq!(said(&inn.call(&format!("{fresh}?create=1"))), (200, "OK"));
    assert_eq!(said(&inn.call(&fresh)), (200, "OK"));
    let job = inn.job("shop", "fresh_1");
    assert_eq!((&job["schedule"], &job["notify"]), (&json!("every 1 day"), &json!("log")));
    assert_eq!(job["deadline"], json!(job["expected_at"].as_i64().expect("a time") + 3600));
    assert_eq!(job["number_of_checkins"], 3);
    let limits = inn.database.texts("SELECT component FROM reservations WHERE max_run_ms = grace_ms");
    assert_eq!(
        limits,
        ["fresh_1"],
        "a run that hangs for longer than its grace is told, of what a ping has made"
    );
    // Whatever the first ping says.
    for action in ["start", "fail", "log", "7"] {
        let path = ways.slug.replace("nightly-backup", &format!("by-{action}/{action}?create=1"));
        assert_eq!(said(&inn.send("POST", &path, &[], b"hello")), (201, "Created"), "{action}");
        assert_eq!(said(&inn.send("POST", &path, &[], b"hello")), (200, "OK"), "{action}");
    }
    // A UUID cannot be made, and an existing check is not changed.
    assert_eq!(said(&inn.call(&format!("/ping/{}?create=1", Uuid::new_v4()))), (404, "not found"));
    assert_eq!(said(&inn.call(&format!("{}?create=1", ways.slug))), (200, "OK"));
    assert_eq!(inn.job("shop", "Nightly Backup")["frequency"], 50);
    assert_eq!(inn.jobs().len(), 6);
}

fn what_cannot_be_a_ping_is_refused(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    let before = inn.everything();
    for way in ways.all() {
        for action in
            ["256", "1000", "-1", "99999999999999999999", "Start", "START", "stop", "start%00", "1.5"]
        {
            let answer = inn.call(&format!("{way}/{action}"));
            assert_eq!(said(&answer), (400, "invalid url format"), "{way}/{action}");
        }
        for rid in ["", "x", "123", "00000000-0000-0000-0000-00000000000g", "%7B%7D", "a%00", "%zz", "%ff"] {
            let answer = inn.call(&format!("{way}?rid={rid}"));
            assert_eq!(said(&answer), (400, "invalid uuid format"), "{way}?rid={rid}");
        }
    }
    for slug in ["Nightly-Backup", "nightly%20backup", "n%00", "n.b", "%C3%A9", &"x".repeat(151)] {
        let answer = inn.call(&ways.slug.replace("nightly-backup", &format!("{slug}?create=1")));
        assert_eq!(said(&answer), (400, "invalid url format"), "{slug}");
    }
    assert_eq!(inn.everything(), before);
}

fn what_is_not_there_is_not_found(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    let before = inn.everything();
    let unknown = Uuid::new_v4();
    for path in [
        format!("/ping/{unknown}"),
        format!("/{unknown}"),
        format!("/ping/{unknown}/start"),
        ways.slug.replace("nightly", "daily"),
        "/ping/nobody/nightly-backup".to_owned(),
        "/ping/nobody/nightly-backup?create=1".to_owned(),
        "/ping/a%00b/nightly-backup".to_owned(),
        "/ping/a%00b/nightly-backup/fail?create=1".to_owned(),
        "/ping/%ff/nightly-backup".to_owned(),
        "/ping/nobody".to_owned(),
    ] {
        assert_eq!(said(&inn.call(&path)), (404, "not found"), "{path}");
    }
    assert_eq!(inn.everything(), before);
    assert!(!inn.logs().contains("ERROR"), "what a stranger asks is no error of ours: {}", inn.logs());
}

fn a_slug_is_that_of_one_check(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    inn.reserve("shop", "nightly_backup", json!({ "time_units": "days" }));
    inn.reserve("shop", "Nightly--backup!", json!({ "time_units": "days" }));
    inn.reserve("shop", "Büro (v2)", json!({}));
    inn.reserve("shop", "日本", json!({}));
    let numbered = format!("job-{}", inn.job("shop", "日本")["job_id"]);
    for (component, slug) in [
        ("Nightly Backup", "nightly-backup"),
        ("nightly_backup", "nightly_backup"),
        ("Nightly--backup!", "nightly-backup-2"),
        ("Büro (v2)", "buro-v2"),
        ("日本", &numbered),
    ] {
        assert_eq!(inn.job("shop", component)["slug"], slug);
        let way = ways.slug.replace("nightly-backup", slug);
        for way in [way.clone(), way.replace("/ping", "")] {
            assert_eq!(said(&inn.call(&way)), (200, "OK"), "{way}");
        }
        assert_eq!(inn.job("shop", component)["number_of_checkins"], 2, "{component}");
    }
    // The same slug in another app is another check.
    inn.reserve("bakery", "nightly-backup", json!({}));
    let key = inn.job("bakery", "nightly-backup")["ping_key"].as_str().expect("a key").to_owned();
    assert_eq!(said(&inn.call(&format!("/ping/{key}/nightly-backup"))), (200, "OK"));
    assert_eq!(inn.job("bakery", "nightly-backup")["number_of_checkins"], 1);
}

fn a_check_made_by_a_slug_keeps_it(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    for slug in ["backup--daily", "backup-daily", "_x_", "0", "start"] {
        let way = ways.slug.replace("nightly-backup", slug);
        assert_eq!(said(&inn.call(&format!("{way}?create=1"))), (201, "Created"), "{slug}");
        for way in [way.clone(), way.replace("/ping", "")] {
            for end in ["", "/", "/start", "/0", "?create=1"] {
                assert_eq!(said(&inn.call(&format!("{way}{end}"))), (200, "OK"), "{way}{end}");
            }
        }
        let job = inn.job("shop", slug);
        assert_eq!((job["slug"].as_str(), job["number_of_checkins"].as_i64()), (Some(slug), Some(11)));
    }
}

fn a_check_that_is_gone_is_not_found(shape: Shape) {
    let inn = Inn::open(shape);
    let ways = Ways::to(&inn);
    inn.post("/checkout", &json!({ "app": "shop", "component": "Nightly Backup" }));
    for way in ways.all() {
        let answer = Raw::connect(inn.ingest).ask(&request(&format!("POST {way}"), "", b"too late"));
        assert_eq!((answer.status, answer.body.as_str()), (404, "not found"), "{way}");
    }
}
