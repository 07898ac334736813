//! Tests the agent with real timers on a machine with a booted systemd: what `discover` changes, and what the timers'
//! services report.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use innkeeper_system::machine::{AGENT, Machine, USER};
use innkeeper_system::standalone::{Standalone, wait_for};
use serde_json::{Value, json};

/// The schedule of timers for which the tests wait.
const OFTEN: &str = "OnCalendar=*:*:0/5\nAccuracySec=1us\n";

/// A machine with timers that are active, and an Innkeeper that its agent knows.
fn begin() -> (Machine, Standalone) {
    let (machine, inn) = (Machine::boot(), Standalone::start());
    machine.write("etc/innkeeper/agent.toml", &format!("server = \"{}\"\n", inn.server.url("")));
    let jobs = [
        ("tick", &*format!("{OFTEN}RandomizedDelaySec=1s\n"), "Type=oneshot\nExecStart=touch /root/ticked\n"),
        ("broken", OFTEN, "ExecStart=sh -c 'exit 3'\n"),
        ("killed", OFTEN, "ExecStart=sh -c 'kill -KILL $$$$'\n"),
        ("hung", OFTEN, "Type=oneshot\nExecStart=sleep infinity\nTimeoutStartSec=1\n"),
        (
            "shut",
            OFTEN,
            &format!(
                "User={USER}\nExecStart=false\nPrivateNetwork=yes\nProtectSystem=strict\nPrivateTmp=yes\n"
            ),
        ),
        (
            "nightly",
            "OnCalendar=*-*-* 02:00:00\nRandomizedDelaySec=10min\n",
            "Type=oneshot\nExecStart=true\nExecStopPost=touch /root/own-last-word\n",
        ),
    ];
    for (name, when, service) in jobs {
        machine.write(&format!("etc/systemd/system/{name}.timer"), &format!("[Timer]\n{when}"));
        machine.write(&format!("etc/systemd/system/{name}.service"), &format!("[Service]\n{service}"));
    }
    machine.run("systemctl", &["daemon-reload"]);
    for (name, ..) in jobs {
        machine.run("systemctl", &["start", &format!("{name}.timer")]);
    }
    (machine, inn)
}

/// All units, and their drop-ins.
fn units(machine: &Machine) -> String {
    machine.run("find", &["/etc/systemd/system", "-printf", "%p %m %l\n"])
}

/// The commands that systemd runs after a service has ended.
fn last_words(machine: &Machine, service: &str) -> String {
    machine.run("systemctl", &["show", "--property=ExecStopPost", service])
}

/// How a run ended.
fn ending(run: &Value) -> Value {
    json!([run["exit_code"], run["signal"], run["notes"]])
}

#[test]
fn timers_are_found_and_their_services_report() {
    let (machine, inn) = begin();
    let before = units(&machine);
    let diff = machine.run(AGENT, &["discover", "--diff"]);
    assert!(diff.contains("+++ /etc/systemd/system/tick.service.d/innkeeper-agent.conf"), "{diff}");
    assert_eq!((units(&machine), inn.names()), (before.clone(), Vec::new()), "nothing is changed by looking");

    machine.run(AGENT, &["discover", "--apply"]);
    let names = ["broken", "hung", "killed", "nightly", "shut", "tick"].map(|name| format!("web1/{name}"));
    assert_eq!(inn.names(), names);
    let nightly = inn.reservation("nightly");
    let spec = ["calendar", "time_zone", "grace"].map(|name| nightly[name].clone());
    // An hour, the random delay, and the minute within which systemd may start it.
    assert_eq!(spec, ["*-*-* 02:00:00", "Europe/Berlin", "1h11m"].map(Value::from), "{nightly}");
    assert!(last_words(&machine, "tick.service").contains(AGENT), "systemd knows of the drop-in");
    assert_eq!(machine.run(AGENT, &["discover", "--apply"]).trim(), "there is nothing to change");

    // Started by their timers.
    assert_eq!(ending(&inn.newest("tick", "success")), json!([0, null, ""]));
    assert_eq!(ending(&inn.newest("broken", "fail")), json!([3, null, "exit-code: exited 3"]));
    assert_eq!(ending(&inn.newest("killed", "fail")), json!([137, "SIGKILL", "signal: killed KILL"]));
    assert_eq!(ending(&inn.newest("hung", "fail")), json!([143, "SIGTERM", "timeout: killed TERM"]));
    assert_eq!(ending(&inn.newest("shut", "fail")), json!([1, null, "exit-code: exited 1"]));
    for (name, status) in [("broken", 3), ("killed", 137), ("hung", 143), ("shut", 1)] {
        let sentence = inn.alert(name)["sentence"].clone();
        assert!(sentence.to_string().contains(&format!("with exit status {status}.")), "{name}: {sentence}");
        inn.server.wait_for_log(&format!("DOWN web1/{name}: failed with exit status {status}"));
    }
    assert_eq!(inn.find("tick").unwrap()["state"], "up");

    // By hand.
    machine.run("systemctl", &["start", "nightly.service"]);
    assert_eq!(ending(&inn.newest("nightly", "success")), json!([0, null, ""]));
    assert!(machine.path("root/own-last-word").exists(), "the service's own is done, too");
}

#[test]
fn what_was_changed_is_given_back_and_reports_no_more() {
    let (machine, inn) = begin();
    let before = units(&machine);
    machine.run(AGENT, &["discover", "--apply"]);
    inn.newest("tick", "success");
    machine.run(AGENT, &["discover", "--undo"]);
    assert_eq!(units(&machine), before);
    for service in ["tick.service", "nightly.service"] {
        assert!(!last_words(&machine, service).contains(AGENT), "systemd knows that it is gone");
    }
    // A run that began before the change may still report.
    machine.run("systemctl", &["stop", "tick.timer", "tick.service"]);
    let reported = inn.history("tick").len();
    machine.run("rm", &["/root/ticked"]);
    machine.run("systemctl", &["start", "tick.service"]);
    wait_for("a run", || machine.path("root/ticked").exists().then_some(()));
    machine.run("systemctl", &["stop", "tick.service"]);
    assert_eq!(inn.history("tick").len(), reported);

    // The same names as before.
    machine.run("systemctl", &["start", "tick.timer"]);
    machine.run(AGENT, &["discover", "--apply"]);
    wait_for("another report", || (inn.history("tick").len() > reported).then_some(()));
    assert_eq!(inn.names().len(), 6, "{:?}", inn.names());
}
