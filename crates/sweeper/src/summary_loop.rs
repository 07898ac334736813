//! The scheduled summary: drawn up by the node with the lease, and sent through the outbox.

use std::sync::Arc;
use std::time::Duration;

use innkeeper_core::Clock;
use innkeeper_core::schedule::Schedule;
use innkeeper_node::config::Live;
use innkeeper_node::heartbeat::Singleton;
use innkeeper_node::summary::draw_up;
use innkeeper_node::{Shutdown, Ways};
use innkeeper_store::{NewDelivery, Store, StoreError};

use crate::messages::MessageComposer;
use crate::summary::{notice, ways};

/// How often it checks whether a summary is due.
const EVERY: Duration = Duration::from_secs(10);
/// The name under which the time of the last summary is kept.
const NAME: &str = "summary";

/// Sends scheduled summaries.
pub struct Summaries {
    /// The database that the summary describes.
    pub store: Store,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The lease by which only one node sends.
    pub singleton: Singleton,
    /// Composes the message.
    pub composer: MessageComposer,
    /// The recipients: the alerter, and the mail address if it needs one.
    pub ways: Vec<(String, String)>,
    /// When summaries are due.
    pub schedule: Schedule,
}

impl Summaries {
    /// Sends the summary if it is due. Returns whether it was. The very first call sends nothing; the schedule starts
    /// from then.
    ///
    /// # Errors
    /// A database error.
    pub fn send_if_due(&self) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let last = self.store.checks()?.into_iter().find(|check| check.name == NAME);
        let Some(last) = last else {
            self.store.note_check(NAME, &now.to_rfc3339(), "", now, &|_| Vec::new())?;
            return Ok(false);
        };
        if self.schedule.following(last.since_at).is_none_or(|at| now < at) {
            return Ok(false);
        }
        let drawn = draw_up(&self.store, &self.composer.instance, now)?;
        let notice = notice(drawn.summary(&self.composer.public_url, self.schedule.zone())?, &self.composer);
        // Drawing it up may have outlasted the lease. If another node has sent the summary meanwhile, this one sends
        // nothing.
        let deliveries = |before: Option<&str>| {
            if before != Some(last.state.as_str()) {
                return Vec::new();
            }
            let delivery = |(alerter, recipient): &(String, String)| NewDelivery {
                alerter: alerter.clone(),
                recipient: recipient.clone(),
                notice: notice.clone(),
            };
            self.ways.iter().map(delivery).collect()
        };
        // The state is the time itself, so it changes each time. The state and the messages are committed together.
        self.store.note_check(NAME, &now.to_rfc3339(), "", now, &deliveries)
    }

    /// The loop, until the process stops.
    pub(crate) fn run(&mut self, live: &Live, alerters: &Ways, shutdown: &Shutdown) {
        if self.ways.is_empty() {
            log::error!("the summary has nowhere to go: no alerter has `summary = true`");
        }
        while !shutdown.wait_timeout(EVERY) {
            if !self.singleton.is_held() || !self.clock.is_steady() {
                continue;
            }
            let (config, alerters) = (live.get(), alerters.now());
            self.composer = MessageComposer::new(&config, &self.composer.ways);
            self.ways = ways(&alerters, &config.operator);
            match self.send_if_due() {
                Ok(true) => log::info!("the summary goes out"),
                Ok(false) => {}
                Err(error) => log::warn!("the summary: {error}"),
            }
        }
    }
}
