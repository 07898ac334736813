//! What a received mail says: its headers, its text, its HTML.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::*;
use innkeeper_alerter::Sent;
use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_testing::smtp_sink::{ReceivedMail, SmtpSink};
use mail_parser::MessageParser;

/// The one mail that these notices make.
fn received(notices: &[Notice], key: &str) -> ReceivedMail {
    let sink = SmtpSink::plain();
    assert_eq!(mail_to(plain_smtp(&sink).as_ref(), "ops@example.com", notices, key), Sent::Delivered);
    sink.mails().remove(0)
}

fn header(mail: &ReceivedMail, name: &str) -> Option<String> {
    Some(MessageParser::new().parse(&mail.raw).unwrap().header_raw(name)?.trim().to_owned())
}

fn subject(mail: &ReceivedMail) -> String {
    MessageParser::new().parse(&mail.raw).unwrap().subject().unwrap().to_owned()
}

fn bodies(mail: &ReceivedMail) -> (String, String) {
    let message = MessageParser::new().parse(&mail.raw).unwrap();
    assert_eq!((message.text_body_count(), message.html_body_count()), (1, 1));
    (message.body_text(0).unwrap().replace("\r\n", "\n"), message.body_html(0).unwrap().replace("\r\n", "\n"))
}

#[test]
fn the_mail_says_what_the_notice_says_as_text_and_as_html() {
    let mail = received(&[notice(EventKind::Opened, "<i>日本")], "delivery-1");
    assert!(mail.raw.is_ascii(), "any server takes it");
    assert_eq!(subject(&mail), "[innkeeper] Job Failed to checkin: shop/<i>日本");
    assert_eq!(header(&mail, "From").as_deref(), Some("innkeeper@example.org"));
    assert_eq!(header(&mail, "To").as_deref(), Some("ops@example.com"));
    assert_eq!(header(&mail, "Date").as_deref(), Some("Fri, 20 Nov 2026 02:05:00 +0000"));
    assert_eq!(header(&mail, "Auto-Submitted").as_deref(), Some("auto-generated"));
    assert_eq!(header(&mail, "X-Innkeeper-Event").as_deref(), Some("opened"));

    let (text, html) = bodies(&mail);
    assert!(text.starts_with("shop/<i>日本 <b>&</b>\n\nLine é\u{fffd} two\nLine three\n"), "{text}");
    assert!(text.contains("\nhttp://127.0.0.1:8080/r/1?a=1&b=9\n"), "{text}");
    assert!(html.contains("shop/&lt;i&gt;日本 &lt;b&gt;&amp;&lt;/b&gt;</p>"), "{html}");
    assert!(html.contains("Line é\u{fffd} two<br>\nLine three"), "{html}");
    assert!(html.contains(r#"<a href="http://127.0.0.1:8080/r/1?a=1&amp;b=9">"#), "{html}");
    assert!(!html.contains("<i>") && !html.contains("<b>") && !html.contains("<table"), "{html}");
}

#[test]
fn a_repeat_has_the_same_id_and_an_incident_is_one_thread() {
    let opened = received(&[notice(EventKind::Opened, "backup")], "delivery-1");
    let again = received(&[notice(EventKind::Opened, "backup")], "delivery-1");
    let back = received(&[notice(EventKind::Recovered, "backup")], "delivery-2");
    let other = received(&[notice(EventKind::Opened, "report")], "delivery-3");
    let id = |mail| header(mail, "Message-ID").unwrap();
    assert_eq!(id(&opened), id(&again));
    assert_ne!(id(&opened), id(&back));
    assert!(id(&opened).starts_with('<') && id(&opened).ends_with("@example.org>"), "{}", id(&opened));
    for name in ["References", "In-Reply-To"] {
        assert_eq!(header(&opened, name), header(&back, name), "{name}");
        assert_ne!(header(&opened, name), header(&other, name), "{name}");
        assert_ne!(header(&opened, name), Some(id(&opened)), "{name}");
    }
    let elsewhere = SmtpSink::plain();
    let alerter = plain_smtp(&elsewhere);
    mail_to(alerter.as_ref(), "dev@example.com", &[notice(EventKind::Opened, "backup")], "delivery-1");
    assert_ne!(id(&elsewhere.mails()[0]), id(&opened), "another recipient's mail is another mail");
}

#[test]
fn a_digest_says_the_worst_first_and_is_bounded() {
    let mut notices: Vec<Notice> =
        (0..220).map(|n| notice(EventKind::Recovered, &format!("job-{n}"))).collect();
    notices.extend((0..35).map(|n| notice(EventKind::Opened, &format!("late-{n}"))));
    notices.push(bare(EventKind::Operator, "No sweeper is alive", "…"));
    let mail = received(&notices, "k");
    assert_eq!(subject(&mail), "[innkeeper] 256 messages: 1 about Innkeeper, 35 overdue, 220 back");
    assert_eq!(header(&mail, "X-Innkeeper-Event").as_deref(), Some("digest"));
    assert_eq!(header(&mail, "References"), None);
    let (text, html) = bodies(&mail);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("- ")).collect();
    assert_eq!(lines.len(), 200);
    assert_eq!(lines[0], "- No sweeper is alive");
    assert_eq!(lines[1], "- Job Failed to checkin: shop/late-0");
    assert!(text.contains("\n  Overdue since 02:05: expected at 02:00, grace 5 minutes.\n"));
    assert!(text.contains("\nand 56 more\n"));
    assert_eq!(html.matches("<li").count(), 200);
    assert!(html.contains("and 56 more"));

    let one_incident = received(&[notice(EventKind::Opened, "a"), notice(EventKind::Recovered, "a")], "k");
    assert_eq!(subject(&one_incident), "[innkeeper] 2 alerts: 1 overdue, 1 back");
    assert!(header(&one_incident, "References").is_some());
}

#[test]
fn the_summary_keeps_its_columns() {
    let (text, html) = bodies(&received(&[bare(EventKind::Summary, "The week", "a | <b\n1 | 2")], "k"));
    assert!(text.starts_with("a | <b\n1 | 2\n"), "{text}");
    assert!(html.contains(">a | &lt;b\n1 | 2</pre>"), "{html}");
}

#[test]
fn nothing_in_a_notice_becomes_a_header_or_ends_the_message() {
    let mut evil = notice(EventKind::Opened, "backup");
    evil.subject = "x\r\nBcc: evil@example.com\r\n\r\nbody \u{202e}\u{2028}".to_owned() + &"ü".repeat(300);
    evil.instance = "inn\r\nX-Evil: yes".to_owned();
    evil.text = ".\r\n.\r\nMAIL FROM:<evil@example.com>\r\n..\n.".to_owned();
    evil.url = Some("javascript:alert(1)".to_owned());
    let mail = received(&[evil], "key\r\nX-Evil: yes");
    for name in ["Bcc", "X-Evil"] {
        assert_eq!(header(&mail, name), None);
    }
    assert!(subject(&mail).starts_with("[inn  X-Evil: yes] x  Bcc: evil@example.com"), "{}", subject(&mail));
    assert!(subject(&mail).contains("body \u{fffd} "));
    let (text, html) = bodies(&mail);
    assert!(text.starts_with(".\n.\nMAIL FROM:<evil@example.com>\n..\n.\n"), "{text:?}");
    assert!(!html.contains("href"), "{html}");
    let longest = mail.raw.split(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap();
    assert!(longest <= 998, "{longest}");
}
