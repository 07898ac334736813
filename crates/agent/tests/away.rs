//! The agent never breaks a job. Whatever happens to the server, the disk and the configuration, the job runs with
//! its own output and status. Reports that cannot be sent are sent later: once, in order, and with their true times.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use common::instance::{Instance, Mode};
use common::{Home, kill, nobody, ran, wait_for};

const JOB: [&str; 5] = ["a/b", "--", "sh", "-c", "echo out; echo err >&2; exit 3"];

/// Runs [`JOB`] and checks that it behaves as it would without the agent.
fn unharmed(command: &mut Command) {
    let (status, out, err) = ran(command);
    assert_eq!((status, out.as_str(), err.as_str()), (Some(3), "out\n", "err\n"));
}

/// Longest delay that tests accept where the limit is 2 s, on a busy machine.
const BOUND: Duration = Duration::from_secs(30);

#[test]
fn without_a_server_the_report_waits_and_is_flushed() {
    let home = Home::new();
    unharmed(&mut home.exec(&nobody(), &JOB));
    assert_eq!(home.spooled(), 1);
    assert!(home.log().contains("cannot be reached"), "{}", home.log());
    let instance = Instance::open();
    let (status, out, err) = ran(home.agent(&["flush"]).env("INNKEEPER_SERVER", instance.url()));
    assert_eq!((status, out.as_str(), err.as_str()), (Some(0), "", ""));
    assert_eq!(instance.kinds(), ["start", "fail"]);
    assert_eq!(instance.only("fail")["output"].as_str().unwrap().len(), 8);
    assert_eq!(home.spooled(), 0);
    // Nothing is sent twice.
    ran(home.agent(&["flush"]).env("INNKEEPER_SERVER", instance.url()));
    assert_eq!(instance.reports().len(), 2);
}

#[test]
fn with_no_configuration_at_all_it_runs_and_is_silent() {
    let home = Home::new();
    unharmed(&mut home.agent(&[&["exec"], &JOB[..]].concat()));
    let (status, out, _) = ran(&mut home.agent(&["status"]));
    assert_eq!(status, Some(1));
    assert!(out.contains("none is configured") && out.contains("1 report"), "{out}");
}

#[test]
fn a_server_that_hangs_lies_or_refuses_harms_nothing() {
    let own = |status: u16| json!({"title": "x", "status": status, "detail": "no"}).to_string();
    let page = "<html><body>Please log in to the hotel's network</body></html>";
    let say = |status, body: &str| Mode::Say(status, String::new(), body.to_owned());
    for (mode, is_kept) in [
        (Mode::Hang, true),
        (Mode::Close, true),
        (Mode::Endless, true),
        (say(200, page), true),
        (say(200, "{}"), true),
        (say(200, "{\"reports\": []}"), true),
        (say(200, "{\"reports\": [{\"status\": \"perhaps\"}, {\"status\": \"perhaps\"}]}"), true),
        (say(302, ""), true),
        (say(500, ""), true),
        (say(503, ""), true),
        (say(429, ""), true),
        (say(408, ""), true),
        (say(425, ""), true),
        (say(401, "{\"detail\": \"no such token\"}"), true),
        (say(403, "{\"detail\": \"not for this app\"}"), true),
        (say(404, page), true),
        // Other than Innkeeper's own refusals these come from what stands before it.
        (say(404, &own(404)), true),
        (say(405, ""), true),
        (say(410, page), true),
        (say(451, "{}"), true),
        (say(400, page), true),
        (say(413, ""), true),
        (say(400, &own(400)), false),
        (say(413, &own(413)), false),
    ] {
        let (home, instance) = (Home::new(), Instance::open());
        instance.now(mode.clone());
        let begun = Instant::now();
        unharmed(&mut home.exec(&instance.url(), &JOB));
        assert!(begun.elapsed() < BOUND, "{mode:?}: {:?}", begun.elapsed());
        assert_eq!(home.spooled(), usize::from(is_kept), "{mode:?}: {}", home.log());
        if is_kept {
            instance.now(Mode::Well);
            let (status, _, err) = ran(home.agent(&["flush"]).env("INNKEEPER_SERVER", instance.url()));
            assert_eq!(status, Some(0), "{mode:?}: {err}");
            assert_eq!(instance.kinds(), ["start", "fail"], "{mode:?}");
        }
    }
}

