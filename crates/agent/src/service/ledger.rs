//! Remembers the reservations of this machine's probes at each server: the terms that were sent, and whether this
//! agent made the reservation. One that existed before is never checked out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::say;
use crate::report::Names;
use crate::spool::write_whole;
use crate::state::StateDirectory;

const FILE: &str = "reservations.json";

/// What is known about one reservation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KnownReservation {
    /// Its names.
    pub names: Names,
    /// The name of its probe; empty for the agent's own reservation.
    pub probe: String,
    /// Whether this agent made the reservation.
    pub made: bool,
    /// Whether the app is this machine's name, because the configuration names no app.
    pub by_host: bool,
    /// The terms that were sent to the server; none before the first time.
    pub told: Option<Value>,
}

/// The reservations at one server, by `APP/COMPONENT`.
type OfServer = BTreeMap<String, KnownReservation>;

/// The ledger, as described in the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    servers: BTreeMap<String, OfServer>,
    server: String,
    state: Option<StateDirectory>,
    is_changed: bool,
}

impl Ledger {
    /// Reads the ledger for `server` from the state directory. If it cannot be read, the agent counts as having made
    /// no reservation.
    pub fn open(state: Option<StateDirectory>, server: &str) -> Self {
        let mut ledger = Self { state, server: server.to_owned(), ..Self::default() };
        ledger.read();
        ledger
    }

    /// Reads the file again, because another process may have written it. Unwritten changes must be written before.
    pub fn read(&mut self) {
        let Some(state) = &self.state else { return };
        match std::fs::read(state.file(FILE)).map(|bytes| serde_json::from_slice(&bytes)) {
            Ok(Ok(servers)) => self.servers = servers,
            Ok(Err(error)) => {
                say(format_args!("{FILE} cannot be read, so no reservation is checked out: {error}"));
                self.servers = BTreeMap::new();
            }
            Err(_) => {}
        }
    }

    fn known(&mut self) -> &mut OfServer {
        self.is_changed = true;
        self.servers.entry(self.server.clone()).or_default()
    }

    /// What is known about this reservation.
    pub fn get(&self, names: &Names) -> Option<&KnownReservation> {
        self.servers.get(&self.server)?.get(&names.to_string())
    }

    /// Stores what is known about a reservation.
    pub fn put(&mut self, known: KnownReservation) {
        if self.get(&known.names) != Some(&known) {
            self.known().insert(known.names.to_string(), known);
        }
    }

    /// Removes a reservation from the ledger.
    pub fn forget(&mut self, names: &Names) {
        if self.get(names).is_some() {
            self.known().remove(&names.to_string());
        }
    }

    /// The reservations that are no longer `wanted`.
    pub fn gone(&self, wanted: impl Fn(&KnownReservation) -> bool) -> Vec<KnownReservation> {
        let all = self.servers.get(&self.server).into_iter().flat_map(BTreeMap::values);
        all.filter(|known| !wanted(known)).cloned().collect()
    }

    /// Writes the ledger if it has changed.
    pub fn write(&mut self) {
        let Some(state) = self.state.as_ref().filter(|_| self.is_changed) else { return };
        let written = serde_json::to_vec(&self.servers)
            .map_err(std::io::Error::from)
            .and_then(|bytes| write_whole(&state.file(""), FILE, &bytes));
        match written {
            Ok(()) => self.is_changed = false,
            Err(error) => {
                say(format_args!("the list of the probes' reservations cannot be written: {error}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_outlives_the_process_and_is_of_one_server() {
        let directory = tempfile::tempdir().unwrap();
        let open = |server| Ledger::open(Some(StateDirectory::open(Some(directory.path())).unwrap()), server);
        let names = Names::parse("web/shop").unwrap();
        let known = KnownReservation {
            names: names.clone(),
            probe: "web".to_owned(),
            made: true,
            by_host: false,
            told: None,
        };
        let mut ledger = open("http://a");
        ledger.put(known.clone());
        ledger.write();
        assert!(open("http://b").get(&names).is_none());
        let mut ledger = open("http://a");
        assert_eq!(ledger.get(&names), Some(&known));
        assert_eq!(ledger.gone(|known| known.probe == "other"), [known]);
        ledger.forget(&names);
        ledger.write();
        assert!(open("http://a").get(&names).is_none());
        std::fs::write(directory.path().join(FILE), "{torn").unwrap();
        assert!(open("http://a").get(&names).is_none());
    }
}
