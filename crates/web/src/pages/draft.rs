//! A reservation as the form has it: texts, which become a spec or say what is wrong with them.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use innkeeper_core::names::{AlerterName, AppName, ComponentName};
use innkeeper_core::recipient::{Recipient, Recipients};
use innkeeper_core::reminders::Reminders;
use innkeeper_core::reservation::document::{Alerters, FIELDS, ValueForm};
use innkeeper_core::reservation::{Patch, ReservationDocument, Spec};
use innkeeper_core::schedule::{Frequency, KINDS, Schedule};
use innkeeper_core::{Invalid, duration};
use serde_json::{Map, Value};

use super::form::Form;

/// What stands in the fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The kind of schedule that is chosen: the first of one of [`KINDS`]. The fields of the others do not count.
    pub kind: &'static str,
    /// The boxes that are ticked.
    pub alerters: Vec<String>,
    /// The other fields of the document by their names: lists as one text, of a box that is ticked [`TICKED`].
    texts: BTreeMap<&'static str, String>,
}

/// What is wrong, by field.
pub type Problems = BTreeMap<String, String>;

const TICKED: &str = "1";
/// How an empty field for a duration is read.
const NOTHING: &str = "0s";

impl Draft {
    /// That of a new reservation.
    pub fn fresh(reminders: Reminders) -> Self {
        let remind_every = if reminders == Reminders::Never { String::new() } else { reminders.short() };
        Self { kind: KINDS[0].0, alerters: Vec::new(), texts: BTreeMap::new() }
            .with("frequency", "5")
            .with("time_units", "minutes")
            .with("time_zone", "UTC")
            .with("grace", "1m")
            .with("alert_after", "1")
            .with("remind_every", remind_every)
            .with("notify_recovery", TICKED)
    }

    /// The same with another text in this field.
    #[must_use]
    pub fn with(mut self, field: &'static str, text: impl Into<String>) -> Self {
        self.texts.insert(field, text.into());
        self
    }

    /// That of a reservation that is there.
    pub fn of(spec: &Spec) -> Self {
        let document = serde_json::to_value(ReservationDocument::of(spec)).unwrap_or_default();
        let is_said = |(_, said_by): &(&str, &[&str])| document.get(said_by[0]).is_some();
        let texts_of = |field: &str| {
            let list = document[field].as_array().into_iter().flatten().filter_map(Value::as_str);
            list.map(str::to_owned).collect::<Vec<_>>()
        };
        let mut draft = Self::fresh(Reminders::Never);
        draft.kind = KINDS.into_iter().find(is_said).unwrap_or(KINDS[0]).0;
        draft.alerters = texts_of("alerters");
        for (field, form) in FIELDS {
            let said = &document[field];
            let text = match form {
                // What the kind of schedule has no use for stays as in a new one.
                _ if said.is_null() && is_of_schedule(field) => continue,
                ValueForm::Flag => if said == true { TICKED } else { "" }.to_owned(),
                ValueForm::Integer => said.to_string(),
                ValueForm::List | ValueForm::Recipients => {
                    texts_of(field).join(if field == "expect" { "\n" } else { ", " })
                }
                ValueForm::Text | ValueForm::Duration | ValueForm::Reminders => {
                    said.as_str().unwrap_or_default().to_owned()
                }
            };
            draft.texts.insert(field, text);
        }
        if spec.remind_every == Reminders::Never {
            draft.texts.remove("remind_every");
        }
        // One expression a line.
        let calendar = draft.text("calendar").replace("; ", "\n");
        draft.with("calendar", calendar)
    }

    /// What was typed.
    pub fn from_form(form: &Form) -> Self {
        // A browser sends line breaks as CR LF.
        let text = |(field, of): (&'static str, ValueForm)| match of {
            ValueForm::Flag if form.is_ticked(field) => (field, TICKED.to_owned()),
            ValueForm::Flag => (field, String::new()),
            _ => (field, form.text(field).replace("\r\n", "\n")),
        };
        let is_chosen = |(kind, _): &(&str, &[&str])| *kind == form.text("kind");
        Self {
            kind: KINDS.into_iter().find(is_chosen).unwrap_or(KINDS[0]).0,
            alerters: form.all("alerters").filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            texts: FIELDS.into_iter().map(text).collect(),
        }
    }

    /// What stands in a field.
    pub fn text(&self, field: &str) -> &str {
        self.texts.get(field).map_or("", String::as_str)
    }

    /// Whether a box is ticked.
    pub fn is_ticked(&self, field: &str) -> bool {
        !self.text(field).is_empty()
    }

    /// The alerters that `notify` names, where it can be read.
    pub fn alerters_notified(&self) -> Vec<String> {
        let Ok(recipients) = Recipients::parse("notify", self.text("notify")) else { return Vec::new() };
        let name = |recipient: &Recipient| match recipient {
            Recipient::Alerter(name) => Some(name.to_string()),
            Recipient::Mail(_) => None,
        };
        recipients.iter().filter_map(name).collect()
    }

