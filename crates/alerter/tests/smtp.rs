//! Real conversations with a mail server over TLS, and what the received mail says.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::*;
use innkeeper_alerter::{Alerter, Sent};
use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_testing::certificates::Authority;
use innkeeper_testing::smtp_sink::{ReceivedMail, Reply, SmtpSink, Step};
use mail_parser::MessageParser;

/// An authority, and its certificate in a file.
struct Trust {
    authority: Authority,
    directory: tempfile::TempDir,
}

impl Trust {
    fn new() -> Self {
        let trust = Self { authority: Authority::new(), directory: tempfile::tempdir().unwrap() };
        trust.authority.write_to(&trust.file());
        trust
    }

    fn file(&self) -> std::path::PathBuf {
        self.directory.path().join("ca.pem")
    }

    fn starttls(&self) -> SmtpSink {
        SmtpSink::starttls(self.authority.server(&["localhost"]))
    }
}

/// An alerter to `sink`, trusting the authority in `ca_file`.
fn over_tls(sink: &SmtpSink, ca_file: &Path, extra: &str) -> Box<dyn Alerter> {
    build(&format!(
        "kind = 'smtp'\nhost = 'localhost'\nport = {}\nfrom = 'Innkeeper <innkeeper@example.org>'\nca_file = '{}'\ntimeout = '10s'\n{extra}",
        sink.port(),
        ca_file.display()
    ))
}

/// An alerter to an unencrypted `sink`.
fn plain(sink: &SmtpSink) -> Box<dyn Alerter> {
    plain_within(sink, "10s")
}

fn plain_within(sink: &SmtpSink, timeout: &str) -> Box<dyn Alerter> {
    build(&format!(
        "kind = 'smtp'\nhost = '127.0.0.1'\nport = '{}'\ntls = 'none'\nfrom = 'innkeeper@example.org'\ntimeout = '{timeout}'",
        sink.port()
    ))
}

fn mail_opened(alerter: &dyn Alerter, key: &str) -> Sent {
    mail_to(alerter, "ops@example.com", &[notice(EventKind::Opened, "backup")], key)
}

#[test]
fn mail_goes_over_starttls_and_over_tls_with_a_log_in() {
    let trust = Trust::new();
    let login = "username = 'user'\npassword = 'pässword'";
    let implicit = || SmtpSink::implicit(trust.authority.server(&["localhost"]));
    for mechanisms in ["PLAIN LOGIN", "LOGIN"] {
        for (sink, tls) in [(trust.starttls(), "starttls"), (implicit(), "implicit")] {
            let sink = sink.with_login("user", "pässword").with_mechanisms(mechanisms);
            let alerter = over_tls(&sink, &trust.file(), &format!("{login}\ntls = '{tls}'"));
            assert_eq!(mail_opened(alerter.as_ref(), "delivery-1"), Sent::Delivered);
            let mail = &sink.mails()[0];
            assert_eq!(mail.from, "innkeeper@example.org");
            assert_eq!(mail.to, ["ops@example.com"]);
            assert_eq!(mail.user.as_deref(), Some("user"));
            assert!(mail.encrypted);
        }
    }
}

#[test]
fn a_server_that_cannot_be_trusted_gets_nothing() {
    let trust = Trust::new();
    let stranger = Trust::new();
    let sink = trust.starttls();
    let untrusting = over_tls(&sink, &stranger.file(), "");
    let (_, maybe_sent, problem) = retryable(mail_opened(untrusting.as_ref(), "k"));
    assert!(!maybe_sent, "{problem}");

    let misnamed = SmtpSink::starttls(trust.authority.server(&["mail.example.org"]));
    let alerter = over_tls(&misnamed, &trust.file(), "");
    assert!(!retryable(mail_opened(alerter.as_ref(), "k")).1);

    // A server without STARTTLS, or somebody between who hides it.
    let bare = SmtpSink::plain();
    let alerter = over_tls(&bare, &trust.file(), "");
    let (_, maybe_sent, problem) = retryable(mail_opened(alerter.as_ref(), "k"));
    assert!(!maybe_sent && problem.contains("STARTTLS is not supported"), "{problem}");

    for sink in [sink, misnamed, bare] {
        assert!(sink.mails().is_empty());
    }
}

