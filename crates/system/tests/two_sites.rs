//! Tests the layout for two data centres of `docs/RELIABILITY.md`: what each side reports when the link between them, the
//! other side, or the side with the database is lost.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::time::{Duration, Instant};

use innkeeper_system::network::Network;
use innkeeper_system::postgres::Postgres;
use innkeeper_testing::client::Client;
use innkeeper_testing::process::Server;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(90);
const SOUTH: [&str; 3] = ["pg-south", "in-south", "sw-south"];

fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < end, "this does not come: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The messages of a side to its operator. They go into its own log, which needs no link.
fn count(servers: &[&Server], text: &str) -> usize {
    let line = format!("innkeeper: operator: {text}");
    servers.iter().map(|server| server.log().matches(&line).count()).sum()
}

#[test]
fn each_side_tells_what_it_has_lost() {
    let network = Network::new(&["pg-north", "in-north", "sw-north", SOUTH[0], SOUTH[1], SOUTH[2]]);
    let primary = Postgres::primary(&network, "pg-north");
    let standby = Postgres::standby(&network, "pg-south", &primary);
    // Asynchronous, because with a single synchronous standby the loss of the link would stop every commit.
    primary.sql("ALTER SYSTEM RESET synchronous_standby_names");
    primary.sql("SELECT pg_reload_conf()");
    let url = Postgres::url(&[&primary, &standby]);
    let start = |role: &str, name: &str| {
        let config = format!(
            "operator = [\"log\"]
allow_open = true
expect = {{ ingest = 2, sweeper = 2 }}
[database]
url = \"{url}\"
[ingest]
listen = \"{}:8080\"
workers = 1
",
            network.address(name)
        );
        Server::start_within(&network.namespace(name), role, &config, &[])
    };
    let (in_north, sw_north) = (start("ingest", "in-north"), start("sweeper", "sw-north"));
    let (mut in_south, mut sw_south) = (start("ingest", "in-south"), start("sweeper", "sw-south"));
    for server in [&in_north, &in_south] {
        server.wait_for_log("listening on http://");
    }
    for server in [&sw_north, &sw_south] {
        server.wait_for_log("watching over");
    }
    let check_in = |name: &str| {
        let url = format!("http://{}:8080/checkin", network.address(name));
        let body = json!({ "app": "shop", "component": "backup" }).to_string();
        let client = Client::new(Duration::from_secs(15));
        client.send("POST", &url, &[], body.as_bytes()).is_ok_and(|answer| answer.status == 200)
    };
    let reserved = Client::default().post(
        &format!("http://{}:8080/reservation", network.address("in-north")),
        &json!({ "app": "shop", "component": "backup", "frequency": 1, "time_units": "hours" }),
    );
    assert_eq!(reserved.status, 200, "{reserved:?}");
    assert!(check_in("in-south"), "a job of either side checks in at its own side");
    // A node without heartbeats for long enough judges no other node.
    std::thread::sleep(Duration::from_secs(15));
    let north = [&in_north, &sw_north];

    // The link is cut: the side with the database misses the other's nodes, the other side misses the database.
    network.part(&SOUTH);
    wait_until("north misses both nodes of south", || count(&north, "A node is gone") == 2);
    wait_until("each node of south misses the database", || {
        [&in_south, &sw_south].iter().all(|server| count(&[server], "The database is out of reach") == 1)
    });
    assert!(check_in("in-north"), "work goes on where the database is");
    let shorter =
        "UPDATE checks SET since_at = since_at - 300000 WHERE name LIKE 'expected %' AND state = 'short'";
    wait_until("north tells that there are too few", || {
        primary.sql(shorter);
        count(&north, "There are too few nodes of ingest") > 0
            && count(&north, "There are too few nodes of sweeper") > 0
    });
    SOUTH.iter().for_each(|name| network.mend(name));
    wait_until("south reaches the database again", || {
        [&in_south, &sw_south].iter().all(|server| count(&[server], "The database answers again") == 1)
    });
    let all = [&in_north, &sw_north, &in_south, &sw_south];
    wait_until("there are enough again", || {
        count(&all, "There are enough nodes of ingest again") > 0
            && count(&all, "There are enough nodes of sweeper again") > 0
    });
    assert!(check_in("in-south"));

    // The whole other side is lost: only the remaining side can report that, and does.
    let gone = count(&north, "A node is gone");
    in_south.kill();
    sw_south.kill();
    wait_until("north misses both again", || count(&north, "A node is gone") == gone + 2);
    assert!(check_in("in-north"));
    let (in_south, sw_south) = (start("ingest", "in-south"), start("sweeper", "sw-south"));
    in_south.wait_for_log("listening on http://");
    sw_south.wait_for_log("watching over");
    assert!(check_in("in-south"));
    wait_until("the standby has it all", || {
        let kept = "SELECT checkins FROM states JOIN reservations ON id = reservation_id WHERE app = 'shop'";
        standby.sql(kept) == primary.sql(kept)
    });
    std::thread::sleep(Duration::from_secs(15));

    // The side with the database is lost: the other side reports that, and takes over when its standby is promoted by hand.
    let (mut in_north, mut sw_north) = (in_north, sw_north);
    primary.kill();
    in_north.kill();
    sw_north.kill();
    let south = [&in_south, &sw_south];
    wait_until("each node of south misses the database", || {
        south.iter().all(|server| count(&[server], "The database is out of reach") == 1)
    });
    standby.promote();
    wait_until("each node of south reaches it", || {
        south.iter().all(|server| count(&[server], "The database answers again") == 1)
    });
    assert!(check_in("in-south"));
    wait_until("south misses the nodes of north", || count(&south, "A node is gone") == 2);
    assert_eq!(standby.sql("SELECT COUNT(*) FROM alerts WHERE app = 'shop'"), "0", "nobody was blamed");
}
