//! Network namespaces on a bridge. Each has its own address and a link that can be cut.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::mail::run;

/// A bridge of the host and the namespaces on it. Removed when dropped.
pub struct Network {
    name: String,
    /// The third number of every address.
    number: u32,
    places: Vec<String>,
}

/// Counts the networks of this process.
static NETWORKS: AtomicU32 = AtomicU32::new(0);

impl Network {
    /// Creates a network with a namespace for each of these names. The host has the address `.1`.
    pub fn new(names: &[&str]) -> Self {
        let number = (std::process::id() + NETWORKS.fetch_add(1, Ordering::SeqCst) * 37) % 250 + 1;
        let mut network = Self { name: format!("ik{number}"), number, places: Vec::new() };
        ip(&["link", "add", &network.name, "type", "bridge"]);
        ip(&["addr", "add", &format!("{}/24", network.host()), "dev", &network.name]);
        ip(&["link", "set", &network.name, "up"]);
        for name in names {
            network.add(name);
        }
        network
    }

    /// The address of the host.
    pub fn host(&self) -> String {
        format!("10.77.{}.1", self.number)
    }

    /// The address of the namespace with this name.
    pub fn address(&self, name: &str) -> String {
        let place = self.places.iter().position(|known| known == name).expect("a name of the network");
        format!("10.77.{}.{}", self.number, place + 2)
    }

    /// The name by which `ip netns` knows the namespace.
    pub fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// Cuts the link of a namespace. Packets are lost without an error.
    pub fn cut(&self, name: &str) {
        ip(&["link", "set", &self.link(name), "nomaster"]);
    }

    /// Cuts the links between these namespaces and all others. They still reach each other.
    pub fn part(&self, names: &[&str]) {
        let other = format!("{}b", self.name);
        if !std::path::Path::new("/sys/class/net").join(&other).exists() {
            ip(&["link", "add", &other, "type", "bridge"]);
            ip(&["link", "set", &other, "up"]);
        }
        for name in names {
            ip(&["link", "set", &self.link(name), "master", &other]);
        }
    }

    /// Restores the link of a namespace.
    pub fn mend(&self, name: &str) {
        ip(&["link", "set", &self.link(name), "master", &self.name]);
    }

    fn add(&mut self, name: &str) {
        self.places.push(name.to_owned());
        let (link, namespace) = (self.link(name), self.namespace(name));
        let address = format!("{}/24", self.address(name));
        ip(&["netns", "add", &namespace]);
        ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &namespace]);
        ip(&["link", "set", &link, "master", &self.name, "up"]);
        ip(&["-n", &namespace, "addr", "add", &address, "dev", "eth0"]);
        ip(&["-n", &namespace, "link", "set", "eth0", "up"]);
        ip(&["-n", &namespace, "link", "set", "lo", "up"]);
    }

    fn link(&self, name: &str) -> String {
        let place = self.places.iter().position(|known| known == name).expect("a name of the network");
        format!("{}v{place}", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.places {
            let _ = Command::new("ip").args(["netns", "delete", &self.namespace(name)]).status();
            let _ = Command::new("ip").args(["link", "delete", &self.link(name)]).output();
        }
        let _ = Command::new("ip").args(["link", "delete", &self.name]).status();
        let _ = Command::new("ip").args(["link", "delete", &format!("{}b", self.name)]).output();
    }
}

fn ip(arguments: &[&str]) {
    run(Command::new("ip").args(arguments));
}
