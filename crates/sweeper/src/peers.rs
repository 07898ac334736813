//! Peers: Innkeeper asks other installations for their health, and tells their admins when they are not well.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use innkeeper_alerter::HttpAsker;
use innkeeper_core::Clock;
use innkeeper_core::peer::PeerHealth;
use innkeeper_core::recipient::Recipient;
use innkeeper_node::Shutdown;
use innkeeper_node::config::PeerConfig;
use innkeeper_node::health::OK;
use innkeeper_node::heartbeat::{Operator, Singleton};
use innkeeper_store::{Store, StoreError};

/// The state of a peer that does not answer.
const SILENT: &str = "silent";
/// The number of requests in a row that must fail before a peer counts as silent, since one may be lost on the way.
const PATIENCE: u32 = 2;

/// The message to the admin of the peer.
#[derive(Template)]
#[template(path = "peer.txt")]
struct PeerMessage<'a> {
    name: &'a str,
    state: &'a str,
    problem: &'a str,
}

/// One other installation.
pub struct WatchedPeer {
    /// The database in which its state is kept.
    pub store: Store,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The lease by which only one node asks.
    pub singleton: Singleton,
    /// How its admin gets messages.
    pub operator: Operator,
    name: String,
    asker: HttpAsker,
    admin: Vec<Recipient>,
    every: Duration,
}

impl WatchedPeer {
    /// The peer of this configuration.
    ///
    /// # Errors
    /// An address that must not be requested.
    pub fn new(
        name: &str,
        config: &PeerConfig,
        store: Store,
        clock: Arc<dyn Clock>,
        singleton: Singleton,
        operator: Operator,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            store,
            clock,
            singleton,
            operator,
            name: name.to_owned(),
            asker: HttpAsker::new(&config.url)
                .map_err(|invalid| anyhow::anyhow!("peer.{name}: {invalid}"))?,
            admin: config.admin.clone(),
            every: config.every.to_std().unwrap_or(Duration::from_secs(60)),
        })
    }

    /// Asks the peer once. `unanswered` counts the failed requests in a row.
    ///
    /// # Errors
    /// A database error.
    pub fn ask_once(&self, unanswered: &mut u32) -> Result<(), StoreError> {
        let (state, problem) = match self.asker.ask() {
            Ok(text) => match PeerHealth::read(&text) {
                Some(PeerHealth::Ok) => (OK, String::new()),
                Some(health) => (health.as_str(), format!("It says: {}.", health.as_str())),
                None => {
                    (SILENT, "What it answers is not the answer of an Innkeeper or a checker.".to_owned())
                }
            },
            Err(problem) => (SILENT, problem),
        };
        // The request may have outlasted the lease. Then another node asks now, and this answer is out of date.
        if !self.singleton.is_held() {
            return Ok(());
        }
        *unanswered = if state == SILENT { unanswered.saturating_add(1) } else { 0 };
        if state == SILENT && *unanswered < PATIENCE {
            return Ok(());
        }
        let now = self.clock.now();
        let name = &self.name;
        let tell = |before: Option<&str>| {
            if (state, before) == (OK, None) {
                return Vec::new();
            }
            self.operator.deliveries_to(&self.admin, PeerMessage { name, state, problem: &problem }, now)
        };
        if self.store.note_check(&format!("peer {name}"), state, &problem, now, &tell)? && state != OK {
            log::warn!("the peer {name}: {state}: {problem}");
        }
        Ok(())
    }

    /// The loop, until the process stops.
    pub(crate) fn run(&self, shutdown: &Shutdown) {
        let mut unanswered = 0;
        while !shutdown.wait_timeout(self.every) {
            if !self.singleton.is_held() {
                unanswered = 0;
            } else if let Err(error) = self.ask_once(&mut unanswered) {
                log::warn!("the peer {}: {error}", self.name);
            }
        }
    }
}
