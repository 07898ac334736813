//! Network namespaces around one bridge: each has an address of its own, and its link can be cut.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::mail::run;

/// A bridge of the host, and the namespaces on it. Removed when dropped.
pub struct Network {
    name: String,
    /// The third number of every address.
    number: u32,
    places: Vec<String>,
}

/// The networks of this process.
static NETWORKS: AtomicU32 = AtomicU32::new(0);

impl Network {
    /// A network with a namespace for each of these names; the host is on it as `.1`.
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

    /// The host's own address.
    pub fn host(&self) -> String {
        format!("10.77.{}.1", self.number)
    }

    /// The address of the namespace of this name.
    pub fn address(&self, name: &str) -> String {
        let place = self.places.iter().position(|known| known == name).expect("a name of the network");
        format!("10.77.{}.{}", self.number, place + 2)
    }

    /// The namespace of this name, as `ip netns` knows it.
    pub fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// Cuts the link of a namespace: nothing goes in or out any more, and nobody is told.
    pub fn cut(&self, name: &str) {
        ip(&["link", "set", &self.link(name), "nomaster"]);
    }

    /// Cuts the links between these namespaces and all others; they still reach one another.
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

    /// Mends it.
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
