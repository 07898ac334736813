//! Figures, and warnings about reservations, between the agent and a real Innkeeper.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::inn::Inn;
use common::{Home, nobody, nobody_yet, ran, wait_for};
use serde_json::{Value, json};

/// Runs a command of the agent.
fn person(home: &Home, inn: &Inn, arguments: &[&str]) -> (Option<i32>, String, String) {
    ran(home.agent(arguments).env("INNKEEPER_SERVER", inn.url()))
}

/// Waits until the job is down, or up again, and returns the reason.
fn once(inn: &Inn, component: &str, state: &str) -> String {
    wait_for("the sweeper has looked", || inn.reservation(component)["state"] == state);
    inn.reservation(component)["reason"].as_str().unwrap_or_default().to_owned()
}

/// The figures of the check-ins that carried any, oldest first.
fn brought(inn: &Inn, component: &str) -> Vec<Value> {
    let newest_first = inn.history(component).into_iter();
    let figures = newest_first.map(|one| one["figures"].clone());
    figures.filter(|all| all.as_object().is_some_and(|all| !all.is_empty())).rev().collect()
}

#[test]
fn a_job_that_did_nothing_is_told_as_down_with_the_reason() {
    let (home, inn) = (Home::new(), Inn::open(""));
    let exec = |script: &str| {
        let options = ["shop/import", "--every", "1d", "--expect", "rows > 0"];
        let more = ["--expect", "bytes>=0.5*median(10)", "--", "sh", "-c", script];
        let ended = ran(&mut home.exec(&inn.url(), &[&options[..], &more].concat()));
        assert_eq!((ended.0, home.spooled()), (Some(0), 0), "{}", home.log());
    };
    exec("echo ::figure rows=1200; echo ::figure bytes=5e6 >&2");
    assert_eq!(inn.kinds("import"), ["start", "success"]);
    let made = inn.reservation("import");
    assert_eq!(
        (&made["expect"], &made["frequency"]),
        (&json!(["rows > 0", "bytes >= 0.5 * median(10)"]), &json!(1))
    );
    assert_eq!(person(&home, &inn, &["reserve", "shop/import", "--notify", "log"]).0, Some(0));
    let (status, out, _) = person(&home, &inn, &["show", "shop/import"]);
    let wanted = "last figures   bytes=5000000, rows=1200\n\
                  expects        rows > 0: holds\n               bytes >= 0.5 * median(10): passes: its median";
    assert!(status == Some(0) && out.contains(wanted), "{out}");

    exec("echo ::figure rows=0; echo ::figure bytes=5000000");
    let why = once(&inn, "import", "down");
    assert!(why.contains("rows was 0; expected: rows > 0"), "{why}");
    inn.server.wait_for_log("rows was 0; expected: rows > 0");
    let (status, out, _) = person(&home, &inn, &["show", "shop/import"]);
    let wanted = "last figures   bytes=5000000, rows=0\n\
                  expects        broken: rows was 0; expected: rows > 0\n               bytes >= 0.5 * median(10): ";
    assert!(status == Some(1) && out.contains(wanted) && out.contains("why            Ended well"), "{out}");
    let (_, out, _) = person(&home, &inn, &["show", "shop/import", "--json"]);
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(answer["state"], "down");

    exec("echo ::figure bytes=7");
    let (_, out, _) = person(&home, &inn, &["show", "shop/import"]);
    assert!(out.contains("broken: rows is missing; expected: rows > 0"), "{out}");
    exec("echo ::figure rows=3; echo ::figure bytes=5000000");
    once(&inn, "import", "up");
    assert_eq!(brought(&inn, "import").len(), 4);
    // A line that is no figure costs nothing.
    exec("echo ::figure rows; echo ::figure rows=4; echo ::figure bytes=6000000");
    assert_eq!(brought(&inn, "import").pop().unwrap(), json!({"rows": 4, "bytes": 6_000_000}));
    assert!(inn.history("import")[0].to_string().contains("is no figure; give NAME=NUMBER"));
}

