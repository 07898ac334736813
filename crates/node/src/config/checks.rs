//! Checks across sections.

use std::net::SocketAddr;

use innkeeper_core::recipient::Recipient;
use innkeeper_store::DatabaseUrl;

use super::{Auth, Config, postgres_tls};
use innkeeper_settings::{Findings, Origin};

/// Checks that every recipient in the list `key` can be reached.
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

/// Checks that the mail loop's alerter exists and can send mail.
pub(crate) fn mail_loop(config: &Config, findings: &mut Findings) {
    if config.mail_loop.host.is_some() && !config.can_mail() {
        let what = "needs an alerter of kind = \"smtp\" to send through; add one as [alerter.mail]";
        findings.problem(config.places.place("mail_loop.host"), "mail_loop", what);
    }
}

/// Checks that login at an OpenID provider is used only with authentication on, with an address to which the provider
/// can redirect, without another source of identities, and in a program built with OpenID; `build` says how to build
/// one if this is not.
pub(crate) fn openid(config: &Config, build: Option<&str>, findings: &mut Findings) {
    if config.web.openid.is_none() {
        return;
    }
    let mut refuse =
        |what: &str| findings.problem(config.places.place("web.openid.issuer"), "web.openid", what);
    if let Some(build) = build {
        refuse(&format!(
            "needs a build that supports it: {build} (the image has it, and what --all-features builds); this one was built \
             without"
        ));
    }
    if config.auth == Auth::Open {
        refuse("lets people log in, and with auth = \"open\" nobody has to; set auth = \"tokens\"");
    }
    if !config.is_public_url_given {
        refuse(
            "needs public_url, the address that people use: the provider sends them back to its /login/openid/callback",
        );
    }
    if config.web.sign_on_header.is_some() {
        refuse(
            "cannot be combined with web.sign_on_header, by which a proxy names the caller; choose one of the two",
        );
    }
}

/// Checks that this program supports TLS, if the database URL demands it.
pub(crate) fn database_tls(config: &Config, findings: &mut Findings) {
    let Some(DatabaseUrl::Postgres(url)) = config.database.address() else { return };
    if postgres_tls::IS_BUILT_IN {
        return;
    }
    let parameters = postgres_tls::Parameters::of(url, |name| std::env::var(name).ok());
    if let Some(demand) = parameters.demand() {
        let what = format!(
            "asks for TLS ({demand}), and this program was built without it for Postgres; {}",
            postgres_tls::HOW_TO_GET_IT
        );
        findings.problem(config.places.place("database.url"), "database.url", what);
    }
}

/// Checks that a listener without authentication stays on this machine unless that is explicitly allowed otherwise:
/// its callers can do everything.
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
