//! The alerters of the configuration that is in force.

use std::sync::{Arc, Mutex, PoisonError};

use innkeeper_alerter::{
    Alerters, Asker, ConfigError as AlerterError, Exchange, useless_certificates as useless,
};
use innkeeper_core::{Clock, Invalid, SystemClock};

use crate::config::{Config, ConfigError, Live, Problem};

/// Reads the files that alerters, peers, heartbeat, mail loop and the login at a provider name, and checks what only they can check. Connects nowhere.
///
/// # Errors
/// Everything that is wrong, each with its line.
pub(crate) fn check(config: &Config) -> Result<(), ConfigError> {
    let mut wrong: Vec<(String, Invalid)> = Vec::new();
    for (name, alerter) in &config.alerters {
        if let Err(error) = alerter.build(name, Arc::new(SystemClock)) {
            wrong.push((format!("alerter.{name}"), error.invalid));
        }
    }
    for (name, peer) in &config.peers {
        wrong.extend(Asker::new(&peer.url).err().map(|invalid| (format!("peer.{name}"), invalid)));
    }
    let heartbeat = config.heartbeat.url.as_ref().and_then(|url| Asker::new(url).err());
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
    if problems.is_empty() { Ok(()) } else { Err(ConfigError(problems)) }
}

/// A line for each `ca_file` that opens no way to any server.
pub(crate) fn useless_certificates(config: &Config) -> Vec<String> {
    let of_alerters =
        config.alerters.iter().map(|(name, alerter)| (format!("alerter.{name}"), alerter.ca_file()));
    let of_mail_loop = [("mail_loop".to_owned(), config.mail_loop.ca_file.as_ref())];
    of_alerters
        .chain(of_mail_loop)
        .filter_map(|(section, file)| Some(format!("{section}.ca_file: {}", useless(file?)?)))
        .collect()
}

/// All alerters, built anew after each reload; clones share them.
#[derive(Clone)]
pub struct Ways(Arc<Inner>);

struct Inner {
    live: Live,
    clock: Arc<dyn Clock>,
    built: Mutex<Built>,
}

struct Built {
    of: Arc<Config>,
    alerters: Arc<Alerters>,
}

impl Ways {
    /// Builds them as `config` has them, and as it will have them.
    ///
    /// # Errors
    /// An alerter that cannot be built.
    pub fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, AlerterError> {
        let live = config.live();
        let of = live.get();
        let alerters = Arc::new(Alerters::build(&of.alerters, Arc::clone(&clock))?);
        Ok(Self(Arc::new(Inner { live, clock, built: Mutex::new(Built { of, alerters }) })))
    }

    /// The alerters as they are now.
    pub fn now(&self) -> Arc<Alerters> {
        let config = self.0.live.get();
        let mut built = self.0.built.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&built.of, &config) {
            match Alerters::build(&config.alerters, Arc::clone(&self.0.clock)) {
                Ok(alerters) => built.alerters = Arc::new(alerters),
                // They were built once before the reload was accepted; a file of theirs has gone since.
                Err(error) => log::error!("the alerters stay as they were: {error}"),
            }
            built.of = config;
        }
        Arc::clone(&built.alerters)
    }
}
