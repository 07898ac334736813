//! Signals, process groups, orphans, limits and locks of `exec`.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use innkeeper_testing::process::stat;
use tempfile::TempDir;

use common::instance::Instance;
use common::{Home, kill, ran, wait_for};

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

/// The next line that it writes.
fn line(child: &mut Child) -> String {
    let mut line = Vec::new();
    let stdout = child.stdout.as_mut().unwrap();
    let mut byte = [0];
    while stdout.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

fn is_alive(pid: i32) -> bool {
    stat(pid.unsigned_abs()).is_some_and(|stat| stat.is_alive())
}

#[test]
fn signals_reach_the_whole_group_and_the_status_is_the_jobs() {
    let (home, instance) = (Home::new(), Instance::open());
    // The shell does not pass on what it gets; its child gets it as well.
    let script = "sh -c 'echo $$; exec sleep 1000'; exit 7";
    for (signal, number) in [("TERM", 15), ("INT", 2), ("QUIT", 3), ("HUP", 1), ("USR1", 10), ("USR2", 12)] {
        let mut child = home.exec(&instance.url(), &["a/b", "--", "sh", "-c", script]).spawn().unwrap();
        let inner: i32 = line(&mut child).parse().unwrap();
        kill(signal, pid(&child));
        assert_eq!(child.wait().unwrap().code(), Some(128 + number), "{signal}");
        wait_for("the inner one ends", || !is_alive(inner));
    }
    assert_eq!(instance.kinds(), ["start", "fail"].repeat(6));
}

#[test]
fn a_job_that_handles_a_signal_ends_as_it_likes() {
    let (home, instance) = (Home::new(), Instance::open());
    let script = "trap 'echo got; exit 5' TERM; echo up; while :; do sleep 0.05; done";
    let mut child = home.exec(&instance.url(), &["a/b", "--", "bash", "-c", script]).spawn().unwrap();
    assert_eq!(line(&mut child), "up");
    kill("TERM", pid(&child));
    assert_eq!(line(&mut child), "got");
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn each_signal_is_passed_on_once_also_real_time_ones() {
    let (home, instance) = (Home::new(), Instance::open());
    let script = "trap 'echo usr1' USR1; trap 'echo rt' 37; trap 'echo winch' WINCH; echo up; \
                  n=0; while [ $n -lt 2000 ]; do sleep 0.02; n=$((n+1)); done";
    let mut child = home.exec(&instance.url(), &["a/b", "--", "bash", "-c", script]).spawn().unwrap();
    assert_eq!(line(&mut child), "up");
    for (signal, word) in [("USR1", "usr1"), ("RTMIN+3", "rt"), ("WINCH", "winch"), ("USR1", "usr1")] {
        kill(signal, pid(&child));
        assert_eq!(line(&mut child), word);
    }
    kill("TERM", pid(&child));
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn under_nohup_a_hangup_is_for_nobody() {
    let (home, instance) = (Home::new(), Instance::open());
    let agent = env!("CARGO_BIN_EXE_innkeeper-agent");
    let mut command = Command::new("nohup");
    command.args([agent, "exec", "a/b", "--", "sh", "-c", "echo up; read line; echo $line"]);
    home.clean(&mut command);
    command.env("INNKEEPER_SERVER", instance.url()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    assert_eq!(line(&mut child), "up");
    kill("HUP", pid(&child));
    child.stdin.take().unwrap().write_all(b"still here\n").unwrap();
    assert_eq!(line(&mut child), "still here");
    assert!(child.wait().unwrap().success());
    assert_eq!(instance.kinds(), ["start", "success"]);
}

#[test]
fn stop_and_continue_reach_the_job_and_stop_the_agent_with_it() {
    let (home, instance) = (Home::new(), Instance::open());
    let mut child = home
        .exec(&instance.url(), &["a/b", "--", "sh", "-c", "echo $$; read line"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let job: i32 = line(&mut child).parse().unwrap();
    let state = |pid: i32| stat(pid.unsigned_abs()).unwrap().state;
    let agent = pid(&child);
    kill("TSTP", agent);
    wait_for("both stop", || state(job) == b'T' && state(agent) == b'T');
    kill("CONT", agent);
    wait_for("both go on", || state(job) != b'T' && state(agent) != b'T');
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_daemon_that_the_job_leaves_behind_lives_and_writes_on() {
    let (home, instance) = (Home::new(), Instance::open());
    let gate = home.path().join("gate");
    // It writes long after the job has ended: to a pipe that nobody read it would end by SIGPIPE.
    let script = format!(
        "(trap '' HUP; while [ ! -e {gate} ]; do sleep 0.02; done; echo late; echo later >&2; echo done > {gate}.done) & echo $!",
        gate = gate.display()
    );
    let log = home.path().join("log");
    let file = std::fs::File::create(&log).unwrap();
    let mut command = home.exec(&instance.url(), &["a/b", "--", "sh", "-c", &script]);
    command.stdout(file);
    let mut child = command.spawn().unwrap();
    assert!(child.wait().unwrap().success());
    let orphan: i32 = std::fs::read_to_string(&log).unwrap().trim().parse().unwrap();
    assert!(is_alive(orphan));
    assert_eq!(instance.kinds(), ["start", "success"]);
    std::fs::write(&gate, "").unwrap();
    wait_for("it writes", || home.path().join("gate.done").exists());
    // Whoever reads the output sees its end only when the daemon has closed it, as without the agent.
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(errors, "later\n");
    wait_for("the late line", || std::fs::read_to_string(&log).unwrap().ends_with("late\n"));
}

#[test]
fn orphans_are_reaped_while_the_job_runs() {
    let (home, instance) = (Home::new(), Instance::open());
    let script = "n=0; while [ $n -lt 30 ]; do (true & ); (sh -c 'kill -9 $$' &); n=$((n+1)); done; echo up; read line; exit 4";
    let mut child = home
        .exec(&instance.url(), &["a/b", "--", "bash", "-c", script])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(line(&mut child), "up");
    let agent = pid(&child);
    let zombies = || {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let stats = all.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
        stats
            .filter(|stat| {
                stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(&format!("Z {agent} ")))
            })
            .count()
    };
    wait_for("no zombies", || zombies() == 0);
    drop(child.stdin.take());
    // None of them has taken the job's status.
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

#[test]
fn it_works_as_the_first_process_of_a_container() {
    let (home, instance) = (Home::new(), Instance::open());
    let agent = env!("CARGO_BIN_EXE_innkeeper-agent");
    let mut command = Command::new("unshare");
    let script = "(true &); (sleep 0.01 &); trap 'exit 6' TERM; echo $$; while :; do sleep 0.05; done";
    command.args(["--pid", "--fork", "--mount-proc", agent, "exec", "a/b", "--", "bash", "-c", script]);
    home.clean(&mut command);
    command.env("INNKEEPER_SERVER", instance.url()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let inner: i32 = line(&mut child).parse().unwrap();
    assert!(inner < 20, "it is in a namespace of its own");
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    kill("TERM", children.trim().parse().unwrap());
    assert_eq!(child.wait().unwrap().code(), Some(6));
    assert_eq!(instance.only("fail")["exit_status"], 6);
}

#[test]
fn max_run_with_kill_ends_all_of_the_job() {
    let (home, instance) = (Home::new(), Instance::open());
    // One of its processes ignores TERM, another one has left its group and session.
    let script = "(trap '' TERM; echo $BASHPID; while :; do sleep 0.05; done) & setsid sh -c 'echo $$; exec sleep 1000' & wait";
    let arguments =
        ["a/b", "--max-run", "500ms", "--kill", "--kill-after", "300ms", "--", "bash", "-c", script];
    let mut child = home.exec(&instance.url(), &arguments).spawn().unwrap();
    let inner: Vec<i32> = (0..2).map(|_| line(&mut child).parse().unwrap()).collect();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(!inner.iter().any(|pid| is_alive(*pid)), "{inner:?}");
    let end = instance.only("fail");
    assert_eq!(end["signal"], "SIGTERM");
    assert!(end["output"].as_str().unwrap().contains("it was ended after 500ms (--max-run)"), "{end}");
}

#[test]
fn a_job_that_says_all_is_well_when_it_is_ended_has_failed() {
    let (home, instance) = (Home::new(), Instance::open());
    let script = "trap 'exit 0' TERM; while :; do sleep 0.02; done";
    let arguments = ["a/b", "--max-run", "300ms", "--kill", "--", "bash", "-c", script];
    let (status, ..) = ran(&mut home.exec(&instance.url(), &arguments));
    assert_eq!(status, Some(124));
    assert_eq!(instance.only("fail")["exit_status"], 0);
}

#[test]
fn without_kill_a_long_run_is_told_and_goes_on() {
    let (home, instance) = (Home::new(), Instance::open());
    let arguments = ["a/b", "--max-run", "50ms", "--", "sh", "-c", "read line; exit 3"];
    let mut child = home.exec(&instance.url(), &arguments).stdin(Stdio::piped()).spawn().unwrap();
    wait_for("it is told", || instance.kinds().contains(&"log".to_owned()));
    assert!(instance.only("log")["output"].as_str().unwrap().contains("takes longer than 50ms"));
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(instance.only("fail")["exit_status"], 3);
}

#[test]
fn a_run_that_overlaps_is_left_out_and_told() {
    let (home, instance) = (Home::new(), Instance::open());
    // Locks lie where all of a user's agents find them.
    let job = format!("a/{}", uuid::Uuid::new_v4());
    let mut first = home
        .exec(&instance.url(), &[&job, "--lock", "--", "sh", "-c", "echo up; read line"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(line(&mut first), "up");
    let marker = home.path().join("ran");
    let touch = marker.to_str().unwrap();
    let (status, out, err) = ran(&mut home.exec(&instance.url(), &[&job, "--lock", "--", "touch", touch]));
    assert_eq!((status, out.as_str(), err.as_str()), (Some(75), "", ""));
    assert!(instance.only("log")["output"].as_str().unwrap().contains("another one is still active"));
    let (status, ..) =
        ran(&mut home.exec(&instance.url(), &[&job, "--lock", "--lock-fail", "--", "touch", touch]));
    assert_eq!((status, &instance.only("fail")["exit_status"]), (Some(75), &75.into()));
    assert!(!marker.exists());
    // Another job has another lock.
    assert_eq!(
        ran(&mut home.exec(&instance.url(), &[&format!("{job}2"), "--lock", "--", "true"])).0,
        Some(0)
    );
    let waiting =
        home.exec(&instance.url(), &[&job, "--lock-wait", "1h", "--", "touch", touch]).spawn().unwrap();
    drop(first.stdin.take());
    first.wait().unwrap();
    assert!(waiting.wait_with_output().unwrap().status.success());
    assert!(marker.exists());
    remove_locks(&job);
}

#[test]
fn a_lock_holds_between_a_terminal_and_a_crontab() {
    let (home, instance) = (Home::new(), Instance::open());
    let job = format!("a/{}", uuid::Uuid::new_v4());
    // Where this is run by root, another user is meant.
    let user = Some(54_321).filter(|_| std::fs::metadata(home.path()).unwrap().uid() == 0);
    let state = TempDir::new().unwrap();
    std::os::unix::fs::chown(state.path(), user, user).unwrap();
    let exec = |arguments: &[&str]| {
        let mut command = home.exec(&instance.url(), &[&[job.as_str(), "--lock", "--"], arguments].concat());
        command
            .current_dir("/")
            .env_remove("HOME")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_STATE_HOME");
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        command
    };
    let mut terminal = exec(&["sh", "-c", "echo up; read line"])
        .env("XDG_STATE_HOME", state.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(line(&mut terminal), "up");
    assert_eq!(ran(&mut exec(&["true"])).0, Some(75));
    drop(terminal.stdin.take());
    terminal.wait().unwrap();
    if let Some(user) = user {
        std::fs::remove_dir_all(format!("/tmp/innkeeper-agent-{user}")).unwrap();
    }
}

/// Root's locks lie beside those of real jobs.
fn remove_locks(job: &str) {
    let start = job.replace('/', "%2f");
    for file in std::fs::read_dir("/run/innkeeper-agent").into_iter().flatten().flatten() {
        if file.file_name().to_str().is_some_and(|name| name.starts_with(&start)) {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
}

#[test]
fn a_lock_ends_with_its_holder_and_not_with_what_the_job_left_behind() {
    let (home, instance) = (Home::new(), Instance::open());
    // Locks lie where all of a user's agents find them.
    let job = format!("a/{}", uuid::Uuid::new_v4());
    let arguments =
        [&job, "--lock", "--no-output", "--", "sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $! > orphan"];
    let (status, ..) = ran(&mut home.exec(&instance.url(), &arguments));
    assert_eq!(status, Some(0));
    assert_eq!(ran(&mut home.exec(&instance.url(), &[&job, "--lock", "--", "true"])).0, Some(0));
    let orphan: i32 = std::fs::read_to_string(home.path().join("orphan")).unwrap().trim().parse().unwrap();
    kill("KILL", orphan);
    // Not with a file that is left after a kill -9, either.
    let mut killed =
        home.exec(&instance.url(), &[&job, "--lock", "--", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
    wait_for("it runs", || instance.kinds().len() == 5);
    kill("KILL", pid(&killed));
    killed.wait().unwrap();
    assert_eq!(ran(&mut home.exec(&instance.url(), &[&job, "--lock", "--", "true"])).0, Some(0));
    remove_locks(&job);
}

/// Runs `script` in a terminal of its own, and gives back what is shown there; `keys` are typed when `when` is shown.
fn at_a_terminal(home: &Home, server: &str, script: &str, keys: &[(&str, &str)]) -> String {
    const PYTHON: &str = r#"
import os, pty, sys, select, time, json
script, keys = sys.argv[1], json.loads(sys.argv[2])
pid, fd = pty.fork()
if pid == 0:
    os.execvp("bash", ["bash", "--norc", "--noprofile", "-i", "-c", script])
shown, begun = b"", time.time()
while time.time() - begun < 60:
    if select.select([fd], [], [], 0.05)[0]:
        try:
            more = os.read(fd, 65536)
        except OSError:
            break
        if not more:
            break
        shown += more
    while keys and keys[0][0].encode() in shown:
        shown = shown.replace(keys[0][0].encode(), b"", 1)
        time.sleep(0.1)
        os.write(fd, keys.pop(0)[1].encode())
_, status = os.waitpid(pid, 0)
sys.stdout.write(shown.decode(errors="replace") + "\nended %d\n" % status)
"#;
    let mut command = Command::new("python3");
    home.clean(&mut command);
    command.args(["-c", PYTHON, script, &serde_json::to_string(keys).unwrap()]).current_dir(home.path());
    command
        .env("INNKEEPER_SERVER", server)
        .env("AGENT", env!("CARGO_BIN_EXE_innkeeper-agent"))
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().replace('\r', "")
}

#[test]
fn at_a_terminal_the_job_reads_and_ctrl_c_comes_once() {
    let (home, instance) = (Home::new(), Instance::open());
    let shown = at_a_terminal(
        &home,
        &instance.url(),
        "$AGENT exec a/b -- bash -c 'echo ready; read x; echo got $x'; echo status $?",
        &[("ready", "hello\n")],
    );
    assert!(shown.contains("got hello\nstatus 0"), "{shown}");
    // Each INT is counted; the job ends by itself, so that a second one is seen.
    let counting = "n=0; trap \"n=\\$((n+1))\" INT; echo ready; for i in 1 2 3 4 5 6 7 8; do sleep 0.1; done; echo ints $n; exit 9";
    let shown = at_a_terminal(
        &home,
        &instance.url(),
        &format!("$AGENT exec a/b -- bash -c '{counting}'; echo status $?"),
        &[("ready", "\u{3}")],
    );
    assert!(shown.contains("ints 1\n") && shown.contains("status 9"), "{shown}");
    let shown = at_a_terminal(
        &home,
        &instance.url(),
        "$AGENT exec a/b -- bash -c 'echo ready; sleep 1000'; echo status $?",
        &[("ready", "\u{3}")],
    );
    assert!(!shown.contains("status 0"), "{shown}");
    assert_eq!(instance.reports().last().unwrap()["signal"], "SIGINT");
}

#[test]
fn at_a_terminal_ctrl_z_and_fg_work() {
    let (home, instance) = (Home::new(), Instance::open());
    let script = "set -m; $AGENT exec a/b -- bash -c 'echo ready; read x; echo got $x'; echo stopped $?; fg; echo status $?";
    let shown =
        at_a_terminal(&home, &instance.url(), script, &[("ready", "\u{1a}"), ("stopped 1", "hello\n")]);
    assert!(shown.contains("got hello") && shown.contains("status 0"), "{shown}");
    assert_eq!(instance.kinds(), ["start", "success"]);
}

#[test]
fn at_a_terminal_signals_from_elsewhere_and_limits_reach_the_job_alone() {
    let (home, instance) = (Home::new(), Instance::open());
    let script = "$AGENT exec a/b -- bash -c 'echo $PPID > agent; sleep 100; echo $((40+2))x' | cat & \
                  while [ ! -s agent ]; do sleep 0.05; done; kill -TERM $(cat agent); wait; echo still here";
    let shown = at_a_terminal(&home, &instance.url(), script, &[]);
    assert!(shown.contains("still here") && !shown.contains("42x"), "{shown}");
    assert_eq!(instance.only("fail")["signal"], "SIGTERM");
    // The shell, which is in the same group, is not ended with it.
    let script =
        "$AGENT exec a/c --max-run 300ms --kill -- bash -c 'sleep 100; echo $((40+2))x'; echo status $?";
    let shown = at_a_terminal(&home, &instance.url(), script, &[]);
    assert!(shown.contains("status 143") && !shown.contains("42x"), "{shown}");
}

#[test]
fn what_ends_at_once_costs_no_time_and_leaves_no_process() {
    let (home, instance) = (Home::new(), Instance::open());
    let begun = Instant::now();
    let mut child =
        home.exec(&instance.url(), &["a/b", "--", "sh", "-c", "exec >&- 2>&-; exit 0"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().is_none());
    child.wait().unwrap();
    // A bound that only a hang breaks.
    assert!(begun.elapsed() < Duration::from_secs(30));
}
