//! Figures of probes: from performance data to the server, and what is expected of them.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::instance::{Instance, Mode};
use common::{Home, ran};
use serde_json::{Value, json};

/// Runs the probes of this configuration once, as a crontab does. Returns the status and standard error.
fn probe(home: &Home, instance: &Instance, probes: &str) -> (Option<i32>, String) {
    let config = home
        .file("agent.toml", &format!("server = \"{}\"\n[probes]\napp = \"net\"\n{probes}", instance.url()));
    let (status, _, err) =
        ran(&mut home.agent(&["--config", config.to_str().unwrap(), "probe", "--once", "minute"]));
    // The instance knows every reservation.
    let of_itself = |line: &&str| !line.contains(" existed before: ");
    (status, err.split_inclusive('\n').filter(of_itself).collect())
}

/// The report for a plugin with this output.
fn plugin(output: &str, more: &str) -> Value {
    let (home, instance) = (Home::new(), Instance::open());
    let said = home.file("said", output);
    let text = format!(
        "[probe.disk]\nkind = \"command\"\ncron = \"* * * * *\"\ncommand = [\"cat\", \"{}\"]\n{more}",
        said.display()
    );
    assert_eq!(probe(&home, &instance, &text), (Some(0), String::new()));
    instance.only("success")
}

#[test]
fn performance_data_of_every_form_becomes_figures() {
    let output = "DISK OK - free space: / 3326 MB (56%) | /=2643MB;5948;5958;0;5968 'it''s full'=7%;@10:20;~:5 \
                  'a b'=1s a_b=2 unknown=U;1;2 comma=0,5 hits=12345c\n\
                  / 15272 MB (77%);\n\
                  /var/log 819 MB (84%) | 'größe'=-1.5e3B\n\
                  5min=0.25;;;; \"odd\"=5 'a''b'=3\n";
    let report = plugin(output, "");
    let mut figures = report["figures"].clone();
    assert!(figures.as_object_mut().unwrap().remove("time_ms").unwrap().is_number());
    assert_eq!(
        figures,
        json!({"/": 2643, "it_s_full": 7, "a_b": 2, "a_b_2": 1, "a_b_3": 3, "hits": 12345, "gr__e": -1500, "_5min": 0.25})
    );
    assert!(report["output"].as_str().unwrap().starts_with("OK: DISK OK - free space"), "{report}");
}

#[test]
fn of_many_the_expected_ones_are_kept() {
    let data: String = (0..40).map(|n| format!("f{n:02}={n} ")).collect();
    let report = plugin(&format!("OK | {data}"), "expect = [\"f39 > 0\", \"time_ms < 60000\"]\n");
    let figures = report["figures"].as_object().unwrap();
    assert_eq!((figures.len(), &figures["f39"]), (20, &json!(39)));
    assert!(figures.contains_key("time_ms") && figures.contains_key("f17") && !figures.contains_key("f18"));
    let output = report["output"].as_str().unwrap();
    assert!(output.contains("21 of its figures are left out: a check-in can have 20."), "{output}");
}

#[test]
fn what_a_probe_expects_goes_into_its_reservation() {
    let (home, instance) = (Home::new(), Instance::open());
    let text = "[probe.a]\nkind = \"command\"\nevery = \"1m\"\ncommand = [\"true\"]\nremind_every = \"each\"\n\
                expect = [\"users > 0\", \"time_ms < 2 * median(10)\"]\n\
                [probe.b]\nkind = \"systemd-unit\"\nevery = \"1m\"\ntarget = \"x\"\nretries = 0\nexpect = [\"active\"]\n\
                expect_figures = \"time_ms < 500\"\n\
                [probe.c]\nkind = \"command\"\nevery = \"1m\"\ncommand = [\"true\"]\nexpect = []\n";
    assert_eq!(probe(&home, &instance, text), (Some(0), String::new()));
    let terms = |component: &str| {
        instance.came().terms.iter().find(|terms| terms["component"] == component).unwrap().clone()
    };
    assert_eq!(terms("a")["expect"], json!(["users > 0", "time_ms < 2 * median(10)"]));
    assert_eq!(terms("a")["remind_every"], "each");
    assert_eq!(terms("b")["expect"], json!(["time_ms < 500"]));
    assert_eq!(terms("c")["expect"], json!([]));
    // It is told once.
    probe(&home, &instance, text);
    assert_eq!(instance.came().terms.len(), 3);
}

#[test]
fn every_kind_takes_expect_figures() {
    let (home, instance) = (Home::new(), Instance::open());
    let of = |kind: &str, keys: &str| {
        let text = format!("[probe.{kind}]\nkind = \"{kind}\"\nevery = \"1m\"\nretries = 0\n{keys}\n");
        probe(&home, &instance, &text).1
    };
    let command = "command = [\"true\"]\nexpect_figures = [\"users > 0\", \"time_ms<5\"]";
    assert_eq!(of("command", command), "");
    assert_eq!(instance.came().terms.last().unwrap()["expect"], json!(["users > 0", "time_ms < 5"]));
    assert_eq!(of("tcp", "target = \"127.0.0.1:1\"\nexpect_figures = \"time_ms < 9, connect_ms < 8\""), "");
    assert_eq!(instance.came().terms.last().unwrap()["expect"], json!(["time_ms < 9", "connect_ms < 8"]));
    let err = of("command", &format!("{command}\nexpect = [\"users > 1\"]"));
    assert!(
        err.contains("probe.command.expect: means expect_figures for this kind; give one of them"),
        "{err}"
    );
}

#[test]
fn an_older_server_is_asked_for_the_probes_interval() {
    let (home, instance) = (Home::new(), Instance::open());
    instance.now(Mode::Older);
    let text = "[probe.a]\nkind = \"command\"\nevery = \"10m\"\ncommand = [\"true\"]\nremind_every = \"each\"\n\
                expect = \"users > 0\"\n";
    let (status, err) = probe(&home, &instance, text);
    assert!(status == Some(0) && err.contains("net/a: the server is an older one"), "{err}");
    assert!(err.contains("every 10m instead of at each failed run"), "{err}");
    let terms = instance.came().terms.clone();
    assert_eq!((terms.len(), &terms[0]["remind_every"], terms[0].get("expect")), (1, &json!("10m"), None));
}

#[test]
fn a_wrong_clause_is_that_probes_alone() {
    let (home, instance) = (Home::new(), Instance::open());
    let text = "[probe.a]\nkind = \"command\"\ncron = \"* * * * *\"\ncommand = [\"true\"]\nexpect = \"users\"\n\
                [probe.b]\nkind = \"command\"\ncron = \"* * * * *\"\ncommand = [\"true\"]\n";
    let (status, err) = probe(&home, &instance, text);
    assert_eq!(status, Some(1));
    assert!(err.contains("agent.toml:8: probe.a.expect: \"users\": after users one of"), "{err}");
    assert_eq!(instance.only("success")["component"], "b");
}
