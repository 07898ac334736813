//! What a received mail says: its headers, its text, its HTML.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::*;
use innkeeper_alerter::Sent;
use innkeeper_core::notice::{EventKind, Notice, SubjectForm};
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
    assert_eq!(subject(&mail), "DOWN shop/<i>日本: has not checked in · innkeeper");
    assert_eq!(header(&mail, "From").as_deref(), Some("innkeeper@example.org"));
    assert_eq!(header(&mail, "To").as_deref(), Some("ops@example.com"));
    assert_eq!(header(&mail, "Date").as_deref(), Some("Fri, 20 Nov 2026 02:05:00 +0000"));
    assert_eq!(header(&mail, "Auto-Submitted").as_deref(), Some("auto-generated"));
    assert_eq!(header(&mail, "X-Innkeeper-Event").as_deref(), Some("opened"));

    let (text, html) = bodies(&mail);
    let said = "shop/<i>日本 has not checked in. It is overdue since Fri 20 Nov at 03:00 (Europe/Berlin).\n\
                Expected every 5 minutes, with 5 minutes of grace; due on Fri 20 Nov at 02:55.\n\nIts last output before that:\n\n    Line é\u{fffd} two\n\n    <b>&</b> ";
    assert!(text.starts_with(said), "{text}");
    assert!(text.contains("\nOpen: http://127.0.0.1:8080/status/3?a=1&b=9\n"), "{text}");
    for part in [
        "shop/&#60;i&#62;日本 has not checked in.",
        "Line é\u{fffd} two\n\n&#60;b&#62;&#38;&#60;/b&#62; ``` three\n</pre>",
        r#"<a href="http://127.0.0.1:8080/status/3?a=1&#38;b=9""#,
        r#"&#60;<a href="https://wiki.example.org/backup">https://wiki.example.org/backup</a>&#62;."#,
        r#"<a href="https://wiki.example.org/runbooks/backup">"#,
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    assert!(!html.contains("<i>") && !html.contains("<b>"), "{html}");
}

#[test]
fn what_the_version_before_left_waiting_is_sent_as_it_was_written() {
    let mail = received(&[of_the_version_before("opened", "backup")], "k");
    assert_eq!(subject(&mail), "[innkeeper] Job Failed to checkin: shop/backup");
    let (text, html) = bodies(&mail);
    assert!(text.starts_with("shop/backup has not checked in.\nOverdue since 02:05.\n"), "{text}");
    assert!(text.contains("http://127.0.0.1:8080/reservation"), "{text}");
    assert!(html.contains("Overdue since 02:05."), "{html}");
    let over = of_the_version_before("opened", "backup").checked_out(now());
    assert!(bodies(&received(&[over], "k")).0.starts_with("shop/backup was checked out:"));
    let many: Vec<Notice> =
        (0..12).map(|n| of_the_version_before("recovered", &format!("job-{n}"))).collect();
    let text = bodies(&received(&many, "k")).0;
    assert!(text.contains("Back online (12)\n\n- Job Failed to checkin: shop/job-0\n"), "{text}");
    for n in 0..12 {
        let whole = format!("  shop/job-{n} has not checked in.\n  Overdue since 02:05.\n");
        assert!(text.contains(&whole), "the words of people stand within it: {text}");
    }
}

#[test]
fn an_incident_that_ends_in_the_same_mail_is_told_once_as_over() {
    let begin = with_own(notice(EventKind::Opened, "a"), "Call Ada.");
    let reminder = with_own(notice(EventKind::Reminder, "a"), "Call Ada.");
    let end = with_own(notice(EventKind::Recovered, "a"), "All is well.");
    let of = |notices: &[Notice]| {
        let mail = received(notices, "k");
        let (text, html) = bodies(&mail);
        (subject(&mail), text, html)
    };
    let (subject, text, html) = of(&[begin.clone(), reminder, end.clone()]);
    assert_eq!(subject, "BACK shop/a: after 5 minutes · innkeeper");
    assert!(text.starts_with("Call Ada.\n\nAll is well.\n\nshop/a is back online since "), "{text}");
    assert!(html.contains("#239b56") && !html.contains("#c0392b"), "it is green: {html}");

    let (subject, text, _) = of(&[begin.clone(), notice(EventKind::Opened, "b"), end]);
    assert_eq!(subject, "DOWN shop/b; BACK shop/a · innkeeper");
    assert!(text.contains("New alerts (1)") && text.contains("Back online (1)"), "{text}");

    let out = begin.checked_out(now());
    let (subject, text, html) = of(&[begin, notice(EventKind::Recovered, "c"), out]);
    assert_eq!(subject, "BACK shop/c; CHECKED OUT shop/a · innkeeper");
    assert!(text.contains("Back online (1)") && text.contains("Checked out (1)"), "{text}");
    assert!(!text.contains("New alerts") && html.contains("Checked out (1)"), "{text}");
}

