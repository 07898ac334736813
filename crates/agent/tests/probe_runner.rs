//! Runs real probes while the test moves the time.

mod probe_support;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use innkeeper_agent::probe::once::Occasion;
use innkeeper_agent::probe::{ProbeReport, ProbeStatus, Probes, Runner};
use innkeeper_testing::ports::{closed_port, free_port};
use probe_support::{Server, hang, read};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_700_000_000 + seconds)
}

fn probes(text: &str) -> Probes {
    let (probes, findings) = read(text);
    assert_eq!((probes.broken.as_slice(), findings.problems.as_slice()), (&[][..], &[][..]));
    probes
}

/// Steps at this time until this many reports have arrived.
fn reports(runner: &mut Runner, now: DateTime<Utc>, count: usize) -> Vec<ProbeReport> {
    let mut all = runner.step(now);
    while all.len() < count {
        runner.wait(Duration::from_secs(1));
        all.extend(runner.step(now));
    }
    assert_eq!(all.len(), count, "{all:?}");
    all
}

#[test]
fn what_is_due_runs_and_is_reported_to_its_own_reservation() {
    let server = Server::start(drop);
    let (good, bad) = (server.port(), closed_port());
    let text = format!(
        "[probe.a]\nkind = 'tcp'\nevery = '1m'\nretries = 0\n[probe.a.targets]\ngood = '127.0.0.1:{good}'\nbad = '127.0.0.1:{bad}'"
    );
    let mut runner = Runner::new(probes(&text), at(0));
    assert!(runner.step(at(0)).is_empty());
    assert!(runner.next_wake(at(0)).unwrap() <= at(60));
    let came = reports(&mut runner, at(60), 2);
    let of: BTreeMap<&str, &ProbeReport> =
        came.iter().map(|report| (report.target.component.as_str(), report)).collect();
    let (good, bad) = (of["a good"], of["a bad"]);
    assert_eq!((good.outcome.status, good.is_failure, good.runs), (ProbeStatus::Ok, false, 1));
    assert_eq!((bad.outcome.status, bad.is_failure, bad.probe.as_str()), (ProbeStatus::Critical, true, "a"));
    assert!(good.due <= at(60) && good.started == at(60));
    assert!(runner.step(at(60)).is_empty(), "once");
    reports(&mut runner, at(121), 2);
    assert!(!runner.is_done());
}

#[test]
fn a_failure_counts_when_its_last_repeat_has_failed() {
    let port = free_port();
    let text = format!(
        "[probe.a]\nkind = 'tcp'\nevery = '10m'\nretries = 2\nretry_after = '20s'\ntarget = '127.0.0.1:{port}'"
    );
    let mut runner = Runner::new(probes(&text), at(0));
    for now in [60, 80] {
        assert!(runner.step(at(now)).is_empty());
        // Its run ends, and counts for nothing yet.
        while runner.next_wake(at(now)).is_none_or(|wake| wake > at(now + 20)) {
            runner.wait(Duration::from_secs(1));
            assert!(runner.step(at(now)).is_empty());
        }
    }
    let report = reports(&mut runner, at(100), 1).remove(0);
    assert_eq!((report.runs, report.is_failure), (3, true));
    // The same, and the server is back at the repeat.
    assert!(runner.step(at(700)).is_empty());
    while runner.next_wake(at(700)).is_none_or(|wake| wake > at(720)) {
        runner.wait(Duration::from_secs(1));
        assert!(runner.step(at(700)).is_empty());
    }
    let _server = Server::on(&format!("127.0.0.1:{port}"), drop);
    let report = reports(&mut runner, at(720), 1).remove(0);
    assert_eq!((report.runs, report.is_failure), (2, false));
}

#[test]
fn one_that_hangs_holds_up_no_other_and_is_not_run_beside_itself() {
    let (hanging, server) = (Server::start(hang), Server::start(drop));
    let text = format!(
        "[probe.hangs]\nkind = 'smtp'\nevery = '1h'\ntimeout = '30m'\nretries = 0\ntarget = '127.0.0.1:{}'\n\
         [probe.fine]\nkind = 'tcp'\nevery = '1m'\ntarget = '127.0.0.1:{}'",
        hanging.port(),
        server.port()
    );
    let mut runner = Runner::new(probes(&text), at(0));
    for minute in 1..5 {
        let report = reports(&mut runner, at(60 * minute + 1), 1).remove(0);
        assert_eq!(report.probe, "fine");
    }
    probe_support::eventually("the one has come", || hanging.connections() == 1);
    // It leaves the configuration, and the other stays.
    let other = format!("[probe.fine]\nkind = 'tcp'\nevery = '1m'\ntarget = '127.0.0.1:{}'", server.port());
    runner.reload(probes(&other), at(300));
    assert_eq!(reports(&mut runner, at(361), 1).remove(0).probe, "fine");
}

