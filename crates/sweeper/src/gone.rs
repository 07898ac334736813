//! Gives up messages that wait for an alerter that no sweeper has any more, and tells the operator of them: once, with a count.

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

/// How long the alerters must have been the same: by then every sweeper knows of it, and writes nothing more for one that is gone. What is
/// younger waits: a sweeper that has a new alerter may write for it before it says so.
const SETTLED: Duration = Duration::from_secs(4);
/// How long after a start nothing is given up: sweepers that start together say one after the other what they have.
const AFTER_START: Duration = Duration::from_secs(10);
/// Messages that are given up in one transaction.
const BATCH: i64 = 500;
/// How many such transactions a look makes at most: which alerters there are is asked again before more follow.
const BATCHES: usize = 10;
/// Reservations that a message names.
const NAMED: usize = 10;

/// What looks.
pub struct GoneWatch {
    store: Store,
    clock: Arc<dyn Clock>,
    live: Live,
    operator: Operator,
    singleton: Singleton,
    shutdown: Shutdown,
    begun: Instant,
    /// The alerters as they were found last, and since when they have been so.
    known: Option<(KnownAlerters, Instant)>,
    /// The alerters that are gone and of which the operator has been told.
    told: BTreeSet<String>,
}

impl GoneWatch {
    /// Which tells through `operator`, and stops in the midst when this node is no longer the one, or is to stop.
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

    /// Looks at `at` for messages that wait for an alerter that is gone, and gives up so many of them as one look may. Returns how many
    /// those are.
    ///
    /// # Errors
    /// The database's.
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
        // One that is there again may be gone once more.
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
            // Who has not said what it has would have given these up, too.
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

    /// Gives up what was put in for `alerter` until then, in at most `left` transactions.
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

/// What the operator hears.
#[derive(Template)]
#[template(path = "alerter_gone.txt")]
struct AlerterGone<'a> {
    alerter: &'a str,
    messages: i64,
    /// The reservations of which somebody else hears now.
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
            text.contains("the open alerts of 12 reservations") && text.contains("shop/job-9 and 2 more."),
            "{text}"
        );
        // What comes after the first batch is not known when it is told.
        assert!(!said(2000, 500).text.contains("shop/"));
    }
}
