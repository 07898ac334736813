//! What is the same in every refusal of bad input.

use serde_json::{Value, json};

use super::{Inn, Shape};

/// An inn with one reservation, shop/backup, which nothing bad may change, and which is not due while a test runs.
pub fn inn(shape: Shape) -> Inn {
    let inn = Inn::open(shape);
    inn.reserve("shop", "backup", json!({ "notify": "a@example.org", "time_units": "days" }));
    inn
}

/// The request is refused with 400, for this field, and changes nothing.
pub fn refused(inn: &Inn, before: &[String], method: &str, path: &str, body: &[u8], field: &str) {
    let answer = inn.send(method, path, &[("content-type", "application/json")], body);
    let shown = format!("{method} {path} {}", String::from_utf8_lossy(&body[..body.len().min(300)]));
    assert_eq!(answer.status, 400, "{shown}: {answer:?}");
    let said = answer.json();
    assert_eq!((&said["success"], &said["field"]), (&json!(false), &json!(field)), "{shown}: {said}");
    let message = said["message"].as_str().expect("a text");
    assert!(
        message.starts_with(&format!("{field}: ")) && message.len() > field.len() + 10,
        "{shown}: {said}"
    );
    assert_eq!(inn.everything(), before, "{shown}");
}

/// A body that each of GoTel's requests takes (a snooze has its duration in `frequency`), with `field` as `value`.
pub fn body(field: &str, value: &Value) -> Vec<u8> {
    let mut body = json!({
        "app": "shop", "component": "backup", "frequency": 5, "time_units": "minutes", "notify": "b@example.org",
    });
    body[field] = value.clone();
    body.to_string().into_bytes()
}
