//! The agent with a real Innkeeper.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::inn::Inn;
use common::{Home, nobody, ran, wait_for};
use innkeeper_testing::certificates::Authority;
use innkeeper_testing::http_sink::{HttpSink, SinkResponse};
use innkeeper_testing::process;
use serde_json::json;

#[test]
fn a_run_makes_its_reservation_and_is_in_its_history() {
    let (home, inn) = (Home::new(), Inn::open(""));
    let job = [
        "shop/backup",
        "--every",
        "1d",
        "--grace",
        "1h",
        "--max-run",
        "2h",
        "--",
        "sh",
        "-c",
        "echo 12 files; exit 3",
    ];
    let (status, out, err) = ran(&mut home.exec(&inn.url(), &job));
    assert_eq!((status, out.as_str(), err.as_str()), (Some(3), "12 files\n", ""), "{}", home.log());
    assert_eq!(inn.kinds("backup"), ["start", "fail"], "{}", home.log());
    let reservation = inn.reservation("backup");
    assert_eq!(
        json!([
            reservation["frequency"],
            reservation["time_units"],
            reservation["grace"],
            reservation["max_run"]
        ]),
        json!([1, "days", "1h", "2h"])
    );
    let newest = inn.history("backup").remove(0);
    assert!(newest.to_string().contains("12 files"), "{newest}");
    assert_eq!(home.spooled(), 0);

    // What a person changed stays, also what the command line names, until that changes.
    let id = reservation["id"].clone();
    let patch = json!({"grace": "3h", "description": "by hand"}).to_string();
    let headers = [("if-match", "*"), ("content-type", "application/merge-patch+json")];
    let path = inn.server.url(&format!("/api/v1/reservations/{id}"));
    assert_eq!(inn.client.send("PATCH", &path, &headers, patch.as_bytes()).unwrap().status, 200);
    ran(&mut home.exec(&inn.url(), &job));
    assert_eq!(inn.reservation("backup")["grace"], "3h");
    ran(&mut home.exec(&inn.url(), &["shop/backup", "--every", "1d", "--grace", "2h", "--", "true"]));
    let reservation = inn.reservation("backup");
    assert_eq!((&reservation["grace"], &reservation["description"]), (&"2h".into(), &"by hand".into()));
    assert_eq!(inn.kinds("backup"), ["start", "fail", "start", "fail", "start", "success"]);
}

#[test]
fn signals_of_the_run_are_taken() {
    let (home, inn) = (Home::new(), Inn::open(""));
    for (component, script, code) in
        [("term", "kill -TERM $$", 143), ("real", "kill -37 $$", 165), ("none", "exec /no/such/program", 127)]
    {
        let name = format!("shop/{component}");
        let (status, ..) =
            ran(&mut home.exec(&inn.url(), &[&name, "--every", "1d", "--", "sh", "-c", script]));
        assert_eq!(status, Some(code));
        assert_eq!(home.spooled(), 0, "{}", home.log());
        assert_eq!(inn.kinds(component), ["start", "fail"], "{}", home.log());
    }
    assert_eq!(home.spooled(), 0, "{}", home.log());
}

#[test]
fn what_waited_during_an_outage_comes_in_order_and_once() {
    let (home, inn) = (Home::new(), Inn::open(""));
    for n in 0..5 {
        let script = format!("exit {}", n % 2);
        ran(&mut home.exec(&nobody(), &["shop/backup", "--every", "1d", "--", "sh", "-c", &script]));
    }
    assert_eq!(home.spooled(), 5);
    for _ in 0..2 {
        let (status, _, err) = ran(home.agent(&["flush"]).env("INNKEEPER_SERVER", inn.url()));
        assert_eq!(status, Some(0), "{err}");
    }
    let wanted = ["start", "success", "start", "fail"].repeat(3);
    assert_eq!(inn.kinds("backup"), wanted[..10], "{}", home.log());
    assert_eq!(home.spooled(), 0);
}

#[test]
fn many_agents_after_a_restart_lose_and_double_nothing() {
    let (home, inn) = (Home::new(), Inn::open(""));
    ran(&mut home.exec(&inn.url(), &["shop/many", "--every", "1d", "--", "true"]));
    for _ in 0..10 {
        ran(&mut home.exec(&nobody(), &["shop/many", "--", "true"]));
    }
    let many: Vec<_> = (0..20)
        .map(|_| {
            let mut command = home.exec(&inn.url(), &["shop/many", "--", "true"]);
            command.env("INNKEEPER_EXEC_MAX_DELAY", "1m").spawn().unwrap()
        })
        .collect();
    for agent in many {
        assert!(agent.wait_with_output().unwrap().status.success());
    }
    ran(home.agent(&["flush"]).env("INNKEEPER_SERVER", inn.url()));
    let kinds = inn.kinds("many");
    let count = |kind: &str| kinds.iter().filter(|one| *one == kind).count();
    assert_eq!((count("start"), count("success"), home.spooled()), (31, 31, 0), "{}", home.log());
}

