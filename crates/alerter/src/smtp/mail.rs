//! The mail itself: headers by which a repeat and an incident are known, a text part and an HTML part.

use std::fmt::Write;
use std::time::SystemTime;

use innkeeper_core::Time;
use innkeeper_core::notice::{EventKind, Notice};
use lettre::Address;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use sha2::{Digest, Sha256};

use crate::{Message, digest, words};

/// The most lines of a digest.
const MOST_LINES: usize = 200;

/// The mail as it goes over the wire: ASCII only, and beginning with a header.
pub(super) fn compose(
    message: &Message<'_>,
    from: &Mailbox,
    to: &Address,
    now: Time,
) -> Result<String, lettre::error::Error> {
    let notices = message.notices;
    let domain = from.email.domain();
    let subject = digest::headline(notices);
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

/// A message id that is the same whenever it is made from the same text.
fn id(prefix: &str, text: &str, domain: &str) -> String {
    let digest = format!("{:x}", Sha256::digest(text));
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

/// The one incident that all of it is about. Its mails stand in one thread, under a root that no mail has to be.
fn incident(notices: &[Notice]) -> Option<&str> {
    let key = |notice: &'_ Notice| -> Option<String> { Some(notice.alert.as_ref()?.dedup_key.clone()) };
    let first = notices.first()?;
    let same = notices.iter().all(|notice| key(notice) == key(first));
    first.alert.as_ref().filter(|_| same).map(|alert| alert.dedup_key.as_str())
}

fn text(notices: &[Notice]) -> String {
    let mut text = String::new();
    if let [notice] = notices {
        text.push_str(words::lines(&notice.text).trim_end());
        text.push('\n');
        if let Some(url) = notice.url.as_ref().filter(|url| !notice.text.contains(url.as_str())) {
            let _ = writeln!(text, "\n{}", words::one_line(url));
        }
    } else {
        for notice in digest::worst_first(notices).into_iter().take(MOST_LINES) {
            let (subject, reason) = digest::line(notice);
            let _ = writeln!(text, "- {subject}");
            if let Some(reason) = reason {
                let _ = writeln!(text, "  {reason}");
            }
        }
        if let Some(more) = more(notices) {
            let _ = writeln!(text, "{more}");
        }
    }
    let _ = writeln!(text, "\n-- \n{}", sender(notices));
    text
}

fn html(subject: &str, notices: &[Notice]) -> String {
    let worst = digest::worst_first(notices);
    let colour = worst.first().map_or("#7f8c8d", |notice| colour(notice.event));
    let body = match notices {
        [notice] => one(notice),
        _ => several(&worst, more(notices)),
    };
    let subject = words::html(subject);
    let sender = words::html(&sender(notices));
    // No background and no text colour of its own: both are the reader's, light or dark.
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>{subject}</title>
</head>
<body style="margin:0;padding:16px;font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;font-size:16px;line-height:1.5">
<div style="border-left:4px solid {colour};padding:0 0 0 16px;max-width:720px">
<h1 style="font-size:20px;line-height:1.3;margin:0 0 12px">{subject}</h1>
{body}</div>
<p style="font-size:13px;opacity:0.7;margin:24px 0 0">{sender}</p>
</body>
</html>
"#
    )
}

fn one(notice: &Notice) -> String {
    let text = words::lines(notice.text.trim());
    let mut body = String::new();
    if notice.event == EventKind::Summary {
        // The summary is a table: only a fixed width keeps its columns.
        let text = words::html(&text);
        let _ = writeln!(
            body,
            r#"<pre style="font-size:13px;line-height:1.4;overflow:auto;margin:0">{text}</pre>"#
        );
    } else {
        for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
            let paragraph = words::html(paragraph.trim_matches('\n')).replace('\n', "<br>\n");
            let _ = writeln!(body, r#"<p style="margin:0 0 12px">{paragraph}</p>"#);
        }
    }
    if let Some(link) = link(notice, "Open in Innkeeper") {
        let _ = writeln!(body, r#"<p style="margin:0">{link}</p>"#);
    }
    body
}

fn several(notices: &[&Notice], more: Option<String>) -> String {
    let mut body = String::from("<ul style=\"margin:0;padding:0 0 0 20px\">\n");
    for notice in notices.iter().take(MOST_LINES) {
        let (subject, reason) = digest::line(notice);
        let subject = link(notice, &subject).unwrap_or_else(|| words::html(&subject));
        let reason = reason.map(|reason| format!("<br>\n{}", words::html(&reason))).unwrap_or_default();
        let _ = writeln!(body, r#"<li style="margin:0 0 8px">{subject}{reason}</li>"#);
    }
    body.push_str("</ul>\n");
    if let Some(more) = more {
        let _ = writeln!(body, r#"<p style="margin:0">{more}</p>"#);
    }
    body
}

fn more(notices: &[Notice]) -> Option<String> {
    (notices.len() > MOST_LINES).then(|| format!("and {} more", notices.len() - MOST_LINES))
}

/// A link, to the web only.
fn link(notice: &Notice, text: &str) -> Option<String> {
    let url = notice.url.as_ref().filter(|url| url.starts_with("http://") || url.starts_with("https://"))?;
    Some(format!(r#"<a href="{}">{}</a>"#, words::html(&words::one_line(url)), words::html(text)))
}

fn sender(notices: &[Notice]) -> String {
    match notices.first().map(|notice| words::one_line(&notice.instance)) {
        Some(instance) if instance != "innkeeper" => format!("Sent by Innkeeper ({instance})"),
        _ => "Sent by Innkeeper".to_owned(),
    }
}

fn colour(event: EventKind) -> &'static str {
    match event {
        EventKind::Opened | EventKind::Reminder => "#c0392b",
        EventKind::Operator => "#d68910",
        EventKind::Recovered | EventKind::OpenedAndRecovered => "#239b56",
        EventKind::Summary => "#7f8c8d",
    }
}
