//! Slack's incoming webhooks, and whatever understands them (Mattermost, Rocket.Chat, Discord's `/slack`).
//!
//! One post for a notice or for several: the headline as the message, an attachment with a colour for the
//! rest. Attachments rather than blocks, because the compatible services know only these.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_core::secret::Secret;
use innkeeper_core::{Clock, Invalid};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::hidden::{self, Hidden};
use crate::http::{Options, Poster};
use crate::{Alerter, Message, Sent, digest, flexible, words};

/// The most lines of a digest.
const MOST_LINES: usize = 30;
/// The longest text of one notice, in characters.
const LONGEST_TEXT: usize = 3000;

/// `kind = "slack"`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlackConfig {
    #[serde(default, rename = "kind")]
    _kind: IgnoredAny,
    #[serde(default, deserialize_with = "flexible::secret")]
    url: Option<Secret>,
    url_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "flexible::timeout")]
    timeout: Option<Duration>,
    ca_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "flexible::truth")]
    allow_link_local: bool,
    #[serde(default, deserialize_with = "flexible::truth")]
    pub(crate) summary: bool,
}

impl SlackConfig {
    pub(crate) const KEYS: &[&str] =
        &["url", "url_file", "timeout", "ca_file", "allow_link_local", "summary"];

    pub(crate) fn build(&self, clock: Arc<dyn Clock>) -> Result<Box<dyn Alerter>, Invalid> {
        let url = hidden::required("url", self.url.as_ref(), self.url_file.as_deref())?;
        let options = Options {
            timeout: self.timeout,
            ca_file: self.ca_file.as_ref(),
            allow_link_local: self.allow_link_local,
        };
        Ok(Box::new(Slack { poster: Poster::new(&url, &options, Hidden::default(), clock)? }))
    }
}

struct Slack {
    poster: Poster,
}

impl Alerter for Slack {
    fn send(&self, message: &Message<'_>) -> Sent {
        let post = post(message.notices);
        self.poster.post(&[], post.to_string().as_bytes())
    }

    fn takes_digests(&self) -> bool {
        true
    }

    fn kind(&self) -> &'static str {
        "slack"
    }

    fn longest(&self) -> Duration {
        self.poster.longest()
    }
}

fn post(notices: &[Notice]) -> Value {
    let headline = digest::headline(notices);
    let worst = digest::worst_first(notices);
    let text = match notices {
        [notice] => one(notice),
        _ => several(&worst),
    };
    let colour = worst.first().map_or("#808080", |notice| colour(notice.event));
    json!({
        "text": escape(&headline),
        "attachments": [{ "color": colour, "fallback": escape(&headline), "text": text, "mrkdwn_in": ["text"] }],
    })
}

fn one(notice: &Notice) -> String {
    let text = escape(&words::cut(&words::lines(notice.text.trim()), LONGEST_TEXT));
    // The summary is a table: only a fixed width keeps its columns.
    let mut text = if notice.event == EventKind::Summary { format!("```\n{text}\n```") } else { text };
    if let Some(url) = &notice.url {
        text.push_str(&format!("\n{}", link(url, "Open in Innkeeper")));
    }
    text
}

fn several(notices: &[&Notice]) -> String {
    let mut lines: Vec<String> = notices
        .iter()
        .take(MOST_LINES)
        .map(|notice| {
            let (subject, reason) = digest::line(notice);
            let subject = match &notice.url {
                Some(url) => link(url, &subject),
                None => escape(&subject),
            };
            let reason = reason.map(|reason| format!(": {}", escape(&reason))).unwrap_or_default();
            format!("• {subject}{reason}")
        })
        .collect();
    if notices.len() > MOST_LINES {
        lines.push(format!("and {} more", notices.len() - MOST_LINES));
    }
    lines.join("\n")
}

fn colour(event: EventKind) -> &'static str {
    match event {
        EventKind::Opened | EventKind::Reminder => "danger",
        EventKind::Operator => "warning",
        EventKind::Recovered | EventKind::OpenedAndRecovered => "good",
        EventKind::Summary => "#808080",
    }
}

/// Slack's three characters; without `<` no mention of a channel or a person can be written.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn link(url: &str, text: &str) -> String {
    format!("<{}|{}>", escape(url).replace('|', "%7C"), escape(text).replace('|', "¦"))
}
