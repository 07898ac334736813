//! Runs three nodes of each role and Postgres with its standby, each in a network namespace of its own, while jobs check
//! in. Links are cut one after the other. At the end the primary dies and its standby takes over.
//!
//! Throughout no acknowledged check-in is lost, no healthy job alerts, every silent job alerts once, and no lease is held twice.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use innkeeper_system::network::Network;
use innkeeper_system::postgres::Postgres;
use innkeeper_testing::client::Client;
use innkeeper_testing::process::Server;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(90);
const HEALTHY: usize = 12;
const INGESTS: [&str; 3] = ["in1", "in2", "in3"];
const SWEEPERS: [&str; 3] = ["sw1", "sw2", "sw3"];
const WEBS: [&str; 3] = ["web1", "web2", "web3"];

fn config(network: &Network, url: &str, name: &str) -> String {
    let listen = network.address(name);
    format!(
        "operator = [\"log\"]
allow_open = true
[database]
url = \"{url}\"
[ingest]
listen = \"{listen}:8080\"
workers = 1
[web]
listen = \"{listen}:8081\"
[sweeper]
listen = \"{listen}:8082\"
lease = \"5s\"
"
    )
}

fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < end, "this does not come: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The nodes that claim to hold the lease. Each is queried from within its namespace, so that it answers even if its
/// link is cut.
fn holders(network: &Network) -> Vec<&'static str> {
    SWEEPERS
        .into_iter()
        .filter(|name| {
            let asked = Command::new("ip")
                .args(["netns", "exec", &network.namespace(name), "curl", "-s", "-m", "2"])
                .arg(format!("http://{}:8082/is-coordinator", network.address(name)))
                .output()
                .unwrap();
            String::from_utf8_lossy(&asked.stdout).trim() == "true"
        })
        .collect()
}

/// Calls the ingest nodes in turn until one answers 200, like a job that retries behind a load balancer.
struct Caller<'a> {
    network: &'a Network,
    client: Client,
}

impl Caller<'_> {
    fn post(&self, path: &str, body: &serde_json::Value, from: usize) -> bool {
        (0..INGESTS.len()).any(|turn| {
            let address = self.network.address(INGESTS[(from + turn) % INGESTS.len()]);
            let url = format!("http://{address}:8080{path}");
            let headers = [("content-type", "application/json")];
            let answer = self.client.send("POST", &url, &headers, body.to_string().as_bytes());
            answer.is_ok_and(|answer| answer.status == 200)
        })
    }

    fn reserve(&self, component: &str) {
        let body = json!({
            "app": "shop", "component": component, "notify": "", "frequency": 10, "time_units": "seconds", "grace": "20s",
        });
        assert!(self.post("/reservation", &body, 0), "{component}");
    }
}

