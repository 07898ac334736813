//! The line that every notice leaves in the log. Alone in its file: a process has one logger.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::sync::Mutex;

use common::*;
use innkeeper_core::notice::EventKind;
use log::{Level, LevelFilter, Log, Metadata, Record};

struct Lines(Mutex<Vec<(Level, String, String)>>);

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = (record.level(), record.target().to_owned(), record.args().to_string());
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

static LINES: Lines = Lines(Mutex::new(Vec::new()));

#[test]
fn each_notice_is_one_escaped_line() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(LevelFilter::Info);
    let alerter = build("kind = 'log'");
    assert!(alerter.takes_digests());
    let mut notices: Vec<_> = [
        EventKind::Opened,
        EventKind::Reminder,
        EventKind::OpenedAndRecovered,
        EventKind::Operator,
        EventKind::Recovered,
        EventKind::Summary,
    ]
    .map(|event| notice(event, "backup"))
    .into();
    let say = |notice: &mut innkeeper_core::notice::Notice, reason: String| match &mut notice.alert {
        Some(alert) => alert.reason = reason,
        None => notice.text = reason,
    };
    say(&mut notices[0], "one\r\ntwo\t\u{1b}[31m\u{202e}\u{2028}é".to_owned());
    notices[0] = with_own(notices[0].clone(), "Call Ada.\nOr Bob.\n");
    say(&mut notices[1], "x".repeat(20_000));
    assert_eq!(send(alerter.as_ref(), &notices, "delivery-1"), innkeeper_alerter::Sent::Delivered);
    let lines = LINES.0.lock().unwrap();
    let levels: Vec<Level> = lines.iter().map(|(level, ..)| *level).collect();
    assert_eq!(levels, [Level::Warn, Level::Warn, Level::Warn, Level::Warn, Level::Info, Level::Info]);
    assert!(lines.iter().all(|(_, target, _)| target == "innkeeper::alert"));
    assert_eq!(
        lines[0].2,
        "opened: DOWN shop/backup: has not checked in · innkeeper | key=delivery-1 | \
         one\\r\\ntwo\\t\\u{1b}[31m\\u{202e}\\u{2028}é | Call Ada.\\nOr Bob."
    );
    assert_eq!(lines[1].2.chars().count(), 8000);
}
