//! The command line as a process: what it prints, and how it ends.
//!
//! Each test runs `examples/role.rs`, which is built with the tests.

// The helpers of a test may unwrap like the test itself.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command as Process, Output, Stdio};

fn process(arguments: &[&str], directory: &std::path::Path) -> Process {
    let test = std::env::current_exe().unwrap();
    let example = test.ancestors().nth(2).unwrap().join("examples/role");
    let mut process = Process::new(example);
    process
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    process
}

/// Exit code, standard output, standard error.
fn outcome(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn run(arguments: &[&str], directory: &std::path::Path) -> (Option<i32>, String, String) {
    outcome(process(arguments, directory).output().unwrap())
}

#[test]
fn help_and_version_end_well_and_a_mistake_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let (code, out, err) = run(&["--version"], directory.path());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains(&format!("innkeeper-example {}\n", env!("CARGO_PKG_VERSION"))), "{out}");

    let (code, out, _) = run(&["--help"], directory.path());
    assert_eq!(code, Some(0));
    for option in [
        "A role for the tests",
        "--config <FILE>",
        "--listen <ADDRESS>",
        "--database-url <URL>",
        "--data-dir <DIR>",
        "migrate",
        "check-config",
        "INNKEEPER_DATABASE_URL",
    ] {
        assert!(out.contains(option), "{option}: {out}");
    }

    for mistake in [&["--lisen", "x"][..], &["serve"], &["--listen"]] {
        let (code, _, err) = run(mistake, directory.path());
        assert_eq!(code, Some(2), "{mistake:?}: {err}");
        assert!(err.contains("error: "), "{err}");
    }
}

#[test]
fn a_configuration_is_checked_and_shown_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("innkeeper.toml");
    let good = "operator = 'hook'\n[database]\nurl = 'postgres://inn:hunter2@db/inn'\n\
                [alerter.hook]\nkind = 'webhook'\nurl = 'http://127.0.0.1/hunter2'\n";
    std::fs::write(&file, good).unwrap();
    for arguments in [&["check-config"][..], &["check-config", "--config", file.to_str().unwrap()]] {
        let (code, out, err) = run(arguments, directory.path());
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        for part in [
            "postgres://inn:…@db/inn",
            "alerter hook     webhook",
            "alerter log      log",
            "The configuration is good.",
        ] {
            assert!(out.contains(part), "{part}: {out}");
        }
        assert!(!out.contains("hunter2"), "{out}");
    }

    std::fs::write(&file, "instanse = 'x'\n[ingest]\nqueue = 0\n").unwrap();
    let (code, _, err) = run(&["check-config"], directory.path());
    assert_eq!(code, Some(1));
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines[0], "innkeeper: the configuration cannot be used");
    assert!(lines[1].starts_with("  ./innkeeper.toml:1: instanse: "), "{err}");
    assert!(lines[2].starts_with("  ./innkeeper.toml:3: ingest.queue: "), "{err}");

    let unreadable = "[alerter.a]\nkind = 'webhook'\nurl_file = '/nowhere/a'\n[alerter.b]\nkind = 'slack'\nurl_file = '/nowhere/b'\n";
    std::fs::write(&file, unreadable).unwrap();
    let (code, _, err) = run(&["check-config"], directory.path());
    assert_eq!(code, Some(1));
    assert!(err.contains("/nowhere/a") && err.contains("/nowhere/b"), "{err}");

    let (code, _, err) = run(&["--config", "/nowhere/x.toml"], directory.path());
    assert_eq!(code, Some(1));
    assert!(err.contains("cannot read the configuration file /nowhere/x.toml: No such file"), "{err}");
}

#[test]
fn migrating_makes_the_database_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["migrate", "--data-dir", "data"];
    let (code, out, err) = run(&arguments, directory.path());
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("/data/innkeeper.db is up to date; applied "), "{out}");
    let (code, out, _) = run(&arguments, directory.path());
    assert_eq!(code, Some(0));
    assert!(out.contains("/data/innkeeper.db was up to date."), "{out}");
    assert!(directory.path().join("data/innkeeper.db").exists());

    let (code, _, err) = run(&["migrate", "--database-url", "sqlite:///nowhere/x.db"], directory.path());
    assert_eq!(code, Some(1));
    assert!(err.contains("innkeeper: cannot use the database sqlite:///nowhere/x.db\n  because: "), "{err}");
}

#[test]
fn an_error_is_told_with_its_causes_a_line_each() {
    let directory = tempfile::tempdir().unwrap();
    let (code, _, err) = run(&["--what", "fail", "--listen", "127.0.0.1:77"], directory.path());
    assert_eq!(code, Some(1));
    assert!(
        err.ends_with("innkeeper: cannot listen on 127.0.0.1:77\n  because: the disk is full\\nreally\n"),
        "{err}"
    );
}

/// Starts the role and waits until it runs. Returns it with the line that it logged.
fn start(what: &str, directory: &std::path::Path) -> (Child, String) {
    let mut child = process(&["--what", what], directory).spawn().unwrap();
    let mut line = String::new();
    let stderr = child.stderr.as_mut().unwrap();
    BufReader::with_capacity(1, stderr).read_line(&mut line).unwrap();
    (child, line)
}

fn signal(child: &Child, name: &str) {
    let sent = Process::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn a_log_line_is_one_line_whatever_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let (child, line) = start("wait", directory.path());
    signal(&child, "INT");
    assert_eq!(outcome(child.wait_with_output().unwrap()).0, Some(0));
    assert!(
        line.ends_with("ready, with a \\u{1b}[31mguest\\n2026-01-01T00:00:00.000Z ERROR forged\n"),
        "{line:?}"
    );
    assert!(line.contains("Z INFO  role: "), "{line:?}");
}

#[test]
fn one_signal_stops_and_a_second_ends_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (child, _) = start("wait", directory.path());
    signal(&child, "TERM");
    let (code, _, err) = outcome(child.wait_with_output().unwrap());
    assert_eq!(code, Some(0));
    assert!(err.contains("SIGTERM: stopping"), "{err}");

    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let (mut child, _) = start("hang", directory.path());
        signal(&child, name);
        // The first signal is known to have been taken when its line is there.
        let mut line = String::new();
        BufReader::with_capacity(1, child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains(": stopping"), "{line}");
        signal(&child, name);
        assert_eq!(outcome(child.wait_with_output().unwrap()).0, Some(code));
    }
}
