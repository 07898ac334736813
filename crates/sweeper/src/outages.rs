//! Tells the operator about messages that are given up or wait too long: once per alerter and outage, through the other
//! alerters, and again when the outage is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use chrono_tz::UTC;
use innkeeper_core::alert::stamp;
use innkeeper_core::{Clock, Time, duration, lived};
use innkeeper_node::heartbeat::{Operator, Singleton};
use innkeeper_node::{KnownWays, Shutdown};
use innkeeper_store::{NewDelivery, Outage, OutageNews, Store, StoreError, TOO_LONG};

/// The interval between two looks.
const EVERY: Duration = Duration::from_secs(10);
/// The most recipients that a message names.
const NAMED: usize = 10;
/// The most characters of a provider's error that a message repeats.
const LONGEST_PROBLEM: usize = 300;

/// Finds outages of alerters and reports them.
pub struct Outages {
    /// The database with the outbox.
    pub store: Store,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// How the operator gets messages.
    pub operator: Operator,
    /// The lease by which only one node reports.
    pub singleton: Singleton,
}

impl Outages {
    /// Looks for messages that are not delivered, and puts messages about changes into the outbox.
    ///
    /// # Errors
    /// A database error.
    pub fn look_once(&self) -> Result<OutageNews, StoreError> {
        let now = self.clock.now();
        let ways = self.operator.ways();
        // The time in which Innkeeper could send nothing does not count as waiting.
        let before = lived::ago(&self.store.blind_windows(now)?, TOO_LONG, now);
        let news = self.store.watch_outages(before, now, &|news| tell(&self.operator, news, ways, now))?;
        for outage in &news.begun {
            log::error!("{}", Line::new(outage, ways, now));
        }
        for outage in &news.ended {
            log::warn!("messages {} get through again", through(outage));
        }
        Ok(news)
    }

    /// The loop, until the process stops.
    pub(crate) fn run(&self, shutdown: &Shutdown) {
        while !shutdown.wait_timeout(EVERY) {
            // After a clock step the waiting times are not known.
            if self.singleton.is_held()
                && self.clock.is_steady()
                && let Err(error) = self.look_once()
            {
                log::debug!("what does not get through: {error}");
            }
        }
    }
}

/// The messages about the news: one for each alerter that has any.
fn tell(operator: &Operator, news: &OutageNews, ways: &KnownWays, now: Time) -> Vec<NewDelivery> {
    // A recipient that is refused does not make the alerter unusable; other messages still go through it.
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
        let (named, more) = begun.split_at(begun.len().min(NAMED));
        let lines = named.iter().map(|outage| Line::new(outage, ways, now)).collect();
        let message = OutageMessage::Begun { alerter, lines, more: more.len() };
        messages.extend(operator.deliveries_around(&failing, &refused, message, now));
    }
    for (alerter, ended) in by_alerter(&news.ended) {
        let lost: i64 = ended.iter().map(|outage| outage.given_up).sum();
        let whom: Vec<&str> = match ended.iter().any(|outage| outage.recipient.is_empty()) {
            true => Vec::new(),
            false => ended.iter().take(NAMED).map(|outage| outage.recipient.as_str()).collect(),
        };
        let message = OutageMessage::Ended { alerter, whom, lost };
        messages.extend(operator.deliveries_around(&failing, &refused, message, now));
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

/// The message to the operator.
#[derive(Template)]
enum OutageMessage<'a> {
    #[template(path = "undelivered.txt")]
    Begun { alerter: &'a str, lines: Vec<Line<'a>>, more: usize },
    #[template(path = "delivered_again.txt")]
    Ended { alerter: &'a str, whom: Vec<&'a str>, lost: i64 },
}

/// For example "through mail to ops@example.org: 3 messages were given up: …".
#[derive(Template)]
#[template(path = "undelivered_line.txt")]
struct Line<'a> {
    outage: &'a Outage,
    problem: String,
    is_configured: bool,
    now: Time,
}

impl<'a> Line<'a> {
    fn new(outage: &'a Outage, ways: &KnownWays, now: Time) -> Self {
        let known = ways.get();
        let problem = match known.is_parked(&outage.alerter) {
            true => "it is parked (enabled = false), and they wait until it is enabled again".to_owned(),
            false => outage.problem.chars().take(LONGEST_PROBLEM).collect(),
        };
        Self { outage, problem, is_configured: known.has(&outage.alerter), now }
    }
}

fn through(outage: &Outage) -> String {
    match outage.recipient.as_str() {
        "" => format!("through {}", outage.alerter),
        recipient => format!("through {} to {recipient}", outage.alerter),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use innkeeper_node::heartbeat::OperatorMessage;

    use super::*;

    #[test]
    fn a_line_says_whom_it_does_not_reach_and_why() {
        let since = Time::UNIX_EPOCH;
        let said = |recipient: &str, waiting, given_up, problem: &str, is_configured| {
            let (alerter, recipient) = ("mail".to_owned(), recipient.to_owned());
            let outage = Outage { alerter, recipient, since, waiting, given_up, problem: String::new() };
            let now = since + TimeDelta::minutes(20);
            Line { outage: &outage, problem: problem.to_owned(), is_configured, now }.to_string()
        };
        let first = format!("the first since {} (20 minutes ago)", stamp(since, UTC));
        assert_eq!(
            said("", 1, 0, "refused", true),
            format!("through mail: 1 message waits, {first}: refused")
        );
        assert_eq!(
            said("ops@a.b", 3, 2, "", false),
            format!(
                "through mail to ops@a.b: 3 messages wait, {first}, 2 messages were given up: no alerter of this name is configured"
            )
        );
        assert_eq!(said("ops@a.b", 0, 1, "", true), "through mail to ops@a.b: 1 message was given up");
    }

    #[test]
    fn both_messages_are_whole() {
        let begun =
            OperatorMessage::from(OutageMessage::Begun { alerter: "mail", lines: Vec::new(), more: 2 });
        assert_eq!(begun.subject, "Messages through mail do not get through");
        assert_eq!(
            begun.text,
            "Messages through mail do not reach their recipients.\nand to 2 more\nYou are told of this once, and again when messages get \
             through or after a day. The page Deliveries shows them, and can try them again."
        );
        let ended =
            |whom, lost| OperatorMessage::from(OutageMessage::Ended { alerter: "mail", whom, lost }).text;
        assert_eq!(ended(Vec::new(), 0), "mail delivers again.");
        assert_eq!(
            ended(vec!["a@b.c", "d@e.f"], 1),
            "Messages through mail to a@b.c, d@e.f get through again.\n1 message was given up meanwhile."
        );
    }
}
