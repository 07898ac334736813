//! Bad input: the fields of a reservation and of a check-in. The answer names the field, and nothing is written.

mod common;

use common::Shape;
use common::refusal::{body, inn, refused};
use serde_json::{Value, json};

in_both_shapes![
    schedules,
    a_new_reservation_needs_a_schedule,
    recipients,
    the_other_fields_of_a_reservation,
    notes,
    gocrons_fields,
];

fn at_reservation(shape: Shape, rows: &[(&str, Value)]) {
    let inn = inn(shape);
    let before = inn.everything();
    for (field, value) in rows {
        refused(&inn, &before, "POST", "/reservation", &body(field, value), field);
    }
}

fn schedules(shape: Shape) {
    let inn = inn(shape);
    let before = inn.everything();
    let fields = |fields: Value| {
        let mut body = json!({ "app": "shop", "component": "backup" });
        for (field, value) in fields.as_object().expect("fields") {
            body[field] = value.clone();
        }
        body.to_string().into_bytes()
    };
    for cron in [
        "",
        "x",
        "* * * *",
        "* * * * * * *",
        "60 * * * *",
        "0 24 * * *",
        "0 0 32 * *",
        "0 0 * 13 *",
        "*/0 * * * *",
        "0 0 30 2 *",
        "0 0 * * 8",
        "5-1 * * * *",
        ", * * * *",
        "0 0 31 4,6 *",
        "@reboot",
        "0\n0 * * *",
        "0 0 * * *\u{0}",
    ] {
        refused(&inn, &before, "POST", "/reservation", &fields(json!({ "cron": cron })), "cron");
    }
    for zone in ["", "Mars/Olympus", "Europe/Berln", "+01:00", "../etc/passwd", "UTC\u{0}", &"x".repeat(200)]
    {
        let body = fields(json!({ "cron": "0 2 * * *", "time_zone": zone }));
        refused(&inn, &before, "POST", "/reservation", &body, "time_zone");
    }
    refused(&inn, &before, "POST", "/reservation", &fields(json!({ "cron": 5 })), "cron");
    refused(
        &inn,
        &before,
        "POST",
        "/reservation",
        &fields(json!({ "cron": "0 2 * * *", "time_zone": 1 })),
        "time_zone",
    );
    // What would have no effect is not answered OK.
    let both = json!({ "cron": "0 2 * * *", "frequency": 5, "time_units": "minutes" });
    refused(&inn, &before, "POST", "/reservation", &fields(both), "cron");
    refused(&inn, &before, "POST", "/reservation", &fields(json!({ "time_zone": "Europe/Berlin" })), "cron");
    refused(&inn, &before, "POST", "/reservation", &fields(json!({ "time_units": "hours" })), "frequency");
    let stray = json!({ "frequency": 5, "time_units": "hours", "time_zone": "Mars/Olympus" });
    refused(&inn, &before, "POST", "/reservation", &fields(stray), "cron");
}

fn a_new_reservation_needs_a_schedule(shape: Shape) {
    let inn = inn(shape);
    let before = inn.everything();
    for more in ["", ", \"notify\": \"a@example.org\"", ", \"frequency\": null, \"time_units\": null"] {
        let body = format!("{{\"app\": \"shop\", \"component\": \"new\"{more}}}");
        refused(&inn, &before, "POST", "/reservation", body.as_bytes(), "frequency");
    }
}

fn recipients(shape: Shape) {
    let many: Vec<String> = (0..51).map(|n| format!("n{n}@example.org")).collect();
    let bad = [
        json!("nobody"),
        json!("Ops"),
        json!("@example.org"),
        json!("a@"),
        json!("a@b@example.org"),
        json!("a b@example.org"),
        json!("A <a@example.org>"),
        json!("a@example.org; b@example.org"),
        json!("a@example.org b@example.org"),
        json!("a@example.org\r\nBcc: x@example.org"),
        json!("a@example.org\n"),
        json!("a@example.org\u{0}"),
        json!("a@example.org%0aBcc:x@example.org,b@"),
        json!("\"a\\r\\nBcc: x\"@example.org"),
        json!("a@[127.0.0.1]"),
        json!(format!("{}@example.org", "x".repeat(65))),
        json!(format!("a@{}.org", "x".repeat(300))),
        json!("a@example.org,nobody"),
        json!(["a@example.org, b@example.org"]),
        json!(["a@example.org", 5]),
        json!(["a@example.org", null]),
        json!(5),
        json!({ "to": "a@example.org" }),
        json!(many.join(",")),
    ];
    let rows: Vec<(&str, Value)> = bad.into_iter().map(|value| ("notify", value)).collect();
    at_reservation(shape, &rows);
}

