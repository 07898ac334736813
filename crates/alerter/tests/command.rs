//! A program of the user's own: its input, its environment, its answers, its misbehaviour.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use common::*;
use innkeeper_alerter::{Alerter, Sent};
use innkeeper_core::notice::{EventKind, Notice};

fn shell(script: &str, timeout: &str) -> Box<dyn Alerter> {
    let script = toml::Value::String(script.to_owned());
    build(&format!(
        "kind = 'command'\ncommand = ['/bin/sh', '-c', {script}, 'sh', 'an argument']\ntimeout = '{timeout}'"
    ))
}

#[test]
fn the_program_gets_the_notice_and_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().display().to_string();
    let alerter = shell(
        &format!(
            "cat > {out}/stdin; echo \"$1|$INNKEEPER_EVENT|$INNKEEPER_APP|$INNKEEPER_COMPONENT|$INNKEEPER_IDEMPOTENCY_KEY\" > {out}/env"
        ),
        "10s",
    );
    assert!(!alerter.takes_digests());
    let notice = notice(EventKind::Opened, "$(touch x) 日本");
    assert_eq!(send(alerter.as_ref(), std::slice::from_ref(&notice), "delivery-1"), Sent::Delivered);

    let mut body: serde_json::Value =
        serde_json::from_slice(&fs::read(directory.path().join("stdin")).unwrap()).unwrap();
    assert_eq!(body.as_object_mut().unwrap().remove("idempotency_key").unwrap(), "delivery-1");
    let text = body["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("shop/$(touch x) 日本 has not checked in."), "{text}");
    assert_eq!(serde_json::from_value::<Notice>(body).unwrap(), Notice { text, ..notice });
    let environment = fs::read_to_string(directory.path().join("env")).unwrap();
    assert_eq!(environment, "an argument|opened|shop|$(touch x) 日本|delivery-1\n");
}

#[test]
fn the_exit_status_is_the_answer() {
    for status in [64, 65, 78, 126, 127] {
        let problem = permanent(send_opened(shell(&format!("exit {status}"), "10s").as_ref()));
        assert!(problem.ends_with(&format!("exit status {status}")), "{problem}");
    }
    for (status, maybe) in [(75, false), (1, true), (2, true)] {
        let (_, maybe_sent, problem) =
            retryable(send_opened(shell(&format!("exit {status}"), "10s").as_ref()));
        assert_eq!(maybe_sent, maybe, "{problem}");
    }
    let (_, maybe_sent, problem) = retryable(send_opened(shell("kill -TERM $$", "10s").as_ref()));
    assert!(maybe_sent && problem.ends_with("ended by signal 15"), "{problem}");
}

#[test]
fn the_end_of_standard_error_is_told() {
    let script = "head -c 100000 /dev/zero | tr '\\0' 'x' >&2; printf '\\nlast\\033[1m words\\n' >&2; exit 1";
    let problem = retryable(send_opened(shell(script, "10s").as_ref())).2;
    assert!(problem.ends_with("last [1m words"), "{problem}");
    assert!(problem.len() < 700, "{}", problem.len());
}

#[test]
fn a_missing_or_unusable_program_is_permanent() {
    assert!(
        permanent(send_opened(build("kind = 'command'\ncommand = ['/no/such/program']").as_ref()))
            .contains("/no/such/program")
    );
    permanent(send_opened(build("kind = 'command'\ncommand = ['no-such-program-in-the-path']").as_ref()));
    let directory = tempfile::tempdir().unwrap();
    let plain = directory.path().join("plain");
    fs::write(&plain, "not a program").unwrap();
    let alerter = build(&format!("kind = 'command'\ncommand = ['{}']", plain.display()));
    permanent(send_opened(alerter.as_ref()));
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o755)).unwrap();
    permanent(send_opened(alerter.as_ref()));
}

#[test]
fn a_program_that_never_reads_or_writes_too_much_does_not_hang() {
    let mut large = notice(EventKind::Opened, "backup");
    large.text = "x".repeat(1_000_000);
    let large = [large];
    for script in
        ["exit 0", "head -c 10000000 /dev/zero", "exec 0<&-; head -c 300000 /dev/zero >&2", "cat >/dev/null"]
    {
        assert_eq!(send(shell(script, "20s").as_ref(), &large, "k"), Sent::Delivered, "{script}");
    }
}

#[test]
fn a_child_that_stays_behind_does_not_hold_up_the_answer() {
    let begin = Instant::now();
    assert_eq!(send_opened(shell("sleep 30 & exit 0", "20s").as_ref()), Sent::Delivered);
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_program_that_runs_too_long_ends_with_all_it_started() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let alerter =
        shell(&format!("echo waiting >&2; sleep 100 & echo $! > {}; wait", file.display()), "1500ms");
    let (_, maybe_sent, problem) = retryable(send_opened(alerter.as_ref()));
    assert!(maybe_sent);
    assert!(problem.ends_with("ran longer than 1s500ms: waiting"), "{problem}");
    let pid = fs::read_to_string(&file).unwrap();
    let state = Path::new("/proc").join(pid.trim()).join("stat");
    let gone = || fs::read_to_string(&state).map_or(true, |stat| stat.contains(") Z "));
    let begin = Instant::now();
    while !gone() {
        assert!(begin.elapsed() < Duration::from_secs(5), "its child lives on");
        std::thread::yield_now();
    }
}

#[test]
fn innkeepers_own_settings_are_kept_from_the_program() {
    // The environment of a test process cannot be changed safely; so run this test again in one that has it.
    const INNER: &str = "INNKEEPER_DATABASE_URL";
    if std::env::var_os(INNER).is_some() {
        let alerter = shell("env | grep -c DATABASE_URL >&2; exit 64", "10s");
        let problem = permanent(send_opened(alerter.as_ref()));
        assert!(problem.ends_with(": 0"), "{problem}");
        return;
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "innkeepers_own_settings_are_kept_from_the_program"])
        .env(INNER, "postgres://user:secret@db/innkeeper")
        .status()
        .unwrap();
    assert!(status.success());
}
