//! Adapts the terms of a reservation to an older server, which does not know all fields.

use chrono::TimeDelta;
use innkeeper_core::schedule::{Parts, Schedule};
use innkeeper_core::{Clock as _, SystemClock, Time, duration};
use serde_json::{Map, Value, json};

use super::{EACH, EXPECT, REMIND};
use crate::api::ApiTrouble;

/// Number of instants of a schedule that are examined to find the shortest interval.
const LOOKED_AT: usize = 50;

/// The terms without, or with another value of, the field that an older server rejects, and a note about the change;
/// none if the server rejects the terms for another reason.
pub fn for_older(terms: &Value, refusal: &ApiTrouble) -> Option<(Value, String)> {
    let ApiTrouble::Refused { status: 400 | 422, why, is_own: true, .. } = refusal else { return None };
    let mut fields = terms.as_object()?.clone();
    let said = if why.contains(EXPECT) && why.contains("no field") && fields.remove(EXPECT).is_some() {
        "what it expects of figures is left out".to_owned()
    } else if why.contains(REMIND) && fields.get(REMIND).is_some_and(|every| every == EACH) {
        match rhythm(&fields) {
            Some(rhythm) => {
                let rhythm = duration::short(rhythm);
                fields.insert(REMIND.to_owned(), json!(rhythm));
                format!("reminders of an open alert are sent every {rhythm} instead of at each failed run")
            }
            None => {
                fields.remove(REMIND);
                "the interval of reminders stays unchanged, instead of one at each failed run".to_owned()
            }
        }
    } else {
        return None;
    };
    Some((Value::Object(fields), format!("the server is an older one: {said}")))
}

/// The shortest interval between the next instants of the schedule in `fields`.
fn rhythm(fields: &Map<String, Value>) -> Option<TimeDelta> {
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    let parts = Parts {
        frequency: fields.get("frequency").and_then(Value::as_i64),
        time_units: text("time_units"),
        cron: text("cron"),
        calendar: text("calendar"),
        time_zone: text("time_zone"),
    };
    let (schedule, _) = Schedule::of_parts(parts).ok()??;
    if let Schedule::Every(period) = schedule {
        return Some(period);
    }
    let now = SystemClock.now();
    let instants: Vec<Time> = std::iter::successors(schedule.following(now), |at| schedule.following(*at))
        .take(LOOKED_AT)
        .collect();
    Some(instants.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(TimeDelta::days(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(why: &str) -> ApiTrouble {
        ApiTrouble::Refused { place: String::new(), status: 400, why: why.to_owned(), is_own: true }
    }

    #[test]
    fn only_what_is_not_known_is_left_out() {
        let terms = json!({"app": "a", "component": "b", "cron": "*/10 * * * *", "time_zone": "UTC",
            "remind_every": "each", "expect": ["rows > 0"]});
        let unknown = refusal("expect: is no field here; allowed: app, component");
        let (first, said) = for_older(&terms, &unknown).unwrap();
        assert_eq!((first.get("expect"), &first["remind_every"]), (None, &json!("each")));
        assert_eq!(said, "the server is an older one: what it expects of figures is left out");
        let each = refusal("remind_every: \"each\" is no duration; write 90s, 5m, 6h or 1d");
        let (second, said) = for_older(&first, &each).unwrap();
        assert_eq!(second["remind_every"], "10m");
        assert!(said.ends_with("every 10m instead of at each failed run"), "{said}");
        assert_eq!(for_older(&second, &each), None);
        let bare = json!({"app": "a", "component": "b", "remind_every": "each"});
        assert_eq!(for_older(&bare, &each).unwrap().0.get("remind_every"), None);
        // An invalid clause is a mistake of the user, not a sign of an older server, and must be reported.
        assert_eq!(for_older(&terms, &refusal("expect: \"rows\" has no operator")), None);
        assert_eq!(for_older(&terms, &refusal("notify: nobody")), None);
        let proxy = ApiTrouble::Refused {
            place: String::new(),
            status: 400,
            why: "expect: no field".to_owned(),
            is_own: false,
        };
        assert_eq!(for_older(&terms, &proxy), None);
    }
}
