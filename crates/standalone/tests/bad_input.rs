//! Bad input: each kind, at each place where it can come in. The answer names the field, and nothing is written.

mod common;

use common::refusal::{body, inn, refused};
use common::{Inn, Shape};
use serde_json::{Value, json};

in_both_shapes![
    bodies_that_are_no_json_objects,
    names,
    frequencies_and_durations,
    queries,
    odd_names_stay_as_they_are,
    what_is_odd_but_harmless_is_taken,
];

fn bodies_that_are_no_json_objects(shape: Shape) {
    let inn = inn(shape);
    let before = inn.everything();
    let bodies: [&[u8]; 15] = [
        b"",
        b" ",
        b"{",
        b"{\"app\": \"shop\", \"component\": \"backup\"",
        b"{\"app\": \"shop\", \"component\": \"backup\"} x",
        b"{'app': 'shop'}",
        b"{\"app\": \"shop\",}",
        b"app=shop&component=backup",
        b"null",
        b"[]",
        b"\"shop\"",
        b"17",
        b"{\"app\": \"sh\xffop\", \"component\": \"backup\"}",
        b"\xff\xfe{\0}\0",
        b"{\"app\": \"sh\nop\", \"component\": \"backup\"}",
    ];
    for path in ["/reservation", "/checkin", "/snooze", "/pause", "/checkout", "/"] {
        for body in bodies {
            refused(&inn, &before, "POST", path, body, "body");
        }
        // Where somebody reads it.
        let name = if path == "/" { "account" } else { "app" };
        let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for value in [deep(200), deep(30_000), "\"\\ud800\"".to_owned()] {
            let body = format!("{{\"{name}\": {value}}}");
            refused(&inn, &before, "POST", path, body.as_bytes(), "body");
        }
    }
}

fn names(shape: Shape) {
    let inn = inn(shape);
    let before = inn.everything();
    let bad = [
        Value::Null,
        json!(""),
        json!(" "),
        json!(" shop"),
        json!("shop\t"),
        json!("x".repeat(151)),
        json!("é".repeat(151)),
        json!("sh\nop"),
        json!("sh\u{0}op"),
        json!("sh\u{7f}op"),
        json!("sh\u{9b}op"),
        json!("sh\u{2028}op"),
        json!(5),
        json!(true),
        json!(["shop"]),
        json!({}),
    ];
    for path in ["/reservation", "/checkin", "/snooze", "/pause", "/checkout"] {
        for field in ["app", "component"] {
            for value in &bad {
                refused(&inn, &before, "POST", path, &body(field, value), field);
            }
        }
        refused(&inn, &before, "POST", path, b"{\"component\": \"backup\"}", "app");
        refused(&inn, &before, "POST", path, b"{\"app\": \"shop\"}", "component");
    }
}

fn frequencies_and_durations(shape: Shape) {
    let inn = inn(shape);
    let before = inn.everything();
    let bad = [
        "0",
        "-1",
        "-0.5",
        "1.5",
        "1.0",
        "1e3",
        "5e-1",
        "315360001",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775809",
        "1e400",
        "\"\"",
        "\"five\"",
        "\"5m\"",
        "\"1.5\"",
        "\"0\"",
        "\"0x10\"",
        "true",
        "[5]",
        "{}",
    ];
    for (path, field) in [
        ("/reservation", "frequency"),
        ("/snooze", "duration"),
        ("/pause", "duration"),
        ("/pause", "frequency"),
    ] {
        for value in bad {
            // 1e400 is no number that JSON's readers take at all.
            let named = if value == "1e400" { "body" } else { field };
            let body = format!(
                "{{\"app\": \"shop\", \"component\": \"backup\", \"{field}\": {value}, \"time_units\": \"minutes\"}}"
            );
            refused(&inn, &before, "POST", path, body.as_bytes(), named);
        }
        for units in ["fortnights", "", "Minutes", "minutes ", "m", "minute\u{0}"] {
            refused(&inn, &before, "POST", path, &body("time_units", &json!(units)), "time_units");
        }
        for units in [json!(60), json!(null), json!(["minutes"])] {
            refused(&inn, &before, "POST", path, &body("time_units", &units), "time_units");
        }
    }
    // Too much in one unit, though not in another.
    let years = json!({ "app": "shop", "component": "backup", "frequency": 3651, "time_units": "days" });
    refused(&inn, &before, "POST", "/reservation", years.to_string().as_bytes(), "frequency");
    let forever = json!({ "app": "shop", "component": "backup", "duration": i64::MAX, "time_units": "days" });
    refused(&inn, &before, "POST", "/snooze", forever.to_string().as_bytes(), "duration");
    let never = json!({ "app": "shop", "component": "backup", "time_units": "days" });
    refused(&inn, &before, "POST", "/snooze", never.to_string().as_bytes(), "duration");
}

