//! Tells the operator of messages that are given up or wait too long: once for an alerter and an outage, by the other ways out, and again
//! when it is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::UTC;
use innkeeper_core::alert::stamp;
use innkeeper_core::{Clock, Time, duration, lived};
use innkeeper_node::heart::{Operator, Singleton};
use innkeeper_node::{KnownWays, Shutdown};
use innkeeper_store::{NewDelivery, Outage, OutageNews, Store, StoreError, TOO_LONG};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(10);
/// Recipients that a message names.
const NAMED: usize = 10;
/// Characters of a provider's words that a message repeats.
const LONGEST_PROBLEM: usize = 300;

/// What looks.
pub struct Outages {
    /// Where the messages are.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who hears of it.
    pub operator: Operator,
    /// Only one node tells.
    pub singleton: Singleton,
}

impl Outages {
    /// Looks what does not get through, and has what is new told.
    ///
    /// # Errors
    /// The database's.
    pub fn look_once(&self) -> Result<OutageNews, StoreError> {
        let now = self.clock.now();
        let ways = self.operator.ways();
        // Nothing has waited while nothing could go out.
        let before = lived::ago(&self.store.blind_windows(now)?, TOO_LONG, now);
        let news = self.store.watch_outages(before, now, &|news| tell(&self.operator, news, ways, now))?;
        for outage in &news.begun {
            log::error!("{}", line(outage, ways, now));
        }
        for outage in &news.ended {
            log::warn!("messages {} get through again", through(outage));
        }
        Ok(news)
    }

    /// The loop, until the process stops.
    pub(crate) fn run(&self, shutdown: &Shutdown) {
        while !shutdown.wait_timeout(EVERY) {
            // What a clock says that has just jumped is no waiting.
            if self.singleton.is_held()
                && self.clock.is_steady()
                && let Err(error) = self.look_once()
            {
                log::debug!("what does not get through: {error}");
            }
        }
    }
}

/// The messages about the news: one for each alerter of which there is any.
fn tell(operator: &Operator, news: &OutageNews, ways: &KnownWays, now: Time) -> Vec<NewDelivery> {
    // A recipient that is refused says nothing against the alerter; other messages go that way.
    let failing: Vec<&str> = news
        .going_on
        .iter()
        .filter(|outage| outage.recipient.is_empty())
        .map(|outage| outage.alerter.as_str())
        .collect();
    let refused: Vec<(&str, &str)> =
        news.going_on.iter().map(|outage| (outage.alerter.as_str(), outage.recipient.as_str())).collect();
    let mut messages = Vec::new();
    for (alerter, begun) in by_alerter(&news.begun) {
        let mut text = format!("Messages through {alerter} do not reach those whom they are for.\n");
        for outage in begun.iter().take(NAMED) {
            text.push_str(&format!("- {}\n", line(outage, ways, now)));
        }
        if begun.len() > NAMED {
            text.push_str(&format!("and to {} more\n", begun.len() - NAMED));
        }
        text.push_str("You hear of this once, and again when messages get through or after a day. The page Deliveries shows them, and can try them again.\n");
        let subject = format!("Messages through {alerter} do not get through");
        messages.extend(operator.deliveries_around(&failing, &refused, &subject, &text, now));
    }
    for (alerter, ended) in by_alerter(&news.ended) {
        let lost: i64 = ended.iter().map(|outage| outage.given_up).sum();
        let mut text = match ended.iter().find(|outage| outage.recipient.is_empty()) {
            Some(_) => format!("{alerter} delivers again.\n"),
            None => {
                let whom: Vec<&str> =
                    ended.iter().take(NAMED).map(|outage| outage.recipient.as_str()).collect();
                format!("Messages through {alerter} to {} get through again.\n", whom.join(", "))
            }
        };
        if lost > 0 {
            text.push_str(&format!("{} given up meanwhile.\n", counted(lost, "was", "were")));
        }
        let subject = format!("Messages through {alerter} get through again");
        messages.extend(operator.deliveries_around(&failing, &refused, &subject, &text, now));
    }
    messages
}

fn by_alerter(outages: &[Outage]) -> BTreeMap<&str, Vec<&Outage>> {
    let mut by_alerter: BTreeMap<&str, Vec<&Outage>> = BTreeMap::new();
    for outage in outages {
        by_alerter.entry(&outage.alerter).or_default().push(outage);
    }
    by_alerter
}

/// "through mail to ops@example.org: 3 messages were given up: …"
fn line(outage: &Outage, ways: &KnownWays, now: Time) -> String {
    let mut parts = Vec::new();
    if outage.waiting > 0 {
        let since = format!("since {} ({})", stamp(outage.since, UTC), duration::ago(now - outage.since));
        parts.push(format!("{}, the first {since}", counted(outage.waiting, "waits", "wait")));
    }
    if outage.given_up > 0 {
        parts.push(counted(outage.given_up, "was given up", "were given up"));
    }
    let mut line = format!("{}: {}", through(outage), parts.join(", "));
    let problem: String = outage.problem.chars().take(LONGEST_PROBLEM).collect();
    if !problem.is_empty() {
        line.push_str(&format!(": {problem}"));
    } else if !ways.get().has(&outage.alerter) {
        line.push_str(": no alerter of this name is configured");
    }
    line
}

fn through(outage: &Outage) -> String {
    match outage.recipient.as_str() {
        "" => format!("through {}", outage.alerter),
        recipient => format!("through {} to {recipient}", outage.alerter),
    }
}

fn counted(count: i64, one: &str, several: &str) -> String {
    if count == 1 { format!("1 message {one}") } else { format!("{count} messages {several}") }
}