#[test]
fn a_token_is_needed_where_the_instance_asks_for_one() {
    let (home, inn) = (Home::new(), Inn::open("auth = \"tokens\"\n"));
    let token = |name: &str, scopes: &[&str]| {
        let mut command = process::command("innkeeper", inn.server.directory());
        command.args(["--database-url", inn.database.url(), "token", name]);
        for scope in scopes {
            command.args(["--scope", scope]);
        }
        let (status, out, err) =
            ran(command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()));
        assert_eq!(status, Some(0), "{err}");
        out.trim().to_owned()
    };
    let job = ["shop/backup", "--every", "1d", "--", "false"];
    // Without one nothing gets through, and nothing is lost.
    assert_eq!(ran(&mut home.exec(&inn.url(), &job)).0, Some(1));
    assert_eq!(home.spooled(), 1);
    assert!(home.log().contains("refused with 401"), "{}", home.log());
    let file = home.file("token", &token("agent", &["checkin", "manage"]));
    let flushed =
        ran(home.agent(&["flush"]).env("INNKEEPER_SERVER", inn.url()).env("INNKEEPER_TOKEN_FILE", &file));
    assert_eq!(flushed.0, Some(0), "{}", flushed.2);
    let read = token("reader", &["read"]);
    let bearer = format!("Bearer {read}");
    let headers = [("authorization", bearer.as_str())];
    let list =
        || inn.client.send("GET", &inn.server.url("/api/v1/reservations"), &headers, b"").unwrap().json();
    wait_for("the reservation", || list()["reservations"][0]["component"] == "backup");
    let page = list();
    let reservation = &page["reservations"][0];

    // The address is a secret of its own, and enough.
    let checkin = token("jobs", &["checkin", "read"]);
    let bearer = format!("Bearer {checkin}");
    let headers = [("authorization", bearer.as_str())];
    let page = inn.client.send("GET", &inn.server.url("/api/v1/reservations"), &headers, b"").unwrap().json();
    let key = page["reservations"][0]["ping_key"].as_str().map(str::to_owned);
    let url = page["reservations"][0]["ping_url"].as_str().map(str::to_owned);
    let ping = url.map(|url| inn.server.url(&url[url.find("/ping/").unwrap()..])).or(key).unwrap();
    assert_eq!(ran(&mut home.agent(&["exec", "--ping", &ping, "--", "true"])).0, Some(0));
    assert_eq!(home.spooled(), 0, "{}", home.log());
    let id = reservation["id"].clone();
    let history = inn.server.url(&format!("/api/v1/reservations/{id}/check-ins"));
    let history = inn.client.send("GET", &history, &headers, b"").unwrap().json();
    assert_eq!(history["checkins"].as_array().unwrap().len(), 4, "{history}");
}

#[test]
fn over_tls_the_certificate_is_checked() {
    let home = Home::new();
    let authority = Authority::new();
    let sink = HttpSink::start_tls(authority.server(&["127.0.0.1"]));
    sink.otherwise(SinkResponse::status(200).body(r#"{"reports": [{"status": "recorded"}]}"#));
    let ca = home.file("ca.pem", &authority.pem());
    // Not one of the authorities of this system.
    ran(&mut home.exec(&sink.url(""), &["a/b", "--", "true"]));
    assert!(sink.requests().is_empty());
    assert!(home.log().contains("cannot be reached"), "{}", home.log());
    ran(home
        .exec(&sink.url(""), &["a/c", "--", "true"])
        .env("INNKEEPER_CA_FILE", &ca)
        .env("INNKEEPER_TOKEN", "hush"));
    let came = sink.requests();
    assert!(!came.is_empty(), "{}", home.log());
    assert!(came.iter().all(|one| one.header("authorization") == Some("Bearer hush")));
}

#[test]
fn the_commands_of_the_guide_work() {
    let guide = include_str!("../../../docs/AGENT.md");
    let (home, inn) = (Home::new(), Inn::open(""));
    let lines: Vec<&str> =
        guide.lines().filter_map(|line| line.strip_prefix("    innkeeper-agent ")).collect();
    assert!(lines.len() >= 3, "{lines:?}");
    for line in lines {
        let mut command = std::process::Command::new("bash");
        let script = format!("exec {} {line}", env!("CARGO_BIN_EXE_innkeeper-agent"));
        home.clean(&mut command);
        command.args(["-c", &script]).current_dir(home.path()).env("INNKEEPER_SERVER", inn.url());
        let (status, out, err) = ran(&mut command);
        assert_eq!((status, err.as_str()), (Some(0), ""), "{line}: {out}");
    }
    assert_eq!(inn.kinds("backup"), ["start", "success"]);
    let example: String = guide
        .lines()
        .skip_while(|line| !line.contains("server = \""))
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    let config = home.file("example.toml", &example.replace("token_file = ", "token = "));
    std::fs::set_permissions(&config, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (status, out, _) = ran(&mut home.agent(&["--config", config.to_str().unwrap(), "status"]));
    assert!(status == Some(0) && out.contains("https://innkeeper.example.org"), "{out}");
}

#[test]
fn the_agents_variables_are_no_settings_of_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = process::command("innkeeper", directory.path());
    command.arg("check-config").stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    for name in ["SERVER", "TOKEN", "TOKEN_FILE", "CA_FILE", "PROXY", "EXEC_MAX_DELAY", "RUN"] {
        command.env(format!("INNKEEPER_{name}"), "x");
    }
    let (status, out, err) = ran(&mut command);
    assert_eq!(status, Some(0), "{out}{err}");
}
