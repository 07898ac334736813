//! What must fit together across sections.

use std::net::SocketAddr;

use innkeeper_core::recipient::Recipient;

use super::problem::Origin;
use super::section::Findings;
use super::{Auth, Config};

/// Everyone that the list `key` names must be reachable.
pub(crate) fn recipients(
    config: &Config,
    recipients: &[Recipient],
    key: &str,
    origin: &Origin,
    findings: &mut Findings,
) {
    for recipient in recipients {
        match recipient {
            Recipient::Mail(address) if !config.can_mail() => {
                let what = format!(
                    "{} is a mail address, but no alerter has kind = \"smtp\"; add one as [alerter.mail]",
                    address.as_str()
                );
                findings.problem(origin.clone(), key, what);
            }
            Recipient::Alerter(name) if !config.knows_alerter(name.as_str()) => {
                let known: Vec<&str> = config.alerters.keys().map(|name| name.as_str()).collect();
                let what = format!(
                    "{name} is not a configured alerter; there are: {}. Add [alerter.{name}], or write a mail address",
                    known.join(", ")
                );
                findings.problem(origin.clone(), key, what);
            }
            Recipient::Alerter(name) if config.sends_mail(name) => {
                let what =
                    format!("{name} is an alerter of kind smtp; write the mail address, not the alerter");
                findings.problem(origin.clone(), key, what);
            }
            Recipient::Mail(_) | Recipient::Alerter(_) => {}
        }
    }
}

/// The mail loop sends through an alerter.
pub(crate) fn mail_loop(config: &Config, findings: &mut Findings) {
    if config.mail_loop.host.is_some() && !config.can_mail() {
        let what = "needs an alerter of kind = \"smtp\" to send through; add one as [alerter.mail]";
        findings.problem(config.places.place("mail_loop.host"), "mail_loop", what);
    }
}

/// Whoever reaches an open listener can do everything, so it stays on this machine unless that is wanted.
pub(crate) fn listener(
    config: &Config,
    key: &str,
    listen: SocketAddr,
    origin: Origin,
    findings: &mut Findings,
) {
    if config.auth == Auth::Tokens || config.allow_open || listen.ip().to_canonical().is_loopback() {
        return;
    }
    let what = format!(
        "{listen} can be reached from other machines, and auth = \"open\" lets everyone who reaches it do everything. \
         Set auth = \"tokens\" (INNKEEPER_AUTH=tokens), listen on 127.0.0.1, or, where the network is trusted, \
         set allow_open = true (INNKEEPER_ALLOW_OPEN=true)"
    );
    findings.problem(origin, key, what);
}
