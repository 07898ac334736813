//! The `[alerter.NAME]` tables of the configuration.

use std::path::PathBuf;
use std::sync::Arc;

use innkeeper_core::names::AlerterName;
use innkeeper_core::{Clock, Invalid};
use serde::{Deserialize, Deserializer, de};

use crate::Alerter;
use crate::command::CommandConfig;
use crate::logbook::LogConfig;
use crate::pagerduty::PagerDutyConfig;
use crate::slack::SlackConfig;
use crate::smtp::SmtpConfig;
use crate::webhook::WebhookConfig;

/// A configured alerter that cannot be built: which one, which of its keys, what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("alerter.{alerter}.{invalid}")]
pub struct ConfigError {
    /// The alerter's name.
    pub alerter: AlerterName,
    /// The key, and what is wrong with its value.
    pub invalid: Invalid,
}

/// One `[alerter.NAME]` table, by its `kind`.
#[derive(Debug, Clone)]
pub enum AlerterConfig {
    /// Mail.
    Smtp(SmtpConfig),
    /// Slack, or anything that takes Slack's incoming webhooks (Mattermost, Rocket.Chat, Discord's `/slack`).
    Slack(SlackConfig),
    /// PagerDuty's Events API v2.
    PagerDuty(PagerDutyConfig),
    /// A signed JSON request to any address.
    Webhook(WebhookConfig),
    /// A program that gets the notice on its standard input.
    Command(CommandConfig),
    /// A line in Innkeeper's own log.
    Log(LogConfig),
}

const KINDS: &[&str] = &["smtp", "slack", "pagerduty", "webhook", "command", "log"];

impl AlerterConfig {
    /// Reads the table of a `kind` (with or without the key `kind` itself in it). Errors come from
    /// `deserializer`, so that they keep its place in the file; none shows a secret's value.
    pub fn deserialize<'de, D: Deserializer<'de>>(kind: &str, deserializer: D) -> Result<Self, D::Error> {
        match kind {
            "smtp" => SmtpConfig::deserialize(deserializer).map(Self::Smtp),
            "slack" => SlackConfig::deserialize(deserializer).map(Self::Slack),
            "pagerduty" => PagerDutyConfig::deserialize(deserializer).map(Self::PagerDuty),
            "webhook" => WebhookConfig::deserialize(deserializer).map(Self::Webhook),
            "command" => CommandConfig::deserialize(deserializer).map(Self::Command),
            "log" => LogConfig::deserialize(deserializer).map(Self::Log),
            other => Err(de::Error::unknown_variant(other, KINDS)),
        }
    }

    /// Every `kind` that there is.
    pub fn kinds() -> &'static [&'static str] {
        KINDS
    }

    /// Every key that a table of `kind` takes besides `kind`; none for an unknown kind.
    pub fn keys(kind: &str) -> &'static [&'static str] {
        match kind {
            "smtp" => SmtpConfig::KEYS,
            "slack" => SlackConfig::KEYS,
            "pagerduty" => PagerDutyConfig::KEYS,
            "webhook" => WebhookConfig::KEYS,
            "command" => CommandConfig::KEYS,
            "log" => LogConfig::KEYS,
            _ => &[],
        }
    }

    /// The table's `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Smtp(_) => "smtp",
            Self::Slack(_) => "slack",
            Self::PagerDuty(_) => "pagerduty",
            Self::Webhook(_) => "webhook",
            Self::Command(_) => "command",
            Self::Log(_) => "log",
        }
    }

    /// Whether the weekly summary goes out this way too (`summary = true`).
    pub fn for_summaries(&self) -> bool {
        match self {
            Self::Smtp(config) => config.summary,
            Self::Slack(config) => config.summary,
            Self::PagerDuty(config) => config.summary,
            Self::Webhook(config) => config.summary,
            Self::Command(config) => config.summary,
            Self::Log(config) => config.summary,
        }
    }

    /// The file with certificates of authorities that it trusts beside the system's.
    pub fn ca_file(&self) -> Option<&PathBuf> {
        match self {
            Self::Smtp(config) => config.ca_file.as_ref(),
            Self::Slack(config) => config.ca_file.as_ref(),
            Self::PagerDuty(config) => config.ca_file.as_ref(),
            Self::Webhook(config) => config.ca_file.as_ref(),
            Self::Command(_) | Self::Log(_) => None,
        }
    }

    /// Reads secrets and certificates from their files, checks every value, and makes the alerter. Connects nowhere.
    pub fn build(&self, name: &AlerterName, clock: Arc<dyn Clock>) -> Result<Box<dyn Alerter>, ConfigError> {
        match self {
            Self::Smtp(config) => config.build(clock),
            Self::Slack(config) => config.build(clock),
            Self::PagerDuty(config) => config.build(clock),
            Self::Webhook(config) => config.build(clock),
            Self::Command(config) => config.build(),
            Self::Log(_) => Ok(LogConfig::build()),
        }
        .map_err(|invalid| ConfigError { alerter: name.clone(), invalid })
    }
}
