//! Every command line with curl that Innkeeper shows gets through a restart, says nothing on success, and ends.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::eventually;
use innkeeper_http::keys;
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::{PATIENCE, Server, program};
use serde_json::json;

/// The lines of `text` that call curl.
fn calls(text: &str) -> Vec<String> {
    text.lines().filter(|line| line.contains("curl -")).map(str::to_owned).collect()
}

/// Each call of curl in these lines has what it needs; returns how many there are.
fn check(place: &str, lines: &[String]) -> usize {
    let mut count = 0;
    for line in lines {
        for call in line.split("curl -").skip(1) {
            count += 1;
            for option in [" -m ", " --retry ", " --retry-connrefused"] {
                assert!(format!(" -{call}").contains(option), "{place}: no{option} in {line}");
            }
            // What becomes of reports is said of each, so that the answer is read.
            let reports =
                ["/api/v1/checkins", "/reports'", "/reports&"].iter().any(|address| call.contains(address));
            let checks_in =
                !reports && ["/checkin", "/ping/", "$PING"].iter().any(|address| call.contains(address));
            for option in ["fs ", " -o /dev/null", " --retry-max-time "] {
                assert!(!checks_in || call.contains(option), "{place}: no {option} in {line}");
            }
        }
    }
    count
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn every_line_in_documents_and_on_pages_gets_through_a_restart() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = vec![root.join("README.md")];
    for directory in ["docs", "docker", "deploy", "crates/web/templates"] {
        files(&root.join(directory), &mut found);
    }
    let mut count = 0;
    for path in found {
        // Pictures are no text.
        let text = fs::read(&path).unwrap();
        count += check(&path.display().to_string(), &calls(&String::from_utf8_lossy(&text)));
    }
    assert!(count >= 6, "{count} lines: the README alone has more");

    let database = TestDatabase::sqlite();
    let server =
        Server::start("innkeeper", "", &["--listen", "127.0.0.1:0", "--database-url", database.url()]);
    server.address();
    eventually("the whole greeting", || (calls(&server.log()).len() == 3).then_some(()));
    assert_eq!(check("the greeting", &calls(&server.log())), 3);
    let client = Client::default();
    let page = |path: &str| {
        let answer = client.send("GET", &server.url(path), &[("accept", "text/html")], b"").unwrap();
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        calls(&answer.body)
    };
    assert_eq!(check("the empty list", &page("/status")), 2);
    assert!(check("the page of the API", &page("/api")) > 20);
    let spec = json!({ "app": "shop", "component": "backup", "frequency": 5, "time_units": "minutes" });
    assert_eq!(client.post(&server.url("/reservation"), &spec).status, 200);
    let id = database.text("SELECT CAST(id AS TEXT) FROM reservations WHERE app = 'shop'").unwrap();
    assert!(check("the page of a reservation", &page(&format!("/status/{id}"))) >= 5);
}

/// Runs `script`; what it prints.
fn paste(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{script}: {said}");
    said
}

#[test]
fn the_greeting_can_be_pasted_also_where_a_token_is_asked_for() {
    for auth in ["open", "tokens"] {
        let database = TestDatabase::sqlite();
        let server = Server::start(
            "innkeeper",
            &format!("auth = \"{auth}\"\n"),
            &["--listen", "127.0.0.1:0", "--database-url", database.url()],
        );
        server.address();
        eventually("the whole greeting", || (calls(&server.log()).len() == 3).then_some(()));
        let log = server.log();
        let (_, greeting) = log.split_once("Its data is in").unwrap();
        let lines: Vec<&str> = greeting.lines().filter(|line| line.starts_with("  ")).collect();
        let script = lines.join("\n");
        assert!(!log.contains("is open"), "{log}");
        if auth == "tokens" {
            assert!(
                greeting.contains("/setup/") && script.contains("export INNKEEPER_TOKEN=$("),
                "{greeting}"
            );
            let token = "ik_shown";
            database.execute(&format!(
                "INSERT INTO tokens (name, hash, scopes, apps, created_by, created_at)
                 VALUES ('shown', '{}', 'checkin,read,manage', '[]', '', 0)",
                keys::hash(token)
            ));
            let headers = [("accept", "text/html"), ("authorization", &format!("Bearer {token}"))];
            let page = Client::default().send("GET", &server.url("/status"), &headers, b"").unwrap();
            let shown = calls(&page.body);
            let carries = |line: &String| line.contains("Bearer $INNKEEPER_TOKEN");
            assert!(shown.len() == 2 && shown.iter().all(carries), "{shown:?}");
            assert!(page.body.contains("export INNKEEPER_TOKEN=$(innkeeper token "), "{}", page.body);
        }
        let said = paste(&script);
        assert!(said.starts_with("\"OK\"") && said.contains("\"component\":\"backup\""), "{auth}: {said}");
        let counted = database.text(
            "SELECT CAST(checkins AS TEXT) FROM states s JOIN reservations r ON r.id = s.reservation_id WHERE r.app = 'shop'",
        );
        assert_eq!(counted.as_deref(), Some("1"), "{auth}");

        // Once is enough.
        let mut server = server;
        assert!(server.terminate(PATIENCE).success());
        let again = Server::start(
            "innkeeper",
            &format!("auth = \"{auth}\"\n"),
            &["--listen", "127.0.0.1:0", "--database-url", database.url()],
        );
        again.wait_for_log("Its data is in");
        again.wait_for_log("this node is the coordinator now");
        assert_eq!(calls(&again.log()), Vec::<String>::new(), "{auth}");
        // The way in is told until somebody has come by it.
        if auth == "tokens" {
            again.wait_for_log("/setup/");
        }
    }
}