/// The one mail that these notices make.
fn received(notices: &[Notice], key: &str) -> ReceivedMail {
    let sink = SmtpSink::plain();
    assert_eq!(mail_to(plain(&sink).as_ref(), "ops@example.com", notices, key), Sent::Delivered);
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
    let alerter = plain(&elsewhere);
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

#[test]
fn one_bad_recipient_is_permanent_and_spoils_nothing_for_the_next() {
    let sink = SmtpSink::plain();
    let alerter = plain(&sink);
    for (step, line) in [
        (Step::Recipient, "550 5.1.1 no such user"),
        (Step::Recipient, "553 mailbox name not allowed"),
        (Step::End, "550 5.2.1 mailbox disabled"),
        (Step::End, "552 5.2.2 mailbox full"),
    ] {
        sink.next(step, Reply::say(line));
        let problem = permanent(mail_opened(alerter.as_ref(), "k"));
        assert!(problem.contains(&line[..3]), "{problem}");
        assert_eq!(mail_opened(alerter.as_ref(), "k2"), Sent::Delivered);
    }
    assert_eq!(sink.connections(), 1);
    assert_eq!(sink.mails().len(), 4);
}

#[test]
fn what_an_operator_can_mend_is_tried_again() {
    let sink = SmtpSink::plain();
    let alerter = plain(&sink);
    for (step, line) in [
        (Step::Connect, "554 5.7.1 you are on a list"),
        (Step::Hello, "550 who are you"),
        (Step::Sender, "550 5.7.1 sender not allowed"),
        (Step::Sender, "530 5.7.0 log in first"),
        (Step::Recipient, "554 5.7.1 relay access denied"),
        (Step::Recipient, "550 5.7.1 relaying denied"),
        (Step::Data, "554 5.5.1 not now"),
        (Step::End, "554 5.7.1 looks like spam"),
        (Step::Recipient, "450 4.2.1 greylisted"),
        (Step::Recipient, "451 4.3.0 try later"),
        (Step::Sender, "452 4.3.1 disk full"),
        (Step::End, "451 4.3.0 try later"),
        (Step::End, "421 4.3.2 going down"),
    ] {
        sink.hang_up();
        sink.next(step, Reply::say(line));
        let (after, maybe_sent, problem) = retryable(mail_opened(alerter.as_ref(), "k"));
        assert_eq!((after, maybe_sent), (None, false), "{step:?} {problem}");
        assert!(problem.contains(&line[..3]), "{problem}");
    }
    assert!(sink.mails().is_empty());
}

#[test]
fn a_refused_log_in_is_tried_again() {
    let trust = Trust::new();
    let sink = trust.starttls().with_login("user", "right");
    let alerter = over_tls(&sink, &trust.file(), "username = 'user'\npassword = 'wrong'");
    let (_, maybe_sent, problem) = retryable(mail_opened(alerter.as_ref(), "k"));
    assert!(!maybe_sent && problem.contains("535"), "{problem}");
    let nobody = over_tls(&sink, &trust.file(), "");
    assert!(retryable(mail_opened(nobody.as_ref(), "k")).2.contains("530"));
}

#[test]
fn silence_is_maybe_sent_only_after_the_message() {
    let tell = |step, maybe, reply: Reply, timeout| {
        let sink = SmtpSink::plain();
        sink.next(step, reply.clone());
        let alerter = plain_within(&sink, timeout);
        let (after, maybe_sent, problem) = retryable(mail_opened(alerter.as_ref(), "k"));
        assert_eq!((after, maybe_sent), (None, maybe), "{step:?} {reply:?}: {problem}");
    };
    std::thread::scope(|scope| {
        for (step, maybe) in [
            (Step::Connect, false),
            (Step::Hello, false),
            (Step::Sender, false),
            (Step::Recipient, false),
            (Step::Data, false),
            (Step::End, true),
        ] {
            scope.spawn(move || tell(step, maybe, Reply::Hang, "1s"));
            scope.spawn(move || tell(step, maybe, Reply::Cut, "10s"));
        }
    });
    let alerter = build(&format!(
        "kind = 'smtp'\nhost = '127.0.0.1'\nport = {}\ntls = 'none'\nfrom = 'a@example.org'",
        nowhere().rsplit(':').next().unwrap()
    ));
    assert!(!retryable(mail_opened(alerter.as_ref(), "k")).1);
}

#[test]
fn a_burst_shares_a_connection_and_a_dead_one_costs_nothing() {
    let trust = Trust::new();
    let sink = trust.starttls();
    let alerter = over_tls(&sink, &trust.file(), "");
    for n in 0..20 {
        assert_eq!(mail_opened(alerter.as_ref(), &format!("k{n}")), Sent::Delivered);
    }
    assert_eq!(sink.connections(), 1);
    sink.hang_up();
    assert_eq!(mail_opened(alerter.as_ref(), "after"), Sent::Delivered);
    sink.next(Step::Sender, Reply::say("421 4.4.2 idle for too long"));
    assert_eq!(mail_opened(alerter.as_ref(), "later"), Sent::Delivered);
    assert_eq!(sink.connections(), 3);
    assert_eq!(sink.mails().len(), 22);
}

#[test]
fn several_threads_send_at_once() {
    let sink = SmtpSink::plain();
    let alerter = plain(&sink);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let alerter = &alerter;
            scope.spawn(move || {
                for n in 0..10 {
                    assert_eq!(mail_opened(alerter.as_ref(), &format!("{thread}-{n}")), Sent::Delivered);
                }
            });
        }
    });
    assert_eq!(sink.wait_for(80, Duration::from_secs(5)).len(), 80);
}

#[test]
fn an_address_beyond_ascii_needs_a_server_that_takes_it() {
    let sink = SmtpSink::plain();
    let problem = permanent(mail_to(
        plain(&sink).as_ref(),
        "jörg@example.com",
        &[notice(EventKind::Opened, "backup")],
        "k",
    ));
    assert!(problem.contains("SMTPUTF8"), "{problem}");
}

#[test]
fn mail_without_an_address_is_refused() {
    let sink = SmtpSink::plain();
    assert!(permanent(send_opened(plain(&sink).as_ref())).contains("address"));
}
