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
        let mail = directory.join(format!("{name}.html"));
        std::fs::write(&mail, html(&notices)).unwrap();
        for width in [390, 800] {
            for scheme in ["light", "dark"] {
                let picture = directory.join(format!("{name}-{width}-{scheme}.png"));
                photograph(&mail, width, scheme, &picture);
            }
        }
    }
}

/// Has the browser draw the mail in a frame of this width. A browser without a screen has no narrow windows.
fn photograph(mail: &Path, width: u32, scheme: &str, picture: &Path) {
    let frame = mail.with_extension("frame.html");
    let ground = if scheme == "dark" { "#121212" } else { "#ffffff" };
    let page = format!(
        "<!doctype html><meta name=color-scheme content={scheme}><body style='margin:0;background:{ground};color-scheme:{scheme}'>\
         <iframe src='{}' style='border:0;width:{width}px;height:2400px;color-scheme:{scheme}'></iframe>",
        mail.display()
    );
    std::fs::write(&frame, page).unwrap();
    let shown = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"])
        .args(["--allow-file-access-from-files", &format!("--window-size={},2400", width.max(500))])
        .args((scheme == "dark").then_some("--force-dark-mode"))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(&frame)
        .output()
        .unwrap();
    assert!(shown.status.success() && picture.exists(), "{shown:?}");
    std::fs::remove_file(frame).unwrap();
}