fn the_other_fields_of_a_reservation(shape: Shape) {
    let mut rows = vec![
        ("owner", json!("x".repeat(151))),
        ("owner", json!("Ada\r\nBcc: x@example.org")),
        ("owner", json!("Ada\u{0}")),
        ("owner", json!(5)),
        ("description", json!("x".repeat(4001))),
        ("description", json!("a\u{0}b")),
        ("description", json!("\u{1b}[31mred")),
        ("description", json!([])),
        ("alert_msg", json!("x".repeat(4001))),
        ("alert_msg", json!("a\u{0}b")),
        ("alert_msg", json!({})),
        ("alert_subject", json!("x".repeat(201))),
        ("alert_subject", json!("a\nBcc: x@example.org")),
        ("recovery_msg", json!("x".repeat(4001))),
        ("recovery_msg", json!("a\u{0}b")),
        ("runbook", json!("javascript:alert(1)")),
        ("runbook", json!("ftp://wiki.example.org/")),
        ("runbook", json!("https://")),
        ("runbook", json!("https://wiki.example.org/a b")),
        ("runbook", json!("wiki.example.org")),
        ("tags", json!("x".repeat(151))),
        ("tags", json!(["a\nb"])),
        ("tags", json!(["a", 5])),
        ("tags", json!(5)),
        ("tags", json!((0..21).map(|n| format!("t{n}")).collect::<Vec<_>>())),
        ("alerters", json!("nobody")),
        ("alerters", json!("a@example.org")),
        ("alerters", json!(["log", "Log"])),
        ("alerters", json!(true)),
        ("notify_recovery", json!("maybe")),
        ("notify_recovery", json!(2)),
        ("notify_recovery", json!([])),
        ("remind_every", json!("250ms")),
        ("max_run", json!("999ms")),
        ("min_run", json!("1ms")),
    ];
    for count in [json!(0), json!(-1), json!(51), json!(1.5), json!("two"), json!([1]), json!(i64::MAX)] {
        rows.push(("alert_after", count));
    }
    for field in ["grace", "remind_every", "max_run", "min_run"] {
        for span in [
            json!("soon"),
            json!(""),
            json!("5"),
            json!("-5m"),
            json!("1,5h"),
            json!("4000d"),
            json!("99999999999999999999d"),
            json!("5m\u{0}"),
            json!(-1),
            json!(1.5),
            json!(315_360_001),
            json!(u64::MAX),
            json!(true),
            json!([]),
        ] {
            rows.push((field, span));
        }
    }
    at_reservation(shape, &rows);
    let inn = inn(shape);
    let before = inn.everything();
    let body = json!({ "app": "shop", "component": "backup", "min_run": "2h", "max_run": "1h" });
    refused(&inn, &before, "POST", "/reservation", body.to_string().as_bytes(), "min_run");
}

fn notes(shape: Shape) {
    let inn = inn(shape);
    let before = inn.everything();
    for value in [json!(5), json!(["x"]), json!({}), json!(false)] {
        refused(&inn, &before, "POST", "/checkin", &body("notes", &value), "notes");
    }
    let half = br#"{"app": "shop", "component": "back\ud83d"}"#;
    refused(&inn, &before, "POST", "/checkin", half, "body");
    // Half a character of what a job printed costs no check-in, as it costs none in a report.
    let half = br#"{"app": "shop", "component": "backup", "notes": "\ud83d!", "figures": {"rows": NaN}}"#;
    assert_eq!(inn.send("POST", "/checkin", &[], half).status, 200);
    let id = inn.job("shop", "backup")["job_id"].as_i64().expect("an id");
    assert_eq!(inn.database.store().checkins_of(id, 1).expect("the history")[0].notes, "\u{fffd}!");
    let half =
        br#"{"reports": [{"app": "shop", "component": "backup", "kind": "success", "output": "\udc80"}]}"#;
    assert!(inn.send("POST", "/api/v1/checkins", &[], half).body.contains("recorded"));
    // Anything else that is a text is kept, as far as a database can hold it.
    for (notes, kept) in [("a\u{0}b", "a\u{fffd}b"), ("\u{1b}[31m\u{202e}🐙\r\n", "\u{1b}[31m\u{202e}🐙\r\n")]
    {
        let answer = inn.post("/checkin", &json!({ "app": "shop", "component": "backup", "notes": notes }));
        assert_eq!(answer.status, 200, "{answer:?}");
        let id = inn.job("shop", "backup")["job_id"].as_i64().expect("an id");
        assert_eq!(inn.database.store().checkins_of(id, 1).expect("the history")[0].notes, kept);
    }
}

fn gocrons_fields(shape: Shape) {
    let inn = inn(shape);
    let before = inn.everything();
    let mut rows = Vec::new();
    for field in ["cronname", "account"] {
        for value in
            [json!(null), json!(""), json!("x".repeat(151)), json!("a\nb"), json!("a\u{0}"), json!(7)]
        {
            rows.push((field, value));
        }
    }
    for value in [json!(null), json!(""), json!(","), json!(7)] {
        rows.push(("email", value));
    }
    for value in
        [json!(null), json!(0), json!(-60), json!(1.5), json!("1.5"), json!(""), json!(u64::MAX), json!([60])]
    {
        rows.push(("frequency", value));
    }
    for value in [json!("maybe"), json!(2), json!(-1), json!([])] {
        rows.push(("site", value));
    }
    for (field, value) in rows {
        let mut body = json!({ "cronname": "backup", "account": "shop", "email": "b@example.org", "frequency": 60, "site": 1 });
        body[field] = value;
        refused(&inn, &before, "POST", "/", body.to_string().as_bytes(), field);
    }
}
