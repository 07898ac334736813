//! The mail itself: a text part, an HTML part, and headers that identify a repeat and an incident.

use std::time::SystemTime;

use askama::Template;
use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_core::{Time, wording};
use lettre::Address;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use sha2::Sha256;

use crate::digest::{self, Digest, Tone, more};
use crate::letter::{Letter, own_of, rendered};
use crate::{Message, summary, words};

/// The most bytes of texts by people in one mail. Servers accept 10 MB and more. Encoding may double the size, and the
/// other parts of a digest are limited.
const MOST_BYTES: usize = 2_000_000;

/// How many of these notices, from the first on, one mail can hold.
pub(super) fn holds(notices: &[Notice]) -> usize {
    let mut bytes = 0;
    let is_too_much = |notice: &Notice| {
        let own = own_of(notice);
        // The text is in both parts: indented in the plain one, and escaped in the HTML one.
        let marks =
            own.bytes().filter(|byte| matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\'' | b'\n')).count();
        bytes += 2 * own.len() + 6 * marks;
        bytes > MOST_BYTES
    };
    notices.iter().position(is_too_much).unwrap_or(notices.len()).max(1)
}

/// The mail as it is transmitted: ASCII only, beginning with a header.
pub(crate) fn compose(
    message: &Message<'_>,
    from: &Mailbox,
    to: &Address,
    now: Time,
) -> Result<String, lettre::error::Error> {
    let folded = digest::folded(message.notices);
    let notices = &*folded;
    let domain = from.email.domain();
    let subject = digest::headline(message.notices);
    let mut builder = lettre::Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to.clone()))
        .subject(&subject)
        .date(SystemTime::from(now))
        .message_id(Some(id("", &format!("{}\n{to}", message.key), domain)))
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("X-Auto-Response-Suppress", "All"))
        .raw_header(header("X-Innkeeper-Event", event(notices)));
    if let Some(incident) = incident(notices) {
        let root = id("incident.", incident, domain);
        builder = builder.in_reply_to(root.clone()).references(root);
    }
    let mail =
        builder.multipart(MultiPart::alternative_plain_html(text(notices), html(&subject, notices)))?;
    Ok(String::from_utf8_lossy(&mail.formatted()).into_owned())
}

/// A message id that depends only on the text.
fn id(prefix: &str, text: &str, domain: &str) -> String {
    let digest = format!("{:x}", <Sha256 as sha2::Digest>::digest(text));
    format!("<{prefix}{}@{domain}>", &digest[..32])
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

fn event(notices: &[Notice]) -> &'static str {
    match notices {
        [notice] => notice.event.as_str(),
        _ => "digest",
    }
}

/// The incident, if all notices are about the same one. Its mails form one thread, whose root is an id that no mail
/// needs to have.
fn incident(notices: &[Notice]) -> Option<&str> {
    let key = |notice: &'_ Notice| -> Option<String> { Some(notice.alert.as_ref()?.dedup_key.clone()) };
    let first = notices.first()?;
    let same = notices.iter().all(|notice| key(notice) == key(first));
    first.alert.as_ref().filter(|_| same).map(|alert| alert.dedup_key.as_str())
}

#[derive(Template)]
#[template(path = "mail.txt")]
struct PlainPart {
    body: String,
    sender: String,
}

#[derive(Template)]
#[template(path = "mail.html")]
struct HtmlPart<'a> {
    subject: &'a str,
    colour: &'static str,
    letter: Option<Letter>,
    digest: Digest,
    /// The summary as HTML; empty in every other message.
    summary: String,
    /// An older version wrote summaries as tables, whose columns need a fixed-width font.
    is_table: bool,
    sender: String,
}

fn text(notices: &[Notice]) -> String {
    let body = match notices {
        [notice] => Letter::of(notice).text(),
        _ => Digest::of(notices).text(),
    };
    rendered(&PlainPart { body: body.trim_end().to_owned(), sender: sender(notices) })
}

fn html(subject: &str, notices: &[Notice]) -> String {
    let one = if let [notice] = notices { Some(notice) } else { None };
    let worst = digest::worst_first(notices);
    rendered(&HtmlPart {
        subject,
        colour: colour(worst.first().map_or(Tone::Neutral, |notice| Tone::of(notice))),
        letter: one.map(Letter::of),
        digest: Digest::of(if one.is_some() { &[] } else { notices }),
        summary: one.and_then(|notice| notice.summary.as_deref()).map(summary::html).unwrap_or_default(),
        is_table: one.is_some_and(|notice| notice.event == EventKind::Summary),
        sender: sender(notices),
    })
}

fn sender(notices: &[Notice]) -> String {
    match notices.first().map(|notice| words::one_line(&notice.instance)) {
        Some(instance) if instance != "innkeeper" => format!("Sent by Innkeeper ({instance})"),
        _ => "Sent by Innkeeper".to_owned(),
    }
}

fn colour(tone: Tone) -> &'static str {
    match tone {
        Tone::Trouble => "#c0392b",
        Tone::Warning => "#d68910",
        Tone::Good => "#239b56",
        Tone::Neutral => "#7f8c8d",
    }
}
