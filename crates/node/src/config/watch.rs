//! The sections `[heartbeat]`, `[mail_loop]` and `[peer.NAME]`: how Innkeeper is watched from outside, and watches
//! itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::TimeDelta;
use innkeeper_alerter::{Mailbox, is_loopback};
use innkeeper_core::Invalid;
use innkeeper_core::names::AlerterName;
use innkeeper_core::recipient::{MOST_RECIPIENTS, MailAddress, Recipient};
use innkeeper_core::secret::Secret;

use innkeeper_settings::{Findings, Section, Setting, Table, Value, too_many};

/// The most folders that the mail loop searches.
const MOST_FOLDERS: usize = 50;
/// The most peers.
const MOST_PEERS: usize = 200;

/// `[heartbeat]`: an external address that is called while all is well.
#[derive(Debug, Clone, PartialEq)]
pub struct HeartbeatConfig {
    /// The address; `None` for no heartbeat.
    pub url: Option<Secret>,
    /// The interval between calls.
    pub every: TimeDelta,
}

impl HeartbeatConfig {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        Self {
            url: section.secret("url", "url_file").map(|(url, _)| url),
            every: section.duration("every", TimeDelta::minutes(1), often()),
        }
    }
}

/// `[mail_loop]`: test mails that Innkeeper sends to itself.
#[derive(Debug, Clone, PartialEq)]
pub struct MailLoopConfig {
    /// The IMAP server; `None` for no loop.
    pub host: Option<String>,
    /// Its port.
    pub port: u16,
    /// Whether the connection uses TLS from its first byte.
    pub tls: bool,
    /// Root certificates to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The user name of the mailbox.
    pub username: String,
    /// The password of the mailbox.
    pub password: Secret,
    /// The address of the mailbox.
    pub to: Option<MailAddress>,
    /// The folders that are searched, in this order.
    pub folders: Vec<String>,
    /// The interval between test mails.
    pub every: TimeDelta,
    /// The longest time that a mail may take to arrive.
    pub within: TimeDelta,
}

impl MailLoopConfig {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let text = |text: &str| match text.trim() {
            "" => Err("is empty".to_owned()),
            text => Ok(Some(text.to_owned())),
        };
        let (host_origin, tls_origin) = (section.origin("host"), section.origin("tls"));
        let host = section.parsed("host", None, text);
        let config = Self {
            port: section.number("port", 993, 1..=65_535),
            tls: section.parsed("tls", true, |word| match word {
                "implicit" => Ok(true),
                "none" => Ok(false),
                other => Err(format!("{other:?} is not known; allowed: implicit, none")),
            }),
            ca_file: section.parsed("ca_file", None, |path| Ok::<_, String>(Some(PathBuf::from(path)))),
            username: section.parsed("username", None, text).unwrap_or_default(),
            password: section
                .secret("password", "password_file")
                .map_or_else(|| Secret::new(""), |(password, _)| password),
            to: section.parsed("to", None, |address| MailAddress::parse("to", address).map(Some)),
            folders: {
                let folders = section.list("folders", MOST_FOLDERS, |folder| Ok(folder.to_owned()));
                if folders.is_empty() { vec!["INBOX".to_owned()] } else { folders }
            },
            every: section.duration("every", TimeDelta::hours(1), often()),
            within: section.duration("within", TimeDelta::minutes(10), often()),
            host,
        };
        if config.host.is_some() {
            for (key, missing) in [
                ("username", config.username.is_empty()),
                ("password", config.password.reveal().is_empty()),
                ("to", config.to.is_none()),
            ] {
                if missing {
                    section.refuse(
                        key,
                        host_origin.clone(),
                        "is missing; the mail loop needs it beside host",
                    );
                }
            }
        }
        if let Some(host) = &config.host
            && !config.tls
            && !config.password.reveal().is_empty()
            && !is_loopback(host)
        {
            let what = "is \"none\", which would send the password in the clear; use \"implicit\"";
            section.refuse("tls", tls_origin, what);
        }
        config
    }
}

impl MailLoopConfig {
    /// The mailbox that receives the test mails; `None` without a loop.
    ///
    /// # Errors
    /// Certificates cannot be read.
    pub fn mailbox(&self) -> Result<Option<Mailbox>, Invalid> {
        let Some(host) = &self.host else { return Ok(None) };
        let place = (host.as_str(), self.port);
        Mailbox::new(place, self.tls, self.ca_file.as_ref(), &self.username, &self.password).map(Some)
    }
}

/// `[peer.NAME]`: another instance.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerConfig {
    /// The address of its `/peer`.
    pub url: Secret,
    /// The recipients of messages about its problems: its admin.
    pub admin: Vec<Recipient>,
    /// The interval between requests.
    pub every: TimeDelta,
}

/// The keys of a peer.
pub(crate) const PEER_KEYS: [&str; 4] = ["url", "url_file", "admin", "every"];

/// Reads all sections `[peer.NAME]`.
pub(crate) fn peers(table: Table, findings: &mut Findings) -> BTreeMap<AlerterName, PeerConfig> {
    let mut peers = BTreeMap::new();
    if too_many("peer", &table, MOST_PEERS, findings) {
        return peers;
    }
    for (name, Setting { value, origin }) in table {
        let path = format!("peer.{name}");
        let Ok(parsed) = AlerterName::parse("peer", &name) else {
            findings.problem(origin, path, "is not a name; allowed: 1 to 50 of a–z, 0–9, - and _");
            continue;
        };
        let Value::Table(table) = value else {
            findings.problem(
                origin,
                path.clone(),
                format!("is {}; a peer is a section, write [{path}]", value.kind()),
            );
            continue;
        };
        let mut section = Section::new(path, table, findings);
        let url = section.secret("url", "url_file").map(|(url, _)| url);
        if url.is_none() {
            section.refuse("url", origin, "is missing; write the address of the other's /peer");
        }
        let admin = section.list("admin", MOST_RECIPIENTS, |entry| {
            Recipient::parse("admin", entry).map_err(|invalid| invalid.problem)
        });
        let every = section.duration("every", TimeDelta::minutes(1), often());
        section.finish();
        if let Some(url) = url {
            peers.insert(parsed, PeerConfig { url, admin, every });
        }
    }
    peers
}

fn often() -> std::ops::RangeInclusive<TimeDelta> {
    TimeDelta::seconds(1)..=TimeDelta::days(1)
}