#[test]
fn a_job_that_is_down_again_after_it_was_back_is_down() {
    let (end, mut again) = (notice(EventKind::Recovered, "a"), notice(EventKind::Opened, "a"));
    again.alert.as_mut().unwrap().id += 1;
    let mail = received(&[notice(EventKind::Opened, "a"), end, again], "k");
    assert_eq!(subject(&mail), "DOWN shop/a; BACK shop/a · innkeeper");
}

#[test]
fn hundreds_of_jobs_with_words_of_their_own_are_several_mails_that_lose_nothing() {
    let sink = SmtpSink::plain();
    let alerter = plain_smtp(&sink);
    let own = "Call Ada & <Bob>. ".repeat(110);
    let notices: Vec<Notice> = (0..600)
        .map(|n| with_own(notice(EventKind::Opened, &format!("job-{n}")), &format!("{own}\nNo. {n}!")))
        .collect();
    let (mut rest, mut text, mut mails) = (&notices[..], String::new(), 0);
    while !rest.is_empty() {
        let held = alerter.holds(rest);
        assert_eq!(alerter.holds(&rest[..held]), held, "a repeat is cut in the same way");
        let mail = received(&rest[..held], "k");
        assert!(mail.raw.len() < 8_000_000, "{}", mail.raw.len());
        text.push_str(&bodies(&mail).0);
        (rest, mails) = (&rest[held..], mails + 1);
    }
    assert!((2..=5).contains(&mails), "{mails}");
    assert!((0..600).all(|n| text.contains(&format!("\n  No. {n}!\n"))));
    let plain: Vec<Notice> = (0..10_000).map(|n| notice(EventKind::Opened, &format!("job-{n}"))).collect();
    assert_eq!(alerter.holds(&plain), plain.len(), "without such words a digest is one mail");
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
fn a_digest_of_a_few_has_the_whole_of_each_in_sections() {
    let notices = [
        notice(EventKind::Recovered, "d"),
        notice(EventKind::Reminder, "c"),
        notice(EventKind::Opened, "b"),
        with_own(failed("a"), "Call Ada.\nThen Bob."),
    ];
    let mail = received(&notices, "k");
    assert_eq!(subject(&mail), "DOWN shop/a, shop/b; STILL DOWN shop/c; and 1 more · innkeeper");
    let (text, html) = bodies(&mail);
    let places: Vec<usize> = [
        "New alerts (2)\n",
        "DOWN shop/a: failed with exit status 1\n",
        "Call Ada.\nThen Bob.\n",
        "    the PutObject operation: ",
        "Owner: ops\n",
        "Open: http://127.0.0.1:8080/status/3",
        "DOWN shop/b: has not checked in\n",
        "Still down (1)\n",
        "Back online (1)\n",
        "BACK shop/d",
    ]
    .iter()
    .map(|part| text.find(part).unwrap_or_else(|| panic!("{part}: {text}")))
    .collect();
    assert!(places.is_sorted(), "{text}");
    for part in
        ["New alerts (2)", "Still down (1)", "Back online (1)", "Call Ada.<br>\nThen Bob.", "s3:PutObject"]
    {
        assert!(html.contains(part), "{part}: {html}");
    }
}

#[test]
fn what_was_reported_late_stands_among_what_is_back() {
    let mail = received(&[answered("a"), notice(EventKind::Recovered, "b")], "k");
    assert_eq!(subject(&mail), "BACK shop/a, shop/b · innkeeper");
    let (text, _) = bodies(&mail);
    assert!(text.contains("Back online (2)\n") && !text.contains("ithdrawn"), "{text}");
}

#[test]
fn a_digest_of_many_is_a_table_with_links_and_loses_no_words_of_people() {
    let mut notices: Vec<Notice> =
        (0..220).map(|n| notice(EventKind::Recovered, &format!("job-{n}"))).collect();
    notices.extend((0..35).map(|n| notice(EventKind::Opened, &format!("late-{n}"))));
    notices.push(bare(EventKind::Operator, "No sweeper is alive", "…"));
    let own = |n: usize| format!("Own words {n}.\nCall Ada.");
    for (n, notice) in notices.iter_mut().enumerate().filter(|(n, _)| n % 50 == 49) {
        *notice = with_own(notice.clone(), &own(n));
    }
    let mail = received(&notices, "k");
    assert_eq!(
        subject(&mail),
        "No sweeper is alive; DOWN shop/late-0, shop/late-1; and 253 more · innkeeper"
    );
    assert_eq!(header(&mail, "X-Innkeeper-Event").as_deref(), Some("digest"));
    assert_eq!(header(&mail, "References"), None);
    let (text, html) = bodies(&mail);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("- ")).collect();
    assert_eq!(lines[..2], ["- No sweeper is alive", "- DOWN shop/late-0: has not checked in"]);
    assert!(text.contains(
        "\n  Since Fri 20 Nov at 03:00 (Europe/Berlin). Owner: ops\n  http://127.0.0.1:8080/status/3"
    ));
    for n in (0..5).map(|n| n * 50 + 49) {
        assert!(text.contains(&format!("  Own words {n}.\n  Call Ada.\n")), "{n}");
        assert!(html.contains(&format!("Own words {n}.<br>\nCall Ada.")), "{n}");
    }
    let more = 256 - lines.len();
    assert!((50..=56).contains(&more), "{more}");
    assert!(text.contains(&format!("\nand {more} messages more\n")), "{text}");
    assert_eq!(html.matches("<tr>").count(), lines.len());
    assert!(html.contains(&format!("and {more} messages more")));
}

