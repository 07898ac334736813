//! Mail over SMTP: one message to one recipient, as text and as HTML.
//!
//! - `mail`: the message itself;
//! - `connection`: delivers one mail after another over a few connections;
//! - `dialogue`: one connection, command by command;
//! - `failure`: how a conversation failed, and whether that is permanent.

mod connection;
mod dialogue;
mod failure;
pub(crate) mod mail;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use innkeeper_core::notice::Notice;
use innkeeper_core::ways::AlerterKind;
use innkeeper_core::{Clock, Invalid};
use innkeeper_settings::{SecretSource, Section};
use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;

use crate::guard::{self, Forbidden};
use crate::http::ALLOW;
use crate::redactor::Redactor;
use crate::{Alerter, Message, Sent, keys, tls};
use connection::{Postman, Server, Transit};
use failure::{Failure, Stage};

/// The time limit of a single reply of the server if `timeout` is not set.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    StartTls,
    Implicit,
    None,
}

const ENCRYPTIONS: [(&str, Encryption); 3] =
    [("starttls", Encryption::StartTls), ("implicit", Encryption::Implicit), ("none", Encryption::None)];

/// `kind = "smtp"`.
#[derive(Debug, Clone)]
pub(crate) struct SmtpConfig {
    host: String,
    port: Option<u16>,
    tls: Encryption,
    username: Option<String>,
    password: Option<SecretSource>,
    from: Option<Mailbox>,
    timeout: Option<Duration>,
    pub(crate) ca_file: Option<PathBuf>,
    allow_link_local: bool,
}

impl SmtpConfig {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let allow_link_local = section.flag("allow_link_local", false);
        if !section.has("host") {
            section.refuse_whole(
                "the key host is missing; write the mail server's name, as in smtp.example.org",
            );
        }
        let config = Self {
            host: section.parsed("host", String::new(), |host| checked_host(host, allow_link_local)),
            port: section.maybe_number("port", 1..=65_535),
            tls: section.word("tls", Encryption::StartTls, &ENCRYPTIONS),
            username: section.text("username"),
            password: section.secret_source("password", "password_file"),
            from: {
                if !section.has("from") {
                    section.refuse_whole(
                        "the key from is missing; write the sender, as in innkeeper@example.org",
                    );
                }
                section.parsed("from", None, |from| sender(from).map(Some))
            },
            timeout: keys::timeout(section),
            ca_file: section.path_of("ca_file"),
            allow_link_local,
        };
        config.check_login(section);
        config
    }

    /// Checks that a login has a name and a password, and that they are sent unencrypted to this machine only.
    fn check_login(&self, section: &mut Section<'_>) {
        let has_password = section.has("password") || section.has("password_file");
        if self.username.is_some() && !has_password {
            let what = "is missing beside username; give password or password_file";
            section.refuse("password", section.origin("username"), what);
        } else if has_password && !section.has("username") {
            let key = if section.has("password") { "password" } else { "password_file" };
            section.refuse(
                "username",
                section.origin(key),
                "is missing beside password; give both or neither",
            );
        } else if has_password && self.tls == Encryption::None && !tls::is_loopback(&self.host) {
            let what =
                "is \"none\", which would send the password in the clear; use \"starttls\" or \"implicit\"";
            section.refuse("tls", section.origin("tls"), what);
        }
    }

    pub(crate) fn build(&self, clock: Arc<dyn Clock>) -> Result<Box<dyn Alerter>, Invalid> {
        let from = self.from.clone().ok_or_else(|| Invalid::new("from", "is missing"))?;
        let mut redactor = Redactor::default();
        let credentials = match (&self.username, &self.password) {
            (Some(username), Some(password)) => {
                let password = password.read()?;
                redactor.hide(password.reveal());
                redactor.hide(&format!("\0{username}\0{}", password.reveal()));
                Some(Credentials::new(username.clone(), password.reveal().to_owned()))
            }
            _ => None,
        };
        let server = Server {
            host: self.host.clone(),
            port: self.port.unwrap_or(match self.tls {
                Encryption::StartTls => 587,
                Encryption::Implicit => 465,
                Encryption::None => 25,
            }),
            transit: self.transit()?,
            credentials,
            timeout: self.timeout.unwrap_or(TIMEOUT),
            allow_link_local: self.allow_link_local,
        };
        Ok(Box::new(Smtp { postman: Postman::new(server), from, redactor, clock }))
    }

    fn transit(&self) -> Result<Transit, Invalid> {
        Ok(match self.tls {
            Encryption::StartTls => Transit::StartTls(tls::client(self.ca_file.as_ref())?),
            Encryption::Implicit => Transit::Tls(tls::client(self.ca_file.as_ref())?),
            Encryption::None => Transit::Plain,
        })
    }
}

fn checked_host(host: &str, allow_link_local: bool) -> Result<String, String> {
    let host = host.trim().trim_matches(['[', ']']);
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
        return Err(format!("{host:?} is not a host; write smtp.example.org"));
    }
    if !allow_link_local && guard::forbids_host(host) {
        return Err(format!("{host:?} {Forbidden}; {ALLOW}"));
    }
    Ok(host.to_owned())
}

fn sender(from: &str) -> Result<Mailbox, String> {
    from.parse().ok().filter(|_| !from.contains(char::is_control)).ok_or_else(|| {
        format!("{from:?} is not a sender; write name@example.org or \"Name <name@example.org>\"")
    })
}

struct Smtp {
    postman: Postman,
    from: Mailbox,
    redactor: Redactor,
    clock: Arc<dyn Clock>,
}

impl Alerter for Smtp {
    fn send(&self, message: &Message<'_>) -> Sent {
        if message.notices.is_empty() {
            return Sent::Delivered;
        }
        let Some(recipient) = message.recipient else {
            return Sent::never("mail needs an address: name the address itself, not the alerter");
        };
        let Ok(to) = recipient.as_str().parse::<Address>() else {
            return Sent::never(format!("{} is not an address that mail can be sent to", recipient.as_str()));
        };
        let mail = match mail::compose(message, &self.from, &to, self.clock.now()) {
            Ok(mail) => mail,
            Err(error) => {
                return Sent::never(self.redactor.clean(&format!("the mail cannot be written: {error}")));
            }
        };
        match self.postman.deliver(&self.from.email, &to, &mail) {
            Ok(()) => Sent::Delivered,
            Err(failure) => self.failed(&failure),
        }
    }

    fn takes_digests(&self) -> bool {
        true
    }

    fn holds(&self, notices: &[Notice]) -> usize {
        mail::holds(notices)
    }

    fn kind(&self) -> AlerterKind {
        AlerterKind::Smtp
    }

    fn longest(&self) -> Duration {
        self.postman.longest()
    }
}

impl Smtp {
    fn failed(&self, failure: &Failure) -> Sent {
        let problem = self.redactor.clean(&format!("{} {failure}", self.postman.place()));
        if failure.is_permanent() {
            let is_of_content = matches!(failure.stage, Stage::Data | Stage::Message);
            return Sent::Permanent { is_of_content, problem };
        }
        // Any reply, even a refusal, shows that nothing was accepted. Without a reply after the end of the message, it
        // is unknown.
        let maybe_sent = failure.stage == Stage::Message && failure.code().is_none();
        Sent::Retryable { after: None, maybe_sent, problem }
    }
}
