//! The `[alerter.NAME]` sections of the configuration.
//!
//! The keys that all kinds have are read here. The file of each kind reads its other keys.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::names::AlerterName;
use innkeeper_core::secret::Secret;
use innkeeper_core::ways::LOG;
use innkeeper_core::{Clock, Invalid};
use innkeeper_settings::{Findings, SecretSource, Section, Table};

use crate::command::CommandConfig;
use crate::pagerduty::PagerDutyConfig;
use crate::slack::SlackConfig;
use crate::smtp::SmtpConfig;
use crate::webhook::WebhookConfig;
use crate::{Alerter, logbook};

/// A configured alerter that cannot be built, with its name, the key at fault, and the allowed values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("alerter.{alerter}.{invalid}")]
pub struct ConfigError {
    /// The alerter's name.
    pub alerter: AlerterName,
    /// The key, and what is wrong with its value.
    pub invalid: Invalid,
}

/// One `[alerter.NAME]` section.
#[derive(Debug, Clone)]
pub struct AlerterConfig {
    /// Whether messages are sent. If not, the alerter is parked: its name remains valid, and its messages wait.
    pub enabled: bool,
    /// Whether the weekly summary is also sent through this alerter.
    pub summary: bool,
    service: Service,
}

/// The service that `kind` names, with its settings.
#[derive(Debug, Clone)]
enum Service {
    /// Mail.
    Smtp(SmtpConfig),
    /// Slack, or a service with Slack-compatible incoming webhooks (Mattermost, Rocket.Chat, Discord's `/slack`).
    Slack(SlackConfig),
    /// PagerDuty's Events API v2.
    PagerDuty(PagerDutyConfig),
    /// A signed JSON request to any address.
    Webhook(WebhookConfig),
    /// A program that gets the notice on its standard input.
    Command(CommandConfig),
    /// A line in Innkeeper's own log.
    Log,
}

/// The function that reads the keys of one kind.
type Read = fn(&mut Section<'_>) -> Service;

/// Every kind, with the function that reads its keys.
const KINDS: [(&str, Read); 6] = [
    ("smtp", |section| Service::Smtp(SmtpConfig::read(section))),
    ("slack", |section| Service::Slack(SlackConfig::read(section))),
    ("pagerduty", |section| Service::PagerDuty(PagerDutyConfig::read(section))),
    ("webhook", |section| Service::Webhook(WebhookConfig::read(section))),
    ("command", |section| Service::Command(CommandConfig::read(section))),
    (LOG, |_| Service::Log),
];

impl AlerterConfig {
    /// Reads the section of the alerter `name`. The section records every problem, and a default replaces each wrong
    /// value. None if the kind is unknown.
    pub fn read(name: &str, mut section: Section<'_>) -> Option<Self> {
        let allowed = KINDS.map(|(kind, _)| kind).join(", ");
        let of_log = (name == LOG).then(|| KINDS.into_iter().find(|(kind, _)| *kind == LOG)).flatten();
        if of_log.is_none() && !section.has("kind") {
            section.refuse_whole(format!("the key kind is missing; allowed: {allowed}"));
        }
        let known = section.parsed("kind", of_log, |text| {
            let known = KINDS.into_iter().find(|(kind, _)| *kind == text);
            known.map(Some).ok_or_else(|| format!("{text:?} is not known; allowed: {allowed}"))
        });
        let (kind, read) = known?;
        if name == LOG && kind != LOG {
            let what = "the name log is kept for kind = \"log\"; give this alerter another name";
            section.refuse("kind", section.origin("kind"), what);
            return None;
        }
        let config = Self {
            enabled: section.flag("enabled", true),
            summary: section.flag("summary", false),
            service: read(&mut section),
        };
        if name == LOG && !config.enabled {
            let what =
                "the log is always there, so that no alert passes without a trace; it cannot be parked";
            section.refuse("enabled", section.origin("enabled"), what);
        }
        section.finish_as(&format!("for kind = {kind:?}"));
        Some(config)
    }

    /// All values of `kind`.
    pub fn kinds() -> [&'static str; 6] {
        KINDS.map(|(kind, _)| kind)
    }

    /// All keys that a section of `kind` may have, in order; none for an unknown kind.
    pub fn keys(kind: &str) -> Vec<String> {
        let Some((_, read)) = KINDS.into_iter().find(|(known, _)| *known == kind) else { return Vec::new() };
        let mut findings = Findings::default();
        let mut section = Section::new("", Table::new(), &mut findings);
        for flag in ["enabled", "summary"] {
            section.flag(flag, false);
        }
        section.text("kind");
        read(&mut section);
        section.finish();
        findings.known
    }

    /// The alerter's `kind`.
    pub fn kind(&self) -> &'static str {
        match &self.service {
            Service::Smtp(_) => "smtp",
            Service::Slack(_) => "slack",
            Service::PagerDuty(_) => "pagerduty",
            Service::Webhook(_) => "webhook",
            Service::Command(_) => "command",
            Service::Log => LOG,
        }
    }

    /// Whether messages need a mail address as well as the alerter's name.
    pub fn needs_address(&self) -> bool {
        matches!(self.service, Service::Smtp(_))
    }

    /// Whether the service keeps an incident open until it is resolved.
    pub fn keeps_incidents(&self) -> bool {
        matches!(self.service, Service::PagerDuty(_))
    }

    /// The file with additional certificates of trusted authorities.
    pub fn ca_file(&self) -> Option<&PathBuf> {
        match &self.service {
            Service::Smtp(config) => config.ca_file.as_ref(),
            Service::Slack(SlackConfig { options, .. })
            | Service::PagerDuty(PagerDutyConfig { options, .. })
            | Service::Webhook(WebhookConfig { options, .. }) => options.ca_file.as_ref(),
            Service::Command(_) | Service::Log => None,
        }
    }

    /// Builds the alerter, and reads secrets and certificates from their files for it. It makes no connection.
    ///
    /// # Errors
    /// A file that cannot be used, or an address that must not be requested.
    pub fn build(&self, name: &AlerterName, clock: Arc<dyn Clock>) -> Result<Box<dyn Alerter>, ConfigError> {
        log::debug!("alerter.{name}: building it, of kind {}", self.kind());
        match &self.service {
            Service::Smtp(config) => config.build(clock),
            Service::Slack(config) => config.build(clock),
            Service::PagerDuty(config) => config.build(clock),
            Service::Webhook(config) => config.build(clock),
            Service::Command(config) => config.build(),
            Service::Log => Ok(logbook::build()),
        }
        .map_err(|invalid| ConfigError { alerter: name.clone(), invalid })
    }
}

/// Reads `timeout`, the time limit of one attempt: 100 ms to 10 minutes.
pub(crate) fn timeout(section: &mut Section<'_>) -> Option<Duration> {
    let bounds = TimeDelta::milliseconds(100)..=TimeDelta::minutes(10);
    section.maybe_duration("timeout", bounds).and_then(|span| span.to_std().ok())
}

/// Reads a secret that an alerter cannot work without.
pub(crate) fn required_secret(
    section: &mut Section<'_>,
    key: &'static str,
    key_file: &'static str,
) -> Option<SecretSource> {
    if !section.has(key) && !section.has(key_file) {
        section.missing(key, &format!("give {key} or {key_file}"));
    }
    section.secret_source(key, key_file)
}

/// The value of a required secret.
pub(crate) fn value_of(key: &'static str, source: Option<&SecretSource>) -> Result<Secret, Invalid> {
    source.ok_or_else(|| Invalid::new(key, "is missing"))?.read()
}
