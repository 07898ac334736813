//! Tests the agent's own service with the delivered unit under a booted systemd: despite the unit's restrictions, its
//! probes see what they need.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use innkeeper_system::machine::Machine;
use innkeeper_system::standalone::{Standalone, wait_for};
use serde_json::Value;

const SERVICE: &str = "innkeeper-agent-probe.service";
const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/innkeeper-agent-probe.service");
/// One probe of each kind that needs access to the machine.
const PROBES: &str = r#"
[probe.journal]
kind = "systemd-unit"
every = "6s"
target = "systemd-journald.service"
[probe.process]
kind = "process"
every = "6s"
target = "systemd-journald"
[probe.home]
kind = "disk"
every = "6s"
target = "/home"
[probe.secret]
kind = "command"
every = "6s"
command = ["grep", "-q", "hidden", "/home/ada/secret"]
"#;

fn configure(machine: &Machine, inn: &Standalone, probes: &str) {
    let config = format!("server = \"{}\"\n{probes}", inn.server.url(""));
    machine.write("etc/innkeeper/agent.toml", &config);
}

fn property(machine: &Machine, name: &str) -> String {
    machine.run("systemctl", &["show", "--value", "--property", name, SERVICE]).trim().to_owned()
}

/// Waits for one more success of the probe.
fn goes_on(inn: &Standalone, component: &str) {
    let count = |inn: &Standalone| inn.reservation(component)["checkins"].as_u64().unwrap();
    let before = count(inn);
    wait_for(&format!("{component} goes on"), || (count(inn) > before).then_some(()));
}

#[test]
fn it_probes_reloads_and_comes_back() {
    let (machine, inn) = (Machine::boot(), Standalone::start());
    machine
        .write("etc/systemd/system/innkeeper-agent-probe.service", &std::fs::read_to_string(UNIT).unwrap());
    machine.write("home/ada/secret", "hidden\n");
    machine.run("chown", &["ada", "/home/ada/secret"]);
    machine.run("chmod", &["600", "/home/ada/secret"]);
    let tcp =
        format!("[probe.front]\nkind = \"tcp\"\nevery = \"6s\"\ntarget = \"{}\"\n", inn.server.address());
    configure(&machine, &inn, &format!("{PROBES}{tcp}"));
    machine.run("chmod", &["600", "/etc/innkeeper/agent.toml"]);
    machine.run("systemctl", &["daemon-reload"]);
    machine.run("systemctl", &["enable", "--now", SERVICE]);
    for component in ["journal", "process", "home", "secret", "front", "innkeeper-agent"] {
        let come = wait_for(&format!("a report of {component}"), || inn.history(component).first().cloned());
        assert_eq!(come["kind"], "success", "{component}: {come}");
    }
    assert_eq!(machine.run("stat", &["-c", "%a %U", "/var/lib/innkeeper-agent"]).trim(), "700 root");

    // After a reload, removed probes are checked out, new ones run, and the others and the process stay.
    let (process, kept) = (property(&machine, "MainPID"), inn.reservation("journal")["id"].clone());
    let backup =
        "[probe.backup]\nkind = \"disk\"\nevery = \"6s\"\nretries = 0\ntarget = \"/srv\"\nmounted = true\n";
    std::fs::create_dir_all(machine.path("srv")).unwrap();
    configure(&machine, &inn, &format!("{PROBES}{backup}"));
    machine.run("systemctl", &["reload", SERVICE]);
    wait_for("front is checked out", || inn.find("front").is_none().then_some(()));
    inn.alert("backup");
    let failed = inn.newest("backup", "fail");
    assert!(failed["notes"].to_string().contains("nothing is mounted at /srv"), "{failed}");
    // It also sees file systems that are mounted later.
    machine.run("mount", &["-t", "tmpfs", "backup", "/srv"]);
    inn.newest("backup", "success");
    goes_on(&inn, "journal");
    assert_eq!(property(&machine, "MainPID"), process);

    // After a restart and after a kill, the same reservations are used.
    machine.run("systemctl", &["restart", SERVICE]);
    assert_eq!(property(&machine, "Result"), "success", "it ends as it is asked to");
    goes_on(&inn, "journal");
    machine.run("systemctl", &["kill", "--signal=KILL", SERVICE]);
    wait_for("it is started again", || (property(&machine, "NRestarts") == "1").then_some(()));
    goes_on(&inn, "journal");
    assert_eq!(inn.reservation("journal")["id"], kept);
    let names = ["backup", "home", "innkeeper-agent", "journal", "process", "secret"];
    assert_eq!(inn.names(), names.map(|name| format!("web1/{name}")));
    let is_down = |one: &Value| one["state"] == "down";
    let down: Vec<Value> = inn.reservations().into_iter().filter(is_down).collect();
    assert!(down.is_empty(), "{down:?}");
}