    /// The schedule, where it can be read.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn schedule(&self) -> Result<(Schedule, Option<Frequency>), Invalid> {
        let (document, wrong) = self.document();
        if let Some(problem) = wrong.into_iter().find(|problem| is_of_schedule(&problem.field)) {
            return Err(problem);
        }
        document.schedule()?.ok_or_else(|| Invalid::new("frequency", "is missing"))
    }

    /// The grace; what is not given is none.
    ///
    /// # Errors
    /// That it is no duration.
    pub fn grace(&self) -> Result<TimeDelta, Invalid> {
        duration::parse("grace", Some(self.text("grace")).filter(|text| !text.is_empty()).unwrap_or(NOTHING))
    }

    /// Names and the spec, or everything that is wrong.
    pub fn parse(&self, known: &[AlerterName]) -> Result<(AppName, ComponentName, Patch), Problems> {
        let (document, wrong) = self.document();
        let (app, component) =
            (AppName::parse(document.app.as_str()), ComponentName::parse(document.component.as_str()));
        let patch = document.patch(Alerters::Only(known));
        match (app, component, patch) {
            (Ok(app), Ok(component), Ok(patch)) if wrong.is_empty() => Ok((app, component, patch)),
            (app, component, patch) => {
                let names = app.err().into_iter().chain(component.err());
                let others = patch.err().into_iter().flatten();
                let mut problems = Problems::new();
                for invalid in wrong.into_iter().chain(names).chain(others) {
                    problems.entry(invalid.field.into_owned()).or_insert(invalid.problem);
                }
                Err(problems)
            }
        }
    }

    /// The document that it describes, and what in it is not of the form that its field has.
    fn document(&self) -> (ReservationDocument, Vec<Invalid>) {
        let (mut document, mut wrong) = (Map::new(), Vec::new());
        for (field, form) in FIELDS.into_iter().filter(|(field, _)| self.counts(field)) {
            let text = self.text(field);
            let list = |separators: &[char]| {
                let parts = text.split(separators).map(|part| part.trim_matches([' ', '\t']));
                parts.filter(|part| !part.is_empty()).map(Value::from).collect::<Value>()
            };
            let value = match form {
                ValueForm::Integer => match text.parse::<i64>() {
                    Ok(number) => number.into(),
                    Err(_) => {
                        wrong.push(Invalid::new(field, format!("{text:?} is not a whole number")));
                        continue;
                    }
                },
                ValueForm::Flag => self.is_ticked(field).into(),
                ValueForm::List if field == "alerters" => self.alerters.clone().into(),
                ValueForm::List => list(&[',', '\n']),
                ValueForm::Recipients => list(&[',']),
                ValueForm::Duration | ValueForm::Reminders if text.is_empty() => NOTHING.into(),
                ValueForm::Text if field == "time_zone" && text.is_empty() => "UTC".into(),
                ValueForm::Text | ValueForm::Duration | ValueForm::Reminders => text.into(),
            };
            document.insert(field.to_owned(), value);
        }
        match serde_json::from_value(Value::Object(document)) {
            Ok(document) => (document, wrong),
            Err(error) => {
                wrong.push(Invalid::new("form", error.to_string()));
                (ReservationDocument::default(), wrong)
            }
        }
    }

    /// Whether a field says something, as it stands there.
    fn counts(&self, field: &str) -> bool {
        match field {
            // Empty it leaves it as it is.
            "slug" => !self.text(field).is_empty(),
            "time_zone" => self.kind != KINDS[0].0,
            _ => KINDS.iter().all(|(kind, said_by)| *kind == self.kind || !said_by.contains(&field)),
        }
    }
}

/// Whether a field says when check-ins are expected.
fn is_of_schedule(field: &str) -> bool {
    field == "time_zone" || KINDS.iter().any(|(_, said_by)| said_by.contains(&field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<AlerterName> {
        vec![AlerterName::parse("alerter", "log").unwrap()]
    }

    #[test]
    fn what_is_shown_is_what_was_meant() {
        for kind in ["every", "cron", "calendar"] {
            let mut draft = Draft::fresh(Reminders::Never)
                .with("app", "shop")
                .with("component", "backup")
                .with("slug", "db")
                .with("cron", "0 2 * * *")
                .with("calendar", "Mon..Fri 02:00\nSun 04:00")
                .with("time_zone", "Europe/Berlin")
                .with("tags", "nightly, eu")
                .with("notify", "ops@example.org, log")
                .with("max_run", "1h30m")
                .with("expect", "rows > 0\nbytes >= 0.5 * median(10)");
            draft.kind = kind;
            draft.alerters = vec!["log".into()];
            let (app, component, patch) = draft.parse(&known()).unwrap();
            let spec = patch.into_spec(app, component).unwrap();
            let again = Draft::of(&spec);
            assert_eq!(again.text("slug"), "db");
            let (app, component, patch) = again.parse(&known()).unwrap();
            assert_eq!(patch.into_spec(app, component).unwrap(), spec);
        }
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_its_field() {
        let draft = Draft { kind: "cron", ..Draft::fresh(Reminders::Never) }
            .with("component", "a\nb")
            .with("slug", "A")
            .with("cron", "61 * * * *")
            .with("notify", "nobody")
            .with("grace", "soon")
            .with("alert_after", "many")
            .with("max_run", "-1s")
            .with("expect", "rows");
        let problems = draft.parse(&known()).unwrap_err();
        let fields: Vec<&str> = problems.keys().map(String::as_str).collect();
        assert_eq!(
            fields,
            ["alert_after", "app", "component", "cron", "expect", "grace", "max_run", "notify", "slug"]
        );
    }
}
