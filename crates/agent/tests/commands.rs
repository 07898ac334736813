//! The commands for people and scripts against a real server: their effects, their output and their exit statuses.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::{self, PATIENCE, Server};
use serde_json::Value;
use tempfile::TempDir;

/// A running instance and a home for the commands.
struct Instance {
    server: Server,
    database: TestDatabase,
    home: TempDir,
    token: String,
}

impl Instance {
    fn open(auth: &str) -> Self {
        let database = TestDatabase::sqlite();
        let config = format!("auth = \"{auth}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n");
        let server = Server::start("innkeeper", &config, &["--database-url", database.url()]);
        Self { server, database, home: TempDir::new().unwrap(), token: String::new() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_innkeeper-agent"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("XDG_STATE_HOME", self.home.path())
            .env("TZ", "UTC")
            .env("INNKEEPER_SERVER", self.server.url(""))
            .env("INNKEEPER_TOKEN", &self.token);
        command
    }

    /// Its exit status and all of its output.
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        said(&self.command(arguments).output().unwrap())
    }

    fn done(&self, arguments: &[&str]) -> String {
        let (status, text) = self.run(arguments);
        assert_eq!(status, 0, "{arguments:?}: {text}");
        text
    }

    fn shown(&self, job: &str) -> Value {
        serde_json::from_str(&self.done(&["show", job, "--json"])).unwrap()
    }
}

fn said(output: &Output) -> (i32, String) {
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text.into_owned())
}

#[test]
fn a_job_from_its_reservation_to_its_checkout() {
    let instance = Instance::open("open");
    let nobody = "innkeeper-agent: there is no reservation shop/backup\n".to_owned();
    assert_eq!(instance.run(&["show", "shop/backup"]), (4, nobody));
    let (status, problem) = instance.run(&["reserve", "shop/backup", "--owner", "ada"]);
    assert!(status == 2 && problem.contains("--every"), "{status}: {problem}");
    instance.done(&[
        "reserve",
        "shop/backup",
        "--cron",
        "0 2 * * *",
        "--tz",
        "Europe/Berlin",
        "--grace",
        "30m",
    ]);
    instance.done(&["reserve", "shop/backup", "--owner", "ada", "--tag", "night"]);
    let one = instance.shown("shop/backup");
    assert_eq!((&one["owner"], &one["grace"], &one["state"]), (&"ada".into(), &"30m".into(), &"new".into()));
    assert_eq!(one["time_zone"], "Europe/Berlin", "what was not named stays");

    instance.done(&["checkin", "shop/backup", "--notes", "all of it"]);
    let shown = instance.done(&["show", "shop/backup"]);
    assert!(shown.contains("state          up\n") && shown.contains("owner          ada\n"), "{shown}");
    let notes = instance.database.texts("SELECT notes FROM checkins");
    assert_eq!(notes, ["all of it"]);
    // A part of another's name is not that name.
    instance.done(&["reserve", "shop/backup2", "--every", "90s"]);
    assert_eq!(instance.run(&["show", "shop/back"]).0, 4);
    instance.done(&["checkin", "shop/backup2", "--signal", "SIGKILL"]);
    let ending = "SELECT signal || ' ' || exit_code FROM checkins WHERE signal IS NOT NULL";
    assert_eq!(instance.database.texts(ending), ["SIGKILL 137"]);
    assert_eq!(instance.run(&["checkin", "shop/backup2", "--start", "--signal", "SIGKILL"]).0, 125);
    assert_eq!(instance.run(&["checkin", "shop/backup2", "--signal", "9 lives"]).0, 2);

    instance.done(&["checkin", "shop/backup", "--exit-status", "3"]);
    let until = Instant::now() + PATIENCE;
    while instance.run(&["show", "shop/backup"]).0 != 1 {
        assert!(Instant::now() < until, "it is never down");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (status, shown) = instance.run(&["show", "shop/backup", "--wait", "--timeout", "1s"]);
    assert!(status == 1 && shown.contains("exit status 3"), "{status}: {shown}");
    let listed = instance.done(&["list"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].starts_with("JOB") && lines[1].starts_with("shop/backup   down"), "{listed}");
    assert!(!instance.done(&["list", "--state", "new"]).contains("shop/backup "));
    assert_eq!(instance.run(&["list", "--state", "sad"]).0, 2);
    // Somebody waits for it, and it comes back.
    let waiting = instance.command(&["show", "shop/backup", "--wait"]).spawn().unwrap();
    instance.done(&["checkin", "shop/backup"]);
    assert!(waiting.wait_with_output().unwrap().status.success());

    instance.done(&["snooze", "shop/backup", "2h", "--skip"]);
    let one = instance.shown("shop/backup");
    assert_eq!((&one["state"], &one["snooze_mode"]), (&"snoozed".into(), &"skip".into()));
    assert_eq!(instance.run(&["snooze", "shop/backup", "soon"]).0, 2);
    instance.done(&["resume", "shop/backup"]);
    assert!(instance.done(&["show", "shop/backup"]).contains("state          up\n"));
    instance.done(&["checkout", "shop/backup"]);
    assert_eq!(instance.run(&["checkin", "shop/backup"]).0, 4);
    assert_eq!(instance.run(&["checkout", "shop/backup"]).0, 4);
}

#[test]
fn a_set_lies_in_a_file() {
    let instance = Instance::open("open");
    let file = instance.home.path().join("set.toml");
    let set = "[[reservations]]\napp = \"shop\"\ncomponent = \"a\"\nfrequency = 5\ntime_units = \"minutes\"\n\
               [[reservations]]\napp = \"shop\"\ncomponent = \"b\"\ncron = \"0 2 * * *\"\n";
    std::fs::write(&file, set).unwrap();
    let path = file.to_str().unwrap();
    let made = "+ shop/a\n+ shop/b\nwould be: 2 made, 0 changed, 0 checked out, 0 as they were\n";
    assert_eq!(instance.run(&["apply", path, "--dry-run"]), (1, made.to_owned()));
    instance.done(&["apply", path]);
    let same = "would be: 0 made, 0 changed, 0 checked out, 2 as they were\n";
    assert_eq!(instance.done(&["apply", path, "--dry-run"]), same);
    std::fs::write(&file, set.replace("frequency = 5", "frequency = 6")).unwrap();
    let (_, text) = instance.run(&["apply", path, "--dry-run"]);
    assert!(text.starts_with("~ shop/a\n    ") && text.contains("-> "), "{text}");
    for export in [&["export", "--json"][..], &["export", "--app", "shop"]] {
        let exported = instance.done(export);
        std::fs::write(&file, exported).unwrap();
        assert_eq!(instance.done(&["apply", path, "--prune", "--app", "shop", "--dry-run"]), same);
    }
    std::fs::write(&file, "[[reservations]]\napp = 7\n").unwrap();
    assert_eq!(instance.run(&["apply", path]).0, 2);
    let (status, problem) = instance.run(&["apply", "/nowhere.toml"]);
    assert!(status == 2 && problem.contains("/nowhere.toml"), "{problem}");
}

#[test]
fn a_status_says_who_is_to_do_something() {
    let mut instance = Instance::open("tokens");
    let (status, problem) = instance.run(&["list"]);
    assert_eq!(status, 5, "{problem}");
    let made = process::command("innkeeper", instance.home.path())
        .args(["token", "agent", "--scope", "checkin", "--database-url", instance.database.url()])
        .output()
        .unwrap();
    instance.token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let (status, problem) = instance.run(&["reserve", "shop/backup", "--every", "1d"]);
    assert!(status == 5 && problem.contains("manage"), "{problem}");
    assert_eq!(instance.run(&["checkin", "shop/backup"]).0, 4);
    // A person's configuration must be right.
    let directory = instance.home.path().join(".config/innkeeper");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("agent.toml"), "tokn = \"x\"\n").unwrap();
    let (status, problem) = instance.run(&["list"]);
    assert!(status == 2 && problem.contains("agent.toml:1") && problem.contains("token"), "{problem}");
}

