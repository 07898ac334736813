//! The fields of a probe's reservation for `POST /reservation`.

use innkeeper_core::duration;
use innkeeper_core::schedule::Schedule;
use serde_json::{Map, Value, json};

use crate::exec::terms::put_period;
use crate::probe::{ProbeTarget, Promise, Remind};
use crate::report::Names;
use crate::terms::{EACH, EXPECT, REMIND};

/// The fields that the probe's configuration names, and no others.
pub(super) fn of(promise: &Promise, target: &ProbeTarget) -> Value {
    let mut fields = Map::new();
    let mut put = |key: &str, value: Value| drop(fields.insert(key.to_owned(), value));
    put("app", json!(target.app));
    put("component", json!(target.component));
    put("grace", json!(duration::short(promise.grace)));
    let optional = [
        ("alert_after", promise.alert_after.map(|n| json!(n))),
        ("notify_recovery", promise.notify_recovery.map(|is_told| json!(is_told))),
        ("notify", promise.notify.as_ref().map(|notify| json!(notify.to_string()))),
        ("alerters", promise.alerters.as_ref().map(|names| json!(names))),
        ("owner", promise.owner.as_ref().map(|owner| json!(owner))),
        ("description", promise.description.as_ref().map(|text| json!(text))),
        ("runbook", promise.runbook.as_ref().map(|link| json!(link))),
        ("tags", promise.tags.as_ref().map(|tags| json!(tags))),
        (REMIND, promise.remind_every.map(|remind| json!(reminds(remind)))),
        (EXPECT, promise.expect.as_ref().map(|expect| json!(expect.texts()))),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            put(key, value);
        }
    }
    put_schedule(&mut fields, &promise.schedule);
    Value::Object(fields)
}

fn put_schedule(fields: &mut Map<String, Value>, schedule: &Schedule) {
    if let Some(period) = schedule.period() {
        return put_period(fields, period.num_seconds().max(1));
    }
    fields.extend(schedule.parts(None).texts().map(|(field, text)| (field.to_owned(), json!(text))));
}

/// The value of `remind_every`.
fn reminds(remind: Remind) -> String {
    match remind {
        Remind::Once => "0s".to_owned(),
        Remind::Every(span) => duration::short(span),
        Remind::Each => EACH.to_owned(),
    }
}

/// The fields of the agent's own reservation. It receives every five minutes whether all probes could be loaded.
pub(super) fn own(names: &Names) -> Value {
    json!({
        "app": names.app,
        "component": names.component,
        "frequency": 5,
        "time_units": "minutes",
        "grace": "5m",
        "description": "The probes of this machine. A failure names the probes that cannot be loaded.",
    })
}
