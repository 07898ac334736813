//! Gives up messages for alerters that no sweeper has any more, and sends the operator one message with their count.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use askama::Template;
use innkeeper_core::ways::kept::KnownAlerters;
use innkeeper_core::{Clock, Time, duration, lived};
use innkeeper_node::Shutdown;
use innkeeper_node::config::Live;
use innkeeper_node::heartbeat::{Operator, Singleton};
use innkeeper_store::{AlertEvent, GivingUp, GoneAlerter, NewDelivery, Store, StoreError};

use crate::messages::MessageComposer;

/// How long the set of alerters must have been unchanged. By then every sweeper knows the set, and writes no more
/// messages for an alerter that is gone. Younger messages are kept: a sweeper with a new alerter may write messages for
/// it before it publishes it.
const SETTLED: Duration = Duration::from_secs(4);
/// How long after a start nothing is given up, since sweepers that start together publish their alerters one after the
/// other.
const AFTER_START: Duration = Duration::from_secs(10);
/// The most messages given up in one transaction.
const BATCH: i64 = 500;
/// The most such transactions in one look. The set of alerters is read again before more follow.
const BATCHES: usize = 10;
/// The most reservations that a message names.
const NAMED: usize = 10;

/// Finds and gives up messages for alerters that are gone.
pub struct GoneWatch {
    store: Store,
    clock: Arc<dyn Clock>,
    live: Live,
    operator: Operator,
    singleton: Singleton,
    shutdown: Shutdown,
    begun: Instant,
    /// The alerters found by the last look, and since when they have been unchanged.
    known: Option<(KnownAlerters, Instant)>,
    /// The alerters that are gone and that the operator has been told about.
    told: BTreeSet<String>,
}

impl GoneWatch {
    /// Messages to the operator go through `operator`. A look stops early when this node loses the singleton lease or
    /// is to stop.
    pub fn new(
        store: &Store,
        clock: Arc<dyn Clock>,
        live: Live,
        operator: &Operator,
        singleton: &Singleton,
        shutdown: &Shutdown,
    ) -> Self {
        Self {
            store: store.clone(),
            clock,
            live,
            operator: operator.clone(),
            singleton: singleton.clone(),
            shutdown: shutdown.clone(),
            begun: Instant::now(),
            known: None,
            told: BTreeSet::new(),
        }
    }

    /// Looks at `at` for messages for alerters that are gone, and gives up as many of them as one look may. Returns how
    /// many it gave up.
    ///
    /// # Errors
    /// A database error.
    pub fn look_once(&mut self, at: Instant) -> Result<usize, StoreError> {
        let now = self.clock.now();
        if !self.clock.is_steady() {
            return Ok(0);
        }
        let Some(mut kept) = KnownAlerters::of(&self.store.sweepers()?, now) else {
            self.known = None;
            return Ok(0);
        };
        if !kept.outdated.is_empty() {
            self.store.forget_ways(&std::mem::take(&mut kept.outdated))?;
        }
        // An alerter that has come back may be gone again later, which is then reported again.
        self.told.retain(|alerter| !kept.names.contains(alerter));
        let since = match &self.known {
            Some((known, since)) if *known == kept => *since,
            _ => self.known.insert((kept.clone(), at)).1,
        };
        let elapsed = |since| at.saturating_duration_since(since);
        if elapsed(since) < SETTLED || elapsed(self.begun) < AFTER_START {
            return Ok(0);
        }
        let mut until = now - SETTLED;
        if !kept.is_complete {
            // A sweeper that has not published its alerters would itself have given up messages older than this.
            let retry_for = self.live.get().sweeper.retry_for;
            until = until.min(lived::ago(&self.store.blind_windows(now)?, retry_for, now));
        }
        let (mut given_up, mut left) = (0, BATCHES);
        for alerter in self.store.awaited_alerters()? {
            if !kept.names.contains(&alerter) {
                given_up += self.give_up(&alerter, until, &mut left)?;
            }
        }
        Ok(given_up)
    }

    /// Gives up the messages for `alerter` that were created up to `until`, in at most `left` transactions.
    fn give_up(&mut self, alerter: &str, until: Time, left: &mut usize) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let composer = MessageComposer::new(&self.live.get(), self.operator.ways());
        let mut all = 0;
        while *left > 0 && self.singleton.is_held() && !self.shutdown.is_requested() {
            let is_told = Cell::new(false);
            let giving_up = GivingUp {
                limit: BATCH,
                until,
                anew: &|event: &AlertEvent<'_>| composer.tell_anew(event),
                operator: &|gone: &GoneAlerter| {
                    is_told.set(true);
                    self.tell(gone, now)
                },
            };
            let is_first = !self.told.contains(alerter);
            let given_up = self.store.give_up_for_gone(alerter, is_first, now, &giving_up)?;
            if given_up == 0 {
                break;
            }
            if is_told.get() {
                self.told.insert(alerter.to_owned());
            }
            all += given_up;
            *left -= 1;
        }
        if all > 0 {
            log::error!(
                "there is no alerter {alerter} any more: {all} messages that waited for it are given up"
            );
        }
        Ok(all)
    }

    /// The message to the operator.
    fn tell(&self, gone: &GoneAlerter, now: Time) -> Vec<NewDelivery> {
        self.operator.deliveries_around(&[&gone.alerter], &[], message(gone), now)
    }
}

/// The message to the operator.
#[derive(Template)]
#[template(path = "alerter_gone.txt")]
struct AlerterGone<'a> {
    alerter: &'a str,
    messages: i64,
    /// The reservations whose alerts now go to somebody else.
    told_anew: &'a [String],
    reservations: i64,
}

fn message(gone: &GoneAlerter) -> AlerterGone<'_> {
    let GoneAlerter { alerter, messages, told_anew } = gone;
    AlerterGone { alerter, messages: *messages, told_anew, reservations: told_anew.len() as i64 }
}

#[cfg(test)]
mod tests {
    use innkeeper_node::heartbeat::OperatorMessage;

    use super::*;

    #[test]
    fn the_operator_reads_how_many_messages_there_were_and_what_is_told_anew() {
        let gone = |messages, anew: usize| GoneAlerter {
            alerter: "chat".to_owned(),
            messages,
            told_anew: (0..anew).map(|n| format!("shop/job-{n}")).collect(),
        };
        let said = |messages, anew| OperatorMessage::from(message(&gone(messages, anew)));
        let OperatorMessage { subject, text, .. } = said(1, 0);
        assert_eq!(subject, "1 message is given up: there is no alerter chat any more");
        assert!(!text.contains("open alerts"), "{text}");
        let OperatorMessage { subject, text, .. } = said(12, 12);
        assert!(subject.starts_with("12 messages are given up"), "{subject}");
        assert!(
            text.contains("The open alerts of 12 reservations") && text.contains("shop/job-9 and 2 more."),
            "{text}"
        );
        // Only the first batch is known when the message is composed.
        assert!(!said(2000, 500).text.contains("shop/"));
    }
}
