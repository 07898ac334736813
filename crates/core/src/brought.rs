//! Fields of a reservation that a job sends with its check-ins, and which of them are new.
//!
//! A job sends the same fields with each check-in, and a person may have changed the reservation since. So the fields
//! sent last are kept, and only those that differ from them change the reservation.

use std::collections::BTreeMap;

use crate::reservation::Patch;

/// The fields of a patch with their values, as the text that is kept.
pub fn text(patch: &Patch) -> String {
    serde_json::Value::from_iter(patch.texts()).to_string()
}

/// The fields of this patch that `before` does not contain with the same value. All of them if `before` is unreadable.
#[must_use]
pub fn news(mut patch: Patch, before: &str) -> Patch {
    let before: BTreeMap<String, String> = serde_json::from_str(before).unwrap_or_default();
    for (field, value) in patch.texts() {
        if before.get(field) == Some(&value) {
            patch.forget(field);
        }
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipient::Recipients;
    use crate::schedule::Schedule;

    fn patch(notify: &str, seconds: i64) -> Patch {
        let schedule = Schedule::every(chrono::TimeDelta::seconds(seconds)).unwrap();
        Patch {
            notify: Some(Recipients::parse("notify", notify).unwrap()),
            schedule: Some((schedule, None)),
            is_site: Some(false),
            ..Patch::default()
        }
    }

    #[test]
    fn only_what_differs_is_news() {
        let before = text(&patch("a@example.org", 60));
        assert_eq!(news(patch("a@example.org", 60), &before), Patch::default());
        let changed = news(patch("a@example.org", 90), &before);
        assert_eq!((changed.notify, changed.is_site, changed.schedule.is_some()), (None, None, true));
        let changed = news(patch("", 60), &before);
        assert_eq!((changed.notify.map(|notify| notify.is_empty()), changed.schedule), (Some(true), None));
        assert_eq!(news(patch("", 60), "not JSON"), patch("", 60));
    }

    #[test]
    fn every_field_that_is_kept_can_be_forgotten() {
        let all = Patch {
            owner: Some("o".into()),
            description: Some("d".into()),
            alerters: Some(Vec::new()),
            alert_msg: Some("m".into()),
            grace: Some(chrono::TimeDelta::seconds(1)),
            max_run: Some(chrono::TimeDelta::seconds(3)),
            min_run: Some(chrono::TimeDelta::seconds(2)),
            expect: Some(crate::expect::Expect::parse(&["rows > 0"]).unwrap()),
            ..patch("a@example.org", 60)
        };
        let said = all.texts();
        for field in [
            "owner",
            "description",
            "notify",
            "alerters",
            "alert_msg",
            "schedule",
            "grace",
            "max_run",
            "min_run",
            "expect",
            "is_site",
        ] {
            assert!(said.contains_key(field), "{field}");
        }
        assert_eq!(news(all.clone(), &text(&all)), Patch::default());
    }
}
