//! `innkeeper-agent probe` beside a real server: it makes its reservations, reports to them, and takes back what it made.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use innkeeper_core::{Clock as _, SystemClock};
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::ports::free_port;
use innkeeper_testing::process::{PATIENCE, Server, stat};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A server, and a machine whose agent probes.
struct Instance {
    server: Server,
    database: TestDatabase,
    home: TempDir,
    client: Client,
}

impl Instance {
    fn open() -> Self {
        let database = TestDatabase::sqlite();
        let config = "[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n";
        let server = Server::start("innkeeper", config, &["--database-url", database.url()]);
        Self { server, database, home: TempDir::new().unwrap(), client: Client::default() }
    }

    fn configure(&self, probes: &str) {
        self.configure_for(self, probes);
    }

    /// The same of an agent that reports to another one.
    fn configure_for(&self, other: &Self, probes: &str) {
        let path = self.home.path().join("agent.toml");
        let config = format!("server = \"{}\"\n[probes]\napp = \"net\"\n{probes}", other.server.url(""));
        std::fs::write(path, config).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_innkeeper-agent"));
        command
            .env_clear()
            .env("XDG_STATE_HOME", self.home.path())
            .args(["--config", self.home.path().join("agent.toml").to_str().unwrap()])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn start(&self) -> Agent {
        let log = std::fs::File::create(self.home.path().join("log")).unwrap();
        Agent(self.command(&["probe"]).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// The reservation of this component, where there is one.
    fn shown(&self, component: &str) -> Option<Value> {
        let answer = self.client.get(&self.server.url("/api/v1/reservations?limit=200"));
        let all = answer.json()["reservations"].as_array().unwrap().clone();
        all.into_iter().find(|one| one["component"] == component)
    }

    fn state(&self, component: &str) -> String {
        self.shown(component).map_or_else(String::new, |one| one["state"].as_str().unwrap().to_owned())
    }

    /// Whether it has checked in; a moment later the next time is due already.
    fn is_well(&self, component: &str) -> bool {
        matches!(self.state(component).as_str(), "up" | "late")
    }

    fn eventually(&self, what: &str, is_so: impl Fn() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < until, "it does not come: {what}; the log: {}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A running agent, killed when it is dropped.
struct Agent(Child);

impl Agent {
    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn said(output: &Output) -> (i32, String) {
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text.into_owned())
}

/// A probe of this port each second, so that a test waits for nothing.
fn tcp(name: &str, port: u16) -> String {
    format!("[probe.{name}]\nkind = \"tcp\"\nevery = \"1s\"\ngrace = \"1h\"\ntarget = \"127.0.0.1:{port}\"\n")
}

#[test]
fn targets_are_watched_and_taken_back() {
    let instance = Instance::open();
    let listener = || TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let (first, second) = (listener(), listener());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    // Somebody has made this one themselves.
    let body = json!({"app": "net", "component": "second", "frequency": 1, "time_units": "days"});
    assert_eq!(instance.client.post(&instance.server.url("/reservation"), &body).status, 200);
    let both = tcp("first", port(&first)) + &tcp("second", port(&second));
    instance.configure(
        &(both.clone() + "[probe.odd]\nkind = \"tpc\"\nevery = \"1m\"\ntarget = \"127.0.0.1:1\"\n"),
    );
    let mut agent = instance.start();
    for name in ["first", "second"] {
        instance.eventually(name, || instance.is_well(name));
    }
    // What cannot be loaded is told where the agent itself reports.
    instance.eventually("its own", || instance.state("innkeeper-agent") == "down");
    let notes = instance.database.texts("SELECT notes FROM checkins").join("\n");
    assert!(notes.contains("agent.toml:") && notes.contains("tpc"), "{notes}");
    assert_eq!(instance.shown("first").unwrap()["schedule"], "every 1 second");
    let log = instance.log();
    assert!(log.contains("net/second existed before") && !log.contains("net/first existed"), "{log}");

    let gone = port(&first);
    drop(first);
    instance.eventually("first is down", || instance.state("first") == "down");
    let _first = TcpListener::bind(("127.0.0.1", gone)).unwrap();
    instance.eventually("first is back", || instance.is_well("first"));

    // Other terms change the reservation, and make none.
    instance.configure(&both.replace("grace = \"1h\"", "grace = \"2h\""));
    agent.signal("-HUP");
    instance.eventually("its new grace", || instance.shown("first").is_some_and(|one| one["grace"] == "2h"));
    instance.eventually("its own is well", || instance.is_well("innkeeper-agent"));
    assert_eq!(instance.database.count("reservations"), 3);

    // One that cannot be read any more goes on, and is not checked out.
    instance.configure(&both.replace("[probe.first]\nkind = \"tcp\"", "[probe.first]\nkind = \"pct\""));
    agent.signal("-HUP");
    instance.eventually("its own is down", || instance.state("innkeeper-agent") == "down");
    assert_ne!(instance.state("first"), "", "it is there");

    // What leaves the configuration is checked out if this agent made it.
    instance.configure("");
    agent.signal("-HUP");
    instance.eventually("first is checked out", || instance.shown("first").is_none());
    assert!(instance.shown("second").is_some(), "somebody else made it");
    agent.signal("-TERM");
    assert!(agent.0.wait().unwrap().success(), "{}", instance.log());
}

#[test]
fn what_is_found_while_the_server_is_away_is_told_later() {
    let mut instance = Instance::open();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    instance.configure(&tcp("port", listener.local_addr().unwrap().port()));
    let _agent = instance.start();
    instance.eventually("it is up", || instance.is_well("port"));
    let address = instance.server.address().to_string();
    instance.server.kill();
    let from = SystemClock.now().timestamp_millis();
    instance.eventually("the log says so", || instance.log().contains("are kept until they can be sent"));
    std::thread::sleep(Duration::from_secs(3));
    let to = SystemClock.now().timestamp_millis();
    let config = format!("[ingest]\nlisten = \"{address}\"\nworkers = 1\n");
    instance.server = Server::start("innkeeper", &config, &["--database-url", instance.database.url()]);
    let found = format!("checkins WHERE kind = 'success' AND at BETWEEN {from} AND {to}");
    instance.eventually("what was found then", || instance.database.count(&found) >= 2);
    assert_eq!(instance.database.count("alerts"), 0, "nobody is accused");
}

#[test]
fn a_configuration_that_cannot_be_read_ends_no_watch() {
    let instance = Instance::open();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    instance.configure(&tcp("port", listener.local_addr().unwrap().port()));
    let agent = instance.start();
    instance.eventually("it is up", || instance.is_well("port"));
    let whole = std::fs::read(instance.home.path().join("agent.toml")).unwrap();
    std::fs::write(instance.home.path().join("agent.toml"), "[probe.port\nkind =").unwrap();
    agent.signal("-HUP");
    instance.eventually("the log says so", || instance.log().contains("so the old one stays in use"));
    let checkins = || instance.shown("port").map_or(0, |one| one["checkins"].as_i64().unwrap());
    let before = checkins();
    instance.eventually("it goes on", || checkins() > before + 1);
    drop(agent);
    // Started with it, and told by a flag where the server is.
    let mut command = instance.command(&["--server", &instance.server.url(""), "probe"]);
    let log = std::fs::File::create(instance.home.path().join("log")).unwrap();
    let agent = Agent(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    // It hears signals before it says anything.
    instance.eventually("it has started", || !instance.log().is_empty());
    instance.eventually("its own is down", || instance.state("innkeeper-agent") == "down");
    assert!(instance.shown("port").is_some(), "nothing is checked out: {}", instance.log());
    std::fs::write(instance.home.path().join("agent.toml"), whole).unwrap();
    agent.signal("-HUP");
    let before = checkins();
    instance.eventually("it is read again", || checkins() > before);
}

#[test]
fn another_server_gets_the_reservations_too() {
    let mut instance = Instance::open();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    instance.configure(&tcp("port", listener.local_addr().unwrap().port()));
    let agent = instance.start();
    instance.eventually("it is up", || instance.is_well("port"));
    // The same address, and a database of before.
    let address = instance.server.address().to_string();
    instance.server.kill();
    instance.database = TestDatabase::sqlite();
    let config = format!("[ingest]\nlisten = \"{address}\"\nworkers = 1\n");
    instance.server = Server::start("innkeeper", &config, &["--database-url", instance.database.url()]);
    instance.eventually("it is made again", || instance.is_well("port"));
    // Somebody checks it out, though a probe has it.
    let body = json!({"app": "net", "component": "port"});
    assert_eq!(instance.client.post(&instance.server.url("/checkout"), &body).status, 200);
    instance.eventually("it is there again", || instance.is_well("port"));
    // Another address.
    let other = Instance::open();
    instance.configure_for(&other, &tcp("port", listener.local_addr().unwrap().port()));
    agent.signal("-HUP");
    other.eventually("it is made there", || other.is_well("port"));
}

#[test]
fn who_may_only_check_in_is_told_so_and_made_no_owner() {
    let mut instance = Instance::open();
    instance.database = TestDatabase::sqlite();
    let config = "auth = \"tokens\"\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n";
    instance.server = Server::start("innkeeper", config, &["--database-url", instance.database.url()]);
    let token = |scopes: &[&str]| {
        let mut command = innkeeper_testing::process::command("innkeeper", instance.home.path());
        command.args(["token", scopes[0], "--database-url", instance.database.url()]);
        for scope in scopes {
            command.args(["--scope", scope]);
        }
        String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    instance.configure(&tcp("port", listener.local_addr().unwrap().port()));
    let mut command = instance.command(&["probe"]);
    command.env("INNKEEPER_TOKEN", token(&["checkin"]));
    let log = std::fs::File::create(instance.home.path().join("log")).unwrap();
    let agent = Agent(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    instance.eventually("the log says so", || {
        instance.log().contains("the reservation net/port could not be made or changed")
    });
    // It waits, and does not try all the time.
    let ticks = || stat(agent.0.id()).unwrap().cpu_ticks;
    let before = ticks();
    std::thread::sleep(Duration::from_secs(3));
    assert!(ticks() - before < 150, "it was busy for {} of 300 hundredths", ticks() - before);
    // An admin makes it by hand: it is theirs.
    let mut made = instance.command(&["reserve", "net/port", "--every", "1d"]);
    made.env("INNKEEPER_TOKEN", token(&["manage", "checkin"]));
    assert!(made.status().unwrap().success());
    let kept = instance.home.path().join("innkeeper-agent/probes/reservations.json");
    let kept = std::fs::read_to_string(kept).unwrap_or_default();
    assert!(!kept.contains("\"made\":true"), "{kept}");
}

#[test]
fn one_run_for_a_crontab_and_one_to_try() {
    let instance = Instance::open();
    let port = free_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let probes = tcp("minutely", port).replace("1s", "1m") + &tcp("daily", port).replace("1s", "1d");
    instance.configure(&probes);
    let (status, text) = said(&instance.command(&["probe", "--try"]).output().unwrap());
    assert!(status == 0 && text.contains("net/minutely") && text.contains("net/daily"), "{status}: {text}");
    assert!(instance.shown("minutely").is_none(), "nothing is reported");

    let (status, text) = said(&instance.command(&["probe", "--once", "minute"]).output().unwrap());
    assert_eq!((status, text.as_str()), (0, ""), "cron mails what is written");
    assert_eq!(instance.state("minutely"), "up");
    assert_eq!(instance.state("daily"), "new", "its turn has not come");
    let (status, text) = said(&instance.command(&["probe", "--once", "day"]).output().unwrap());
    assert_eq!((status, text.as_str()), (0, ""));
    assert_eq!(instance.state("daily"), "up");

    drop(listener);
    let (status, text) = said(&instance.command(&["probe", "--try"]).output().unwrap());
    assert!(status == 1 && text.contains("CRITICAL"), "{status}: {text}");
    let (status, text) = said(&instance.command(&["probe", "--once", "never"]).output().unwrap());
    assert!(status == 125 && text.contains("minute, hour, day, noon"), "{status}: {text}");
}