#[test]
fn a_probe_that_can_be_loaded_no_more_runs_on_as_it_was() {
    let server = Server::start(drop);
    let port = server.port();
    let of = |name: &str, more: &str| {
        format!("[probe.{name}]\nkind = 'tcp'\nevery = '1m'\ntarget = '127.0.0.1:{port}'\n{more}\n")
    };
    let mut runner = Runner::new(probes(&(of("a", "") + &of("b", "") + &of("c", ""))), at(0));
    reports(&mut runner, at(60), 3);
    let (after, _) = read(&(of("a", "timeout = 'soon'") + &of("b", "warn_after = '5s'")));
    assert_eq!(after.broken.len(), 1);
    runner.reload(after, at(61));
    let mut names: Vec<String> = runner.probes().map(|probe| probe.name.clone()).collect();
    names.sort();
    assert_eq!(names, ["a", "b"], "c was taken out on purpose");
    let came = reports(&mut runner, at(121), 2);
    assert!(came.iter().any(|report| report.probe == "a" && !report.is_failure));
    // Another has its reservation now.
    let (taken, _) = read(&(of("a", "timeout = 'soon'") + &of("d", "component = 'a'")));
    runner.reload(taken, at(122));
    assert_eq!(runner.probes().map(|probe| probe.name.as_str()).collect::<Vec<_>>(), ["d"]);
}

#[test]
fn what_runs_at_the_end_runs_to_its_own_end() {
    let text =
        "[probe.a]\nkind = 'command'\nevery = '1m'\ncommand = ['sh', '-c', 'read line < {target}; exit 2']";
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let text = format!("{text}\ntimeout = '50s'\nretries = 0\ntarget = '{}'", fifo.display());
    let mut runner = Runner::new(probes(&text), at(0));
    assert!(runner.step(at(60)).is_empty());
    runner.stop();
    assert_eq!((runner.running(), runner.is_done()), (1, false));
    // Opening it waits for the reader, which is the plugin.
    std::fs::write(&fifo, "on with it\n").unwrap();
    let report = reports(&mut runner, at(61), 1).remove(0);
    assert_eq!((report.outcome.status, runner.is_done()), (ProbeStatus::Critical, true));
    assert!(runner.step(at(1000)).is_empty() && runner.running() == 0);
}

#[test]
fn cron_runs_do_what_is_theirs_once() {
    let server = Server::start(drop);
    let port = server.port();
    let bad = closed_port();
    let of = |name: &str, schedule: &str| {
        format!("[probe.{name}]\nkind = 'tcp'\n{schedule}\ntarget = '127.0.0.1:{port}'\n")
    };
    let text = [
        of("minutely", "every = '1m'"),
        of("hourly", "every = '1h'"),
        of("daily", "cron = '0 0 * * *'"),
        of("noon", "cron = '0 12 * * *'"),
        format!("[probe.down]\nkind = 'tcp'\nevery = '1m'\nretry_after = '0s'\ntarget = '127.0.0.1:{bad}'\n"),
    ]
    .concat();
    for (word, names) in [
        ("minute", &["down", "minutely"][..]),
        ("hour", &["down", "hourly", "minutely"]),
        ("day", &["daily", "down", "hourly", "minutely"]),
        ("noon", &["down", "hourly", "minutely", "noon"]),
    ] {
        let mut runner = Runner::once(probes(&text), Occasion::parse(word).unwrap(), at(0));
        let mut all = Vec::new();
        while !runner.is_done() {
            all.extend(runner.step(at(1)));
            runner.wait(Duration::from_millis(50));
        }
        all.sort_by(|a, b| a.probe.cmp(&b.probe));
        assert_eq!(all.iter().map(|report| report.probe.as_str()).collect::<Vec<_>>(), names);
        for report in all {
            let down = report.probe == "down";
            assert_eq!((report.is_failure, report.runs), (down, if down { 2 } else { 1 }));
        }
    }
    assert!(Runner::once(probes(""), Occasion::Minute, at(0)).is_done());
}
