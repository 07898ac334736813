//! The alerters of the configuration in force.

use std::sync::Arc;

use innkeeper_alerter::{AlerterError, Alerters, Exchange, HttpAsker, useless_certificates as useless};
use innkeeper_core::ways::parked_words;
use innkeeper_core::{Clock, Invalid, SystemClock};
use parking_lot::RwLock;

use crate::config::{Config, ConfigError, Problem};

/// Makes the checks of [`build`] for a caller that does not need the alerters.
///
/// # Errors
/// All problems, each with its line.
pub(crate) fn check(config: &Config) -> Result<(), ConfigError> {
    build(config, Arc::new(SystemClock)).map(drop)
}

/// Builds the alerters and reads the files named by peers, heartbeat, mail loop and OpenID login, with the checks that
/// need these files. Opens no connection.
///
/// # Errors
/// All problems, each with its line.
pub(crate) fn build(config: &Config, clock: Arc<dyn Clock>) -> Result<Alerters, ConfigError> {
    let mut wrong: Vec<(String, Invalid)> = Vec::new();
    let built = Alerters::build_all(&config.alerters, clock).map_err(|errors| {
        wrong.extend(errors.into_iter().map(|error| (format!("alerter.{}", error.alerter), error.invalid)));
    });
    for (name, peer) in &config.peers {
        wrong.extend(HttpAsker::new(&peer.url).err().map(|invalid| (format!("peer.{name}"), invalid)));
    }
    let heartbeat = config.heartbeat.url.as_ref().and_then(|url| HttpAsker::new(url).err());
    wrong.extend(heartbeat.map(|invalid| ("heartbeat".to_owned(), invalid)));
    wrong.extend(config.mail_loop.mailbox().err().map(|invalid| ("mail_loop".to_owned(), invalid)));
    if let Some(openid) = &config.web.openid {
        let of_issuer = |invalid: Invalid| Invalid { field: "issuer".into(), ..invalid };
        wrong.extend(
            Exchange::check(&openid.issuer)
                .err()
                .map(|invalid| ("web.openid".to_owned(), of_issuer(invalid))),
        );
        wrong.extend(
            Exchange::new(openid.ca_file.as_ref()).err().map(|invalid| ("web.openid".to_owned(), invalid)),
        );
    }
    let problems: Vec<Problem> = wrong
        .into_iter()
        .map(|(section, invalid)| config.problem(format!("{section}.{}", invalid.field), invalid.problem))
        .collect();
    built.ok().filter(|_| problems.is_empty()).ok_or(ConfigError(problems))
}

/// A line for each parked alerter.
pub(crate) fn parked(config: &Config) -> Vec<String> {
    config.ways_out().parked().map(|name| format!("alerter.{}", parked_words(name))).collect()
}

/// A line for each `ca_file` that no connection can use.
pub(crate) fn useless_certificates(config: &Config) -> Vec<String> {
    let of_alerters =
        config.alerters.iter().map(|(name, alerter)| (format!("alerter.{name}"), alerter.ca_file()));
    let of_mail_loop = [("mail_loop".to_owned(), config.mail_loop.ca_file.as_ref())];
    of_alerters
        .chain(of_mail_loop)
        .filter_map(|(section, file)| Some(format!("{section}.ca_file: {}", useless(file?)?)))
        .collect()
}

/// All alerters of the configuration in force; clones share them. They are built once at the start, and once at each
/// reload.
#[derive(Clone)]
pub struct Ways(Arc<RwLock<Arc<Alerters>>>);

impl Ways {
    /// The process's own alerters, if its configuration can be reloaded; otherwise new ones built from `config`.
    ///
    /// # Errors
    /// An alerter that cannot be built.
    pub fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, AlerterError> {
        match config.live().alerters() {
            Some(own) => Ok(own.clone()),
            None => Alerters::build(&config.alerters, clock).map(Self::of),
        }
    }

    /// Wraps these alerters.
    pub(crate) fn of(alerters: Alerters) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(alerters))))
    }

    /// Replaces the alerters, for all clones.
    pub(crate) fn replace(&self, alerters: Alerters) {
        *self.0.write() = Arc::new(alerters);
    }

    /// The present alerters.
    pub fn now(&self) -> Arc<Alerters> {
        Arc::clone(&self.0.read())
    }
}
