//! PagerDuty's Events API v2: an incident is triggered and resolved under one `dedup_key`.

use std::sync::Arc;
use std::time::Duration;

use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_core::secret::Secret;
use innkeeper_core::ways::AlerterKind;
use innkeeper_core::{Clock, Invalid, wording};
use innkeeper_settings::{SecretSource, Section};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::http::Poster;
use crate::keys::{self, HttpOptions};
use crate::letter::{Letter, is_web};
use crate::message::one_by_one;
use crate::redactor::Redactor;
use crate::{Alerter, Message, Sent, words};

/// The address for events if `url` is not set. The European service has another one.
const URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// PagerDuty's limits, in characters.
const LONGEST_SUMMARY: usize = 1024;
const LONGEST_DEDUP_KEY: usize = 255;
/// The most links of one event.
const MOST_LINKS: usize = 20;

/// PagerDuty's four severities.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Critical,
    Error,
    Warning,
    Info,
}

const SEVERITIES: [(&str, Severity); 4] = [
    ("critical", Severity::Critical),
    ("error", Severity::Error),
    ("warning", Severity::Warning),
    ("info", Severity::Info),
];

/// `kind = "pagerduty"`.
#[derive(Debug, Clone)]
pub(crate) struct PagerDutyConfig {
    routing_key: Option<SecretSource>,
    severity: Severity,
    url: Secret,
    pub(crate) options: HttpOptions,
}

impl PagerDutyConfig {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        Self {
            routing_key: keys::required_secret(section, "routing_key", "routing_key_file"),
            severity: section.word("severity", Severity::Error, &SEVERITIES),
            url: Secret::new(section.text("url").unwrap_or_else(|| URL.to_owned())),
            options: HttpOptions::read(section),
        }
    }

    pub(crate) fn build(&self, clock: Arc<dyn Clock>) -> Result<Box<dyn Alerter>, Invalid> {
        let routing_key = keys::value_of("routing_key", self.routing_key.as_ref())?;
        let mut redactor = Redactor::default();
        redactor.hide(routing_key.reveal());
        let poster = Poster::new(&self.url, &self.options, redactor, clock)?;
        Ok(Box::new(PagerDuty { poster, routing_key, severity: self.severity }))
    }
}

struct PagerDuty {
    poster: Poster,
    routing_key: Secret,
    severity: Severity,
}

impl Alerter for PagerDuty {
    fn send(&self, message: &Message<'_>) -> Sent {
        one_by_one(message, |notice, key| match notice.event {
            EventKind::Recovered => self.enqueue("resolve", notice, key),
            // PagerDuty resolves only incidents that it knows, so the incident is triggered first and then resolved.
            EventKind::OpenedAndRecovered => match self.enqueue("trigger", notice, key) {
                Sent::Delivered => self.enqueue("resolve", notice, key).after_a_part(),
                failed => failed,
            },
            EventKind::Opened | EventKind::Reminder | EventKind::Summary | EventKind::Operator => {
                self.enqueue("trigger", notice, key)
            }
        })
    }

    fn takes_digests(&self) -> bool {
        false
    }

    fn kind(&self) -> AlerterKind {
        AlerterKind::PagerDuty
    }

    fn longest(&self) -> Duration {
        2 * self.poster.longest()
    }
}

impl PagerDuty {
    fn enqueue(&self, action: &str, notice: &Notice, key: &str) -> Sent {
        let letter = Letter::of(notice);
        let event = json!({
            "routing_key": self.routing_key.reveal(),
            "event_action": action,
            "dedup_key": dedup_key(notice, key),
            "client": "Innkeeper",
            "client_url": letter.url,
            "links": links(notice, &letter),
            "payload": self.payload(notice, &letter),
        });
        self.poster.post(&[], event.to_string().as_bytes())
    }

    fn payload(&self, notice: &Notice, letter: &Letter) -> Value {
        let severity = if notice.event == EventKind::Summary { Severity::Info } else { self.severity };
        let alert = notice.alert.as_ref();
        json!({
            "summary": words::cut(&words::one_line(&notice.headline()), LONGEST_SUMMARY),
            "source": alert.map_or(notice.instance.clone(), |alert| format!("{}/{}", alert.app, alert.component)),
            "severity": severity,
            "timestamp": alert.map_or(notice.at, |alert| alert.since),
            "component": alert.map(|alert| &alert.component),
            "group": alert.map(|alert| &alert.app),
            "class": alert.map(|alert| alert.cause),
            "custom_details": details(notice, letter),
        })
    }
}

/// The links to the job's page and the runbook, and those in the reservation's own text and description.
fn links(notice: &Notice, letter: &Letter) -> Vec<Value> {
    let mut links: Vec<(&str, &str)> =
        letter.url.iter().map(|url| ("Open in Innkeeper", url.as_str())).collect();
    if let Some(alert) = &notice.alert {
        let runbook = Some(alert.details.runbook.as_str()).filter(|link| is_web(link));
        links.extend(runbook.map(|link| ("Runbook", link)));
        let texts = [&letter.own, &alert.description];
        links.extend(texts.into_iter().flat_map(|text| wording::links(text)).map(|link| (link, link)));
    }
    let mut known: Vec<&str> = Vec::new();
    links.retain(|(_, href)| {
        !known.contains(href) && {
            known.push(href);
            true
        }
    });
    links.into_iter().take(MOST_LINKS).map(|(text, href)| json!({ "href": href, "text": text })).collect()
}

/// The parts that are in neither the summary nor the links, each with its label.
fn details(notice: &Notice, letter: &Letter) -> Value {
    let mut details = Map::new();
    let mut add = |label: &str, text: &str| {
        if !text.is_empty() {
            details.insert(label.to_owned(), Value::from(text));
        }
    };
    add("Message", &letter.own);
    add("What", &letter.happened);
    add("Expected", letter.expected.trim_start_matches("Expected ").trim_end_matches('.'));
    add("Output", &letter.output);
    for fact in letter.facts.iter().filter(|fact| !["Open", "Runbook"].contains(&fact.label)) {
        add(fact.label, &fact.value);
    }
    add("event", notice.event.as_str());
    if let Some(alert) = &notice.alert {
        details.insert("reservation_id".to_owned(), Value::from(alert.reservation_id));
    }
    Value::from(details)
}

/// The key of the incident, or of the sending if the notice has no incident; hashed if it exceeds PagerDuty's limit.
fn dedup_key(notice: &Notice, key: &str) -> String {
    let key = notice.alert.as_ref().map_or(key, |alert| alert.dedup_key.as_str());
    if key.chars().count() <= LONGEST_DEDUP_KEY {
        return key.to_owned();
    }
    format!("sha256-{:x}", Sha256::digest(key))
}
