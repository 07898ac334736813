//! The outgoing heartbeat: Innkeeper calls an external monitor as long as all is well.

use std::sync::Arc;
use std::time::Duration;

use innkeeper_alerter::HttpAsker;
use innkeeper_core::Clock;
use innkeeper_core::peer::PeerHealth;
use innkeeper_node::Shutdown;
use innkeeper_node::health::health;
use innkeeper_node::heartbeat::Singleton;
use innkeeper_store::Store;

/// Calls an address as long as all is well.
pub struct OutsideHeartbeat {
    /// The database whose state tells whether all is well.
    pub store: Store,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The lease by which only one node calls.
    pub singleton: Singleton,
    /// The address to call.
    pub asker: HttpAsker,
    /// The interval between calls.
    pub every: Duration,
}

impl OutsideHeartbeat {
    /// Calls the address if all is well. Returns whether it called and got a successful answer.
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
