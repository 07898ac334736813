//! What lines of the log look like: for people, for systemd's journal, and as JSON.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use innkeeper_testing::client::Client;
use innkeeper_testing::process::{PATIENCE, command};
use serde_json::{Value, json};
use tempfile::TempDir;

const CONFIG: &str = "operator = [\"log\"]\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n";

/// A standalone process whose standard error is a file.
struct Inn {
    child: Child,
    directory: TempDir,
}

impl Inn {
    /// `stream` gives `JOURNAL_STREAM` for the file.
    fn start(config: &str, stream: impl Fn(&Path) -> Option<String>, variables: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("innkeeper.toml"), config).unwrap();
        let path = directory.path().join("log");
        let log = File::create(&path).unwrap();
        let mut command = command("innkeeper", directory.path());
        command.env_remove("JOURNAL_STREAM").envs(variables.iter().copied());
        if let Some(stream) = stream(&path) {
            command.env("JOURNAL_STREAM", stream);
        }
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { child, directory }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    fn wait_for(&self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            if log.contains(text) {
                return log;
            }
            assert!(Instant::now() < end, "{text} does not come: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Lets a job go down.
    fn go_down(&self) -> String {
        let log = self.wait_for("listening on http://");
        let url = log.split_once("listening on ").unwrap().1;
        let url = url.split(|c: char| c.is_whitespace() || c == '"').next().unwrap().trim_end_matches('/');
        let job = json!({
            "app": "shop", "component": "canary", "notify": "", "frequency": 1, "time_units": "seconds"
        });
        assert_eq!(Client::default().post(&format!("{url}/reservation"), &job).status, 200);
        self.wait_for("DOWN shop/canary")
    }
}

impl Drop for Inn {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn of_file(path: &Path) -> Option<String> {
    let own = fs::metadata(path).unwrap();
    Some(format!("{}:{}", own.dev(), own.ino()))
}

#[test]
fn the_journal_gets_priorities_and_no_second_time() {
    let inn = Inn::start(CONFIG, of_file, &[]);
    let log = inn.go_down();
    for line in log.lines() {
        let (priority, rest) = line.strip_prefix('<').unwrap().split_once('>').unwrap();
        assert!(["3", "4", "6"].contains(&priority), "{line}");
        assert!(rest.contains(": ") && !rest.starts_with("20"), "{line}");
    }
    let down = log.lines().find(|line| line.contains("DOWN shop/canary")).unwrap();
    assert!(down.starts_with("<4>") && down.contains(" delivery="), "{down}");
}

#[test]
fn a_stream_that_leads_elsewhere_gets_plain_lines() {
    for stream in ["8:1", "", "no:numbers"] {
        let inn = Inn::start(CONFIG, |_| Some(stream.to_owned()), &[]);
        let log = inn.wait_for("listening on http://");
        assert!(log.starts_with("20") && log.lines().next().unwrap().contains("Z INFO  "), "{stream}: {log}");
    }
}

#[test]
fn json_is_one_object_a_line() {
    let inn = Inn::start(&format!("log_format = \"json\"\n{CONFIG}"), |_| None, &[]);
    let log = inn.go_down();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        for key in ["time", "level", "target", "message"] {
            assert!(line[key].is_string(), "{key}: {line}");
        }
    }
    let is_down = |line: &&Value| line["message"].as_str().unwrap().contains("DOWN shop/canary");
    let down = lines.iter().find(is_down).unwrap();
    assert_eq!(down["level"], "warn");
    assert!(down["delivery"].is_u64(), "{down}");
}

#[test]
fn what_a_process_ends_with_is_json_too() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = CONFIG.replace("127.0.0.1:0", &taken.local_addr().unwrap().to_string());
    let mut inn = Inn::start(&config, |_| None, &[("INNKEEPER_LOG_FORMAT", "json")]);
    assert_eq!(inn.child.wait().unwrap().code(), Some(1));
    let log = inn.log();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "error", "{log}");
    assert!(log.contains("Address already in use"), "{log}");
    log.lines().for_each(|line| drop(serde_json::from_str::<Value>(line).unwrap()));
}

#[test]
fn an_unknown_format_is_refused() {
    let mut inn = Inn::start(CONFIG, |_| None, &[("INNKEEPER_LOG_FORMAT", "xml")]);
    assert_eq!(inn.child.wait().unwrap().code(), Some(1));
    let log = inn.log();
    assert!(log.contains("INNKEEPER_LOG_FORMAT") && log.contains("write \"text\" or \"json\""), "{log}");
}
