//! The short form of the configuration that `check-config` prints, without secrets.

use std::fmt;

use innkeeper_alerter::AlerterConfig;
use innkeeper_core::duration;
use innkeeper_core::names::AlerterName;
use innkeeper_core::recipient::Recipient;

use super::{Auth, Config};

impl Config {
    /// Whether any alerter sends to mail addresses.
    pub fn can_mail(&self) -> bool {
        self.alerters.values().any(AlerterConfig::needs_address)
    }

    /// Whether the alerter `name` sends to mail addresses, so that its name alone names no recipient.
    pub(crate) fn sends_mail(&self, name: &AlerterName) -> bool {
        self.alerters.get(name).is_some_and(AlerterConfig::needs_address)
    }

    /// The settings in force, one `key: value` per line, without secrets.
    pub fn summary(&self) -> impl fmt::Display + '_ {
        Summary(self)
    }
}

struct Summary<'c>(&'c Config);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.0;
        let mut line = |key: &str, value: String| writeln!(f, "{key:<16}{value}");
        let auth = match (config.auth, config.allow_open) {
            (Auth::Tokens, _) => "tokens",
            (Auth::Open, false) => "open",
            (Auth::Open, true) => "open, to other machines too",
        };
        let file =
            config.file.as_ref().map_or("none (the defaults)".to_owned(), |file| file.display().to_string());
        line("file", file)?;
        line("instance", config.instance.clone())?;
        line("public_url", config.public_url.clone())?;
        line("auth", auth.to_owned())?;
        let operator: Vec<&str> = config.operator.iter().map(Recipient::as_str).collect();
        line("operator", if operator.is_empty() { "nobody".to_owned() } else { operator.join(", ") })?;
        line("data_dir", config.data_dir.display().to_string())?;
        line(
            "database",
            format!("{} (at most {} connections)", config.database.masked_url(), config.database.pool_size),
        )?;
        line("ingest", format!("http://{}", config.ingest.listen))?;
        line("web", format!("http://{} (standalone: ingest's)", config.web.listen))?;
        if let Some(openid) = &config.web.openid {
            line("openid", format!("{}, as {}", openid.issuer, openid.client_id))?;
        }
        let reminders = config.sweeper.remind_every.words().unwrap_or("never".to_owned());
        line("reminders", format!("{reminders} (for reservations made by GoTel's call)"))?;
        line(
            "history",
            format!(
                "{} check-ins a reservation, {} days",
                config.history.keep_checkins, config.history.keep_days
            ),
        )?;
        if config.heartbeat.url.is_some() {
            line("heartbeat", format!("outward, every {}", duration::short(config.heartbeat.every)))?;
        }
        if let Some(host) = &config.mail_loop.host {
            line("mail loop", format!("over {host}, every {}", duration::short(config.mail_loop.every)))?;
        }
        for (name, peer) in &config.peers {
            line(&format!("peer {name}"), format!("asked every {}", duration::short(peer.every)))?;
        }
        for (name, alerter) in &config.alerters {
            let parked = if alerter.enabled { "" } else { ", parked (enabled = false): its messages wait" };
            line(&format!("alerter {name}"), format!(" {}{parked}", alerter.kind()))?;
        }
        writeln!(f, "Set by:")?;
        for (key, origin) in config.places.keys() {
            writeln!(f, "  {key} = … ({origin})")?;
        }
        Ok(())
    }
}
