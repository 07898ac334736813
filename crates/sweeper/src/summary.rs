//! The weekly summary: prints and sends the result of [`draw_up`].

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use chrono_tz::Tz;
use innkeeper_alerter::{Alerters, Message, Sent};
use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_core::recipient::{MailAddress, Recipient};
use innkeeper_core::schedule::Schedule;
use innkeeper_core::summary::{NARROWEST, Summary, WIDTH};
use innkeeper_core::{Clock, SystemClock};
use innkeeper_node::clock;
use innkeeper_node::summary::{Drawn, draw_up};
use innkeeper_node::{Config, KnownWays, Shutdown, Ways, reach_database};
use structopt::StructOpt;
use uuid::Uuid;

use crate::messages::{MessageComposer, plain};

/// The attempts for each recipient, and the pause between them. They are few and short, since a person or a timer waits
/// for the result.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);
/// How long the command waits for an unavailable database.
const PATIENCE: Duration = Duration::from_secs(30);

// The options of the summary. This is no doc comment, since structopt would show a doc comment as the description of
// the command.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, StructOpt)]
pub struct SummaryRequest {
    /// Also send it through the alerters that have `summary = true`
    #[structopt(long = "verbose")]
    pub send: bool,

    /// Print JSON
    #[structopt(long)]
    pub json: bool,
}

/// The whole command: prints the summary and, if wanted, sends it.
///
/// # Errors
/// If the summary could not be drawn up, or could not be sent to every recipient. Each failure is named.
pub fn run(config: &Config, wanted: SummaryRequest, shutdown: &Shutdown) -> anyhow::Result<()> {
    let machine: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = reach_database(config, shutdown, PATIENCE)?;
    let drawn = draw_up(&store, &config.instance, clock::reference(&store)?)?;
    let summary = drawn.summary(&config.public_url, zone(config))?;
    print(&drawn, &summary, wanted.json).context("printing the summary")?;
    if !wanted.send {
        return Ok(());
    }
    let alerters = Ways::new(config, machine)?.now();
    if alerters.for_summaries().next().is_none() {
        log::warn!("the summary was not sent: no alerter has `summary = true`");
        return Ok(());
    }
    let composer = MessageComposer::new(config, &KnownWays::of(config));
    send(&alerters, &config.operator, &notice(summary, &composer))
}

/// The time zone of the times in a summary: that of its schedule.
pub fn zone(config: &Config) -> Tz {
    config.sweeper.summary.as_ref().map_or(Tz::UTC, Schedule::zone)
}

/// The notice with the text of a summary.
pub fn notice(summary: Summary, composer: &MessageComposer) -> Notice {
    let subject = format!("Summary: {}", summary.headline());
    let text = innkeeper_alerter::summary::text(&summary);
    let mut notice = plain(EventKind::Summary, composer, subject, text, summary.at);
    notice.summary = Some(Box::new(summary));
    notice
}

/// Prints the summary as JSON, as tables, or as lists if the terminal is too narrow for tables.
fn print(drawn: &Drawn, summary: &Summary, json: bool) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        serde_json::to_writer_pretty(&mut out, drawn)?;
        out.write_all(b"\n")?;
    } else {
        let text = match width() {
            NARROWEST.. => summary.tables(width()),
            _ => innkeeper_alerter::summary::text(summary),
        };
        out.write_all(text.as_bytes())?;
    }
    out.flush()
}

/// The columns of the terminal. If the output is no terminal: `COLUMNS`, or a width that is readable in a file.
fn width() -> u16 {
    let of_terminal = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col);
    let asked = || std::env::var("COLUMNS").ok()?.parse().ok();
    of_terminal.filter(|columns| *columns > 0).or_else(asked).unwrap_or(WIDTH)
}

/// The recipients of summaries, as alerter and address: each alerter with `summary = true`, mail to the operator's
/// addresses.
pub fn ways(alerters: &Alerters, operator: &[Recipient]) -> Vec<(String, String)> {
    let addresses = || {
        operator.iter().filter_map(|recipient| match recipient {
            Recipient::Mail(address) => Some(address.as_str().to_owned()),
            Recipient::Alerter(_) => None,
        })
    };
    alerters
        .for_summaries()
        .flat_map(|(name, needs_address)| match needs_address {
            true => addresses().map(|address| (name.to_string(), address)).collect(),
            false => vec![(name.to_string(), String::new())],
        })
        .collect()
}

/// Sends the notice through every alerter with `summary = true`, mail to the operator's addresses.
fn send(alerters: &Alerters, operator: &[Recipient], notice: &Notice) -> anyhow::Result<()> {
    let mut failures: Vec<String> = Vec::new();
    let mut ways = 0;
    for (name, needs_address) in alerters.for_summaries() {
        let Some(alerter) = alerters.get(name.as_str()) else {
            log::warn!("the summary does not go out through {name}, which is parked (enabled = false)");
            continue;
        };
        let recipients: Vec<Option<&MailAddress>> = match needs_address {
            true => operator
                .iter()
                .filter_map(|recipient| match recipient {
                    Recipient::Mail(address) => Some(Some(address)),
                    Recipient::Alerter(_) => None,
                })
                .collect(),
            false => vec![None],
        };
        if recipients.is_empty() {
            failures.push(format!("{name}: `operator` names no mail address that the summary could go to"));
        }
        for recipient in recipients {
            ways += 1;
            let key = Uuid::new_v4().to_string();
            let message = Message { notices: std::slice::from_ref(notice), recipient, key: &key };
            if let Some(problem) = try_to_send(|| alerter.send(&message)) {
                failures.push(format!("{name}: {problem}"));
            }
        }
    }
    if !failures.is_empty() {
        bail!("the summary could not be sent everywhere: {}", failures.join("; "));
    }
    log::info!("the summary was sent to {ways}");
    Ok(())
}

/// Tries to send. Returns the last problem; `None` if it was sent.
fn try_to_send(send: impl Fn() -> Sent) -> Option<String> {
    let mut last = None;
    for attempt in 1..=TRIES {
        match send() {
            Sent::Delivered => return None,
            Sent::Permanent { problem, .. } => return Some(problem),
            Sent::Retryable { problem, .. } => last = Some(problem),
        }
        if attempt < TRIES {
            std::thread::sleep(PAUSE);
        }
    }
    last
}
