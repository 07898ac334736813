//! The `[alerter.NAME]` sections of the configuration.
//!
//! The keys that all kinds have are read here. The file of each kind reads its other keys.

use std::path::PathBuf;
use std::sync::Arc;

use innkeeper_core::names::AlerterName;
use innkeeper_core::ways::{AlerterKind, LOG};
use innkeeper_core::{Clock, Invalid, word};
use innkeeper_settings::{Findings, Section, Table};

use crate::command::CommandConfig;
use crate::pagerduty::PagerDutyConfig;
use crate::slack::SlackConfig;
use crate::smtp::SmtpConfig;
use crate::webhook::WebhookConfig;
use crate::{Alerter, logbook};

/// A configured alerter that cannot be built, with its name, the key at fault, and the allowed values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("alerter.{alerter}.{invalid}")]
pub struct AlerterError {
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

impl Service {
    /// Reads the keys of this kind.
    fn read(kind: AlerterKind, section: &mut Section<'_>) -> Self {
        match kind {
            AlerterKind::Smtp => Self::Smtp(SmtpConfig::read(section)),
            AlerterKind::Slack => Self::Slack(SlackConfig::read(section)),
            AlerterKind::PagerDuty => Self::PagerDuty(PagerDutyConfig::read(section)),
            AlerterKind::Webhook => Self::Webhook(WebhookConfig::read(section)),
            AlerterKind::Command => Self::Command(CommandConfig::read(section)),
            AlerterKind::Log => Self::Log,
        }
    }
}

impl AlerterConfig {
    /// Reads the section of the alerter `name`. The section records every problem, and a default replaces each wrong
    /// value. None if the kind is unknown.
    pub fn read(name: &str, mut section: Section<'_>) -> Option<Self> {
        let allowed = word::allowed::<AlerterKind>();
        let of_log = (name == LOG).then_some(AlerterKind::Log);
        if of_log.is_none() && !section.has("kind") {
            section.refuse_whole(format!("the key kind is missing; allowed: {allowed}"));
        }
        let known = section.parsed("kind", of_log, |text| {
            text.parse().map(Some).map_err(|_| format!("{text:?} is not known; allowed: {allowed}"))
        });
        let kind: AlerterKind = known?;
        if name == LOG && kind != AlerterKind::Log {
            let what = "the name log is kept for kind = \"log\"; give this alerter another name";
            section.refuse("kind", section.origin("kind"), what);
            return None;
        }
        let config = Self {
            enabled: section.flag("enabled", true),
            summary: section.flag("summary", false),
            service: Service::read(kind, &mut section),
        };
        if name == LOG && !config.enabled {
            let what =
                "the log is always there, so that no alert passes without a trace; it cannot be parked";
            section.refuse("enabled", section.origin("enabled"), what);
        }
        section.finish_as(&format!("for kind = {:?}", kind.as_str()));
        Some(config)
    }

    /// Every key that a section of `kind` takes, in order.
    pub fn keys(kind: AlerterKind) -> Vec<String> {
        let mut findings = Findings::default();
        let mut section = Section::new("", Table::new(), &mut findings);
        for flag in ["enabled", "summary"] {
            section.flag(flag, false);
        }
        section.text("kind");
        Service::read(kind, &mut section);
        section.finish();
        findings.known
    }

    /// The alerter's `kind`.
    pub fn kind(&self) -> AlerterKind {
        match &self.service {
            Service::Smtp(_) => AlerterKind::Smtp,
            Service::Slack(_) => AlerterKind::Slack,
            Service::PagerDuty(_) => AlerterKind::PagerDuty,
            Service::Webhook(_) => AlerterKind::Webhook,
            Service::Command(_) => AlerterKind::Command,
            Service::Log => AlerterKind::Log,
        }
    }

    /// Whether messages need a mail address as well as the alerter's name.
    pub fn needs_address(&self) -> bool {
        self.kind().is_mail()
    }

    /// Whether the service keeps an incident open until it is resolved.
    pub fn keeps_incidents(&self) -> bool {
        self.kind().keeps_incidents()
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
    pub fn build(&self, name: &AlerterName, clock: Arc<dyn Clock>) -> Result<Box<dyn Alerter>, AlerterError> {
        log::debug!("alerter.{name}: building it, of kind {}", self.kind());
        match &self.service {
            Service::Smtp(config) => config.build(clock),
            Service::Slack(config) => config.build(clock),
            Service::PagerDuty(config) => config.build(clock),
            Service::Webhook(config) => config.build(clock),
            Service::Command(config) => config.build(),
            Service::Log => Ok(logbook::build()),
        }
        .map_err(|invalid| AlerterError { alerter: name.clone(), invalid })
    }
}