#[test]
fn a_check_in_by_hand_brings_figures() {
    let (home, inn) = (Home::new(), Inn::open(""));
    let said = |arguments: &[&str]| {
        let (status, out, err) = person(&home, &inn, arguments);
        assert_eq!((status, err.as_str()), (Some(0), ""), "{arguments:?}: {out}");
    };
    said(&["reserve", "shop/hand", "--every", "1d", "--expect", "rows > 0, share <= 1"]);
    said(&[
        "checkin",
        "shop/hand",
        "--figure",
        "rows=5",
        "--figure",
        "share=0.25",
        "--notes",
        "::figure rows=9",
    ]);
    assert_eq!(brought(&inn, "hand"), [json!({"rows": 5, "share": 0.25})]);
    said(&["checkin", "shop/hand", "--figure", "rows=0", "--notes", "done\n::figure share=1.5"]);
    let why = once(&inn, "hand", "down");
    assert!(
        why.contains("rows was 0; expected: rows > 0. Also, share was 1.5; expected: share <= 1"),
        "{why}"
    );
    said(&["reserve", "shop/hand", "--expect", ""]);
    assert_eq!(inn.reservation("hand").get("expect"), None);
    once(&inn, "hand", "up");
}

#[test]
fn a_probe_is_judged_by_its_performance_data() {
    let (home, inn) = (Home::new(), Inn::open(""));
    let said = home.file("said", "OK: fine | 'queue length'=12;50;100;0 /=2643MB;5948 load=0.5\n");
    let text = format!(
        "server = \"{}\"\n[probes]\napp = \"net\"\n\
         [probe.queue]\nkind = \"command\"\nevery = \"1m\"\ncommand = [\"cat\", \"{}\"]\n\
         expect_figures = [\"queue_length < 10\", \"load <= 0.5\"]\n",
        inn.url(),
        said.display()
    );
    let once_all = |text: &str| {
        let config = home.file("agent.toml", text);
        ran(&mut home.agent(&["--config", config.to_str().unwrap(), "probe", "--once", "minute"]))
    };
    let (status, _, err) = once_all(&text);
    assert_eq!((status, err.as_str()), (Some(0), ""));
    let figures = brought(&inn, "queue").pop().unwrap();
    assert_eq!(
        (&figures["queue_length"], &figures["/"], &figures["load"]),
        (&json!(12), &json!(2643), &json!(0.5))
    );
    let why = once(&inn, "queue", "down");
    assert!(why.contains("queue_length was 12; expected: queue_length < 10"), "{why}");

    // Of a kind that has an `expect` of its own.
    let systemctl = home.path().join("systemctl");
    let states = "#!/bin/sh\\necho LoadState=loaded\\necho ActiveState=active\\necho SubState=running\\n";
    // Written by another program: one that this one still wrote while another test starts a process could not be run.
    let write = format!("printf '{states}' > {0} && chmod 755 {0}", systemctl.display());
    assert_eq!(ran(std::process::Command::new("sh").args(["-c", &write])).0, Some(0));
    let unit = format!(
        "[probe.unit]\nkind = \"systemd-unit\"\nevery = \"1m\"\ntarget = \"x.service\"\nretries = 0\n\
         systemctl = \"{}\"\nexpect = [\"active\"]\nexpect_figures = [\"time_ms < 0\"]\n",
        systemctl.display()
    );
    let (status, _, err) = once_all(&format!("{text}{unit}"));
    assert_eq!((status, err.as_str()), (Some(0), ""));
    assert_eq!(inn.reservation("unit")["expect"], json!(["time_ms < 0"]));
    once(&inn, "unit", "down");
}

#[test]
fn a_set_keeps_what_is_expected() {
    let (home, inn) = (Home::new(), Inn::open(""));
    let set = "[[reservations]]\napp = \"shop\"\ncomponent = \"set\"\nfrequency = 1\ntime_units = \"days\"\n\
               expect = [\"rows > 0\", \"bytes>=0.5*median( 10 )\"]\n";
    let apply = |text: &str, more: &[&str]| {
        let file = home.file("set.toml", text);
        person(&home, &inn, &[&["apply", file.to_str().unwrap()], more].concat())
    };
    let (status, out, err) = apply(set, &[]);
    assert_eq!(status, Some(0), "{out}{err}");
    assert_eq!(inn.reservation("set")["expect"], json!(["rows > 0", "bytes >= 0.5 * median(10)"]));
    let (status, exported, _) = person(&home, &inn, &["export"]);
    assert!(status == Some(0) && exported.contains("bytes >= 0.5 * median(10)"), "{exported}");
    for same in [set, exported.as_str()] {
        let (status, out, err) = apply(same, &["--dry-run"]);
        assert_eq!(status, Some(0), "{out}{err}");
    }
    let (_, json, _) = person(&home, &inn, &["export", "--json"]);
    assert_eq!(apply(&json, &["--dry-run"]).0, Some(0), "{json}");
    let (status, out, _) = apply(&set.replace("rows > 0", "rows > 5"), &["--dry-run"]);
    assert!(status == Some(1) && out.contains("rows > 5"), "{out}");
    let (status, _, err) = apply(&set.replace("rows > 0", "rows = 5"), &[]);
    assert!(status == Some(2) && err.contains("\"rows = 5\": after rows one of"), "{err}");
}

