//! Mail over SMTP: one message to one recipient, as text and as HTML.
//!
//! - `mail`: the message itself;
//! - `connection`: one mail after the other, step by step;
//! - `dialogue`: one connection, command by command;
//! - `failure`: what is known of a conversation that failed.

mod connection;
mod dialogue;
mod failure;
pub(crate) mod mail;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use innkeeper_core::notice::Notice;
use innkeeper_core::secret::Secret;
use innkeeper_core::{Clock, Invalid};
use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::guard::{self, Forbidden};
use crate::hidden::{self, Hidden};
use crate::http::ALLOW;
use crate::{Alerter, Message, Sent, flexible, tls};
use connection::{Postman, Server, Transit};
use failure::{Failure, Stage};

/// How long a single reply of the server may take unless `timeout` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How the connection is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encryption {
    #[default]
    StartTls,
    Implicit,
    None,
}

/// `kind = "smtp"`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmtpConfig {
    #[serde(default, rename = "kind")]
    _kind: IgnoredAny,
    host: String,
    #[serde(default, deserialize_with = "flexible::port")]
    port: Option<u16>,
    #[serde(default)]
    tls: Encryption,
    username: Option<String>,
    #[serde(default, deserialize_with = "flexible::secret")]
    password: Option<Secret>,
    password_file: Option<PathBuf>,
    from: String,
    #[serde(default, deserialize_with = "flexible::timeout")]
    timeout: Option<Duration>,
    pub(crate) ca_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "flexible::truth")]
    allow_link_local: bool,
    #[serde(default, deserialize_with = "flexible::truth")]
    pub(crate) summary: bool,
}

impl SmtpConfig {
    pub(crate) const KEYS: &[&str] = &[
        "host",
        "port",
        "tls",
        "username",
        "password",
        "password_file",
        "from",
        "timeout",
        "ca_file",
        "allow_link_local",
        "summary",
    ];

    pub(crate) fn build(&self, clock: Arc<dyn Clock>) -> Result<Box<dyn Alerter>, Invalid> {
        let host = self.host.trim().trim_matches(['[', ']']);
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
            return Err(Invalid::new("host", format!("{host:?} is not a host; write smtp.example.org")));
        }
        if !self.allow_link_local && guard::forbids_host(host) {
            return Err(Invalid::new("host", format!("{host:?} {Forbidden}; {ALLOW}")));
        }
        let from = self.from.parse::<Mailbox>().ok().filter(|_| !self.from.contains(char::is_control));
        let from = from.ok_or_else(|| {
            let problem = "is not a sender; write name@example.org or \"Name <name@example.org>\"";
            Invalid::new("from", format!("{:?} {problem}", self.from))
        })?;
        let credentials = self.credentials()?;
        let mut hidden = Hidden::default();
        if let Some((username, password)) = &credentials {
            hidden.hide(password.reveal());
            hidden.hide(&format!("\0{username}\0{}", password.reveal()));
        }
        let server = Server {
            host: host.to_owned(),
            port: self.port.unwrap_or(match self.tls {
                Encryption::StartTls => 587,
                Encryption::Implicit => 465,
                Encryption::None => 25,
            }),
            transit: self.transit()?,
            credentials: credentials
                .map(|(name, password)| Credentials::new(name, password.reveal().to_owned())),
            timeout: self.timeout.unwrap_or(TIMEOUT),
            allow_link_local: self.allow_link_local,
        };
        Ok(Box::new(Smtp { postman: Postman::new(server), from, hidden, clock }))
    }

    fn credentials(&self) -> Result<Option<(String, Secret)>, Invalid> {
        let password = hidden::optional("password", self.password.as_ref(), self.password_file.as_deref())?;
        match (&self.username, password) {
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err(Invalid::new("password", "is missing beside username; give password or password_file"))
            }
            (None, Some(_)) => {
                Err(Invalid::new("username", "is missing beside password; give both or neither"))
            }
            (Some(_), Some(_)) if self.tls == Encryption::None && !tls::is_loopback(&self.host) => {
                let problem = "is \"none\", which would send the password in the clear; use \"starttls\" or \"implicit\"";
                Err(Invalid::new("tls", problem))
            }
            (Some(name), Some(password)) => Ok(Some((name.clone(), password))),
        }
    }

    fn transit(&self) -> Result<Transit, Invalid> {
        Ok(match self.tls {
            Encryption::StartTls => Transit::StartTls(tls::client(self.ca_file.as_ref())?),
            Encryption::Implicit => Transit::Tls(tls::client(self.ca_file.as_ref())?),
            Encryption::None => Transit::Plain,
        })
    }
}

struct Smtp {
    postman: Postman,
    from: Mailbox,
    hidden: Hidden,
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
                return Sent::never(self.hidden.clean(&format!("the mail cannot be written: {error}")));
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

    fn kind(&self) -> &'static str {
        "smtp"
    }

    fn longest(&self) -> Duration {
        self.postman.longest()
    }
}

impl Smtp {
    fn failed(&self, failure: &Failure) -> Sent {
        let problem = self.hidden.clean(&format!("{} {failure}", self.postman.place()));
        if failure.is_permanent() {
            let is_of_content = matches!(failure.stage, Stage::Data | Stage::Message);
            return Sent::Permanent { is_of_content, problem };
        }
        // A reply, even a refusal, says that nothing was taken; silence after the message's end says nothing.
        let maybe_sent = failure.stage == Stage::Message && failure.code().is_none();
        Sent::Retryable { after: None, maybe_sent, problem }
    }
}
