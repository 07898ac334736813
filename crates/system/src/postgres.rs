//! Postgres servers in network namespaces: a primary and a synchronous standby.

use innkeeper_testing::cluster::{Cluster, ClusterSetup, programs};

use crate::network::Network;

/// A server. Stopped when dropped.
pub struct Postgres {
    cluster: Cluster,
    address: String,
}

impl Postgres {
    /// Creates a primary at the address of the namespace `name`.
    pub fn primary(network: &Network, name: &str) -> Self {
        let (address, setup) = setup(network, name);
        let cluster = Cluster::make(setup);
        cluster.append(
            "pg_hba.conf",
            "host all all 10.77.0.0/16 trust\nhost replication all 10.77.0.0/16 trust\n",
        );
        cluster.resume();
        Self { cluster, address }
    }

    /// Creates a standby of `primary`. From now on the primary acknowledges a commit only after the standby has it.
    pub fn standby(network: &Network, name: &str, primary: &Self) -> Self {
        let (address, setup) = setup(network, name);
        let cluster = Cluster::empty(setup);
        let copied = ["-h", &primary.address, "-U", "innkeeper", "-R", "-X", "stream", "-c", "fast"];
        cluster.postgres("pg_basebackup", &copied);
        cluster.configure();
        cluster.resume();
        primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        primary.sql("SELECT pg_reload_conf()");
        Self { cluster, address }
    }

    /// The URL of several servers, of which the one that accepts writes is used.
    pub fn url(servers: &[&Self]) -> String {
        let hosts: Vec<&str> = servers.iter().map(|server| server.address.as_str()).collect();
        format!("postgres://innkeeper@{}/postgres?target_session_attrs=read-write", hosts.join(","))
    }

    /// Stops the server immediately, like SIGKILL: connections are not closed properly and nothing is written.
    pub fn kill(&self) {
        self.cluster.stop();
    }

    /// Promotes a standby to a primary without a standby of its own.
    pub fn promote(&self) {
        self.cluster.postgres("pg_ctl", &["promote", "-w", "-s"]);
    }

    /// The result of `sql`, unaligned.
    pub fn sql(&self, sql: &str) -> String {
        let mut psql = self.cluster.command("psql");
        psql.args([
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            &self.address,
            "-U",
            "innkeeper",
            "-c",
            sql,
            "postgres",
        ]);
        let done = psql.output().expect("psql runs");
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }
}

/// The address of the namespace `name`, and the setup of a server there.
fn setup(network: &Network, name: &str) -> (String, ClusterSetup) {
    let address = network.address(name);
    let within = ["ip", "netns", "exec", &network.namespace(name)].map(str::to_owned).to_vec();
    let settings = format!(
        "wal_level = replica\nhot_standby = on\nmax_connections = 200\nlisten_addresses = '{address}'\n"
    );
    (address, ClusterSetup { within, settings, ..ClusterSetup::by(programs()) })
}