#[test]
fn whatever_is_cut_off_nothing_is_lost_nobody_is_blamed_and_who_falls_silent_is_told() {
    let mut names = vec!["pg1", "pg2"];
    names.extend(INGESTS);
    names.extend(SWEEPERS);
    names.extend(WEBS);
    let network = Network::new(&names);
    let primary = Postgres::primary(&network, "pg1");
    let standby = Postgres::standby(&network, "pg2", &primary);
    let url = Postgres::url(&[&primary, &standby]);
    let start = |role: &str, name: &str| {
        Server::start_within(&network.namespace(name), role, &config(&network, &url, name), &[])
    };
    let ingests: Vec<Server> = INGESTS.iter().map(|name| start("ingest", name)).collect();
    let sweepers: Vec<Server> = SWEEPERS.iter().map(|name| start("sweeper", name)).collect();
    let webs: Vec<Server> = WEBS.iter().map(|name| start("web", name)).collect();
    webs.iter().for_each(|web| web.wait_for_log("listening on http://"));
    ingests.iter().for_each(|ingest| ingest.wait_for_log("listening on http://"));
    sweepers.iter().for_each(|sweeper| sweeper.wait_for_log("listening on http://"));
    wait_until("one holds the lease", || holders(&network).len() == 1);

    let caller = || Caller { network: &network, client: Client::new(Duration::from_secs(4)) };
    let jobs: Vec<String> = (0..HEALTHY).map(|n| format!("healthy-{n}")).collect();
    jobs.iter().for_each(|job| caller().reserve(job));

    let over = AtomicBool::new(false);
    let acknowledged: Mutex<BTreeMap<String, i64>> = Mutex::default();
    let twice: Mutex<Vec<Vec<&str>>> = Mutex::default();
    let mut silent = Vec::new();
    std::thread::scope(|scope| {
        for (n, job) in jobs.iter().enumerate() {
            let (over, acknowledged, caller) = (&over, &acknowledged, caller());
            scope.spawn(move || {
                let body = json!({ "app": "shop", "component": job });
                while !over.load(Ordering::SeqCst) {
                    if caller.post("/checkin", &body, n) {
                        *acknowledged.lock().unwrap().entry(job.clone()).or_default() += 1;
                    }
                    std::thread::sleep(Duration::from_millis(1500));
                }
            });
        }
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let holders = holders(&network);
                if holders.len() > 1 {
                    twice.lock().unwrap().push(holders);
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        // In each phase a job makes a reservation and stays silent. Exactly one alert must be sent for it.
        let mut phase = |name: &str| {
            caller().reserve(&format!("silent-{name}"));
            silent.push(format!("silent-{name}"));
            println!("{name}");
        };
        let mut cut_for_a_while = |name: &str, what: &str| {
            phase(what);
            network.cut(name);
            std::thread::sleep(Duration::from_secs(12));
            network.mend(name);
            std::thread::sleep(Duration::from_secs(6));
        };
        cut_for_a_while("in1", "ingest");
        let holder = holders(&network);
        let other = SWEEPERS.into_iter().find(|name| !holder.contains(name)).unwrap();
        cut_for_a_while(other, "sweeper");
        let holder = holders(&network);
        cut_for_a_while(holder[0], "holder");
        wait_until("another took the lease", || holders(&network).len() == 1);
        cut_for_a_while("pg1", "postgres");
        phase("failover");
        primary.kill();
        std::thread::sleep(Duration::from_secs(3));
        standby.sql("ALTER SYSTEM RESET synchronous_standby_names");
        standby.promote();
        wait_until("ingest writes to the new primary", || {
            caller().post("/checkin", &json!({ "app": "shop", "component": "healthy-0" }), 0)
        });
        *acknowledged.lock().unwrap().entry("healthy-0".to_owned()).or_default() += 1;
        phase("after");
        wait_until("all silent jobs are told", || {
            standby.sql("SELECT COUNT(DISTINCT component) FROM alerts WHERE component LIKE 'silent-%'") == "6"
        });
        std::thread::sleep(Duration::from_secs(10));
        over.store(true, Ordering::SeqCst);
    });
    assert!(twice.lock().unwrap().is_empty(), "the lease was held twice: {:?}", twice.lock().unwrap());
    assert_eq!(
        standby.sql("SELECT component || ' ' || sentence FROM alerts WHERE component LIKE 'healthy-%'"),
        "",
        "healthy jobs were blamed"
    );
    assert_eq!(standby.sql("SELECT component FROM alerts GROUP BY 1 HAVING COUNT(*) > 1"), "", "told twice");
    for name in WEBS {
        let answer = Client::default().get(&format!("http://{}:8081/reservation", network.address(name)));
        assert!(answer.status == 200 && answer.body.contains("healthy-0"), "{name}: {answer:?}");
    }
    for (job, count) in acknowledged.lock().unwrap().iter() {
        let kept: i64 = standby
            .sql(&format!(
                "SELECT checkins FROM states JOIN reservations ON id = reservation_id WHERE component = '{job}'"
            ))
            .parse()
            .unwrap();
        assert!(kept >= *count, "{job}: {kept} kept of {count} acknowledged");
    }
}
