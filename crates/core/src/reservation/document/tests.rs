//! Tests of the document, its fields and their problems.

use super::*;

/// A document that gives every field except `cron`, `calendar` and `time_zone`.
fn whole() -> ReservationDocument {
    let text = |text: &str| Some(text.to_owned());
    ReservationDocument {
        app: "shop".to_owned(),
        component: "backup".to_owned(),
        slug: text("db"),
        owner: text("ops"),
        description: text("the nightly one"),
        tags: Some(vec!["nightly".to_owned()]),
        notify: Some(vec!["a@example.org".to_owned(), "log".to_owned()]),
        alerters: Some(vec!["log".to_owned()]),
        alert_msg: text("m"),
        alert_subject: text("s"),
        recovery_msg: text("r"),
        runbook: text("https://wiki.example.org/x"),
        frequency: Some(5),
        time_units: text("minutes"),
        grace: text("1m"),
        alert_after: Some(2),
        remind_every: text("each"),
        notify_recovery: Some(false),
        max_run: text("1h30m"),
        min_run: text("2s"),
        expect: Some(vec!["rows > 0".to_owned()]),
        is_site: Some(true),
        ..ReservationDocument::default()
    }
}

#[test]
fn the_fields_are_those_of_the_document() {
    let every = ReservationDocument {
        cron: Some(String::new()),
        calendar: Some(String::new()),
        time_zone: Some(String::new()),
        ..whole()
    };
    let written = serde_json::to_value(every).unwrap();
    let mut names: Vec<&str> = written.as_object().unwrap().keys().map(String::as_str).collect();
    let mut known = NAMES.to_vec();
    names.sort_unstable();
    known.sort_unstable();
    assert_eq!(names, known);
    for (name, form) in FIELDS {
        let fits = match form {
            ValueForm::Integer => written[name].is_i64(),
            ValueForm::Flag => written[name].is_boolean(),
            ValueForm::List | ValueForm::Recipients => written[name].is_array(),
            ValueForm::Text | ValueForm::Duration | ValueForm::Reminders => written[name].is_string(),
        };
        assert!(fits, "{name}");
    }
}

#[test]
fn what_is_said_of_terms_makes_them_again() {
    let log = [AlerterName::parse("alerters", "log").unwrap()];
    let (app, component) = whole().names().unwrap();
    let spec =
        whole().patch(Alerters::Only(&log)).unwrap().into_spec(app.clone(), component.clone()).unwrap();
    assert_eq!(ReservationDocument::of(&spec), whole());
    for schedule in ["cron 0 2 * * * Europe/Berlin", "calendar Mon..Fri 02:00; Sun 04:00 UTC", "every 90s"] {
        let spec = Spec { schedule: Schedule::parse(schedule).unwrap(), frequency: None, ..spec.clone() };
        let again = ReservationDocument::of(&spec).patch(Alerters::Any).unwrap();
        let again = again.into_spec(app.clone(), component.clone()).unwrap();
        assert_eq!(again.in_words_of(&spec), spec);
    }
}

#[test]
fn everything_that_is_wrong_is_said() {
    let wrong = ReservationDocument {
        slug: Some("A".to_owned()),
        tags: Some(vec!["a,b".to_owned()]),
        notify: Some(vec!["nobody".to_owned()]),
        alerters: Some(vec!["N".to_owned()]),
        time_units: Some("fortnights".to_owned()),
        grace: Some("soon".to_owned()),
        max_run: Some("1ms".to_owned()),
        expect: Some(vec!["rows".to_owned()]),
        ..whole()
    };
    let fields = |alerters: Alerters<'_>| {
        let problems = wrong.clone().patch(alerters).unwrap_err().into_iter();
        problems.map(|problem| problem.field.into_owned()).collect::<std::collections::BTreeSet<_>>()
    };
    let mut all =
        ["alerters", "expect", "grace", "max_run", "min_run", "slug", "tags", "time_units"].to_vec();
    assert_eq!(fields(Alerters::Any), all.iter().map(ToString::to_string).collect());
    assert_eq!(fields(Alerters::OrThoseNamed(&[])), all.iter().map(ToString::to_string).collect());
    all.push("notify");
    assert_eq!(fields(Alerters::Only(&[])), all.iter().map(ToString::to_string).collect());
}
