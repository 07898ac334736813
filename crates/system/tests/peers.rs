//! Tests two installations as peers in network namespaces: the link between them is cut and restored.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::time::{Duration, Instant};

use innkeeper_system::network::Network;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::process::Server;

const PATIENCE: Duration = Duration::from_secs(60);

/// The installation `own`, which watches `other`. Its messages go into its log, which needs no link.
fn config(network: &Network, own: &str, other: &str) -> String {
    format!(
        "instance = \"{own}\"
operator = [\"log\"]
allow_open = true
[ingest]
listen = \"{}:8080\"
workers = 1
[peer.{other}]
url = \"http://{}:8080/peer\"
admin = [\"log\"]
every = \"1s\"
",
        network.address(own),
        network.address(other)
    )
}

fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < end, "this does not come: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn count(server: &Server, text: &str) -> usize {
    server.log().matches(text).count()
}

#[test]
fn each_tells_of_the_other_when_the_link_is_cut_and_again_when_it_is_mended() {
    let network = Network::new(&["north", "south"]);
    let start = |own: &str, other: &str| {
        Server::start_within(&network.namespace(own), "innkeeper", &config(&network, own, other), &[])
    };
    let (north, south) = (start("north", "south"), start("south", "north"));
    north.wait_for_log("this node is the coordinator now");
    south.wait_for_log("this node is the coordinator now");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(count(&north, "does not answer") + count(&south, "does not answer"), 0, "all is well");

    network.cut("south");
    wait_until("north tells of south", || count(&north, "The peer south does not answer") > 0);
    wait_until("south tells of north", || count(&south, "The peer north does not answer") > 0);
    network.mend("south");
    wait_until("north hears south again", || count(&north, "The peer south is well again") > 0);
    wait_until("south hears north again", || count(&south, "The peer north is well again") > 0);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(count(&north, "The peer south does not answer"), 1, "{}", north.log());
}

#[test]
fn a_checker_is_understood_and_answered_in_its_own_words() {
    let checker = HttpSink::start();
    checker.otherwise(innkeeper_testing::http_sink::SinkResponse::status(200).body("JobProblem"));
    let config = format!(
        "operator = [\"log\"]
[ingest]
listen = \"127.0.0.1:0\"
workers = 1
[sweeper]
listen = \"127.0.0.1:0\"
[peer.old]
url = \"{}\"
admin = [\"log\"]
every = \"1s\"
",
        checker.url("/")
    );
    let inn = Server::start("innkeeper", &config, &[]);
    inn.wait_for_log("The peer old has a jobs problem");
    inn.wait_for_log("sweeper: listening on http://");
    let log = inn.log();
    let (_, address) = log.split_once("sweeper: listening on http://").unwrap();
    let address = address.lines().next().unwrap().trim();
    let answer = innkeeper_testing::client::Client::default().get(&format!("http://{address}/"));
    assert_eq!((answer.status, answer.body.as_str()), (200, "True"));
}
