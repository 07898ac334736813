//! What the summary looks like in a mail, on a phone and on a desk, in the light and in the dark: pictures in
//! `target/screenshots/messages`, to be looked at. That nothing is wider than the screen is measured.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use chrono::TimeDelta;
use innkeeper_alerter::{Alerters, Message};
use innkeeper_core::alert::Cause;
use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_core::recipient::MailAddress;
use innkeeper_core::summary::{Drafting, Incident, Missed, Summary};
use innkeeper_core::{SystemClock, Time};
use innkeeper_node::{Config, Role};
use innkeeper_testing::smtp_sink::SmtpSink;
use mail_parser::MessageParser;

fn now() -> Time {
    Time::from_timestamp(1_796_029_200, 0).unwrap()
}

fn incident(id: i64, component: &str, cause: Cause, hours_ago: i64, lasted: Option<i64>) -> Incident {
    let opened_at = now() - TimeDelta::hours(hours_ago);
    Incident {
        reservation_id: id,
        app: "backups".to_owned(),
        component: component.to_owned(),
        owner: "dba@example.org".to_owned(),
        cause,
        reason: String::new(),
        opened_at,
        closed_at: lasted.map(|minutes| opened_at + TimeDelta::minutes(minutes)),
        reported_late: false,
    }
}

fn summary(drafting: Drafting, reservations: i64) -> Summary {
    let (down, more_down, recovered, more_recovered) = drafting.lists();
    Summary {
        instance: "ops.example.org".to_owned(),
        public_url: "https://innkeeper.example.org".to_owned(),
        zone: "Europe/Berlin".to_owned(),
        at: now(),
        reservations,
        down,
        more_down,
        recovered,
        more_recovered,
        unreadable: Vec::new(),
    }
}

fn eventful() -> Summary {
    let mut drafting = Drafting::default();
    for (id, component, state, hours) in
        [(17, "gitlab", "down", 124), (3, &*"a-very-long-name-of-a-job-".repeat(6), "snoozed", 30)]
    {
        drafting.missed(Missed {
            reservation_id: id,
            app: "backups".to_owned(),
            component: component.to_owned(),
            owner: "dba@example.org".to_owned(),
            state: state.to_owned(),
            last_checkin_at: None,
            deadline: now() - TimeDelta::hours(hours),
        });
    }
    drafting.open(incident(17, "gitlab", Cause::Missed, 124, None));
    drafting.open(incident(23, "<b>nightly</b> & more", Cause::Failed, 3, None));
    for (id, component, cause, ago, lasted) in [
        (40, "mirror", Cause::Failed, 5, 12),
        (41, "report", Cause::Overran, 20, 95),
        (40, "mirror", Cause::Missed, 29, 30),
        (17, "gitlab", Cause::Failed, 140, 60),
        (40, "mirror", Cause::Failed, 53, 10),
    ] {
        drafting.recovered(incident(id, component, cause, ago, Some(lasted)));
    }
    summary(drafting, 61)
}

fn long() -> Summary {
    let mut drafting = Drafting::default();
    for n in 0..300 {
        drafting.open(incident(n, &format!("job-{n:03}"), Cause::Failed, 30, None));
        drafting.recovered(incident(1000 + n, &format!("other-{n:03}"), Cause::Missed, n, Some(7 * n)));
    }
    summary(drafting, 1200)
}

/// The mail that says it: its text and its HTML.
fn mail(summary: Summary) -> (String, String) {
    let sink = SmtpSink::plain();
    let config = format!(
        "[alerter.mail]\nkind = \"smtp\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"inn@example.org\"\n",
        sink.port()
    );
    let config = Config::from_toml(Role::Sweeper, &config).unwrap();
    let alerters: BTreeMap<_, _> = config.alerters.clone();
    let alerters = Alerters::build(&alerters, Arc::new(SystemClock)).unwrap();
    let composer =
        innkeeper_sweeper::messages::MessageComposer::new(&config, &innkeeper_node::KnownWays::of(&config));
    let notice: Notice = innkeeper_sweeper::summary::notice(summary, &composer);
    assert_eq!(notice.event, EventKind::Summary);
    // As it lies in the outbox.
    let notice: Notice = serde_json::from_str(&serde_json::to_string(&notice).unwrap()).unwrap();
    let to = MailAddress::parse("to", "ops@example.org").unwrap();
    let message = Message { notices: &[notice], recipient: Some(&to), key: "key" };
    alerters.get("mail").unwrap().send(&message);
    let raw = sink.mails().remove(0).raw;
    let mail = MessageParser::new().parse(&raw).unwrap();
    (mail.body_text(0).unwrap().into_owned(), mail.body_html(0).unwrap().into_owned())
}

