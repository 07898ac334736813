//! What a job brings along with its check-ins, and what in it is new.
//!
//! A job says the same with each check-in, and a person may have changed its reservation since. So what it said last is
//! kept, and only what differs from that changes anything.

use std::collections::BTreeMap;

use crate::duration;
use crate::names::AlerterName;
use crate::reservation::Wishes;

/// What these wishes say, as a text that is kept: fields with their values.
pub fn text(wishes: &Wishes) -> String {
    let fields: BTreeMap<&str, String> =
        fields(wishes).into_iter().filter_map(|(field, value)| Some((field, value?))).collect();
    serde_json::Value::from_iter(fields).to_string()
}

/// What of these wishes was not said in `before`. All of it where that cannot be read.
#[must_use]
pub fn news(mut wishes: Wishes, before: &str) -> Wishes {
    let before: BTreeMap<String, String> = serde_json::from_str(before).unwrap_or_default();
    for (field, value) in fields(&wishes) {
        if value.is_some() && before.get(field) == value.as_ref() {
            forget(&mut wishes, field);
        }
    }
    wishes
}

fn fields(wishes: &Wishes) -> [(&'static str, Option<String>); 10] {
    let span = |span: Option<chrono::TimeDelta>| span.map(duration::short);
    let names =
        |names: &Vec<AlerterName>| names.iter().map(AlerterName::as_str).collect::<Vec<_>>().join(",");
    [
        ("owner", wishes.owner.clone()),
        ("description", wishes.description.clone()),
        ("notify", wishes.notify.as_ref().map(ToString::to_string)),
        ("alerters", wishes.alerters.as_ref().map(names)),
        ("alert_msg", wishes.alert_msg.clone()),
        ("schedule", wishes.schedule.as_ref().map(|(schedule, _)| schedule.notation())),
        ("grace", span(wishes.grace)),
        ("max_run", span(wishes.max_run)),
        ("min_run", span(wishes.min_run)),
        ("is_site", wishes.is_site.map(|is_site| is_site.to_string())),
    ]
}

fn forget(wishes: &mut Wishes, field: &str) {
    match field {
        "owner" => wishes.owner = None,
        "description" => wishes.description = None,
        "notify" => wishes.notify = None,
        "alerters" => wishes.alerters = None,
        "alert_msg" => wishes.alert_msg = None,
        "schedule" => wishes.schedule = None,
        "grace" => wishes.grace = None,
        "max_run" => wishes.max_run = None,
        "min_run" => wishes.min_run = None,
        "is_site" => wishes.is_site = None,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipient::Recipients;
    use crate::schedule::Schedule;

    fn wishes(notify: &str, seconds: i64) -> Wishes {
        let schedule = Schedule::every(chrono::TimeDelta::seconds(seconds)).unwrap();
        Wishes {
            notify: Some(Recipients::parse("notify", notify).unwrap()),
            schedule: Some((schedule, None)),
            is_site: Some(false),
            ..Wishes::default()
        }
    }

    #[test]
    fn only_what_differs_is_news() {
        let before = text(&wishes("a@example.org", 60));
        assert_eq!(news(wishes("a@example.org", 60), &before), Wishes::default());
        let changed = news(wishes("a@example.org", 90), &before);
        assert_eq!((changed.notify, changed.is_site, changed.schedule.is_some()), (None, None, true));
        let changed = news(wishes("", 60), &before);
        assert_eq!((changed.notify.map(|notify| notify.is_empty()), changed.schedule), (Some(true), None));
        assert_eq!(news(wishes("", 60), "not JSON"), wishes("", 60));
    }

    #[test]
    fn every_field_that_is_kept_can_be_forgotten() {
        let all = Wishes {
            owner: Some("o".into()),
            description: Some("d".into()),
            alerters: Some(Vec::new()),
            alert_msg: Some("m".into()),
            grace: Some(chrono::TimeDelta::seconds(1)),
            max_run: Some(chrono::TimeDelta::seconds(3)),
            min_run: Some(chrono::TimeDelta::seconds(2)),
            ..wishes("a@example.org", 60)
        };
        assert!(fields(&all).iter().all(|(_, value)| value.is_some()));
        assert_eq!(news(all.clone(), &text(&all)), Wishes::default());
    }
}