#[test]
fn the_line_for_a_crontab_gets_through_a_restart() {
    let database = TestDatabase::sqlite();
    let over = ["--database-url", database.url()];
    let mut server = Server::start("innkeeper", "", &[&over[..], &["--listen", "127.0.0.1:0"]].concat());
    let (address, url) = (server.address().to_string(), server.url(""));
    let client = Client::default();
    let spec = json!({ "app": "shop", "component": "backup", "frequency": 5, "time_units": "minutes" });
    assert_eq!(client.post(&server.url("/reservation"), &spec).status, 200);
    let key = database.text("SELECT key FROM reservations WHERE app = 'shop'").unwrap();
    let id = database.text("SELECT CAST(id AS TEXT) FROM reservations WHERE app = 'shop'").unwrap();
    let page =
        client.send("GET", &server.url(&format!("/status/{id}")), &[("accept", "text/html")], b"").unwrap();
    let line = page.body.lines().find(|line| line.contains("/usr/local/bin/job") && line.contains("curl -"));
    let (_, options) = line.unwrap().split_once("curl -").unwrap();
    // The public address has the port that was configured.
    let (options, _) = options.rsplit_once(' ').unwrap();
    let line = format!("curl -{options} {url}/ping/{key}");

    assert!(server.terminate(PATIENCE).success());
    let job = Command::new("sh")
        .args(["-c", &line])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It is refused at least once before ingest accepts again.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let _again = Server::start("innkeeper", "", &[&over[..], &["--listen", &address]].concat());
    let output = job.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{line}: {} {said:?}", output.status);
    let counted = || {
        database.text("SELECT CAST(checkins AS TEXT) FROM states s JOIN reservations r ON r.id = s.reservation_id WHERE r.app = 'shop'")
    };
    eventually("the check-in is there", || (counted()? == "1").then_some(()));
}

#[test]
fn the_line_for_the_agent_reports_start_end_and_figures() {
    let database = TestDatabase::sqlite();
    let server =
        Server::start("innkeeper", "", &["--listen", "127.0.0.1:0", "--database-url", database.url()]);
    let client = Client::default();
    let spec = json!({ "app": "shop", "component": "backup", "frequency": 5, "time_units": "minutes" });
    assert_eq!(client.post(&server.url("/reservation"), &spec).status, 200);
    let (key, id) = (
        database.text("SELECT key FROM reservations WHERE app = 'shop'").unwrap(),
        database.text("SELECT CAST(id AS TEXT) FROM reservations WHERE app = 'shop'").unwrap(),
    );
    let page =
        client.send("GET", &server.url(&format!("/status/{id}")), &[("accept", "text/html")], b"").unwrap();
    let line = page.body.lines().find(|line| line.contains("innkeeper-agent exec")).unwrap();
    let (_, line) = line.split_once("/usr/local/bin/innkeeper-agent ").unwrap();
    let line = line.replace("</pre>", "");
    let (options, job) = line.split_once(" -- ").unwrap();
    assert_eq!(job.trim(), "/usr/local/bin/job");
    // The public address has the port that was configured.
    let ping = options.split_whitespace().last().unwrap();
    assert!(ping.ends_with(&format!("/ping/{key}")), "{line}");
    let options = options.replace(ping, &format!("{}/ping/{key}", server.url("")));

    let state = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args([
            "-c",
            &format!("{} {options} -- echo '::figure rows=3'", program("innkeeper-agent").display()),
        ])
        .env("XDG_STATE_HOME", state.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "::figure rows=3\n");
    let kinds =
        || database.text("SELECT group_concat(kind || ' ' || COALESCE(figures, ''), ', ') FROM checkins");
    eventually("start and end are there", || (kinds()? == "start , success {\"rows\":3}").then_some(()));
}