#[test]
fn the_summary_fits_phone_and_desk_and_names_each_job_once() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/screenshots/messages");
    std::fs::create_dir_all(&directory).unwrap();
    for (name, summary) in [
        ("summary", eventful()),
        ("summary-long", long()),
        ("summary-quiet", summary(Drafting::default(), 61)),
    ] {
        let jobs: Vec<String> = summary
            .down
            .iter()
            .map(|one| summary.url(&one.job))
            .chain(summary.recovered.iter().map(|one| summary.url(&one.job)))
            .collect();
        let (text, html) = mail(summary);
        println!("{text}");
        for job in jobs {
            assert_eq!(text.lines().filter(|line| line.trim() == job).count(), 1, "{job}");
            assert_eq!(html.matches(&format!("\"{job}\"")).count(), 1, "{job}");
        }
        let file = directory.join(format!("{name}.html"));
        std::fs::write(&file, &html).unwrap();
        std::fs::write(directory.join(format!("{name}.txt")), &text).unwrap();
        for width in [390, 800] {
            assert!(is_whole(&file, width), "{name}: something is wider than {width} pixels");
            for scheme in ["light", "dark"] {
                photograph(&file, width, scheme, &directory.join(format!("{name}-{width}-{scheme}.png")));
            }
        }
    }
}

/// A page that shows the mail in a frame of this width. A browser without a screen has no narrow windows.
fn framed(mail: &Path, width: u32, scheme: &str, script: &str) -> std::path::PathBuf {
    let frame = mail.with_extension(format!("{width}-{scheme}.frame.html"));
    let ground = if scheme == "dark" { "#121212" } else { "#ffffff" };
    let page = format!(
        "<!doctype html><meta name=color-scheme content={scheme}>\
         <body style='margin:0;background:{ground};color-scheme:{scheme}'>\
         <iframe id=mail src='{}' style='border:0;width:{width}px;height:2400px;color-scheme:{scheme}'></iframe>{script}",
        mail.display()
    );
    std::fs::write(&frame, page).unwrap();
    frame
}

fn chromium(scheme: &str, width: u32) -> Command {
    let mut command = Command::new("chromium");
    command
        .args(["--headless", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"])
        .args(["--allow-file-access-from-files", &format!("--window-size={},2400", width.max(500))])
        .args((scheme == "dark").then_some("--blink-settings=preferredColorScheme=0"));
    command
}

fn photograph(mail: &Path, width: u32, scheme: &str, picture: &Path) {
    let frame = framed(mail, width, scheme, "");
    let shown = chromium(scheme, width)
        .arg(format!("--screenshot={}", picture.display()))
        .arg(&frame)
        .output()
        .unwrap();
    assert!(shown.status.success() && picture.exists(), "{shown:?}");
    std::fs::remove_file(frame).unwrap();
}

/// Whether the mail needs no more than this width.
fn is_whole(mail: &Path, width: u32) -> bool {
    let script = "<script>const mail = document.getElementById('mail');
        mail.onload = () => {
            const page = mail.contentDocument.documentElement;
            document.title = page.scrollWidth <= page.clientWidth && page.clientWidth > 0 ? 'whole' : 'cut';
        };</script>";
    let frame = framed(mail, width, "light", script);
    let seen = chromium("light", width).arg("--dump-dom").arg(&frame).output().unwrap();
    std::fs::remove_file(frame).unwrap();
    String::from_utf8_lossy(&seen.stdout).contains("<title>whole</title>")
}