#[test]
fn mails_about_one_incident_are_a_thread_together_too() {
    let one_incident = received(&[notice(EventKind::Opened, "a"), notice(EventKind::Recovered, "a")], "k");
    assert_eq!(subject(&one_incident), "BACK shop/a: after 5 minutes · innkeeper");
    assert!(header(&one_incident, "References").is_some());
}

#[test]
fn in_the_words_of_gotel_a_subject_begins_with_the_instance() {
    let classic = |event, subject: &str| Notice {
        subject: subject.to_owned(),
        subject_form: SubjectForm::Classic,
        ..notice(event, "a")
    };
    let opened = classic(EventKind::Opened, "Job Failed to checkin: shop/a");
    assert_eq!(
        subject(&received(std::slice::from_ref(&opened), "k")),
        "[innkeeper] Job Failed to checkin: shop/a"
    );
    let both = [opened, classic(EventKind::Recovered, "Back online: shop/a")];
    assert_eq!(
        subject(&received(&both, "k")),
        "[innkeeper] Job Failed to checkin: shop/a; Back online: shop/a"
    );
    let own = Notice { subject: "Wake up".to_owned(), subject_form: SubjectForm::Own, ..failed("a") };
    assert_eq!(subject(&received(&[own], "k")), "Wake up");
}

#[test]
fn the_summary_keeps_its_columns() {
    let (text, html) = bodies(&received(&[bare(EventKind::Summary, "The week", "a | <b\n1 | 2")], "k"));
    assert!(text.starts_with("a | <b\n1 | 2\n"), "{text}");
    assert!(html.contains(">a | &#60;b\n1 | 2</pre>"), "{html}");
}

#[test]
fn nothing_in_a_notice_becomes_a_header_or_ends_the_message() {
    let mut evil = notice(EventKind::Opened, "backup");
    evil.subject = "x\r\nBcc: evil@example.com\r\n\r\nbody \u{202e}\u{2028}".to_owned() + &"ü".repeat(300);
    evil.instance = "inn\r\nX-Evil: yes".to_owned();
    evil.alert = None;
    evil.text = ".\r\n.\r\nMAIL FROM:<evil@example.com>\r\n..\n.".to_owned();
    evil.url = Some("javascript:alert(1)".to_owned());
    let mail = received(&[evil], "key\r\nX-Evil: yes");
    for name in ["Bcc", "X-Evil"] {
        assert_eq!(header(&mail, name), None);
    }
    assert!(subject(&mail).starts_with("x  Bcc: evil@example.com"), "{}", subject(&mail));
    assert!(subject(&mail).contains("body \u{fffd} "));
    let (text, html) = bodies(&mail);
    assert!(text.starts_with(".\n.\nMAIL FROM:<evil@example.com>\n..\n.\n"), "{text:?}");
    assert!(!html.contains("href"), "{html}");
    let longest = mail.raw.split(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap();
    assert!(longest <= 998, "{longest}");
}
