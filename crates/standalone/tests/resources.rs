//! A process that lacks a resource continues with the rest: readers of its log, file descriptors.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::io::{Read as _, Write as _, pipe};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{eventually, webhook};
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::process::{PATIENCE, command};
use serde_json::json;
use tempfile::TempDir;

const ASK: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: innkeeper\r\n\r\n";

/// A process whose output nobody follows; killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where a node of `database` listens, from what it has recorded of itself.
fn listening(database: &TestDatabase) -> SocketAddr {
    eventually("a node listens", || database.text("SELECT address FROM nodes WHERE address <> ''"))
        .parse()
        .unwrap()
}

/// A pipe that is full, and stays so: its write end.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, writer) = pipe().unwrap();
    let mut filling = writer.try_clone().unwrap();
    // It is blocked as long as the reader lives.
    std::thread::spawn(move || while filling.write_all(&[b'.'; 4096]).is_ok() {});
    std::thread::sleep(Duration::from_millis(300));
    (reader, writer)
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let database = TestDatabase::sqlite();
    database.store();
    let directory = TempDir::new().unwrap();
    let ((_errors, stderr), (_output, stdout)) = (full_pipe(), full_pipe());
    let mut process = Process(
        command("innkeeper", directory.path())
            .args(["--listen", "127.0.0.1:0", "--database-url", database.url()])
            .env("INNKEEPER_LOG", "trace")
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap(),
    );
    let address = listening(&database);
    let client = Client::default();
    let beat = || database.text("SELECT CAST(beat_at AS TEXT) FROM nodes").unwrap().parse::<i64>().unwrap();
    let before = beat();
    for job in 0..300 {
        let path = format!("http://{address}/checkin?job={job}");
        // There is none; at this level each is logged.
        client.post(&path, &json!({ "app": "shop", "component": "none" }));
    }
    let reserved = client.post(
        &format!("http://{address}/reservation"),
        &json!({ "app": "shop", "component": "backup", "frequency": 5, "time_units": "minutes" }),
    );
    assert_eq!(reserved.status, 200, "{reserved:?}");
    let checked_in =
        client.post(&format!("http://{address}/checkin"), &json!({ "app": "shop", "component": "backup" }));
    assert_eq!(checked_in.status, 200, "{checked_in:?}");
    eventually("the heartbeat goes on beating", || (beat() > before).then_some(()));

    assert!(Command::new("kill").arg(process.0.id().to_string()).status().unwrap().success());
    let status = eventually("SIGTERM ends it", || process.0.try_wait().unwrap());
    assert!(status.success(), "{status}");
    assert_eq!(database.count("nodes WHERE goodbye_at IS NOT NULL"), 1, "it ended in order");
}

/// A process that may have 300 files open.
fn with_few_descriptors(directory: &TempDir, database: &TestDatabase, log: Stdio) -> Process {
    let bare = command("innkeeper", directory.path());
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n 300 && exec \"$@\"", "sh"])
        .arg(bare.get_program())
        .args(["--listen", "127.0.0.1:0", "--database-url", database.url()])
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .stderr(log);
    for (name, value) in bare.get_envs().filter(|(_, value)| value.is_none()) {
        assert_eq!(value, None);
        limited.env_remove(name);
    }
    Process(limited.spawn().unwrap())
}

#[test]
fn connections_that_never_rest_leave_everybody_a_turn() {
    let database = TestDatabase::sqlite();
    database.store();
    let directory = TempDir::new().unwrap();
    let log = directory.path().join("log");
    let _process = with_few_descriptors(&directory, &database, std::fs::File::create(&log).unwrap().into());
    let address = listening(&database);
    let over = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..300)
        .map(|_| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let Ok(mut stream) = TcpStream::connect(address) else { continue };
                    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
                    let mut answer = [0; 4096];
                    while !over.load(Ordering::Relaxed) && stream.write_all(ASK).is_ok() {
                        match stream.read(&mut answer) {
                            Ok(0) => break,
                            _ => std::thread::sleep(Duration::from_millis(700)),
                        }
                    }
                }
            })
        })
        .collect();
    let said = || std::fs::read_to_string(&log).unwrap();
    eventually("the log says that there are too many", || {
        said().contains("connections are taken").then_some(())
    });
    for turn in 0..5 {
        let asked = Instant::now();
        let answer = Client::new(Duration::from_secs(10)).get(&format!("http://{address}/healthz"));
        assert_eq!(answer.status, 200, "{answer:?}");
        println!("turn {turn}: {:?}", asked.elapsed());
    }
    over.store(true, Ordering::Relaxed);
    busy.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(said().matches("connections are taken").count(), 1, "{}", said());
}

#[test]
fn connections_that_say_nothing_keep_out_neither_check_ins_nor_alerts() {
    let sink = HttpSink::start();
    let database = TestDatabase::sqlite();
    database.store();
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("innkeeper.toml"), webhook("hook", &sink)).unwrap();
    let _process = with_few_descriptors(&directory, &database, Stdio::null());
    let address = listening(&database);
    // A connection of its own for each request, as curl has.
    let post = |path: &str, body: serde_json::Value| {
        let client = Client::new(PATIENCE);
        let answer = client.post(&format!("http://{address}{path}"), &body);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    };
    for component in ["well", "silent"] {
        post(
            "/reservation",
            json!({ "app": "shop", "component": component, "frequency": 1, "time_units": "hours", "notify": "hook" }),
        );
    }
    let idle: Vec<TcpStream> = (0..400).map(|_| TcpStream::connect(address).unwrap()).collect();
    database.age(Duration::from_secs(3500));
    let asked = Instant::now();
    post("/checkin", json!({ "app": "shop", "component": "well" }));
    println!("answered in {:?} among {} idle connections", asked.elapsed(), idle.len());
    database.age(Duration::from_secs(3500));
    let told = sink.wait_for(1, PATIENCE);
    assert_eq!(told[0].json()["alert"]["component"], "silent", "{told:?}");
}

#[test]
fn the_limit_of_descriptors_is_raised() {
    let database = TestDatabase::sqlite();
    database.store();
    let directory = TempDir::new().unwrap();
    let program = command("innkeeper", directory.path());
    let process = Process(
        Command::new("sh")
            .args(["-c", "ulimit -Sn 256 && exec \"$@\"", "sh"])
            .arg(program.get_program())
            .args(["--listen", "127.0.0.1:0", "--database-url", database.url()])
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    listening(&database);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.0.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = line.split_whitespace().skip(3).take(2).collect::<Vec<_>>()[..] else {
        panic!("{line}")
    };
    assert!(soft == hard && soft != "256", "{line}");
}
