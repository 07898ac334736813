//! The outward heartbeat: a monitor outside hears from us while all is well.

use std::sync::Arc;
use std::time::Duration;

use innkeeper_alerter::HttpAsker;
use innkeeper_core::Clock;
use innkeeper_core::peer::PeerHealth;
use innkeeper_node::Shutdown;
use innkeeper_node::health::health;
use innkeeper_node::heartbeat::Singleton;
use innkeeper_store::Store;

/// Calls an address while all is well.
pub struct OutsideHeartbeat {
    /// What tells whether it is.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Only one node calls.
    pub singleton: Singleton,
    /// The address.
    pub asker: HttpAsker,
    /// How often.
    pub every: Duration,
}

impl OutsideHeartbeat {
    /// Calls, if all is well. Returns whether it did, and was heard.
    pub fn call_once(&self) -> bool {
        match health(&self.store, self.clock.now()) {
            Ok(PeerHealth::Ok) => {}
            Ok(health) => {
                log::warn!("no heartbeat goes out: {}", health.as_str());
                return false;
            }
            Err(error) => {
                log::warn!("no heartbeat goes out: {error}");
                return false;
            }
        }
        match self.asker.ask() {
            Ok(_) => true,
            Err(problem) => {
                log::warn!("the heartbeat was not heard: {problem}");
                false
            }
        }
    }

    /// The loop, until the process stops.
    pub(crate) fn run(&self, shutdown: &Shutdown) {
        while !shutdown.wait_timeout(self.every) {
            if self.singleton.is_held() {
                self.call_once();
            }
        }
    }
}