#[test]
fn figures_that_waited_arrive_with_their_check_ins() {
    let (home, inn) = (Home::new(), Inn::open(""));
    let job = ["shop/away", "--every", "1d", "--expect", "rows > 0", "--", "sh", "-c"];
    for (rows, server) in [(1, inn.url()), (3, nobody()), (0, nobody()), (7, nobody())] {
        let script = format!("echo ::figure rows={rows}");
        assert_eq!(ran(&mut home.exec(&server, &[&job[..], &[&script]].concat())).0, Some(0));
    }
    let by_hand = ["checkin", "shop/away", "--figure", "rows=-0.5", "--figure", "used=5e3"];
    assert_eq!(ran(home.agent(&by_hand).env("INNKEEPER_SERVER", nobody())).0, Some(75));
    assert_eq!(home.spooled(), 4);
    let (status, _, err) = person(&home, &inn, &["flush"]);
    assert_eq!((status, home.spooled()), (Some(0), 0), "{err}");
    assert_eq!(
        brought(&inn, "away"),
        [
            json!({"rows": 1}),
            json!({"rows": 3}),
            json!({"rows": 0}),
            json!({"rows": 7}),
            json!({"rows": -0.5, "used": 5000})
        ]
    );
    // By the first of them or by the last, as the sweeper came to see them.
    let why = once(&inn, "away", "down");
    assert!(why.contains("; expected: rows > 0"), "{why}");
    let (status, out, _) = person(&home, &inn, &["show", "shop/away"]);
    assert!(status == Some(1) && out.contains("broken: rows was -0.5; expected: rows > 0"), "{out}");
}

#[test]
fn what_the_server_warns_of_is_said_and_a_hint_stands_where_it_helps() {
    let (home, inn) = (Home::new(), Inn::open(""));
    let reserve = |more: &[&str]| {
        let (status, out, err) = person(&home, &inn, &[&["reserve", "shop/new"], more].concat());
        (status, out + &err)
    };
    let (status, text) = reserve(&["--notify", "log"]);
    assert!(status != Some(0) && text.contains("a new reservation needs --every"), "{text}");
    let (status, text) = reserve(&["--every", "1d", "--notify", "oncall"]);
    assert!(
        status != Some(0) && text.contains("no alerter \"oncall\"") && !text.contains("new reservation"),
        "{text}"
    );
    let (status, text) = reserve(&["--every", "1d", "--notify", "ops@example.org"]);
    assert!(status == Some(0) && text.contains("warning: notify: ops@example.org"), "{text}");
    assert_eq!(reserve(&["--notify", "log"]), (Some(0), "shop/new is reserved\n".to_owned()));
}

#[test]
fn a_later_run_goes_out_with_the_flush_that_makes_its_reservation() {
    let (home, server) = (Home::new(), nobody_yet());
    let exec = |options: &[&str]| {
        let ended = ran(&mut home.exec(&server, &[&["shop/late"], options, &["--", "true"]].concat()));
        assert_eq!(ended.0, Some(0), "{}", home.log());
    };
    exec(&["--every", "1d", "--grace", "1h"]);
    exec(&[]);
    let inn = Inn::at(server.strip_prefix("http://").unwrap(), "");
    let (status, _, err) = person(&home, &inn, &["flush", "--wait", "10s"]);
    assert_eq!((status, home.spooled()), (Some(0), 0), "{err}");
    assert_eq!(inn.kinds("late"), ["start", "success", "start", "success"]);
}
