//! What people are told, before an alerter gives it a shape.
//!
//! A [`Notice`] is written when a conclusion is drawn and kept in the outbox as JSON; it holds all that any
//! alerter needs, so that sending asks no database.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::Time;
use crate::alert::{Cause, Reason};
use crate::summary::Summary;

/// What happened.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, EnumString, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum EventKind {
    /// An alert opened.
    Opened,
    /// An open alert is told again.
    Reminder,
    /// An alert closed: the job is back.
    Recovered,
    /// An alert opened and closed between two looks.
    OpenedAndRecovered,
    /// The summary of the week.
    Summary,
    /// Something about Innkeeper itself.
    Operator,
}

impl EventKind {
    /// The word for it in SQL and JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What became of a message in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, EnumString, IntoStaticStr, VariantArray)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum DeliveryState {
    /// It is to be sent, for the first time or again.
    Waiting,
    /// Its alerter has taken it.
    Delivered,
    /// It was given up.
    Dead,
}

impl DeliveryState {
    /// The word for it in SQL, JSON and pages.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One message, ready for any alerter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// What happened.
    pub event: EventKind,
    /// The installation that speaks (`instance` in its configuration).
    pub instance: String,
    /// One line without the instance: "DOWN shop/backup: failed with exit status 1".
    pub subject: String,
    /// How the subject and the instance stand together. Versions that did not say had the classic form.
    #[serde(default = "classic")]
    pub subject_form: SubjectForm,
    /// The message: plain text, several lines. Empty where the alerter writes it, from the incident's [`Details`].
    pub text: String,
    /// When the conclusion was drawn.
    pub at: Time,
    /// Where to read more.
    pub url: Option<String>,
    /// The incident and its reservation; none for a summary or an operator notice.
    pub alert: Option<AlertNotice>,
    /// The summary, in parts, beside its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Box<Summary>>,
}

/// The incident that a notice is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertNotice {
    /// The alert's number.
    pub id: i64,
    /// One key for all notices of this incident: PagerDuty's `dedup_key`.
    pub dedup_key: String,
    /// The kind of trouble.
    pub cause: Cause,
    /// The reason as a sentence.
    pub reason: String,
    /// The exit status, where the job gave one.
    pub exit_code: Option<i32>,
    /// When the alert opened.
    pub opened_at: Time,
    /// When it closed.
    pub closed_at: Option<Time>,
    /// When the trouble began: the deadline, the run limit, the report.
    pub since: Time,
    /// The reservation's number.
    pub reservation_id: i64,
    /// The first half of its identity.
    pub app: String,
    /// The second half of its identity.
    pub component: String,
    /// Whose job it is.
    pub owner: String,
    /// What the job is for.
    pub description: String,
    /// Its labels.
    pub tags: Vec<String>,
    /// Its `notify`, as written.
    pub notify: String,
    /// Its schedule in words.
    pub schedule: String,
    /// The latest success.
    pub last_checkin_at: Option<Time>,
    /// Check-ins of any kind so far.
    pub checkins: i64,
    /// The end of what the job said last: a few lines, without terminal codes.
    pub notes: String,
    /// What messages say beside.
    #[serde(flatten)]
    pub details: Details,
}

/// How a notice's subject and its instance stand together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubjectForm {
    /// "DOWN shop/backup: failed · innkeeper"
    #[default]
    Uniform,
    /// "[innkeeper] Job failed: shop/backup"
    Classic,
    /// As the reservation's own `alert_subject` has it, without the instance.
    Own,
}

/// What messages about an incident say beside its spec. In notices that an older version wrote all of it is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// Why the alert opened. Where it is absent, the notice's own text is the message.
    pub why: Option<Reason>,
    /// The reservation's own words for this event, its placeholders filled; empty for the usual ones.
    pub own_text: String,
    /// The zone on whose clock times are told: `Europe/Berlin`.
    pub time_zone: String,
    /// When check-ins are expected, in words: "each day at 03:00, with 1 hour of grace".
    pub expected: String,
    /// The address from which the job checked in last; empty before its first check-in.
    pub source: String,
    /// How long the run took that the message is about, in milliseconds.
    pub took_ms: Option<i64>,
    /// The median of the runs that succeeded lately, in milliseconds.
    pub usual_ms: Option<i64>,
    /// What to do: a link.
    pub runbook: String,
    /// Who else got the message: "ops@example.org", "oncall (PagerDuty)".
    pub also_told: Vec<String>,
    /// How many other jobs were down.
    pub others_down: i64,
    /// How many jobs there were.
    pub jobs: i64,
    /// For a site: how many reservations stand behind it.
    pub behind: i64,
    /// Where the message does not go, though the reservation asks for it. For the operator only.
    pub undelivered: Vec<String>,
    /// Whether the incident is over because its job was checked out.
    pub checked_out: bool,
    /// Why the incident is over, where neither a success nor a check-out ended it: "schedule changed: not overdue by it".
    pub ending: String,
    /// Whether that is a report that came late and shows that the job was well: "it had run at 02:00 on Wed 25 Nov (Europe/Berlin)".
    pub answered: bool,
}

fn classic() -> SubjectForm {
    SubjectForm::Classic
}

impl Notice {
    /// The subject with the installation's name: "DOWN shop/backup: failed with exit status 1 · innkeeper".
    pub fn headline(&self) -> String {
        match self.subject_form {
            SubjectForm::Uniform => format!("{} · {}", self.subject, self.instance),
            SubjectForm::Classic => format!("[{}] {}", self.instance, self.subject),
            SubjectForm::Own => self.subject.clone(),
        }
    }

    /// The notice that ends this incident because its job was checked out.
    #[must_use]
    pub fn checked_out(&self, now: Time) -> Self {
        let mut over = self.clone();
        over.event = EventKind::Recovered;
        over.at = now;
        if let Some(alert) = &mut over.alert {
            let job = format!("{}/{}", alert.app, alert.component);
            over.subject = match self.subject_form {
                SubjectForm::Classic => format!("Checked out: {job}"),
                SubjectForm::Uniform | SubjectForm::Own => format!("CHECKED OUT {job}"),
            };
            if over.subject_form == SubjectForm::Own {
                over.subject_form = SubjectForm::Uniform;
            }
            // The text is the alerter's to write, but for what an older version left waiting.
            if alert.details.why.is_none() {
                over.text = format!(
                    "{job} was checked out: its reservation is removed, and nothing alerts on it any more.\nIts alert was: {}\n",
                    alert.reason
                );
            }
            alert.closed_at = Some(now);
            alert.details.own_text.clear();
            alert.details.checked_out = true;
            // These were so when it opened.
            alert.details.also_told.clear();
            (alert.details.others_down, alert.details.jobs) = (0, 0);
        }
        over
    }

    /// Whether it says that an incident is over.
    pub fn is_resolution(&self) -> bool {
        matches!(self.event, EventKind::Recovered | EventKind::OpenedAndRecovered)
    }
}
