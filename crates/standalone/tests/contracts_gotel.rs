//! GoTel's requests, each with its exact answer.

mod common;

use std::time::Duration;

use common::raw::{Raw, request};
use common::{Inn, Shape, eventually};
use serde_json::{Value, json};

in_both_shapes![
    a_bare_get_says_that_it_is_there,
    a_reservation_is_made,
    a_second_reservation_changes_what_it_names,
    a_field_that_nobody_knows_is_refused_in_a_reservation,
    a_checkin_is_not_refused_for_a_field_too_many,
    a_key_of_any_value_costs_no_checkin,
    a_reservation_as_it_is_listed_can_be_sent_back,
    keys_are_matched_without_regard_to_case,
    of_long_notes_both_ends_are_kept,
    a_slug_is_chosen,
    a_cron_reservation_takes_frequencys_place,
    a_checkin_is_recorded,
    no_content_type_is_needed,
    the_list_has_every_field_and_the_latest_checkin_first,
    the_list_says_who_is_overdue,
    a_snooze_is_confirmed,
    a_checkout_removes,
    an_unknown_reservation_is_said_to_be_unknown,
    a_wrong_method_is_told_the_right_ones,
    head_is_get_without_a_body,
];

fn a_bare_get_says_that_it_is_there(shape: Shape) {
    let inn = Inn::open(shape);
    for answer in [inn.call("/"), inn.read("/")] {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json(), json!({ "success": true, "message": "A-OK!" }));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

fn a_reservation_is_made(shape: Shape) {
    let inn = Inn::open(shape);
    let answer = inn.post(
        "/reservation",
        &json!({
            "app": "shop", "component": "backup", "notify": "a@example.org, b@example.org", "alert_msg": "{app} is late",
            "frequency": 5, "time_units": "minutes", "owner": "Ada",
        }),
    );
    assert_eq!((answer.status, answer.body.as_str()), (200, "\"OK\""));
    let job = inn.job("shop", "backup");
    assert_eq!((&job["frequency"], &job["time_units"]), (&json!(5), &json!("minutes")));
    assert_eq!((&job["owner"], &job["notify"]), (&json!("Ada"), &json!("a@example.org,b@example.org")));

    // Only the names and the frequency have to be there.
    for (units, seconds) in [("seconds", 7), ("minutes", 420), ("hours", 25_200), ("days", 604_800)] {
        let answer = inn.post(
            "/reservation",
            &json!({ "app": "bare", "component": units, "frequency": "7", "time_units": units }),
        );
        assert_eq!(answer.status, 200, "{answer:?}");
        let job = inn.job("bare", units);
        assert_eq!((&job["frequency"], &job["time_units"]), (&json!(7), &json!(units)));
        assert_eq!((&job["owner"], &job["notify"], &job["alert_msg"]), (&json!(""), &json!(""), &json!("")));
        let made = inn.database.number("SELECT MAX(created_at) / 1000 FROM reservations").expect("one");
        assert_eq!(job["deadline"], made + seconds, "no day of grace before the first check-in");
    }
}

fn a_second_reservation_changes_what_it_names(shape: Shape) {
    let inn = Inn::open(shape);
    inn.reserve(
        "shop",
        "backup",
        json!({ "notify": "a@example.org", "owner": "Ada", "alert_msg": "late", "tags": ["db"], "grace": "30s" }),
    );
    inn.check_in("shop", "backup");
    let before = inn.job("shop", "backup");

    inn.reserve(
        "shop",
        "backup",
        json!({ "notify": "b@example.org", "frequency": 2, "time_units": "hours" }),
    );
    let after = inn.job("shop", "backup");
    for (field, value) in
        [("notify", json!("b@example.org")), ("frequency", json!(2)), ("time_units", json!("hours"))]
    {
        assert_eq!(after[field], value);
    }
    for field in
        ["job_id", "owner", "alert_msg", "tags", "ping_url", "ping_key", "last_checkin", "number_of_checkins"]
    {
        assert_eq!(after[field], before[field], "{field} was not named");
    }
    assert_eq!(after["deadline"], json!(after["last_checkin"].as_i64().expect("a time") + 7200 + 30));

    // An empty text empties; a null says nothing.
    inn.reserve("shop", "backup", json!({ "notify": "", "alert_msg": "", "owner": null, "tags": [] }));
    let emptied = inn.job("shop", "backup");
    assert_eq!((&emptied["notify"], &emptied["alert_msg"]), (&json!(""), &json!("")));
    assert_eq!((&emptied["owner"], &emptied["tags"]), (&json!("Ada"), &json!([])));

    // A reservation that exists need not say its frequency again.
    let answer = inn.post("/reservation", &json!({ "app": "shop", "component": "backup", "owner": "Bo" }));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(inn.job("shop", "backup")["owner"], "Bo");
    assert_eq!(inn.jobs().len(), 1);
}

fn a_field_that_nobody_knows_is_refused_in_a_reservation(shape: Shape) {
    let inn = Inn::open(shape);
    let body = |field: &str, value: Value| {
        let mut body = json!({ "app": "shop", "component": "backup", "cron": "0 2 * * *" });
        body[field] = value;
        body
    };
    for (field, meant) in [
        ("timezone", "time_zone"),
        ("TimeZone", "time_zone"),
        ("tz", "time_zone"),
        ("alertmsg", "alert_msg"),
        ("email", "notify"),
        ("interval", "frequency"),
        ("maxrun", "max_run"),
    ] {
        let answer = inn.post("/reservation", &body(field, json!("x")));
        assert_eq!(answer.status, 400, "{answer:?}");
        let said = answer.json();
        assert_eq!(said["field"], field);
        assert_eq!(said["message"], format!("{field}: is no field here; did you mean {meant}?"));
    }
    let answer = inn.post("/reservation", &body("colour", json!(null)));
    assert!(
        answer.json()["message"].as_str().expect("a text").contains("allowed: app, component, slug"),
        "{answer:?}"
    );
    assert_eq!(inn.jobs().len(), 0);
    // A slip in what must be there is named rather than what is missing by it.
    let slip = json!({ "app": "shop", "component": "backup", "freqency": 5, "time_units": "minutes" });
    assert_eq!(inn.post("/reservation", &slip).json()["field"], "freqency");

    // GoTel's own programs send all that they know of a reservation.
    let own = json!({
        "job_id": 0, "owner": "ada", "notify": "log", "alert_msg": "", "app": "shop", "component": "own", "frequency": 5,
        "time_units": "minutes", "last_checkin": 0, "last_checkin_str": "", "time_since_last_checkin": "",
        "time_sine_last_checkin": "", "failing_sla": false, "number_of_checkins": 0,
    });
    let answer = inn.post("/reservation", &own);
    assert_eq!((answer.status, answer.header("warning")), (200, None), "{answer:?}");
}

fn a_checkin_is_not_refused_for_a_field_too_many(shape: Shape) {
    let inn = Inn::open(shape);
    inn.reserve("shop", "backup", json!({}));
    for (path, body, warned) in [
        (
            "/checkin",
            json!({ "note": "done", "host": 7 }),
            "\\\"note\\\" is no field here; did you mean notes?",
        ),
        (
            "/snooze",
            json!({ "duration": 1, "time_units": "hours", "reason": "x" }),
            "\\\"reason\\\" is no field here",
        ),
        (
            "/pause",
            json!({ "frequency": 1, "time_units": "hours", "by": {} }),
            "\\\"by\\\" is no field here; allowed: app",
        ),
        ("/checkout", json!({ "notes": "gone" }), "\\\"notes\\\" is no field here; allowed: app, component"),
    ] {
        let mut body = body;
        (body["app"], body["component"]) = (json!("shop"), json!("backup"));
        let answer = inn.post(path, &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        let warning = answer.header("warning").unwrap_or_default();
        assert!(warning.starts_with("299 innkeeper \"") && warning.contains(warned), "{path}: {warning}");
    }
    assert_eq!(inn.jobs().len(), 0);
    inn.reserve("shop", "backup", json!({}));
    let own = json!({ "app": "shop", "component": "backup", "notes": "", "job_id": 3, "failing_sla": false });
    for body in [own, json!({ "app": "shop", "component": "backup" })] {
        let answer = inn.post("/checkin", &body);
        assert_eq!((answer.status, answer.header("warning")), (200, None), "{answer:?}");
    }
    let many: serde_json::Map<String, Value> = (0..1000).map(|n| (format!("x{n}"), json!(n))).collect();
    let mut many = Value::Object(many);
    (many["app"], many["component"]) = (json!("shop"), json!("backup"));
    let answer = inn.post("/checkin", &many);
    assert!(answer.status == 200 && answer.header("warning").expect("a warning").len() < 600, "{answer:?}");
}

fn a_key_of_any_value_costs_no_checkin(shape: Shape) {
    let inn = Inn::open(shape);
    inn.reserve("shop", "backup", json!({}));
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let big = "9".repeat(400);
    let (half, half_as_key) = (r#""host":"\udce9x""#, r#""\udce9":1"#);
    let mut more = vec![half.to_owned(), half_as_key.to_owned(), format!("\"host\":{deep}")];
    for value in ["1e999", &big, "null", "\"\"", "{\"a\":1}", "[1]", "true"] {
        more.extend(["host", "App", "COMPONENT", "Notes"].map(|key| format!("\"{key}\":{value}")));
    }
    more.push(format!("\"Notes\":{deep}"));
    more.push(r#""App":"\udce9""#.to_owned());
    more.push(r#""app":null"#.to_owned());
    for (checkins, more) in (1..).zip(more) {
        let body = format!(r#"{{"app":"shop","component":"backup","notes":"done",{more}}}"#);
        let answer = inn.send("POST", "/checkin", &[], body.as_bytes());
        assert_eq!(answer.status, 200, "{more}: {answer:?}");
        let job = inn.job("shop", "backup");
        assert_eq!(job["number_of_checkins"], checkins, "{more}");
        let first = format!(r#"{{{more},"cronname":"c","account":"a","email":"log","frequency":60}}"#);
        let answer = inn.send("POST", "/", &[], first.as_bytes());
        assert_eq!(answer.status, 201, "{more}: {answer:?}");
    }
    // What is no JSON is none, wherever it stands.
    for more in ["\"host\":", "\"host\":[1", "\"host\":tru", "\"host\":1,", "\"host\":1} x"] {
        let body = format!(r#"{{"app":"shop","component":"backup",{more}}}"#);
        let answer = inn.send("POST", "/checkin", &[], body.as_bytes());
        assert_eq!((answer.status, &answer.json()["field"]), (400, &json!("body")), "{more}: {answer:?}");
    }
}

fn a_reservation_as_it_is_listed_can_be_sent_back(shape: Shape) {
    let inn = Inn::open(shape);
    inn.reserve("shop", "interval", json!({}));
    let cron =
        json!({ "app": "shop", "component": "cron", "cron": "0 2 * * *", "time_zone": "Europe/Berlin" });
    assert_eq!(inn.post("/reservation", &cron).status, 200);
    for component in ["interval", "cron"] {
        let mut job = inn.job("shop", component);
        job["notify"] = json!("b@example.org");
        let answer = inn.post("/reservation", &job);
        assert_eq!(answer.status, 200, "{answer:?}");
        let now = inn.job("shop", component);
        for field in ["notify", "schedule", "frequency", "grace", "slug", "job_id"] {
            assert_eq!(now[field], job[field], "{component}: {field}");
        }
        job["colour"] = json!("red");
        assert_eq!(inn.post("/reservation", &job).json()["field"], "colour");
    }
    // By itself it means something, and would change nothing.
    let schedule = json!({ "app": "shop", "component": "cron", "schedule": "0 3 * * *" });
    assert_eq!(inn.post("/reservation", &schedule).json()["field"], "schedule");
}

fn keys_are_matched_without_regard_to_case(shape: Shape) {
    let inn = Inn::open(shape);
    let made = json!({ "App": "shop", "COMPONENT": "backup", "Frequency": 5, "timE_units": "minutes", "Notify": "log" });
    assert_eq!(inn.post("/reservation", &made).status, 200);
    let job = inn.job("shop", "backup");
    assert_eq!((&job["frequency"], &job["notify"]), (&json!(5), &json!("log")));
    let answer = inn.post("/checkin", &json!({ "App": "shop", "Component": "backup", "Notes": "done" }));
    assert_eq!((answer.status, answer.header("warning")), (200, None), "{answer:?}");
    let id = job["job_id"].as_i64().expect("an id");
    assert_eq!(inn.database.store().checkins_of(id, 1).expect("the history")[0].notes, "done");
    // The last of equal ones counts, as in Go.
    let twice = br#"{"app": "nobody", "APP": "shop", "component": "backup", "Component": "backup"}"#;
    assert_eq!(inn.send("POST", "/checkin", &[], twice).status, 200);
    let twice = br#"{"APP": "shop", "app": "nobody", "component": "backup"}"#;
    assert_eq!(inn.send("POST", "/checkin", &[], twice).status, 404);
    for path in ["/snooze", "/checkout"] {
        let body = json!({ "APP": "shop", "Component": "backup", "Duration": 1, "Time_Units": "hours" });
        assert_eq!(inn.post(path, &body).status, 200, "{path}");
    }
}

fn of_long_notes_both_ends_are_kept(shape: Shape) {
    let inn = Inn::open(shape);
    inn.reserve("shop", "backup", json!({}));
    let notes = format!("begun {} ended é", "x".repeat(20_000));
    let answer = inn.post("/checkin", &json!({ "app": "shop", "component": "backup", "notes": notes }));
    assert_eq!(answer.status, 200);
    let id = inn.job("shop", "backup")["job_id"].as_i64().expect("an id");
    let kept = inn.database.store().checkins_of(id, 1).expect("the history")[0].notes.clone();
    assert!(kept.starts_with("begun x") && kept.ends_with("x ended é") && kept.len() <= 10_000, "{kept}");
    assert!(kept.contains(" bytes left out ...]"), "{kept}");
}

fn a_slug_is_chosen(shape: Shape) {
    let inn = Inn::open(shape);
    inn.reserve("shop", "backup", json!({ "slug": "db--1" }));
    assert_eq!(inn.job("shop", "backup")["slug"], "db--1");
    for (component, slug, problem) in [
        ("other", "db--1", "slug: \"db--1\" cannot be that of shop/other: it is an address of shop/backup"),
        ("other", "DB", "slug: \"DB\" is no slug; give 1 to 150 of a–z, 0–9, - and _"),
        ("backup", "", "slug: \"\" is no slug; give 1 to 150 of a–z, 0–9, - and _"),
    ] {
        let body = json!({ "app": "shop", "component": component, "slug": slug, "frequency": 1, "time_units": "hours" });
        let answer = inn.post("/reservation", &body);
        assert_eq!((answer.status, &answer.json()["message"]), (400, &json!(problem)));
    }
    inn.reserve("shop", "backup", json!({ "slug": "db" }));
    assert_eq!((inn.job("shop", "backup")["slug"].as_str(), inn.jobs().len()), (Some("db"), 1));
}

fn a_cron_reservation_takes_frequencys_place(shape: Shape) {
    let inn = Inn::open(shape);
    let nightly =
        json!({ "app": "shop", "component": "night", "cron": "30 2 * * *", "time_zone": "Europe/Berlin" });
    assert_eq!(inn.post("/reservation", &nightly).status, 200);
    let job = inn.job("shop", "night");
    assert_eq!((&job["frequency"], &job["time_units"]), (&json!(0), &json!("")));
    assert_eq!(job["schedule"], "at 30 2 * * *, Europe/Berlin");
    let at = |field: &str| {
        let instant = chrono::DateTime::from_timestamp(job[field].as_i64().expect("seconds"), 0);
        instant.expect("an instant").with_timezone(&chrono::FixedOffset::east_opt(0).expect("UTC"))
    };
    let wall = at("expected_at").format("%H:%M:%S").to_string();
    assert!(["00:30:00", "01:30:00"].contains(&wall.as_str()), "half past two in Berlin, in UTC: {wall}");
    assert_eq!((at("deadline") - at("expected_at")).num_minutes(), 5, "a cron job's usual grace");

    inn.reserve("shop", "night", json!({ "frequency": 3, "time_units": "days" }));
    let job = inn.job("shop", "night");
    assert_eq!((&job["frequency"], &job["schedule"]), (&json!(3), &json!("every 3 days")));
}

fn a_checkin_is_recorded(shape: Shape) {
    let inn = Inn::open(shape);
    inn.reserve("shop", "backup", json!({}));
    let answer = inn.post("/checkin", &json!({ "app": "shop", "component": "backup", "notes": "4 GB" }));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({ "success": true, "message": "Application checked in: shop" }));
    inn.check_in("shop", "backup");
    let job = inn.job("shop", "backup");
    assert_eq!((&job["number_of_checkins"], &job["state"]), (&json!(2), &json!("up")));
    let history =
        inn.database.store().checkins_of(job["job_id"].as_i64().expect("an id"), 10).expect("history");
    let notes: Vec<&str> = history.iter().map(|checkin| checkin.notes.as_str()).collect();
    assert_eq!(notes, ["", "4 GB"]);
    assert_eq!(history[0].source, "127.0.0.1");
}

fn no_content_type_is_needed(shape: Shape) {
    let inn = Inn::open(shape);
    inn.reserve("shop", "backup", json!({}));
    let body = br#"{"app": "shop", "component": "backup"}"#;
    // As curl -d says, as scripts guess, and as nobody says anything.
    for header in
        ["Content-type: application/x-www-form-urlencoded\r\n", "Content-Type: text/html; charset=x\r\n", ""]
    {
        let answer = Raw::connect(inn.ingest).ask(&request("POST /checkin", header, body));
        assert_eq!(answer.status, 200, "{header:?} {answer:?}");
    }
    assert_eq!(inn.job("shop", "backup")["number_of_checkins"], 3);
}

fn the_list_has_every_field_and_the_latest_checkin_first(shape: Shape) {
    let inn = Inn::open(shape);
    assert_eq!(inn.read("/reservation").json(), json!({ "success": true, "result": [] }));
    for component in ["first", "second", "third", "never"] {
        inn.reserve("shop", component, json!({ "frequency": 5, "notify": "a@example.org" }));
    }
    for component in ["third", "first", "second"] {
        inn.check_in("shop", component);
        inn.age(Duration::from_secs(10));
    }
    let jobs = inn.jobs();
    let order: Vec<&str> = jobs.iter().filter_map(|job| job["component"].as_str()).collect();
    assert_eq!(order, ["second", "first", "third", "never"]);
    for job in &jobs {
        let is = |field: &str, fits: fn(&Value) -> bool| assert!(fits(&job[field]), "{field} in {job}");
        for field in ["job_id", "frequency", "last_checkin", "number_of_checkins", "expected_at", "deadline"]
        {
            is(field, Value::is_i64);
        }
        for field in [
            "owner",
            "notify",
            "alert_msg",
            "app",
            "component",
            "time_units",
            "last_checkin_str",
            "time_since_last_checkin",
            "state",
            "schedule",
            "ping_url",
            "description",
        ] {
            is(field, Value::is_string);
        }
        is("failing_sla", Value::is_boolean);
        is("tags", Value::is_array);
    }
    let (latest, never) = (&jobs[0], &jobs[3]);
    assert_eq!(latest["number_of_checkins"], 1);
    let since = latest["time_since_last_checkin"].as_str().expect("words");
    assert!(since.starts_with("1") && since.ends_with(" seconds ago"), "{since}");
    let at = chrono::DateTime::from_timestamp(latest["last_checkin"].as_i64().expect("seconds"), 0);
    // Seconds are left out where they are none.
    let shown =
        at.expect("an instant").format("%Y-%m-%d %H:%M:%S UTC").to_string().replace(":00 UTC", " UTC");
    assert_eq!(latest["last_checkin_str"], shown);
    assert_eq!((&never["last_checkin"], &never["last_checkin_str"]), (&json!(0), &json!("never")));
    assert_eq!(never["time_since_last_checkin"], "never");
}

fn the_list_says_who_is_overdue(shape: Shape) {
    let inn = Inn::open(shape);
    for component in ["late", "fine"] {
        inn.reserve("shop", component, json!({ "frequency": 10 }));
    }
    inn.reserve("shop", "gracious", json!({ "grace": "1d", "frequency": 10 }));
    inn.age(Duration::from_secs(700));
    inn.check_in("shop", "fine");
    let failing = |component| inn.job("shop", component)["failing_sla"].clone();
    // A sweeper may have come by before it checked in.
    eventually("it is well again", || (failing("fine") == false).then_some(()));
    assert_eq!((failing("late"), failing("gracious")), (true.into(), false.into()));
    assert_eq!(inn.job("shop", "gracious")["state"], "late");
    eventually("the sweeper's conclusion", || {
        let job = inn.job("shop", "late");
        (job["state"] == "down" && job["reason"].as_str()?.starts_with("Overdue since")).then_some(())
    });
    inn.check_in("shop", "late");
    eventually("its end", || {
        let job = inn.job("shop", "late");
        (job["state"] == "up" && job["failing_sla"] == false && job["reason"].is_null()).then_some(())
    });
}

fn a_snooze_is_confirmed(shape: Shape) {
    let inn = Inn::open(shape);
    inn.reserve("shop", "backup", json!({}));
    let said = json!({ "success": true, "message": "Application alerting paused: shop" });
    for path in ["/snooze", "/pause"] {
        for field in ["duration", "frequency"] {
            let answer = inn.post(
                path,
                &json!({ "app": "shop", "component": "backup", field: 10, "time_units": "hours" }),
            );
            assert_eq!((answer.status, answer.json()), (200, said.clone()), "{path} {field}");
            let left = inn.database.number("SELECT snoozed_until FROM states").expect("a time")
                - chrono::Utc::now().timestamp_millis();
            // A node goes by its own clock, or the database's, which may be a little ahead of this one.
            assert!((35_900_000..=36_001_000).contains(&left), "{left} ms of ten hours");
            let kept = inn.database.texts("SELECT snoozes FROM states");
            assert!(kept[0].contains("\"skip\"") && !kept[0].contains("quiet"), "{path} {field}: {kept:?}");
        }
    }
    inn.age(Duration::from_secs(120));
    assert_eq!(inn.job("shop", "backup")["state"], "snoozed");
}

fn a_checkout_removes(shape: Shape) {
    let inn = Inn::open(shape);
    inn.reserve("shop", "backup", json!({}));
    inn.reserve("shop", "other", json!({}));
    inn.check_in("shop", "backup");
    let answer = inn.post("/checkout", &json!({ "app": "shop", "component": "backup" }));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({ "success": true, "message": "Application Removed [shop/backup] " }));
    assert_eq!(inn.jobs().len(), 1);
    assert_eq!(inn.post("/checkin", &json!({ "app": "shop", "component": "backup" })).status, 404);
    assert_eq!(inn.post("/checkout", &json!({ "app": "shop", "component": "backup" })).status, 404);
    // It can come back, and knows nothing of before.
    inn.reserve("shop", "backup", json!({}));
    assert_eq!(inn.job("shop", "backup")["number_of_checkins"], 0);
}

fn an_unknown_reservation_is_said_to_be_unknown(shape: Shape) {
    let inn = Inn::open(shape);
    inn.reserve("shop", "backup", json!({ "time_units": "days" }));
    let before = inn.everything();
    for path in ["/checkin", "/snooze", "/pause", "/checkout"] {
        for (app, component) in [("shop", "bakcup"), ("Shop", "backup"), ("backup", "shop")] {
            let answer = inn.post(
                path,
                &json!({ "app": app, "component": component, "duration": 1, "time_units": "hours" }),
            );
            let said = answer.json();
            assert_eq!((answer.status, &said["success"]), (404, &json!(false)), "{path}");
            let message = said["message"].as_str().expect("a text");
            assert!(message.contains(&format!("{app}/{component}")), "{message}");
        }
    }
    assert_eq!(inn.everything(), before);
}

fn a_wrong_method_is_told_the_right_ones(shape: Shape) {
    let inn = Inn::open(shape);
    inn.reserve("shop", "backup", json!({ "time_units": "days" }));
    let before = inn.everything();
    let body = br#"{"app": "shop", "component": "backup", "duration": 1, "time_units": "hours"}"#;
    for path in ["/checkin", "/snooze", "/pause", "/checkout"] {
        for method in ["GET", "PUT", "DELETE", "PATCH", "PROPFIND"] {
            let answer = Raw::connect(inn.ingest).ask(&request(&format!("{method} {path}"), "", body));
            assert_eq!(answer.status, 405, "{method} {path}");
            assert!(answer.head.contains("\r\nallow: options, post\r\n"), "{answer:?}");
            assert!(answer.body.contains("\"success\":false"), "{answer:?}");
        }
    }
    for (path, allow) in [("/", "GET, HEAD, OPTIONS, POST"), ("/reservation", "POST")] {
        let answer = inn.send("DELETE", path, &[], body);
        assert_eq!(answer.status, 405, "{answer:?}");
        assert!(answer.header("allow").expect("Allow").contains(allow), "{answer:?}");
    }
    let answer = inn.client.send("DELETE", &inn.at_web("/reservation"), &[], body).expect("an answer");
    assert_eq!(answer.status, 405);
    assert!(answer.header("allow").expect("Allow").contains("GET, HEAD, OPTIONS"), "{answer:?}");
    assert_eq!(inn.everything(), before);
}

fn head_is_get_without_a_body(shape: Shape) {
    let inn = Inn::open(shape);
    for path in ["/", "/reservation"] {
        let answer = inn.client.send("HEAD", &inn.at_web(path), &[], b"").expect("an answer");
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
    }
}