#[test]
fn a_check_in_of_a_server_that_is_away_is_kept() {
    let instance = Instance::open("open");
    instance.done(&["reserve", "shop/backup", "--every", "1d"]);
    let away = |arguments: &[&str]| {
        let mut command = instance.command(arguments);
        command.env("INNKEEPER_SERVER", "http://127.0.0.1:9");
        said(&command.output().unwrap())
    };
    assert_eq!(away(&["list"]).0, 75);
    let (status, problem) = away(&["checkin", "shop/backup"]);
    assert!(status == 75 && problem.contains("is kept"), "{problem}");
    instance.done(&["flush"]);
    let answer = Client::default().get(&instance.server.url("/api/v1/reservations?app=shop"));
    assert_eq!(answer.json()["reservations"][0]["checkins"], 1, "{answer:?}");
}

#[test]
fn what_a_machine_has_is_watched_and_given_back() {
    let instance = Instance::open("open");
    let root = TempDir::new().unwrap();
    let table = root.path().join("etc/crontab");
    std::fs::create_dir_all(root.path().join("etc")).unwrap();
    let before = "SHELL=/bin/sh\n# nightly\n0 2 * * *\troot\t/usr/local/bin/backup --all 2>&1 | logger\n";
    std::fs::write(&table, before).unwrap();
    std::fs::write(root.path().join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    let discover = |more: &[&str]| {
        let root = ["discover", "--app", "host", "--root", root.path().to_str().unwrap()];
        instance.run(&[&root[..], more].concat())
    };
    let (status, shown) = discover(&[]);
    assert!(status == 0 && shown.contains("/usr/local/bin/backup"), "{status}: {shown}");
    let (status, diff) = discover(&["--diff"]);
    assert!(status == 0 && diff.contains("-0 2 * * *") && diff.contains("+0 2 * * *"), "{diff}");
    assert_eq!(std::fs::read_to_string(&table).unwrap(), before, "nothing is changed yet");

    // Cron's jobs do not have this environment.
    let (status, said) = discover(&["--apply"]);
    assert!(status == 2 && said.contains("agent.toml"), "{said}");
    assert_eq!(std::fs::read_to_string(&table).unwrap(), before);
    let directory = instance.home.path().join(".config/innkeeper");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("agent.toml"), format!("server = \"{}\"\n", instance.server.url("")))
        .unwrap();
    let (status, said) = discover(&["--apply"]);
    assert!(status == 0 && said.contains("+0 2 * * *"), "{said}");
    let changed = std::fs::read_to_string(&table).unwrap();
    assert!(
        changed.contains("innkeeper-agent") && changed.starts_with("SHELL=/bin/sh\n# nightly\n"),
        "{changed}"
    );
    let listed = instance.done(&["list", "--app", "host"]);
    assert!(listed.contains("host/backup") && listed.contains("0 2 * * *"), "{listed}");
    let (status, said) = discover(&["--apply"]);
    assert_eq!((status, said.trim()), (0, "there is nothing to change"));
    assert_eq!(std::fs::read_to_string(&table).unwrap(), changed);
    let (_, shown) = discover(&["--json"]);
    let json: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(json["diff"], "");

    let (status, said) = discover(&["--undo"]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(std::fs::read_to_string(&table).unwrap(), before);
    assert_eq!(discover(&["--undo"]).0, 0);
}