#[test]
fn what_answers_with_other_than_http_is_no_server() {
    let home = Home::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut stream, b"220 mail.example.org ESMTP\r\n");
        }
    });
    unharmed(&mut home.exec(&format!("http://{address}"), &JOB));
    assert_eq!(home.spooled(), 1);
    unharmed(&mut home.exec(&format!("https://{address}"), &JOB));
    unharmed(&mut home.exec("http://no-such-host.invalid", &JOB));
    // Entries to three servers.
    assert_eq!(home.spooled(), 3);
}

#[test]
fn a_server_that_dies_in_mid_run_gets_the_end_later() {
    let home = Home::new();
    let instance = Instance::open();
    let mut child = home
        .exec(&instance.url(), &["a/b", "--", "sh", "-c", "read x; exit 4"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the start", || instance.kinds() == ["start"]);
    instance.now(Mode::Close);
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert_eq!(home.spooled(), 1);
    instance.now(Mode::Well);
    // The next run brings it, before its own.
    assert_eq!(ran(&mut home.exec(&instance.url(), &["a/c", "--", "true"])).0, Some(0));
    let told: Vec<(String, String)> = instance
        .reports()
        .iter()
        .map(|report| {
            (report["component"].as_str().unwrap().to_owned(), report["kind"].as_str().unwrap().to_owned())
        })
        .collect();
    let wanted = [("b", "start"), ("b", "fail"), ("c", "start"), ("c", "success")];
    assert_eq!(told, wanted.map(|(component, kind)| (component.to_owned(), kind.to_owned())));
}

#[test]
fn an_answer_that_does_not_come_back_doubles_nothing() {
    let (home, instance) = (Home::new(), Instance::open());
    instance.now(Mode::RecordAndClose);
    unharmed(&mut home.exec(&instance.url(), &JOB));
    assert_eq!(home.spooled(), 1);
    instance.now(Mode::Well);
    assert_eq!(ran(home.agent(&["flush"]).env("INNKEEPER_SERVER", instance.url())).0, Some(0));
    assert_eq!(instance.kinds(), ["start", "fail"]);
    assert_eq!(home.spooled(), 0);
}

#[test]
fn a_server_that_asks_for_patience_gets_it() {
    let (home, instance) = (Home::new(), Instance::open());
    instance.now(Mode::Say(503, "Retry-After: 3600\r\n".to_owned(), String::new()));
    unharmed(&mut home.exec(&instance.url(), &JOB));
    let before = instance.came().requests.len();
    instance.now(Mode::Well);
    let (status, _, err) =
        ran(home.agent(&["flush", "--wait", "0s"]).env("INNKEEPER_SERVER", instance.url()));
    assert_eq!(status, Some(75), "{err}");
    assert!(err.contains("asked for no requests for 3600 s"), "{err}");
    assert_eq!(instance.came().requests.len(), before);
    std::fs::remove_file(home.state().join("not-before")).unwrap();
    assert_eq!(ran(home.agent(&["flush"]).env("INNKEEPER_SERVER", instance.url())).0, Some(0));
}

#[test]
fn reports_wait_in_order_with_the_time_they_happened() {
    let (home, instance) = (Home::new(), Instance::open());
    let gone = nobody();
    for n in 0..30 {
        let script = format!("exit {}", n % 2);
        ran(home.exec(&gone, &["a/b", "--", "sh", "-c", &script]).env("INNKEEPER_EXEC_MAX_DELAY", "0s"));
    }
    wait_for("all of them", || home.spooled() == 30);
    let (status, _, err) = ran(home.agent(&["flush"]).env("INNKEEPER_SERVER", instance.url()));
    assert_eq!(status, Some(0), "{err}");
    let ago: Vec<u64> = instance.reports().iter().map(|report| report["ago_ms"].as_u64().unwrap()).collect();
    assert_eq!(ago.len(), 60);
    assert!(ago.is_sorted_by(|a, b| a >= b), "{ago:?}");
    assert_eq!(instance.came().requests.len(), 1, "one batch");
    let kinds = instance.kinds();
    assert!(
        kinds
            .chunks(2)
            .enumerate()
            .all(|(n, pair)| pair == ["start", if n % 2 == 0 { "success" } else { "fail" }])
    );
}

#[test]
fn many_agents_at_once_after_an_outage_send_all_of_it_once() {
    let (home, instance) = (Home::new(), Instance::open());
    let gone = nobody();
    for _ in 0..20 {
        ran(home.exec(&gone, &["a/old", "--", "true"]).env("INNKEEPER_EXEC_MAX_DELAY", "0s"));
    }
    let agents: Vec<_> = (0..25)
        .map(|n| {
            home.exec(&instance.url(), &[&format!("a/new{n}"), "--", "true"])
                .env("INNKEEPER_EXEC_MAX_DELAY", "1m")
                .spawn()
                .unwrap()
        })
        .collect();
    for agent in agents {
        let output = agent.wait_with_output().unwrap();
        assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
    }
    ran(home.agent(&["flush"]).env("INNKEEPER_SERVER", instance.url()));
    assert_eq!((instance.reports().len(), home.spooled()), (40 + 50, 0));
}

#[test]
fn a_killed_agent_is_told_as_an_interrupted_run() {
    let (home, instance) = (Home::new(), Instance::open());
    let mut child = home.exec(&instance.url(), &["a/b", "--", "sleep", "1000"]).spawn().unwrap();
    wait_for("the start", || instance.kinds() == ["start"]);
    let children = || std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    wait_for("the job", || !children().is_empty());
    let records = || std::fs::read_dir(home.state().join("runs")).unwrap().flatten();
    wait_for("its record", || {
        records().any(|file| file.path().extension().is_some_and(|ending| ending == "json"))
    });
    let job = children();
    kill("KILL", i32::try_from(child.id()).unwrap());
    child.wait().unwrap();
    kill("KILL", job.trim().parse().unwrap());
    assert_eq!(ran(&mut home.exec(&instance.url(), &["a/c", "--", "true"])).0, Some(0));
    let fail = instance.only("fail");
    assert_eq!((&fail["component"], &fail["run"]), (&"b".into(), &instance.reports()[0]["run"]));
    assert!(fail["output"].as_str().unwrap().contains("interrupted"), "{fail}");
    assert_eq!(instance.kinds(), ["start", "fail", "start", "success"]);
}

/// A preloaded library with which syncing a file blocks if its path contains `SLOW_SYNC`.
fn slow_disk(home: &Home) -> std::path::PathBuf {
    let source = home.file(
        "slow.c",
        r#"
        #define _GNU_SOURCE
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        int fsync(int fd) {
            char link[64], path[4096];
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            ssize_t length = readlink(link, path, sizeof path - 1);
            if (length > 0) {
                path[length] = 0;
                if (strstr(path, getenv("SLOW_SYNC"))) for (;;) sleep(1000);
            }
            return syscall(SYS_fsync, fd);
        }
        "#,
    );
    let library = home.path().join("slow.so");
    let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(status.unwrap().success());
    library
}

#[test]
fn a_job_that_ended_on_a_slow_disk_is_not_told_as_killed() {
    for slow in ["/spool/", "/runs/", "/innkeeper-agent/"] {
        for script in ["echo 12 files", "sleep 0.3; echo 12 files"] {
            let (home, instance) = (Home::new(), Instance::open());
            let mut command = home.exec(&nobody(), &["a/b", "--", "sh", "-c", script]);
            let (status, out, _) = ran(command.env("LD_PRELOAD", slow_disk(&home)).env("SLOW_SYNC", slow));
            assert_eq!((status, out.as_str()), (Some(0), "12 files\n"), "{slow}");
            assert_eq!(ran(home.agent(&["flush"]).env("INNKEEPER_SERVER", instance.url())).0, Some(0));
            assert_eq!(instance.kinds(), ["start", "success"], "{slow} {script}: {}", home.log());
            assert_eq!(instance.only("success")["output"], "12 files\n");
        }
    }
}

#[test]
fn a_broken_configuration_harms_nothing_and_what_is_right_in_it_counts() {
    let (home, instance) = (Home::new(), Instance::open());
    let config = home.file(
        "config/innkeeper/agent.toml",
        &format!("server = '{}'\nservre = 'x'\n[exec\n", instance.url()),
    );
    unharmed(&mut home.agent(&[&["exec"], &JOB[..]].concat()));
    assert!(home.log().contains("agent.toml:3: "), "{}", home.log());
    std::fs::write(&config, format!("server = '{}'\nservre = 'x'\n", instance.url())).unwrap();
    unharmed(&mut home.agent(&[&["exec"], &JOB[..]].concat()));
    assert!(home.log().contains("agent.toml:2: servre: unknown key"), "{}", home.log());
    assert_eq!(instance.kinds(), ["start", "fail", "start", "fail"]);
    unharmed(&mut home.agent(&[&["exec", "--config", "/no/such/file"], &JOB[..]].concat()));
    unharmed(home.agent(&[&["exec"], &JOB[..]].concat()).env("INNKEEPER_TOKEN_FILE", "/no/such/file"));
    unharmed(home.agent(&[&["exec"], &JOB[..]].concat()).env("INNKEEPER_CA_FILE", "/etc/passwd"));
    // What is said aloud is said on request alone.
    let (_, _, err) = ran(&mut home.agent(&[&["-v", "exec"], &JOB[..]].concat()));
    assert!(err.contains("servre"), "{err}");
}

#[test]
fn a_token_that_others_can_read_is_told() {
    let home = Home::new();
    let config = home.file("config/innkeeper/agent.toml", "token = 'x'\n");
    std::fs::set_permissions(&config, PermissionsExt::from_mode(0o644)).unwrap();
    let (_, out, _) = ran(&mut home.agent(&["status"]));
    assert!(out.contains("chmod 600"), "{out}");
    std::fs::set_permissions(&config, PermissionsExt::from_mode(0o600)).unwrap();
    assert!(!ran(&mut home.agent(&["status"])).1.contains("chmod"));
}

#[test]
fn without_a_home_and_without_a_place_for_state_it_reports_all_the_same() {
    let (home, instance) = (Home::new(), Instance::open());
    let config = home.file("bare.toml", "[spool]\nstate = '/proc/none'\n");
    let mut command =
        home.exec(&instance.url(), &[&["--config", config.to_str().unwrap()], &JOB[..]].concat());
    command.env_clear().env("PATH", std::env::var("PATH").unwrap()).env("INNKEEPER_SERVER", instance.url());
    unharmed(&mut command);
    assert_eq!(instance.kinds(), ["start", "fail"]);
    // And with the server away as well, there is nothing to be done, and no harm.
    unharmed(command.env("INNKEEPER_SERVER", nobody()));
}

#[test]
fn on_a_full_disk_reports_go_straight_to_the_server() {
    let (home, instance) = (Home::new(), Instance::open());
    let full = home.path().join("full");
    std::fs::create_dir(&full).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k,mode=0755", "none"]).arg(&full).status();
    let is_mounted = mounted.is_ok_and(|status| status.success());
    let fill = || std::fs::write(full.join("filler"), vec![b'x'; 1 << 20]);
    // Named, so that it is not looked for elsewhere.
    let config = home.file("full.toml", &format!("[spool]\nstate = '{}/agent'\n", full.display()));
    let limited = |server: &str| {
        let mut command = Command::new("sh");
        // Where nothing can be mounted, no file may grow: the system then sends XFSZ, which must not end the agent.
        let limit = if is_mounted { "" } else { "ulimit -f 0; " };
        let agent = env!("CARGO_BIN_EXE_innkeeper-agent");
        let script = format!(
            "{limit}exec {agent} --config {} exec a/b -- sh -c 'echo out; echo err >&2; exit 3'",
            config.display()
        );
        command.args(["-c", &script]).stdin(Stdio::null());
        home.clean(&mut command);
        command.env("INNKEEPER_SERVER", server);
        command
    };
    if is_mounted {
        unharmed(&mut limited(&nobody()));
        fill().unwrap_err();
    }
    unharmed(&mut limited(&instance.url()));
    assert!(instance.kinds().ends_with(&["start".to_owned(), "fail".to_owned()]), "{:?}", instance.kinds());
    unharmed(&mut limited(&nobody()));
    if is_mounted {
        assert!(Command::new("umount").arg(&full).status().unwrap().success());
    }
}

#[test]
fn a_limit_on_files_ends_neither_the_agent_nor_its_report() {
    let (home, instance) = (Home::new(), Instance::open());
    let agent = env!("CARGO_BIN_EXE_innkeeper-agent");
    let mut command = Command::new("bash");
    command.args([
        "-c",
        &format!("ulimit -f 0; exec {agent} exec a/b -- sh -c 'echo out; echo err >&2; exit 3'"),
    ]);
    home.clean(&mut command);
    unharmed(command.env("INNKEEPER_SERVER", instance.url()).stdin(Stdio::null()));
    assert_eq!(instance.kinds(), ["start", "fail"]);
}

#[test]
fn a_job_with_few_descriptors_runs_as_without_the_agent() {
    let (home, instance) = (Home::new(), Instance::open());
    let agent = env!("CARGO_BIN_EXE_innkeeper-agent");
    let job = "sh -c 'echo out; echo err >&2; exit 3'";
    for most in [10, 11, 12, 13, 14, 16, 18, 20, 24, 32] {
        let under = |command: &str| {
            let mut shell = Command::new("bash");
            shell.args(["-c", &format!("ulimit -n {most}; exec {command}")]);
            home.clean(&mut shell);
            ran(shell.env("INNKEEPER_SERVER", instance.url()).stdin(Stdio::null()))
        };
        assert_eq!(under(&format!("{agent} exec a/b -- {job}")), under(job), "{most}");
    }
}

#[test]
fn a_first_run_during_an_outage_makes_its_reservation_afterwards() {
    let (home, instance) = (Home::new(), Instance::open());
    ran(&mut home.exec(&nobody(), &["a/b", "--every", "1d", "--", "true"]));
    instance.now(Mode::KnowsNothing);
    assert_eq!(ran(home.agent(&["flush"]).env("INNKEEPER_SERVER", instance.url())).0, Some(0));
    assert_eq!(instance.came().terms.len(), 1);
    assert_eq!(instance.kinds(), ["start", "success"]);
}

#[test]
fn what_the_server_does_not_take_is_kept_for_a_day_in_case_it_is_set_right() {
    let refusal = || Mode::Outcome(json!({"status": "refused", "problem": "app: this token is not for a"}));
    for (mode, problem) in
        [(Mode::KnowsNothing, "knows no such reservation"), (refusal(), "this token is not for a")]
    {
        let (home, instance) = (Home::new(), Instance::open());
        let flush = || ran(home.agent(&["flush", "--wait", "0s"]).env("INNKEEPER_SERVER", instance.url()));
        instance.now(mode.clone());
        unharmed(&mut home.exec(&instance.url(), &JOB));
        assert_eq!(home.spooled(), 1, "{}", home.log());
        let (status, _, err) = flush();
        assert_eq!((status, err.contains(problem)), (Some(75), true), "{err}");
        // It is not asked again with each run.
        let before = instance.came().requests.len();
        ran(&mut home.exec(&instance.url(), &["a/c", "--no-output", "--", "true"]));
        assert_eq!((home.spooled(), instance.came().requests.len() - before <= 3), (2, true));
        instance.now(Mode::Well);
        assert_eq!(flush(), (Some(0), String::new(), String::new()));
        assert_eq!(instance.kinds(), ["start", "fail", "start", "success"]);
        assert_eq!(home.spooled(), 0);

        instance.now(mode);
        unharmed(&mut home.exec(&instance.url(), &JOB));
        age(&home, 25 * 3_600_000);
        assert_eq!(flush().0, Some(0));
        assert_eq!(home.spooled(), 0);
        assert!(home.log().contains("a report of a/b is given up: "), "{}", home.log());
        assert!(home.log().contains(problem), "{}", home.log());
    }
}

#[test]
fn what_one_job_keeps_is_bounded() {
    let (home, instance) = (Home::new(), Instance::open());
    ran(&mut home.exec(&nobody(), &["a/b", "--", "true"]));
    let spool = home.state().join("spool");
    let first = std::fs::read_dir(&spool).unwrap().flatten().next().unwrap();
    let name = first.file_name().into_string().unwrap();
    for n in 1..=120 {
        let other = format!("{n:015}{}", &name[15..]);
        std::fs::copy(first.path(), spool.join(other)).unwrap();
    }
    instance.now(Mode::KnowsNothing);
    ran(home.agent(&["flush", "--wait", "0s"]).env("INNKEEPER_SERVER", instance.url()));
    assert_eq!(home.spooled(), 100);
    assert!(spool.join(name).exists(), "the newest stays");
}

#[test]
fn another_users_spool_is_not_used() {
    let (home, instance) = (Home::new(), Instance::open());
    std::fs::create_dir_all(home.state()).unwrap();
    if !Command::new("chown").arg("12345").arg(home.state()).status().unwrap().success() {
        // Only root can give a directory away; whoever cannot has no way to be misled by one, either.
        return;
    }
    let config = home.file("named.toml", &format!("[spool]\nstate = '{}'\n", home.state().display()));
    unharmed(&mut home.exec(&instance.url(), &[&["--config", config.to_str().unwrap()], &JOB[..]].concat()));
    assert_eq!(std::fs::read_dir(home.state()).unwrap().count(), 0);
    assert_eq!(instance.kinds(), ["start", "fail"]);
}

/// Moves the waiting entries into the past by this many milliseconds, before the latest boot of the machine.
fn age(home: &Home, ms: i64) {
    for file in std::fs::read_dir(home.state().join("spool")).unwrap().flatten() {
        let text = std::fs::read_to_string(file.path()).unwrap();
        let mut entry: serde_json::Value = serde_json::from_str(&text).unwrap();
        for report in entry["reports"].as_array_mut().unwrap() {
            report["stamp"]["boot_id"] = "before".into();
            report["stamp"]["wall_ms"] = (report["stamp"]["wall_ms"].as_i64().unwrap() - ms).into();
        }
        std::fs::write(file.path(), entry.to_string()).unwrap();
    }
}

#[test]
fn after_a_restart_of_the_machine_the_wall_clock_tells_how_long_ago_it_was() {
    let (home, instance) = (Home::new(), Instance::open());
    ran(&mut home.exec(&nobody(), &["a/b", "--", "true"]));
    let month = 6 * 24 * 3_600_000;
    age(&home, month);
    assert_eq!(ran(home.agent(&["flush"]).env("INNKEEPER_SERVER", instance.url())).0, Some(0));
    let ago = instance.only("success")["ago_ms"].as_i64().unwrap();
    assert!((month..month + 600_000).contains(&ago), "{ago}");
}

#[test]
fn what_is_too_old_is_dropped_and_that_is_told() {
    let (home, instance) = (Home::new(), Instance::open());
    ran(&mut home.exec(&nobody(), &["a/b", "--", "true"]));
    age(&home, 8 * 24 * 3_600_000);
    assert_eq!(ran(home.agent(&["flush"]).env("INNKEEPER_SERVER", instance.url())).0, Some(0));
    assert_eq!(instance.kinds(), ["log"]);
    assert!(
        instance.only("log")["output"].as_str().unwrap().contains("2 of this job's reports were dropped")
    );
    assert_eq!(home.spooled(), 0);
    ran(home.agent(&["flush"]).env("INNKEEPER_SERVER", instance.url()));
    assert_eq!(instance.kinds(), ["log"], "told once");
}

#[test]
fn a_torn_entry_holds_up_no_other() {
    let (home, instance) = (Home::new(), Instance::open());
    for _ in 0..2 {
        ran(&mut home.exec(&nobody(), &["a/b", "--", "true"]));
    }
    let first = std::fs::read_dir(home.state().join("spool"))
        .unwrap()
        .flatten()
        .map(|file| file.path())
        .min()
        .unwrap();
    let text = std::fs::read_to_string(&first).unwrap();
    std::fs::write(&first, &text[..text.len() / 2]).unwrap();
    assert_eq!(ran(home.agent(&["flush"]).env("INNKEEPER_SERVER", instance.url())).0, Some(0));
    assert_eq!(instance.kinds(), ["start", "success"]);
    assert!(home.log().contains("torn"), "{}", home.log());
    assert_eq!(std::fs::read_dir(home.state().join("unreadable")).unwrap().count(), 1);
}

#[test]
fn one_bad_report_does_not_keep_the_others_out() {
    let (home, instance, ping) = (Home::new(), Instance::open(), Instance::open());
    let gone = nobody();
    ran(&mut home.exec(&gone, &["a/b", "--", "true"]));
    ran(&mut home.agent(&["exec", "--ping", &format!("{}/ping/1", ping.url()), "--", "true"]));
    ran(&mut home.exec(&gone, &["a/c", "--", "false"]));
    ping.now(Mode::Close);
    // The job of a server that is away waits; those of the other go out.
    ran(&mut home.agent(&["exec", "--ping", &format!("{}/ping/2", ping.url()), "--", "true"]));
    let (status, _, err) =
        ran(home.agent(&["flush", "--wait", "0s"]).env("INNKEEPER_SERVER", instance.url()));
    assert_eq!(status, Some(75), "{err}");
    assert_eq!(instance.kinds(), ["start", "success", "start", "fail"]);
    assert_eq!(home.spooled(), 1);
}

#[test]
fn a_ping_address_that_asks_for_patience_silences_nobody_else() {
    let (home, instance, ping) = (Home::new(), Instance::open(), Instance::open());
    ping.now(Mode::Say(429, "Retry-After: 3600\r\n".to_owned(), String::new()));
    let address = format!("{}/ping/1", ping.url());
    ran(home.agent(&["exec", "--ping", &address, "--", "true"]).env("INNKEEPER_SERVER", instance.url()));
    assert_eq!(home.spooled(), 1);
    let before = ping.came().requests.len();
    unharmed(&mut home.exec(&instance.url(), &JOB));
    assert_eq!(instance.kinds(), ["start", "fail"], "{}", home.log());
    ran(home.exec(&nobody(), &["a/c", "--", "true"]).env("INNKEEPER_EXEC_MAX_DELAY", "0s"));
    let (status, _, err) =
        ran(home.agent(&["flush", "--wait", "0s"]).env("INNKEEPER_SERVER", instance.url()));
    assert_eq!((status, err.contains("asked for no requests for 3600 s")), (Some(75), true), "{err}");
    assert_eq!(instance.kinds(), ["start", "fail", "start", "success"]);
    assert_eq!((home.spooled(), ping.came().requests.len()), (1, before), "it is left alone");
}

#[test]
fn a_ping_address_that_hangs_holds_up_nobody_else() {
    let (home, instance, hangs) = (Home::new(), Instance::open(), Instance::open());
    ran(&mut home.agent(&["exec", "--ping", &format!("{}/ping/1", nobody()), "--", "true"]));
    hangs.now(Mode::Hang);
    ran(&mut home.agent(&["exec", "--ping", &format!("{}/ping/2", hangs.url()), "--", "true"]));
    ran(&mut home.exec(&nobody(), &JOB));
    // Jobs bring theirs, and those that waited, though the others stay.
    let begun = Instant::now();
    unharmed(home.exec(&instance.url(), &JOB).env("INNKEEPER_EXEC_MAX_DELAY", "1m"));
    assert!(begun.elapsed() < BOUND, "nothing waits for the others");
    assert_eq!(instance.kinds(), ["start", "fail", "start", "fail"], "{}", home.log());
    assert_eq!(home.spooled(), 2);
    hangs.now(Mode::Well);
    let mut job = home.exec(&instance.url(), &["a/c", "--", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
    wait_for("what waits for others, while the job runs", || home.spooled() == 1);
    drop(job.stdin.take());
    job.wait().unwrap();
}

#[test]
fn a_check_in_of_a_unit_is_kept_whatever_is_in_the_way() {
    let (home, instance) = (Home::new(), Instance::open());
    let checkin = ["checkin", "a/b", "--keep", "--exit-status", "3", "--notes", "exit-code: exited 3"];
    let silent = (Some(0), String::new(), String::new());
    // No server at all, one that is away, and one that knows neither token nor reservation.
    assert_eq!(ran(&mut home.agent(&checkin)), silent);
    assert_eq!(ran(home.agent(&checkin).env("INNKEEPER_SERVER", nobody())), silent);
    instance.now(Mode::Say(401, String::new(), String::new()));
    assert_eq!(ran(home.agent(&checkin).env("INNKEEPER_SERVER", instance.url())), silent);
    instance.now(Mode::KnowsNothing);
    assert_eq!(ran(home.agent(&checkin).env("INNKEEPER_SERVER", instance.url())), silent);
    home.file("config/innkeeper/agent.toml", "servre = 'x'\n[exec\n");
    instance.now(Mode::Hang);
    assert_eq!(ran(home.agent(&checkin).env("INNKEEPER_SERVER", instance.url())), silent);
    assert_eq!(home.spooled(), 5, "{}", home.log());
    instance.now(Mode::Well);
    std::fs::remove_file(home.state().join("kept.json")).unwrap();
    assert_eq!(ran(home.agent(&checkin).env("INNKEEPER_SERVER", instance.url())), silent);
    assert_eq!((instance.kinds(), home.spooled()), (vec!["fail".to_owned(); 6], 0));
    let report = &instance.reports()[0];
    assert_eq!((&report["exit_status"], &report["output"]), (&3.into(), &"exit-code: exited 3".into()));
    assert!(report.get("duration_ms").is_none() && report.get("run").is_none(), "{report}");
    assert_eq!(ran(&mut home.agent(&["checkin", "no-slash", "--keep"])).0, Some(2));
}
