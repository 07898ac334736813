//! The keys of the configuration that several kinds of alerters have.

use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::Invalid;
use innkeeper_core::secret::Secret;
use innkeeper_settings::{SecretSource, Section};

/// What the HTTP alerters have in common in the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct HttpOptions {
    pub(crate) timeout: Option<Duration>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) allow_link_local: bool,
}

impl HttpOptions {
    /// Reads `timeout`, `ca_file` and `allow_link_local`.
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        Self {
            timeout: timeout(section),
            ca_file: section.path_of("ca_file"),
            allow_link_local: section.flag("allow_link_local", false),
        }
    }
}

/// How long one attempt may take.
pub(crate) fn timeout(section: &mut Section<'_>) -> Option<Duration> {
    let bounds = TimeDelta::milliseconds(100)..=TimeDelta::minutes(10);
    section.maybe_duration("timeout", bounds).and_then(|span| span.to_std().ok())
}

/// A secret that an alerter cannot be without.
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

/// The value of such a secret.
pub(crate) fn value_of(key: &'static str, source: Option<&SecretSource>) -> Result<Secret, Invalid> {
    source.ok_or_else(|| Invalid::new(key, "is missing"))?.read()
}
