//! All configured alerters by name, ready to send.

use std::collections::BTreeMap;
use std::sync::Arc;

use innkeeper_core::names::AlerterName;
use innkeeper_core::ways::{AlerterKind, LOG};
use innkeeper_core::{Clock, Invalid};

use crate::{Alerter, AlerterConfig, AlerterError, logbook};

/// If there are several mail servers, mail addresses use the one with this name.
const MAIL: &str = "mail";

/// The configured alerters by name. One called `log` is always among them.
///
/// A parked alerter (`enabled = false`) is known by its name and never returned for sending.
pub struct Alerters {
    by_name: BTreeMap<AlerterName, Registered>,
    smtp: Option<AlerterName>,
}

struct Registered {
    alerter: Box<dyn Alerter>,
    for_summaries: bool,
    enabled: bool,
}

impl Alerters {
    /// Builds all alerters. Parked ones are built too, to show that their configuration is valid.
    ///
    /// # Errors
    /// The first alerter that cannot be built.
    pub fn build(
        configs: &BTreeMap<AlerterName, AlerterConfig>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AlerterError> {
        Self::build_all(configs, clock).map_err(|mut errors| errors.swap_remove(0))
    }

    /// Builds all alerters.
    ///
    /// # Errors
    /// Every alerter that cannot be built; at least one.
    pub fn build_all(
        configs: &BTreeMap<AlerterName, AlerterConfig>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Vec<AlerterError>> {
        let (mut by_name, mut errors) = (BTreeMap::new(), Vec::new());
        for (name, config) in configs {
            if name.as_str() == LOG && config.kind() != AlerterKind::Log {
                let problem = "the name `log` is kept for kind `log`; give this alerter another name";
                errors.push(AlerterError { alerter: name.clone(), invalid: Invalid::new("kind", problem) });
                continue;
            }
            match config.build(name, Arc::clone(&clock)) {
                Ok(alerter) => {
                    let AlerterConfig { enabled, summary, .. } = *config;
                    by_name.insert(name.clone(), Registered { alerter, for_summaries: summary, enabled });
                }
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let smtp = mail_goes_through(&by_name);
        if let Ok(log) = AlerterName::parse("alerter", LOG) {
            let log_alone = || Registered { alerter: logbook::build(), for_summaries: false, enabled: true };
            by_name.entry(log).or_insert_with(log_alone);
        }
        Ok(Self { by_name, smtp })
    }

    /// The alerter of this name; none if it is parked or unknown.
    pub fn get(&self, name: &str) -> Option<&dyn Alerter> {
        let (_, entry) = self.working().find(|(known, _)| known.as_str() == name)?;
        Some(entry.alerter.as_ref())
    }

    /// The names of the alerters that are not parked, in order.
    pub fn names(&self) -> impl Iterator<Item = &AlerterName> {
        self.working().map(|(name, _)| name)
    }

    /// The parked alerters with their kinds, in the order of their names.
    pub fn parked(&self) -> impl Iterator<Item = (&AlerterName, AlerterKind)> {
        let parked = self.by_name.iter().filter(|(_, entry)| !entry.enabled);
        parked.map(|(name, entry)| (name, entry.alerter.kind()))
    }

    /// Whether an alerter of this name exists and is parked.
    pub fn is_parked(&self, name: &str) -> bool {
        self.parked().any(|(known, _)| known.as_str() == name)
    }

    /// The alerter for mail addresses, among those that are not parked: the `smtp` alerter called `mail`, else the
    /// first `smtp` alerter by name.
    pub fn smtp(&self) -> Option<&AlerterName> {
        self.smtp.as_ref()
    }

    /// The alerters for the weekly summary, each with whether it needs a mail address. Parked ones are included: they
    /// send it when they are enabled again.
    pub fn for_summaries(&self) -> impl Iterator<Item = (&AlerterName, bool)> {
        let wanted = self.by_name.iter().filter(|(_, entry)| entry.for_summaries);
        wanted.map(|(name, entry)| (name, entry.alerter.needs_address()))
    }

    /// An upper bound of the time that one sending takes. A lease must last longer.
    pub fn longest(&self) -> std::time::Duration {
        self.working().map(|(_, entry)| entry.alerter.longest()).max().unwrap_or_default()
    }

    fn working(&self) -> impl Iterator<Item = (&AlerterName, &Registered)> {
        self.by_name.iter().filter(|(_, entry)| entry.enabled)
    }
}

impl std::fmt::Debug for Alerters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.by_name.iter().map(|(name, entry)| (name, entry.alerter.kind().as_str())))
            .finish()
    }
}

fn mail_goes_through(by_name: &BTreeMap<AlerterName, Registered>) -> Option<AlerterName> {
    let can_mail = |entry: &Registered| entry.enabled && entry.alerter.needs_address();
    let mut mail = by_name.iter().filter(|(_, entry)| can_mail(entry)).map(|(name, _)| name);
    let first = mail.clone().next();
    mail.find(|name| name.as_str() == MAIL).or(first).cloned()
}
