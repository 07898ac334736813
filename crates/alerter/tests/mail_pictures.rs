//! What HTML mails look like, on a phone and on a desk, in the light and in the dark: pictures in `target/screenshots/messages`, to be
//! looked at. What can be measured of them is measured: that nothing is wider than the screen.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::path::Path;
use std::process::Command;

use common::*;
use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_testing::smtp_sink::SmtpSink;
use mail_parser::MessageParser;

fn html(notices: &[Notice]) -> String {
    let sink = SmtpSink::plain();
    mail_to(plain_smtp(&sink).as_ref(), "ops@example.com", notices, "k");
    let raw = sink.mails().remove(0).raw;
    MessageParser::new().parse(&raw).unwrap().body_html(0).unwrap().into_owned()
}

#[test]
fn every_mail_fits_phone_and_desk() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/screenshots/messages");
    std::fs::create_dir_all(&directory).unwrap();
    let long =
        with_own(failed("backup"), "Call Ada: +49 30 1234567.\nThen look at https://wiki.example.org/shop.");
    let mut wide = failed(&"long-name-".repeat(14));
    wide.alert.as_mut().unwrap().notes = format!("{}\n{}", "x".repeat(700), "word ".repeat(120));
    let mut undelivered = failed("report");
    undelivered.alert.as_mut().unwrap().details.undelivered =
        vec!["notify: nobody reads ops@example.org".to_owned()];
    let few = [
        failed("a"),
        notice(EventKind::Opened, "b"),
        notice(EventKind::Reminder, "c"),
        notice(EventKind::Recovered, "d"),
    ];
    let many: Vec<Notice> = (0..30)
        .map(|n| {
            notice([EventKind::Opened, EventKind::Reminder, EventKind::Recovered][n % 3], &format!("job-{n}"))
        })
        .map(|one| with_own(one, "Nobody needs to get up for it."))
        .collect();
    let (mut all, mut names) = (String::new(), Vec::new());
    for (name, notices) in [
        ("failed", vec![failed("backup")]),
        ("own-text", vec![long]),
        ("wide", vec![wide]),
        ("undelivered", vec![undelivered]),
        ("missed", vec![notice(EventKind::Opened, "backup")]),
        ("reminder", vec![notice(EventKind::Reminder, "backup")]),
        ("recovered", vec![notice(EventKind::Recovered, "backup")]),
        (
            "operator",
            vec![bare(EventKind::Operator, "No sweeper is alive", "None since 02:00.\nIt was sweeper-1.")],
        ),
        ("version-before", vec![of_the_version_before("opened", "backup")]),
        ("digest-few", few.to_vec()),
        ("digest-many", many),
    ] {
        let mail = html(&notices);
        std::fs::write(directory.join(format!("{name}.html")), &mail).unwrap();
        let frames = [(390, "light"), (390, "dark"), (800, "light"), (800, "dark")];
        let page: String = frames.iter().map(|(width, scheme)| frame(&mail, *width, scheme)).collect();
        let picture = directory.join(format!("{name}.png"));
        let _ = std::fs::remove_file(&picture);
        browse(&page, &["--window-size=2420,2400", &format!("--screenshot={}", picture.display())]);
        assert!(picture.exists(), "{name}");
        all.push_str(&frames.map(|(width, scheme)| frame(&mail, width, scheme)).concat());
        names.push(name);
    }
    let page = format!("<!doctype html><title>none</title>{all}<script>{SCROLLED}</script>");
    let shown = browse(&page, &["--dump-dom", "--virtual-time-budget=5000"]);
    let (_, title) = shown.split_once("<title>").unwrap();
    let widths: Vec<&str> = title[..title.find('<').unwrap()].split(' ').collect();
    let expected: Vec<&str> = names.iter().flat_map(|_| ["390", "390", "800", "800"]).collect();
    assert_eq!(widths, expected, "a mail is wider than its screen: four of each of {names:?}");
}

/// Says in the title how wide the mail in each frame is.
const SCROLLED: &str = "onload = () => document.title = [...document.querySelectorAll('iframe')]
    .map((frame) => frame.contentDocument.documentElement.scrollWidth).join(' ')";

/// The mail in a frame of this width. A browser without a screen has no windows as narrow as a phone.
fn frame(mail: &str, width: u32, scheme: &str) -> String {
    let ground = if scheme == "dark" { "#121212" } else { "#ffffff" };
    let mail = mail.replace('&', "&amp;").replace('"', "&quot;");
    format!(
        "<iframe style='border:0;width:{width}px;height:2400px;background:{ground};color-scheme:{scheme}' srcdoc=\"{mail}\"></iframe>"
    )
}

/// Opens the page in the browser. Returns what it writes.
fn browse(page: &str, arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("frame.html");
    std::fs::write(&file, page).unwrap();
    let ran = Command::new(std::env::var_os("INNKEEPER_TEST_CHROMIUM").unwrap_or_else(|| "chromium".into()))
        .args(["--headless", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"])
        .arg(format!("--user-data-dir={}", directory.path().join("profile").display()))
        .args(arguments)
        .arg(&file)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    String::from_utf8(ran.stdout).unwrap()
}