fn queries(shape: Shape) {
    let inn = inn(shape);
    let before = inn.everything();
    let rest = "account=shop&email=b@example.org&frequency=60";
    for (query, field) in [
        ("cronname=100%", "cronname"),
        ("cronname=100%zz", "cronname"),
        ("cronname=%f", "cronname"),
        ("cronname=%ff", "cronname"),
        ("cronname=%c3%28", "cronname"),
        ("cronname=%ed%a0%80", "cronname"),
        ("cronname=a%0ab", "cronname"),
        ("cronname", "cronname"),
        ("=backup", "cronname"),
        ("&&", "cronname"),
    ] {
        refused(&inn, &before, "GET", &format!("/?{query}&{rest}"), b"", field);
    }
    // What nobody reads may be broken.
    assert_eq!(inn.call(&format!("/?cronname=backup&%ff=1&utm=%zz&%&{rest}")).status, 201);
}

fn odd_names_stay_as_they_are(shape: Shape) {
    let inn = Inn::open(shape);
    let names = [
        "<script>alert(1)</script>",
        "\"'; DROP TABLE reservations; --",
        "{app}",
        "../../etc/passwd",
        "a%00b%",
        "\u{202e}live\u{2066}",
        "🐙🏳️‍🌈",
        "e\u{301}",
        "é",
        "ﷺ",
        "a\u{a0}b",
        "$1 \\ \\0",
        &"é".repeat(150),
    ];
    for name in names {
        inn.reserve(name, name, json!({ "owner": name }));
        inn.check_in(name, name);
        let job = inn.job(name, name);
        assert_eq!((&job["owner"], &job["number_of_checkins"]), (&json!(name), &json!(1)), "{name}");
    }
    assert_eq!(inn.jobs().len(), names.len(), "no two are taken for one");
    for name in names {
        let answer = inn.post("/checkout", &json!({ "app": name, "component": name }));
        assert_eq!(answer.json()["message"], format!("Application Removed [{name}/{name}] "));
    }
    assert_eq!(inn.jobs().len(), 0);
}

fn what_is_odd_but_harmless_is_taken(shape: Shape) {
    let inn = inn(shape);
    // Of a key that comes twice the last counts, as in the JSON readers of the programs that these contracts come from.
    let twice = br#"{"app": "nobody", "component": "backup", "app": "shop"}"#;
    assert_eq!(inn.send("POST", "/checkin", &[], twice).status, 200);
    // Fields that nobody knows, a byte-order mark's absence, space around, escapes.
    for body in [
        r#" { "app" : "shop" , "component" : "backup" , "unknown" : { "a" : [ 1 , null ] } } "#,
        r#"{"\u0061pp": "\u0073hop", "component": "back\u0075p"}"#,
        "\r\n\t{\"app\": \"shop\", \"component\": \"backup\", \"notes\": null}\n",
    ] {
        assert_eq!(inn.send("POST", "/checkin", &[], body.as_bytes()).status, 200, "{body}");
    }
    assert_eq!(inn.job("shop", "backup")["number_of_checkins"], 4);
}
