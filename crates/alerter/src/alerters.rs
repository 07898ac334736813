//! All configured alerters, built, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use innkeeper_core::names::AlerterName;
use innkeeper_core::{Clock, Invalid};

use crate::logbook::LogConfig;
use crate::{Alerter, AlerterConfig, ConfigError};

/// The name of the alerter that is always there.
const LOG: &str = "log";
/// The name by which a configuration says which of several mail servers mail addresses go through.
const MAIL: &str = "mail";

/// The configured alerters by name; one called `log` is always among them.
pub struct Alerters {
    by_name: BTreeMap<AlerterName, Entry>,
    smtp: Option<AlerterName>,
}

struct Entry {
    alerter: Box<dyn Alerter>,
    for_summaries: bool,
}

impl Alerters {
    /// Builds them all; the first that cannot be built is the error.
    pub fn build(
        configs: &BTreeMap<AlerterName, AlerterConfig>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        let mut by_name = BTreeMap::new();
        for (name, config) in configs {
            if name.as_str() == LOG && config.kind() != LOG {
                let problem = "the name `log` is kept for kind `log`; give this alerter another name";
                return Err(ConfigError { alerter: name.clone(), invalid: Invalid::new("kind", problem) });
            }
            let alerter = config.build(name, Arc::clone(&clock))?;
            by_name.insert(name.clone(), Entry { alerter, for_summaries: config.for_summaries() });
        }
        let smtp = mail_goes_through(configs);
        if let Ok(log) = AlerterName::parse("alerter", LOG) {
            by_name.entry(log).or_insert_with(|| Entry { alerter: LogConfig::build(), for_summaries: false });
        }
        Ok(Self { by_name, smtp })
    }

    /// The alerter of this name.
    pub fn get(&self, name: &str) -> Option<&dyn Alerter> {
        let (_, entry) = self.by_name.iter().find(|(known, _)| known.as_str() == name)?;
        Some(entry.alerter.as_ref())
    }

    /// Every name, in order.
    pub fn names(&self) -> impl Iterator<Item = &AlerterName> {
        self.by_name.keys()
    }

    /// The alerter that mail addresses go through: the `smtp` one called `mail`, else the first `smtp` one by name.
    pub fn smtp(&self) -> Option<&AlerterName> {
        self.smtp.as_ref()
    }

    /// Those that the weekly summary goes out through.
    pub fn for_summaries(&self) -> impl Iterator<Item = &AlerterName> {
        self.by_name.iter().filter(|(_, entry)| entry.for_summaries).map(|(name, _)| name)
    }

    /// A bound on the time that any one sending takes; a lease must last longer.
    pub fn longest(&self) -> std::time::Duration {
        self.by_name.values().map(|entry| entry.alerter.longest()).max().unwrap_or_default()
    }
}

impl std::fmt::Debug for Alerters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.by_name.iter().map(|(name, entry)| (name, entry.alerter.kind()))).finish()
    }
}

fn mail_goes_through(configs: &BTreeMap<AlerterName, AlerterConfig>) -> Option<AlerterName> {
    let mut smtp = configs.iter().filter(|(_, config)| config.kind() == "smtp").map(|(name, _)| name);
    let first = smtp.clone().next();
    smtp.find(|name| name.as_str() == MAIL).or(first).cloned()
}
