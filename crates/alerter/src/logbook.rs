//! The alerter that writes a line to Innkeeper's own log for each notice. It always exists, so that every alert leaves
//! a trace.

use std::time::Duration;

use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_core::ways::AlerterKind;
use log::Level;

use crate::{Alerter, Message, Sent, words};

/// The target of the log lines.
const TARGET: &str = "innkeeper::alert";
/// The longest line, in characters.
const LONGEST_LINE: usize = 8000;

/// The alerter of `kind = "log"`, which has no keys of its own.
pub(crate) fn build() -> Box<dyn Alerter> {
    Box::new(Logbook)
}

struct Logbook;

impl Alerter for Logbook {
    fn send(&self, message: &Message<'_>) -> Sent {
        for notice in message.notices {
            log::log!(target: TARGET, level(notice.event), "{}", line(notice, message.key));
        }
        Sent::Delivered
    }

    fn takes_digests(&self) -> bool {
        true
    }

    fn sums_up(&self) -> bool {
        false
    }

    fn kind(&self) -> AlerterKind {
        AlerterKind::Log
    }

    fn longest(&self) -> Duration {
        Duration::from_secs(1)
    }
}

fn level(event: EventKind) -> Level {
    match event {
        EventKind::Recovered | EventKind::Summary => Level::Info,
        EventKind::Opened | EventKind::Reminder | EventKind::OpenedAndRecovered | EventKind::Operator => {
            Level::Warn
        }
    }
}

/// The log line: what happened, why, and the reservation's own text.
pub(crate) fn line(notice: &Notice, key: &str) -> String {
    let alert = notice.alert.as_ref();
    let why = alert.map_or(notice.text.trim(), |alert| alert.reason.as_str());
    let mut line = format!("{}: {} | key={key} | {why}", notice.event.as_str(), notice.headline());
    if let Some(own) = alert.map(|alert| alert.details.own_text.trim()).filter(|own| !own.is_empty()) {
        line.push_str(&format!(" | {own}"));
    }
    words::cut(&words::escaped(&line), LONGEST_LINE)
}
